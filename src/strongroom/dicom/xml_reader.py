"""
The Native DICOM Model (PS3.19 Annex A.1) from outside: XML text to DICOM JSON elements (SECURITY C35).

Expat, with everything refused that lets a document grow or reach out: document types, and so entities, external or
not. What comes out is judged by the same rules as JSON text.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn, final
from xml.parsers import expat

from strongroom.dicom import json as dicom_json
from strongroom.dicom.json import JsonElement
from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.errors import DataSetError

__all__ = ["from_xml"]

_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_TEXTS: Final = frozenset({"Value", "InlineBinary", *_COMPONENTS})
_PARENTS: Final[dict[str, tuple[str, ...]]] = {
    "NativeDicomModel": ("",),
    "DicomAttribute": ("NativeDicomModel", "Item"),
    **dict.fromkeys(("Value", "Item", "PersonName", "InlineBinary", "BulkData"), ("DicomAttribute",)),
    **dict.fromkeys(_GROUPS, ("PersonName",)),
    **dict.fromkeys(_COMPONENTS, _GROUPS),
}
_NAMES_PER_ELEMENT: Final = 6  # an attribute, a name, its group and components


def from_xml(text: bytes, *, limits: Limits = DEFAULT) -> dict[str, JsonElement]:
    """Read the document of one data set; raises DataSetError only. How long *text* may be is the caller's to say."""
    reader = _Reader(limits)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    try:
        parser.Parse(text, True)  # noqa: FBT003 -- expat takes it by position
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: an encoding Python does not offer
        raise DataSetError(f"{len(text)} bytes are no XML") from error
    return dicom_json.loads(dicom_json.dumps(reader.root), limits=limits)


def _refuse(*_: object) -> NoReturn:
    raise DataSetError("a document type or an entity in XML is refused")


@final
class _Reader:
    """Keeps the way from the root to where the parser is: a frame for each element that is open."""

    def __init__(self, limits: Limits) -> None:
        self.root: dict[str, Any] = {}
        self._limits = limits
        self._names = [""]
        self._open: list[Any] = [self.root]
        self._text: list[str] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins: what it holds is put into what is open."""
        local = name.rpartition(" ")[2]
        if self._names[-1] not in _PARENTS.get(local, ()):
            raise DataSetError("an element of XML stands where the Native DICOM Model has none of its name")
        self._count += 1
        if self._count > _NAMES_PER_ELEMENT * self._limits.max_elements:
            raise LimitExceeded("max_elements", self._limits.max_elements, self._count // _NAMES_PER_ELEMENT)
        if len(self._names) > 2 * self._limits.max_depth + 8:
            raise LimitExceeded("max_depth", self._limits.max_depth, len(self._names) // 2)
        self._open.append(self._begin(local, attributes, self._open[-1]))
        self._names.append(local)
        self._text = []

    def characters(self, text: str) -> None:
        """Text counts where a value is open; elsewhere it is layout."""
        if self._names[-1] in _TEXTS:
            self._text.append(text)

    def end(self, _: str) -> None:
        """An element ends: its text is its value."""
        local, holder = self._names.pop(), self._open.pop()
        text, self._text = "".join(self._text), []
        if local == "Value":
            holder.append(text or None)
        elif local == "InlineBinary":
            holder["InlineBinary"] = "".join(text.split())
        elif local in _COMPONENTS:
            holder[local] = text
        elif local in _GROUPS:
            components = [holder.pop(one, "") for one in _COMPONENTS]
            holder[local] = "^".join(components).rstrip("^")

    @staticmethod
    def _begin(local: str, attributes: dict[str, str], parent: Any) -> Any:
        """What an element opens inside of *parent*."""
        if local == "DicomAttribute":
            tag = attributes.get("tag", "").upper()
            if tag in parent:
                raise DataSetError("an element stands twice in XML")
            parent[tag] = {"vr": attributes.get("vr", "")}
            return parent[tag]
        if local in ("Value", "Item", "PersonName"):
            values = parent.setdefault("Value", [])
            if attributes.get("number", "") != str(len(values) + 1):
                raise DataSetError("the values of an element in XML are not numbered one by one")
            if local == "Value":
                return values
            values.append({})
            return values[-1]
        if local == "BulkData":
            parent["BulkDataURI"] = attributes.get("uri") or f"uuid:{attributes.get('uuid', '')}"
        return parent
