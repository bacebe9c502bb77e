"""
A small world for the providers: an archive in memory, and two ends of an association joined by a link without a network.

Everything goes through the real command sets and the real assembler; a data set is cut into fragments on the way.
"""

from __future__ import annotations

import asyncio
import fnmatch
import functools
import io
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from imaging.corpus import taken
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.model import Level, identify
from strongroom.dimse import Assembler, CCancelRequest, DataFragment, MessageReceived, encode
from strongroom.errors import (
    AccessDenied,
    DataSetError,
    IntegrityError,
    MismatchError,
    NotFound,
    RemoteProtocolError,
    StrongroomError,
)
from strongroom.imaging.pool import Pool
from strongroom.scp import Provider
from strongroom.scp.exchange import DEFAULT_LIMITS, Limits
from strongroom.scp.ports import Query, Recipient, Target
from strongroom.upper_layer.events import PDV, AcceptedContext, AssociateAccept

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4.50"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
ECHO = "1.2.840.10008.1.1"
PATIENT_FIND, PATIENT_MOVE, PATIENT_GET = (f"1.2.840.10008.5.1.4.1.2.1.{n}" for n in (1, 2, 3))
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))


def aio(test):
    """Run an asynchronous test in a loop of its own; what hangs fails."""

    @functools.wraps(test)
    def wrapper(*args, **kwargs):
        async def bounded():
            async with asyncio.timeout(20):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return wrapper


async def until(condition) -> None:
    """Let the others run until *condition* holds; no clock, and an end."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


# ------------------------------------------------------------------------------------------------------------- data sets
def encode_with_pydicom(dataset: Dataset, transfer_syntax: str = EXPLICIT) -> bytes:
    """The bytes of a data set, written by another implementation."""
    stream = DicomBytesIO()
    stream.is_little_endian = True
    stream.is_implicit_VR = transfer_syntax == IMPLICIT
    write_dataset(stream, dataset)
    return stream.getvalue()


def image(
    number: int,
    *,
    study: int = 1,
    series: int = 1,
    patient: str = "P1",
    sop_class: str = CT,
    pixels: bytes = b"\0\1" * 64,
) -> Dataset:
    """A small image with a place in the hierarchy."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = f"1.2.3.{study}.{series}.{number}"
    dataset.StudyInstanceUID = f"1.2.3.{study}"
    dataset.SeriesInstanceUID = f"1.2.3.{study}.{series}"
    dataset.PatientID = patient
    dataset.PatientName = f"Canary^{patient}"
    dataset.StudyDescription = f"study {study}"
    dataset.Modality = "CT" if sop_class == CT else "MR"
    dataset.Rows = 8
    dataset.Columns = 8
    dataset.BitsAllocated = 16
    dataset.add_new(0x7FE00010, "OW", pixels)
    return dataset


# ------------------------------------------------------------------------------------------------------------ the archive
class Outcome(Enum):
    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Receipt:
    outcome: Outcome


@dataclass(frozen=True)
class Stored:
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes
    attributes: dict[str, Any]

    @property
    def length(self) -> int:
        return len(self.data)


@dataclass(frozen=True)
class Destination:
    name: str
    ae_title: str

    def recipient(self) -> Recipient:
        return Recipient(self.name, self.ae_title, "192.0.2.1:104")


@dataclass
class Archive:
    """What is kept, what was refused, and a diary that stands for the trail."""

    instances: dict[str, Stored] = field(default_factory=dict)
    quarantine: list[bytes] = field(default_factory=list)
    diary: list[tuple] = field(default_factory=list)
    destinations: dict[str, Destination] = field(default_factory=dict)
    unreadable_after: dict[str, int] = field(default_factory=dict)
    """SOP Instance UID -> pieces that can be read before the medium fails."""
    piece: int = 100

    def keep(self, dataset: Dataset, transfer_syntax: str = EXPLICIT, data: bytes | None = None) -> Stored:
        """Put an instance in from the side."""
        stored = Stored(
            str(dataset.SOPClassUID),
            str(dataset.SOPInstanceUID),
            transfer_syntax,
            encode_with_pydicom(dataset, transfer_syntax) if data is None else data,
            dataset.to_json_dict(),
        )
        self.instances[stored.sop_instance_uid] = stored
        return stored


class Deposit:
    def __init__(
        self,
        archive: Archive,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        fault: StrongroomError | None,
    ) -> None:
        self._archive, self._class, self._uid, self._syntax, self._fault = (
            archive,
            sop_class_uid,
            sop_instance_uid,
            transfer_syntax_uid,
            fault,
        )
        self._data = bytearray()
        self.done = False

    @property
    def wants_time(self) -> bool:
        return self._fault is not None

    def feed(self, fragment: memoryview) -> None:
        assert not self.done
        self._data += fragment

    async def ready(self) -> None:
        if self._fault is not None:
            raise self._fault

    async def finish(self) -> Receipt:
        assert not self.done
        self.done = True
        data = bytes(self._data)
        reader = HeaderReader(self._syntax)
        try:
            reader.feed(memoryview(data))
            identity = identify(reader.finish())
        except DataSetError:
            self._archive.quarantine.append(data)
            raise
        if (identity.sop_class_uid, identity.sop_instance_uid) != (self._class, self._uid):
            self._archive.quarantine.append(data)
            raise MismatchError("the request names another instance")
        known = self._archive.instances.get(self._uid)
        if known is not None:
            return Receipt(Outcome.DUPLICATE if known.data == data else Outcome.CONFLICT)
        self._archive.instances[self._uid] = Stored(self._class, self._uid, self._syntax, data, {})
        self._archive.diary.append(("stored", self._uid))
        return Receipt(Outcome.STORED)

    async def abandon(self, reason: str) -> None:
        if not self.done:
            self.done = True
            self._archive.diary.append(("abandoned", self._uid, reason))


class Disclosure:
    def __init__(self, archive: Archive, instances: list[Stored], recipient: str) -> None:
        self._archive, self.instances, self._recipient, self._inside = archive, tuple(instances), recipient, False

    async def __aenter__(self):
        self._inside = True
        self._archive.diary.append(("begin", self._recipient, len(self.instances)))
        return self

    async def __aexit__(self, *error) -> None:
        self._inside = False
        self._archive.diary.append(("end", self._recipient))

    async def open(self, instance: Stored, first: int = 0, last: int | None = None) -> AsyncIterator[memoryview]:
        assert self._inside
        view = memoryview(instance.data)[first:last]
        for count, start in enumerate(range(0, len(view), self._archive.piece)):
            if count >= self._archive.unreadable_after.get(instance.sop_instance_uid, 1 << 60):
                raise IntegrityError("a segment does not open")
            yield view[start : start + self._archive.piece]

    async def frames(self, instance: Stored):
        assert self._inside
        found = taken("", instance.transfer_syntax_uid, instance.data)
        if found is None:
            raise NotFound("no Pixel Data")
        return found

    def sent(self, instance: Stored) -> None:
        self._archive.diary.append(("sent", instance.sop_instance_uid))

    def failed(self, instance: Stored, reason: str) -> None:
        self._archive.diary.append(("failed", instance.sop_instance_uid, reason))


UNIQUE = {Level.PATIENT: "00100020", Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}


def _values(element: dict[str, Any]) -> list[str]:
    return [
        value.get("Alphabetic", "") if isinstance(value, dict) else str(value) for value in element.get("Value", [])
    ]


@dataclass
class Session:
    """A caller who may do what *actions* say."""

    archive: Archive
    actions: frozenset[str] = frozenset({"deposit", "query", "retrieve"})
    private_sop_classes: frozenset[str] = frozenset()
    duplicate_is_success: bool = False
    name: str = "caller"
    ae_title: str = "CALLER"
    deposit_fault: StrongroomError | None = None
    queries_closed: int = 0
    deposits: int = 0
    queries: list[Query] = field(default_factory=list)
    may_commit: bool = True
    may_report: bool = True
    asked: list[Any] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    inbox: Any = None
    commit_fault: StrongroomError | None = None

    async def commit(self, request: Any, inbox: Any) -> None:
        self._require("deposit")
        if self.commit_fault is not None:
            raise self.commit_fault
        self.asked.append(request)
        self.inbox = inbox
        inbox.expected.add(request.transaction_uid)

    async def committed(self, result: Any) -> None:
        if self.commit_fault is not None:
            raise self.commit_fault
        self.told.append(result)

    def may(self, action: str) -> bool:
        return action in self.actions

    def _require(self, action: str) -> None:
        if action not in self.actions:
            self.archive.diary.append(("refused", action))
            raise AccessDenied("action-not-granted")

    def deposit(self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Deposit:
        self._require("deposit")
        self.deposits += 1
        return Deposit(self.archive, sop_class_uid, sop_instance_uid, transfer_syntax_uid, self.deposit_fault)

    async def query(self, query: Query):
        self._require("query")
        self.queries.append(query)
        return self._matches(query)

    async def _matches(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        seen = set()
        try:
            for stored in sorted(self.archive.instances.values(), key=lambda stored: stored.sop_instance_uid):
                attributes = stored.attributes
                key = tuple(_values(attributes[UNIQUE[query.level]]))
                if key in seen or not all(
                    self._matching(attributes.get(tag, {}), element) for tag, element in query.keys.items()
                ):
                    continue
                seen.add(key)
                yield {tag: attributes[tag] for tag in query.keys if tag in attributes}
        finally:
            self.queries_closed += 1

    @staticmethod
    def _matching(element: dict[str, Any], wanted: dict[str, Any]) -> bool:
        patterns = _values(wanted)
        return not patterns or any(
            fnmatch.fnmatchcase(value, pattern) for value in _values(element) for pattern in patterns
        )

    async def retrieve(self, target: Target, *, to: Recipient | None = None) -> Disclosure:
        self._require("retrieve")
        wanted = {
            "00100020": () if target.patient_id is None else (target.patient_id,),
            "0020000D": target.study_instance_uids,
            "0020000E": target.series_instance_uids,
            "00080018": target.sop_instance_uids,
        }
        found = [
            stored
            for stored in self.archive.instances.values()
            if all(not values or _values(stored.attributes[tag])[0] in values for tag, values in wanted.items())
        ]
        return Disclosure(self.archive, found, self.name if to is None else to.name)

    async def destination(self, ae_title: str) -> Destination:
        found = self.archive.destinations.get(ae_title)
        if found is None:
            raise NotFound("no such move destination")
        return found


# --------------------------------------------------------------------------------------------------------------- the link
class GoneError(RemoteProtocolError):
    """The other end aborted."""


class End:
    """One end of an association: what `transport.conversation.Conversation` is to the providers."""

    def __init__(self, contexts: list[AcceptedContext], fragment: int = 64) -> None:
        self.contexts = {context.id: context for context in contexts}
        self.negotiated = AssociateAccept("STRONGROOM", "CALLER", (), "1.2.3")
        self.fragment = fragment
        self.other: End
        self.aborted = False
        self.released = False
        self._assembler = Assembler(self.contexts)
        self._inbox: asyncio.Queue = asyncio.Queue()
        self._cancelled: set[int] = set()
        self.on_receive: deque = deque()

    async def receive(self):
        event = await self._inbox.get()
        if isinstance(event, Exception):
            self._inbox.put_nowait(event)
            raise event
        return event

    async def receive_into(self, sink):
        while (event := await self.receive()) is not None:
            assert isinstance(event, DataFragment)
            if not sink(event):
                return True
        return False

    async def send(self, context_id, message, data=None) -> None:
        if self.other.aborted or self.aborted:
            raise GoneError("the association was aborted")
        self.other._take(PDV(context_id, True, True, memoryview(encode(message, has_data_set=data is not None))))
        if data is None:
            return
        if isinstance(data, bytes):
            data = _one(data)
        held = b""
        async for piece in data:
            whole = held + bytes(piece)
            while len(whole) > self.fragment:
                self.other._take(PDV(context_id, False, False, memoryview(whole[: self.fragment])))
                whole = whole[self.fragment :]
            held = whole
        self.other._take(PDV(context_id, False, True, memoryview(held)))

    def _take(self, value: PDV) -> None:
        for event in self._assembler.feed(value):
            if isinstance(event, MessageReceived) and isinstance(event.message, CCancelRequest):
                self._cancelled.add(event.message.message_id_being_responded_to)
            self._inbox.put_nowait(event)

    @property
    def over(self):
        """Whether either side has aborted."""
        return "aborted" if self.aborted or self.other.aborted else None

    def cancelled(self, message_id: int) -> bool:
        return message_id in self._cancelled

    async def release(self) -> None:
        self.released = True
        self.other._inbox.put_nowait(None)

    async def abort(self) -> None:
        self.aborted = True
        self.other._inbox.put_nowait(GoneError("the association was aborted"))


async def _one(data: bytes):
    yield data


def link(contexts: list[AcceptedContext], fragment: int = 64) -> tuple[End, End]:
    """Two ends, joined."""
    ours, theirs = End(contexts, fragment), End(contexts, fragment)
    ours.other, theirs.other = theirs, ours
    return ours, theirs


class Peer:
    """A client on one end, with the provider at work on the other."""

    def __init__(
        self,
        session: Session,
        contexts: list[AcceptedContext],
        *,
        outbound=None,
        limits: Limits = DEFAULT_LIMITS,
        pool: Pool | None = None,
    ) -> None:
        self.client, self.server = link(contexts)
        self.session = session
        self._provider = Provider(ae_title="STRONGROOM", outbound=outbound or NoWayOut(), limits=limits, pool=pool)
        self.task: asyncio.Task

    async def __aenter__(self):
        self.task = asyncio.create_task(self._provider.serve(self.server, self.session))
        return self

    async def __aexit__(self, kind, error, trace) -> None:
        if kind is None and not self.task.done():
            await self.client.release()
            await self.task
        else:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def ask(self, context_id: int, message, data: bytes | None = None):
        """Send a request and return its (only) response, without data set."""
        await self.client.send(context_id, message, data)
        response, identifier = await self.response()
        assert identifier is None
        return response

    async def response(self):
        """The next message, with its data set."""
        event = await self._next()
        assert isinstance(event, MessageReceived), event
        if not event.has_data_set:
            return event.message, None
        data = bytearray()
        while True:
            fragment = await self._next()
            assert isinstance(fragment, DataFragment)
            data += fragment.data
            if fragment.last:
                return event.message, bytes(data)

    async def _next(self):
        """The next event; when the provider failed, its error."""
        receive = asyncio.create_task(self.client.receive())
        await asyncio.wait({receive, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if receive.done():
            return receive.result()
        receive.cancel()
        self.task.result()
        raise AssertionError("the provider ended")


class NoWayOut:
    """Nobody can be reached."""

    async def connect(self, destination, contexts):
        raise OSError("no route")


def read_identifier(data: bytes, transfer_syntax: str = IMPLICIT) -> Dataset:
    """Read an identifier with another implementation."""
    from pydicom.filereader import read_dataset

    return read_dataset(io.BytesIO(data), transfer_syntax == IMPLICIT, True)


def identifier(transfer_syntax: str = IMPLICIT, /, **keys) -> bytes:
    """An identifier, written by another implementation."""
    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return encode_with_pydicom(dataset, transfer_syntax)
