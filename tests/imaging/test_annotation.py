"""The lines that are burnt in when a caller asks for them (PS3.18 8.3.5.1.1)."""

from __future__ import annotations

from imaging.corpus import named
from strongroom.imaging.annotation import patient_lines, technique_lines
from strongroom.imaging.options import MAX_LINE


def test_the_lines_of_a_shipped_image() -> None:
    """Who it is, and how it was made."""
    metadata = named("CT_small.dcm").metadata

    assert ("CompressedSamples CT1", "1CT1", "O") == patient_lines(metadata)
    assert technique_lines(metadata)[:3] == ("JFK IMAGING CENTER", "20040119", "CT")
    assert "kV 120" in " ".join(technique_lines(metadata))


def test_odd_values_make_short_printable_lines() -> None:
    """Control characters, empty names and endless text."""
    metadata = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "", "Ideographic": "山田^太郎"}]},
        "00100020": {"vr": "LO", "Value": ["a\nb\x1b" + "x" * 1000]},
        "00100030": {"vr": "DA", "Value": [None]},
        "00100040": {"vr": "CS"},
    }
    lines = patient_lines(metadata)

    assert ("山田 太郎", "a b ") == (lines[0], lines[1][:4])
    assert [2, MAX_LINE] == [len(lines), len(lines[1])]
