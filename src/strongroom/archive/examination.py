"""
Are these instances kept? Each is read again whole, opened and compared with what was received (PS3.4 J.3, C51).

1. What is not there, was deleted or lies outside the asker's scope is one and the same: 0112.
2. What is there under another SOP class: 0119.
3. Where the asker itself sent another content under this UID than the one that is kept, that one is not kept: 0110.
4. What does not open or is not what was received: 0110.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, final

from strongroom.archive.record import Record
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.query import Target
from strongroom.dicom.model import Level
from strongroom.errors import OutOfResources, StrongroomError
from strongroom.register.lookups import sent_other_content

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.catalogue.scope import Scope

HELD: Final = 0
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_OBJECT_INSTANCE: Final = 0x0112
CLASS_INSTANCE_CONFLICT: Final = 0x0119
"""Failure Reasons (PS3.3 C.14.1.1)."""

LOOKED_UP_AT_ONCE: Final = 500
"""Instances found by one statement."""
STEP_BYTES: Final = 64 * 1024 * 1024
"""Bytes read between two signs of life."""
_WINDOW: Final = 1024 * 1024


@final
class Examination:
    """One run; iterate `run` in a worker thread, then look at the rest."""

    def __init__(
        self,
        parts: Parts,
        device: str,
        asked: Sequence[tuple[str, str]],
        scope: Scope,
        *,
        has_second: Callable[[InstanceRow], bool] | None = None,
    ) -> None:
        self._parts = parts
        self._device = device
        self._asked = asked
        self._scope = scope
        self._has_second = has_second
        self._read_since = 0
        self.reasons: list[int] = []
        self.kept: list[InstanceRow] = []
        self.damaged = 0
        """Instances that are not what was received."""

    def run(self) -> Generator[int, None, None]:
        """Look at each instance in the order that was asked; yields how many are done."""
        for start in range(0, len(self._asked), LOOKED_UP_AT_ONCE):
            asked = self._asked[start : start + LOOKED_UP_AT_ONCE]
            rows, other = self._look_up([sop_instance_uid for _, sop_instance_uid in asked])
            for sop_class_uid, sop_instance_uid in asked:
                row = rows.get(sop_instance_uid)
                if row is None:
                    reason = NO_SUCH_OBJECT_INSTANCE
                elif row.sop_class_uid != sop_class_uid:
                    reason = CLASS_INSTANCE_CONFLICT
                elif sop_instance_uid in other:
                    reason = PROCESSING_FAILURE
                else:
                    reason = yield from self._read(row)
                self.reasons.append(reason)
                if row is not None and reason == HELD:
                    self.kept.append(row)
            yield len(self.reasons)

    def _look_up(self, uids: list[str]) -> tuple[dict[str, InstanceRow], frozenset[str]]:
        """The rows inside the scope, and the UIDs under which the device sent something else too."""
        with self._parts.database.reader() as connection:
            target = Target(Level.IMAGE, sop_instance_uids=tuple(dict.fromkeys(uids)))
            rows = {row.sop_instance_uid: row for row in catalogue.instances(connection, target, self._scope)}
            digests = {uid: row.digest for uid, row in rows.items()}
            return rows, sent_other_content(connection, self._device, digests)

    def _read(self, row: InstanceRow) -> Generator[int, None, int]:
        digest = hashlib.sha256()
        try:
            record = Record(self._parts, row)
            for cover in record.windows(0, None, window=_WINDOW):
                piece = record.open(cover)
                digest.update(piece)
                self._read_since += len(piece)
                if self._read_since >= STEP_BYTES:
                    self._read_since = 0
                    yield len(self.reasons)
        except OutOfResources:
            raise
        except StrongroomError:
            self.damaged += 1
            return PROCESSING_FAILURE
        if digest.digest() != row.digest:
            self.damaged += 1
            return PROCESSING_FAILURE
        if self._has_second is not None and not self._has_second(row):
            return PROCESSING_FAILURE
        return HELD
