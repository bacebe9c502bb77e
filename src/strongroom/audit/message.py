"""
One act as the trail keeps it: the content of an audit message (PS3.15 A.5.1), encoded as JSON.

Rule of the file: fields are added with a default, never renamed or reordered: records are kept for years and have to
open. `xml.to_xml` writes the standard's form; `report.Reporter` makes messages that hold to the tables of A.5.3.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from strongroom.audit.codes import Event, IdType, Outcome
from strongroom.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Participant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody or something that took part (ActiveParticipant)."""

    user_id: str
    """Kind and name, such as device:CT1: unique in this archive."""
    name: str = ""
    ae_title: str = ""
    address: str = ""
    """IP address or host name, with a port if one is known."""
    requestor: bool = False
    roles: tuple[str, ...] = ()
    media: str = ""
    """Type of the medium this participant is, if it is one (CID 405)."""


class Instance(msgspec.Struct, frozen=True, array_like=True):
    """One instance, with the SHA-256 of its data set."""

    sop_instance_uid: str
    digest: bytes = b""


class SopClass(msgspec.Struct, frozen=True, array_like=True):
    """How many instances of one SOP class; *instances* names them where each one matters (deposits)."""

    uid: str
    count: int
    instances: tuple[Instance, ...] = ()


class ParticipantObject(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the act was about: a study, a patient, a query, a log, a node (ParticipantObjectIdentification)."""

    id: str
    id_type: str
    type_code: str
    role: str
    name: str = ""
    query: bytes | None = None
    details: tuple[tuple[str, str], ...] = ()
    sop_classes: tuple[SopClass, ...] = ()
    accession_number: str = ""
    life_cycle: str = ""


class AuditMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One act with one outcome; a transfer or access is about one patient."""

    time: datetime
    """Aware, UTC."""
    event: str
    action: str
    """C, R, U, D or E (PS3.15 A.5.2)."""
    outcome: int
    participants: tuple[Participant, ...]
    source: str
    """AuditSourceID: which archive says so."""
    objects: tuple[ParticipantObject, ...] = ()
    types: tuple[str, ...] = ()
    reason: str = ""
    """A short code of ours for why it failed or was refused."""
    act: str = ""
    """Joins the records of one act, such as begin and end of a transfer."""
    rule: str = ""
    """The line of the access table which allowed it (SECURITY C05)."""

    @property
    def failed(self) -> bool:
        """Whether it was refused or went wrong."""
        return self.outcome != Outcome.SUCCESS

    @property
    def requestor(self) -> Participant:
        """Who asked for it; the first participant when nobody did."""
        return next((one for one in self.participants if one.requestor), self.participants[0])

    def patient_ids(self) -> Iterator[str]:
        """The patients it is about."""
        return (one.id for one in self.objects if one.id_type == IdType.PATIENT)

    def study_instance_uids(self) -> Iterator[str]:
        """The studies it is about."""
        return (one.id for one in self.objects if one.id_type == IdType.STUDY)


EVENT_NAMES: Final = {event.value: event.name.lower().replace("_", " ") for event in Event}
"""Event id -> a short word for people (`trail show`)."""

_decode = msgspec.json.Decoder(AuditMessage).decode


_encode = msgspec.json.Encoder().encode


def encode(message: AuditMessage) -> bytes:
    """Encode *message* as the bytes of a trail record; a lone surrogate in a caller's text is written as its escape."""
    try:
        return _encode(message)
    except UnicodeEncodeError:
        return _encode(_without_surrogates(msgspec.to_builtins(message, builtin_types=(bytes, datetime))))


def _without_surrogates(value: object) -> object:
    """No record may be lost because a peer sent text that is none."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _without_surrogates(one) for key, one in value.items()}
        case list() | tuple():
            return [_without_surrogates(one) for one in value]
        case _:
            return value


def decode(record: bytes) -> AuditMessage:
    """Read a trail record; raises IntegrityError when it is not an audit message."""
    try:
        return _decode(record)
    except msgspec.DecodeError as error:
        raise IntegrityError("a record of the trail is not an audit message") from error
