"""One message of every kind the reporter makes, and a trail in memory."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from strongroom.audit.codes import EventType, Outcome
from strongroom.audit.parties import Party, Patient, Study, count, listed
from strongroom.audit.report import Reporter
from strongroom.audit.trail import Trail
from strongroom.ground.medium import MemoryMedium

NOW = datetime(2026, 10, 5, 12, 30, 15, 123000, tzinfo=UTC)
CT1 = Party("device", "CT1", "CT1_AE", "10.1.2.7")
WS1 = Party("device", "WS1", "WS1_AE", "10.1.2.9:104")
ANNA = Party("person", "anna", address="2001:db8::7")
HOST = Party("host", "root", written_reason="restore drill")
PATIENT = Patient("PID-1", "HOSPITAL")
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
DEPOSIT = Study(
    "1.2.3", listed([(CT, "1.2.3.1.1", b"\1" * 32), (CT, "1.2.3.1.2", b"\2" * 32), (SR, "1.2.3.2.1", b"\3" * 32)])
)
STUDIES = [Study("1.2.3", count([CT, CT, SR]), "A42"), Study("1.2.4", count([CT]))]

R = Reporter("STRONGROOM", "STRONGROOM")
SAMPLES = {
    "deposited": R.deposited(NOW, CT1, PATIENT, DEPOSIT, rule="device:deposit"),
    "deposited-again": R.deposited(NOW, CT1, PATIENT, DEPOSIT, held=True),
    "deposit-recovered": R.deposited(NOW, CT1, PATIENT, DEPOSIT, recovered=True),
    "deposit-failed": R.deposit_failed(NOW, CT1, Study("", count([CT])), "DataSetError", quarantined=True),
    "deposit-by-host": R.deposited(NOW, HOST, PATIENT, DEPOSIT),
    "begin-transfer": R.begin_transfer(NOW, WS1, WS1, PATIENT, STUDIES, act="a1", rule="device:retrieve"),
    "begin-move": R.begin_transfer(NOW, ANNA, WS1, PATIENT, STUDIES, act="a2"),
    "transferred": R.transferred(NOW, ANNA, WS1, PATIENT, STUDIES, act="a2"),
    "transfer-failed": R.transferred(NOW, ANNA, WS1, PATIENT, STUDIES, act="a2", reason="peer-aborted"),
    "accessed": R.accessed(NOW, ANNA, PATIENT, STUDIES, rule="role:reader"),
    "accessed-by-host": R.accessed(NOW, HOST, PATIENT, STUDIES, rule="host-with-reason:view"),
    "study-deleted": R.study_deleted(NOW, ANNA, PATIENT, Study("1.2.3")),
    "imported": R.imported(NOW, HOST, "file:///media/cd", PATIENT, STUDIES),
    "exported": R.exported(NOW, HOST, "file:///media/usb", PATIENT, STUDIES, act="a3"),
    "query": R.query(NOW, WS1, "1.2.840.10008.5.1.4.1.2.2.1", b"\x10\x00", transfer_syntax_uid="1.2.840.10008.1.2", matches=7),
    "query-for-all": R.query(NOW, WS1, "1.2.840.10008.5.1.4.1.2.2.1", b"", matches=256, exact=False),
    "started": R.started(NOW, HOST),
    "stopped": R.stopped(NOW),
    "trail-read": R.trail_read(NOW, ANNA, "patient PID-1"),
    "login": R.authenticated(NOW, ANNA),
    "login-failed": R.authenticated(NOW, ANNA, reason="passkey-unknown"),
    "logout": R.authenticated(NOW, ANNA, logout=True),
    "refused": R.refused(NOW, WS1, "retrieve", "out-of-scope", study="1.2.9", patient=PATIENT),
    "refused-action": R.refused(NOW, WS1, "administer", "kind-cannot"),
    "not-admitted": R.not_admitted(NOW, CT1, "dicom", "certificate-unknown", fingerprint="ab" * 32),
    "repeated": R.repeated(NOW, CT1, "dicom", "certificate-unknown", times=12345, since=NOW),
    "enrolled": R.changed(NOW, HOST, EventType.USER_SECURITY_CHANGED, "urn:strongroom:device:CT1", "enrolled", ("Actions", "deposit")),
    "conflict": R.alert(NOW, EventType.CONFLICT_VERSION, "urn:oid:1.2.3.1.1", "other content", caused_by=CT1, patient=PATIENT),
    "torn": R.alert(NOW, EventType.TORN_TRAIL, "urn:strongroom:trail", "117 bytes", severity=Outcome.MINOR_FAILURE),
}  # fmt: skip


@pytest.fixture(params=SAMPLES.values(), ids=SAMPLES.keys())
def sample(request):
    """Each kind of message in turn."""
    return request.param


@pytest.fixture
def samples():
    """All kinds of messages by name."""
    return SAMPLES


@pytest.fixture
def medium():
    """An empty medium in memory."""
    return MemoryMedium()


@pytest.fixture
def trail(medium):
    """An open trail on it."""
    return Trail.open(medium, "trail", bytes(32))
