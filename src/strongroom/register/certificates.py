"""
Certificates that the archive's own authority issued (SECURITY C10).

To whom, until when, and which of them are revoked; the doors ask here at every association.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import apsw

from strongroom.errors import ConflictError, NotFound
from strongroom.register.rows import select

__all__ = ["Certificate", "add", "expired", "find", "of_device", "revoke", "revoke_of_device", "revoked"]

_COLUMNS: Final = "serial, fingerprint, device, not_before, expires, revoked_at"


@final
@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; *device* is None for the archive's own."""

    serial: int
    fingerprint: str
    """SHA-256 of its DER, lower-case hex."""
    device: str | None
    not_before: float
    expires: float
    revoked_at: float | None = None


def add(connection: apsw.Connection, certificate: Certificate) -> None:
    """Remember a certificate that was just issued; raises ConflictError when it is known, or its device is not."""
    try:
        connection.execute(
            f"INSERT INTO certificate ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 -- our text
            (
                str(certificate.serial),
                certificate.fingerprint,
                certificate.device,
                certificate.not_before,
                certificate.expires,
                certificate.revoked_at,
            ),
        )
    except apsw.ConstraintError as error:
        raise ConflictError("this certificate is in the register already, or its device is not") from error


def find(connection: apsw.Connection, fingerprint: str) -> Certificate | None:
    """Look a certificate up by its fingerprint."""
    found = _select(connection, "fingerprint = ?", fingerprint)
    return found[0] if found else None


def of_device(connection: apsw.Connection, device: str) -> tuple[Certificate, ...]:
    """Return the certificates of a device that are not revoked, the newest first."""
    return _select(connection, "device = ? AND revoked_at IS NULL", device)


def revoked(connection: apsw.Connection, *, now: float) -> tuple[Certificate, ...]:
    """Return the revoked certificates that would still be good at *now*: a revocation list (RFC 5280 §5)."""
    return _select(connection, "revoked_at IS NOT NULL AND expires > ?", now)


def expired(connection: apsw.Connection, *, by: float) -> tuple[Certificate, ...]:
    """Return the certificates in force that end before *by*: what has to be renewed."""
    return _select(connection, "revoked_at IS NULL AND expires < ?", by)


def revoke(connection: apsw.Connection, serial: int, *, at: float) -> None:
    """Revoke one certificate; an earlier revocation stays as it is. Raises NotFound."""
    known = select(connection, "SELECT 1 FROM certificate WHERE serial = ?", (str(serial),))
    if not known:
        raise NotFound("the register holds no certificate of this serial number")
    connection.execute(
        "UPDATE certificate SET revoked_at = ? WHERE serial = ? AND revoked_at IS NULL", (at, str(serial))
    )


def revoke_of_device(connection: apsw.Connection, device: str, *, at: float) -> int:
    """Revoke every certificate of a device; return how many were in force."""
    connection.execute("UPDATE certificate SET revoked_at = ? WHERE device = ? AND revoked_at IS NULL", (at, device))
    return connection.changes()


def _select(connection: apsw.Connection, where: str, value: str | float) -> tuple[Certificate, ...]:
    rows = select(
        connection,
        f"SELECT {_COLUMNS} FROM certificate WHERE {where} ORDER BY not_before DESC, serial",  # noqa: S608 -- our text
        (value,),
    )
    return tuple(Certificate(int(row[0]), *row[1:]) for row in rows)
