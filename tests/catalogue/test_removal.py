"""Taking instances out again leaves what would be there without them, and recording them again what was there before."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.holding import MR, Holding, blob, header
from strongroom.catalogue.extracts import find_merged, put_frames
from strongroom.catalogue.instances import all_instances, counts, put_fragment, without_fragment
from strongroom.catalogue.removal import take_out
from strongroom.dicom.model import Level

TABLES = {
    "patient": "patient_id, issuer_of_patient_id, lone_study, name_alphabetic, attributes",
    "study": "study_instance_uid, patient_id, name_alphabetic, study_date, attributes",
    "series": "study_instance_uid, series_instance_uid, modality, series.attributes",
    "instance": "sop_instance_uid, sop_class_uid, device, received_at, differs, blob_id, pack_offset, attributes",
    "series_source": "study_instance_uid, series_instance_uid, device, sop_class_uid, other_patient, instances, bytes",
    "study_source": "study_instance_uid, device",
    "study_modality": "study_instance_uid, modality, study_modality.study_date",
    "study_name": "study_instance_uid, term",
}
JOINS = {
    "series": "series JOIN study ON study.id = series.study",
    "series_source": "series_source JOIN series ON series.id = series_source.series JOIN study ON study.id = series.study",
    "study_source": "study_source JOIN study ON study.id = study_source.study",
    "study_modality": "study_modality JOIN study ON study.id = study_modality.study",
    "study_name": "study_name JOIN study ON study.id = study_name.study",
}
"""Rows are compared by what they say, not by their numbers."""

one_image = st.fixed_dictionaries(
    {
        "study": st.integers(1, 2),
        "series": st.integers(1, 2),
        "device": st.sampled_from(["CT1", "MR1"]),
        "patient": st.sampled_from(["P1", "P2"]),
        "length": st.integers(0, 5000),
    },
    optional={"SOPClassUID": st.just(MR)},
)


def everything(holding: Holding) -> dict[str, list[tuple]]:
    """The whole catalogue."""
    found = {
        table: sorted(holding.connection.execute(f"SELECT {columns} FROM {JOINS.get(table, table)}").fetchall())
        for table, columns in TABLES.items()
    }
    found["totals"] = holding.connection.execute(
        "SELECT patients, studies, series, instances, bytes FROM totals"
    ).fetchall()
    found["due"] = [(len(without_fragment(holding.connection, 1000)),)]
    return found


def put(holding: Holding, number: int, image: dict) -> None:
    """Record the image of that number; the same number is the same image."""
    study = f"1.{image['study']}"
    holding.recorder.record(
        holding.connection,
        header(
            SOPClassUID=image.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
            SOPInstanceUID=f"1.9.{number}",
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.{image['series']}",
            PatientID=image["patient"],
            PatientName=f"Name^{image['patient']}",
            Modality="CT" if image["series"] == 1 else "MR",
        ),
        blob(number, device=image["device"], length=image["length"]),
    )


def out(holding: Holding, numbers: set[int]):
    """Take the images of these numbers out."""
    rows = [row for row in all_instances(holding.connection) if int(row.sop_instance_uid.rpartition(".")[2]) in numbers]
    removed = take_out(holding.connection, rows)
    holding.recorder.forget()
    return removed


@settings(deadline=None, max_examples=60)
@given(st.lists(one_image, min_size=1, max_size=8), st.sets(st.integers(0, 7)))
def test_taken_out_and_recorded_again_it_is_the_same_catalogue(images: list[dict], gone: set[int]) -> None:
    """Whatever was taken out: every row, count, source and name is there again as before."""
    holding = Holding()
    for number, image in enumerate(images):
        put(holding, number, image)
    before = everything(holding)
    gone &= set(range(len(images)))
    out(holding, gone)
    for number in sorted(gone):
        put(holding, number, images[number])

    assert holding.connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert without_order(before) == without_order(everything(holding))
    if len({image["patient"] for image in images}) == 1:
        assert before == everything(holding)


def without_order(found: dict[str, list[tuple]]) -> dict[str, list[tuple]]:
    """What does not depend on which instance came first: another patient's instances may found the study now."""
    return {table: found[table] for table in ("totals", "due", "series", "study_modality") if table in found} | {
        "instances": sorted((row[0], row[1], row[2], row[3], row[5], row[6]) for row in found["instance"])
    }


@settings(deadline=None, max_examples=60)
@given(st.lists(one_image, min_size=1, max_size=8), st.sets(st.integers(0, 7)))
def test_what_is_left_is_what_would_be_there_without(images: list[dict], gone: set[int]) -> None:
    """One patient: the catalogue after taking some out is the one that never had them."""
    holding, other = Holding(), Holding()
    for number, image in enumerate(images):
        put(holding, number, image | {"patient": "P1"})
        if number not in gone:
            put(other, number, image | {"patient": "P1"})
    out(holding, gone)

    assert everything(other) == everything(holding)


@settings(deadline=None, max_examples=40)
@given(st.lists(one_image, min_size=1, max_size=8))
def test_everything_taken_out_leaves_nothing(images: list[dict]) -> None:
    """Not a row in any table, and all studies are said to be gone whole."""
    holding = Holding()
    for number, image in enumerate(images):
        put(holding, number, image)
    removed = out(holding, set(range(len(images))))

    assert {f"1.{image['study']}" for image in images} == removed.study_instance_uids
    assert [(0, 0, 0, 0, 0)] == everything(holding)["totals"]
    assert {table: [] for table in TABLES} == {
        table: rows for table, rows in everything(holding).items() if table in TABLES
    }


@pytest.mark.parametrize("gone", [{0}, {1}, {0, 1, 2}])
def test_searches_see_it_at_once(gone: set[int]) -> None:
    """Through the search itself, counts of related instances included."""
    holding = Holding()
    for number in range(3):
        put(holding, number, {"study": 1, "series": number % 2 + 1, "device": "CT1", "patient": "P1", "length": 10})
    out(holding, gone)
    found = holding.ask(Level.STUDY, NumberOfStudyRelatedInstances=None)

    assert [3 - len(gone)] * (len(gone) < 3) == [one["00201208"]["Value"][0] for one in found]
    assert 3 - len(gone) == counts(holding.connection).instances


def test_what_is_kept_beside_instances_goes_with_them() -> None:
    """Fragment and frames go; metadata merged with theirs is due again for those that stay."""
    holding = Holding()
    for number in range(3):
        put(holding, number, {"study": 1, "series": 1, "device": "CT1", "patient": "P1", "length": 10})
    first, second, third = (row.id for row in all_instances(holding.connection))
    put_fragment(holding.connection, third, b"sealed")
    put_frames(holding.connection, third, b"sealed")
    holding.connection.execute("DELETE FROM fragment_due")
    holding.connection.execute(
        "INSERT INTO merged (series, first, last, plain_length, merged_id, key_id, sealed)"
        " SELECT series, ?, ?, 10, x'00', x'00', x'00' FROM instance WHERE id = ?",
        (first, second, first),
    )
    out(holding, {0, 2})

    assert find_merged(holding.connection, second) is None
    assert [second] == [row.id for row in without_fragment(holding.connection, 10)]
    assert not put_fragment(holding.connection, third, b"sealed")
    put_frames(holding.connection, third, b"sealed")
    assert [] == holding.connection.execute("SELECT * FROM frame_index").fetchall()
    assert [] == holding.connection.execute("PRAGMA foreign_key_check").fetchall()


def test_a_number_is_never_given_twice() -> None:
    """What is still under way for a row that went must not land on the next one."""
    holding = Holding()
    one = {"study": 1, "series": 1, "device": "CT1", "patient": "P1", "length": 10}
    seen = []
    for number in range(3):
        put(holding, number, one)
        seen += [row.id for row in all_instances(holding.connection)]
        out(holding, {number})

    assert len(set(seen)) == 3
