"""
The structure of a data set (PS3.5 Chapter 7), walked once, in pieces of any size, in constant stack and bounded memory.

The walk visits every element, item and fragment to the very end and keeps no value. It refuses what is not whole: a
value that ends early, a child that reaches beyond its parent, a delimiter that is missing or stands in the wrong
place. It takes what is odd but common: odd lengths, wrong group lengths, tags out of order, unknown VRs, implicit
items in an explicit data set, delimiters that close something of defined length, UN of undefined length (PS3.5
§6.2.2).

What it found is given as marks: plain tuples, because one is made for every element of every image.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, final

from strongroom.dicom.dictionary import vr_of
from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ITEM",
    "ITEM_DELIMITATION",
    "LONG_VRS",
    "MAX_FRAGMENTS",
    "PIXEL_DATA_TAGS",
    "SEQUENCE_DELIMITATION",
    "SHORT_VRS",
    "UNDEFINED",
    "Mark",
    "StructureFault",
    "Walker",
]

Mark: TypeAlias = "tuple[int, str | None, int, int]"
"""Tag, VR (None where the data set does not say it), offset of the value, length of the value (or UNDEFINED)."""

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
MAX_FRAGMENTS: Final = 262_144
"""Fragments of Pixel Data whose places are noted: the most frames an object may have, and its offset table."""
PIXEL_DATA_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and plain Pixel Data: one of them at most stands in a data set (PS3.3 C.7.6.3)."""

SHORT_VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS"}
    | {"LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"}
)
"""VRs whose length field has 16 bits (PS3.5 Table 7.1-2)."""
LONG_VRS: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
"""VRs followed by two reserved bytes and a length field of 32 bits (PS3.5 Table 7.1-1)."""

_FIRST_PIXEL_TAG: Final = 0x7FE00008
_DELIMITER_GROUP: Final = 0xFFFE
_BEFORE_DATA_SET: Final = 0x0002FFFF  # groups 0000 and 0002 belong to the message and to the file (PS3.5 §7.1)
_NOTHING_YET: Final = -1
_ENDLESS: Final = 1 << 62
_WIDE_HEADER: Final = 12  # bytes of an element header
_BRIDGE: Final = 64  # bytes joined to a header cut by the end of a fragment; anything from 12 up is right
# Written in place of a VR by programs that did not know one; DCMTK too reads them with a length of 16 bits.
_NO_VR: Final = (b"??", b"--", b"  ", b"\0\0")
_MAY_BE_UNDEFINED: Final = ("SQ", "UN", "OB", "OW")
_FOREIGN_GROUPS: Final = (0x0000, 0x0002)


@final
class StructureFault(DataSetError):  # noqa: N818 -- says what is wrong, like every error of this program
    """The data set is not built as PS3.5 says; *offset* is where in the (inflated) data set."""

    def __init__(self, what: str, offset: int, tag: int | None = None) -> None:
        where = f" in element ({tag >> 16:04X},{tag & 0xFFFF:04X})" if tag is not None else ""
        super().__init__(f"{what}{where} at byte {offset}")
        self.offset = offset
        self.tag = tag


# What the bytes of a frame are. Plain numbers, because members of an Enum are looked up slowly.
_ELEMENTS: Final = 0
_ITEMS: Final = 1
_FRAGMENTS: Final = 2


class _Codec(NamedTuple):
    """How element headers are written."""

    explicit: bool
    order: Literal["little", "big"]
    header: Struct
    long_length: Struct
    item: Struct
    short: Mapping[int, str]  # by the number that the two letters are when read as 16 bits in this byte order
    long: Mapping[int, str]


def _codec(order: Literal["little", "big"], *, explicit: bool) -> _Codec:
    mark = "<" if order == "little" else ">"
    return _Codec(
        explicit,
        order,
        Struct(mark + ("HHHH" if explicit else "HHI")),
        Struct(mark + "I"),
        Struct(mark + "HHI"),
        {int.from_bytes(vr.encode(), order): vr for vr in SHORT_VRS},
        {int.from_bytes(vr.encode(), order): vr for vr in LONG_VRS},
    )


_EXPLICIT_LITTLE: Final = _codec("little", explicit=True)
_EXPLICIT_BIG: Final = _codec("big", explicit=True)
_IMPLICIT_LITTLE: Final = _codec("little", explicit=False)


class _Frame(NamedTuple):
    """What is being walked: the data set, a sequence, an item or encapsulated fragments."""

    kind: int
    end: int  # offset, _ENDLESS when a delimiter ends it
    codec: _Codec


@final
class Walker:
    """
    Walks one data set, uncompressed by deflate. Use: `feed` every piece in order, then `finish`.

    Without *nested* only top-level elements are marked; one of undefined length is marked a second time, with its
    true length, when it has ended. With *nested* everything is marked: elements at every depth, items (ITEM,
    UNDEFINED or true length), fragments (ITEM), and the end of each item and sequence (a delimitation tag of length
    0, made up where the length was defined).
    """

    __slots__ = (
        "_carry",
        "_fault",
        "_frame",
        "_limits",
        "_nested",
        "_noted",
        "_opened",
        "_previous",
        "_skip",
        "_stack",
        "count",
        "depth",
        "disorder",
        "fragments",
        "offset",
        "pixel_data_offset",
    )

    def __init__(
        self, *, explicit: bool, little_endian: bool = True, nested: bool = False, limits: Limits = DEFAULT
    ) -> None:
        codec = (_EXPLICIT_LITTLE if little_endian else _EXPLICIT_BIG) if explicit else _IMPLICIT_LITTLE
        self._limits = limits
        self._nested = nested
        self._frame = _Frame(_ELEMENTS, _ENDLESS, codec)
        self._previous = _BEFORE_DATA_SET  # the last tag of this frame
        self._stack: list[tuple[_Frame, int]] = []
        self._opened: Mark | None = None
        self._carry = b""
        self._skip = 0
        self._noted = -1
        self._fault: DataSetError | None = None
        self.offset = 0
        """Bytes taken so far."""
        self.count = 0
        """Elements, items and fragments begun so far, at every depth."""
        self.depth = 0
        self.disorder = 0
        """Top-level elements whose tag is not greater than the one in front of it (PS3.5 §7.1 wants them ascending)."""
        self.pixel_data_offset: int | None = None
        """Where the header of the first top-level Pixel Data element begins."""
        self.fragments = array("Q")
        """
        Offset and length of each fragment of that element, its Basic Offset Table first; MAX_FRAGMENTS + 1 at most.
        """

    def feed(self, view: bytes | memoryview) -> list[Mark]:
        """
        Take the next bytes and return what began in them: at most a mark for every eight bytes, so feed at most about
        1 MiB.

        Passing over a value costs the same whatever its length. Raises DataSetError, then and at every later call.
        """
        if self._fault is not None:
            raise self._fault
        marks: list[Mark] = []
        try:
            if self.offset + len(view) > self._limits.max_data_set_length:
                raise LimitExceeded("max_data_set_length", self._limits.max_data_set_length, self.offset + len(view))
            self._take(view, marks)
        except DataSetError as fault:
            self._fault = fault
            raise
        return marks

    @property
    def coming(self) -> int:
        """Bytes of the present value that have not come yet: `pass_over` does without them."""
        return self._skip

    def pass_over(self, count: int) -> None:
        """Go on *count* bytes ahead inside the present value, as if they had been fed."""
        if not 0 <= count <= self._skip or self.offset + count > self._limits.max_data_set_length:
            raise StructureFault(f"a value has no {count} further bytes", self.offset)
        self._skip -= count
        self.offset += count

    def begin(self, offset: int, count: int, tag: int) -> None:
        """
        Go on at *offset* of a data set of which nothing was fed, as if it had been: whole elements at the top, *count*
        with all in them, ascending up to *tag*, none of them Pixel Data.
        """
        self.offset, self.count, self._previous = offset, count, tag

    def finish(self) -> list[Mark]:
        """Return the marks of what ends with the data set; raise DataSetError when the data set is not whole."""
        if self._fault is not None:
            raise self._fault
        marks: list[Mark] = []
        if not self._skip and not self._carry:
            while self._frame.end == self.offset:
                self._close(self.offset, marks)
        if self._skip or self._carry or self._stack:
            self._fault = StructureFault(f"the data set ends inside {self._inside()}", self.offset)
            raise self._fault
        if not self.count:
            raise StructureFault("the data set is empty", 0)
        return marks

    def _inside(self) -> str:
        if self._skip:
            return f"a value, {self._skip} bytes early"
        if self._carry:
            return "an element header"
        return f"a sequence at depth {self.depth}"

    def _take(self, view: bytes | memoryview, marks: list[Mark]) -> None:
        """Walk one piece: the rest of a value, a header cut by the last piece, then the bulk."""
        base = self.offset
        size = len(view)
        self.offset = base + size
        pos = self._skip
        if pos >= size:
            self._skip = pos - size
            return
        self._skip = 0
        if self._carry:
            bridge = self._carry + bytes(view[:_BRIDGE])
            done = self._run(bridge, 0, base - len(self._carry), marks)
            if not done:
                self._carry = bridge  # still not a whole header, so all of view went into it
                return
            pos = done - len(self._carry)
            self._carry = b""
        if pos < size:
            pos = self._run(view, pos, base, marks)
        if pos > size:
            self._skip = pos - size
        elif pos < size:
            self._carry = bytes(view[pos:])

    def _run(self, buf: bytes | memoryview, pos: int, base: int, marks: list[Mark]) -> int:
        """Walk from *pos*; return where the next header begins, beyond *buf* when a value is longer than it."""
        size = len(buf)
        while pos <= size:
            frame = self._frame
            if base + pos == frame.end:
                self._close(base + pos, marks)
                continue
            if size - pos < 8:
                break
            if frame.kind == _ELEMENTS:
                step = self._explicit if frame.codec.explicit else self._implicit
            else:
                step = self._items if frame.kind == _ITEMS else self._fragments
            after = step(buf, pos, base, marks)
            if self.count > self._limits.max_elements:
                raise LimitExceeded("max_elements", self._limits.max_elements, self.count)
            if after == pos and self._frame is frame:
                break
            pos = after
        return pos

    def _explicit(self, buf: bytes | memoryview, pos: int, base: int, marks: list[Mark]) -> int:  # noqa: PLR0912 -- the hot loop
        """
        Walk explicit VR elements (PS3.5 §7.1.2) until the frame changes or more bytes are needed.

        Long, because a call for each element would double its cost.
        """
        _, end, codec = self._frame
        unpack, short, long = codec.header.unpack_from, codec.short.get, codec.long.get
        add = marks.append if self._nested or not self._stack else None
        end -= base
        size = len(buf)
        room = min(size, end) - 8
        previous = self._previous
        count = 0
        while pos <= room:
            group, element, code, length = unpack(buf, pos)
            tag = group << 16 | element
            if not previous < tag < _FIRST_PIXEL_TAG:
                if group == _DELIMITER_GROUP:
                    self.count += count
                    return self._delimiter(tag, pos, base, marks)
                self._unusual(tag, previous, base + pos)
            value = pos + 8
            vr = short(code)
            if vr is None:
                wide = True
                vr = long(code)
                if vr is None:
                    if previous == _NOTHING_YET and self._turns_implicit(code):
                        return pos
                    vr, wide = "UN", self._is_wide(code, length, tag, base + pos)
                if wide:
                    value += 4
                    if value > size or value > end:
                        break
                    length = codec.long_length.unpack_from(buf, value - 4)[0]
                    if length == UNDEFINED or (vr == "SQ" and length):
                        self._previous = tag
                        self.count += count + 1
                        return self._open((tag, vr, base + value, length), base, marks)
                    if length > self._limits.max_value_length:
                        raise LimitExceeded("max_value_length", self._limits.max_value_length, length)
            if value + length > end:
                raise StructureFault(f"a value of {length} bytes reaches beyond its item", base + pos, tag)
            if add is not None:
                add((tag, vr, base + value, length))
            previous = tag
            count += 1
            pos = value + length
        self._previous = previous
        self.count += count
        if pos < end < pos + 12 and end <= size:
            raise StructureFault("an item ends inside an element header", base + pos)
        return pos

    def _implicit(self, buf: bytes | memoryview, pos: int, base: int, marks: list[Mark]) -> int:
        """Walk implicit VR elements (PS3.5 §7.1.3) until the frame changes or more bytes are needed."""
        _, end, codec = self._frame
        unpack = codec.header.unpack_from
        max_length = self._limits.max_value_length
        add = marks.append if self._nested or not self._stack else None
        end -= base
        size = len(buf)
        room = min(size, end) - 8
        previous = self._previous
        count = 0
        while pos <= room:
            group, element, length = unpack(buf, pos)
            tag = group << 16 | element
            if not previous < tag < _FIRST_PIXEL_TAG:
                if group == _DELIMITER_GROUP:
                    self.count += count
                    return self._delimiter(tag, pos, base, marks)
                self._unusual(tag, previous, base + pos)
            value = pos + 8
            if length == UNDEFINED or (length and vr_of(tag) == "SQ"):
                self._previous = tag
                self.count += count + 1
                return self._open((tag, "OB" if tag in PIXEL_DATA_TAGS else "SQ", base + value, length), base, marks)
            if length > max_length:
                raise LimitExceeded("max_value_length", max_length, length)
            if value + length > end:
                raise StructureFault(f"a value of {length} bytes reaches beyond its item", base + pos, tag)
            if add is not None:
                add((tag, None, base + value, length))
            previous = tag
            count += 1
            pos = value + length
        self._previous = previous
        self.count += count
        if pos < end < pos + 8:
            raise StructureFault("an item ends inside an element header", base + pos)
        return pos

    def _items(self, buf: bytes | memoryview, pos: int, base: int, marks: list[Mark]) -> int:
        """Walk one item header of a sequence, or the delimiter that ends the sequence (PS3.5 §7.5)."""
        group, element, length = self._frame.codec.item.unpack_from(buf, pos)
        tag = group << 16 | element
        if tag != ITEM:
            return self._delimiter(tag, pos, base, marks)
        value = base + pos + 8
        end = _ENDLESS if length == UNDEFINED else value + length
        self._check_child(end if end != _ENDLESS else value, value - 8, tag)
        self.count += 1
        if self._nested:
            marks.append((ITEM, None, value, length))
        self._push(_Frame(_ELEMENTS, end, self._frame.codec))
        return pos + 8

    def _fragments(self, buf: bytes | memoryview, pos: int, base: int, marks: list[Mark]) -> int:
        """Pass over the fragments of encapsulated Pixel Data (PS3.5 §A.4), up to the delimiter."""
        unpack = self._frame.codec.item.unpack_from
        room = len(buf) - 8
        noted = self.fragments if self._is_first_pixel_data() else None
        while pos <= room:
            group, element, length = unpack(buf, pos)
            tag = group << 16 | element
            if tag != ITEM:
                return self._delimiter(tag, pos, base, marks)
            if length == UNDEFINED:
                raise StructureFault("a fragment has no length", base + pos)
            if length > self._limits.max_value_length:
                raise LimitExceeded("max_value_length", self._limits.max_value_length, length)
            self.count += 1
            if self._nested:
                marks.append((ITEM, None, base + pos + 8, length))
            if noted is not None and len(noted) <= 2 * MAX_FRAGMENTS:
                noted.append(base + pos + 8)
                noted.append(length)
            pos += 8 + length
        return pos

    def _is_first_pixel_data(self) -> bool:
        """Whether the fragments being walked are those of the first top-level Pixel Data element."""
        if len(self._stack) != 1 or self._opened is None or self.pixel_data_offset is None:
            return False
        return 0 < self._opened[2] - self.pixel_data_offset <= _WIDE_HEADER

    def _delimiter(self, tag: int, pos: int, base: int, marks: list[Mark]) -> int:
        """
        End the frame at a delimiter, or refuse what stands in its place.

        Its length field is not looked at: it is 0 by the standard and ignored by every reader. In an item or a
        sequence of defined length a delimiter is superfluous, and taken as its last eight bytes only.
        """
        offset = base + pos
        kind, end, _ = self._frame
        wanted = ITEM_DELIMITATION if kind == _ELEMENTS else SEQUENCE_DELIMITATION
        if tag != wanted or not self._stack or end not in (_ENDLESS, offset + 8):
            raise StructureFault("an item, a delimiter or an element stands where it must not", offset, tag)
        self._close(offset, marks)
        return pos + 8

    def _open(self, mark: Mark, base: int, marks: list[Mark]) -> int:
        """Begin a sequence or encapsulated fragments; return where its first item begins."""
        tag, vr, value, length = mark
        frame = self._frame
        if vr not in _MAY_BE_UNDEFINED:
            raise StructureFault("a value of undefined length is no sequence and no encapsulated data", value, tag)
        if not self._stack:
            self._opened = mark
        if self._nested or not self._stack:
            marks.append(mark)
        end = _ENDLESS if length == UNDEFINED else value + length
        self._check_child(end if end != _ENDLESS else value, value, tag)
        if self.depth >= self._limits.max_depth:
            raise LimitExceeded("max_depth", self._limits.max_depth, self.depth + 1)
        self.depth += 1
        # What is inside UN of undefined length is implicit VR little endian (PS3.5 §6.2.2), but many write explicit VR:
        # the first element of each item decides, as it does in any other item of an explicit data set.
        codec = _EXPLICIT_LITTLE if vr == "UN" else frame.codec
        self._push(_Frame(_ITEMS if vr in ("SQ", "UN") else _FRAGMENTS, end, codec))
        return value - base

    def _check_child(self, end: int, offset: int, tag: int) -> None:
        if end > self._frame.end:
            raise StructureFault(f"it reaches {end - self._frame.end} bytes beyond what it is part of", offset, tag)

    def _push(self, frame: _Frame) -> None:
        self._stack.append((self._frame, self._previous))
        self._frame = frame
        self._previous = _NOTHING_YET

    def _close(self, offset: int, marks: list[Mark]) -> None:
        """End the present frame, whose last byte (or delimiter) lies just before (or at) *offset*."""
        ended = self._frame
        self._frame, self._previous = self._stack.pop()
        if ended.kind != _ELEMENTS:
            self.depth -= 1
        if self._nested:
            marks.append((ITEM_DELIMITATION if ended.kind == _ELEMENTS else SEQUENCE_DELIMITATION, None, offset, 0))
        elif not self._stack and self._opened is not None and self._opened[3] == UNDEFINED:
            tag, vr, value, _ = self._opened
            marks.append((tag, "SQ" if vr == "UN" else vr, value, offset - value))

    def _unusual(self, tag: int, previous: int, offset: int) -> None:
        """Note what is remarkable about a tag out of order, or from Pixel Data on."""
        if self._stack or offset == self._noted:  # the same header comes twice when it was cut
            return
        self._noted = offset
        if tag <= previous:
            if tag >> 16 in _FOREIGN_GROUPS:
                # Written into a file behind its File Meta Information it would be read as a part of that.
                raise StructureFault("an element of the message or the file stands in the data set", offset, tag)
            if previous != _BEFORE_DATA_SET:
                self.disorder += 1
        if tag in PIXEL_DATA_TAGS and self.pixel_data_offset is None:
            self.pixel_data_offset = offset

    def _turns_implicit(self, code: int) -> bool:
        """
        Tell whether an item of an explicit data set is implicit: its first element has a length where the VR should be.

        Not what the standard says outside UN, but some scanners write it and most readers take it.
        """
        first, second = code.to_bytes(2, self._frame.codec.order)
        letters = 65 <= first <= 90 and 65 <= second <= 90
        if letters or not self._stack or self._frame.codec.order == "big":
            return False
        self._frame = self._frame._replace(codec=_IMPLICIT_LITTLE)
        return True

    def _is_wide(self, code: int, reserved: int, tag: int, offset: int) -> bool:
        """
        Tell whether an element whose VR is not known has a length field of 32 bits.

        Any VR the standard may add has one (PS3.5 §6.2, note on new VRs), behind two reserved zero bytes.
        """
        letters = code.to_bytes(2, self._frame.codec.order)
        if letters in _NO_VR:
            return False
        if not (letters.isalpha() and letters.isupper()):
            raise StructureFault("there is no VR where the explicit data set must have one", offset, tag)
        return reserved == 0
