"""Metadata at every level: what is in it, where its bulk data is, and when a client has it already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from archive.world import aio
from dicomweb.place import BASE, Shared, deposit_shipped, parts_of, running, shared
from strongroom.audit.codes import Event

NAMES = ("CT_small.dcm", "JPEG2000.dcm", "JPEG-lossy.dcm", "examples_palette.dcm")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """An archive with two files of one study, and others."""
    yield from shared(tmp_path_factory.mktemp("metadata") / "home", *NAMES)


@pytest.mark.parametrize(
    "accept", ["application/dicom+json", "application/dicom+json, application/json", "*/*", "", "application/json"]
)
def test_every_client_gets_json(place: Shared, accept: str) -> None:
    """The headers of OHIF, dicomweb-client, curl, and of nobody."""
    kept = place.kept["CT_small.dcm"]
    answer = place.ask(f"{kept.url}/metadata", accept)
    ((found,),) = [answer.json()]

    assert [kept.instance] == found["00080018"]["Value"]
    assert answer.headers["content-type"].startswith("application/")
    assert "private, no-cache" == answer.headers["cache-control"]


def test_levels_agree(place: Shared) -> None:
    """The object of an instance is the same below its study, its series and alone."""
    kept = place.kept["JPEG2000.dcm"]
    study = place.ask(f"/studies/{kept.study}/metadata").json()
    series = place.ask(f"/studies/{kept.study}/series/{kept.series}/metadata").json()
    (alone,) = place.ask(f"{kept.url}/metadata").json()

    assert 2 == len(study)
    assert alone in study
    assert alone in series


def test_bulk_data_is_where_metadata_says(place: Shared) -> None:
    """Addresses are absolute, below the configured base, and each leads to its value."""
    for kept in place.kept.values():
        (found,) = place.ask(f"{kept.url}/metadata").json()
        addresses = [element["BulkDataURI"] for element in found.values() if "BulkDataURI" in element]
        assert f"{BASE}{kept.url}/bulkdata/7FE00010" in addresses
        for address in addresses:
            answer = place.ask(address.removeprefix(BASE), "multipart/related; type=*/*; transfer-syntax=*")
            assert 200 == answer.status_code, address
            assert all(address == part.headers["content-location"] for part in parts_of(answer))


def test_xml_is_a_part_for_each_instance(place: Shared) -> None:
    """The Native DICOM Model, with the same addresses; one instance may come alone."""
    kept = place.kept["JPEG2000.dcm"]
    answer = place.ask(f"/studies/{kept.study}/metadata", 'multipart/related; type="application/dicom+xml"')
    roots = [ET.fromstring(part.content) for part in parts_of(answer)]

    assert 2 == len(roots)
    assert all(root.tag.endswith("NativeDicomModel") for root in roots)
    alone = place.ask(f"{kept.url}/metadata", "application/dicom+xml")
    assert f"{BASE}{kept.url}/bulkdata/7FE00010" in alone.text
    assert 406 == place.ask(f"/studies/{kept.study}/metadata", "application/dicom+xml").status_code


def test_what_has_not_changed_is_not_sent(place: Shared) -> None:
    """304 for the tag of the same form; another form has another tag."""
    url = f"{place.kept['CT_small.dcm'].url}/metadata"
    tag = place.ask(url).headers["etag"]

    for field in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = place.ask(url, If_None_Match=field)
        assert (304, b"", tag) == (answer.status_code, answer.content, answer.headers["etag"])
    assert 200 == place.ask(url, If_None_Match='"other"').status_code
    assert 200 == place.ask(url, "application/dicom+xml", If_None_Match=tag).status_code


@aio
async def test_a_304_is_an_access_as_well(tmp_path: Path) -> None:
    """It passes gate and trail: who has it no longer in scope gets 404, who has it in scope is recorded."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        tag = (await place.ask(f"{kept.url}/metadata")).headers["etag"]
        before = len(place.messages(Event.INSTANCES_ACCESSED))
        assert 304 == (await place.ask(f"{kept.url}/metadata", If_None_Match=tag)).status_code
        assert before + 1 == len(place.messages(Event.INSTANCES_ACCESSED))

        elsewhere = await place.issue("elsewhere", "radiologist", scope="study:1.2.3.4")
        assert 404 == (await place.ask(f"{kept.url}/metadata", token=elsewhere, If_None_Match=tag)).status_code


@aio
async def test_the_tag_changes_with_what_is_there(tmp_path: Path) -> None:
    """A further instance in the study: another tag."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "JPEG2000.dcm")
        first = (await place.ask(f"/studies/{kept.study}/metadata")).headers["etag"]
        await deposit_shipped(place, "JPEG-lossy.dcm")

        assert first != (await place.ask(f"/studies/{kept.study}/metadata")).headers["etag"]
