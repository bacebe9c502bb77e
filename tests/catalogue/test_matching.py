"""Every matching kind of PS3.4 C.2.2.2, at all levels and inside scopes, against a matcher in plain Python."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogue import reference, worlds
from catalogue.holding import Holding, tag
from strongroom.catalogue.query import Root
from strongroom.catalogue.scope import EVERYTHING, NOTHING, Scope
from strongroom.dicom.model import Level

UNIQUE = {
    "PATIENT": ("PatientID", "IssuerOfPatientID"),
    "STUDY": ("StudyInstanceUID",),
    "SERIES": ("SeriesInstanceUID",),
    "IMAGE": ("SOPInstanceUID",),
}
COUNTED = {
    "NumberOfPatientRelatedStudies": ("PATIENT", "StudyInstanceUID"),
    "NumberOfPatientRelatedInstances": ("PATIENT", "SOPInstanceUID"),
    "NumberOfStudyRelatedSeries": ("STUDY", "SeriesInstanceUID"),
    "NumberOfStudyRelatedInstances": ("STUDY", "SOPInstanceUID"),
    "NumberOfSeriesRelatedInstances": ("SERIES", "SOPInstanceUID"),
}


def entity_of(level, attributes):
    """What tells two entities of a level apart; without a Patient ID each study has its own patient."""
    if level == "PATIENT":
        if not attributes["PatientID"]:
            return ("", attributes["StudyInstanceUID"])
        return (attributes["PatientID"], attributes["IssuerOfPatientID"])
    return attributes[UNIQUE[level][0]]


def computed(keyword, entity, visible):
    """What lies below an entity: a count, or the values of a list."""
    if keyword in COUNTED:
        level, counted = COUNTED[keyword]
        same = [one for one in visible if entity_of(level, one) == entity_of(level, entity)]
        return len({one[counted] for one in same})
    below = [one for one in visible if one["StudyInstanceUID"] == entity["StudyInstanceUID"]]
    of = "Modality" if keyword == "ModalitiesInStudy" else "SOPClassUID"
    return sorted({one[of] for one in below if one[of]})


def expected(archive, question, inside):
    """The entities that match, by what tells them apart."""
    level, keys, joined = question
    visible = [attributes for device, attributes in archive if inside(device, attributes)]
    found = {}
    for attributes in visible:
        if all(_holds(keyword, keys, attributes, visible, joined) for keyword in keys):
            found[entity_of(level, attributes)] = attributes
    return found, visible


def _holds(keyword, keys, attributes, visible, joined):
    for date, time in reference.PAIRS.items():
        if joined and keyword in (date, time) and date in keys and time in keys:
            both = reference.both_match(keys[date], keys[time], attributes[date], attributes[time])
            if both is not None:
                return both
    if keyword in COUNTED or keyword.endswith("InStudy"):
        return reference.matches(keyword, keys[keyword], computed(keyword, attributes, visible))
    return reference.matches(keyword, keys[keyword], attributes[keyword])


SCOPES = {
    "everything": (EVERYTHING, lambda device, one: True),
    "nothing": (NOTHING, lambda device, one: False),
    "one device": (Scope.of(sending_devices=["CT1"]), lambda device, one: device == "CT1"),
    "two devices": (Scope.of(sending_devices=["CT1", "WS1"]), lambda device, one: device in ("CT1", "WS1")),
    "studies": (
        Scope.of(studies=["1.0", "1.2"]),
        lambda device, one: one["StudyInstanceUID"] in ("1.0", "1.2"),
    ),
    "an issuer": (Scope.of(issuers_of_patient_id=["H1"]), lambda device, one: one["IssuerOfPatientID"] == "H1"),
    "a union": (
        Scope.of(sending_devices=["MR1"], studies=["1.1"]),
        lambda device, one: device == "MR1" or one["StudyInstanceUID"] == "1.1",
    ),
    "two scopes": (
        Scope.of(sending_devices=["CT1", "MR1"]) & Scope.of(sending_devices=["MR1", "WS1"], studies=["1.0"]),
        lambda device, one: device in ("CT1", "MR1") and (device in ("MR1", "WS1") or one["StudyInstanceUID"] == "1.0"),
    ),
}


def hold(archive) -> Holding:
    """Record the archive."""
    holding = Holding()
    for device, attributes in archive:
        holding.record(device=device, **attributes)
    return holding


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    archive=worlds.archives(),
    asked=st.lists(st.tuples(worlds.questions(), st.sampled_from(sorted(SCOPES))), min_size=4, max_size=12),
)
def test_search_finds_what_the_reference_finds(archive, asked):
    """Whatever is asked at whatever level inside whatever scope: the same entities, each once, with the same counts."""
    holding = hold(archive)
    for question, scope_name in asked:
        level, keys, joined = question
        scope, inside = SCOPES[scope_name]
        wanted, visible = expected(archive, question, inside)
        returned = [keyword for keyword in (*COUNTED, "ModalitiesInStudy", "SOPClassesInStudy") if _has(level, keyword)]
        root = Root.PATIENT if level == "PATIENT" else Root.STUDY
        identifying = ("PatientID", "IssuerOfPatientID", *UNIQUE[level])
        options = dict.fromkeys((*identifying, *returned)) | keys
        found = holding.ask(Level[level], scope, root=root, combined_datetime=joined, **options)

        assert sorted(map(str, _identities(level, found))) == sorted(map(str, _wanted_identities(level, wanted)))
        if level != "PATIENT":
            for match in found:
                entity = wanted[match[tag(UNIQUE[level][0])]["Value"][0]]
                for keyword in returned:
                    value = match[tag(keyword)].get("Value", [])
                    ours = computed(keyword, entity, visible)
                    assert (value if isinstance(ours, list) else value[0]) == ours, keyword


def _has(level, keyword):
    about = COUNTED[keyword][0] if keyword in COUNTED else "STUDY"
    return worlds.LEVELS.index(about) <= worlds.LEVELS.index(level)


def _identities(level, found):
    return [tuple((match[tag(keyword)].get("Value") or [""])[0] for keyword in UNIQUE[level]) for match in found]


def _wanted_identities(level, wanted):
    return [tuple(attributes[keyword] or "" for keyword in UNIQUE[level]) for attributes in wanted.values()]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("' OR 1=1--", []),
        ("%", []),
        ("_", []),
        ("100%", ["1.2"]),
        ("100?", ["1.2"]),
        ("a_b", ["1.3"]),
        ("a[b]c", ["1.4"]),
        ("a[b]*", ["1.4"]),
        ("[abc]*", []),
        ("a*", ["1.3", "1.4"]),
        ('"', []),
        ("it's*", ["1.5"]),
        ("chest", []),
        (" CHEST ", ["1.1"]),
        ("CHEST*", ["1.1"]),
    ],
)
def test_only_the_two_wild_cards_are_special(key, found):
    """Quotes, brackets and the wild cards of SQL stand for themselves, in columns and in JSON alike (SECURITY D11)."""
    holding = Holding()
    for number, text in enumerate(["CHEST", "100%", "a_b", "a[b]c", "it's"], 1):
        uids = {"StudyInstanceUID": f"1.{number}", "SeriesInstanceUID": f"1.{number}.1"}
        holding.record(**uids, AccessionNumber=text, StudyDescription=text)

    assert found == holding.uids(Level.STUDY, AccessionNumber=key)
    assert found == holding.uids(Level.STUDY, StudyDescription=key)


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("yamada^tarou", True),
        ("YAMADA*", True),
        ("Yamada", False),
        ("Yamada^*", True),
        ("山田*", True),
        ("やまだ^たろう", True),
        ("ﾔﾏﾀﾞ*", False),
        ("=山田^太郎", True),
        ("yamada*=山田*", True),
        ("yamada*=田中*", False),
        ("==やま*", True),
        ("=やま*", False),
        ("*^TAROU", True),
        ("Yamada^Tarou^^^", True),
        ("?amada^tarou", True),
    ],
)
def test_a_name_is_matched_by_component_group(key, matches):
    """Case and width do not matter; a key without an equals sign may be in any group (PS3.5 §6.2.1)."""
    holding = Holding()
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    holding.record(PatientName=name, ReferringPhysicianName=name)

    assert matches is bool(holding.uids(Level.STUDY, PatientName=key))
    assert matches is bool(holding.uids(Level.STUDY, ReferringPhysicianName=key))
    assert matches is bool(holding.uids(Level.PATIENT, PatientName=key))


def test_only_matching_items_with_the_asked_attributes_are_answered():
    """Of a sequence the answer holds the items that match, and of them what was asked (PS3.4 C.2.2.2.6)."""
    holding = Holding()
    requests = [
        {"RequestedProcedureID": "R1", "ScheduledProcedureStepID": "S1"},
        {"RequestedProcedureID": "R2", "ScheduledProcedureStepID": "S2"},
    ]
    holding.record(RequestAttributesSequence=requests)

    [match] = holding.ask(Level.SERIES, RequestAttributesSequence={"RequestedProcedureID": "R2"})

    assert match["00400275"] == {"vr": "SQ", "Value": [{"00401001": {"vr": "SH", "Value": ["R2"]}}]}


def test_a_date_that_is_none_is_found_by_its_text_only():
    """An unreadable date lies in no range, not even an open one."""
    holding = Holding()
    holding.record(StudyDate="UNKNOWN")

    assert holding.uids(Level.STUDY, StudyDate="19000101-") == []
    assert holding.uids(Level.STUDY, StudyDate="-20991231") == []
    assert holding.uids(Level.STUDY, StudyDate="UNKNOWN") == ["1.1"]
    assert holding.uids(Level.STUDY) == ["1.1"]


@pytest.mark.parametrize("key", ["Smith^*", "SMITH^*^*", "S*^*", "smith", "Smith^", "Sm?th^*", "*^*"])
def test_components_at_the_end_may_be_missing(key):
    """An asterisk for a component also stands for one that is not written (PS3.5 §6.2.1.1)."""
    holding = Holding()
    holding.record(PatientName="Smith", ReferringPhysicianName="Smith")

    assert holding.uids(Level.STUDY, PatientName=key) == ["1.1"]
    assert holding.uids(Level.STUDY, ReferringPhysicianName=key) == ["1.1"]


@pytest.mark.parametrize(
    "keys",
    [
        {"PatientName": "Do*"},
        {"PatientName": ["Do*", "doe", "D*"]},
        {"ModalitiesInStudy": ["CT", "MR", "CT"]},
        {"StudyDate": ["20200101-20200201", "20200110", "-20200301"]},
        {"AccessionNumber": ["A*", "A1"]},
        {"StudyInstanceUID": ["1.1", "1.1"]},
    ],
)
@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES])
def test_what_several_ways_lead_to_is_answered_once(level, keys):
    """The passes of a search never meet an entity twice."""
    holding = Holding()
    shared = {"PatientName": "Doe=Doe^X=Doe", "StudyDate": "20200110", "AccessionNumber": "A1"}
    holding.record(**shared, Modality="CT", SeriesInstanceUID="1.1.1")
    holding.record(**shared, Modality="MR", SeriesInstanceUID="1.1.2")

    found = holding.uids(level, **keys)
    assert found == (["1.1"] if level is Level.STUDY else ["1.1.1", "1.1.2"])


@pytest.mark.parametrize(
    ("date", "time", "apart", "joined"),
    [
        ("20200101-20200103", "1000-1200", True, True),  # noon of the day between
        ("20200101-20200103", "1300-1400", False, True),
        ("20200102-20200103", "1300-", False, False),
        ("20200102", "11-12", True, True),
        ("-20200102", "-1100", False, False),
        ("20200101-", "2300-", False, True),
        ("-20200103", "-0000", False, True),
    ],
)
def test_date_and_time_are_two_ranges_or_one(date, time, apart, joined):
    """Without negotiation each has its own range, with it they are the ends of one (PS3.4 C.2.2.2.5)."""
    holding = Holding()
    holding.record(StudyDate="20200102", StudyTime="1200")

    assert apart is bool(holding.uids(Level.STUDY, StudyDate=date, StudyTime=time))
    assert joined is bool(holding.uids(Level.STUDY, StudyDate=date, StudyTime=time, combined_datetime=True))


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("20200101110000", True),
        ("202001011200+0100", True),
        ("202001011200-0100", False),
        ("202001010600-0500", True),
        ("2020", True),
        ("2019-2020", True),
        ("2020-0500", True),
        ("2021-", False),
        ("-2020", True),
        ("202001011000-202001011100", True),
        ("202001011000-0100-202001011300+0100", True),
        ("202001011130-", False),
        ("-202001011059", False),
    ],
)
def test_a_moment_is_compared_in_utc(key, matches):
    """An offset from UTC is taken off; a hyphen before at most 14 hours begins one (PS3.5 §6.2, DT)."""
    holding = Holding()
    holding.record(AcquisitionDateTime="20200101120000.000000+0100")

    assert matches is bool(holding.uids(Level.IMAGE, AcquisitionDateTime=key))
