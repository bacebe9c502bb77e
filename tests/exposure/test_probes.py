"""The stranger's knocks, on real listeners of ours and on open archives made for the purpose (pynetdicom), on loopback."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from ipaddress import ip_network

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from strongroom.exposure import probes
from strongroom.exposure.probes import Answer, Look, look_at
from strongroom.exposure.territory import Territory
from transport.world import LOOPBACK, Desk, aio, door_context, house, server_identity

CANARY = "CANARY^PATIENT"
OWN_TITLE = "STRONGROOM"


async def look(port: int, announced: list[tuple[str, int]] | None = None) -> Look:
    """Look at a door of ours at *port*."""
    (host,) = Territory.own_doors([("door", LOOPBACK, port)])
    announce = (announced if announced is not None else []).append
    return await look_at(host, called=OWN_TITLE, announce=announce, entropy=os.urandom)


class OpenArchive:
    """An archive that lets strangers in, and remembers what they asked."""

    def __init__(self, *, query: bool = True, unfiltered: bool = False) -> None:
        self.ae = AE(ae_title="OPEN")
        self.ae.add_supported_context(Verification)
        if query:
            self.ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        self.unfiltered = unfiltered
        self.calling: list[str] = []
        self.asked: list[Dataset] = []

    def _find(self, event):
        self.asked.append(event.identifier)
        if self.unfiltered:
            answer = Dataset()
            answer.QueryRetrieveLevel = "STUDY"
            answer.PatientName = CANARY
            answer.StudyInstanceUID = "1.2.3"
            yield 0xFF00, answer
        yield 0x0000, None

    @contextmanager
    def running(self, context: ssl.SSLContext | None = None):
        """Serve on an ephemeral port; yields it."""
        handlers = [
            (evt.EVT_C_FIND, self._find),
            (
                evt.EVT_REQUESTED,
                lambda event: self.calling.append(event.assoc.requestor.primitive.calling_ae_title.strip()),
            ),
        ]
        server = self.ae.start_server((LOOPBACK, 0), block=False, evt_handlers=handlers, ssl_context=context)
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def careless_door(folder) -> ssl.SSLContext:
    """TLS that asks nobody for a certificate."""
    path = folder / "server.pem"
    path.write_bytes(server_identity().certificate + server_identity().key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def answers(looked: Look) -> list[Answer]:
    """What each knock got, in order."""
    return [one.answer for one in looked.evidence]


# ---------------------------------------------------------------------------------------------------------------- shut doors
@aio
async def test_our_tls_door_is_shut_to_strangers() -> None:
    """No way in, under any name; and our own look leaves no trace among the refused."""
    announced: list[tuple[str, int]] = []
    async with house(known_knock=lambda address: address in announced) as home:
        looked = await look(home.port, announced)
        assert not looked.open
        assert answers(looked) == [Answer.CLOSED, Answer.TLS_REFUSED, Answer.TLS_REFUSED] * 2
        assert {one.called for one in looked.evidence} == {"ANY-SCP", OWN_TITLE}
        assert len(announced) == len(looked.evidence)
        assert home.refused == []
        assert home.desk.requests == []


@aio
async def test_a_legacy_door_that_does_not_know_the_stranger_is_shut() -> None:
    """Clear text that is answered with a rejection is no way in; the numbers of the rejection are the evidence."""
    rules = {"networks": (ip_network("127.0.0.0/8"),), "expires": date(2027, 1, 1)}
    async with house(tls=False, desk=Desk(), **rules) as home:
        looked = await look(home.port)
        assert not looked.open
        assert answers(looked)[0] is Answer.REJECTED
        assert looked.evidence[0].detail == "2/2/1"
        assert "rejected" in looked.summary
        assert {request.calling_ae_title for request in home.desk.requests} == {"STRONGROOM-AUD"}


@aio
async def test_nobody_there_is_not_open() -> None:
    """A door that has gone meanwhile."""
    async with house() as home:
        port = home.port
    looked = await look(port)
    assert not looked.open
    assert set(answers(looked)) == {Answer.NO_CONNECTION}


@asynccontextmanager
async def black_hole():
    """Accepts and says nothing for ever."""

    async def swallow(reader, writer) -> None:
        while await reader.read(65_536):
            pass
        writer.close()

    server = await asyncio.start_server(swallow, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@aio
async def test_a_silent_door_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each knock has its deadline."""
    monkeypatch.setattr(probes, "KNOCK_SECONDS", 0.1)
    async with black_hole() as port:
        looked = await look(port)
    assert not looked.open


# ---------------------------------------------------------------------------------------------------------------- open doors
@aio
async def test_an_open_archive_is_found_open() -> None:
    """Clear text, any title: the query for an impossible study is answered, and that is the proof."""
    archive = OpenArchive()
    with archive.running() as port:
        looked = await look(port)
    assert looked.open
    assert looked.evidence[0].answer is Answer.QUERY
    assert looked.evidence[0].detail == "C-FIND status 0000"
    assert "in clear text" in looked.summary
    assert set(archive.calling) == {"STRONGROOM-AUD"}


@aio
async def test_what_is_asked_identifies_nobody() -> None:
    """Only a random study UID and a count cross the wire, another UID each time (EXPOSURE 7.1)."""
    archive = OpenArchive()
    with archive.running() as port:
        await look(port)
    assert archive.asked
    uids = set()
    for identifier in archive.asked:
        assert {element.keyword for element in identifier} == {
            "QueryRetrieveLevel",
            "StudyInstanceUID",
            "NumberOfStudyRelatedInstances",
        }
        assert identifier.StudyInstanceUID.startswith("2.25.")
        assert len(identifier.StudyInstanceUID) > 30
        uids.add(str(identifier.StudyInstanceUID))
    assert len(uids) == len(archive.asked)


@aio
async def test_an_archive_that_ignores_keys_is_open_and_nothing_of_it_is_kept() -> None:
    """Whatever it answers to an impossible UID, no value of the answer is in the evidence (canary)."""
    archive = OpenArchive(unfiltered=True)
    with archive.running() as port:
        looked = await look(port)
    assert looked.open
    assert looked.evidence[0].answer is Answer.QUERY
    assert "CANARY" not in repr(looked)
    assert "CANARY" not in looked.summary


@aio
async def test_an_echo_is_enough_to_be_open() -> None:
    """A door that gives strangers an association is open even if it lets them ask nothing."""
    with OpenArchive(query=False).running() as port:
        looked = await look(port)
    assert looked.open
    assert looked.evidence[0].answer is Answer.ECHO


@aio
async def test_tls_for_everybody_is_open(tmp_path) -> None:
    """Encryption without asking who is there keeps nobody out."""
    with OpenArchive().running(careless_door(tmp_path)) as port:
        looked = await look(port)
    assert looked.open
    by_knock = {one.knock: one.answer for one in looked.evidence}
    assert by_knock["TLS without a certificate"] is Answer.QUERY
    assert by_knock["TLS with a foreign certificate"] is Answer.QUERY


@aio
async def test_a_door_whose_only_key_is_its_name_is_open() -> None:
    """Rejected under any other title, let in under its own: the name is on every film (AE-title guess)."""
    archive = OpenArchive()
    archive.ae.ae_title = OWN_TITLE
    archive.ae.require_called_aet = True
    with archive.running() as port:
        looked = await look(port)
    assert looked.open
    clear = {one.called: one for one in looked.evidence if one.knock == "in clear text"}
    assert (clear["ANY-SCP"].answer, clear["ANY-SCP"].detail) == (Answer.REJECTED, "1/1/7")
    assert clear[OWN_TITLE].answer is Answer.QUERY


@aio
async def test_a_door_that_takes_any_certificate_is_open(tmp_path) -> None:
    """Asking for a certificate without verifying it is no question: the foreign one gets in (the misuse of CERT_OPTIONAL)."""
    context = door_context()
    context.verify_mode = ssl.CERT_OPTIONAL  # none is fine too
    with OpenArchive().running(context) as port:
        looked = await look(port)
    assert looked.open
    by_knock = {one.knock: one.answer for one in looked.evidence}
    assert by_knock["TLS without a certificate"] is Answer.QUERY
    assert by_knock["TLS with a foreign certificate"] is Answer.TLS_REFUSED
