"""Search over HTTPS: what is found, what an answer holds, and how it is sent."""

from __future__ import annotations

import functools
from email import message_from_bytes
from pathlib import Path
from xml.etree import ElementTree as ET

from archive.world import World, aio, deposited, opened, uid
from dicomweb.asking import BASE, Answer, ask
from strongroom.archive.matches import PAGE
from strongroom.audit.codes import Event
from strongroom.dicom.model import Level
from strongroom.dicomweb.call import Settings
from strongroom.dicomweb.qido import search

LEVELS = {"studies": Level.STUDY, "series": Level.SERIES, "instances": Level.IMAGE}
TABLE_OF_STUDIES = {
    "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190", "00100010", "00100020",
    "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208",
}  # fmt: skip
NATIVE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


async def find(session, level: str, query: str = "", **options) -> Answer:
    """Search for *level*: studies, series or instances."""
    return await ask(functools.partial(search, level=LEVELS[level]), session, query, **options)


async def holding(world: World, number_of_studies: int = 3):
    """A session, with some studies of one series and image each."""
    session = await world.device()
    for number in range(1, number_of_studies + 1):
        await deposited(
            session,
            number,
            study=f"1.2.{number}",
            PatientID=f"P{number}",
            PatientName=["Doe^Jane", "Müller^Jörg", "Meier^Anna"][number % 3],
            StudyDate=f"202401{number:02}" if number < 30 else "20240131",
            StudyTime="101500",
            StudyDescription="CT of the chest",
            Modality=["CT", "MR"][number % 2],
        )
    return session


def found(answer: Answer, tag: str = "0020000D") -> list[str]:
    """The values of an attribute in the answers."""
    return [match[tag]["Value"][0] for match in answer.json]


@aio
async def test_a_study_is_answered_with_the_table_of_the_standard(tmp_path: Path) -> None:
    """Each attribute of Table 10.6.3-3 is there, required ones without a value where there is none, in order."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 1)
        answer = await find(session, "studies")
        (match,) = answer.json

        assert (200, "application/dicom+json") == (answer.status, answer.headers["content-type"])
        assert set(match) == TABLE_OF_STUDIES
        assert list(match) == sorted(match)
        assert match["00080050"] == {"vr": "SH"}
        assert match["00080061"] == {"vr": "CS", "Value": ["MR"]}
        assert match["00201208"] == {"vr": "IS", "Value": [1]}
        assert match["00081190"] == {"vr": "UR", "Value": [f"{BASE}/studies/1.2.1"]}
        assert "" == answer.warning


@aio
async def test_series_and_instances_say_what_they_belong_to(tmp_path: Path) -> None:
    """Without a parent in the path an answer carries its study, below one it does not (10.6.3.3.2)."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 1)
        (series,) = (await find(session, "series")).json
        (below,) = (await find(session, "series", params={"study": "1.2.1"})).json
        (image,) = (await find(session, "instances")).json
        (of_study,) = (await find(session, "instances", params={"study": "1.2.1"})).json
        (of_series,) = (await find(session, "instances", params={"study": "1.2.1", "series": "1.2.1.4"})).json

        assert {"00080060", "00100010", "00201208", "00201209", "0020000D"} <= set(series)
        assert "00100010" not in below
        assert {"0020000D", "0020000E", "00201209"} <= set(below)
        assert {"00100010", "00080060", "00280010", "00080016"} <= set(image)
        assert "00100010" not in of_study
        assert "00080060" in of_study
        assert {"00080060", "00100010"}.isdisjoint(of_series)
        assert f"{BASE}/studies/1.2.1/series/1.2.1.4/instances/{uid(1)}" == of_series["00081190"]["Value"][0]


@aio
async def test_conditional_attributes_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    """A series without a description has none in its answer; who asks for it is told that there is none."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 1)
        (plain,) = (await find(session, "series")).json
        (asked,) = (await find(session, "series", "includefield=SeriesDescription")).json

        assert "0008103E" not in plain
        assert {"vr": "LO"} == asked["0008103E"]


FINDS = {
    "PatientID=P2": [2],
    "00100020=P2": [2],
    "0020000d=1.2.3": [3],
    "StudyInstanceUID=1.2.1,1.2.3": [1, 3],
    "StudyInstanceUID=1.2.1%5C1.2.2": [1, 2],
    "PatientName=meier*": [2],
    "PatientName=*^j*": [1, 3],
    "PatientName=": [1, 2, 3],
    "PatientName=*": [1, 2, 3],
    "StudyDate=20240102": [2],
    "StudyDate=20240102-": [2, 3],
    "StudyDate=-20240102": [1, 2],
    "StudyDate=20240101-20240102&StudyTime=1100-1100": [2],
    "StudyDate=20240101-20240102&StudyTime=1200-0900": [],
    "ModalitiesInStudy=MR": [1, 3],
    "ModalitiesInStudy=MR%5CCT": [1, 2, 3],
    "ModalitiesInStudy=CT,PT": [2],
    "NumberOfStudyRelatedInstances=1": [1, 2, 3],
    "PatientName=Mayer&fuzzymatching=true": [2],
    "PatientName=jorg&fuzzymatching=true": [1],
    "PatientName=Mueller&fuzzymatching=true": [1],
    "PatientName=Mueller&fuzzymatching=false": [],
    "AccessionNumber=%22%22&emptyvaluematching=true": [1, 2, 3],
    "StudyDescription=%22%22&emptyvaluematching=true": [],
    "PatientName=%22%22&emptyvaluematching=true": [],
    "ModalitiesInStudy=%22%22&emptyvaluematching=true": [],
    "PatientID=P1%5CP2&multiplevaluematching=true": [1, 2],
    "PatientID=%27%20OR%20%271%27%3D%271": [],
}


@aio
async def test_what_a_search_finds(tmp_path: Path) -> None:
    """Keywords and tags, lists, wildcards, ranges, names as they sound; nothing in a value is SQL."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world)
        answers = {query: sorted(found(await find(session, "studies", query))) for query in FINDS}

        assert {query: [f"1.2.{number}" for number in studies] for query, studies in FINDS.items()} == answers


@aio
async def test_a_path_leads_into_a_sequence(tmp_path: Path) -> None:
    """Request Attributes Sequence by keyword and by tag; only what the table names of its items is answered."""
    from pydicom.dataset import Dataset

    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in (1, 2):
            item = Dataset()
            item.ScheduledProcedureStepID, item.RequestedProcedureID = f"S{number}", f"R{number}"
            item.ReasonForTheRequestedProcedure = "pain"
            await deposited(session, number, study=f"1.2.{number}", RequestAttributesSequence=[item])
        by_keyword = await find(session, "series", "RequestAttributesSequence.ScheduledProcedureStepID=S2")
        by_tag = await find(session, "series", "00400275.00400009=S*&includefield=00400275.00401002")
        whole = await find(session, "series", "includefield=RequestAttributesSequence&PatientID=P1")
        everything = await find(session, "series", "includefield=all")

        assert ["1.2.2"] == found(by_keyword)
        assert [{"00400009", "00401001"}] == [set(match["00400275"]["Value"][0]) for match in by_keyword.json]
        assert 2 == len(by_tag.json)
        for answer in (by_tag, whole, everything):
            assert ["pain"] == answer.json[0]["00400275"]["Value"][0]["00401002"]["Value"]


@aio
async def test_includefield_adds_what_is_kept_of_the_level(tmp_path: Path) -> None:
    """Lists, repetitions and all; attributes of lower levels are not in the answer (10.6.3.3.1)."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 1)
        query = "includefield=StudyDescription,00101010&includefield=Modality&includefield=BitsStored"
        (match,) = (await find(session, "studies", query)).json
        (everything,) = (await find(session, "studies", "includefield=all")).json

        assert ["CT of the chest"] == match["00081030"]["Value"]
        assert {"vr": "AS"} == match["00101010"]
        assert {"00080060", "00280101"}.isdisjoint(match)
        assert ["CT of the chest"] == everything["00081030"]["Value"]
        assert ["1.2.840.10008.5.1.4.1.1.2"] == everything["00080062"]["Value"]


@aio
async def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    """200 and [] as the standard has it since 2025; below a study that is not there as well."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 1)
        for answer in (
            await find(session, "studies", "PatientID=nobody"),
            await find(session, "series", params={"study": "1.2.99"}),
            await find(session, "studies", "limit=0"),
            await find(session, "studies", "offset=1"),
        ):
            assert (200, []) == (answer.status, answer.json)


@aio
async def test_pages_meet_every_match_once(tmp_path: Path) -> None:
    """Limit and offset in steps of two; each page but the last one says that there are more."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 7)
        whole = found(await find(session, "studies", "PatientName=*e*"))
        pages = [await find(session, "studies", f"PatientName=*e*&limit=2&offset={at}") for at in range(0, 8, 2)]

        assert whole == [one for page in pages for one in found(page)]
        assert 7 == len(set(whole))
        assert [True, True, True, False] == ["additional results" in page.warning for page in pages]


@aio
async def test_the_cap_of_the_server_cuts_and_says_so(tmp_path: Path) -> None:
    """Without a limit, with a smaller one and with a larger one (SECURITY W10)."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 4)
        settings = Settings(BASE, "STRONGROOM", max_results=3)
        plain = await find(session, "studies", settings=settings)
        larger = await find(session, "studies", "limit=1000000000&PatientName=*&fuzzymatching=true", settings=settings)
        smaller = await find(session, "studies", "limit=3&PatientID=P1", settings=settings)
        rest = await find(session, "studies", "offset=3", settings=settings)

        assert [3, 3, 1, 1] == [len(answer.json) for answer in (plain, larger, smaller, rest)]
        for answer in (plain, larger):
            assert answer.warning.startswith(f"299 {BASE}: ")
            assert "exceeded the maximum supported by the server" in answer.warning
        assert ["", ""] == [smaller.warning, rest.warning]


@aio
async def test_what_is_not_supported_is_named_and_left_out(tmp_path: Path) -> None:
    """An unknown parameter, an attribute that is not kept, one of a lower level, a time zone (PS3.18 8.3)."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 2)
        query = "flavour=x&BitsStored=12&Modality=CT&TimezoneOffsetFromUTC=%2B0100&Doe%5EJane=1"
        answer = await find(session, "studies", query)

        assert 2 == len(answer.json)
        for name in ("flavour", "BitsStored", "Modality", "TimezoneOffsetFromUTC", "a parameter"):
            assert f'"The parameter {name} is not supported' in answer.warning or f"{name} is not" in answer.warning
        assert "Doe" not in answer.warning


REFUSED = (
    ("limit=-1", "limit"),
    ("limit=ten", "limit"),
    ("offset=1.5", "offset"),
    ("offset=99999999", "behind"),
    ("fuzzymatching=yes", "fuzzymatching"),
    ("emptyvaluematching=", "emptyvaluematching"),
    ("StudyDate=-", "StudyDate"),
    ("StudyDate=20241301", "StudyDate"),
    ("StudyDate=2024-01-01", "StudyDate"),
    ("StudyTime=25", "StudyTime"),
    ("StudyInstanceUID=1.2.x", "StudyInstanceUID"),
    ("00200013=secret", "00200013"),
    ("PatientName=a&PatientName=b", "PatientName"),
    ("PatientName=a&00100010=b", "00100010"),
    ("includefield=secret", "includefield"),
    ("RequestAttributesSequence=secret", "RequestAttributesSequence"),
    ("limit=1&limit=2", "limit"),
    ("PatientID=" + "secret" * 700, "PatientID"),
    ("PatientName=" + "*secret" * 64, "wild cards"),
    ("PatientID=" + "%5C".join(["secret"] * 65), "values"),
    ("StudyInstanceUID=" + ",".join(f"1.{number}" for number in range(1001)), "StudyInstanceUID"),
    ("PatientName=" + "+".join(f"secret{chr(97 + at)}" for at in range(17)) + "&fuzzymatching=true", "words"),
    ("x" * 600 + "=1", "name"),
    ("PatientID=a%00secret", "PatientID"),
)


@aio
async def test_a_bad_value_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """400 with a problem that names the parameter and no value (PS3.18 8.3, SECURITY W11, D11)."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 1)
        for query, named in REFUSED:
            answer = await find(session, "instances", query)

            assert (400, "application/problem+json") == (answer.status, answer.headers["content-type"]), query
            assert named in answer.json["detail"]
            assert b"secret" not in answer.body


@aio
async def test_a_parent_in_the_path_is_not_named_once_more(tmp_path: Path) -> None:
    """Two answers to which study is meant are none."""
    async with opened(tmp_path / "home") as world:
        answer = await find(await holding(world, 1), "series", "StudyInstanceUID=1.2.1", params={"study": "1.2.1"})

        assert 400 == answer.status


ACCEPTED = (
    (None, 200, "application/dicom+json"),
    ("*/*", 200, "application/dicom+json"),
    ("application/json", 200, "application/dicom+json"),
    ("application/dicom+json, */*;q=0.1", 200, "application/dicom+json"),
    ('multipart/related; type="application/dicom+xml"', 200, "multipart/related"),
    ("multipart/related; type=application/dicom+xml", 200, "multipart/related"),
    ("multipart/related; type=application/dicom+xml;q=0.5, application/dicom+json", 200, "application/dicom+json"),
    ("image/jpeg", 406, "application/problem+json"),
    ("text/html", 406, "application/problem+json"),
)


@aio
async def test_what_a_client_accepts_is_what_it_gets(tmp_path: Path) -> None:
    """JSON by default, XML where it is asked for, 406 for what there is not."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 1)
        for accept, status, media_type in ACCEPTED:
            answer = await find(session, "studies", accept=accept)

            assert (status, accept) == (answer.status, accept)
            assert answer.headers["content-type"].startswith(media_type)


@aio
async def test_xml_is_one_part_for_each_match(tmp_path: Path) -> None:
    """multipart/related of Native DICOM Models (PS3.19 A.1) that hold what the JSON holds."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 3)
        accept = 'multipart/related; type="application/dicom+xml"'
        answer = await find(session, "studies", "PatientName=m*", accept=accept)
        nothing = await find(session, "studies", "PatientID=nobody", accept=accept)
        message = message_from_bytes(f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode() + answer.body)
        roots = [ET.fromstring(part.get_payload(decode=True)) for part in message.get_payload()]

        assert ["application/dicom+xml"] * 2 == [part.get_content_type() for part in message.get_payload()]
        names = [root.findtext(f".//{NATIVE}FamilyName") for root in roots]
        assert ["Meier", "Müller"] == sorted(names)
        assert {one.get("tag") for one in roots[0]} == TABLE_OF_STUDIES
        assert (200, b"") == (nothing.status, nothing.body)


@aio
async def test_many_answers_leave_in_pieces(tmp_path: Path) -> None:
    """More answers than the archive holds at a time come in pieces, and together they are one JSON array."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(PAGE + 10):
            await deposited(session, number, study="1.2.3", pixels=b"")
        answer = await find(session, "instances", params={"study": "1.2.3"})

        assert PAGE + 10 == len({match["00080018"]["Value"][0] for match in answer.json})
        assert answer.pieces > 4
        assert "" == answer.warning


@aio
async def test_the_trail_has_the_search_before_its_answer_leaves(tmp_path: Path) -> None:
    """When the header goes out the record is there, with the keys that were asked (I5)."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 2)
        at_start: list[int] = []

        async def look(message: dict) -> None:
            if message["type"] == "http.response.start":
                at_start.append(sum(entry.message.event == Event.QUERY for entry in world.trail()))

        await find(session, "studies", "PatientID=P1", send=look)

        assert [1] == at_start


@aio
async def test_a_head_request_searches_and_sends_no_body(tmp_path: Path) -> None:
    """The header is that of GET; the search is ended in good order, so the next one finds its reader."""
    async with opened(tmp_path / "home") as world:
        session = await holding(world, 2)
        answer = await find(session, "studies", method="HEAD")

        assert (200, b"") == (answer.status, answer.body)
        assert 2 == len((await find(session, "studies")).json)


@aio
async def test_who_may_not_search_gets_what_is_not_there(tmp_path: Path) -> None:
    """A modality that only deposits: 404, recorded, and nothing of the archive in the answer (SECURITY C17)."""
    async with opened(tmp_path / "home") as world:
        await holding(world, 1)
        answer = await find(await world.device("CT9", "deposit"), "studies")

        assert 404 == answer.status
        assert any(entry.message.failed for entry in world.trail())
