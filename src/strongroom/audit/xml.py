"""An audit message in the standard's own form (PS3.15 A.5.1.1, the schema), for syslog and for those who ask for it."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from strongroom.audit.codes import MEDIA_URI, IdType, code

if TYPE_CHECKING:
    from strongroom.audit.message import AuditMessage, Participant, ParticipantObject

UNKNOWN: Final = "unknown"
"""Stands where the standard demands an identifier and the data set has none."""

_APPLICATION_SERVER: Final = "4"
_MACHINE_NAME, _IP_ADDRESS = "1", "2"


def to_xml(message: AuditMessage) -> bytes:
    """Encode *message* as an AuditMessage document in UTF-8, children in the order of the schema."""
    root = Element("AuditMessage")
    _event(root, message)
    for participant in message.participants:
        _participant(root, participant)
    source = SubElement(root, "AuditSourceIdentification", AuditSourceID=_text(message.source))
    SubElement(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    for number, one in enumerate(message.objects):
        extra = (("Act", message.act), ("Rule", message.rule)) if number == 0 else ()
        _object(root, one, (*one.details, *((kind, value) for kind, value in extra if value)))
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _event(root: Element, message: AuditMessage) -> None:
    event = SubElement(
        root,
        "EventIdentification",
        EventActionCode=message.action,
        EventDateTime=message.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        EventOutcomeIndicator=str(message.outcome),
    )
    _coded(event, "EventID", message.event)
    for kind in message.types:
        _coded(event, "EventTypeCode", kind)
    if message.reason:
        SubElement(event, "EventOutcomeDescription").text = _text(message.reason)


def _participant(root: Element, participant: Participant) -> None:
    element = SubElement(root, "ActiveParticipant", UserID=_text(participant.user_id))
    if participant.ae_title:
        element.set("AlternativeUserID", _text(f"AETITLES={participant.ae_title}"))
    if participant.name:
        element.set("UserName", _text(participant.name))
    element.set("UserIsRequestor", "true" if participant.requestor else "false")
    if participant.address:
        element.set("NetworkAccessPointID", _text(participant.address))
        element.set("NetworkAccessPointTypeCode", _address_type(participant.address))
    for role in participant.roles:
        _coded(element, "RoleIDCode", role)
    if participant.media:
        _coded(SubElement(element, "MediaIdentifier"), "MediaType", MEDIA_URI)


def _address_type(address: str) -> str:
    """IP address or machine name (A.5.2.4); a port behind it does not change which."""
    for candidate in (address, address.rpartition(":")[0].strip("[]")):
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            continue
        return _IP_ADDRESS
    return _MACHINE_NAME


def _object(root: Element, one: ParticipantObject, details: tuple[tuple[str, str], ...]) -> None:
    element = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_text(one.id) or UNKNOWN,
        ParticipantObjectTypeCode=one.type_code,
        ParticipantObjectTypeCodeRole=one.role,
    )
    if one.life_cycle:
        element.set("ParticipantObjectDataLifeCycle", one.life_cycle)
    _coded(element, "ParticipantObjectIDTypeCode", one.id_type)
    if one.query is not None:
        SubElement(element, "ParticipantObjectQuery").text = base64.b64encode(one.query).decode("ascii")
    else:
        SubElement(element, "ParticipantObjectName").text = _text(one.name or one.id) or UNKNOWN
    for kind, value in details:
        _detail(element, kind, value)
    digests = [each for sop_class in one.sop_classes for each in sop_class.instances if each.digest]
    if digests:
        lines = "".join(f"{each.sop_instance_uid} {each.digest.hex()}\n" for each in digests)
        _detail(element, "SHA-256 of data sets", lines)
    if one.id_type == IdType.STUDY:
        _description(element, one)


def _detail(element: Element, kind: str, value: str) -> None:
    encoded = base64.b64encode(value.encode("utf-8", "backslashreplace")).decode("ascii")
    SubElement(element, "ParticipantObjectDetail", type=_text(kind), value=encoded)


def _description(element: Element, one: ParticipantObject) -> None:
    description = SubElement(element, "ParticipantObjectDescription")
    if one.accession_number:
        SubElement(description, "Accession", Number=_text(one.accession_number))
    for sop_class in one.sop_classes:
        counted = SubElement(description, "SOPClass", NumberOfInstances=str(sop_class.count))
        if sop_class.uid:
            counted.set("UID", _text(sop_class.uid))
        for each in sop_class.instances:
            SubElement(counted, "Instance", UID=_text(each.sop_instance_uid))


def _coded(parent: Element, tag: str, value: str) -> None:
    coded = code(value)
    SubElement(parent, tag, {"csd-code": coded.value, "codeSystemName": coded.scheme, "originalText": coded.meaning})


def _text(value: str) -> str:
    """Show what XML 1.0 cannot hold (control characters, lone surrogates) as an escape: callers send what they like."""
    if value.isprintable():
        return value
    return "".join(
        character
        if character.isprintable() or character in " \t\n"
        else character.encode("unicode_escape").decode("ascii")
        for character in value
    )
