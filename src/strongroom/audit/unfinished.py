"""
Finds transfers which began and were not reported as ended (SECURITY C20).

PS3.15 A.5.3.7 says itself that a disagreement between the two messages may be a breach: bytes left and nobody wrote
down how many.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from strongroom.audit.codes import Event, EventType
from strongroom.audit.trail import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.audit.message import AuditMessage
    from strongroom.audit.trail import Entry


def transfers_since(since: datetime) -> Filter:
    """What `unfinished` has to see: beginnings, ends, and alerts already given, not older than *since*."""
    kinds = {Event.BEGIN_TRANSFERRING, Event.INSTANCES_TRANSFERRED, EventType.TRANSFER_UNFINISHED}
    return Filter(since=since, events=frozenset(kinds))


def unfinished(newest_first: Iterable[Entry], *, before: datetime) -> list[Entry]:
    """
    Return the beginnings older than *before* without an end, oldest first.

    An end is a transferred message of the same act and patient, whatever its outcome, or an alert about that
    transfer: each is reported once. Holds the ends whose beginning has not come yet, and nothing else.
    """
    ended: set[tuple[str, str]] = set()
    found: list[Entry] = []
    for entry in newest_first:
        message = entry.message
        if not message.act:
            continue
        if message.event != Event.BEGIN_TRANSFERRING:
            ended.update(_keys(message))
        elif not ended.isdisjoint(keys := _keys(message)):
            ended -= keys
        elif message.time < before:
            found.append(entry)
    return found[::-1]


def _keys(message: AuditMessage) -> set[tuple[str, str]]:
    return {(message.act, patient) for patient in message.patient_ids()}
