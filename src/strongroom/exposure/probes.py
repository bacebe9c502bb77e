"""
What a stranger gets at a DICOM door, tried one knock at a time (EXPOSURE 7.3, rows 1-6 as far as they concern one
door).

1. An association in clear text.
2. TLS without a certificate.
3. TLS with a certificate made on the spot.
4. The same three again under the door's own AE title: a name is not a key.
5. Where an association was accepted: C-ECHO, then a C-FIND for a study that cannot exist. Its status proves whether a
   stranger may query; no identity crosses the wire, and nothing that is answered is kept.
A door is open when any knock got an association. Nothing is stored, nothing is retrieved, no password is tried.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final, final

from strongroom.dicom.json import encode_dataset
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, from_random
from strongroom.dimse import CEchoRequest, CFindRequest, MessageReceived, Response
from strongroom.errors import StrongroomError
from strongroom.exposure.disguise import stranger_identity
from strongroom.exposure.territory import Host
from strongroom.transport import tls
from strongroom.transport.conversation import Conversation
from strongroom.transport.ends import AssociationEndedError, AssociationRejectedError
from strongroom.transport.requestor import Callee, association_request, connect
from strongroom.upper_layer import number_contexts

CALLING: Final = "STRONGROOM-AUD"
"""We say who we are (EXPOSURE 7.1, principle 5)."""
ANY_CALLED: Final = "ANY-SCP"
KNOCK_SECONDS: Final = 5.0
_VERIFICATION: Final = "1.2.840.10008.1.1"
_STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
_SYNTAXES: Final = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)
_PENDING: Final = frozenset({0xFF00, 0xFF01})

Announce = Callable[[tuple[str, int]], None]


@final
class Answer(Enum):
    """What one knock got."""

    NO_CONNECTION = "no connection"
    TLS_REFUSED = "refused by TLS"
    CLOSED = "closed without a word"
    REJECTED = "association rejected"
    ASSOCIATION = "an association"
    ECHO = "an association and an echo"
    QUERY = "an association and an answer to a query"
    NOT_SERVED = "refused"
    SERVED = "an answer"


_IN: Final = frozenset({Answer.ASSOCIATION, Answer.ECHO, Answer.QUERY, Answer.SERVED})


@final
@dataclass(frozen=True, slots=True)
class Evidence:
    """One knock: how, under which called AE title or path, and what came back (numbers only, never a peer's text)."""

    knock: str
    called: str
    answer: Answer
    detail: str = ""

    @property
    def let_in(self) -> bool:
        """Whether a stranger got an association, or an answer to a request."""
        return self.answer in _IN


@final
@dataclass(frozen=True, slots=True)
class Look:
    """All knocks on one door."""

    host: Host
    evidence: tuple[Evidence, ...]

    @property
    def open(self) -> bool:
        """Whether any stranger was let in."""
        return any(one.let_in for one in self.evidence)

    @property
    def summary(self) -> str:
        """What a stranger gets, in a line."""
        told = [one for one in self.evidence if one.let_in] if self.open else list(self.evidence)
        return "; ".join(dict.fromkeys(f"{one.knock}: {one.answer.value}" for one in told))


async def look_at(host: Host, *, called: str, announce: Announce, entropy: Callable[[int], bytes]) -> Look:
    """Knock on *host* in every way a stranger can; *announce* hears our own address before each knock."""
    certificate = tls.Identity(*stranger_identity(entropy))
    ways: tuple[tuple[str, ssl.SSLContext | None], ...] = (
        ("in clear text", None),
        ("TLS without a certificate", tls.unverified_client_context()),
        ("TLS with a foreign certificate", tls.unverified_client_context(certificate)),
    )
    evidence = []
    for title in (ANY_CALLED, called):
        for knock, context in ways:
            answer, detail = await _knock(host, context, title, announce, entropy)
            evidence.append(Evidence(knock, title, answer, detail))
    return Look(host, tuple(evidence))


async def _knock(
    host: Host, context: ssl.SSLContext | None, called: str, announce: Announce, entropy: Callable[[int], bytes]
) -> tuple[Answer, str]:
    request = association_request(
        called=called,
        calling=CALLING,
        contexts=number_contexts([(_VERIFICATION, _SYNTAXES), (_STUDY_ROOT_FIND, _SYNTAXES)]),
    )
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            conversation = await connect(Callee(host.address, host.port, context), request, announce=announce)
    except AssociationRejectedError as error:
        return Answer.REJECTED, f"{error.result}/{error.source}/{error.reason}"
    except (ssl.SSLError, AssociationEndedError, ConnectionResetError, asyncio.IncompleteReadError):
        return (Answer.CLOSED if context is None else Answer.TLS_REFUSED), ""
    except (OSError, TimeoutError):
        return Answer.NO_CONNECTION, ""
    return await _look_inside(conversation, entropy)


async def _look_inside(conversation: Conversation, entropy: Callable[[int], bytes]) -> tuple[Answer, str]:
    """An association stands: how far does it go? Never further than a search for nothing."""
    answer, detail = Answer.ASSOCIATION, ""
    with suppress(StrongroomError, OSError, TimeoutError):
        async with asyncio.timeout(KNOCK_SECONDS):
            for number, context in conversation.contexts.items():
                if context.abstract_syntax == _VERIFICATION:
                    echo = CEchoRequest(message_id=1, affected_sop_class_uid=_VERIFICATION)
                    await conversation.send(number, echo)
                    if await _status(conversation) == 0:
                        answer = Answer.ECHO
            for number, context in conversation.contexts.items():
                if context.abstract_syntax == _STUDY_ROOT_FIND:
                    status = await _null_match(conversation, number, context.transfer_syntax, entropy)
                    detail = f"C-FIND status {status:04X}"
                    if status == 0 or status in _PENDING:
                        answer = Answer.QUERY
    with suppress(StrongroomError, OSError, TimeoutError):
        await conversation.abort()
    return answer, detail


async def _null_match(conversation: Conversation, number: int, syntax: str, entropy: Callable[[int], bytes]) -> int:
    """Ask for a study nobody can have; the first status says whether we may ask at all."""
    keys = {
        "00080052": {"vr": "CS", "Value": ["STUDY"]},
        "0020000D": {"vr": "UI", "Value": [from_random(entropy(16))]},
        "00201208": {"vr": "IS"},
    }
    request = CFindRequest(message_id=3, affected_sop_class_uid=_STUDY_ROOT_FIND)
    await conversation.send(number, request, encode_dataset(keys, syntax))  # type: ignore[arg-type]
    return await _status(conversation)


async def _status(conversation: Conversation) -> int:
    event = await conversation.receive()
    if isinstance(event, MessageReceived) and isinstance(event.message, Response):
        return event.message.status
    return 0xC000
