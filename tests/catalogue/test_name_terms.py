"""Fuzzy searches through the database: what they find, which index they walk, and that the index is kept up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from catalogue.holding import Holding, elements
from catalogue.test_plan import RETURNED, scanned, statements, steps
from catalogue.worlds import NAME_POOL, archives, patterns
from strongroom.catalogue.query import Query, Root
from strongroom.catalogue.scope import EVERYTHING, Scope
from strongroom.catalogue.search import goes_on, search
from strongroom.dicom.model import Level
from strongroom.ground.database import migrate, migrations_in

NAMES = [
    "Müller^Jörg", "Mueller^Anna", "O'Brien^Mary-Ann", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Hong^Gildong=洪^吉洞=홍^길동",
    "Иванов^Андрей", "Παπαδόπουλος^Γιώργος", "محمد^أحمد", "Łukasz^Żółć", "Smith^Anna Andrea",
]  # fmt: skip


@pytest.fixture(scope="module")
def holding():
    """Ten names in several scripts, one study each."""
    made = Holding()
    for number, name in enumerate(NAMES):
        made.record(
            PatientID=f"P{number}",
            PatientName=name,
            StudyInstanceUID=f"1.{number}",
            SeriesInstanceUID=f"1.{number}.1",
            ReferringPhysicianName=NAMES[number - 1],
            device="CT1" if number % 2 else "MR1",
        )
    return made


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.IMAGE])
@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ("muller", [0, 1]),
        ("Jörg Müller", [0]),
        ("obrien", [2]),
        ("山田", [3]),
        ("ヤマダ", [3]),
        ("홍길동", [4]),
        ("иванов", [5]),
        ("γιωργος", [6]),
        ("احمد", [7]),
        ("zolc", [8]),
        ("an", [1, 2, 9]),
        ("an*", [1, 2, 9]),
        ("schmidt", [9]),
        (["obrien", "홍"], [2, 4]),
        ("m?ller^*", [0]),
        ("nobody", []),
    ],
    ids=str,
)
def test_ten_names_are_found(holding, level, asked, numbers):
    """Each once, however many of its words match."""
    found = holding.uids(level, PatientName=asked, fuzzy=True)

    key = {Level.STUDY: "1.{}", Level.SERIES: "1.{}.1", Level.IMAGE: "1.9.{}"}[level]
    if level is Level.IMAGE:
        numbers = [number + 1 for number in numbers]
    assert sorted(key.format(number) for number in numbers) == found


def test_patients_are_found_by_the_names_of_their_studies():
    """Each once, however many studies and words match, and by the name of any of them."""
    holding = Holding()
    for number in range(12):
        holding.record(
            PatientID=f"P{number % 3}",
            PatientName=["Anna^Andrea", "Anders^Ann", "Meier^Anna"][number % 3] if number < 9 else "Married^Anna",
            StudyInstanceUID=f"1.{number}",
            SeriesInstanceUID=f"1.{number}.1",
        )

    assert holding.uids(Level.PATIENT, PatientName="an", fuzzy=True) == ["P0", "P1", "P2"]
    assert holding.uids(Level.PATIENT, PatientName="mayr", fuzzy=True) == ["P2"]
    assert holding.uids(Level.PATIENT, PatientName="married an", fuzzy=True) == ["P0", "P1", "P2"]
    assert len(holding.ask(Level.PATIENT, root=Root.PATIENT, PatientName="an", fuzzy=True, limit=2, offset=1)) == 2


def test_other_names_are_found_without_an_index(holding):
    """Referring Physician's Name, at the price of looking at each study."""
    assert holding.uids(Level.STUDY, ReferringPhysicianName="mueller", fuzzy=True) == ["1.1", "1.2"]
    assert holding.uids(Level.STUDY, ReferringPhysicianName="mueller", fuzzy=False) == []


def test_a_scope_holds(holding):
    """What lies outside of it is not found, however it sounds."""
    scope = Scope.of(sending_devices=["CT1"])

    assert holding.uids(Level.STUDY, scope, PatientName="muller", fuzzy=True) == ["1.1"]


@pytest.mark.parametrize(
    "asked", ["muller", "jörg müller", "an", "an*", "schmidt", "O'Brien", "山田太郎", ["muller", "hong"]], ids=str
)
@pytest.mark.parametrize("scope", [EVERYTHING, Scope.of(sending_devices=["CT1", "MR1"])], ids=["everything", "devices"])
@pytest.mark.parametrize("level", [Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE])
def test_a_fuzzy_search_walks_an_index_in_its_order(holding, level, scope, asked):
    """No table is read through and no page is sorted."""
    root = Root.PATIENT if level is Level.PATIENT else Root.STUDY
    plan = steps(holding, level, scope, root=root, **(RETURNED | {"PatientName": asked, "fuzzy": True}))

    names = [step for step in plan if "listed" in step or "_name" in step]
    assert names
    assert all("USING" in step for step in names if step.startswith(("SEARCH", "SCAN")))
    assert scanned(plan) == []
    assert [step for step in plan if "ORDER BY" in step and level is not Level.PATIENT] == []


def test_no_value_stands_in_the_text_of_a_statement(holding):
    """Words are bound like every value (SECURITY D11)."""
    keys = {"PatientName": "mueller o'brien", "ReferringPhysicianName": "smith", "fuzzy": True}
    text = "".join(statement for statement, _ in statements(holding, Level.STUDY, EVERYTHING, **keys))

    assert not [word for word in ("mueller", "muller", "brien", "smith", "MLR") if word in text]


def terms_of(holding):
    """The index as it stands."""
    return sorted(holding.connection.execute("SELECT * FROM study_name").fetchall())


def test_a_later_name_is_listed():
    """A study that gets its name from a later instance is found by it, and its patient too."""
    holding = Holding()
    holding.record(PatientName=None)
    before = terms_of(holding)
    holding.record(PatientName="Meier^Anna")

    assert before == []
    assert holding.uids(Level.STUDY, PatientName="anna mayr", fuzzy=True) == ["1.1"]
    assert holding.uids(Level.PATIENT, PatientName="anna mayr", fuzzy=True) == ["P1"]


def test_a_further_instance_writes_no_terms():
    """The index costs something for a new study only."""
    holding = Holding()
    holding.record(PatientName="Meier^Anna")
    seen = []
    holding.connection.exec_trace = lambda cursor, statement, values: seen.append(statement) or True
    holding.record(PatientName="Meier^Anna", SeriesInstanceUID="1.1.2")
    holding.record(PatientName="Meier^Anna", SeriesInstanceUID="1.1.2")
    holding.connection.exec_trace = None

    assert [statement for statement in seen if "_name " in statement] == []


def test_rows_of_an_older_format_are_listed_by_the_migration():
    """What the first format holds is found after the second step, just as what is recorded since."""
    holding = Holding()
    for number, name in enumerate([*NAMES, None]):
        holding.record(
            PatientID=f"P{number}", PatientName=name, StudyInstanceUID=f"1.{number}", SeriesInstanceUID=f"1.{number}.1"
        )
    recorded = terms_of(holding)
    holding.connection.execute("DROP TABLE study_name; UPDATE format SET version = 1").fetchall()
    steps_ = migrations_in("strongroom.catalogue.migrations")[:2]

    assert migrate(holding.connection, "catalogue", steps_) == 1
    assert recorded == terms_of(holding)
    assert recorded != []


@settings(max_examples=60)
@given(archives(), patterns(NAME_POOL))
def test_fuzzy_finds_at_least_what_is_found_without(archive, pattern):
    """Whoever turns it on loses nothing."""
    holding = Holding()
    for device, attributes in archive:
        holding.record(device=device, **attributes)
    exact = holding.uids(Level.STUDY, PatientName=pattern)
    fuzzy = holding.uids(Level.STUDY, PatientName=pattern, fuzzy=True)

    assert set(exact) <= set(fuzzy)


@pytest.mark.parametrize(
    "keys", [{}, {"PatientName": "an", "fuzzy": True}, {"PatientID": "P*"}, {"Modality": "CT"}], ids=str
)
@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.IMAGE])
def test_an_offset_leaves_out_just_the_first(holding, keys, level):
    """The answers behind an offset are those of the whole search without its first ones; limit cuts behind them."""
    fields = {"fuzzy": bool(keys.get("fuzzy"))}
    asked = {keyword: value for keyword, value in keys.items() if keyword != "fuzzy"}
    if level is Level.STUDY:
        asked.pop("Modality", None)
    whole = holding.ask(level, **asked, **fields)

    for offset in range(len(whole) + 2):
        assert whole[offset:] == holding.ask(level, **asked, **fields, offset=offset)
        assert whole[offset : offset + 2] == holding.ask(level, **asked, **fields, offset=offset, limit=2)
        query = Query(Root.STUDY, level, elements(**asked), relational=True, offset=offset, limit=2, **fields)
        assert (len(whole) > offset + 2) == goes_on(holding.connection, query, EVERYTHING)


def test_the_same_question_has_the_same_order(holding):
    """Twice the same list (PS3.18 8.3.4.4.1)."""
    query = Query(Root.STUDY, Level.STUDY, elements(PatientName="an"), relational=True, fuzzy=True)

    assert list(search(holding.connection, query, EVERYTHING)) == list(search(holding.connection, query, EVERYTHING))
