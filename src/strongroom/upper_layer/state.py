"""
The state machine of the upper layer: Table 9-10 of PS3.8 and nothing beside it.

Everything that affects the state, the ARTIM timer and the end of the transport must live here. The cells of the table
are `Action`s; what an action does to the machine stands in `EFFECTS`; what it puts on the wire or tells the user is
`association.py`'s part. An empty cell raises.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final

from strongroom.errors import LocalProtocolError
from strongroom.upper_layer.events import Role

if TYPE_CHECKING:
    from collections.abc import Mapping


@final
class State(enum.Enum):
    """The states Sta1 to Sta13 (PS3.8 tables 9-1 to 9-5)."""

    IDLE = 1
    AWAITING_ASSOCIATE_RQ = 2
    AWAITING_ASSOCIATE_RESPONSE = 3
    AWAITING_TRANSPORT_OPEN = 4
    AWAITING_ASSOCIATE_AC = 5
    ESTABLISHED = 6
    AWAITING_RELEASE_RP = 7
    AWAITING_RELEASE_RESPONSE = 8
    COLLISION_REQUESTOR_AWAITING_RESPONSE = 9
    COLLISION_ACCEPTOR_AWAITING_RP = 10
    COLLISION_REQUESTOR_AWAITING_RP = 11
    COLLISION_ACCEPTOR_AWAITING_RESPONSE = 12
    AWAITING_TRANSPORT_CLOSE = 13

    __hash__ = object.__hash__  # members are single: the default hashes the name in Python at every look-up


@final
class Evt(enum.Enum):
    """The events Evt1 to Evt19 (PS3.8 table 9-10)."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRMED = 2
    AC_PDU = 3
    RJ_PDU = 4
    TRANSPORT_INDICATION = 5
    RQ_PDU = 6
    ACCEPT_RESPONSE = 7
    REJECT_RESPONSE = 8
    DATA_REQUEST = 9
    DATA_PDU = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_PDU = 12
    RELEASE_RP_PDU = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_PDU = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19

    __hash__ = object.__hash__


@final
class Action(enum.Enum):
    """The actions of PS3.8 tables 9-6 to 9-9."""

    AE_1 = "AE-1"
    AE_2 = "AE-2"
    AE_3 = "AE-3"
    AE_4 = "AE-4"
    AE_5 = "AE-5"
    AE_6 = "AE-6"
    AE_7 = "AE-7"
    AE_8 = "AE-8"
    DT_1 = "DT-1"
    DT_2 = "DT-2"
    AR_1 = "AR-1"
    AR_2 = "AR-2"
    AR_3 = "AR-3"
    AR_4 = "AR-4"
    AR_5 = "AR-5"
    AR_6 = "AR-6"
    AR_7 = "AR-7"
    AR_8 = "AR-8"
    AR_9 = "AR-9"
    AR_10 = "AR-10"
    AA_1 = "AA-1"
    AA_2 = "AA-2"
    AA_3 = "AA-3"
    AA_4 = "AA-4"
    AA_5 = "AA-5"
    AA_6 = "AA-6"
    AA_7 = "AA-7"
    AA_8 = "AA-8"

    __hash__ = object.__hash__


@final
class Artim(enum.Enum):
    """What an action does to the Association Request/Reject/Release Timer (PS3.8 §9.1.5)."""

    KEEP = "keep"
    START = "start"
    STOP = "stop"


# One row per event, one column per state Sta1 ... Sta13, as the standard prints it; "-" is an empty cell.
_ROWS: Final = """
         1     2     3     4     5     6     7     8     9     10    11    12    13
    1   AE-1   -     -     -     -     -     -     -     -     -     -     -     -
    2    -     -     -    AE-2   -     -     -     -     -     -     -     -     -
    3    -    AA-1  AA-8   -    AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
    4    -    AA-1  AA-8   -    AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
    5   AE-5   -     -     -     -     -     -     -     -     -     -     -     -
    6    -    AE-6  AA-8   -    AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
    7    -     -    AE-7   -     -     -     -     -     -     -     -     -     -
    8    -     -    AE-8   -     -     -     -     -     -     -     -     -     -
    9    -     -     -     -     -    DT-1   -    AR-7   -     -     -     -     -
    10   -    AA-1  AA-8   -    AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
    11   -     -     -     -     -    AR-1   -     -     -     -     -     -     -
    12   -    AA-1  AA-8   -    AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
    13   -    AA-1  AA-8   -    AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
    14   -     -     -     -     -     -     -    AR-4  AR-9   -     -    AR-4   -
    15   -     -    AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1   -
    16   -    AA-2  AA-3   -    AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
    17   -    AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
    18   -    AA-2   -     -     -     -     -     -     -     -     -     -    AA-2
    19   -    AA-1  AA-8   -    AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
"""


def _read_rows(rows: str) -> Mapping[State, Mapping[Evt, Action]]:
    header, *lines = (line.split() for line in rows.strip().splitlines())
    states = [State(int(number)) for number in header]
    table: dict[State, dict[Evt, Action]] = {state: {} for state in states}
    for number, *cells in lines:
        for state, cell in zip(states, cells, strict=True):
            if cell != "-":
                table[state][Evt(int(number))] = Action(cell)
    return MappingProxyType({state: MappingProxyType(row) for state, row in table.items()})


TRANSITIONS: Final = _read_rows(_ROWS)
"""Table 9-10: the action for every (state, event) that has one."""


@final
@dataclass(frozen=True, slots=True)
class Effect:
    """
    What an action does to the machine.

    *otherwise* is the second outcome of the two actions that have one: AE-6 when the request is not acceptable, AR-8
    for the acceptor. *closes* means the transport is to be closed once everything sent has been written. *next_state*
    None means "stay".
    """

    next_state: State | None
    artim: Artim = Artim.KEEP
    closes: bool = False
    otherwise: State | None = None


EFFECTS: Final[Mapping[Action, Effect]] = MappingProxyType(
    {
        Action.AE_1: Effect(State.AWAITING_TRANSPORT_OPEN),
        Action.AE_2: Effect(State.AWAITING_ASSOCIATE_AC),
        Action.AE_3: Effect(State.ESTABLISHED),
        Action.AE_4: Effect(State.IDLE, closes=True),
        Action.AE_5: Effect(State.AWAITING_ASSOCIATE_RQ, Artim.START),
        Action.AE_6: Effect(
            State.AWAITING_ASSOCIATE_RESPONSE, Artim.STOP, otherwise=State.AWAITING_TRANSPORT_CLOSE
        ),  # otherwise: ARTIM is started anew
        Action.AE_7: Effect(State.ESTABLISHED),
        Action.AE_8: Effect(State.AWAITING_TRANSPORT_CLOSE, Artim.START),
        Action.DT_1: Effect(None),
        Action.DT_2: Effect(None),
        Action.AR_1: Effect(State.AWAITING_RELEASE_RP),
        Action.AR_2: Effect(State.AWAITING_RELEASE_RESPONSE),
        Action.AR_3: Effect(State.IDLE, closes=True),
        Action.AR_4: Effect(State.AWAITING_TRANSPORT_CLOSE, Artim.START),
        Action.AR_5: Effect(State.IDLE, Artim.STOP, closes=True),
        Action.AR_6: Effect(None),
        Action.AR_7: Effect(None),
        Action.AR_8: Effect(
            State.COLLISION_REQUESTOR_AWAITING_RESPONSE, otherwise=State.COLLISION_ACCEPTOR_AWAITING_RP
        ),
        Action.AR_9: Effect(State.COLLISION_REQUESTOR_AWAITING_RP),
        Action.AR_10: Effect(State.COLLISION_ACCEPTOR_AWAITING_RESPONSE),
        Action.AA_1: Effect(State.AWAITING_TRANSPORT_CLOSE, Artim.START),
        Action.AA_2: Effect(State.IDLE, Artim.STOP, closes=True),
        Action.AA_3: Effect(State.IDLE, closes=True),
        Action.AA_4: Effect(State.IDLE, closes=True),
        Action.AA_5: Effect(State.IDLE, Artim.STOP, closes=True),
        Action.AA_6: Effect(None),
        Action.AA_7: Effect(None),
        Action.AA_8: Effect(State.AWAITING_TRANSPORT_CLOSE, Artim.START),
    }
)


@final
class Machine:
    """One association's walk through Table 9-10."""

    __slots__ = ("artim_running", "artim_starts", "closing", "role", "state")

    def __init__(self, role: Role) -> None:
        self.role = role
        self.state = State.IDLE
        self.artim_running = False
        self.artim_starts = 0
        self.closing = False

    def action_for(self, event: Evt) -> Action:
        """Look the action up without taking it; an empty cell is a mistake on our side of the wire."""
        action = TRANSITIONS[self.state].get(event)
        if action is None or (
            self.closing and self.state is State.IDLE
        ):  # one association per connection (PS3.8 §9.1.1)
            raise LocalProtocolError(f"event {event.value} ({event.name}) is not possible in Sta{self.state.value}")
        return action

    def fire(self, event: Evt, *, acceptable: bool = True) -> Action:
        """Take *event*; *acceptable* is the question AE-6 asks about a request."""
        action = self.action_for(event)
        effect = EFFECTS[action]
        next_state, artim = effect.next_state, effect.artim
        if action is Action.AE_6 and not acceptable:
            next_state, artim = effect.otherwise, Artim.START
        elif action is Action.AR_8 and self.role is Role.ACCEPTOR:
            next_state = effect.otherwise
        if next_state is not None:
            self.state = next_state
        if artim is Artim.START:
            self.artim_running = True
            self.artim_starts += 1
        elif artim is Artim.STOP:
            self.artim_running = False
        if effect.closes:
            self.closing = True
        return action
