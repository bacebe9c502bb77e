"""Looking up across the register's tables what only start-up, `check` and the gate's directory ask."""

from __future__ import annotations

from collections.abc import Mapping

import apsw
import msgspec

from strongroom.register.certificates import Certificate, _select
from strongroom.register.rows import select

__all__ = ["certificates_of_device", "has_blob", "keeps_anything", "sent_other_content"]


def keeps_anything(connection: apsw.Connection) -> bool:
    """Whether there is any conflict, quarantine entry or deletion at all: most archives save a search for each blob."""
    return bool(
        connection.execute(
            "SELECT 1 FROM (SELECT 1 FROM conflict LIMIT 1) UNION ALL SELECT 1 FROM (SELECT 1 FROM quarantine LIMIT 1)"
            " UNION ALL SELECT 1 FROM (SELECT 1 FROM deleted_instance LIMIT 1)"
        ).fetchall()
    )


__all__ = ["certificates_of_device", "has_blob", "sent_other_content"]


def has_blob(connection: apsw.Connection, blob_id: bytes) -> bool:
    """Whether a conflict, a quarantine entry or a deletion names the blob."""
    return bool(
        connection.execute(
            "SELECT 1 FROM conflict WHERE blob_id = ?1 UNION ALL SELECT 1 FROM quarantine WHERE blob_id = ?1"
            " UNION ALL SELECT 1 FROM deleted_instance WHERE blob_id = ?1 LIMIT 1",
            (blob_id,),
        ).fetchall()
    )


def certificates_of_device(connection: apsw.Connection, device: str) -> tuple[Certificate, ...]:
    """Every certificate a device ever had, revoked ones too: the trail names a revoked caller by them."""
    return _select(connection, "device = ?", device)


def sent_other_content(connection: apsw.Connection, device: str, digests: Mapping[str, bytes]) -> frozenset[str]:
    """SOP Instance UIDs among *digests* under which *device* sent a content of another digest, which was kept aside."""
    rows = select(
        connection,
        "SELECT sop_instance_uid, digest FROM conflict WHERE device = ?"
        " AND sop_instance_uid IN (SELECT value FROM json_each(?))",
        (device, msgspec.json.encode(list(digests)).decode()),
    )
    return frozenset(uid for uid, digest in rows if digests[uid] != digest)
