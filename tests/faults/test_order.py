"""No success leaves before its flushes, seen from the kernel; and the check of it fails on a trace in which one does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from clients import require
from faults import order
from faults.instances import some
from faults.scene import ViolationError, scene

pytestmark = pytest.mark.xdist_group("order")
IMAGES = 100


@dataclass(frozen=True)
class Trace:
    """What strace saw of a server, and what it has to show."""

    lines: list[str]
    home: str
    ports: tuple[int, int]
    answers: int

    def judged(self, change: Callable[[list[str]], list[str]] = list) -> order.Finding:
        """The finding about the trace after *change*."""
        return order.judged(order.events(change(list(self.lines)), self.home), self.home, self.ports)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A real one, of C-STORE and STOW-RS, with packs that are full in between."""
    require("strace")
    require("storescu")
    folder = tmp_path_factory.mktemp("order")
    with scene(folder, pack_mebibytes=2) as place:
        order.by_dicom(place, some(random.Random(1), ("ct",), 2), folder)
        lines, answers = order.record(place, folder, random.Random(2), IMAGES)
        ports = (place.archive.port, place.archive.web_port)
        return Trace(lines, str(place.archive.home), ports, answers)


def test_no_answer_leaves_before_pack_database_and_folder_are_flushed(trace: Trace) -> None:
    """Every answer of C-STORE and STOW-RS comes behind the flush of its pack, its row and record, and a new pack's name (I1)."""
    found = trace.judged()

    assert found.violations == []
    assert found.answers == trace.answers
    assert found.made > 1
    assert found.keys > 3


def _without(*words: str) -> Callable[[list[str]], list[str]]:
    """Take away the one call in the middle of those whose line has all *words*, a half of a call included."""

    def change(lines: list[str]) -> list[str]:
        at = [number for number, line in enumerate(lines) if all(word in line for word in words)]
        del lines[at[len(at) // 2]]
        return lines

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("fdatasync(", "/vault/", "= 0"), ".open is not flushed"),
        (_without("fdatasync(", "/archive.db-wal", "= 0"), "archive.db-wal is not flushed"),
        (_without("fdatasync(", "/keyring.db-wal", "= 0"), "before the keyring is flushed"),
        (_without("fdatasync(", "/keyring/", "= 0"), "before the keyring is flushed"),
        (_without("fsync(", "/vault>", "= 0"), "the folder of"),
    ],
    ids=["pack", "database", "keyring", "second keyring", "folder"],
)
def test_a_missing_flush_is_found(trace: Trace, change: Callable[[list[str]], list[str]], said: str) -> None:
    """The same trace without one of its flushes is a violation."""
    assert any(said in one for one in trace.judged(change).violations)


def test_an_early_answer_is_found(trace: Trace) -> None:
    """The same trace with one answer moved in front of the last flush before it is a violation."""

    def change(lines: list[str]) -> list[str]:
        answers = [
            at for at, line in enumerate(lines) if " write(" in line and "<TCP" in line and line.endswith("= 188")
        ]
        at = answers[len(answers) // 2]
        flush = max(number for number in range(at) if "fdatasync(" in lines[number] and "-wal" in lines[number])
        lines.insert(flush, lines.pop(at))
        return lines

    assert any("archive.db-wal is not flushed" in one for one in trace.judged(change).violations)


def test_an_answer_without_a_row_is_found(trace: Trace) -> None:
    """The same trace without what was written to the database between pack and answer is a violation."""

    def change(lines: list[str]) -> list[str]:
        packs = [at for at, line in enumerate(lines) if "pwritev2(" in line and "/vault/" in line]
        first, last = packs[20:22]
        return [line for at, line in enumerate(lines) if not (first < at < last and "archive.db-wal" in line)]

    assert any("nothing was written to the database" in one for one in trace.judged(change).violations)


def test_a_failed_or_unfinished_flush_does_not_count() -> None:
    """A flush counts when it has returned without an error, a write and an answer from their beginning."""
    home, ports = "/h", (5, 6)
    start = [
        '1 read(3<TCP:[127.0.0.1:5->127.0.0.1:9]>, ""..., 9) = 9',
        "1 pwritev2(4</h/vault/00000001.open>, [...], 4, 0, 0) = 9",
        "1 fdatasync(4</h/vault/00000001.open>) = 0",
        '1 pwrite64(5</h/archive.db-wal>, ""..., 9, 0) = 9',
    ]
    answer = '1 write(3<TCP:[127.0.0.1:5->127.0.0.1:9]>, ""..., 9) = 9'
    for flush, good in (
        (["1 fdatasync(5</h/archive.db-wal>) = 0", answer], True),
        (["1 fdatasync(5</h/archive.db-wal>) = -1 EIO (Input/output error)", answer], False),
        (["2 fdatasync(5</h/archive.db-wal> <unfinished ...>", answer, "2 <... fdatasync resumed>) = 0"], False),
        (["2 fdatasync(5</h/archive.db-wal> <unfinished ...>", "2 <... fdatasync resumed>) = 0", answer], True),
    ):
        found = order.judged(order.events([*start, *flush], home), home, ports)
        assert 1 == found.answers
        assert good == (not found.violations)


def test_what_the_next_group_writes_is_told_apart() -> None:
    """What is written behind the wake-up of a commit is not the answer's; in front of it, it is."""
    home, ports = "/h", (5, 6)
    wal, woke = '2 pwrite64(5</h/archive.db-wal>, ""..., 9, 0) = 9', '2 write(9<anon_inode:[eventfd]>, ""..., 8) = 8'
    for order_of_both, good in (([woke, wal], True), ([wal, woke], False), ([wal], False)):
        lines = [
            '1 read(3<TCP:[127.0.0.1:5->127.0.0.1:9]>, ""..., 9) = 9',
            "2 pwritev2(4</h/vault/00000001.open>, [...], 4, 0, 0) = 9",
            "3 fdatasync(4</h/vault/00000001.open>) = 0",
            wal,
            "2 fdatasync(5</h/archive.db-wal>) = 0",
            *order_of_both,
            '1 write(3<TCP:[127.0.0.1:5->127.0.0.1:9]>, ""..., 9) = 9',
        ]
        assert good == (not order.judged(order.events(lines, home), home, ports).violations)


def test_a_call_that_is_not_followed_fails_the_check() -> None:
    """A way to write or send that the check does not know is no proof."""
    with pytest.raises(ViolationError, match="sendfile"):
        list(order.events(["1 sendfile(3<TCP:[127.0.0.1:5->127.0.0.1:9]>, 4</h/x>, NULL, 9) = 9"], "/h"))
