"""
The demo as service class user: store, find and get over one association each, with our own requestor (PS3.4 B, C.4).

The rule of this file: what comes back is judged by the caller; here only the protocol is spoken.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar, final

from strongroom.cli.demonstration.site import AE_TITLE
from strongroom.dicom.json import JsonElement, decode_dataset, encode_dataset
from strongroom.dicom.uid import IMPLICIT_VR_LITTLE_ENDIAN
from strongroom.dimse import (
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CStoreRequest,
    CStoreResponse,
    DataFragment,
    Message,
    MessageReceived,
    status,
)
from strongroom.dimse.status import Category, category
from strongroom.errors import RemoteProtocolError
from strongroom.transport import association_request
from strongroom.transport.requestor import connect
from strongroom.upper_layer import MAX_CONTEXTS, RoleSelection, number_contexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from strongroom.cli.demonstration.files import Sample
    from strongroom.cli.demonstration.site import Device, Site
    from strongroom.transport import Conversation

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
QUERY_RETRIEVE_LEVEL: Final = "00080052"
STUDY_INSTANCE_UID: Final = "0020000D"

Identifier = dict[str, JsonElement]
Pair = tuple[str, str]
T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one file."""

    sample: Sample
    status: int
    seconds: float


@final
@dataclass(slots=True)
class Fetched:
    """What one C-GET brought."""

    data: dict[str, bytes] = field(default_factory=dict)
    """Data sets by SOP Instance UID."""
    syntaxes: dict[str, str] = field(default_factory=dict)
    status: int = status.PENDING
    failed: int = 0


async def store(site: Site, device: Device, samples: Sequence[Sample], told: Callable[[Stored], None]) -> None:
    """Send *samples* in their order, each in the transfer syntax it has; *told* hears of each answer."""
    loop = asyncio.get_running_loop()
    for group in _groups(samples, lambda sample: (sample,), MAX_CONTEXTS):
        conversation = await _associate(site, device, _pairs(group))
        places = {(one.abstract_syntax, one.transfer_syntax): one.id for one in conversation.contexts.values()}
        for number, sample in enumerate(group, 1):
            place = places.get(sample.pair)
            if place is None:
                raise RemoteProtocolError(
                    f"the archive did not accept {sample.sop_class_uid} in {sample.transfer_syntax_uid}"
                )
            request = CStoreRequest(
                message_id=number,
                affected_sop_class_uid=sample.sop_class_uid,
                affected_sop_instance_uid=sample.sop_instance_uid,
            )
            began = loop.time()
            await conversation.send(place, request, sample.data)
            answer, _ = await _message(conversation)
            if not isinstance(answer, CStoreResponse):
                raise RemoteProtocolError("something else came than the answer to a C-STORE")
            told(Stored(sample, answer.status, loop.time() - began))
        await conversation.release()


async def find(site: Site, device: Device, questions: Iterable[Mapping[str, JsonElement]]) -> list[list[Identifier]]:
    """Ask each of *questions* at study level; returns the matches of each."""
    conversation = await _associate(site, device, [(STUDY_ROOT_FIND, IMPLICIT_VR_LITTLE_ENDIAN)])
    (place,) = conversation.contexts
    answers: list[list[Identifier]] = []
    for number, question in enumerate(questions, 1):
        keys: Identifier = {QUERY_RETRIEVE_LEVEL: {"vr": "CS", "Value": ["STUDY"]}, STUDY_INSTANCE_UID: {"vr": "UI"}}
        request = CFindRequest(message_id=number, affected_sop_class_uid=STUDY_ROOT_FIND)
        await conversation.send(place, request, encode_dataset(keys | dict(question), IMPLICIT_VR_LITTLE_ENDIAN))
        answers.append(await _matches(conversation))
    await conversation.release()
    return answers


async def _matches(conversation: Conversation) -> list[Identifier]:
    found: list[Identifier] = []
    while True:
        answer, data = await _message(conversation)
        if not isinstance(answer, CFindResponse):
            raise RemoteProtocolError("something else came than the answer to a C-FIND")
        match category(answer.status):
            case Category.PENDING:
                found.append(decode_dataset(data, IMPLICIT_VR_LITTLE_ENDIAN))
            case Category.SUCCESS:
                return found
            case _:
                raise RemoteProtocolError(f"a C-FIND ended with status {answer.status:04X}")


async def fetch(
    site: Site, device: Device, studies: Mapping[str, Sequence[Sample]], told: Callable[[], None]
) -> list[Fetched]:
    """
    Get whole studies by C-GET; for each instance the syntax is proposed that it was sent in.

    *studies* are the files expected of each, by Study Instance UID; *told* hears of each instance that came.
    """
    fetched: list[Fetched] = []
    for group in _groups(studies.items(), lambda study: study[1], MAX_CONTEXTS - 1):
        pairs = _pairs(sample for _, samples in group for sample in samples)
        classes = dict.fromkeys(sop_class for sop_class, _ in pairs)
        roles = tuple(RoleSelection(sop_class, scu=False, scp=True) for sop_class in classes)
        conversation = await _associate(site, device, [(STUDY_ROOT_GET, IMPLICIT_VR_LITTLE_ENDIAN), *pairs], roles)
        place = next(one.id for one in conversation.contexts.values() if one.abstract_syntax == STUDY_ROOT_GET)
        keys: Identifier = {
            QUERY_RETRIEVE_LEVEL: {"vr": "CS", "Value": ["STUDY"]},
            STUDY_INSTANCE_UID: {"vr": "UI", "Value": [uid for uid, _ in group]},
        }
        request = CGetRequest(message_id=1, affected_sop_class_uid=STUDY_ROOT_GET)
        await conversation.send(place, request, encode_dataset(keys, IMPLICIT_VR_LITTLE_ENDIAN))
        fetched.append(await _take(conversation, told))
        await conversation.release()
    return fetched


async def _take(conversation: Conversation, told: Callable[[], None]) -> Fetched:
    """Answer the C-STOREs of one C-GET until it ends (PS3.4 C.4.3)."""
    fetched = Fetched()
    while True:
        event = await conversation.receive()
        if not isinstance(event, MessageReceived):
            raise RemoteProtocolError("the association ended before the C-GET did")
        message = event.message
        data = await _data(conversation) if event.has_data_set else b""
        if isinstance(message, CStoreRequest):
            uid = message.affected_sop_instance_uid
            fetched.data[uid] = data
            fetched.syntaxes[uid] = conversation.contexts[event.context_id].transfer_syntax
            answer = CStoreResponse(
                message_id_being_responded_to=message.message_id,
                status=status.SUCCESS,
                affected_sop_class_uid=message.affected_sop_class_uid,
                affected_sop_instance_uid=uid,
            )
            await conversation.send(event.context_id, answer)
            told()
        elif isinstance(message, CGetResponse):
            if category(message.status) is not Category.PENDING:
                fetched.status = message.status
                fetched.failed = message.number_of_failed_suboperations or 0
                return fetched
        else:
            raise RemoteProtocolError("something else came than what a C-GET brings")


async def _associate(
    site: Site, device: Device, pairs: Sequence[Pair], roles: tuple[RoleSelection, ...] = ()
) -> Conversation:
    contexts = number_contexts((abstract, (syntax,)) for abstract, syntax in pairs)
    request = association_request(called=AE_TITLE, calling=device.ae_title, contexts=contexts)
    return await connect(site.callee(device), replace(request, role_selections=roles))


async def _message(conversation: Conversation) -> tuple[Message, bytes]:
    """The next message with its data set."""
    event = await conversation.receive()
    if not isinstance(event, MessageReceived):
        raise RemoteProtocolError("the association ended before the answer came")
    return event.message, await _data(conversation) if event.has_data_set else b""


async def _data(conversation: Conversation) -> bytes:
    gathered = bytearray()
    while True:
        event = await conversation.receive()
        if not isinstance(event, DataFragment):
            raise RemoteProtocolError("the association ended inside a data set")
        gathered += event.data
        if event.last:
            return bytes(gathered)


def _pairs(samples: Iterable[Sample]) -> list[Pair]:
    return list(dict.fromkeys(sample.pair for sample in samples))


def _groups(items: Iterable[T], samples_of: Callable[[T], Iterable[Sample]], room: int) -> list[list[T]]:
    """Split *items* so that the presentation contexts of each group fit one association."""
    groups: list[list[T]] = []
    taken: set[Pair] = set()
    for item in items:
        pairs = set(_pairs(samples_of(item)))
        if not groups or len(taken | pairs) > room:
            groups.append([])
            taken = set()
        taken |= pairs
        groups[-1].append(item)
    return groups
