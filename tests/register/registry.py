"""A register in memory, and what goes into it."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from strongroom.ground.database import migrate, migrations_in
from strongroom.ground.label import Label


def register() -> apsw.Connection:
    """A fresh one."""
    connection = apsw.Connection(":memory:")
    connection.execute("PRAGMA foreign_keys = on")
    migrate(connection, "register", migrations_in("strongroom.register.migrations"))
    return connection


@dataclass(frozen=True)
class Place:
    """Somewhere in a vault."""

    pack: int
    offset: int
    length: int = 1100
    plain_length: int = 1000


@dataclass(frozen=True)
class Stored:
    """A blob in a vault."""

    location: Place
    blob_id: bytes
    key_id: bytes


def stored(number: int) -> Stored:
    """The blob of that number."""
    return Stored(Place(1, number * 4096), number.to_bytes(16, "big"), bytes(16))


def label(sop_instance_uid: str = "1.1.1.1", digest: bytes = b"d" * 32) -> Label:
    """What is known of it."""
    return Label(
        sop_instance_uid=sop_instance_uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        study_instance_uid="1.1",
        series_instance_uid="1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=digest,
        plain_length=1000,
        received_at=1_700_000_000.5,
        device_id="CT1",
    )
