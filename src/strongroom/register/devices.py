"""
The enrolled devices: who they are, what they may do, where they may be reached (DESIGN section 6, Enrolment; SECURITY
C07).

The register keeps and gives back; what an entry means for a caller is decided in `access`. A name is taken for good,
since the trail names devices by it; an AE title is free again once its device is revoked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final, final

import apsw
import msgspec

from strongroom.errors import ConflictError, NotFound
from strongroom.register.rows import select

__all__ = [
    "Device",
    "Duplicates",
    "State",
    "add",
    "change",
    "every",
    "find",
    "resume",
    "revoke",
    "seen",
    "suspend",
    "with_ae_title",
]

_COLUMNS: Final = (
    "name, ae_title, actions, networks, doors, scope, private_sop_classes, duplicates, idle_seconds, max_associations,"
    " move_host, move_port, destinations, user_identity_type, state, created_at, expires, last_seen_at"
)
_texts = msgspec.json.Decoder(tuple[str, ...]).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode


@final
class State(StrEnum):
    """Whether a device is let in."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


@final
class Duplicates(StrEnum):
    """What a device is told when another content is known under the UID it sends (I3)."""

    WARN = "warn"
    """0x0111, duplicate SOP instance."""
    SUCCESS = "success"


@final
@dataclass(frozen=True, slots=True)
class Device:
    """One entry. *actions* are the words of `access.roles`; *networks* are CIDRs; *scope* is a JSON object."""

    name: str
    ae_title: str
    actions: frozenset[str]
    created_at: float
    networks: tuple[str, ...] = ()
    doors: frozenset[str] = frozenset()
    """Doors it may use; empty means every TLS door."""
    scope: Mapping[str, Any] = field(default_factory=dict)
    private_sop_classes: frozenset[str] = frozenset()
    duplicates: Duplicates = Duplicates.WARN
    idle_seconds: int | None = None
    max_associations: int | None = None
    move_host: str = ""
    move_port: int = 0
    destinations: frozenset[str] | None = None
    """Devices it may have sent to; None means every one that may receive."""
    user_identity_type: int | None = None
    state: State = State.ACTIVE
    expires: date | None = None
    last_seen_at: float | None = None

    @property
    def receives(self) -> bool:
        """Whether it has an address that C-MOVE can send to."""
        return bool(self.move_host and self.move_port)


def add(connection: apsw.Connection, device: Device) -> None:
    """Enrol a device; raises ConflictError when its name was ever used, by a token too, or its AE title is in use."""
    if find(connection, device.name) is not None:
        raise ConflictError(f"the name {device.name!r} is taken; names are never used twice")
    if select(connection, "SELECT 1 FROM token WHERE name = ?", (device.name,)):
        raise ConflictError(f"the name {device.name!r} is a token's")
    taken = with_ae_title(connection, device.ae_title)
    if taken is not None:
        raise ConflictError(f"the AE title {device.ae_title!r} belongs to the device {taken.name!r}")
    marks = ", ".join("?" * (_COLUMNS.count(",") + 1))
    connection.execute(f"INSERT INTO device ({_COLUMNS}) VALUES ({marks})", _columns(device))  # noqa: S608 -- our text


def find(connection: apsw.Connection, name: str) -> Device | None:
    """Return the device called *name*, in whatever state."""
    found = _select(connection, "name = ?", name)
    return found[0] if found else None


def with_ae_title(connection: apsw.Connection, ae_title: str) -> Device | None:
    """Return the device that has the AE title now: active or suspended, never a revoked one."""
    found = _select(connection, "state <> 'revoked' AND ae_title = ?", ae_title)
    return found[0] if found else None


def every(connection: apsw.Connection) -> tuple[Device, ...]:
    """Return all devices, revoked ones too, in the order of their names."""
    return _select(connection, "TRUE")


def change(connection: apsw.Connection, device: Device) -> None:
    """
    Write the whole entry of the device of this name anew, except its state and when it was seen.

    Raises NotFound, and ConflictError when the AE title is another device's or the device is revoked.
    """
    before = _present(connection, device.name)
    taken = with_ae_title(connection, device.ae_title)
    if taken is not None and taken.name != device.name:
        raise ConflictError(f"the AE title {device.ae_title!r} belongs to the device {taken.name!r}")
    kept = replace(device, state=before.state, created_at=before.created_at, last_seen_at=before.last_seen_at)
    connection.execute(
        f"UPDATE device SET ({_COLUMNS}) = ({', '.join('?' * (_COLUMNS.count(',') + 1))}) WHERE name = ?",  # noqa: S608 -- our text
        (*_columns(kept), device.name),
    )


def suspend(connection: apsw.Connection, name: str) -> None:
    """Let it in no more until `resume`; raises NotFound, and ConflictError when it is revoked."""
    _set_state(connection, name, State.SUSPENDED)


def resume(connection: apsw.Connection, name: str) -> None:
    """Let it in again; raises NotFound, and ConflictError when it is revoked."""
    _set_state(connection, name, State.ACTIVE)


def revoke(connection: apsw.Connection, name: str) -> None:
    """
    End an enrolment for good; raises NotFound, and ConflictError when that was done before.

    Its certificates are revoked by `certificates.revoke_of_device`, in the same transaction.
    """
    _set_state(connection, name, State.REVOKED)


def seen(connection: apsw.Connection, name: str, *, at: float) -> None:
    """Remember when a device was last let in; a name that is not enrolled changes nothing."""
    connection.execute(
        "UPDATE device SET last_seen_at = max(coalesce(last_seen_at, ?), ?) WHERE name = ?", (at, at, name)
    )


def _present(connection: apsw.Connection, name: str) -> Device:
    device = find(connection, name)
    if device is None:
        raise NotFound(f"no device is called {name!r}")
    if device.state is State.REVOKED:
        raise ConflictError(f"the device {name!r} is revoked, which is for good")
    return device


def _set_state(connection: apsw.Connection, name: str, state: State) -> None:
    _present(connection, name)
    connection.execute("UPDATE device SET state = ? WHERE name = ?", (state.value, name))


def _columns(device: Device) -> tuple[str | int | float | None, ...]:
    return (
        device.name,
        device.ae_title,
        _json(sorted(device.actions)),
        _json(device.networks),
        _json(sorted(device.doors)),
        _json(device.scope),
        _json(sorted(device.private_sop_classes)),
        device.duplicates.value,
        device.idle_seconds,
        device.max_associations,
        device.move_host,
        device.move_port,
        None if device.destinations is None else _json(sorted(device.destinations)),
        device.user_identity_type,
        device.state.value,
        device.created_at,
        None if device.expires is None else device.expires.isoformat(),
        device.last_seen_at,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _select(connection: apsw.Connection, where: str, *values: str) -> tuple[Device, ...]:
    rows = select(
        connection,
        f"SELECT {_COLUMNS} FROM device WHERE {where} ORDER BY name",  # noqa: S608 -- our text
        values,
    )
    return tuple(_device(row) for row in rows)


def _device(row: tuple[Any, ...]) -> Device:
    return Device(
        name=row[0],
        ae_title=row[1],
        actions=frozenset(_texts(row[2])),
        networks=_texts(row[3]),
        doors=frozenset(_texts(row[4])),
        scope=_object(row[5]),
        private_sop_classes=frozenset(_texts(row[6])),
        duplicates=Duplicates(row[7]),
        idle_seconds=row[8],
        max_associations=row[9],
        move_host=row[10],
        move_port=row[11],
        destinations=None if row[12] is None else frozenset(_texts(row[12])),
        user_identity_type=row[13],
        state=State(row[14]),
        created_at=row[15],
        expires=None if row[16] is None else date.fromisoformat(row[16]),
        last_seen_at=row[17],
    )
