"""Inflating in bounded pieces: the same bytes as zlib at once, whatever comes in, and an end to bombs."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dicom_corpus as corpus
from strongroom.dicom.inflate import Inflater
from strongroom.dicom.limits import LimitExceeded, Limits
from strongroom.errors import DataSetError


def deflate(plain: bytes) -> bytes:
    """Deflate without a zlib header, as DICOM has it (PS3.5 §A.5)."""
    made = zlib.compressobj(wbits=-15)
    return made.compress(plain) + made.flush()


def inflate(pieces, limits: Limits | None = None) -> bytes:
    """Inflate to the end; every piece that comes out is bounded."""
    inflater = Inflater(limits) if limits else Inflater()
    out = []
    for piece in pieces:
        out.extend(inflater.feed(piece))
    out.extend(inflater.finish())
    assert all(len(piece) <= 256 * 1024 for piece in out)
    return b"".join(out)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 200), st.integers(1, 500))
def test_what_was_deflated_comes_back(plain: bytes, times: int, step: int) -> None:
    """In any pieces."""
    assert inflate(corpus.in_steps(deflate(plain * times), step)) == plain * times


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_inflate_or_are_refused(data: bytes) -> None:
    """Nothing but DataSetError escapes."""
    try:
        whole: bytes | None = inflate([data])
    except DataSetError:
        whole = None
    try:
        crumbs: bytes | None = inflate(corpus.in_steps(data, 1))
    except DataSetError:
        crumbs = None

    assert whole == crumbs


def test_the_ratio_counts_from_the_allowance_on() -> None:
    """A little may inflate a thousandfold, a lot may not."""
    limits = Limits(inflate_allowance=1 << 20)

    assert inflate([deflate(bytes(1 << 20))], limits) == bytes(1 << 20)
    with pytest.raises(LimitExceeded, match="max_inflate_ratio"):
        inflate([deflate(bytes(2 << 20))], limits)


def test_the_whole_is_bounded_whatever_the_ratio() -> None:
    """The absolute limit holds for what hardly deflates, too."""
    with pytest.raises(LimitExceeded, match="max_inflated_length"):
        inflate([deflate(bytes(range(256)) * 100)], Limits(max_inflated_length=20_000))
