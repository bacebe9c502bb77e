"""The XML form holds to the schema of PS3.15 A.5.1.1, whatever callers put into names and queries."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.audit.parties import Party, Patient, Study, count
from strongroom.audit.report import Reporter
from strongroom.audit.xml import to_xml

NOW = datetime(2026, 10, 5, tzinfo=UTC)

# The RELAX NG schema of A.5.1.1 written out as tables: attributes (required or not, with their pattern) and children in order.
TOKEN = r"(?s).*"
BASE64 = r"[A-Za-z0-9+/]*={0,2}"
UID = r"[0-2]((\.0)|(\.[1-9][0-9]*))*"


@dataclass(frozen=True)
class Shape:
    required: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)
    children: tuple[tuple[str, int, int], ...] = ()
    """(name, fewest, most) in the order of the schema; most 0 stands for any number."""
    text: str | None = None


CODED = Shape({"csd-code": r"\S+", "codeSystemName": r".+", "originalText": r".+"}, {"displayName": TOKEN})
SHAPES = {
    "AuditMessage": Shape(
        children=(
            ("EventIdentification", 1, 1),
            ("ActiveParticipant", 1, 0),
            ("AuditSourceIdentification", 1, 1),
            ("ParticipantObjectIdentification", 0, 0),
        )
    ),
    "EventIdentification": Shape(
        {
            "EventDateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
            "EventOutcomeIndicator": "0|4|8|12",
        },
        {"EventActionCode": "[CRUDE]"},
        (("EventID", 1, 1), ("EventTypeCode", 0, 0), ("EventOutcomeDescription", 0, 1)),
    ),
    "EventID": CODED,
    "EventTypeCode": CODED,
    "RoleIDCode": CODED,
    "MediaType": CODED,
    "ParticipantObjectIDTypeCode": CODED,
    "EventOutcomeDescription": Shape(text=TOKEN),
    "ActiveParticipant": Shape(
        {"UserID": TOKEN, "UserIsRequestor": "true|false|0|1"},
        {
            "AlternativeUserID": TOKEN,
            "UserName": TOKEN,
            "NetworkAccessPointID": TOKEN,
            "NetworkAccessPointTypeCode": "[1-5]",
        },
        (("RoleIDCode", 0, 0), ("MediaIdentifier", 0, 1)),
    ),
    "MediaIdentifier": Shape(children=(("MediaType", 1, 1),)),
    "AuditSourceIdentification": Shape(
        {"AuditSourceID": r".+"}, {"AuditEnterpriseSiteID": TOKEN}, (("AuditSourceTypeCode", 0, 0),)
    ),
    "AuditSourceTypeCode": Shape({"csd-code": "[1-9]"}),
    "ParticipantObjectIdentification": Shape(
        {"ParticipantObjectID": r"(?s).+"},
        {
            "ParticipantObjectTypeCode": "[1-4]",
            "ParticipantObjectTypeCodeRole": r"[1-9]|1\d|2[0-6]",
            "ParticipantObjectDataLifeCycle": r"[1-9]|1[0-5]",
            "ParticipantObjectSensitivity": TOKEN,
        },
        (
            ("ParticipantObjectIDTypeCode", 1, 1),
            ("ParticipantObjectName", 0, 1),
            ("ParticipantObjectQuery", 0, 1),
            ("ParticipantObjectDetail", 0, 0),
            ("ParticipantObjectDescription", 0, 0),
        ),
    ),
    "ParticipantObjectName": Shape(text=TOKEN),
    "ParticipantObjectQuery": Shape(text=BASE64),
    "ParticipantObjectDetail": Shape({"type": r".+", "value": BASE64}),
    "ParticipantObjectDescription": Shape(
        children=(
            ("MPPS", 0, 0),
            ("Accession", 0, 0),
            ("SOPClass", 0, 0),
            ("ParticipantObjectContainsStudy", 0, 1),
            ("Encrypted", 0, 1),
            ("Anonymized", 0, 1),
        )
    ),
    "Accession": Shape({"Number": TOKEN}),
    "SOPClass": Shape({"NumberOfInstances": r"-?\d+"}, {"UID": UID}, (("Instance", 0, 0),)),
    "Instance": Shape({"UID": UID}),
}


def faults(element: Element) -> list[str]:
    """Everything about *element* and below that the schema does not allow."""
    shape = SHAPES.get(element.tag)
    if shape is None:
        return [f"{element.tag} is not in the schema"]
    found = []
    patterns = shape.required | shape.optional
    found += [f"{element.tag} lacks {name}" for name in shape.required if name not in element.attrib]
    for name, value in element.attrib.items():
        if name not in patterns:
            found.append(f"{element.tag} has {name}")
        elif not re.fullmatch(patterns[name], value):
            found.append(f"{element.tag} {name}={value!r}")
    if shape.text is None:
        if (element.text or "").strip():
            found.append(f"{element.tag} holds text")
    elif not re.fullmatch(shape.text, element.text or ""):
        found.append(f"{element.tag} holds {element.text!r}")
    found += children_faults(element, shape)
    if element.tag == "ParticipantObjectIdentification":
        choice = [child.tag for child in element if child.tag in {"ParticipantObjectName", "ParticipantObjectQuery"}]
        if len(choice) != 1:
            found.append("either a name or a query")
    return found + [fault for child in element for fault in faults(child)]


def children_faults(element: Element, shape: Shape) -> list[str]:
    """Children that are missing, too many, unknown or out of order."""
    order = [name for name, _, _ in shape.children]
    names = [child.tag for child in element]
    found = [f"{name} in {element.tag}" for name in names if name not in order]
    positions = [order.index(name) for name in names if name in order]
    if positions != sorted(positions):
        found.append(f"order of {names}")
    for name, fewest, most in shape.children:
        if names.count(name) < fewest or (most and names.count(name) > most):
            found.append(f"{names.count(name)} {name} in {element.tag}")
    return found


def test_every_message_is_valid(sample):
    """Each kind of message is an AuditMessage by the schema."""
    root = fromstring(to_xml(sample))

    assert root.tag == "AuditMessage"
    assert faults(root) == []


@pytest.mark.parametrize(
    ("tag", "change"),
    [
        ("EventIdentification", lambda e: e.attrib.pop("EventDateTime")),
        ("EventIdentification", lambda e: e.set("EventOutcomeIndicator", "1")),
        ("EventIdentification", lambda e: e.insert(0, e[-1])),
        ("EventID", lambda e: e.attrib.pop("originalText")),
        ("ActiveParticipant", lambda e: e.attrib.pop("UserIsRequestor")),
        ("ParticipantObjectIdentification", lambda e: e.remove(e.find("ParticipantObjectName"))),
        ("SOPClass", lambda e: e.set("UID", "1.2.x")),
        ("ParticipantObjectDescription", lambda e: e.append(Element("Surprise"))),
    ],
)
def test_the_check_itself_finds_faults(samples, tag, change):
    """The structural check above would notice what the schema forbids."""
    root = fromstring(to_xml(samples["deposited"]))
    change(next(root.iter(tag)))
    assert faults(root)


def detail(root: Element, kind: str) -> str:
    """The value of one detail."""
    found = [one.get("value") for one in root.iter("ParticipantObjectDetail") if one.get("type") == kind]
    assert len(found) == 1
    return base64.b64decode(found[0]).decode()


def test_a_deposit_in_full(samples):
    """Codes, roles, counts, instances and digests stand where A.5.3.7 wants them."""
    root = fromstring(to_xml(samples["deposited"]))

    event = root.find("EventIdentification/EventID").attrib
    assert event == {"csd-code": "110104", "codeSystemName": "DCM", "originalText": "DICOM Instances Transferred"}
    assert root.find("EventIdentification").get("EventDateTime") == "2026-10-05T12:30:15.123Z"
    sender, archive = root.findall("ActiveParticipant")
    assert sender.find("RoleIDCode").get("csd-code") == "110153"
    assert archive.find("RoleIDCode").get("csd-code") == "110152"
    assert sender.attrib == {
        "UserID": "device:CT1",
        "AlternativeUserID": "AETITLES=CT1_AE",
        "UserName": "CT1",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "10.1.2.7",
        "NetworkAccessPointTypeCode": "2",
    }
    study, patient = root.findall("ParticipantObjectIdentification")
    counts = {one.get("UID"): one.get("NumberOfInstances") for one in study.iter("SOPClass")}
    assert counts == {"1.2.840.10008.5.1.4.1.1.2": "2", "1.2.840.10008.5.1.4.1.1.88.11": "1"}
    assert [one.get("UID") for one in study.iter("Instance")] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1"]
    assert detail(study, "SHA-256 of data sets").splitlines()[0] == f"1.2.3.1.1 {'01' * 32}"
    assert detail(study, "Rule") == "device:deposit"
    assert patient.get("ParticipantObjectID") == "PID-1"
    assert patient.find("ParticipantObjectIDTypeCode").attrib == {
        "csd-code": "2",
        "codeSystemName": "RFC-3881",
        "originalText": "Patient Number",
    }


def test_what_is_not_known_is_called_unknown(samples):
    """A broken-off deposit without study or patient still has the objects A.5.3.7 demands."""
    root = fromstring(to_xml(samples["deposit-failed"]))
    assert [one.get("ParticipantObjectID") for one in root.iter("ParticipantObjectIdentification")] == [
        "unknown",
        "unknown",
    ]
    assert root.find("EventIdentification/EventOutcomeDescription").text == "DataSetError"


def test_a_query_is_kept_as_it_came(samples):
    """The query is base64 of its bytes, also when it is empty."""
    root = fromstring(to_xml(samples["query"]))
    assert base64.b64decode(root.find(".//ParticipantObjectQuery").text) == b"\x10\x00"
    assert fromstring(to_xml(samples["query-for-all"])).find(".//ParticipantObjectQuery") is not None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.1.2.3", "2"),
        ("10.1.2.3:104", "2"),
        ("[::1]:104", "2"),
        ("::1", "2"),
        ("ct1.example", "1"),
        ("ct1.example:104", "1"),
    ],
)
def test_network_access_points(address, kind):
    """Addresses with and without a port are told from names (A.5.2.4)."""
    message = Reporter("S", "S").authenticated(NOW, Party("device", "CT1", address=address))
    assert fromstring(to_xml(message)).find("ActiveParticipant").get("NetworkAccessPointTypeCode") == kind


hostile = st.text(max_size=40) | st.sampled_from(
    ["\0", "]]>", "<!DOCTYPE x>", "\ud800", "\ufffe", "\x1b[2J", "a\r\nb", "&#0;"]
)


@given(hostile, hostile, hostile, hostile, hostile)
def test_hostile_strings_neither_break_nor_inject(name, ae_title, patient_id, reason, issuer):
    """Whatever callers call themselves, the document parses, is valid, and holds the elements it should and no more."""

    def document(*texts):
        name, ae_title, patient_id, reason, issuer = texts
        caller = Party("device", name, ae_title, reason)
        study, patient = Study("1.2", count(["1.3"])), Patient(patient_id, issuer)
        return fromstring(to_xml(Reporter("S", "S").deposit_failed(NOW, caller, study, reason, patient=patient)))

    given_texts = (name, ae_title, patient_id, reason, issuer)
    root, tame = document(*given_texts), document(*("x" if text else "" for text in given_texts))

    assert faults(root) == []
    assert [one.tag for one in root.iter()] == [one.tag for one in tame.iter()]
    assert [sorted(one.attrib) for one in root.iter()] == [sorted(one.attrib) for one in tame.iter()]


def test_times_are_utc(samples):
    """Another zone is converted, not copied (A.5.2.5)."""
    east = datetime.fromisoformat("2026-10-05T14:30:15.123+02:00")
    message = Reporter("S", "S").authenticated(east, Party("person", "a"))
    assert fromstring(to_xml(message)).find("EventIdentification").get("EventDateTime") == "2026-10-05T12:30:15.123Z"
