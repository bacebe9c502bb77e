"""
The data dictionary (PS3.6): value representation and keyword of a tag, tag of a keyword.

The table is parsed at the first question (about 2 ms), not at import. A tag is an int: group << 16 | element.
"""

from __future__ import annotations

from functools import cache
from sys import intern

from strongroom.dicom import _tables

__all__ = ["keyword_of", "tag_of", "vr_candidates", "vr_of"]

# What an element has whose VR depends on other elements: the first is what implicit VR little endian means by default
# (PS3.5 Annex A.1 for OB/OW; for US/SS the sign of Pixel Representation decides, which `json` and `convert` ask for).
_AMBIGUOUS = {"xs": ("US", "SS"), "ox": ("OW", "OB"), "lt": ("OW", "US"), "--": ()}

_ITEM_GROUP = 0xFFFE


@cache
def _elements() -> tuple[dict[int, str], dict[int, str]]:
    """VR code and keyword by tag."""
    codes: dict[int, str] = {}
    keywords: dict[int, str] = {}
    for row in _tables.ELEMENTS.splitlines():
        tag = int(row[:8], 16)
        codes[tag] = intern(row[9:11])
        if len(row) > 12:
            keywords[tag] = row[12:]
    return codes, keywords


@cache
def _vrs() -> dict[int, str]:
    """The VR to assume, by tag; delimiters have none."""
    codes, _ = _elements()
    first = {code: vrs[0] for code, vrs in _AMBIGUOUS.items() if vrs}
    return {tag: first.get(code, code) for tag, code in codes.items() if code != "--"}


@cache
def _repeating() -> dict[int, dict[int, tuple[str, str]]]:
    """Code and keyword of repeating elements (PS3.5 §7.6), by mask and masked tag."""
    masks: dict[int, dict[int, tuple[str, str]]] = {}
    for row in _tables.REPEATING.splitlines():
        pattern, code, keyword = row.split(" ")
        mask = int("".join("0" if digit == "x" else "F" for digit in pattern), 16)
        masks.setdefault(mask, {})[int(pattern.replace("x", "0"), 16)] = (code, keyword)
    return masks


@cache
def _tags() -> dict[str, int]:
    """Tag by keyword; a repeating element answers with its first group."""
    tags = {keyword: value for table in _repeating().values() for value, (_, keyword) in table.items()}
    return tags | {keyword: tag for tag, keyword in _elements()[1].items()}


def _repeated(tag: int) -> tuple[str, str] | None:
    for mask, table in _repeating().items():
        if found := table.get(tag & mask):
            return found
    return None


def vr_of(tag: int) -> str | None:
    """
    Return the VR an element has when its data set does not say it (implicit VR), None when the dictionary has none.

    Where several are possible the answer is the default one (see `vr_candidates`). Group length is UL, a private
    creator LO (PS3.5 §7.8.1); any other private or unknown element and the item delimiters have none.
    """
    found = _vrs().get(tag)
    if found is not None:
        return found
    if tag & 0x10000:
        element = tag & 0xFFFF
        if element == 0:
            return "UL"
        return "LO" if 0x10 <= element <= 0xFF else None
    if tag >> 16 == _ITEM_GROUP:
        return None
    if tag & 0xFFFF == 0:
        return "UL"
    repeated = _repeated(tag)
    return (_AMBIGUOUS.get(repeated[0]) or (repeated[0],))[0] if repeated else None


def vr_candidates(tag: int) -> tuple[str, ...]:
    """Return every VR the dictionary allows for an element, the default first; empty when it has none."""
    code = _elements()[0].get(tag)
    if code is None:
        vr = vr_of(tag)
        if vr is None:
            return ()
        repeated = None if tag & 0x10000 else _repeated(tag)
        code = repeated[0] if repeated else vr
    return _AMBIGUOUS.get(code, (code,))


def keyword_of(tag: int) -> str | None:
    """Return the keyword of a standard element, None for a private or unknown one."""
    found = _elements()[1].get(tag)
    if found is not None or tag & 0x10000:
        return found
    repeated = _repeated(tag)
    return repeated[1] if repeated else None


def tag_of(keyword: str) -> int | None:
    """Return the tag of a keyword such as "PatientName", None when no element is called so (case matters)."""
    return _tags().get(keyword)
