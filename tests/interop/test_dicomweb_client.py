"""`dicomweb-client`, a real client of others' making, does everything it can do against a running archive over HTTPS."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from requests.exceptions import HTTPError

from interop import corpus, harness

pytestmark = pytest.mark.xdist_group("dicomweb-client")

PATIENT_NAME, STUDY_UID, SERIES_UID, INSTANCE_UID = "00100010", "0020000D", "0020000E", "00080018"


@dataclass
class Place:
    """A running archive that was given every shipped file over HTTPS, and its client."""

    archive: harness.Archive
    client: DICOMwebClient
    session: requests.Session
    samples: dict[str, corpus.Sample]


def session_for(archive: harness.Archive, token: str) -> requests.Session:
    """What every HTTP client of these tests is made of."""
    session = requests.Session()
    session.verify = archive.authority
    session.headers["Authorization"] = f"Bearer {token}"
    session.trust_env = False
    return session


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The archive, filled by STOW-RS with the files as they are shipped, many in one request."""
    with harness.archive(tmp_path_factory.mktemp("web")) as archive:
        session = session_for(archive, archive.token("viewer", "radiologist", "modality"))
        samples = {one.sop_instance_uid: one for one in corpus.originals()}
        for batch in _batches(list(samples.values()), 16):
            answer = session.post(f"{archive.web}/studies", data=_related(batch), headers=_RELATED, timeout=60)
            assert answer.status_code == 200, (answer.status_code, answer.text[:2000])
        client = DICOMwebClient(archive.web, session=session, permissive_uid=True)
        yield Place(archive, client, session, samples)


_RELATED = {
    "Content-Type": 'multipart/related; type="application/dicom"; boundary=here',
    "Accept": "application/dicom+json",
}


def _batches(samples: list[corpus.Sample], size: int) -> Iterator[list[corpus.Sample]]:
    for at in range(0, len(samples), size):
        yield samples[at : at + size]


def _related(samples: list[corpus.Sample]) -> bytes:
    parts = [b"--here\r\nContent-Type: application/dicom\r\n\r\n" + one.path.read_bytes() + b"\r\n" for one in samples]
    return b"".join(parts) + b"--here--\r\n"


def _read(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path)


def _named(place: Place, name: str) -> corpus.Sample:
    path = corpus.shipped(name)
    return next(one for one in place.samples.values() if one.path == path)


def _place(sample: corpus.Sample) -> tuple[str, str, str]:
    return sample.study_instance_uid, sample.series_instance_uid, sample.sop_instance_uid


def test_at_least_sixty_varied_files_are_there(place: Place) -> None:
    """Modalities, transfer syntaxes and character sets differ; the catalogue counts each instance once."""
    status = place.archive.json("status")

    assert isinstance(status, dict)
    assert len(place.samples) == status["instances"] >= 60
    assert len({one.transfer_syntax_uid for one in place.samples.values()}) >= 9


def test_studies_are_found_and_counted(place: Place) -> None:
    """A search without keys answers every study once, with the attributes of PS3.18 table 10.6.3-3."""
    found = place.client.search_for_studies(limit=1000)

    assert {one.study_instance_uid for one in place.samples.values()} == {one[STUDY_UID]["Value"][0] for one in found}
    assert len(place.samples) == sum(one["00201208"]["Value"][0] for one in found)
    assert all("00081190" in one and "00080061" in one for one in found)


def test_series_and_instances_are_found_below_and_across(place: Place) -> None:
    """Both forms of each resource: below a study and on their own."""
    sample = _named(place, "CT_small.dcm")
    study, series, instance = _place(sample)

    assert series in {one[SERIES_UID]["Value"][0] for one in place.client.search_for_series(study)}
    assert {one.series_instance_uid for one in place.samples.values()} == {
        one[SERIES_UID]["Value"][0] for one in place.client.search_for_series(limit=1000)
    }
    assert instance in {one[INSTANCE_UID]["Value"][0] for one in place.client.search_for_instances(study, series)}
    assert instance in {one[INSTANCE_UID]["Value"][0] for one in place.client.search_for_instances(study)}
    assert [instance] == [
        one[INSTANCE_UID]["Value"][0]
        for one in place.client.search_for_instances(search_filters={"SOPInstanceUID": instance})
    ]


def test_filters_fields_pages_and_fuzzy_names(place: Place) -> None:
    """Wild cards, dates, includefield, limit and offset in a stable order, and fuzzy matching that matches."""
    everything = [one[STUDY_UID]["Value"][0] for one in place.client.search_for_studies(limit=1000)]
    paged = [
        one[STUDY_UID]["Value"][0]
        for offset in range(0, len(everything), 7)
        for one in place.client.search_for_studies(limit=7, offset=offset)
    ]
    by_name = place.client.search_for_studies(
        search_filters={"PatientName": "compressedsamples*"}, fields=["PatientComments"]
    )
    fuzzy = place.client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "compresedsamples"})

    assert everything == paged
    assert by_name
    assert all(str(one[PATIENT_NAME]["Value"][0]["Alphabetic"]).lower().startswith("compressed") for one in by_name)
    assert {one[STUDY_UID]["Value"][0] for one in by_name} & {one[STUDY_UID]["Value"][0] for one in fuzzy}


def test_whole_instances_come_back_bit_for_bit(place: Place) -> None:
    """Every instance in the syntax it was sent in: the data set's bytes are the same."""
    for sample in place.samples.values():
        study, series, instance = _place(sample)
        answer = place.session.get(
            f"{place.archive.web}/studies/{study}/series/{series}/instances/{instance}",
            headers={"Accept": 'application/dicom; transfer-syntax="*"'},
            timeout=60,
        )
        assert answer.status_code == 200, (sample.path.name, answer.status_code, answer.text[:300])
        returned = answer.content
        assert returned[:128] == bytes(128)
        start = returned.index(b"\x02\x00\x00\x00UL\x04\x00") + 12
        start += int.from_bytes(returned[start - 4 : start], "little")
        assert corpus.data_set_bytes(sample.path) == returned[start:], sample.path.name


def test_studies_and_series_are_retrieved(place: Place) -> None:
    """As multipart; and one instance as pydicom data set through the client."""
    sample = _named(place, "CT_small.dcm")
    study, series, instance = _place(sample)
    held = {one.sop_instance_uid for one in place.samples.values() if one.study_instance_uid == study}
    kind = (("application/dicom", "*"),)

    assert held == {str(one.SOPInstanceUID) for one in place.client.retrieve_study(study, media_types=kind)}
    assert instance in {
        str(one.SOPInstanceUID) for one in place.client.retrieve_series(study, series, media_types=kind)
    }
    assert instance == str(place.client.retrieve_instance(study, series, instance, media_types=kind).SOPInstanceUID)
    assert held == {str(one.SOPInstanceUID) for one in place.client.iter_study(study, media_types=kind)}


def test_without_a_wish_an_instance_comes_in_the_default_syntax(place: Place) -> None:
    """Explicit VR little endian where nothing else is asked for and nothing is lost (PS3.18 8.7.3.5.2), pixels the same."""
    compared = 0
    for sample in place.samples.values():
        if sample.transfer_syntax_uid not in _LOSSLESS:
            continue
        try:
            expected = _read(sample.path).pixel_array
        except (RuntimeError, AttributeError):  # pydicom itself cannot show this one
            continue
        returned = place.client.retrieve_instance(*_place(sample), media_types=("application/dicom",))
        assert corpus.EXPLICIT == str(returned.file_meta.TransferSyntaxUID)
        assert np.array_equal(expected, returned.pixel_array), sample.path.name
        compared += 1

    assert compared >= 3


_LOSSLESS = {"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"}


def test_metadata_at_every_level(place: Place) -> None:
    """The client's three calls agree with one another."""
    sample = _named(place, "CT_small.dcm")
    study, series, instance = _place(sample)
    whole = {one[INSTANCE_UID]["Value"][0]: one for one in place.client.retrieve_study_metadata(study)}
    part = {one[INSTANCE_UID]["Value"][0]: one for one in place.client.retrieve_series_metadata(study, series)}

    assert whole[instance] == part[instance] == place.client.retrieve_instance_metadata(study, series, instance)


def test_metadata_of_every_file_is_what_pydicom_reads(place: Place) -> None:
    """The same keys and values as `to_json_dict`, but for what each side documents (see the helper)."""
    compared = 0
    for sample in place.samples.values():
        served = place.client.retrieve_instance_metadata(*_place(sample))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = _read(sample.path)
            try:
                expected = data_set.to_json_dict(1024, lambda _element: "bulk")
            except Exception:  # noqa: BLE001 -- pydicom cannot show this one as JSON
                continue
        left, right = _comparable(expected), _comparable(served)
        differ = sorted(tag for tag in left.keys() | right.keys() if not _agree(tag, left.get(tag), right.get(tag)))
        assert [] == differ, (sample.path.name, [(left.get(tag), right.get(tag)) for tag in differ])
        compared += 1

    assert compared >= 60


_ZERO_SPACINGS = {"00280030", "00181164", "00182010"}
"""Given as absent when zero: they blind viewers."""


def _agree(tag: str, expected: tuple | None, served: tuple | None) -> bool:
    """A private element without a VR of its own is UN here; pydicom knows some by their creators."""
    return expected == served or (served is not None and served[0] == "UN" and int(tag[:4], 16) % 2 == 1)


def _comparable(model: dict) -> dict:
    """
    Without what differs by design: group lengths, padding of single values (not significant, PS3.5 6.2), the character set
    (JSON is UTF-8), how numbers are written, and whether a long value is inline or behind a URI.
    """
    return {
        tag: _element(element)
        for tag, element in model.items()
        if not tag.endswith("0000") and tag not in ("00080005", "FFFCFFFC") and tag not in _ZERO_SPACINGS
    }


def _element(element: dict) -> tuple:
    if "BulkDataURI" in element or "InlineBinary" in element:
        return element["vr"], "binary"
    return element["vr"], [_value(one) for one in element.get("Value", [])]


def _value(value: object) -> object:
    if isinstance(value, dict):
        if value.keys() <= {"Alphabetic", "Ideographic", "Phonetic"}:
            return {key: text for key, text in value.items() if text}
        return _comparable(value)
    if isinstance(value, int | float):
        return float(value)
    return value.rstrip(" ") or None if isinstance(value, str) else value


def test_bulk_data_is_fetched_where_metadata_points(place: Place) -> None:
    """The BulkDataURI of Pixel Data gives its bytes."""
    sample = _named(place, "CT_small.dcm")
    element = place.client.retrieve_instance_metadata(*_place(sample))["7FE00010"]

    (data,) = place.client.retrieve_bulkdata(element["BulkDataURI"])

    assert bytes(_read(sample.path).PixelData) == data


def test_frames_in_any_order_and_syntax(place: Place) -> None:
    """Several frames of a multi-frame object, compressed ones as native pixels where the client wants them so."""
    sample = (
        _named(place, "emri_small_RLE.dcm") if _has(place, "emri_small_RLE.dcm") else _named(place, "emri_small.dcm")
    )
    expected = _read(sample.path).pixel_array
    wanted = [3, 1, 2]

    frames = place.client.retrieve_instance_frames(
        *_place(sample), wanted, media_types=(("application/octet-stream", corpus.EXPLICIT),)
    )

    assert [expected[number - 1].tobytes() for number in wanted] == frames


def _has(place: Place, name: str) -> bool:
    path = corpus.shipped(name)
    return any(one.path == path for one in place.samples.values())


def test_pictures_are_rendered(place: Place) -> None:
    """JPEG and PNG of an instance and of a frame, in the size of the image or of the viewport."""
    sample = _named(place, "CT_small.dcm")
    png = place.client.retrieve_instance_rendered(*_place(sample), media_types=("image/png",))
    jpeg = place.client.retrieve_instance_rendered(
        *_place(sample), media_types=("image/jpeg",), params={"viewport": "64,64"}
    )
    frame = place.client.retrieve_instance_frames_rendered(*_place(sample), [1], media_types=("image/jpeg",))

    assert (128, 128) == Image.open(io.BytesIO(png)).size
    assert (64, 64) == Image.open(io.BytesIO(jpeg)).size
    assert "JPEG" == Image.open(io.BytesIO(frame)).format


def test_instances_are_stored_by_the_client(place: Place) -> None:
    """The client's own STOW-RS; the answer names each instance, and what is not whole is refused by itself."""
    data_set = _read(corpus.shipped("CT_small.dcm"))
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data_set.StudyInstanceUID = data_set.SeriesInstanceUID = pydicom.uid.generate_uid()

    answer = place.client.store_instances([data_set])

    assert [str(data_set.SOPInstanceUID)] == [str(one.ReferencedSOPInstanceUID) for one in answer.ReferencedSOPSequence]
    assert "FailedSOPSequence" not in answer


def test_a_token_never_deletes(place: Place) -> None:
    """Deleting wants a person who answers for it: the same answer as for what is not there (ceiling of services)."""
    sample = _named(place, "CT_small.dcm")

    with pytest.raises(HTTPError) as refused:
        place.client.delete_instance(*_place(sample))

    assert 404 == refused.value.response.status_code


def test_what_the_client_does_besides(place: Place) -> None:
    """Its iterators give what its retrievals give; a rendered series; and no token deletes a series or a study."""
    sample = _named(place, "CT_small.dcm")
    study, series, _ = _place(sample)
    native = (("application/octet-stream", corpus.EXPLICIT),)
    address = place.client.retrieve_instance_metadata(*_place(sample))["7FE00010"]["BulkDataURI"]

    assert sample.sop_instance_uid in {
        str(one.SOPInstanceUID)
        for one in place.client.iter_series(study, series, media_types=(("application/dicom", "*"),))
    }
    frames = [bytes(one) for one in place.client.iter_instance_frames(*_place(sample), [1], media_types=native)]
    assert [bytes(_read(sample.path).PixelData)] == frames
    assert frames == [bytes(one) for one in place.client.iter_bulkdata(address)]
    assert place.client.retrieve_series_rendered(study, series, media_types=("image/jpeg",)).startswith(b"\xff\xd8")
    for delete in (lambda: place.client.delete_series(study, series), lambda: place.client.delete_study(study)):
        with pytest.raises(HTTPError) as refused:
            delete()
        assert 404 == refused.value.response.status_code
