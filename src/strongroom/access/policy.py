"""
The one decision: may this actor do this to that target (SECURITY C05, C06, C37)?

Pure: no clock, no input or output, no state. Everything is refused unless a line of the tables in `roles` grants it:
1. what does not exist yet is refused, not approximated (de-identified copies);
2. the kind of actor can have the action at all;
3. an administrator has no patient data;
4. a role, an entry of the register or a task of the system names the action; a device views by its right to retrieve;
5. the host gives a written reason before it sees patient data;
6. the target lies in the actor's scope; a link has an explicit list of studies;
7. what is on hold stays, and destroying for good needs a second custodian.
The first rule that fails is the reason of the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, final

from strongroom.access.roles import (
    ADMINISTRATOR,
    CEILING,
    DEVICE_VIEWS_BY,
    HOST_WITH_REASON,
    PATIENT_DATA,
    ROLES,
    SYSTEM_TASKS,
    Action,
    ActorKind,
)

MIN_WRITTEN_REASON: Final = 4
"""Characters of a written reason: a word at least, so that an empty or placeholder argument does not pass for one."""


LONE_HOST_SECONDS: Final = 86_400.0
"""
The host may confirm its own request to erase after so long: a night's sleep, and time for somebody else to see it.
"""


@final
class Reason(StrEnum):
    """Why something was refused; for the trail only, a caller never learns it."""

    DE_IDENTIFIED_NOT_AVAILABLE = "de-identified-not-available"
    KIND_CANNOT = "kind-cannot"
    ADMINISTRATOR_NO_PATIENT_DATA = "administrator-no-patient-data"
    UNKNOWN_TASK = "unknown-task"
    ACTION_NOT_GRANTED = "action-not-granted"
    WRITTEN_REASON_MISSING = "written-reason-missing"
    LINK_WITHOUT_STUDIES = "link-without-studies"
    OUT_OF_SCOPE = "out-of-scope"
    ON_HOLD = "on-hold"
    SECOND_PERSON_MISSING = "second-person-missing"
    RECIPIENT_NOT_DEVICE = "recipient-not-device"
    RECIPIENT_WITHOUT_ADDRESS = "recipient-without-address"
    RECIPIENT_NOT_FOR_REQUESTER = "recipient-not-for-requester"
    RECIPIENT_NOT_GRANTED = "recipient-not-granted"
    RECIPIENT_OUT_OF_SCOPE = "recipient-out-of-scope"


@final
@dataclass(frozen=True, slots=True)
class Scope:
    """
    What part of the archive an actor reaches: the union of the named parts; nothing unless said.

    *everything* is the whole archive. Departments, issuers of patient ID and sending devices are compared exactly.
    """

    everything: bool = False
    studies: frozenset[str] = frozenset()
    sending_devices: frozenset[str] = frozenset()
    departments: frozenset[str] = frozenset()
    issuers_of_patient_id: frozenset[str] = frozenset()

    @property
    def nothing(self) -> bool:
        """Whether this scope can cover no target at all."""
        return not (
            self.everything or self.studies or self.sending_devices or self.departments or self.issuers_of_patient_id
        )

    def covers(self, target: Target) -> bool:
        """Whether what is known about one study lies inside; a fact which is not known covers nothing."""
        if self.everything:
            return True
        return (
            target.study_instance_uid in self.studies
            or not self.sending_devices.isdisjoint(target.sending_devices)
            or not self.departments.isdisjoint(target.departments)
            or target.issuer_of_patient_id in self.issuers_of_patient_id
        )


EVERYTHING: Final = Scope(everything=True)
NOTHING: Final = Scope()
_WITHOUT_SCOPE: Final = frozenset({ActorKind.HOST, ActorKind.SYSTEM})
"""Kinds whose rights are not about a part of the archive: the machine holds all of it."""


@final
@dataclass(frozen=True, slots=True)
class Target:
    """
    What an action is about, as far as it is known when the decision is asked for.

    Without a study (*study_instance_uid* None) the decision is about the action as such, and the scope in the grant
    has to be applied by whoever looks the studies up; with a study the decision is about that one.
    """

    study_instance_uid: str | None = None
    sending_devices: frozenset[str] = frozenset()
    departments: frozenset[str] = frozenset()
    issuer_of_patient_id: str | None = None
    de_identified: bool = False
    on_hold: bool = False
    for_good: bool = False
    """Destroying beyond restoring (purge), as against a deletion which can be taken back."""
    second: Actor | None = None
    """The other person who agrees to a purge."""


ARCHIVE: Final = Target()
"""The archive as a whole: no particular study."""


@final
@dataclass(frozen=True, slots=True)
class Actor:
    """
    Who acts, as the gate established it; only `identity` and the gate make one out of a credential.

    *name* is unique within its kind and is what the trail shows. *actions* come from the entry of a device or link,
    *roles* from a person or token; neither exceeds the ceiling of the kind.
    """

    kind: ActorKind
    name: str
    actions: frozenset[Action] = frozenset()
    roles: frozenset[str] = frozenset()
    scope: Scope = NOTHING
    ae_title: str = ""
    address: str = ""
    written_reason: str = ""
    receives: bool = False
    """Whether the register holds an address to which this device takes C-MOVE transfers."""
    destinations: frozenset[str] | None = None
    """Names of the devices this requester may send to; None is every device that may receive."""


@final
@dataclass(frozen=True, slots=True)
class Grant:
    """A yes: the action, the scope in which it holds, and the line of the table that gave it (for the trail)."""

    action: Action
    scope: Scope
    rule: str


@final
@dataclass(frozen=True, slots=True)
class Refusal:
    """A no, with its reason for the trail."""

    action: Action
    reason: Reason


def decide(actor: Actor, action: Action, target: Target = ARCHIVE) -> Grant | Refusal:
    """Decide one request; total, and a refusal for everything that is not in the tables (rules 1 to 7 above)."""
    refusal = _not_possible(actor, action, target)
    if refusal is not None:
        return Refusal(action, refusal)
    rule = _rule(actor, action)
    if isinstance(rule, Reason):
        return Refusal(action, rule)
    refusal = _outside(actor, action, target) or _not_now(actor, action, target)
    if refusal is not None:
        return Refusal(action, refusal)
    return Grant(action, EVERYTHING if actor.kind in _WITHOUT_SCOPE else actor.scope, rule)


def decide_transfer(requester: Actor, recipient: Actor, target: Target = ARCHIVE) -> Grant | Refusal:
    """
    Decide whether *requester* may have what *target* names sent to *recipient* (C-MOVE, SECURITY C37).

    The requester has to be allowed to retrieve it, and the recipient too: whoever may not fetch a study may not be
    sent it either.
    """
    grant = decide(requester, Action.RETRIEVE, target)
    if isinstance(grant, Refusal):
        return grant
    if recipient.kind is not ActorKind.DEVICE:
        return Refusal(Action.RETRIEVE, Reason.RECIPIENT_NOT_DEVICE)
    if not recipient.receives:
        return Refusal(Action.RETRIEVE, Reason.RECIPIENT_WITHOUT_ADDRESS)
    if requester.destinations is not None and recipient.name not in requester.destinations:
        return Refusal(Action.RETRIEVE, Reason.RECIPIENT_NOT_FOR_REQUESTER)
    theirs = decide(recipient, Action.RETRIEVE, target)
    if isinstance(theirs, Refusal):
        outside = theirs.reason is Reason.OUT_OF_SCOPE
        return Refusal(Action.RETRIEVE, Reason.RECIPIENT_OUT_OF_SCOPE if outside else Reason.RECIPIENT_NOT_GRANTED)
    return grant


def _not_possible(actor: Actor, action: Action, target: Target) -> Reason | None:
    """Rules 1 to 3: what no grant could allow."""
    if target.de_identified:
        return Reason.DE_IDENTIFIED_NOT_AVAILABLE
    if action not in CEILING[actor.kind]:
        return Reason.KIND_CANNOT
    if action in PATIENT_DATA and ADMINISTRATOR in actor.roles:
        return Reason.ADMINISTRATOR_NO_PATIENT_DATA
    return None


def _rule(actor: Actor, action: Action) -> str | Reason:
    """Rules 4 and 5: the line of the table that names the action for this actor, or why there is none."""
    match actor.kind:
        case ActorKind.PERSON | ActorKind.SERVICE:
            return _role_rule(actor, action)
        case ActorKind.DEVICE if action is Action.VIEW:
            if DEVICE_VIEWS_BY in actor.actions:
                return f"device-views-by:{DEVICE_VIEWS_BY.value}"
            return Reason.ACTION_NOT_GRANTED
        case ActorKind.DEVICE | ActorKind.LINK:
            if action in actor.actions:
                return f"{actor.kind.value}:{action.value}"
            return Reason.ACTION_NOT_GRANTED
        case ActorKind.HOST:
            if action in HOST_WITH_REASON:
                if not is_written_reason(actor.written_reason):
                    return Reason.WRITTEN_REASON_MISSING
                return f"host-with-reason:{action.value}"
            return f"host:{action.value}"
        case ActorKind.SYSTEM:
            if actor.name not in SYSTEM_TASKS:
                return Reason.UNKNOWN_TASK
            return f"system:{actor.name}" if action in SYSTEM_TASKS[actor.name] else Reason.ACTION_NOT_GRANTED


def _role_rule(actor: Actor, action: Action) -> str | Reason:
    only_de_identified = False
    for name in sorted(actor.roles):
        role = ROLES.get(name)
        if role is None:
            continue
        if action in role.actions:
            return f"role:{name}"
        only_de_identified = only_de_identified or action in role.de_identified
    return Reason.DE_IDENTIFIED_NOT_AVAILABLE if only_de_identified else Reason.ACTION_NOT_GRANTED


@final
@dataclass(frozen=True, slots=True)
class Requested:
    """Who asked for something to be erased, and when (seconds since 1970 UTC)."""

    kind: ActorKind
    name: str
    at: float


def decide_erasure(actor: Actor, requested: Requested, now: float, target: Target = ARCHIVE) -> Grant | Refusal:
    """
    Decide whether *actor* may confirm what *requested* says is to be erased for good (C47, decision 0011):
    1. it may keep custody at all
    2. what is on hold stays
    3. it is somebody else than who asked
    4. or it is the host, who is the only person there is until persons are enrolled, LONE_HOST_SECONDS later
    """
    grant = decide(actor, Action.CUSTODY)
    if isinstance(grant, Refusal):
        return grant
    if target.on_hold:
        return Refusal(Action.DELETE, Reason.ON_HOLD)
    if (actor.kind, actor.name) != (requested.kind, requested.name):
        return grant
    if actor.kind is ActorKind.HOST and now - requested.at >= LONE_HOST_SECONDS:
        return grant
    return Refusal(Action.DELETE, Reason.SECOND_PERSON_MISSING)


def is_written_reason(text: str) -> bool:
    """Whether *text* can pass for a reason: at least a word."""
    return len(text.strip()) >= MIN_WRITTEN_REASON and any(character.isalpha() for character in text)


def _outside(actor: Actor, action: Action, target: Target) -> Reason | None:
    """Rule 6. Depositing, administering, reviewing and custody are not about a part of the archive."""
    studies = actor.scope.studies
    if actor.kind is ActorKind.LINK and (not studies or actor.scope != Scope(studies=studies)):
        return Reason.LINK_WITHOUT_STUDIES
    if actor.kind in _WITHOUT_SCOPE:
        return None
    if action not in PATIENT_DATA and action is not Action.DELETE:
        return None
    if actor.scope.nothing:
        return Reason.OUT_OF_SCOPE
    if target.study_instance_uid is not None and not actor.scope.covers(target):
        return Reason.OUT_OF_SCOPE
    return None


def _not_now(actor: Actor, action: Action, target: Target) -> Reason | None:
    """Rule 7."""
    if action is not Action.DELETE:
        return None
    if target.on_hold:
        return Reason.ON_HOLD
    if not target.for_good:
        return None
    second = target.second
    if second is None or second.kind is not ActorKind.PERSON or second.name == actor.name:
        return Reason.SECOND_PERSON_MISSING
    if isinstance(_rule(second, action), Reason) or _outside(second, action, target) is not None:
        return Reason.SECOND_PERSON_MISSING
    return None
