"""
Fill the tables of docs/conformance.md from the code: UIDs, presentation contexts, statuses, keys, character sets, TLS.

`python tools/generate_conformance.py` rewrites what stands between `<!-- table NAME -->` and `<!-- end -->`; with
`--check` it only says whether something would change (exit status 1). A test does the same, so that the statement
cannot drift from the program (SECURITY C58).
"""

# ruff: noqa: INP001, SLF001 -- a script, not a package; the tables of character sets are nobody else's business
from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from pydicom.datadict import dictionary_description, dictionary_has_tag

from strongroom.access.identity import PASSCODE_TYPES, REJECTION
from strongroom.app.doorkeeper import NOTHING_SUPPORTED
from strongroom.audit import codes
from strongroom.dicom import charset, uid
from strongroom.dicom.convert import can_convert
from strongroom.dicom.dictionary import keyword_of
from strongroom.dicom.model import COMPUTED_TAGS, TAGS, UNIQUE_TAGS, Level
from strongroom.dicomweb.media import COMPRESSED
from strongroom.dicomweb.problems import TABLE as WEB_PROBLEMS
from strongroom.dicomweb.routes import ADMITTED
from strongroom.dicomweb.services import table as web_table
from strongroom.dimse import status
from strongroom.imaging import syntaxes
from strongroom.scp import contexts
from strongroom.scp.status import TABLE
from strongroom.transport import tls
from strongroom.transport.doors import NO_ROOM, REFUSAL
from strongroom.upper_layer.events import APPLICATION_CONTEXT, MAX_PDU_LENGTH
from strongroom.upper_layer.negotiation import MAX_CONTEXTS

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "conformance.md"
SCP = ROOT / "src" / "strongroom" / "scp"
_BLOCK = re.compile(r"(<!-- table ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Which provider modules answer for which service; what stands in a shared one is answered by all that use it.
_SERVICES = {
    "store": ("storage", "dispatch"),
    "find": ("find", "dispatch"),
    "get, move": ("get", "move", "retrieval", "suboperations", "dispatch"),
    "echo": ("verification", "dispatch"),
    "storage commitment": ("storage_commitment", "dispatch"),
}
_COLUMN = {"store": "store", "find": "find", "get, move": "retrieve"}
_MATCHING = {
    "PN": "single, wild card",
    "UI": "single, list of UIDs",
    "SQ": "sequence",
    "DA": "single, range",
    "TM": "single, range",
    "DT": "single, range",
    "AS": "single",
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"), "single, wild card"),
    **dict.fromkeys(("IS", "DS", "US", "UL", "SS", "SL"), "single, as a number"),
}


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    heads = list(headings)
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def in_order(uids: Iterable[str]) -> list[str]:
    """UIDs as numbers order them."""
    return sorted(uids, key=lambda one: [int(part) for part in one.split(".")])


def name_of_tag(tag: int) -> str:
    """The name PS3.6 gives an attribute."""
    return dictionary_description(tag) if dictionary_has_tag(tag) else (keyword_of(tag) or "")


def identification() -> str:
    """Who the implementation says it is (PS3.7 D.3.3.2)."""
    return table(
        ("what", "value"),
        (
            ("implementation class UID", f"`{uid.IMPLEMENTATION_CLASS_UID}`"),
            ("implementation version name", f"`{uid.IMPLEMENTATION_VERSION_NAME}`"),
            ("application context name", f"`{APPLICATION_CONTEXT}`"),
            ("maximum PDU length announced", f"{MAX_PDU_LENGTH:,} bytes"),
            ("presentation contexts in an association", f"at most {MAX_CONTEXTS}"),
            ("asynchronous operations window", "answered 1, 1: one operation at a time"),
        ),
    )


def services() -> str:
    """The SOP classes but those of storage."""
    needs = {
        contexts.Operation.FIND: "query",
        contexts.Operation.GET: "retrieve",
        contexts.Operation.MOVE: "retrieve",
    }
    rows = [(uid.name_of(contexts.VERIFICATION) or "", contexts.VERIFICATION, "any that is admitted")]
    commitment = contexts.STORAGE_COMMITMENT
    rows.append(
        (uid.name_of(commitment) or "", commitment, "deposit, and has a certificate; as SCU to one with an address")
    )
    rows += [(uid.name_of(one) or "", one, needs[found[1]]) for one, found in contexts.QUERY_RETRIEVE.items()]
    return table(
        ("SOP class", "UID", "as SCP for a device that may"), ((name, f"`{one}`", who) for name, one, who in rows)
    )


def storage() -> str:
    """Every storage SOP class."""
    note = "no patient, no study: refused, see below"
    return table(
        ("SOP class", "UID", ""),
        (
            (uid.name_of(one) or "", f"`{one}`", note if one in uid.NON_PATIENT_SOP_CLASSES else "")
            for one in in_order(uid.STORAGE_SOP_CLASSES)
        ),
    )


def transfer_syntaxes() -> str:
    """What a data set may come and go in."""
    explicit, implicit = uid.EXPLICIT_VR_LITTLE_ENDIAN, uid.IMPLICIT_VR_LITTLE_ENDIAN
    compressed = [target for target in syntaxes.PREFERRED if target not in syntaxes.NATIVE]
    rows = []
    for one in in_order(uid.TRANSFER_SYNTAXES):
        kind = uid.TRANSFER_SYNTAXES[one]
        others = [
            name
            for target, name in ((explicit, "explicit VR little endian"), (implicit, "implicit VR little endian"))
            if target != one and (can_convert(one, target) or syntaxes.can_convert(one, target))
        ]
        if any(syntaxes.can_convert(one, target) for target in compressed if target != one):
            others.append("compressed without loss (1)")
        form = "encapsulated" if kind.encapsulated else "deflated" if kind.deflated else "native"
        rows.append((kind.name, f"`{one}`", form, ", ".join(others) or "as stored only"))
    names = ", ".join(uid.TRANSFER_SYNTAXES[target].name for target in compressed)
    made = table(("transfer syntax", "UID", "form", "sent as stored, or converted to"), rows)
    return f"{made}\n\n(1) In this order, where the receiver takes nothing that is not compressed: {names}."


def keys() -> str:
    """The keys of C-FIND at each level."""
    parts = []
    for level in Level:
        unique = UNIQUE_TAGS[level]
        computed = COMPUTED_TAGS[level]
        rows = []
        for tag, vr in sorted((TAGS[level] | computed).items()):
            kinds = _MATCHING[vr]
            if tag in computed:
                kinds = f"computed; {kinds}"
            if tag == unique:
                kinds = f"**unique key**; {kinds}"
            if tag == 0x00080201:
                kinds = "returned; never matched (PS3.4 C.4.1.1.3.1)"
            rows.append((name_of_tag(tag), f"`({tag >> 16:04X},{tag & 0xFFFF:04X})`", vr, kinds))
        parts.append(f"#### {level.value}\n\n{table(('attribute', 'tag', 'VR', 'matching besides universal'), rows)}")
    return "\n".join(parts)


def _named_statuses(module: str) -> set[str]:
    """The constants of `dimse.status` that a module of `scp` names as status.X."""
    tree = ast.parse((SCP / f"{module}.py").read_text("utf-8"))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "status"
        and node.attr.isupper()
    } | ({"SUCCESS"} if module == "verification" else set())


def statuses() -> str:
    """Every status each service answers with."""
    by_service: dict[str, set[int]] = {}
    for service, modules in _SERVICES.items():
        found = {getattr(status, name) for module in modules for name in _named_statuses(module)}
        if service in _COLUMN:
            found |= {getattr(answer, _COLUMN[service]) for answer in TABLE.values()}
        by_service[service] = found
    names = {value: name for name, value in vars(status).items() if name.isupper() and isinstance(value, int)}
    rows = [
        (
            f"`{code:04X}`",
            status.category(code).value,
            names[code].lower().replace("_", " ").replace("sop ", "SOP ").replace("uid", "UID"),
            "; ".join(service for service, found in by_service.items() if code in found),
            "; ".join(
                sorted(
                    {
                        f"“{answer.comment}”"
                        for answer in TABLE.values()
                        if answer.comment and code in (answer.store, answer.find, answer.retrieve)
                    }
                )
            ),
        )
        for code in sorted(set().union(*by_service.values()))
    ]
    return table(("status", "kind", "meaning", "services", "error comment, if fixed"), rows)


def rejections() -> str:
    """Every A-ASSOCIATE-RJ we send (PS3.8 table 9-21)."""
    rows = (
        (REJECTION, "whoever is not admitted, for whatever reason: the reason stands in the trail only"),
        ((REFUSAL.result, REFUSAL.source, REFUSAL.reason), "the archive could not decide (for example a full disk)"),
        (
            (NO_ROOM.result, NO_ROOM.source, NO_ROOM.reason),
            "no room: the quota of the device or of the archive is full",
        ),
        (
            (NOTHING_SUPPORTED.result, NOTHING_SUPPORTED.source, NOTHING_SUPPORTED.reason),
            "admitted, but none of the proposed contexts is for this device",
        ),
    )
    merged: dict[tuple[int, ...], list[str]] = {}
    for numbers, when in rows:
        merged.setdefault(tuple(int(number) for number in numbers), []).append(when)
    return table(
        ("result", "source", "reason", "when"),
        ((*(str(number) for number in numbers), "; ".join(when)) for numbers, when in merged.items()),
    )


def suites() -> str:
    """The TLS 1.2 cipher suites, in our order."""
    names = [name for name in tls.CIPHERS.split(":") if not name.startswith("@")]
    return table(
        ("TLS 1.2 cipher suite (OpenSSL's name), in the order of preference",), ((f"`{name}`",) for name in names)
    )


def user_identities() -> str:
    """How each user identity type is treated (PS3.7 D.3.3.7)."""
    names = {
        1: "user name",
        2: "user name and passcode",
        3: "Kerberos service ticket",
        4: "SAML assertion",
        5: "JSON Web Token",
    }
    return table(
        ("type", "what", "on a TLS door", "on a plaintext door"),
        (
            (
                str(number),
                name,
                "read, neither needed nor believed: the certificate is the identity",
                "association rejected, the secret unread" if number in PASSCODE_TYPES else "as on a TLS door",
            )
            for number, name in names.items()
        ),
    )


def character_sets() -> str:
    """The character sets that are read (PS3.3 C.12.1.1.2)."""
    terms = [
        (f"`ISO_IR {number}`, `ISO 2022 IR {number}`", codec)
        for number, codec in charset._G1.items()
        if number not in (149, 58)
    ]
    terms += [(f"`ISO 2022 IR {number}`", codec) for number, codec in charset._G1.items() if number in (149, 58)]
    terms += [(f"`ISO 2022 IR {number}`", codec) for number, codec in charset._G0.items()]
    terms += [(f"`{term}`", codec) for term, codec in charset._STAND_ALONE.items()]
    return table(
        ("defined term", "code"),
        [("`ISO_IR 6`, `ISO 2022 IR 6`, none", "ascii"), *((term, codec.replace("_", "-")) for term, codec in terms)],
    )


def audit_events() -> str:
    """Events and event types of the trail, with their codes (PS3.15 A.5)."""
    rows = []
    for kind, what in ((codes.Event, "event"), (codes.EventType, "event type")):
        for one in kind:
            found = codes.code(one.value)
            rows.append((what, f"`{found.value}`", found.scheme, found.meaning))
    return table(("kind", "code", "scheme", "meaning"), rows)


def web_resources() -> str:
    """Every resource of the web services with its methods."""
    rows = (
        (
            f"`{route.method}`",
            f"`{route.template}`",
            route.summary,
            "whoever is let in" if route.action == ADMITTED else route.action,
            ", ".join(f"`{name}`" for name in route.parameters),
        )
        for route in web_table()
    )
    return table(("method", "resource", "what", "needs the action", "query parameters"), rows)


def web_media_types() -> str:
    """The media types of compressed frames (PS3.18 Table 8.7.3-5)."""
    rows = (
        (f"`{name}`", "; ".join(f"`{one}` {uid.name_of(one) or ''}".strip() for one in uids))
        for name, uids in COMPRESSED.items()
    )
    return table(("media type", "transfer syntaxes"), rows)


def web_statuses() -> str:
    """The statuses of the web services that stand for errors."""
    merged: dict[int, set[str]] = {}
    for answer in WEB_PROBLEMS.values():
        merged.setdefault(answer.status, set()).add(f"“{answer.detail}”")
    return table(("status", "detail"), ((str(code), "; ".join(sorted(merged[code]))) for code in sorted(merged)))


TABLES: dict[str, Callable[[], str]] = {
    "identification": identification,
    "services": services,
    "storage": storage,
    "transfer-syntaxes": transfer_syntaxes,
    "keys": keys,
    "statuses": statuses,
    "rejections": rejections,
    "cipher-suites": suites,
    "user-identities": user_identities,
    "character-sets": character_sets,
    "audit-events": audit_events,
    "web-resources": web_resources,
    "web-media-types": web_media_types,
    "web-statuses": web_statuses,
}


def render(text: str) -> str:
    """Return *text* with every table as the code has it now; raises when a marker is unknown or missing."""
    found = [match.group(2) for match in _BLOCK.finditer(text)]
    if sorted(found) != sorted(TABLES):
        raise ValueError(f"markers and tables differ: {sorted(set(found) ^ set(TABLES))}")
    return _BLOCK.sub(lambda match: f"{match.group(1)}\n{TABLES[match.group(2)]()}\n{match.group(3)}", text)


def main() -> None:
    """Rewrite the statement, or check it."""
    text = TARGET.read_text("utf-8")
    fresh = render(text)
    if "--check" in sys.argv:
        sys.exit(0 if fresh == text else f"{TARGET.name} is stale: run python tools/generate_conformance.py")
    TARGET.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
