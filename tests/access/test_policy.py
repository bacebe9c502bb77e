"""The decision: nothing outside DESIGN's table is ever granted, and each refusal says why."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.access import policy
from strongroom.access.policy import (
    ARCHIVE,
    EVERYTHING,
    NOTHING,
    Actor,
    Grant,
    Reason,
    Refusal,
    Requested,
    Scope,
    Target,
    decide,
    decide_erasure,
    decide_transfer,
    is_written_reason,
)
from strongroom.access.roles import ROLES, SYSTEM_TASKS, Action, ActorKind

# DESIGN section 6 once more, written down independently of roles.py.
ROLE_TABLE = {
    "modality": {"deposit"},
    "reader": {"query", "view"},
    "radiologist": {"query", "view", "retrieve", "share"},
    "researcher": set(),
    "administrator": {"administer"},
    "auditor": {"review"},
    "custodian": {"custody", "delete"},
}
DEVICE_MAY = {"deposit", "query", "retrieve"}
SERVICE_NEVER = {"administer", "share", "delete", "custody"}
LINK_MAY = {"query", "view", "retrieve"}
HOST_MAY = {"administer", "review", "custody", "deposit"}
HOST_WITH_REASON = {"view", "retrieve"}
PATIENT_DATA = {"query", "view", "retrieve", "share"}

STUDY = "1.2.3"
scopes = st.builds(
    Scope,
    everything=st.booleans(),
    studies=st.frozensets(st.sampled_from([STUDY, "1.2.4"])),
    sending_devices=st.frozensets(st.sampled_from(["CT1", "MR1"])),
    departments=st.frozensets(st.sampled_from(["ward"])),
    issuers_of_patient_id=st.frozensets(st.sampled_from(["HOSPITAL"])),
)
actors = st.builds(
    Actor,
    kind=st.sampled_from(ActorKind),
    name=st.sampled_from(["CT1", "scrub", "self-look", "anna", ""]),
    actions=st.frozensets(st.sampled_from(Action)),
    roles=st.frozensets(st.sampled_from([*ROLES, "root", "Administrator", ""])),
    scope=scopes,
    written_reason=st.sampled_from(["", "   ", "1234567", "restore drill"]),
    receives=st.booleans(),
    destinations=st.none() | st.frozensets(st.sampled_from(["CT1", "WS1"])),
)
targets = st.builds(
    Target,
    study_instance_uid=st.sampled_from([None, STUDY, "1.9"]),
    sending_devices=st.frozensets(st.sampled_from(["CT1", "US1"])),
    departments=st.frozensets(st.sampled_from(["ward", "lab"])),
    issuer_of_patient_id=st.sampled_from([None, "HOSPITAL", "OTHER"]),
    de_identified=st.booleans(),
    on_hold=st.booleans(),
    for_good=st.booleans(),
    second=st.none() | actors,
)


def in_the_table(actor: Actor, action: str) -> bool:
    """Whether the table of DESIGN, read plainly, names this action for this actor."""
    by_role = set().union(*(ROLE_TABLE.get(role, set()) for role in actor.roles))
    match actor.kind:
        case ActorKind.PERSON:
            named = action in by_role
        case ActorKind.SERVICE:
            named = action in by_role - SERVICE_NEVER
        case ActorKind.DEVICE:
            entry = {a.value for a in actor.actions} & DEVICE_MAY
            named = ("retrieve" if action == "view" else action) in entry
        case ActorKind.LINK:
            named = action in {a.value for a in actor.actions} & LINK_MAY
        case ActorKind.HOST:
            named = action in HOST_MAY or (action in HOST_WITH_REASON and actor.written_reason == "restore drill")
        case ActorKind.SYSTEM:
            named = action == "custody" and actor.name == "scrub"
    return named and not (action in PATIENT_DATA and "administrator" in actor.roles)


@given(actors, st.sampled_from(Action), targets)
def test_nothing_outside_the_table_is_granted(actor, action, target):
    """A grant implies that the table names the action, the study lies in the scope and no hold or missing second person forbids it."""
    decision = decide(actor, action, target)

    if isinstance(decision, Grant):
        assert in_the_table(actor, action.value)
        assert not target.de_identified
        assert decision.action is action
        if action.value in PATIENT_DATA | {"delete"} and actor.kind not in {ActorKind.HOST, ActorKind.SYSTEM}:
            assert decision.scope == actor.scope
            assert not actor.scope.nothing
            assert target.study_instance_uid is None or actor.scope.covers(target)
        if action is Action.DELETE:
            assert not target.on_hold
            assert not target.for_good or (target.second is not None and target.second.name != actor.name)
    else:
        assert isinstance(decision.reason, Reason)


@given(actors, st.sampled_from(Action))
def test_what_the_table_names_is_granted(actor, action):
    """Over the whole archive, everything the table names is granted: the rule above is not kept by refusing everything."""
    able = replace(actor, scope=Scope(studies=frozenset({STUDY})) if actor.kind is ActorKind.LINK else EVERYTHING)

    decision = decide(able, action)

    assert isinstance(decision, Grant) == in_the_table(able, action.value)


@given(actors, actors, targets)
def test_a_transfer_needs_both_sides(requester, recipient, target):
    """Sending somewhere is granted only if the requester and the recipient may both retrieve the target (C37)."""
    decision = decide_transfer(requester, recipient, target)

    if isinstance(decision, Grant):
        assert isinstance(decide(requester, Action.RETRIEVE, target), Grant)
        assert isinstance(decide(recipient, Action.RETRIEVE, target), Grant)
        assert recipient.kind is ActorKind.DEVICE
        assert recipient.receives
        assert requester.destinations is None or recipient.name in requester.destinations


def person(*roles: str, scope: Scope = EVERYTHING, name: str = "anna") -> Actor:
    """A person holding roles."""
    return Actor(ActorKind.PERSON, name, roles=frozenset(roles), scope=scope)


def device(*actions: Action, scope: Scope = EVERYTHING, name: str = "WS1", **more) -> Actor:
    """A device whose entry names actions."""
    return Actor(ActorKind.DEVICE, name, actions=frozenset(actions), scope=scope, **more)


def reason(decision: Grant | Refusal) -> Reason:
    """The reason of a refusal."""
    assert isinstance(decision, Refusal)
    return decision.reason


def test_administrator_sees_no_patient_data_even_as_radiologist():
    """Administering excludes patient data, whatever other role the same person holds (C06)."""
    both = person("administrator", "radiologist")

    assert reason(decide(both, Action.VIEW)) == Reason.ADMINISTRATOR_NO_PATIENT_DATA
    assert isinstance(decide(both, Action.ADMINISTER), Grant)


def test_researcher_is_refused_because_de_identification_does_not_exist():
    """A de-identified retrieve is refused, not approximated by a plain one, nor granted to a radiologist."""
    assert reason(decide(person("researcher"), Action.RETRIEVE)) == Reason.DE_IDENTIFIED_NOT_AVAILABLE
    wanted = Target(de_identified=True)
    assert reason(decide(person("radiologist"), Action.RETRIEVE, wanted)) == Reason.DE_IDENTIFIED_NOT_AVAILABLE


def test_host_views_only_with_a_written_reason():
    """Who runs the command line administers freely, but sees a patient's data only after writing down why."""
    host = Actor(ActorKind.HOST, "root")

    assert isinstance(decide(host, Action.ADMINISTER), Grant)
    assert reason(decide(host, Action.RETRIEVE)) == Reason.WRITTEN_REASON_MISSING
    decision = decide(replace(host, written_reason="restore drill"), Action.RETRIEVE)
    assert Grant(Action.RETRIEVE, EVERYTHING, "host-with-reason:retrieve") == decision
    assert reason(decide(replace(host, written_reason="restore drill"), Action.QUERY)) == Reason.KIND_CANNOT


@pytest.mark.parametrize(
    ("text", "good"), [("", False), ("   ", False), ("12345", False), ("ok", False), ("drill", True)]
)
def test_written_reason_is_at_least_a_word(text, good):
    """Blanks, digits and two letters are no reason."""
    assert good is is_written_reason(text)


def test_out_of_scope():
    """A study outside the scope is refused; without a study the scope stands in the grant for whoever searches."""
    reader = person("reader", scope=Scope(sending_devices=frozenset({"CT1"})))

    assert reason(decide(reader, Action.VIEW, Target(STUDY, frozenset({"MR1"})))) == Reason.OUT_OF_SCOPE
    assert reason(decide(reader, Action.VIEW, Target(STUDY))) == Reason.OUT_OF_SCOPE
    assert isinstance(decide(reader, Action.VIEW, Target(STUDY, frozenset({"CT1", "MR1"}))), Grant)
    found = decide(reader, Action.QUERY, ARCHIVE)
    assert isinstance(found, Grant)
    assert reader.scope == found.scope
    assert reason(decide(person("reader", scope=NOTHING), Action.QUERY)) == Reason.OUT_OF_SCOPE


def test_a_link_reaches_a_list_of_studies_and_nothing_wider():
    """A share link without a frozen list, or with anything besides it, gives nothing (C43)."""
    link = Actor(ActorKind.LINK, "link 7", actions=frozenset({Action.VIEW}), scope=Scope(studies=frozenset({STUDY})))

    assert isinstance(decide(link, Action.VIEW, Target(STUDY)), Grant)
    assert reason(decide(link, Action.VIEW, Target("1.9"))) == Reason.OUT_OF_SCOPE
    for wide in (EVERYTHING, NOTHING, Scope(studies=frozenset({STUDY}), departments=frozenset({"ward"}))):
        assert reason(decide(replace(link, scope=wide), Action.VIEW)) == Reason.LINK_WITHOUT_STUDIES


def test_system_tasks_get_what_they_need():
    """The archive's own work is limited by task, and an unknown task gets nothing."""
    assert isinstance(decide(Actor(ActorKind.SYSTEM, "scrub"), Action.CUSTODY), Grant)
    assert reason(decide(Actor(ActorKind.SYSTEM, "self-look"), Action.CUSTODY)) == Reason.ACTION_NOT_GRANTED
    assert reason(decide(Actor(ActorKind.SYSTEM, "cleanup"), Action.CUSTODY)) == Reason.UNKNOWN_TASK
    for task in SYSTEM_TASKS:
        assert reason(decide(Actor(ActorKind.SYSTEM, task), Action.RETRIEVE)) == Reason.KIND_CANNOT


def test_deleting():
    """A custodian deletes, but nothing on hold, and for good only with another custodian who reaches the study too."""
    anna, ben = person("custodian"), person("custodian", name="ben")

    assert isinstance(decide(anna, Action.DELETE, Target(STUDY)), Grant)
    assert reason(decide(anna, Action.DELETE, Target(STUDY, on_hold=True))) == Reason.ON_HOLD
    for second in (
        None,
        anna,
        person("reader", name="ben"),
        replace(ben, kind=ActorKind.SERVICE),
        replace(ben, scope=NOTHING),
    ):
        purge = Target(STUDY, for_good=True, second=second)
        assert reason(decide(anna, Action.DELETE, purge)) == Reason.SECOND_PERSON_MISSING
    assert isinstance(decide(anna, Action.DELETE, Target(STUDY, for_good=True, second=ben)), Grant)
    assert (
        reason(decide(Actor(ActorKind.SERVICE, "t", roles=frozenset({"custodian"})), Action.DELETE))
        == Reason.KIND_CANNOT
    )


def test_an_action_which_was_not_given():
    """A device that may deposit does not query; one whose entry says more than a device can have gets no more."""
    assert reason(decide(device(Action.DEPOSIT), Action.QUERY)) == Reason.ACTION_NOT_GRANTED
    assert reason(decide(device(*Action), Action.REVIEW)) == Reason.KIND_CANNOT
    assert reason(decide(person("root"), Action.ADMINISTER)) == Reason.ACTION_NOT_GRANTED


def test_transfer_refusals():
    """Each thing that can be wrong with the destination of a C-MOVE has its own reason in the trail (C37)."""
    wants = device(Action.RETRIEVE, name="WS1")
    takes = device(Action.RETRIEVE, name="WS2", receives=True)
    target = Target(STUDY, frozenset({"CT1"}))

    assert isinstance(decide_transfer(wants, takes, target), Grant)
    assert reason(decide_transfer(device(Action.QUERY), takes, target)) == Reason.ACTION_NOT_GRANTED
    assert reason(decide_transfer(wants, person("radiologist"), target)) == Reason.RECIPIENT_NOT_DEVICE
    assert reason(decide_transfer(wants, replace(takes, receives=False), target)) == Reason.RECIPIENT_WITHOUT_ADDRESS
    limited = replace(wants, destinations=frozenset({"WS9"}))
    assert reason(decide_transfer(limited, takes, target)) == Reason.RECIPIENT_NOT_FOR_REQUESTER
    deposits = replace(takes, actions=frozenset({Action.DEPOSIT}))
    assert reason(decide_transfer(wants, deposits, target)) == Reason.RECIPIENT_NOT_GRANTED
    other = replace(takes, scope=Scope(sending_devices=frozenset({"MR1"})))
    assert reason(decide_transfer(wants, other, target)) == Reason.RECIPIENT_OUT_OF_SCOPE


D, Q, V, R, S, X, A, W, C = (
    "deposit", "query", "view", "retrieve", "share", "delete", "administer", "review", "custody",
)  # fmt: skip
EVERY_GRANT = {
    ("person", "modality"): {D},
    ("person", "reader"): {Q, V},
    ("person", "radiologist"): {Q, V, R, S},
    ("person", "researcher"): set(),
    ("person", "administrator"): {A},
    ("person", "auditor"): {W},
    ("person", "custodian"): {C, X},
    ("service", "modality"): {D},
    ("service", "reader"): {Q, V},
    ("service", "radiologist"): {Q, V, R},
    ("service", "researcher"): set(),
    ("service", "administrator"): set(),
    ("service", "auditor"): {W},
    ("service", "custodian"): set(),
}
"""Written down once more, line by line: kind and role to everything it grants. No other kind gets anything by a role."""


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ActorKind)
def test_every_kind_role_and_action(kind, role, action):
    """Each cell of the table by itself; a role in the hands of a device, a link, the host or the system gives nothing more."""
    scope = Scope(studies=frozenset({STUDY})) if kind is ActorKind.LINK else EVERYTHING
    actor = Actor(kind, "scrub", roles=frozenset({role}), scope=scope)
    without = isinstance(decide(replace(actor, roles=frozenset()), action), Grant)
    cell = EVERY_GRANT.get((kind.value, role), set())

    granted = isinstance(decide(actor, action), Grant)

    if kind in {ActorKind.PERSON, ActorKind.SERVICE}:
        assert granted == (action.value in cell)
    else:
        assert granted == without


DEVICE_GRANTS = {
    D: {D}, Q: {Q}, R: {R, V}, V: set(), S: set(), X: set(), A: set(), W: set(), C: set(),
}  # fmt: skip


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("entry", Action)
def test_every_action_of_a_devices_entry(entry, action):
    """An entry gives what it names, below the ceiling; the one more is viewing, for a device that may retrieve."""
    granted = isinstance(decide(device(entry), action), Grant)

    assert granted == (action.value in DEVICE_GRANTS[entry.value])


def test_a_device_views_what_it_may_retrieve():
    """The right to view comes from the right to retrieve, with the same scope, and the rule says so; without it the trail does."""
    only = Scope(sending_devices=frozenset({"CT1"}))
    viewer = device(Action.RETRIEVE, scope=only)

    assert Grant(Action.VIEW, only, "device-views-by:retrieve") == decide(viewer, Action.VIEW)
    assert reason(decide(viewer, Action.VIEW, Target(STUDY))) == Reason.OUT_OF_SCOPE
    assert reason(decide(device(Action.QUERY, Action.VIEW), Action.VIEW)) == Reason.ACTION_NOT_GRANTED
    link = Actor(ActorKind.LINK, "l", actions=frozenset({Action.RETRIEVE}), scope=Scope(studies=frozenset({STUDY})))
    assert reason(decide(link, Action.VIEW)) == Reason.ACTION_NOT_GRANTED


def test_the_decision_is_pure():
    """The module imports no clock, socket, thread or path, so that the same question always has the same answer."""
    tree = ast.parse(inspect.getsource(policy))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}

    assert names == {"__future__", "dataclasses", "enum", "typing", "strongroom.access.roles"}


def erasing_host(name: str = "uid 0") -> Actor:
    """The command line of that user."""
    return Actor(ActorKind.HOST, name, scope=EVERYTHING)


@pytest.mark.parametrize(
    ("actor", "requested", "hours", "refused"),
    [
        (erasing_host(), (ActorKind.HOST, "uid 0"), 0, Reason.SECOND_PERSON_MISSING),
        (erasing_host(), (ActorKind.HOST, "uid 0"), 23.99, Reason.SECOND_PERSON_MISSING),
        (erasing_host(), (ActorKind.HOST, "uid 0"), -48, Reason.SECOND_PERSON_MISSING),
        (erasing_host(), (ActorKind.HOST, "uid 0"), 24, None),
        (erasing_host("uid 1"), (ActorKind.HOST, "uid 0"), 0, None),
        (erasing_host(), (ActorKind.PERSON, "vera"), 0, None),
        (erasing_host(), (ActorKind.PERSON, "uid 0"), 0, None),
        (person("custodian", name="vera"), (ActorKind.PERSON, "vera"), 1000, Reason.SECOND_PERSON_MISSING),
        (person("custodian", name="anna"), (ActorKind.PERSON, "vera"), 0, None),
        (person("radiologist", name="anna"), (ActorKind.PERSON, "vera"), 0, Reason.ACTION_NOT_GRANTED),
        (
            replace(person("custodian"), kind=ActorKind.SERVICE),
            (ActorKind.PERSON, "vera"),
            0,
            Reason.KIND_CANNOT,
        ),
    ],
)
def test_erasing_needs_a_second(
    actor: Actor, requested: tuple[ActorKind, str], hours: float, refused: Reason | None
) -> None:
    """Somebody else than who asked, with custody; the host alone a day later; a clock put back helps nobody."""
    decision = decide_erasure(actor, Requested(*requested, at=1_000_000.0), 1_000_000.0 + hours * 3600)

    assert refused == (decision.reason if isinstance(decision, Refusal) else None)


def test_what_is_on_hold_is_not_erased_by_anybody() -> None:
    """However many agree."""
    decision = decide_erasure(erasing_host("uid 1"), Requested(ActorKind.HOST, "uid 0", 0.0), 1e9, Target(on_hold=True))

    assert isinstance(decision, Refusal)
    assert Reason.ON_HOLD == decision.reason
