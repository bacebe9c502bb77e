"""Unique identifiers (PS3.5 Chapter 9): pydicom and pynetdicom are the oracles."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, UID_dictionary
from pynetdicom.sop_class import _STORAGE_CLASSES

from strongroom.dicom import uid


@pytest.mark.parametrize("good", ["1.2.840.10008.1.2", "0.0", "2.25.0", "1", "1." + "2" * 62])
def test_a_well_formed_uid_is_valid(good):
    """Numbers without leading zeros, joined by dots, at most 64 characters, are valid."""
    assert uid.is_valid(good)


@pytest.mark.parametrize(
    "bad", ["", ".", "1.", ".1", "1..2", "1.02", "1.a", "1.2\n", "1.2 ", "1.\u0662", "../1", "1." + "2" * 63, "-1.2"]
)
def test_a_malformed_uid_is_not_valid(bad):
    """Leading zeros, empty parts, other digits, line ends and 65 characters are not valid (C31)."""
    assert not uid.is_valid(bad)


@given(st.text("0123456789.", max_size=70))
def test_validity_agrees_with_pydicom(text):
    """is_valid says what pydicom says."""
    assert UID(text, validation_mode=0).is_valid == uid.is_valid(text)


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"1.2\0", "1.2"), (b"1.2 ", "1.2"), (b"1.2 \0 ", "1.2"), (b"", ""), (b"1.\xff\x1b", "1.\\xff\x1b")],
)
def test_clean_removes_padding_and_escapes_the_rest(raw, text):
    """Trailing NULs and spaces go, bytes outside ASCII show as escapes."""
    assert text == uid.clean(raw)


@given(st.binary(min_size=16, max_size=16))
def test_a_made_uid_is_valid_and_a_version_4_uuid(random_bytes):
    """Any 16 bytes make a valid UID below 2.25 that is a random UUID (PS3.5 B.2)."""
    made = uid.from_random(random_bytes)

    assert uid.is_valid(made)
    number = uuid.UUID(int=int(made.removeprefix("2.25.")))
    assert (number.version, number.variant) == (4, uuid.RFC_4122)


def test_a_made_uid_needs_all_its_randomness():
    """Fewer than 16 bytes are refused: the UID would not be unique."""
    with pytest.raises(ValueError, match="16 random bytes, not 15"):
        uid.from_random(bytes(15))


def test_our_implementation_identifies_itself_within_the_limits():
    """The implementation class is a valid UID and the version name has at most 16 characters (PS3.7 D.3.3.2)."""
    assert uid.is_valid(uid.IMPLEMENTATION_CLASS_UID)
    assert 1 <= len(uid.IMPLEMENTATION_VERSION_NAME) <= 16


def test_every_name_is_pydicoms_name():
    """Names agree with pydicom for every UID it names, and an unknown UID has none."""
    assert {key: row[0] for key, row in UID_dictionary.items() if row[0]} == {
        key: uid.name_of(key) for key, row in UID_dictionary.items() if row[0]
    }
    assert uid.name_of("1.2.3.4") is None


def test_every_transfer_syntax_of_pydicom_is_known_alike():
    """Explicitness, byte order, encapsulation and deflation agree with pydicom for each of its transfer syntaxes."""
    others = ("1.2.840.10008.1.2.6.", "1.2.840.10008.1.2.7.")
    jpip = ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.204", "1.2.840.10008.1.2.4.205")
    checked = 0
    for theirs in (UID(key) for key, row in UID_dictionary.items() if row[1] == "Transfer Syntax"):
        if theirs.startswith(others):
            assert uid.transfer_syntax(theirs) is None
            continue
        ours = uid.transfer_syntax(theirs)
        assert ours is not None, theirs
        assert (theirs.is_little_endian, theirs.name) == (ours.little_endian, ours.name)
        if theirs in jpip:  # pydicom counts as encapsulated what has no Pixel Data at all, and as not deflated
            assert (False, theirs.name.endswith("Deflate")) == (ours.encapsulated, ours.deflated)
        elif theirs != "1.2.840.10008.1.20":  # Papyrus is implicit by name; pydicom takes it for explicit
            assert (theirs.is_implicit_VR, theirs.is_encapsulated, theirs.is_deflated) == (
                not ours.explicit,
                ours.encapsulated,
                ours.deflated,
            )
        checked += 1
    assert checked >= 50


def test_transfer_syntaxes_newer_than_pydicom_are_known():
    """JPEG XL and the deflated image frame are there, encapsulated; the GE one is implicit and native."""
    for newer in (
        "1.2.840.10008.1.2.4.110",
        "1.2.840.10008.1.2.4.111",
        "1.2.840.10008.1.2.4.112",
        "1.2.840.10008.1.2.8.1",
    ):
        found = uid.transfer_syntax(newer)
        assert found is not None
        assert (found.explicit, found.encapsulated, found.deflated) == (True, True, False)
    private = uid.transfer_syntax("1.2.840.113619.5.2")
    assert private is not None
    assert (private.explicit, private.little_endian, private.encapsulated) == (False, True, False)


def test_a_sop_class_is_not_a_transfer_syntax():
    """UIDs of another kind, and unknown ones, are no transfer syntax."""
    assert uid.transfer_syntax("1.2.840.10008.1.1") is None
    assert uid.transfer_syntax("1.2.3") is None


def test_storage_sop_classes_hold_everything_pynetdicom_stores():
    """Every storage SOP class pynetdicom offers is ours as well."""
    assert set() == {str(known) for known in _STORAGE_CLASSES.values()} - uid.STORAGE_SOP_CLASSES


def test_storage_sop_classes_hold_retired_ones_and_nothing_else():
    """Retired classes are in; storage commitment, directories, verification and query are not."""
    assert {
        "1.2.840.10008.5.1.4.1.1.5",
        "1.2.840.10008.5.1.4.1.1.6",
        "1.2.840.10008.5.1.1.30",
    } <= uid.STORAGE_SOP_CLASSES
    for other in ("1.2.840.10008.1.20.1", "1.2.840.10008.1.3.10", "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"):
        assert other not in uid.STORAGE_SOP_CLASSES
    for known in uid.STORAGE_SOP_CLASSES:
        assert "Storage" in (uid.name_of(known) or "")


def test_non_patient_classes_are_storage_classes():
    """The classes without a patient are a proper part of the storage classes (PS3.4 Annex GG)."""
    assert uid.NON_PATIENT_SOP_CLASSES < uid.STORAGE_SOP_CLASSES


def test_no_pydicom_at_import():
    """The package looks up UIDs and tags without ever importing pydicom."""
    code = (
        "import sys; from strongroom.dicom import uid, dictionary; dictionary.tag_of('PatientName'); "
        "print('pydicom' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "False"
