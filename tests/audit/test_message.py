"""What is written into the trail is what comes out, now and after years of newer versions."""

from __future__ import annotations

import msgspec
import pytest

from strongroom.audit.message import decode, encode
from strongroom.audit.parties import Party, Study
from strongroom.audit.report import Reporter
from strongroom.errors import IntegrityError


def test_every_message_comes_back(sample):
    """Encoding keeps everything a message says."""
    assert decode(encode(sample)) == sample


def test_a_record_of_an_older_version_opens():
    """Only what the first version wrote is required: fields that came later have defaults."""
    first = (
        b'{"time":"2026-10-05T12:30:15.123Z","event":"110104","action":"C","outcome":0,'
        b'"participants":[{"user_id":"device:CT1"}],"source":"STRONGROOM","objects":'
        b'[{"id":"1.2.3","id_type":"110180","type_code":"2","role":"3","sop_classes":[["1.2.840.10008.5.1.4.1.1.2",1,[["1.2.3.4"]]]]}]}'
    )
    message = decode(first)

    assert message.requestor.user_id == "device:CT1"
    assert list(message.study_instance_uids()) == ["1.2.3"]
    assert message.objects[0].sop_classes[0].instances[0].sop_instance_uid == "1.2.3.4"


def test_a_record_of_a_newer_version_opens(samples):
    """Fields this version does not know are passed over."""
    newer = msgspec.json.decode(encode(samples["query"])) | {"weather": "fine"}
    assert decode(msgspec.json.encode(newer)) == samples["query"]


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b"\xff", b'{"time":"yesterday"}'])
def test_what_is_no_message_is_damage(record):
    """A record which opened but cannot be read is an IntegrityError, and nothing else."""
    with pytest.raises(IntegrityError):
        decode(record)


def test_text_that_is_none_loses_no_record(samples):
    """A lone surrogate out of some peer's bytes is recorded as its escape; the rest of the record is as it was."""
    reporter = Reporter("S", "S")
    odd = reporter.deposit_failed(samples["login"].time, Party("device", "CT\ud800"), Study("1.2"), "r\udcff")
    message = decode(encode(odd))

    assert message.requestor.name == "CT\\ud800"
    assert message.reason == "r\\udcff"
    assert message.objects == odd.objects
    assert message.time == odd.time


def test_who_asked_and_about_whom(samples):
    """The requestor, the patients and the studies are found without knowing the table of the event."""
    move = samples["begin-move"]

    assert move.requestor.user_id == "person:anna"
    assert list(move.patient_ids()) == ["PID-1"]
    assert list(move.study_instance_uids()) == ["1.2.3", "1.2.4"]
    assert samples["not-admitted"].requestor.user_id == "application:STRONGROOM"
    assert list(samples["refused"].study_instance_uids()) == ["1.2.9"]
    assert samples["refused"].failed
    assert not move.failed
