"""What has to hold on a disk a crash left (I1, I2, SECURITY 1c): the real start-up opens it, then everything is read."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import apsw

from faults.ledger import ABSENT, Owed
from faults.simulated_archive import InThisThread, Sender, opened
from faults.simulated_disk import SimulatedDisk
from faults.simulated_medium import SimulatedMedium
from strongroom.archive.inspection import Inspection
from strongroom.archive.proving import Proving, look_at
from strongroom.audit import verify
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.instances import InstanceRow
from strongroom.register import conflicts, deletions, heads, quarantine
from strongroom.register.kept import KeptBlob

HARMLESS = {"orphan", "torn"}


def violations(disk: SimulatedDisk, owed: Owed, ledger: Any) -> list[str]:
    """Open what stands on *disk* as the server does, and say what of *owed* is not so."""
    medium = SimulatedMedium(disk)
    loop = asyncio.new_event_loop()
    loop.set_default_executor(InThisThread())
    rng = random.Random(3)
    try:
        with opened(medium, rng) as parts:
            parts.database.writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # quicker; nobody looks at it again
            sender = Sender(parts, ledger, rng, loop)
            loop.run_until_complete(sender.start())
            return [*_looked_at(parts), *_compared(parts, owed)]
    except Exception as failed:  # noqa: BLE001 -- a start-up that fails is what is looked for
        return [f"the archive does not open: {type(failed).__name__}: {failed}"]
    finally:
        loop.close()
        medium.close()


def _looked_at(parts: Any) -> list[str]:
    wrong = [f"start-up takes what a crash left for damage: {one}" for one in parts.vault.torn if not one.by_crash]
    wrong += [f"the keyring had to be healed: {notice}" for notice in parts.keyring.notices]
    inspection = Inspection(parts)
    for _ in inspection.run():
        pass
    inspection.settle()
    wrong += [f"check: {one.shown()}" for one in inspection.findings if one.kind.value not in HARMLESS]
    everything = Proving(parts, before=math.inf).blobs()
    wrong += [f"check: {one.shown()}" for one in (look_at(parts, blob) for blob in everything) if one is not None]
    with parts.database.reader() as connection:
        known = heads.every(connection)
    seen = verify.verify(parts.medium, parts.trail_root, parts.trail_key, [one.flushed for one in known])
    wrong += [f"trail: {finding}" for finding in seen.findings]
    return wrong


def _all(listed: Any, connection: Any) -> Any:
    after = 0
    while page := listed(connection, after=after):
        yield from page
        after = page[-1].id


def _compared(parts: Any, owed: Owed) -> list[str]:
    with parts.database.reader() as connection:
        rows = list(catalogue.all_instances(connection))
        deleted = [one.kept for one in _all(deletions.listed, connection)]
        aside = [one.kept for one in _all(conflicts.listed, connection)]
        refused = [one.kept for one in _all(quarantine.listed, connection)]
    found = {row.sop_instance_uid: ("in", row.digest) for row in rows}
    found |= {kept.sop_instance_uid: ("deleted", kept.digest) for kept in deleted}
    wrong = [f"{len(rows) + len(deleted) - len(found)} instances are there twice"] * (
        len(rows) + len(deleted) != len(found)
    )
    for uid, allowed in owed.instances.items():
        state = found.pop(uid, ABSENT)
        if state not in allowed:
            wrong.append(f"{uid} is {_say(state)}; it must be {' or '.join(map(_say, sorted(allowed)))}")
    wrong += [f"{uid} came from nowhere" for uid in found]
    for group in owed.whole:
        kinds = {_state(uid, rows, deleted) for uid in group}
        if len(kinds) > 1:
            wrong.append(f"a deletion of {len(group)} instances is half done: {kinds}")
    wrong += [
        f"the conflict {uid} is not kept aside"
        for uid, digest in owed.aside - {(k.sop_instance_uid, k.digest) for k in aside}
    ]
    wrong += ["a data set is not in quarantine"] * len(owed.quarantined - {kept.digest for kept in refused})
    recorded = _recorded(parts)
    wrong += [f"no record of {kind} {about}" for kind, about, _ in owed.recorded - recorded]
    wrong += [
        f"{row.sop_instance_uid} has a row and no record"
        for row in rows
        if ("C", row.sop_instance_uid, row.digest) not in recorded
    ]
    return wrong


def _say(state: tuple[str, bytes]) -> str:
    return f"{state[0]} {state[1].hex()[:8]}".strip()


def _state(uid: str, rows: list[InstanceRow], deleted: list[KeptBlob]) -> str:
    if any(row.sop_instance_uid == uid for row in rows):
        return "in"
    return "deleted" if any(kept.sop_instance_uid == uid for kept in deleted) else "absent"


def _recorded(parts: Any) -> set[tuple[str, str, bytes]]:
    recorded: set[tuple[str, str, bytes]] = set()
    for entry in parts.trail.read():
        message = entry.message
        for thing in message.objects:
            if thing.id.startswith("urn:strongroom:note:"):
                recorded.add(("note", thing.id, b""))
            if message.action == "D":
                recorded.add(("D", thing.id, b""))
            for sop_class in thing.sop_classes:
                for one in sop_class.instances:
                    kind = "failed" if message.failed else message.action
                    recorded.add((kind, one.sop_instance_uid, one.digest))
    return recorded
