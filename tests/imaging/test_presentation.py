"""Windows, tables and profiles as data sets have them, and what of it needs bulk data."""

from __future__ import annotations

import base64

import pytest

from imaging.corpus import named
from strongroom.imaging import presentation
from strongroom.imaging.presentation import Lut, Window, bulk_paths


def read(metadata: dict, *, bulk: dict | None = None, frame: int | None = None, **options):
    options = {"little_endian": True, "signed": False} | options
    return presentation.from_json(metadata, frame=frame, bulk=bulk or {}, **options)


def numbers(vr: str, *values) -> dict:
    return {"vr": vr, "Value": list(values)}


TABLE = {"00283002": numbers("US", 4, 10, 16), "00283006": numbers("US", 1, 2, 3, 4)}
TABLE_DATA = b"\1\0\2\0\3\0\4\0"


def test_windows_with_their_names_and_function() -> None:
    """Several windows; an unknown function counts as linear."""
    told = read(
        {
            "00281050": numbers("DS", 40, "-600"),
            "00281051": numbers("DS", 400, 1500),
            "00281055": numbers("LO", "SOFT", "LUNG"),
            "00281056": numbers("CS", "SIGMOID"),
        }
    )

    assert (Window(40, 400, "SIGMOID"), Window(-600, 1500, "SIGMOID")) == told.windows
    assert ("SOFT", "LUNG") == told.explanations
    assert (
        "LINEAR"
        == read({"00281050": numbers("DS", 1), "00281051": numbers("DS", 1), "00281056": numbers("CS", "X")})
        .windows[0]
        .function
    )


@pytest.mark.parametrize("value", ["abc", float("inf"), float("nan"), "1e999", None, {"Alphabetic": "x"}])
def test_numbers_that_are_none_count_as_absent(value) -> None:
    """A wrong window or slope does not keep an image from being shown."""
    told = read({tag: numbers("DS", value) for tag in ("00281050", "00281051", "00281052", "00281053", "00280120")})

    assert ((), 0.0, 1.0, None) == (told.windows, told.intercept, told.slope, told.padding)


def test_the_functional_groups_of_a_frame_win_over_shared_ones() -> None:
    """Frame VOI LUT and Pixel Value Transformation (PS3.3 C.7.6.16.2.9, .10)."""

    def group(center: int, slope: int) -> dict:
        return {
            "00289132": numbers("SQ", {"00281050": numbers("DS", center), "00281051": numbers("DS", 10)}),
            "00289145": numbers("SQ", {"00281052": numbers("DS", 0), "00281053": numbers("DS", slope)}),
        }

    metadata = {"52009229": numbers("SQ", group(1, 2)), "52009230": numbers("SQ", {}, group(5, 6))}
    found = [(one.windows[0].center, one.slope) for one in (read(metadata, frame=n) for n in (None, 1, 2, 3))]

    assert [(1.0, 2.0), (1.0, 2.0), (5.0, 6.0), (1.0, 2.0)] == found


def test_tables_in_each_form() -> None:
    """Numbers, inline bytes, bulk data in either byte order; a descriptor of 0 means 65,536."""
    inline = TABLE | {"00283006": {"vr": "OW", "InlineBinary": base64.b64encode(TABLE_DATA).decode()}}
    as_bulk = TABLE | {"00283006": {"vr": "OW", "BulkDataURI": "00283010/0/00283006"}}
    swapped = {"00283010/0/00283006": b"\0\1\0\2\0\3\0\4"}
    expected = (Lut(10, 4, 16, TABLE_DATA),)
    long = {"00283002": numbers("US", 0, 0, 16), "00283006": {"vr": "OW", "BulkDataURI": "00283010/0/00283006"}}

    assert expected == read({"00283010": numbers("SQ", TABLE)}).voi_luts
    assert expected == read({"00283010": numbers("SQ", inline)}).voi_luts
    assert expected == read({"00283010": numbers("SQ", as_bulk)}, bulk=swapped, little_endian=False).voi_luts
    whole = read({"00283010": numbers("SQ", long)}, bulk={"00283010/0/00283006": bytes(131_072)})
    assert 65_536 == whole.voi_luts[0].count
    assert not whole.broken


def test_the_first_value_of_a_signed_table_is_signed() -> None:
    """US where SS was meant (PS3.3 C.11.1.1)."""
    table = TABLE | {"00283002": numbers("US", 4, 65_436, 16)}

    assert -100 == read({"00283000": numbers("SQ", table)}, signed=True).modality_lut.first


@pytest.mark.parametrize(
    "table",
    [
        {"00283002": numbers("US", 4, 0, 16)},
        {"00283006": numbers("US", 1, 2)},
        TABLE | {"00283002": numbers("US", 4, 0)},
        TABLE | {"00283002": numbers("US", 4, 0, 17)},
        TABLE | {"00283002": numbers("US", 400, 0, 16)},
        TABLE | {"00283006": numbers("US", 1, 2, 70_000, 4)},
        TABLE | {"00283006": {"vr": "OW", "InlineBinary": "*"}},
        TABLE | {"00283006": {"vr": "OW", "BulkDataURI": "elsewhere"}},
        TABLE | {"00283006": {"vr": "OW", "InlineBinary": base64.b64encode(bytes(200_000)).decode()}},
    ],
)
def test_a_table_that_is_not_what_it_says_is_broken(table: dict) -> None:
    """Short, long, absent or without a descriptor (SECURITY F11)."""
    told = read({"00283000": numbers("SQ", table)})

    assert told.broken
    assert told.modality_lut is None


def test_what_has_to_be_fetched() -> None:
    """The palettes of a shipped image, which the JSON model leaves as bulk data; never Pixel Data."""
    image = named("gdcm-US-ALOKA-16.dcm")
    paths = bulk_paths(image.metadata)

    assert ("00281221", "00281222", "00281223") == paths
    assert read(image.metadata).broken
    assert () == bulk_paths({})


def test_the_profile_of_the_data_set() -> None:
    """Its own element or the one of the optical path."""
    element = {"vr": "OB", "InlineBinary": base64.b64encode(b"profile").decode()}

    assert b"profile" == read({"00282000": element}).icc_profile
    assert b"profile" == read({"00480105": numbers("SQ", {"00282000": element})}).icc_profile
    assert read({"00282000": {"vr": "OB", "BulkDataURI": "x"}}).has_icc_profile
    assert read({}).icc_profile is None
