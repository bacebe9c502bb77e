"""The codes an audit message uses (PS3.16 CID 400 to 405), and ours for what the standard has no word for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN_SCHEME: Final = "99STRONGROOM"
"""Coding scheme designator of our own codes; private ones begin with 99 (PS3.16 §8.2)."""


@final
@dataclass(frozen=True, slots=True)
class Code:
    """A coded value."""

    value: str
    scheme: str
    meaning: str


@final
class Event(StrEnum):
    """What kind of act a message is about (CID 400)."""

    APPLICATION_ACTIVITY = "110100"
    AUDIT_LOG_USED = "110101"
    BEGIN_TRANSFERRING = "110102"
    INSTANCES_ACCESSED = "110103"
    INSTANCES_TRANSFERRED = "110104"
    STUDY_DELETED = "110105"
    EXPORT = "110106"
    IMPORT = "110107"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


@final
class EventType(StrEnum):
    """What exactly happened (CID 401 and 403; the words without a number are ours)."""

    APPLICATION_START = "110120"
    APPLICATION_STOP = "110121"
    LOGIN = "110122"
    LOGOUT = "110123"
    NODE_AUTHENTICATION = "110126"
    NETWORK_CONFIGURATION = "110128"
    SECURITY_CONFIGURATION = "110129"
    SOFTWARE_CONFIGURATION = "110131"
    RESTRICTED_FUNCTION = "110132"
    OBJECT_SECURITY_CHANGED = "110135"
    ROLES_CHANGED = "110136"
    USER_SECURITY_CHANGED = "110137"
    AUTHORIZATION_DECISION = "110144"
    HOST_ACCESS = "host-access"
    RECOVERED = "recovered"
    CONFLICT_VERSION = "conflict-version"
    QUARANTINED = "quarantined"
    TRANSFER_UNFINISHED = "transfer-unfinished"
    PLAINTEXT_DOOR = "plaintext-door"
    DOOR_SHUT = "door-shut"
    SELF_LOOK = "self-look"
    TORN_TRAIL = "torn-trail"
    INTEGRITY = "integrity"
    JOB_FAILED = "job-failed"
    REPEATED = "repeated"


@final
class Role(StrEnum):
    """The part a participant played (CID 402)."""

    APPLICATION = "110150"
    LAUNCHER = "110151"
    DESTINATION = "110152"
    SOURCE = "110153"
    DESTINATION_MEDIA = "110154"
    SOURCE_MEDIA = "110155"


@final
class Outcome(IntEnum):
    """EventOutcomeIndicator (PS3.15 A.5.2)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@final
class IdType(StrEnum):
    """What the identifier of a participant object is (PS3.15 A.5.1.2.4, CID 404)."""

    PATIENT = "2"
    URI = "12"
    STUDY = "110180"
    SOP_CLASS = "110181"
    NODE = "110182"


MEDIA_URI: Final = "110037"
"""Media type of a folder or file somewhere (CID 405)."""


def _dcm(*pairs: tuple[str, str]) -> dict[str, Code]:
    return {value: Code(value, "DCM", meaning) for value, meaning in pairs}


def _own(*pairs: tuple[str, str]) -> dict[str, Code]:
    return {value: Code(value, OWN_SCHEME, meaning) for value, meaning in pairs}


_TABLE: Final[Mapping[str, Code]] = MappingProxyType(
    _dcm(
        ("110037", "URI"),
        ("110100", "Application Activity"),
        ("110101", "Audit Log Used"),
        ("110102", "Begin Transferring DICOM Instances"),
        ("110103", "DICOM Instances Accessed"),
        ("110104", "DICOM Instances Transferred"),
        ("110105", "DICOM Study Deleted"),
        ("110106", "Export"),
        ("110107", "Import"),
        ("110112", "Query"),
        ("110113", "Security Alert"),
        ("110114", "User Authentication"),
        ("110120", "Application Start"),
        ("110121", "Application Stop"),
        ("110122", "Login"),
        ("110123", "Logout"),
        ("110126", "Node Authentication"),
        ("110128", "Network Configuration"),
        ("110129", "Security Configuration"),
        ("110131", "Software Configuration"),
        ("110132", "Use of Restricted Function"),
        ("110135", "Object Security Attributes Changed"),
        ("110136", "Security Roles Changed"),
        ("110137", "User Security Attributes Changed"),
        ("110144", "Authorization Decision"),
        ("110150", "Application"),
        ("110151", "Application Launcher"),
        ("110152", "Destination Role ID"),
        ("110153", "Source Role ID"),
        ("110154", "Destination Media"),
        ("110155", "Source Media"),
        ("110180", "Study Instance UID"),
        ("110181", "SOP Class UID"),
        ("110182", "Node ID"),
    )
    | _own(
        ("host-access", "Patient data seen from the machine's command line"),
        ("recovered", "Recorded at start-up after a crash"),
        ("conflict-version", "Other content under a known SOP Instance UID"),
        ("quarantined", "Refused data set kept aside"),
        ("transfer-unfinished", "Transfer begun and not reported as ended"),
        ("plaintext-door", "A door without encryption is open"),
        ("door-shut", "A door was shut"),
        ("self-look", "The archive looked at its own doors"),
        ("torn-trail", "The end of the trail was torn by a crash"),
        ("integrity", "Stored bytes are not what was written"),
        ("job-failed", "Work in the background was given up"),
        ("repeated", "The same event, counted instead of recorded one by one"),
    )
    | {"2": Code("2", "RFC-3881", "Patient Number"), "12": Code("12", "RFC-3881", "URI")}
)


def code(value: str) -> Code:
    """The coded value of *value*; one that is not in the tables (of a newer version) stands for itself."""
    return _TABLE.get(value) or Code(value, OWN_SCHEME, value)
