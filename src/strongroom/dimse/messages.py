"""
The DIMSE messages as frozen dataclasses, and their command sets (PS3.7 §9.3, §10.3).

A field is named like its element in the command set; None or the empty text means that the element is absent.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, final

from strongroom.dimse import command
from strongroom.errors import LocalProtocolError, RemoteProtocolError

#: Set in the command field of every response (PS3.7 Annex E.1).
RESPONSE_BIT: Final = 0x8000

N_EVENT_REPORT: Final = 0x0100
N_GET: Final = 0x0110
N_SET: Final = 0x0120
N_ACTION: Final = 0x0130
N_CREATE: Final = 0x0140
N_DELETE: Final = 0x0150

MEDIUM: Final = 0  # priority (0000,0700)
HIGH: Final = 1
LOW: Final = 2


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CEchoRequest:
    """C-ECHO-RQ (PS3.7 §9.3.5.1)."""

    COMMAND_FIELD: ClassVar[int] = 0x0030

    message_id: int
    affected_sop_class_uid: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CEchoResponse:
    """C-ECHO-RSP (PS3.7 §9.3.5.2)."""

    COMMAND_FIELD: ClassVar[int] = 0x8030

    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str = ""
    error_comment: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CStoreRequest:
    """C-STORE-RQ (PS3.7 §9.3.1.1); the data set follows."""

    COMMAND_FIELD: ClassVar[int] = 0x0001

    message_id: int
    affected_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    priority: int = MEDIUM
    move_originator_application_entity_title: str = ""
    move_originator_message_id: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CStoreResponse:
    """C-STORE-RSP (PS3.7 §9.3.1.2)."""

    COMMAND_FIELD: ClassVar[int] = 0x8001

    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    offending_element: tuple[int, ...] = ()
    error_comment: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CFindRequest:
    """C-FIND-RQ (PS3.7 §9.3.2.1); the identifier follows."""

    COMMAND_FIELD: ClassVar[int] = 0x0020

    message_id: int
    affected_sop_class_uid: str = ""
    priority: int = MEDIUM


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CFindResponse:
    """C-FIND-RSP (PS3.7 §9.3.2.2); an identifier follows while the status is pending."""

    COMMAND_FIELD: ClassVar[int] = 0x8020

    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str = ""
    offending_element: tuple[int, ...] = ()
    error_comment: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CGetRequest:
    """C-GET-RQ (PS3.7 §9.3.3.1); the identifier follows."""

    COMMAND_FIELD: ClassVar[int] = 0x0010

    message_id: int
    affected_sop_class_uid: str = ""
    priority: int = MEDIUM


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CGetResponse:
    """C-GET-RSP (PS3.7 §9.3.3.2); the list of failed instances may follow."""

    COMMAND_FIELD: ClassVar[int] = 0x8010

    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str = ""
    offending_element: tuple[int, ...] = ()
    error_comment: str = ""
    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CMoveRequest:
    """C-MOVE-RQ (PS3.7 §9.3.4.1); the identifier follows."""

    COMMAND_FIELD: ClassVar[int] = 0x0021

    message_id: int
    affected_sop_class_uid: str = ""
    priority: int = MEDIUM
    move_destination: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CMoveResponse:
    """C-MOVE-RSP (PS3.7 §9.3.4.2); the list of failed instances may follow."""

    COMMAND_FIELD: ClassVar[int] = 0x8021

    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str = ""
    offending_element: tuple[int, ...] = ()
    error_comment: str = ""
    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CCancelRequest:
    """C-CANCEL-RQ (PS3.7 §9.3.2.3); has no response of its own."""

    COMMAND_FIELD: ClassVar[int] = 0x0FFF

    message_id_being_responded_to: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NRequest:
    """
    Any N-service request; *command_field* says which (PS3.7 §10.3).

    N-EVENT-REPORT and N-CREATE name the affected SOP instance, the others the requested one.
    """

    command_field: int
    message_id: int
    affected_sop_class_uid: str = ""
    requested_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    requested_sop_instance_uid: str = ""
    event_type_id: int | None = None
    action_type_id: int | None = None
    attribute_identifier_list: tuple[int, ...] = ()

    @property
    def sop_class_uid(self) -> str:
        """The SOP class, whichever of the two elements names it."""
        return self.requested_sop_class_uid or self.affected_sop_class_uid

    @property
    def sop_instance_uid(self) -> str:
        """The SOP instance, whichever of the two elements names it."""
        return self.requested_sop_instance_uid or self.affected_sop_instance_uid


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NResponse:
    """Any N-service response; *command_field* says which (PS3.7 §10.3)."""

    command_field: int
    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    event_type_id: int | None = None
    action_type_id: int | None = None
    attribute_identifier_list: tuple[int, ...] = ()
    offending_element: tuple[int, ...] = ()
    error_comment: str = ""
    error_id: int | None = None


Request = CEchoRequest | CStoreRequest | CFindRequest | CGetRequest | CMoveRequest | CCancelRequest | NRequest
Response = CEchoResponse | CStoreResponse | CFindResponse | CGetResponse | CMoveResponse | NResponse
Message = Request | Response

_CLASSES: Final[tuple[type[Message], ...]] = (
    CEchoRequest,
    CEchoResponse,
    CStoreRequest,
    CStoreResponse,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveRequest,
    CMoveResponse,
    CCancelRequest,
    NRequest,
    NResponse,
)
_N_FIELDS: Final = (N_EVENT_REPORT, N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE)
_BY_COMMAND_FIELD: Final[dict[int, type[Message]]] = {
    **{cls.COMMAND_FIELD: cls for cls in _CLASSES if cls is not NRequest and cls is not NResponse},
    **dict.fromkeys(_N_FIELDS, NRequest),
    **{field | RESPONSE_BIT: NResponse for field in _N_FIELDS},
}
#: For each class its (element number, field name) in the order of the wire.
_LAYOUT: Final[dict[type[Message], tuple[tuple[int, str], ...]]] = {
    cls: tuple(sorted((command.NUMBERS[field.name], field.name) for field in fields(cls))) for cls in _CLASSES
}
_NEEDED: Final = ("message_id", "message_id_being_responded_to", "status")
_ALWAYS_WITH_DATA_SET: Final = (CStoreRequest, CFindRequest, CGetRequest, CMoveRequest)
_NEVER_WITH_DATA_SET: Final = (CEchoRequest, CEchoResponse, CCancelRequest, CStoreResponse)
_COMMAND_FIELD_NUMBER: Final = command.NUMBERS["command_field"]
_DATA_SET_TYPE_NUMBER: Final = command.NUMBERS["command_data_set_type"]


def decode(data: bytes | bytearray | memoryview) -> tuple[Message, bool]:
    """
    Decode a command set into its message and whether a data set follows.

    Raises RemoteProtocolError for a command field that the standard does not have or one without what an answer needs
    (message ID, status): nothing can be answered then. Other missing elements are left to the service.
    """
    values: dict[str, Any] = dict(command.decode(data))
    command_field = values.get("command_field")
    if command_field is None:
        raise RemoteProtocolError("command set without a command field (0000,0100)")
    cls = _BY_COMMAND_FIELD.get(command_field)
    if cls is None:
        raise RemoteProtocolError(f"command field {command_field:04x} is not one of the standard's")
    data_set_type = values.get("command_data_set_type")
    if data_set_type is None:
        raise RemoteProtocolError("command set does not say whether a data set follows (0000,0800)")
    has_data_set = data_set_type != command.NO_DATA_SET
    arguments = {name: values[name] for _, name in _LAYOUT[cls] if name in values}
    for name in _NEEDED:
        if name in cls.__dataclass_fields__ and name not in arguments:
            raise RemoteProtocolError(f"command {command_field:04x} without {name}")
    return cls(**arguments), has_data_set


def encode(message: Message, *, has_data_set: bool = False) -> bytes:
    """
    Encode the command set of *message*; *has_data_set* says whether a data set will follow it on the same context.

    Raises LocalProtocolError when that contradicts the message or a value does not fit.
    """
    cls = type(message)
    if (has_data_set and cls in _NEVER_WITH_DATA_SET) or (not has_data_set and cls in _ALWAYS_WITH_DATA_SET):
        raise LocalProtocolError(f"{cls.__name__} {'never has' if has_data_set else 'always has'} a data set")
    values: dict[int, command.Value] = {
        _DATA_SET_TYPE_NUMBER: command.DATA_SET_FOLLOWS if has_data_set else command.NO_DATA_SET,
    }
    if not isinstance(message, NRequest | NResponse):
        values[_COMMAND_FIELD_NUMBER] = message.COMMAND_FIELD
    for number, name in _LAYOUT[cls]:
        value = getattr(message, name)
        if value is not None and value not in ("", ()):
            values[number] = value
    return command.encode(sorted(values.items()))
