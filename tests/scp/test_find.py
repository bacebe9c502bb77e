"""Query as provider (PS3.4 C.4.1, C.6)."""

from __future__ import annotations

import pytest

from scp.world import (
    ECHO,
    EXPLICIT,
    IMPLICIT,
    PATIENT_FIND,
    STUDY_FIND,
    Archive,
    Peer,
    Session,
    aio,
    identifier,
    image,
    read_identifier,
)
from strongroom.dimse import CCancelRequest, CEchoRequest, CFindRequest
from strongroom.upper_layer.events import AcceptedContext

STUDY_ROOT, PATIENT_ROOT, STUDY_ROOT_EXPLICIT = 1, 3, 5
CONTEXTS = [
    AcceptedContext(STUDY_ROOT, STUDY_FIND, IMPLICIT),
    AcceptedContext(PATIENT_ROOT, PATIENT_FIND, IMPLICIT),
    AcceptedContext(STUDY_ROOT_EXPLICIT, STUDY_FIND, EXPLICIT),
    AcceptedContext(7, ECHO, IMPLICIT),
]


def filled() -> Archive:
    """Two patients, three studies, each of one series with two images."""
    archive = Archive()
    for study, patient in ((1, "P1"), (2, "P1"), (3, "P2")):
        for number in (1, 2):
            archive.keep(image(number, study=study, patient=patient))
    return archive


async def ask(peer: Peer, data: bytes | None, context_id: int = STUDY_ROOT, message_id: int = 1):
    """Ask and return (pending statuses, identifiers, final response)."""
    context = next(context for context in CONTEXTS if context.id == context_id)
    request = CFindRequest(message_id=message_id, affected_sop_class_uid=context.abstract_syntax)
    await peer.client.send(context_id, request, data)
    statuses, found = [], []
    while True:
        response, identifier_ = await peer.response()
        assert response.message_id_being_responded_to == message_id
        assert response.affected_sop_class_uid == context.abstract_syntax
        if response.status not in (0xFF00, 0xFF01):
            assert identifier_ is None
            return statuses, found, response
        statuses.append(response.status)
        found.append(read_identifier(identifier_, context.transfer_syntax))


@aio
async def test_studies_of_a_patient() -> None:
    """Each match is a pending response with the requested keys, the level and where it can be had."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        data = identifier(QueryRetrieveLevel="STUDY", PatientID="P1", StudyInstanceUID="", StudyDescription="")
        statuses, found, final = await ask(peer, data)

    assert statuses == [0xFF00, 0xFF00]
    assert [match.StudyInstanceUID for match in found] == ["1.2.3.1", "1.2.3.2"]
    assert [match.StudyDescription for match in found] == ["study 1", "study 2"]
    assert {("STUDY", "STRONGROOM", "P1")} == {(m.QueryRetrieveLevel, m.RetrieveAETitle, m.PatientID) for m in found}
    assert (final.status, final.error_comment) == (0x0000, "")


@pytest.mark.parametrize(
    ("context_id", "keys", "expected"),
    [
        (PATIENT_ROOT, {"QueryRetrieveLevel": "PATIENT", "PatientID": "*"}, 2),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "STUDY", "PatientID": "P1", "StudyInstanceUID": ""}, 2),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "SERIES", "PatientID": "P1", "StudyInstanceUID": "1.2.3.1"}, 1),
        (
            PATIENT_ROOT,
            {
                "QueryRetrieveLevel": "IMAGE",
                "PatientID": "P1",
                "StudyInstanceUID": "1.2.3.1",
                "SeriesInstanceUID": "1.2.3.1.1",
            },
            2,
        ),
        (STUDY_ROOT, {"QueryRetrieveLevel": "STUDY"}, 3),
        (STUDY_ROOT, {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.3.3"}, 1),
        (
            STUDY_ROOT_EXPLICIT,
            {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2.3.3", "SeriesInstanceUID": "1.2.3.3.1"},
            2,
        ),
        (STUDY_ROOT, {"QueryRetrieveLevel": "STUDY", "PatientID": "nobody"}, 0),
    ],
)
@aio
async def test_every_level_of_both_roots(context_id: int, keys: dict[str, str], expected: int) -> None:
    """Each level is searched inside the values given for the levels above it."""
    syntax = EXPLICIT if context_id == STUDY_ROOT_EXPLICIT else IMPLICIT
    async with Peer(Session(filled()), CONTEXTS) as peer:
        statuses, _, final = await ask(peer, identifier(syntax, **keys), context_id)

    assert (expected, 0x0000) == (len(statuses), final.status)


@pytest.mark.parametrize(
    ("context_id", "keys", "offending"),
    [
        (STUDY_ROOT, {"PatientID": "P1"}, 0x00080052),
        (STUDY_ROOT, {"QueryRetrieveLevel": "FRAME"}, 0x00080052),
        (STUDY_ROOT, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}, 0x00080052),
        (STUDY_ROOT, {"QueryRetrieveLevel": ["STUDY", "SERIES"]}, 0x00080052),
        (STUDY_ROOT, {"QueryRetrieveLevel": "SERIES"}, 0x0020000D),
        (STUDY_ROOT, {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": ""}, 0x0020000D),
        (STUDY_ROOT, {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": ["1.2.3.1", "1.2.3.2"]}, 0x0020000D),
        (STUDY_ROOT, {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2.3.1"}, 0x0020000E),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.1"}, 0x00100020),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "STUDY", "PatientID": "P*"}, 0x00100020),
    ],
)
@aio
async def test_what_does_not_match_the_information_model(context_id: int, keys: dict, offending: int) -> None:
    """D13: a wrong level or a missing key above it is A900 and names the element; the association goes on."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        statuses, _, final = await ask(peer, identifier(**keys), context_id)
        echo = await peer.ask(7, CEchoRequest(message_id=2, affected_sop_class_uid=ECHO))

    assert ([], 0xA900, (offending,)) == (statuses, final.status, final.offending_element)
    assert "P1" not in final.error_comment
    assert echo.status == 0


@aio
async def test_a_key_we_do_not_know_is_answered_empty_and_with_a_warning() -> None:
    """0xFF01 says that a key was not matched; it stands in the answer without a value."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        data = identifier(
            QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3.1", AcquisitionDeviceProcessingDescription=""
        )
        statuses, found, final = await ask(peer, data)

    assert (statuses, final.status) == ([0xFF01], 0)
    assert found[0].AcquisitionDeviceProcessingDescription == ""


@aio
async def test_a_known_key_without_a_value_in_the_archive_is_answered_empty() -> None:
    """Each requested key stands in each answer."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        _, found, _ = await ask(peer, identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3.1", StudyID=""))

    assert "StudyID" in found[0]
    assert found[0].StudyID == ""


@aio
async def test_computed_keys_are_known_at_their_level_and_below() -> None:
    """Counts and availability are no unsupported keys: 0xFF00."""
    data = identifier(
        QueryRetrieveLevel="SERIES",
        StudyInstanceUID="1.2.3.1",
        InstanceAvailability="",
        NumberOfStudyRelatedInstances="",
        NumberOfSeriesRelatedInstances="",
        RetrieveAETitle="",
    )
    async with Peer(Session(filled()), CONTEXTS) as peer:
        statuses, _, _ = await ask(peer, data)

    assert statuses == [0xFF00]


@aio
async def test_answers_are_in_utf_8_and_say_so() -> None:
    """Whatever the question was written in, an answer with a foreign name is readable."""
    archive = Archive()
    dataset = image(1)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "Jürgens^Žofie"
    archive.keep(dataset)
    async with Peer(Session(archive), CONTEXTS) as peer:
        _, found, _ = await ask(peer, identifier(QueryRetrieveLevel="STUDY", PatientName=""))

    assert (found[0].SpecificCharacterSet, str(found[0].PatientName)) == ("ISO_IR 192", "Jürgens^Žofie")


@aio
async def test_cancel_between_two_matches() -> None:
    """A C-CANCEL is heard between two matches: FE00, no more matches, the search closed."""
    archive = Archive()
    for study in range(1, 300):
        archive.keep(image(1, study=study))
    session = Session(archive)
    async with Peer(session, CONTEXTS) as peer:
        await peer.client.send(
            STUDY_ROOT,
            CFindRequest(message_id=9, affected_sop_class_uid=STUDY_FIND),
            identifier(QueryRetrieveLevel="STUDY"),
        )
        await peer.response()
        await peer.client.send(STUDY_ROOT, CCancelRequest(message_id_being_responded_to=9))
        count = 1
        while (response := (await peer.response())[0]).status == 0xFF00:
            count += 1
        echo = await peer.ask(7, CEchoRequest(message_id=10, affected_sop_class_uid=ECHO))

    assert response.status == 0xFE00
    assert count < 299
    assert session.queries_closed == 1
    assert echo.status == 0


@aio
async def test_cancel_that_comes_with_the_request() -> None:
    """A C-CANCEL that is there before the search began ends it without a match."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        request = CFindRequest(message_id=9, affected_sop_class_uid=STUDY_FIND)
        await peer.client.send(STUDY_ROOT, request, identifier(QueryRetrieveLevel="STUDY"))
        await peer.client.send(STUDY_ROOT, CCancelRequest(message_id_being_responded_to=9))
        response, _ = await peer.response()

    assert response.status == 0xFE00


@aio
async def test_cancel_of_another_message_changes_nothing() -> None:
    """Only the message ID that is being answered can be cancelled."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        await peer.client.send(STUDY_ROOT, CCancelRequest(message_id_being_responded_to=8))
        statuses, _, final = await ask(peer, identifier(QueryRetrieveLevel="STUDY"), message_id=9)

    assert (len(statuses), final.status) == (3, 0)


@aio
async def test_who_may_not_query_learns_nothing() -> None:
    """0x0124 and no match, with rights taken away during the association."""
    archive = filled()
    async with Peer(Session(archive, frozenset({"deposit"})), CONTEXTS) as peer:
        statuses, _, final = await ask(peer, identifier(QueryRetrieveLevel="STUDY"))

    assert (statuses, final.status) == ([], 0x0124)
    assert archive.diary == [("refused", "query")]


@pytest.mark.parametrize("data", [b"\x08\0\x52\0\xff\0\0\0STUDY", b"\x08\0", b"\xff" * 40])
@aio
async def test_an_identifier_that_is_no_data_set(data: bytes) -> None:
    """C000, and the association goes on."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        statuses, _, final = await ask(peer, data)
        echo = await peer.ask(7, CEchoRequest(message_id=2, affected_sop_class_uid=ECHO))

    assert (statuses, final.status, echo.status) == ([], 0xC000, 0)


@aio
async def test_an_identifier_that_is_too_long() -> None:
    """D11: a list of UIDs beyond any use is refused and not gathered."""
    uids = ["1.2.3.4.5.6.7.8.9." + str(n) for n in range(50_000)]
    async with Peer(Session(filled()), CONTEXTS) as peer:
        peer.client.fragment = 1 << 14
        peer.server.other.fragment = 1 << 14
        statuses, _, final = await ask(peer, identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=uids))
        echo = await peer.ask(7, CEchoRequest(message_id=2, affected_sop_class_uid=ECHO))

    assert (statuses, final.status, echo.status) == ([], 0xC000, 0)


@aio
async def test_injection_is_only_text() -> None:
    """D11: what would be SQL or a pattern elsewhere is compared like any text."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        statuses, _, final = await ask(peer, identifier(QueryRetrieveLevel="STUDY", PatientID="' OR 1=1--"))

    assert (statuses, final.status) == ([], 0)


@aio
async def test_a_find_without_identifier_is_answered() -> None:
    """C000 instead of waiting for a data set that was not announced."""
    from strongroom.dimse import MessageReceived

    async with Peer(Session(filled()), CONTEXTS) as peer:
        request = CFindRequest(message_id=3, affected_sop_class_uid=STUDY_FIND)
        peer.server._inbox.put_nowait(MessageReceived(1, request, False))
        response, _ = await peer.response()

    assert response.status == 0xC000
