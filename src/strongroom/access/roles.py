"""
Actions, kinds of actors, and the one table of who may do what (DESIGN section 6, Actors).

Nothing here decides; `policy.decide` reads these tables and grants what stands in them, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Mapping


@final
class Action(StrEnum):
    """Everything that can be asked of the archive."""

    DEPOSIT = "deposit"
    QUERY = "query"
    VIEW = "view"
    RETRIEVE = "retrieve"
    SHARE = "share"
    DELETE = "delete"
    ADMINISTER = "administer"
    REVIEW = "review"
    CUSTODY = "custody"


@final
class ActorKind(Enum):
    """What kind of caller an actor is."""

    PERSON = "person"
    DEVICE = "device"
    SERVICE = "service"
    """Holds a token."""
    LINK = "link"
    """Holds a share link."""
    HOST = "host"
    """Runs the command line on the machine itself."""
    SYSTEM = "system"
    """The archive's own work."""


PATIENT_DATA: Final = frozenset({Action.QUERY, Action.VIEW, Action.RETRIEVE, Action.SHARE})
"""
The actions that show or hand out patient data; an administrator has none of them, whatever else was given to them
(C06).
"""


@final
@dataclass(frozen=True, slots=True)
class Role:
    """A named set of actions; *de_identified* are those allowed on de-identified copies only."""

    name: str
    actions: frozenset[Action]
    de_identified: frozenset[Action] = frozenset()


def _table(*roles: Role) -> Mapping[str, Role]:
    return MappingProxyType({role.name: role for role in roles})


ADMINISTRATOR: Final = "administrator"

ROLES: Final = _table(
    Role("modality", frozenset({Action.DEPOSIT})),
    Role("reader", frozenset({Action.QUERY, Action.VIEW})),
    Role("radiologist", frozenset({Action.QUERY, Action.VIEW, Action.RETRIEVE, Action.SHARE})),
    Role("researcher", frozenset(), de_identified=frozenset({Action.RETRIEVE})),
    Role(ADMINISTRATOR, frozenset({Action.ADMINISTER})),
    Role("auditor", frozenset({Action.REVIEW})),
    Role("custodian", frozenset({Action.CUSTODY, Action.DELETE})),
)
"""The roles people and services hold; a name which is not in here grants nothing."""

CEILING: Final[Mapping[ActorKind, frozenset[Action]]] = MappingProxyType({
    ActorKind.PERSON: frozenset(Action),
    ActorKind.DEVICE: frozenset({Action.DEPOSIT, Action.QUERY, Action.VIEW, Action.RETRIEVE}),
    # A token never administers, shares, deletes or keeps custody: those want a person who answers for them.
    ActorKind.SERVICE: frozenset({Action.DEPOSIT, Action.QUERY, Action.VIEW, Action.RETRIEVE, Action.REVIEW}),
    ActorKind.LINK: frozenset({Action.QUERY, Action.VIEW, Action.RETRIEVE}),
    ActorKind.HOST: frozenset({
        Action.ADMINISTER, Action.REVIEW, Action.CUSTODY, Action.DEPOSIT, Action.VIEW, Action.RETRIEVE
    }),
    ActorKind.SYSTEM: frozenset({Action.CUSTODY}),
})  # fmt: skip
"""What a kind of actor can ever be granted; roles and entries give less, never more."""

DEVICE_VIEWS_BY: Final = Action.RETRIEVE
"""
What a device has to have in its entry to view: whoever may take the instances may look at them. Viewing is never in an
entry by itself.
"""

HOST_WITH_REASON: Final = frozenset({Action.VIEW, Action.RETRIEVE})
"""What the host may do only with a written reason, recorded with an audit type of its own."""

SYSTEM_TASKS: Final[Mapping[str, frozenset[Action]]] = MappingProxyType(
    {
        "scrub": frozenset({Action.CUSTODY}),
        "commitment": frozenset({Action.CUSTODY}),
        "compaction": frozenset({Action.CUSTODY}),
        "fragments": frozenset({Action.CUSTODY}),
        "recovery": frozenset({Action.CUSTODY}),
        "self-look": frozenset(),
    }
)
"""The archive's own tasks and what each needs; the self-look looks at doors and needs nothing behind them."""
