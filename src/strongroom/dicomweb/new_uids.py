"""UIDs for pictures that come without (PS3.5 §B.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from strongroom.dicom import uid
from strongroom.dicom.json import JsonElement
from strongroom.imaging.reading import text


@final
class Uids:
    """Makes the UIDs that the metadata of a picture leaves out; pictures of one study and class share a new series."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._series: dict[tuple[str, str], str] = {}

    def complete(self, elements: dict[str, JsonElement]) -> None:
        """Fill in SOP Instance and Series Instance UID where they are absent or empty."""
        key = text(elements, "0020000D"), text(elements, "00080016")
        if not text(elements, "00080018"):
            elements["00080018"] = {"vr": "UI", "Value": [uid.from_random(self._entropy(16))]}
        if not text(elements, "0020000E"):
            if key not in self._series:
                self._series[key] = uid.from_random(self._entropy(16))
            elements["0020000E"] = {"vr": "UI", "Value": [self._series[key]]}
