"""
Data sets built like one before: the images of a series have the same elements, so one comparison takes the place of a
walk (PS3.5 Chapter 7).

Why that is the same: the walk looks at headers, items and delimiters only, never into a value. Where all of these are
byte for byte those of a data set that was walked, it would come to the same end. An element at the top that only has
another length is stepped over; at anything else that differs the walk takes over from there.
"""

from __future__ import annotations

from bisect import bisect_right
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, final

from strongroom.dicom.dictionary import vr_of
from strongroom.dicom.limits import DEFAULT, Limits
from strongroom.dicom.walk import ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, UNDEFINED, Mark, Walker

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["KEPT", "Likenesses"]

KEPT: Final = 8
"""Structures remembered at a time, the newest use first: what a few devices send at one moment."""
LONGEST_HEAD: Final = 64 * 1024
MOST_RUNS: Final = 2_048
"""What is remembered is no longer, so that all of it stays below some MiB."""
MOST_CHANGES: Final = 16
"""Elements of another length that are stepped over before the walk takes over."""
MOST_TAILS: Final = 32
MOST_IN_VAIN: Final = 255

_Pattern = tuple[Struct, tuple[bytes, ...]]


class _Element(NamedTuple):
    """One element at the top, with everything inside it."""

    start: int
    mark: Mark
    runs: tuple[tuple[int, int], ...]  # bytes of structure, bytes of a value behind them
    before: int  # elements and items in front of it
    adjustable: bool  # it is no sequence and cannot become one


@final
class _Likeness:
    """The structure of one data set up to its Pixel Data."""

    __slots__ = ("_count", "_elements", "_first_runs", "_head", "_order", "_tails", "_where", "explicit", "order")

    def __init__(
        self, head: bytes, elements: list[_Element], count: int, *, explicit: bool, little_endian: bool
    ) -> None:
        self._head = head
        self._elements = elements
        self._count = count
        self.explicit = explicit
        self.order: Literal["little", "big"] = "little" if little_endian else "big"
        self._where = {element.mark[0]: element.mark for element in elements}
        self._first_runs = [0]  # number of the first run of each element
        for element in elements:
            self._first_runs.append(self._first_runs[-1] + len(element.runs))
        self._tails: dict[int, _Pattern] = {}
        self._tail(0)

    def compare(self, walker: Walker, view: bytes | memoryview, limits: Limits, where: dict[int, Mark]) -> bool:
        """
        Compare the front of *view* with it, set *walker* behind what is alike, and put the marks of that into *where*.

        Returns whether it is everything up to Pixel Data.
        """
        elements, size, stop = self._elements, len(view), len(self._elements)
        number, delta = 0, 0
        for _ in range(MOST_CHANGES + 1):
            struct, expected = self._tail(number)
            at = elements[number].start + delta
            if at + struct.size > size:
                break
            found = struct.unpack_from(view, at)
            if found == expected:
                self._add(where, number, stop, delta)
                number = stop
                break
            run = next(i for i, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
            differs = bisect_right(self._first_runs, self._first_runs[number] + run) - 1
            self._add(where, number, differs, delta)
            number = differs
            length = self._other_length(number, found[run], limits)
            tag, vr, offset, usual = elements[number].mark
            if length < 0 or offset + delta + length > size or len(self._tails) >= MOST_TAILS:
                break
            where[tag] = tag, vr, offset + delta, length
            delta += length - usual
            number += 1
            if number == stop:
                break
        whole = number == stop
        if number:
            walker.begin(
                (len(self._head) if whole else elements[number].start) + delta,
                self._count if whole else elements[number].before,
                elements[number - 1].mark[0],
            )
        return whole

    def _add(self, where: dict[int, Mark], first: int, stop: int, delta: int) -> None:
        """Add the marks of some elements, moved by *delta* bytes."""
        if delta:
            for _, (tag, vr, offset, length), _, _, _ in self._elements[first:stop]:
                where[tag] = tag, vr, offset + delta, length
        elif first or stop < len(self._elements):
            where.update([(element.mark[0], element.mark) for element in self._elements[first:stop]])
        else:
            where.update(self._where)

    def _other_length(self, number: int, header: bytes, limits: Limits) -> int:
        """Return the length in *header* when nothing else of it differs from that of an adjustable element, or -1."""
        element = self._elements[number]
        if not element.adjustable:
            return -1
        short = self.explicit and len(header) == _SHORT_HEADER
        if short and element.mark[1] == "UN":
            return -1  # of a VR that nobody knows the length decides how the header is read
        width = 2 if short else 4
        if header[:-width] != self._head[element.start : element.start + len(header) - width]:
            return -1
        length = int.from_bytes(header[-width:], self.order)
        return -1 if length == UNDEFINED or (width == 4 and length > limits.max_value_length) else length

    def _tail(self, number: int) -> _Pattern:
        """What the elements from *number* on are compared with."""
        known = self._tails.get(number)
        if known is None:
            runs = [run for element in self._elements[number:] for run in element.runs]
            struct = Struct("<" + "".join(f"{fixed}s{free}x" for fixed, free in runs))
            known = self._tails[number] = struct, struct.unpack_from(self._head, self._elements[number].start)
        return known


@final
class Likenesses:
    """What was met lately; for data sets that are read under one set of *limits*."""

    __slots__ = ("_in_vain", "_known", "_limits", "_pause")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._known: tuple[_Likeness, ...] = ()
        self._in_vain = 0  # how often it is pointless to learn before it is tried again; grows while nothing is alike
        self._pause = 0

    def walk(
        self,
        walker: Walker,
        view: bytes | memoryview,
        where: dict[int, Mark],
        *,
        explicit: bool,
        little_endian: bool,
    ) -> tuple[list[Mark], bool]:
        """
        Do for the first piece of a data set what `walker.feed` does; say as well whether it was all known.

        The marks of what is known go into *where*, which is empty, by their tags; the others are returned. Raises what
        `walker.feed` raises.
        """
        order = "little" if little_endian else "big"
        for place, known in enumerate(self._known):
            if known.explicit is not explicit or known.order != order:
                continue
            whole = known.compare(walker, view, self._limits, where)
            if whole:
                self._in_vain = self._pause = 0
                if place:
                    self._known = (known, *self._known[:place], *self._known[place + 1 :])
            if where:
                return walker.feed(view[walker.offset :]), whole
        return walker.feed(view), False

    def learn(self, head: bytes, *, explicit: bool, little_endian: bool) -> None:
        """Remember how *head*, everything in front of Pixel Data, is built; it was walked and found whole."""
        if self._pause:
            self._pause -= 1
            return
        self._pause = self._in_vain
        self._in_vain = min(2 * self._in_vain + 1, MOST_IN_VAIN)
        known = _take_apart(head, explicit=explicit, little_endian=little_endian, limits=self._limits)
        if known is not None:
            self._known = (known, *self._known[: KEPT - 1])


_SHORT_HEADER: Final = 8


def _take_apart(head: bytes, *, explicit: bool, little_endian: bool, limits: Limits) -> _Likeness | None:
    """Return the structure of *head*; None when it is too large, or none of those that are remembered."""
    if not 0 < len(head) <= LONGEST_HEAD:
        return None
    walker = Walker(explicit=explicit, little_endian=little_endian, nested=True, limits=limits)
    marks = walker.feed(head) + walker.finish()
    if walker.disorder:
        return None
    elements: list[_Element] = []
    start = depth = count = total = 0
    top: Mark = marks[0]
    values: list[tuple[int, int]] = []
    for mark in marks:
        tag, vr, offset, length = mark
        end = -1
        if tag in (ITEM_DELIMITATION, SEQUENCE_DELIMITATION):
            depth -= 1
            end = offset + (8 if top[3] == UNDEFINED else 0)
        elif tag == ITEM:
            depth += 1
            total += 1
        else:
            if not depth:
                top, count, values = mark, total, []
            total += 1
            if length == UNDEFINED or (vr == "SQ" and length):
                if vr not in ("SQ", "UN"):
                    return None  # encapsulated, in front of Pixel Data
                depth += 1
            else:
                values.append((offset, offset + length))
                end = offset + length
        if depth == 0:
            elements.append(_element(start, end, top, values, count))
            start = end
    if sum(len(element.runs) for element in elements) > MOST_RUNS or start != len(head):
        return None
    return _Likeness(head, elements, total, explicit=explicit, little_endian=little_endian)


def _element(start: int, end: int, mark: Mark, values: list[tuple[int, int]], count: int) -> _Element:
    """Put together what stands from *start* to *end*; *values* are the places that do not matter."""
    runs: list[tuple[int, int]] = []
    at = start
    for first, stop in values:
        runs.append((first - at, stop - first))
        at = stop
    if at < end:
        runs.append((end - at, 0))
    tag, vr, offset, length = mark
    sequence = vr == "SQ" or length == UNDEFINED or (vr is None and vr_of(tag) == "SQ")
    if length == UNDEFINED:
        # as the walk marks it when it has ended: its true length, without the delimiter
        mark = tag, "SQ" if vr == "UN" else vr, offset, end - 8 - offset
    return _Element(start, mark, tuple(runs), count, not sequence)
