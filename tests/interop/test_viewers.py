"""
The requests of real viewers, replayed with their exact Accept headers: OHIF, Cornerstone3D, dicom-microscopy-viewer,
Weasis and dwv.

Recorded from OHIF 3.13.2 and Cornerstone3D 5.14; Weasis' from its sources (query by study, retrieve by RetrieveURL).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pydicom
import pytest
import requests

from interop import corpus, harness
from interop.test_dicomweb_client import session_for

pytestmark = pytest.mark.xdist_group("viewers")

JSON = "application/dicom+json"
OHIF_FRAME = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
CORNERSTONE_FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=*"
MICROSCOPY_FRAME = 'multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.80, multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.81, multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90, multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.91, multipart/related; type="image/jpx"; transfer-syntax=1.2.840.10008.1.2.4.92, multipart/related; type="image/jpx"; transfer-syntax=1.2.840.10008.1.2.4.93, multipart/related; type="application/octet-stream"; transfer-syntax=*, multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50'
WEASIS_OBJECT = 'multipart/related;type="application/dicom";transfer-syntax=*'
WEASIS_STUDY_FIELDS = "00080020,00080030,00080050,00080061,00080090,00081030,00100010,00100020,00100021,00100030,00100040,0020000D,00200010"
NAMES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "emri_small.dcm",
    "MR_small_RLE.dcm",
    "examples_rgb_color.dcm",
    "JPGExtended.dcm",
)


@dataclass
class Place:
    """An archive with images in several syntaxes, and a viewer's HTTP client."""

    web: str
    session: requests.Session
    samples: tuple[corpus.Sample, ...]

    def get(self, path: str, accept: str | None) -> requests.Response:
        """GET, with exactly that Accept header; *path* may be a whole URL of ours."""
        url = path if path.startswith("https:") else self.web + path
        answer = self.session.get(url, headers={"Accept": accept} if accept else {}, timeout=60)
        assert answer.status_code == 200, (
            path.split("?", maxsplit=1)[0],
            accept,
            answer.status_code,
            answer.text[:300],
        )
        return answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Each file once; what shares its UID with an earlier one comes under a UID of its own."""
    folder = tmp_path_factory.mktemp("viewers")
    copies = folder / "files"
    copies.mkdir()
    taken: set[str] = set()
    samples: list[corpus.Sample] = []
    for name in NAMES:
        sample = corpus.described(corpus.shipped(name))
        assert sample is not None, name
        if sample.sop_instance_uid in taken:
            sample = corpus.renamed(sample.path, copies)
        else:
            (copies / name).write_bytes(sample.path.read_bytes())
        taken.add(sample.sop_instance_uid)
        samples.append(sample)
    with harness.archive(folder) as archive:
        archive.command("import", str(copies))
        yield Place(archive.web, session_for(archive, archive.token("viewer", "radiologist")), tuple(samples))


def _parts(answer: requests.Response) -> list[tuple[str, bytes]]:
    """(Content-Type, body) of each part, read as OHIF's loader does: the body begins with the boundary."""
    boundary = re.search(r'boundary="?([^";]+)', answer.headers["Content-Type"])
    assert boundary is not None
    mark = b"--" + boundary[1].encode()
    body = answer.content
    assert body.startswith(mark)
    found = []
    for part in body.split(mark)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        kind = next(line for line in head.decode().split("\r\n") if line.startswith("Content-Type: "))
        found.append((kind.removeprefix("Content-Type: "), data.removesuffix(b"\r\n")))
    return found


def _first_frame(sample: corpus.Sample) -> bytes:
    data_set = pydicom.dcmread(sample.path)
    if data_set.file_meta.TransferSyntaxUID.is_compressed:
        count = int(data_set.get("NumberOfFrames", 1))
        return pydicom.encaps.get_frame(data_set.PixelData, 0, number_of_frames=count)
    length = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel * data_set.BitsAllocated // 8
    return bytes(data_set.PixelData[:length])


def test_ohif_opens_a_study(place: Place) -> None:
    """The study list, the patient's other studies, the series, their metadata, and each frame in its stored syntax."""
    for sample in place.samples:
        fields = "includefield=00081030,00080060,00080090,00100030"
        query = f"/studies?limit=101&offset=0&fuzzymatching=false&{fields}&StudyInstanceUID={sample.study_instance_uid}"
        (study,) = place.get(query, JSON).json()
        patient = study["00100020"].get("Value", [""])[0]
        if patient:
            place.get(f"/studies?00100020={patient}&limit=101&offset=0&fuzzymatching=false&{fields}", JSON)
        below = f"/studies/{sample.study_instance_uid}/series"
        place.get(f"{below}?includefield=00080021,00080031,0008103E,00200011", JSON)
        metadata = place.get(f"{below}/{sample.series_instance_uid}/metadata", JSON).json()
        held = {one["00080018"]["Value"][0]: one for one in metadata}
        assert sample.sop_instance_uid in held
        if "00083002" in held[sample.sop_instance_uid]:
            assert [sample.transfer_syntax_uid] == held[sample.sop_instance_uid]["00083002"]["Value"]
        answer = place.get(
            f"{below}/{sample.series_instance_uid}/instances/{sample.sop_instance_uid}/frames/1", OHIF_FRAME
        )
        ((kind, frame),) = _parts(answer)
        assert kind.endswith(f"; transfer-syntax={sample.transfer_syntax_uid}"), (sample.path.name, kind)
        assert _first_frame(sample).rstrip(b"\0") == frame.rstrip(b"\0"), sample.path.name
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    "accept", [CORNERSTONE_FRAME, MICROSCOPY_FRAME, "*/*", "application/octet-stream; transfer-syntax=*"]
)
def test_frames_in_every_form_of_accept(place: Place, accept: str) -> None:
    """Unquoted parameters, a long list, anything, and a single part."""
    for sample in place.samples:
        path = (
            f"/studies/{sample.study_instance_uid}/series/{sample.series_instance_uid}"
            f"/instances/{sample.sop_instance_uid}/frames/1"
        )
        answer = place.get(path, accept)
        assert answer.content


def test_ohif_makes_thumbnails(place: Place) -> None:
    """The thumbnail resource with its viewport, asked for by header, by query parameter and by an <img>."""
    sample = place.samples[0]
    path = (
        f"/studies/{sample.study_instance_uid}/series/{sample.series_instance_uid}"
        f"/instances/{sample.sop_instance_uid}/thumbnail"
    )
    for query, accept in (
        ("?viewport=256,256", "image/jpeg"),
        ("?accept=image/jpeg", "*/*"),
        ("", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    ):
        answer = place.get(path + query, accept)
        assert answer.headers["Content-Type"].startswith("image/")


def test_weasis_opens_a_study(place: Place) -> None:
    """Study, series and instances by its fields; each object through the RetrieveURL, in the syntax it is stored in."""
    for sample in place.samples:
        (study,) = place.get(
            f"/studies?0020000D={sample.study_instance_uid}&includefield={WEASIS_STUDY_FIELDS}", JSON
        ).json()
        assert "00081030" in study or "00080020" in study
        below = f"/studies/{sample.study_instance_uid}/series"
        series = place.get(f"{below}?includefield=0008103E,00080060,0020000E,00200011,00081190", JSON).json()
        mine = next(one for one in series if one["0020000E"]["Value"] == [sample.series_instance_uid])
        instances = place.get(
            f"{mine['00081190']['Value'][0]}/instances?includefield=00080018,00200013,00081190", JSON
        ).json()
        one = next(one for one in instances if one["00080018"]["Value"] == [sample.sop_instance_uid])
        ((kind, part10),) = _parts(place.get(one["00081190"]["Value"][0], WEASIS_OBJECT))
        assert kind.startswith("application/dicom")
        assert corpus.data_set_bytes(sample.path) in part10, sample.path.name


def test_weasis_and_others_by_wado_uri(place: Place) -> None:
    """One object by WADO-URI: as DICOM in its stored syntax, and as JPEG."""
    sample = place.samples[0]
    path = (
        f"/wado?requestType=WADO&studyUID={sample.study_instance_uid}&seriesUID={sample.series_instance_uid}"
        f"&objectUID={sample.sop_instance_uid}"
    )
    stored = place.get(f"{path}&contentType=application/dicom&transferSyntax=*", None)

    assert corpus.data_set_bytes(sample.path) in stored.content
    assert place.get(f"{path}&contentType=image/jpeg", None).content.startswith(b"\xff\xd8")
    assert place.get(path, "*/*").content.startswith(b"\xff\xd8")


def test_dwv_and_niivue_fetch_single_parts(place: Place) -> None:
    """`Accept: application/dicom` for one instance gives one Part 10 file and no multipart."""
    for sample in place.samples:
        path = f"/studies/{sample.study_instance_uid}/series/{sample.series_instance_uid}/instances/{sample.sop_instance_uid}"
        answer = place.get(path, "application/dicom")
        assert answer.headers["Content-Type"].startswith("application/dicom")
        assert b"DICM" == answer.content[128:132]
