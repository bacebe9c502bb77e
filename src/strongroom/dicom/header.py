"""
The header of a data set: everything but Pixel Data, captured while its structure is walked (PS3.5 Chapter 7).

One pass over the bytes as they come, in pieces of any size; nothing of Pixel Data is kept. Elements are not made into
objects while they pass: an image has hundreds, the archive asks for some dozens, so they are cut out of the captured
bytes when asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

from strongroom.dicom import charset
from strongroom.dicom.dictionary import vr_candidates, vr_of
from strongroom.dicom.inflate import Inflater
from strongroom.dicom.likeness import Likenesses
from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN, clean, transfer_syntax
from strongroom.dicom.walk import PIXEL_DATA_TAGS, Mark, StructureFault, Walker
from strongroom.errors import UnsupportedSyntaxError

__all__ = ["Elements", "Header", "HeaderReader", "Located", "RawElement"]

_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_STUDY_INSTANCE_UID: Final = 0x0020000D
_PIXEL_REPRESENTATION: Final = 0x00280103
_HEADER: Final = 12  # bytes of the longest element header
_PIECE: Final = 1 << 20  # what is walked and captured at once, so that the marks of one step stay few whatever is fed
_MAX_STRETCHES: Final = 3
_MAX_IDENTIFYING: Final = 1024
_IDENTIFYING: Final = frozenset(
    {_SPECIFIC_CHARACTER_SET, 0x00080016, 0x00080018, 0x00100020, 0x00100021, _STUDY_INSTANCE_UID, 0x0020000E}
)


@final
class RawElement(NamedTuple):
    """
    An element as it stands in the data set: value bytes in its byte order, padding included, items of a sequence as
    one.
    """

    vr: str
    """
    As written, or by the dictionary in implicit VR; "UN" when nobody knows. UN of undefined length is "SQ" (PS3.5
    §6.2.2).
    """
    value: bytes


@final
class Located(NamedTuple):
    """Where the value of an element lies in the (inflated) data set."""

    vr: str
    offset: int
    length: int


@final
class Elements(Mapping[int, RawElement]):
    """
    The top-level elements of a data set by tag, cut out of its captured bytes when asked for.

    Holds those whose value is captured: neither Pixel Data nor values longer than Limits.max_captured_value (see
    Header.located).
    """

    __slots__ = ("_max_value", "_stretches", "_where")

    def __init__(
        self, where: dict[int, Mark], stretches: Sequence[tuple[int, bytes | bytearray]], max_value: int
    ) -> None:
        self._where = where
        self._stretches = stretches
        self._max_value = max_value

    def value(self, tag: int) -> bytes | None:
        """Return the bytes of a value, None when it is absent or not captured: the quick way for the index."""
        mark = self._where.get(tag)
        if mark is None:
            return None
        _, _, offset, length = mark
        if length > self._max_value or tag in PIXEL_DATA_TAGS:
            return None
        for start, kept in self._stretches:
            begin = offset - start
            if 0 <= begin <= len(kept) - length:
                return bytes(kept[begin : begin + length])
        return None

    def raw_values(self, tags: Iterable[int]) -> list[bytes | None]:
        """Return what `value` says of each of *tags*, most of which are absent: one call for a whole level."""
        where, (_, front), longest = self._where, self._stretches[0], self._max_value
        found: list[bytes | None] = []
        for tag in tags:
            mark = where.get(tag)
            if mark is None:
                found.append(None)
                continue
            _, _, offset, length = mark
            if offset + length <= len(front) and length <= longest and tag not in PIXEL_DATA_TAGS:
                found.append(bytes(front[offset : offset + length]))  # the first stretch begins at 0
            else:
                found.append(self.value(tag))
        return found

    def located(self) -> dict[int, Located]:
        """Return where the values lie that are not captured."""
        return {
            tag: Located(self._vr(mark), mark[2], mark[3])
            for tag, mark in self._where.items()
            if self.value(tag) is None
        }

    def _vr(self, mark: Mark) -> str:
        vr = mark[1]
        if vr is not None:
            return vr
        vr = vr_of(mark[0]) or "UN"
        if vr == "US" and "SS" in vr_candidates(mark[0]):  # PS3.5 Annex A.1; implicit VR is little endian
            return "SS" if (self.value(_PIXEL_REPRESENTATION) or b"")[:1] == b"\1" else "US"
        return vr

    @property
    def captured(self) -> int:
        """Bytes that are held."""
        return sum(len(kept) for _, kept in self._stretches)

    def place(self, tag: int) -> Located | None:
        """Return where the value of an element lies, captured or not; None when it is absent."""
        mark = self._where.get(tag)
        return None if mark is None else Located(self._vr(mark), mark[2], mark[3])

    def behind(self, offset: int) -> bool:
        """Whether an element other than Pixel Data has its value behind *offset*."""
        return any(mark[2] > offset and tag not in PIXEL_DATA_TAGS for tag, mark in self._where.items())

    def __getitem__(self, tag: int) -> RawElement:
        value = self.value(tag)
        if value is None:
            raise KeyError(tag)
        return RawElement(self._vr(self._where[tag]), value)

    def __contains__(self, tag: object) -> bool:
        return isinstance(tag, int) and self.value(tag) is not None

    def __iter__(self) -> Iterator[int]:
        return (tag for tag in self._where if self.value(tag) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@final
@dataclass(frozen=True, slots=True)
class Header:
    """What a whole data set says besides Pixel Data. Offsets and `head` are those of the inflated data set."""

    transfer_syntax_uid: str
    encoding_uid: str
    """How `head` is written: the transfer syntax, or what a deflated one is when inflated."""
    explicit: bool
    little_endian: bool
    elements: Elements
    head: bytes | None
    """Everything in front of Pixel Data; None when that is more than Limits.max_captured."""
    length: int
    """Bytes of the data set as received."""
    element_count: int
    """Elements, items and fragments at every depth."""
    pixel_data_offset: int | None
    """Where the header of Pixel Data begins, None when there is none."""
    disorder: int
    """Top-level elements that do not stand in ascending order."""
    duplicates: int
    """Top-level elements that stand twice; the last one counts. One that identifies the instance is refused."""
    fragments: array[int] = field(default_factory=lambda: array("Q"))
    """Offset and length of each fragment of Pixel Data, in turn (see Walker.fragments); empty when it is native."""

    @property
    def character_set(self) -> tuple[str, ...]:
        """The values of Specific Character Set (PS3.3 C.12.1.1.2)."""
        raw = self.elements.value(_SPECIFIC_CHARACTER_SET)
        return charset.parse(raw) if raw else ()

    @property
    def located(self) -> dict[int, Located]:
        """The elements that are not in `elements`: where their values lie."""
        return self.elements.located()

    def uid(self, tag: int) -> str:
        """Return a UID without padding, "" when it is absent or empty."""
        raw = self.elements.value(tag)
        return clean(raw) if raw else ""

    def text(self, tag: int) -> str:
        """Return the first value of an element as text without padding, "" when it is absent or empty."""
        element = self.elements.get(tag)
        if element is None or not element.value:
            return ""
        values = charset.decode_values(element.value, element.vr, self.character_set)
        return values[0].strip(" ") if values else ""


@final
class _Capture:
    """
    What is kept of a data set: everything but Pixel Data, each stretch of it up to a limit.

    One stretch ends where Pixel Data begins or where the limit is reached, the next begins with the value of the
    first element behind that. Three at most: what fits in front of Pixel Data, what else is in front of it, what is
    behind it.
    """

    __slots__ = ("_limits", "_open", "_pixel_data_passed", "_resume", "stretches", "whole_head")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.stretches: list[tuple[int, bytearray]] = [(0, bytearray())]
        self._open = True
        self._resume = 0  # the next stretch begins with a value at this offset or behind it
        self._pixel_data_passed = False
        self.whole_head = True

    @property
    def past_head(self) -> bool:
        """Whether Pixel Data has begun and nothing behind it is being kept."""
        return self._pixel_data_passed and not self._open

    def take(self, view: bytes | memoryview, base: int, marks: list[Mark], pixel_data: int | None) -> None:
        """Keep what is wanted of the bytes at offset *base*, in which *marks* began."""
        if self._open:
            self._extend(view, base, marks, pixel_data)
        while not self._open and len(self.stretches) < _MAX_STRETCHES:
            first = next((mark[2] for mark in marks if mark[2] >= self._resume and mark[2] >= base), None)
            if first is None:
                return
            self.stretches.append((first, bytearray()))
            self._open = True
            self._extend(view[first - base :], first, marks, pixel_data)

    def _extend(self, view: bytes | memoryview, base: int, marks: list[Mark], pixel_data: int | None) -> None:
        start, buffer = self.stretches[-1]
        stop = len(view)
        stops = pixel_data is not None and not self._pixel_data_passed
        if stops and pixel_data is not None:
            stop = pixel_data - base
        if len(buffer) + stop > self._limits.max_captured:
            self._overflow(view, base, marks)
        elif not stops:
            buffer += view
        else:
            if stop >= 0:
                buffer += view[:stop]
            else:
                del buffer[base + stop - start :]  # the header of Pixel Data was cut, its beginning is here already
            self._pixel_data_passed = True
            self._open = False
            self._resume = base + stop + _HEADER + 1

    def _overflow(self, view: bytes | memoryview, base: int, marks: list[Mark]) -> None:
        """End a stretch that would become too long, but with the whole of a short value that is being kept."""
        _, buffer = self.stretches[-1]
        rest = next((mark[2] - base for mark in marks if mark[2] >= base), len(view))
        if rest <= self._limits.max_captured_value + _HEADER:
            buffer += view[:rest]
        self._open = False
        self._resume = base
        if len(self.stretches) == 1:
            self.whole_head = False


@final
class HeaderReader:
    """
    Reads one data set as it comes. Use: `feed` every fragment in order, then `finish`.

    Only DataSetError is raised, at the fragment that shows the fault and at every later call.
    """

    __slots__ = (
        "_capture",
        "_disorder",
        "_doubtful",
        "_duplicates",
        "_inflater",
        "_late",
        "_length",
        "_likenesses",
        "_limits",
        "_piece",
        "_study",
        "_syntax",
        "_walker",
        "_where",
    )

    def __init__(
        self, transfer_syntax_uid: str, *, limits: Limits = DEFAULT, likenesses: Likenesses | None = None
    ) -> None:
        """*likenesses* remember, under the same *limits*, what was read before."""
        syntax = transfer_syntax(transfer_syntax_uid)
        if syntax is None:
            raise UnsupportedSyntaxError("no data set can be read in this transfer syntax: it is not known")
        self._syntax = syntax
        self._limits = limits
        self._inflater = Inflater(limits) if syntax.deflated else None
        self._walker = Walker(explicit=syntax.explicit, little_endian=syntax.little_endian, limits=limits)
        self._likenesses = likenesses if self._inflater is None else None
        self._piece = min(_PIECE, limits.max_captured // 4)
        self._where: dict[int, Mark] = {}
        self._capture = _Capture(limits)
        self._length = 0
        self._disorder = 0
        self._duplicates = 0
        self._doubtful: list[tuple[Mark, Mark]] = []  # identifying elements that stand twice
        self._late: set[int] | None = None  # what came since `so_far`
        self._study: str | None = None

    @property
    def study_instance_uid(self) -> str | None:
        """(0020,000D) as soon as its value has come; None before that, and when it is absent or empty."""
        if self._study is None and _STUDY_INSTANCE_UID in self._where:
            raw = self._elements(self._capture.stretches).value(_STUDY_INSTANCE_UID)
            self._study = clean(raw) or None if raw else None
        return self._study

    @property
    def at_pixel_data(self) -> bool:
        """Whether Pixel Data has begun: what stands in front of it is known then."""
        return self._walker.pixel_data_offset is not None

    def unchanged(self, tags: frozenset[int]) -> bool:
        """Whether `finish` says of each of *tags* what `so_far` said when it was called last."""
        return self._late is not None and self._late.isdisjoint(tags)

    def feed(self, view: bytes | memoryview) -> None:
        """Take the next bytes; the view may be reused afterwards."""
        size = len(view)
        self._length += size
        if self._inflater is not None:
            for piece in self._inflater.feed(view):
                self._walk(piece)
        elif size <= self._piece:
            self._walk(view)
        else:
            for start in range(0, size, self._piece):
                self._walk(view[start : start + self._piece])

    @property
    def coming(self) -> int:
        """Bytes of Pixel Data that have not come yet and need not: `pass_over` does without them."""
        return self._walker.coming if self._inflater is None and self._capture.past_head else 0

    def pass_over(self, count: int) -> None:
        """Go on *count* bytes ahead inside Pixel Data, as if they had been fed."""
        self._walker.pass_over(count)
        self._length += count

    def finish(self) -> Header:
        """Return the header; raise DataSetError when the data set is not structurally whole (I4)."""
        if self._inflater is not None:
            for piece in self._inflater.finish():
                self._walk(piece)
        self._index(self._walker.finish())
        return self._header()

    def so_far(self) -> Header:
        """
        Return what is known already, to work ahead with while Pixel Data comes; nothing is promised about the rest.

        Raises DataSetError when what identifies the instance stands twice, differently.
        """
        self._late = set()
        header = self._header()
        likenesses, self._likenesses = self._likenesses, None
        if likenesses is not None and header.head is not None and not header.disorder:
            likenesses.learn(header.head, explicit=header.explicit, little_endian=header.little_endian)
        return header

    def _header(self) -> Header:
        syntax = self._syntax
        stretches = [(start, bytes(buffer)) for start, buffer in self._capture.stretches]
        self._check_doubtful(stretches)
        return Header(
            transfer_syntax_uid=syntax.uid,
            encoding_uid=EXPLICIT_VR_LITTLE_ENDIAN if syntax.deflated else syntax.uid,
            explicit=syntax.explicit,
            little_endian=syntax.little_endian,
            elements=self._elements(stretches),
            head=stretches[0][1] if self._capture.whole_head else None,
            length=self._length,
            element_count=self._walker.count,
            pixel_data_offset=self._walker.pixel_data_offset,
            disorder=self._disorder,
            duplicates=self._duplicates,
            fragments=self._walker.fragments,
        )

    def _check_doubtful(self, stretches: Sequence[tuple[int, bytes | bytearray]]) -> None:
        """Two values of what identifies the instance would make two instances of it, depending on who reads it."""
        for earlier, later in self._doubtful:
            tag = later[0]
            first, second = (Elements({tag: mark}, stretches, _MAX_IDENTIFYING).value(tag) for mark in (earlier, later))
            if first is None or first != second:
                raise StructureFault("what identifies the instance stands twice, differently", later[2], tag)

    def _elements(self, stretches: Sequence[tuple[int, bytes | bytearray]]) -> Elements:
        return Elements(self._where, stretches, self._limits.max_captured_value)

    def _walk(self, view: bytes | memoryview) -> None:
        """Walk one piece, note its top-level elements, keep what is not Pixel Data."""
        walker = self._walker
        base = walker.offset
        marks = walker.feed(view) if base or self._likenesses is None else self._recognise(view)
        if marks:
            self._index(marks)
        self._capture.take(view, base, marks, walker.pixel_data_offset)

    def _recognise(self, view: bytes | memoryview) -> list[Mark]:
        """Walk the first piece, by comparing it if one like it came before."""
        assert self._likenesses is not None
        syntax = self._syntax
        marks, known = self._likenesses.walk(
            self._walker, view, self._where, explicit=syntax.explicit, little_endian=syntax.little_endian
        )
        if known:
            self._likenesses = None  # there is nothing to learn
        return marks

    def _index(self, marks: list[Mark]) -> None:
        where = self._where
        if self._late is not None:
            self._late.update([mark[0] for mark in marks])
        if self._walker.disorder == self._disorder:
            for mark in marks:
                where[mark[0]] = mark
        else:
            self._disorder = self._walker.disorder
            for mark in marks:
                tag = mark[0]
                earlier = where.get(tag)
                if (
                    earlier is not None and earlier[2] != mark[2]
                ):  # otherwise it is the mark of a sequence that has ended
                    self._duplicates += 1
                    if tag in _IDENTIFYING:
                        self._doubtful.append((earlier, mark))
                where[tag] = mark
            if len(self._doubtful) > len(_IDENTIFYING):
                raise StructureFault("what identifies the instance stands many times", marks[-1][2])
        if len(where) > self._limits.max_top_level_elements:
            raise LimitExceeded("max_top_level_elements", self._limits.max_top_level_elements, len(where))
