"""Small archives and questions about them, for hypothesis; values are few, so that questions meet them often."""

from __future__ import annotations

from hypothesis import strategies as st

from catalogue.holding import CT, MR

NAME_POOL = [
    "Doe^John", "DOE^JANE", "Doe", "doe^john^^Dr", "Müller^Jörg", "MÜLLER", "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "=山田^花子", "Hong^Gildong=洪^吉洞=홍^길동", "O'Brien^%_[x]", "Smith^A*b", "^Only",
]  # fmt: skip
TEXT_POOL = ["CHEST", "Chest", "chest ct", "100%", "a_b", "a[b]c", "[", "it's", '"q"', "x*y", "50-60", "ü", "ß", "CT"]
DATE_POOL = ["20191231", "20200101", "20200115", "20200131", "20211005"]
TIME_POOL = ["00", "0930", "093000", "093000.5", "093059.999999", "10", "235959"]
DT_POOL = [
    "2020", "202001", "20200101", "20200101120000", "20200101120000.5+0200", "202001010300-0500", "20191231235959.999999",
    "20200101000000+0000", "20200131",
]  # fmt: skip
CODE_POOL = ["P1-0", "P1-1", "99X", "a%"]


def maybe(*pool):
    """One of the values, or none."""
    return st.sampled_from([*pool, None])


codes = st.lists(
    st.fixed_dictionaries({"CodeValue": st.sampled_from(CODE_POOL), "CodingSchemeDesignator": maybe("SRT", "99L")}),
    max_size=2,
)
requests = st.lists(
    st.fixed_dictionaries(
        {
            "RequestedProcedureID": maybe(*TEXT_POOL[:4]),
            "ScheduledProcedureStepID": maybe("S1", "S2"),
            "RequestedProcedureCodeSequence": codes,
        }
    ),
    max_size=2,
)
patients = st.fixed_dictionaries(
    {
        "PatientName": maybe(*NAME_POOL),
        "PatientBirthDate": maybe(*DATE_POOL),
        "PatientSex": maybe("M", "F"),
        "OtherPatientNames": st.lists(st.sampled_from(NAME_POOL), max_size=2),
    }
)
studies = st.fixed_dictionaries(
    {
        "StudyDate": maybe(*DATE_POOL),
        "StudyTime": maybe(*TIME_POOL),
        "AccessionNumber": maybe(*TEXT_POOL),
        "StudyID": maybe(*TEXT_POOL[:5]),
        "StudyDescription": maybe(*TEXT_POOL),
        "ReferringPhysicianName": maybe(*NAME_POOL),
        "ProcedureCodeSequence": codes,
    }
)
series = st.fixed_dictionaries(
    {
        "Modality": maybe("CT", "MR", "PT"),
        "SeriesNumber": maybe(1, 2, 10),
        "SeriesDescription": maybe(*TEXT_POOL),
        "PerformingPhysicianName": st.lists(st.sampled_from(NAME_POOL), max_size=2),
        "PerformedProcedureStepStartDate": maybe(*DATE_POOL),
        "PerformedProcedureStepStartTime": maybe(*TIME_POOL),
        "RequestAttributesSequence": requests,
    }
)
images = st.fixed_dictionaries(
    {
        "SOPClassUID": st.sampled_from([CT, MR]),
        "InstanceNumber": maybe(1, 2, 10),
        "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "AXIAL"]), max_size=3),
        "AcquisitionDateTime": maybe(*DT_POOL),
        "ContentDate": maybe(*DATE_POOL),
        "ContentTime": maybe(*TIME_POOL),
        "Rows": maybe(64, 512),
    }
)
devices = st.sampled_from(["CT1", "MR1", "WS1"])
PATIENT_IDS = ["P1", "p1", "P%", "P_1", "A[1]", "'x", ""]


@st.composite
def archives(draw):
    """A list of (device, attributes) of instances, whose upper levels agree with each other."""
    found = []
    known = {}
    for number in range(draw(st.integers(1, 5))):
        identity = (draw(st.sampled_from(PATIENT_IDS)), draw(st.sampled_from([None, "H1", "H2"])))
        if not identity[0]:
            patient = draw(patients)
        else:
            patient = known.setdefault(identity, None) or draw(patients)
            known[identity] = patient
        study = draw(studies)
        for serial in range(draw(st.integers(1, 2))):
            of_series = draw(series)
            for image in range(draw(st.integers(1, 2))):
                uids = {
                    "PatientID": identity[0] or None,
                    "IssuerOfPatientID": identity[1],
                    "StudyInstanceUID": f"1.{number}",
                    "SeriesInstanceUID": f"1.{number}.{serial}",
                    "SOPInstanceUID": f"1.{number}.{serial}.{image}",
                }
                found.append((draw(devices), {**patient, **study, **of_series, **draw(images), **uids}))
    return found


@st.composite
def patterns(draw, pool):
    """A value of the pool, perhaps with wild cards, in another case, or with something around it."""
    text = draw(st.sampled_from(pool))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        change = draw(st.sampled_from(["*", "?", "cut", "upper", "lower"]))
        if change == "cut":
            text = text[:at] + "*"
        elif change in ("upper", "lower"):
            text = getattr(text, change)()
        elif text[at : at + 1] not in ("^", "=", ""):
            text = text[:at] + change + text[at + (change == "?") :]
        elif change == "*":
            text = text[:at] + change + text[at:]
    return text if text.strip("^*= ") or text == "*" else draw(st.sampled_from(pool))


def ranges(pool):
    """A value, or a range of values, open or not."""
    one = st.sampled_from(pool)
    return st.one_of(
        one,
        st.tuples(one, one).map(lambda ends: "-".join(sorted(ends))),
        one.map(lambda end: f"-{end}"),
        one.map(lambda end: f"{end}-"),
    )


def several(strategy):
    """One value, or a few."""
    return st.one_of(strategy, st.lists(strategy, min_size=2, max_size=3))


names = several(patterns(NAME_POOL))
texts = several(patterns(TEXT_POOL))
code_keys = st.fixed_dictionaries(
    {}, optional={"CodeValue": patterns(CODE_POOL), "CodingSchemeDesignator": maybe("SRT", "99L")}
)
KEYS = {
    "PATIENT": {
        "PatientName": names,
        "PatientID": patterns(PATIENT_IDS[:-1]),
        "IssuerOfPatientID": st.sampled_from(["H1", "H*", "h1"]),
        "PatientBirthDate": several(ranges(DATE_POOL)),
        "PatientSex": st.sampled_from(["M", "F", "m", "?"]),
        "OtherPatientNames": names,
        "NumberOfPatientRelatedStudies": st.integers(1, 3),
        "NumberOfPatientRelatedInstances": st.integers(1, 4),
    },
    "STUDY": {
        "StudyDate": several(ranges(DATE_POOL)),
        "StudyTime": several(ranges(TIME_POOL)),
        "AccessionNumber": texts,
        "StudyID": texts,
        "StudyDescription": texts,
        "ReferringPhysicianName": names,
        "ProcedureCodeSequence": code_keys,
        "StudyInstanceUID": several(st.integers(0, 4).map(lambda number: f"1.{number}")),
        "ModalitiesInStudy": several(st.sampled_from(["CT", "MR", "PT", "C*", "?T", "ct"])),
        "SOPClassesInStudy": several(st.sampled_from([CT, MR])),
        "NumberOfStudyRelatedSeries": st.integers(1, 2),
        "NumberOfStudyRelatedInstances": st.integers(1, 4),
    },
    "SERIES": {
        "Modality": several(st.sampled_from(["CT", "MR", "PT", "*T", "ct"])),
        "SeriesNumber": several(st.sampled_from([1, 2, 10])),
        "SeriesDescription": texts,
        "PerformingPhysicianName": names,
        "PerformedProcedureStepStartDate": ranges(DATE_POOL),
        "PerformedProcedureStepStartTime": ranges(TIME_POOL),
        "RequestAttributesSequence": st.fixed_dictionaries(
            {},
            optional={
                "RequestedProcedureID": patterns(TEXT_POOL[:4]),
                "ScheduledProcedureStepID": st.sampled_from(["S1", "S2", "S?"]),
                "RequestedProcedureCodeSequence": code_keys,
            },
        ),
        "SeriesInstanceUID": several(st.sampled_from(["1.0.0", "1.1.0", "1.2.1"])),
        "NumberOfSeriesRelatedInstances": st.integers(1, 2),
    },
    "IMAGE": {
        "SOPClassUID": several(st.sampled_from([CT, MR])),
        "InstanceNumber": several(st.sampled_from([1, 2, 10])),
        "ImageType": several(st.sampled_from(["ORIGINAL", "AXIAL", "PRI*"])),
        "AcquisitionDateTime": several(ranges(DT_POOL)),
        "ContentDate": ranges(DATE_POOL),
        "ContentTime": ranges(TIME_POOL),
        "Rows": several(st.sampled_from([64, 512])),
        "SOPInstanceUID": several(st.sampled_from(["1.0.0.0", "1.1.0.1", "1.2.1.0"])),
    },
}
LEVELS = ["PATIENT", "STUDY", "SERIES", "IMAGE"]


@st.composite
def questions(draw):
    """A level and the keys of a relational query, and whether dates and times are joined."""
    level = draw(st.sampled_from(LEVELS))
    allowed = {}
    for name in LEVELS:
        allowed |= KEYS[name]
        if name == level:
            break
    chosen = draw(st.lists(st.sampled_from(sorted(allowed)), min_size=1, max_size=3, unique=True))
    return level, {keyword: draw(allowed[keyword]) for keyword in chosen}, draw(st.booleans())
