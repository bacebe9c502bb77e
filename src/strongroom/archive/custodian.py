"""
What custody, administration and review mean: counts, enrolment, check, trail. Each method asks the policy for its
action first.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, final

from strongroom.access.roles import Action
from strongroom.archive import recording
from strongroom.archive.acts import Change, Note
from strongroom.archive.upkeep import Upkeep
from strongroom.audit.codes import EventType
from strongroom.audit.trail import Filter
from strongroom.audit.verify import verify
from strongroom.catalogue import instances as catalogue
from strongroom.errors import ConfigurationError, IntegrityError
from strongroom.register import (
    callers,
    certificates,
    conflicts,
    deletions,
    devices,
    heads,
    holds,
    quarantine,
    tombstones,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import apsw

    from strongroom.access.authority import Authority, Bundle
    from strongroom.archive.core import Core
    from strongroom.archive.directory import Directory
    from strongroom.archive.session import Session
    from strongroom.audit.trail import Entry

DEVICE_ACTIONS = frozenset({"deposit", "query", "retrieve"})
TRAIL_PAGE = 200


@final
class Custodian:
    """The archive's keepers' tools, behind a session like everything else."""

    def __init__(self, core: Core, directory: Directory, authority: Authority, session: Session) -> None:
        self._core = core
        self._directory = directory
        self._authority = authority
        self._session = session

    async def require_review(self) -> None:
        """Raise AccessDenied unless the session may review."""
        await self._session.require(Action.REVIEW)

    async def status(self) -> dict[str, Any]:
        """Counts; no patient value."""
        await self.require_review()
        return await asyncio.to_thread(self._status)

    def _status(self) -> dict[str, Any]:
        with self._core.parts.database.reader() as connection:
            counts = catalogue.counts(connection)
            oldest = catalogue.oldest_check(connection)
            now = self._core.parts.clock().timestamp()
            return {
                "patients": counts.patients,
                "studies": counts.studies,
                "series": counts.series,
                "instances": counts.instances,
                "bytes": counts.bytes,
                "conflicts": conflicts.count(connection),
                "quarantine": quarantine.count(connection),
                "holds": holds.count(connection, at=now),
                "erased": tombstones.count(connection),
                "devices": self._directory.count,
                "oldest_unchecked_blob": None if oldest is None else _when(oldest),
            }

    async def enrol(
        self,
        *,
        name: str,
        ae_title: str,
        may: list[str],
        networks: list[str],
        move: tuple[str, int] | None,
        private_classes: list[str],
        legacy_door: str | None,
        days: int,
    ) -> dict[str, Any]:
        """Enrol a device and issue its certificate; the key is returned once and kept nowhere."""
        await self._session.require(Action.ADMINISTER)
        actions = frozenset(may)
        if not actions or not actions <= DEVICE_ACTIONS:
            other = ", ".join(sorted(actions - DEVICE_ACTIONS)) or "nothing"
            raise ConfigurationError(f"a device may deposit, query or retrieve; not {other}")
        if legacy_door is not None and actions != {"deposit"}:
            raise ConfigurationError("a device on the plaintext door may only deposit (and echo)")
        if legacy_door is not None and not networks:
            raise ConfigurationError(
                "a device on the plaintext door needs --network: there its address is all that tells it apart"
            )
        parts = self._core.parts
        bundle = None
        if legacy_door is None:
            bundle = self._authority.issue_device(name, ae_title, days=days, hosts=[move[0]] if move else [])
        device = devices.Device(
            name=name,
            ae_title=ae_title,
            actions=actions,
            created_at=parts.clock().timestamp(),
            networks=tuple(networks),
            doors=frozenset({legacy_door} if legacy_door else ()),
            scope={"everything": True},
            private_sop_classes=frozenset(private_classes),
            move_host=move[0] if move else "",
            move_port=move[1] if move else 0,
        )
        message = parts.reporter.changed(
            parts.clock(),
            recording.party(self._session.actor),
            EventType.NETWORK_CONFIGURATION,
            f"urn:strongroom:device:{name}",
            "device enrolled",
            ("AE title", ae_title),
            ("May", ", ".join(sorted(actions))),
        )
        await self._core.committer.submit(Change(lambda connection: _enrol(connection, device, bundle), (message,)))
        self._directory.reload()
        return _enrolled(device, bundle, self._authority)

    async def revoke(self, name: str) -> dict[str, Any]:
        """Revoke a device and its certificates; open sessions of it are refused from now on."""
        await self._session.require(Action.ADMINISTER)
        parts = self._core.parts
        at = parts.clock().timestamp()
        message = parts.reporter.changed(
            parts.clock(),
            recording.party(self._session.actor),
            EventType.NETWORK_CONFIGURATION,
            f"urn:strongroom:device:{name}",
            "device revoked",
        )
        await self._core.committer.submit(Change(lambda connection: _revoke(connection, name, at), (message,)))
        self._directory.reload()
        return {"name": name, "state": "revoked"}

    async def devices(self) -> dict[str, Any]:
        """The register of devices, and who knocked without being in it."""
        await self.require_review()
        return await asyncio.to_thread(self._devices)

    def _devices(self) -> dict[str, Any]:
        with self._core.parts.database.reader() as connection:
            found = [
                {
                    "name": device.name,
                    "ae_title": device.ae_title,
                    "may": sorted(device.actions),
                    "networks": list(device.networks),
                    "state": device.state.value,
                    "expires": next(
                        (_when(one.expires)[:10] for one in certificates.of_device(connection, device.name)), None
                    ),
                    "move": f"{device.move_host}:{device.move_port}" if device.receives else None,
                    "last_seen": None if device.last_seen_at is None else _when(device.last_seen_at),
                }
                for device in devices.every(connection)
            ]
            refused = [
                {
                    "ae_title": one.ae_title,
                    "address": one.address,
                    "door": one.door,
                    "reason": one.reason,
                    "count": one.count,
                    "last": _when(one.last_at),
                }
                for one in callers.refused(connection)
            ]
        return {"devices": found, "refused": refused}

    async def deletions(self) -> list[dict[str, Any]]:
        """What was deleted and can be taken back, the newest act first."""
        await self.require_review()

        def read() -> list[dict[str, Any]]:
            with self._core.parts.database.reader() as connection:
                return [
                    {
                        "when": _when(one.at),
                        "who": one.actor,
                        "reason": one.reason,
                        "studies": list(one.study_instance_uids),
                        "instances": one.instances,
                    }
                    for one in deletions.every(connection)
                ]

        return await asyncio.to_thread(read)

    async def check(self, *, read: bool) -> AsyncGenerator[dict[str, Any]]:
        """See `Upkeep.check`."""
        async for reply in Upkeep(self._core, self._session).check(read=read):
            yield reply

    async def trail(
        self, *, last: int, patient: str | None, actor: str | None, refused: bool
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        """Records, newest first, in pages; that the trail was read is recorded first."""
        await self.require_review()
        parts = self._core.parts
        what = ", ".join(
            part
            for part, given in (("of a patient", patient), (f"of {actor}", actor), ("refused only", refused))
            if given
        )
        message = parts.reporter.trail_read(parts.clock(), recording.party(self._session.actor), what)
        await self._core.committer.submit(Note((message,)))
        entries = parts.trail.read(Filter(patient_id=patient, actor=actor, failed=True if refused else None))
        wanted = islice(entries, last)
        while page := await asyncio.to_thread(_page, wanted):
            yield page

    async def verify_trail(self) -> dict[str, Any]:
        """Prove the chain against the heads in the register."""
        await self.require_review()
        parts = self._core.parts

        def prove() -> dict[str, Any]:
            with parts.database.reader() as connection:
                saved = heads.every(connection)
                expected = [one.head for one in saved]
                promised = {
                    one.head.chain: one.head.sequence
                    + len(heads.outbox(connection, one.head.chain, after=one.head.sequence))
                    for one in saved
                }
            seen = verify(parts.medium, parts.trail_root, parts.trail_key, expected)
            findings = [
                {"kind": one.kind.value, "where": f"{one.where} record {one.sequence}", "detail": one.detail}
                for one in seen.findings
            ]
            findings += [
                {
                    "kind": "truncated",
                    "where": f"{head.chain} record {promised[head.chain]}",
                    "detail": f"the chain ends with record {head.sequence}; the outbox still holds the others",
                }
                for head in seen.heads
                if head.sequence < promised.get(head.chain, 0)
            ]
            torn = [{"where": one.where, "offset": one.offset, "length": one.length} for one in seen.torn]
            return {"records": seen.records, "findings": findings, "torn": torn}

        return await asyncio.to_thread(prove)


def _enrol(connection: apsw.Connection, device: devices.Device, bundle: Bundle | None) -> None:
    devices.add(connection, device)
    if bundle is not None:
        certificates.add(
            connection,
            certificates.Certificate(
                serial=bundle.serial,
                fingerprint=bundle.fingerprint,
                device=device.name,
                not_before=bundle.not_before.timestamp(),
                expires=bundle.expires.timestamp(),
            ),
        )
    callers.forget(connection, ae_title=device.ae_title)


def _enrolled(device: devices.Device, bundle: Bundle | None, authority: Authority) -> dict[str, Any]:
    files = {"ca.crt": authority.certificate.decode("ascii")}
    if bundle is not None:
        files |= {"device.key": bundle.key.decode("ascii"), "device.crt": bundle.certificate.decode("ascii")}
    return {
        "name": device.name,
        "ae_title": device.ae_title,
        "may": sorted(device.actions),
        "networks": list(device.networks),
        "legacy": bundle is None,
        "expires": None if bundle is None else bundle.expires.date().isoformat(),
        "fingerprint": None if bundle is None else bundle.fingerprint,
        "files": files,
    }


def _revoke(connection: apsw.Connection, name: str, at: float) -> None:
    devices.revoke(connection, name)
    certificates.revoke_of_device(connection, name, at=at)


def _page(entries: Iterator[Entry]) -> list[dict[str, Any]]:
    page: list[dict[str, Any]] = []
    with contextlib.suppress(StopIteration):
        while len(page) < TRAIL_PAGE:
            try:
                entry = next(entries)
            except IntegrityError as error:
                raise IntegrityError(
                    f"{error}; `strongroom trail verify` names the first record that does not fit"
                ) from error
            page.append(recording.shown(entry))
    return page


def _when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")
