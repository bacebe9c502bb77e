"""The data dictionary (PS3.6): pydicom's is the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from strongroom.dicom import dictionary

DELIMITERS = (0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD)


def test_every_vr_is_pydicoms_vr():
    """For each element of the standard the VR candidates are those of pydicom, the assumed one among them."""
    for tag, (vr, *_) in DicomDictionary.items():
        if tag in DELIMITERS:
            continue
        assert set(vr.split(" or ")) >= set(dictionary.vr_candidates(tag)), hex(tag)
        assert dictionary.vr_of(tag) == dictionary.vr_candidates(tag)[0], hex(tag)
        if " or " not in vr:
            assert vr == dictionary.vr_of(tag), hex(tag)


def test_every_keyword_is_pydicoms_keyword_and_leads_back():
    """Keywords agree with pydicom both ways; the few blank elements have none."""
    for tag, row in DicomDictionary.items():
        assert (row[4] or None) == dictionary.keyword_of(tag), hex(tag)
        if row[4]:
            assert tag_for_keyword(row[4]) == dictionary.tag_of(row[4])
    assert dictionary.tag_of("patientname") is None
    assert dictionary.tag_of("") is None


@pytest.mark.parametrize("mask", sorted(RepeatersDictionary))
def test_repeating_elements_answer_for_each_of_their_groups(mask):
    """Curves, overlays and the retired image groups answer in every one of their repetitions (PS3.5 §7.6)."""
    for digit in "24":
        tag = int(mask.replace("x", digit), 16)
        vrs = dictionary_VR(tag).split(" or ")
        assert dictionary.vr_of(tag) in vrs
        assert set(vrs) == set(dictionary.vr_candidates(tag))
        assert keyword_for_tag(tag) == dictionary.keyword_of(tag)
        assert dictionary.tag_of(keyword_for_tag(tag)) is not None


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x7FE00010, "OW"),
        (0x60003000, "OW"),
        (0x60020010, "US"),
        (0x501E3000, "OW"),
        (0x00280106, "US"),
        (0x00283006, "OW"),
        (0x00080000, "UL"),
        (0x00090000, "UL"),
        (0x00090010, "LO"),
        (0x000900FF, "LO"),
        (0x00090001, None),
        (0x00091010, None),
        (0x60010010, "LO"),
        (0x60011010, None),
        (0x00081234, None),
        *((delimiter, None) for delimiter in DELIMITERS),
    ],
)
def test_vr_of_private_repeating_and_unknown_elements(tag, vr):
    """Group lengths are UL, private creators LO, other private and unknown elements and delimiters have no VR."""
    assert vr == dictionary.vr_of(tag)


def test_ambiguous_elements_name_all_their_vrs():
    """Signedness and word size show as candidates, the implicit VR default first (PS3.5 Annex A.1)."""
    assert dictionary.vr_candidates(0x00280106) == ("US", "SS")
    assert dictionary.vr_candidates(0x7FE00010) == ("OW", "OB")
    assert dictionary.vr_candidates(0x60003000) == ("OW", "OB")
    assert dictionary.vr_candidates(0x00100010) == ("PN",)
    assert dictionary.vr_candidates(0x00091010) == ()
    assert dictionary.vr_candidates(0xFFFEE000) == ()


@given(st.integers(0, 0xFFFFFFFF))
def test_any_tag_has_an_answer(tag):
    """No tag raises, and a known keyword leads to an element of the same keyword."""
    vr, keyword = dictionary.vr_of(tag), dictionary.keyword_of(tag)

    assert vr is None or len(vr) == 2
    if keyword is not None:
        found = dictionary.tag_of(keyword)
        assert found is not None
        assert keyword == dictionary.keyword_of(found)
