"""
What a sender knows: what was begun, what was answered, and so what has to be there and what may be.

The ledger is a list that only grows; a snapshot of the disk remembers how long it was, and is judged by just that much.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ABSENT = ("absent", b"")


@dataclass(frozen=True, slots=True)
class Event:
    """Something *begun* or *answered*; *number* joins the two."""

    number: int
    what: str
    answered: bool
    uid: str = ""
    digest: bytes = b""
    outcome: str = ""
    uids: tuple[str, ...] = ()


@dataclass(slots=True)
class Owed:
    """What the disk has to hold after a crash, and what it may hold."""

    instances: dict[str, set[tuple[str, bytes]]] = field(default_factory=dict)
    """SOP Instance UID -> the states it may be in: absent, in (digest), deleted (digest)."""
    aside: set[tuple[str, bytes]] = field(default_factory=set)
    quarantined: set[bytes] = field(default_factory=set)
    recorded: set[tuple[str, str, bytes]] = field(default_factory=set)
    """(kind, UID or subject, digest) of the trail records that were promised."""
    whole: list[tuple[str, ...]] = field(default_factory=list)
    """Groups of instances that change together or not at all."""


class Ledger:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self._number = 0

    def begin(self, what: str, **about: Any) -> Event:
        self._number += 1
        event = Event(self._number, what, answered=False, **about)
        self.events.append(event)
        return event

    def answer(self, begun: Event, outcome: str = "") -> None:
        event = Event(
            begun.number,
            begun.what,
            answered=True,
            uid=begun.uid,
            digest=begun.digest,
            outcome=outcome,
            uids=begun.uids,
        )
        self.events.append(event)


def owed_by(events: list[Event], length: int) -> Owed:
    """What follows from the first *length* of *events*."""
    owed = Owed()
    for event in events[:length]:
        _OWED[event.what](owed, event)
    answered = {event.number for event in events[:length] if event.answered}
    owed.whole = [event.uids for event in events[:length] if event.what == "delete" and event.number not in answered]
    return owed


def _deposit(owed: Owed, event: Event) -> None:
    states = owed.instances.setdefault(event.uid, {ABSENT})
    if not event.answered:
        if ABSENT in states:
            states.add(("in", event.digest))
        return
    if event.outcome == "stored":
        owed.instances[event.uid] = {("in", event.digest)}
        owed.recorded.add(("C", event.uid, event.digest))
        return
    states.discard(ABSENT)
    if event.outcome == "duplicate":
        owed.instances[event.uid] = {state for state in states if state[0] == "in"}
        owed.recorded.add(("R", event.uid, event.digest))
        return
    owed.recorded.add(("failed", event.uid, event.digest))
    if ("deleted", event.digest) not in states:
        owed.aside.add((event.uid, event.digest))


def _quarantine(owed: Owed, event: Event) -> None:
    if event.answered:
        owed.quarantined.add(event.digest)
        owed.recorded.add(("failed", event.uid, event.digest))


def _note(owed: Owed, event: Event) -> None:
    if event.answered:
        owed.recorded.add(("note", event.uid, b""))


def _moved(owed: Owed, event: Event, before: str, after: str) -> None:
    for uid in event.uids:
        states = owed.instances[uid]
        changed = {(after, digest) for state, digest in states if state == before}
        owed.instances[uid] = changed if event.answered else states | changed


def _delete(owed: Owed, event: Event) -> None:
    _moved(owed, event, "in", "deleted")
    if event.answered:
        owed.recorded.add(("D", event.uid, b""))


def _restore(owed: Owed, event: Event) -> None:
    _moved(owed, event, "deleted", "in")


_OWED = {"deposit": _deposit, "quarantine": _quarantine, "note": _note, "delete": _delete, "restore": _restore}
