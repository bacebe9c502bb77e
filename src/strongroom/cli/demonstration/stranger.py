"""
The stranger: what somebody without the right key can try at the door, tried for real, and what the trail says of it.

Each attempt is told apart in the trail by the port it came from, or, where the device itself is known, by its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.authority import Authority
from strongroom.cli.demonstration.journey import find
from strongroom.cli.demonstration.site import AE_TITLE
from strongroom.dicom.uid import IMPLICIT_VR_LITTLE_ENDIAN
from strongroom.errors import StrongroomError
from strongroom.transport import (
    AssociationEndedError,
    AssociationRejectedError,
    Callee,
    Identity,
    association_request,
    connect,
    unverified_client_context,
)
from strongroom.upper_layer import number_contexts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from strongroom.cli.demonstration.site import Device, Site

_VERIFICATION: Final = "1.2.840.10008.1.1"
_PATIENCE_SECONDS: Final = 5.0
"""A refused handshake is recorded just after the connection has gone; look again for so long."""
_AGAIN_SECONDS: Final = 0.2
_LAST: Final = "200"


@final
@dataclass(slots=True)
class Attempt:
    """One thing a stranger tried."""

    tried: str
    code: str
    """Our word for the refusal, which the trail has to hold."""
    got: str = ""
    let_in: bool = False
    source: str = ""
    """Address and port it came from, where the trail knows the caller by nothing else."""
    actor: str = ""
    """The enrolled device it was, as the trail calls it, where the trail knows one."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    record: dict[str, Any] | None = None
    """Its record, as `trail show` prints it."""

    @property
    def held(self) -> bool:
        """Whether it was refused, and recorded."""
        return not self.let_in and self.record is not None

    def is_recorded_by(self, record: dict[str, Any]) -> bool:
        """Whether *record* is about this attempt."""
        if record["outcome"] != self.code or datetime.fromisoformat(record["time"]) < self.since:
            return False
        return bool(record["source"] == self.source if self.source else record["actor"] == self.actor)

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "tried": self.tried,
            "got": self.got,
            "let_in": self.let_in,
            "expected_record": self.code,
            "record": self.record,
        }


async def tour(site: Site, modality: Device, reader: Device) -> list[Attempt]:
    """Try everything. The records are looked up afterwards, by `look_up`."""
    door = Callee("127.0.0.1", site.port, unverified_client_context(), server_name="localhost")
    own = await asyncio.to_thread(_self_made, site, modality)
    steps: list[tuple[Attempt, Callable[[Attempt], Coroutine[Any, Any, str]]]] = [
        (
            Attempt("connect over TLS without a certificate", "certificate-missing"),
            lambda attempt: _knock(attempt, door, modality.ae_title),
        ),
        (
            Attempt(f"a self-made certificate that says {modality.name}", "certificate-untrusted"),
            lambda attempt: _knock(attempt, replace(door, tls=unverified_client_context(own)), modality.ae_title),
        ),
        (
            Attempt(f"the AE title of {reader.name} with the certificate of {modality.name}", "ae-title-mismatch"),
            lambda attempt: _knock(attempt, site.callee(modality), reader.ae_title),
        ),
        (
            Attempt("an association in plain text on the TLS door", "no-tls"),
            lambda attempt: _knock(attempt, replace(door, tls=None), modality.ae_title),
        ),
        (
            Attempt(
                f"query every patient (*) as {modality.name}, which may only deposit",
                "action-not-granted",
                actor=f"device:{modality.name}",
            ),
            lambda _: _query(site, modality),
        ),
    ]
    attempts: list[Attempt] = []
    for attempt, act in steps:
        attempt.since = datetime.now(UTC).replace(microsecond=0)
        try:
            attempt.got = await act(attempt)
            attempt.let_in = True
        except (StrongroomError, OSError) as error:
            attempt.got = _what(error)
        attempts.append(attempt)
    return attempts


def look_up(site: Site, attempts: list[Attempt]) -> None:
    """Find the record of each attempt in the trail, by `trail show`."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        records = site.run("trail", "show", "--refused", "--last", _LAST)
        for attempt in attempts:
            attempt.record = next((record for record in records if attempt.is_recorded_by(record)), None)
        if all(attempt.record for attempt in attempts) or time.monotonic() > until:
            return
        time.sleep(_AGAIN_SECONDS)


async def _knock(attempt: Attempt, callee: Callee, calling: str) -> str:
    """Ask for an association for verification, the least there is; returns only when it was granted."""

    def announce(address: tuple[str, int]) -> None:
        attempt.source = f"{address[0]}:{address[1]}"

    contexts = number_contexts([(_VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))])
    request = association_request(called=AE_TITLE, calling=calling, contexts=contexts)
    conversation = await connect(callee, request, announce=announce)
    with contextlib.suppress(StrongroomError):
        await conversation.release()
    return "LET IN"


async def _query(site: Site, device: Device) -> str:
    """Ask for every patient; returns only when it was answered."""
    (matches,) = await find(site, device, [{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "*"}]}}])
    return f"ANSWERED: {len(matches)} studies"


def _self_made(site: Site, modality: Device) -> Identity:
    """A certificate as somebody makes it who knows how ours look, but has another authority."""
    folder = site.root / "stranger"
    folder.mkdir(mode=0o700)
    authority = Authority.create(folder, os.urandom(32), clock=lambda: datetime.now(UTC), entropy=os.urandom)
    bundle = authority.issue_device(modality.name, modality.ae_title, days=1)
    return Identity(bundle.certificate, bundle.key)


def _what(error: Exception) -> str:
    """What the stranger saw, in the words of the protocol that said it."""
    if isinstance(error, AssociationRejectedError):
        return f"A-ASSOCIATE-RJ {error.result}/{error.source}/{error.reason}, no reason given"
    alert = error.alert if isinstance(error, AssociationEndedError) else getattr(error, "reason", None) or ""
    if "ALERT_" in alert:
        return f"TLS alert: {_readable(alert)}"
    if isinstance(error, AssociationEndedError):
        return "connection closed, not a byte of DICOM"
    if isinstance(error, ConnectionError | ssl.SSLEOFError):
        return "connection closed"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return str(error) or "no answer"


def _readable(alert: str) -> str:
    """TLSV13_ALERT_CERTIFICATE_REQUIRED -> certificate required."""
    return alert.rpartition("ALERT_")[2].replace("_", " ").lower()
