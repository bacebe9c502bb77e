"""Table 9-10 against a second reading of the standard, written as rules instead of cells."""

from __future__ import annotations

import itertools

import pytest

from strongroom.errors import LocalProtocolError
from strongroom.upper_layer.events import Role
from strongroom.upper_layer.state import EFFECTS, TRANSITIONS, Action, Artim, Evt, Machine, State

EVERY_CELL = list(itertools.product(range(1, 14), range(1, 20)))
ASSOCIATION = {3, *range(5, 13)}  # the states in which there is, or may come to be, an association


def expected(state: int, event: int) -> str | None:
    """Say what PS3.8 §9.2.2 has to say about one cell."""
    special = {
        (1, 1): "AE-1",
        (4, 2): "AE-2",
        (5, 3): "AE-3",
        (5, 4): "AE-4",
        (1, 5): "AE-5",
        (2, 6): "AE-6",
        (3, 7): "AE-7",
        (3, 8): "AE-8",
        (6, 9): "DT-1",
        (8, 9): "AR-7",
        (6, 10): "DT-2",
        (7, 10): "AR-6",
        (6, 11): "AR-1",
        (6, 12): "AR-2",
        (7, 12): "AR-8",
        (7, 13): "AR-3",
        (10, 13): "AR-10",
        (11, 13): "AR-3",
        (8, 14): "AR-4",
        (9, 14): "AR-9",
        (12, 14): "AR-4",
        (4, 15): "AA-2",
        (4, 17): "AA-4",
        (2, 17): "AA-5",
        (13, 17): "AR-5",
        (13, 6): "AA-7",
        (13, 19): "AA-7",
    }
    if (state, event) in special:
        return special[state, event]
    if event in {3, 4, 6, 10, 12, 13, 19}:  # a PDU nobody waits for
        if state == 2:
            return "AA-1"
        if state == 13:
            return "AA-6"
        return "AA-8" if state in ASSOCIATION else None
    if event == 15:
        return "AA-1" if state in ASSOCIATION else None
    if event == 16:
        return "AA-2" if state in {2, 13} else "AA-3" if state in ASSOCIATION else None
    if event == 17:
        return "AA-4" if state in ASSOCIATION else None
    if event == 18:
        return "AA-2" if state in {2, 13} else None
    return None


@pytest.mark.parametrize(("state", "event"), EVERY_CELL)
def test_every_cell_of_table_9_10(state, event):
    """Every (state, event) has the action the standard gives it, or none."""
    action = TRANSITIONS[State(state)].get(Evt(event))

    assert expected(state, event) == (None if action is None else action.value)


def test_every_action_has_an_effect_and_a_cell():
    """No action is missing from the effects, and none stands there that the table never asks for."""
    in_table = {action for row in TRANSITIONS.values() for action in row.values()}

    assert set(Action) == set(EFFECTS) == in_table


def test_an_empty_cell_raises_and_changes_nothing():
    """An event that is not possible leaves state, timer and closing as they were."""
    machine = Machine(Role.ACCEPTOR)
    machine.fire(Evt.TRANSPORT_INDICATION)

    with pytest.raises(LocalProtocolError, match="event 9"):
        machine.fire(Evt.DATA_REQUEST)

    assert (
        machine.state,
        machine.artim_running,
        machine.artim_starts,
        machine.closing,
    ) == (State.AWAITING_ASSOCIATE_RQ, True, 1, False)


def test_artim_runs_only_where_its_expiry_is_expected():
    """The timer runs exactly in Sta2 and Sta13, the only states with a cell for its expiry (PS3.8 §9.1.5)."""
    for action, effect in EFFECTS.items():
        for outcome in (effect.next_state, effect.otherwise):
            if outcome in {State.AWAITING_ASSOCIATE_RQ, State.AWAITING_TRANSPORT_CLOSE} and action is not Action.AE_6:
                assert effect.artim is Artim.START, action


def test_a_request_that_cannot_be_accepted_starts_the_timer_anew():
    """AE-6 leads to Sta13 with ARTIM running when the request is not acceptable, and to Sta3 without it when it is."""
    refused, taken = Machine(Role.ACCEPTOR), Machine(Role.ACCEPTOR)
    for machine in (refused, taken):
        machine.fire(Evt.TRANSPORT_INDICATION)
    refused.fire(Evt.RQ_PDU, acceptable=False)
    taken.fire(Evt.RQ_PDU)

    assert (refused.state, refused.artim_running, refused.artim_starts) == (State.AWAITING_TRANSPORT_CLOSE, True, 2)
    assert (taken.state, taken.artim_running) == (State.AWAITING_ASSOCIATE_RESPONSE, False)


def test_a_machine_is_used_once():
    """After the transport is closed nothing more is possible, not even a new association."""
    machine = Machine(Role.ACCEPTOR)
    machine.fire(Evt.TRANSPORT_INDICATION)
    machine.fire(Evt.TRANSPORT_CLOSED)

    assert machine.closing
    with pytest.raises(LocalProtocolError):
        machine.fire(Evt.TRANSPORT_INDICATION)
