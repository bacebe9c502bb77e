"""
Keys that outlive a master key: those of files that are never written anew, so that a rotation need not touch history
(docs/decisions/0013-rotation.md).

`keys/lasting.keys` holds them, sealed under the master key. Without that file (a home that was never rotated) they are
derived from the master key as they always were.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

import msgspec

from strongroom.errors import IntegrityError
from strongroom.ground.master import MasterKey
from strongroom.ground.seal import open_small, seal_small

NAME: Final = "lasting.keys"
TRAIL: Final = "trail 1"
PURPOSES: Final = (TRAIL,)
"""Whatever is derived for these stays what it is through a rotation."""
_PURPOSE: Final = "lasting keys 1"
_FRONT: Final = b"SRlk\x01\x00\x00\x00"
_MOST_BYTES: Final = 65_536


@final
class Lasting:
    """The lasting keys of one home."""

    def __init__(self, master: MasterKey, kept: Mapping[str, bytes]) -> None:
        self._master = master
        self._kept = dict(kept)

    def __repr__(self) -> str:
        return f"Lasting({len(self._kept)})"

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes for *purpose*, as ever."""
        return self._kept.get(purpose) or self._master.derive(purpose)

    def encode(self, master: MasterKey) -> bytes:
        """Return the file's bytes for another master key: it gives the same keys from then on."""
        plain = msgspec.msgpack.encode({purpose: self.derive(purpose) for purpose in PURPOSES})
        return _FRONT + seal_small(master.derive(_PURPOSE), plain, _FRONT, randomness=os.urandom)


def load(keys: Path, master: MasterKey) -> Lasting:
    """Read the file in the folder *keys*. Raises IntegrityError when it does not open under *master*."""
    try:
        with (keys / NAME).open("rb") as file:
            data = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return Lasting(master, {})
    if data[: len(_FRONT)] != _FRONT:
        raise IntegrityError(f"keys/{NAME} is damaged; it has to come back from a backup")
    try:
        plain = open_small(master.derive(_PURPOSE), data[len(_FRONT) :], _FRONT)
        return Lasting(master, msgspec.msgpack.decode(plain, type=dict[str, bytes]))
    except (IntegrityError, msgspec.MsgspecError) as wrong:
        raise IntegrityError(f"keys/{NAME} does not open under this master key, or is damaged") from wrong
