"""The tables of who may do what are DESIGN's, and cannot be changed at run time."""

from __future__ import annotations

import pytest

from strongroom.access.roles import CEILING, PATIENT_DATA, ROLES, SYSTEM_TASKS, Action, ActorKind


def test_every_kind_has_a_ceiling_and_every_action_a_holder():
    """No kind of actor is forgotten, and no action exists that nobody could ever do."""
    assert set(CEILING) == set(ActorKind)
    assert frozenset().union(*(role.actions for role in ROLES.values())) == frozenset(Action)


@pytest.mark.parametrize("table", [CEILING, ROLES, SYSTEM_TASKS])
def test_tables_are_read_only(table):
    """Code cannot widen a table while the archive runs."""
    with pytest.raises(TypeError):
        table["x"] = frozenset(Action)


def test_administrator_auditor_and_custodian_hold_no_patient_data():
    """Running, reviewing and keeping the archive are separated from reading what is in it (C06)."""
    for name in ("administrator", "auditor", "custodian", "modality", "researcher"):
        assert PATIENT_DATA.isdisjoint(ROLES[name].actions)
