"""The bounded parser of multipart/related (RFC 2046 §5.1; SECURITY C34, W01, W02)."""

from __future__ import annotations

import itertools
import os
import time
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.dicomweb.media_type import parse
from strongroom.dicomweb.multipart import (
    Finished,
    Limits,
    Multipart,
    MultipartError,
    PartBegan,
    PartData,
    PartEnded,
    boundary_of,
)

BOUNDARY = "b0undary"
Part = tuple[dict[str, str], bytes, bool]
"""Headers, content, and whether it was complete."""


def body(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """A body as a client writes it."""
    written = b"".join(
        b"--b0undary\r\n" + headers.encode("latin-1") + b"\r\n" + content + b"\r\n" for headers, content in parts
    )
    return written + b"--b0undary" + end


def outcome(pieces: Iterable[bytes], limits: Limits | None = None) -> tuple[list[Part], bool, int | None]:
    """What a body gives: its parts, whether it finished, and the status it was refused with."""
    parser = Multipart(BOUNDARY, limits=limits or Limits())
    parts: list[Part] = []
    finished = False
    try:
        for piece in pieces:
            for event in parser.feed(piece):
                assert not finished
                if isinstance(event, PartBegan):
                    parts.append((dict(event.headers), b"", False))
                elif isinstance(event, PartData):
                    assert len(event.view)
                    headers, content, _ = parts[-1]
                    parts[-1] = headers, content + bytes(event.view), False
                elif isinstance(event, PartEnded):
                    parts[-1] = (*parts[-1][:2], True)
                else:
                    assert isinstance(event, Finished)
                    finished = True
        parser.finish()
    except MultipartError as error:
        return parts, finished, error.status
    return parts, finished, None


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Pieces of these sizes, again and again."""
    pieces, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            return pieces
        pieces.append(data[at : at + size])
        at += size
    raise AssertionError


def test_parts_come_with_their_headers_and_content() -> None:
    """Names in lower case, values without surrounding space, folded lines joined, content bit for bit."""
    data = body(
        ("Content-Type: application/dicom\r\nX-A:  b\r\n\tc \r\n", b"one"), ("", b"\r\ntwo\r\n"), ("A: b\r\n", b"")
    )

    assert (
        [
            ({"content-type": "application/dicom", "x-a": "b c"}, b"one", True),
            ({}, b"\r\ntwo\r\n", True),
            ({"a": "b"}, b"", True),
        ],
        True,
        None,
    ) == outcome([data])


HARD = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"-", b"--", b"\r\n--", b"\r\n--b0undar", b"\r\n--b0undaryX", b"\r\n--b0undary-", b"\r\n--b0undary \t",
     b"--b0undary--", b"\r\n--b0undary\r", b"\r\n--b0undary\n", b"\0", b"b0undary"]
)  # fmt: skip


def harmless(content: bytes) -> bool:
    """Whether a client could choose this boundary for this content."""
    parts, finished, status = outcome([body(("", content))])
    return finished and status is None and [({}, content, True)] == parts


@given(
    st.lists(st.lists(HARD, max_size=6).map(b"".join), max_size=4), st.lists(st.integers(1, 9), min_size=1, max_size=9)
)
@example([b"\r\n--b0undaryX\r\n--b0undary-"], [1])
def test_how_a_body_is_cut_changes_nothing(contents: list[bytes], sizes: list[int]) -> None:
    """Whole, byte by byte, or in pieces of any size: the same parts, the same end."""
    data = body(*(("A: b\r\n", content) for content in contents))
    whole = outcome([data])

    assert whole == outcome(cut(data, [1]))
    assert whole == outcome(cut(data, sizes))


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_content_comes_back(contents: list[bytes]) -> None:
    """Whatever a part holds is what comes out, as long as the boundary does not stand in it."""
    data = body(*(("", content) for content in contents if harmless(content)))

    assert [content for content in contents if harmless(content)] == [content for _, content, _ in outcome([data])[0]]


@given(st.lists(st.one_of(st.binary(max_size=12), HARD, st.just(b"\r\n\r\n"), st.just(b"A: b\r\n")), max_size=14))
def test_any_bytes_give_parts_or_an_error(pieces: list[bytes]) -> None:
    """Nothing but events and MultipartError, and the same however the bytes are cut."""
    data = b"".join(pieces)
    found = outcome(pieces)

    assert found == outcome(cut(data, [1])) == outcome([data])
    assert (found[2] is None) == found[1] or found[1]


@pytest.mark.parametrize(
    "inside", [b"\r\n--b0undaryX", b"--b0undary--", b"\n--b0undary\n", b"\r\n--b0undary-x", b"\r\n--b0undary x\r\n"]
)
def test_what_only_looks_like_a_boundary_is_data(inside: bytes) -> None:
    """A boundary begins a line and ends it; a longer word, or one inside a line, is content."""
    assert ([({}, b"x" + inside + b"y", True)], True, None) == outcome([body(("", b"x" + inside + b"y"))])


def test_white_space_behind_a_boundary_is_passed_over() -> None:
    """RFC 2046 lets gateways pad the line of a boundary."""
    assert ([({}, b"x", True)], True, None) == outcome([b"--b0undary \t\r\n\r\nx\r\n--b0undary--"])


def test_a_missing_last_boundary_is_told_after_the_complete_parts() -> None:
    """What was complete stays, the part under way is not complete, and the end is an error (W05)."""
    assert ([({}, b"one", True), ({}, b"tw", False)], False, 400) == outcome(
        [b"--b0undary\r\n\r\none\r\n--b0undary\r\n\r\ntw"]
    )
    assert ([], False, 400) == outcome([])
    assert ([({}, b"one", True)], False, 400) == outcome([b"--b0undary\r\n\r\none\r\n--b0undary\r\n"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Content-Encoding: gzip\r\n", 415),
        ("Content-Transfer-Encoding: base64\r\n", 415),
        ("Content-Type: multipart/related; boundary=x\r\n", 415),
        ("no colon\r\n", 400),
        ("A : b\r\n", 400),
        ("A: b\n", 400),
        ("A: \0\r\n", 400),
        (" folded: first\r\n", 400),
        ("Content-Type: a/b\r\ncontent-type: c/d\r\n", 400),
        ("A: b\r\n" * 33, 413),
        ("A: " + "b" * (16 << 10) + "\r\n", 413),
    ],
)
def test_a_part_with_bad_headers_is_refused(headers: str, status: int) -> None:
    """Encoded once more, nested, malformed, doubled, too many, too long: an error, and nothing of that part (W02)."""
    data = body(("", b"good"), (headers, b"bad"))

    assert ([({}, b"good", True)], False, status) == outcome([data])
    assert ([({}, b"good", True)], False, status) == outcome(cut(data, [1]))


@pytest.mark.parametrize(
    "headers", ["Content-Encoding: identity\r\n", "Content-Transfer-Encoding: BINARY\r\n", "A: b\r\n" * 32]
)
def test_headers_that_change_nothing_are_taken(headers: str) -> None:
    """Old clients say that their part is binary."""
    assert None is outcome([body((headers, b"x"))])[2]


def test_lines_that_end_in_lf_only_are_refused() -> None:
    """No client of DICOMweb writes them, and two readers could see two bodies."""
    assert ([], False, 400) == outcome([b"--b0undary\n\nx\n--b0undary--\n"])


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (Limits(max_parts=2), 413),
        (Limits(max_part_length=9), 413),
        (Limits(max_body_length=60), 413),
        (Limits(max_parts=3, max_part_length=10), None),
    ],
)
def test_budgets_hold(limits: Limits, status: int | None) -> None:
    """Parts, the length of one and of all have a limit each (C34)."""
    assert status == outcome(cut(body(*[("", b"0123456789")] * 3), [7]), limits)[2]


def test_what_stands_around_the_parts_is_bounded() -> None:
    """A preamble or an epilogue without end is not read to its end (CVE-2026-40347)."""
    good, long = body(("", b"x")), b"y" * (16 << 10)

    assert None is outcome([b"preamble\r\n" + good + b"epilogue"])[2]
    assert ([], False, 400) == outcome([long, b"\r\nz\r\n" + good])
    assert ([({}, b"x", True)], True, 400) == outcome([good, long])


def test_headers_without_end_are_not_gathered() -> None:
    """Whoever sends a line of 100 MB is stopped at 16 KiB (CVE-2026-42561)."""
    taken: list[bytes] = []

    def endless() -> Iterator[bytes]:
        yield b"--b0undary\r\nA: "
        while True:
            taken.append(b"b" * 1000)
            yield taken[-1]

    assert ([], False, 413) == outcome(endless())
    assert len(taken) <= 18


@pytest.mark.parametrize("parameter", ["boundary=x", 'boundary="a b"', f"boundary={'x' * 70}", "boundary=a/b:c=?"])
def test_a_boundary_is_taken_quoted_and_unquoted(parameter: str) -> None:
    """1 to 70 characters of the ones RFC 2046 names."""
    assert parameter.partition("=")[2].strip('"') == boundary_of(parse(f"multipart/related; {parameter}"))


@pytest.mark.parametrize(
    "parameter", ["type=x", "boundary=", 'boundary=""', f"boundary={'x' * 71}", 'boundary="x "', "boundary=<x>"]
)
def test_a_boundary_that_is_none_is_refused(parameter: str) -> None:
    """Absent, empty, longer than 70, or with other characters: 400."""
    with pytest.raises(MultipartError) as refused:
        boundary_of(parse(f"multipart/related; {parameter}"))

    assert 400 == refused.value.status


def test_a_long_part_is_passed_on_uncopied_and_quickly() -> None:
    """No work per byte: a gigabyte a second on one core (asserted with a wide margin), and no memory that grows."""
    piece = os.urandom(65_536 - 2) + b"\r\n"
    count = 4096
    parser = Multipart(BOUNDARY)
    list(parser.feed(b"--b0undary\r\n\r\n"))
    tracemalloc.start()
    try:
        for _ in range(16):
            for _ in parser.feed(piece):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    began = time.perf_counter()
    length = sum(len(event.view) for _ in range(count) for event in parser.feed(piece) if isinstance(event, PartData))
    rate = length / (time.perf_counter() - began)

    assert peak < 300_000
    assert abs(length - count * len(piece)) <= 2
    assert rate > 100e6
