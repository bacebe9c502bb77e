"""
Write the corpus again: `python tests/fuzz/seeds.py`. What a longer run found is kept beside it and never removed.

Each file is small and lawful, or unlawful in one way that was interesting once.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dicom_corpus import EXPLICIT, IMPLICIT, Leaf, encode, nest
from fuzz.engine import CORPUS
from fuzz.targets import KEY, SYNTAXES

VECTORS = Path(__file__).parent.parent / "vectors"
SMALL = 6_000


def element(tag: int, vr: str, value: bytes, *, uid: str = EXPLICIT) -> bytes:
    """One little endian element."""
    return encode((Leaf(tag, vr, value),), uid)


def data_sets() -> dict[str, tuple[int, bytes]]:
    """Name -> (number of the syntax, bytes): the small ones that pydicom ships, and some of our own."""
    from dicom.shipped import PATHS, body

    found: dict[str, tuple[int, bytes]] = {}
    for path in PATHS:
        try:
            data, syntax = body(path)
        except Exception:  # noqa: BLE001 -- some of them are broken on purpose
            continue
        if syntax in SYNTAXES and len(data) <= SMALL:
            found[path.stem] = (SYNTAXES.index(syntax), data)
    found = dict(sorted(found.items(), key=lambda item: len(item[1][1]))[:20])
    plain = element(0x00080018, "UI", b"1.2.3\0") + element(0x00100010, "PN", b"Doe^John")
    pixels = element(0x7FE00010, "OW", bytes(32))
    found["plain"] = (1, plain + pixels)
    found["implicit"] = (0, element(0x00080018, "UI", b"1.2.3\0", uid=IMPLICIT))
    found["nested"] = (1, nest(8, EXPLICIT, undefined=True))
    found["too-deep"] = (1, nest(70, EXPLICIT, undefined=True))
    found["encapsulated"] = (
        4,
        plain + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0"
        b"\xfe\xff\x00\xe0\x04\0\0\0\xff\xd8\xff\xd9" + b"\xfe\xff\xdd\xe0\0\0\0\0",
    )  # fmt: skip
    return found


def associations() -> dict[str, bytes]:
    """A whole conversation each."""
    from strongroom.dimse import messages
    from strongroom.upper_layer import Abort, ReleaseRequest
    from strongroom.upper_layer.pdu import encode, encode_data
    from wire import a_request

    request = encode(a_request())
    echo = messages.encode(messages.CEchoRequest(message_id=1, affected_sop_class_uid="1.2.840.10008.1.1"))
    store = messages.encode(
        messages.CStoreRequest(
            message_id=2,
            affected_sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            affected_sop_instance_uid="1.2.3",
        ),
        has_data_set=True,
    )

    def values(*parts: tuple[bytes, bool]) -> bytes:
        return b"".join(
            b"".join(encode_data(1, data, is_command=command, is_last=True, max_pdu_length=16_384))
            for data, command in parts
        )

    return {
        "request": request,
        "echo": request + values((echo, True)) + encode(ReleaseRequest()),
        "store": request + values((store, True), (element(0x00080018, "UI", b"1.2.3\0"), False)),
        "abort": request + encode(Abort(2, 1)),
        "too-long": b"\x01\x00\xff\xff\xff\xff" + bytes(64),
    }


def commands() -> dict[str, bytes]:
    """One of each of the messages that are sent most."""
    from strongroom.dimse import messages

    return {
        "echo": messages.encode(messages.CEchoRequest(message_id=1, affected_sop_class_uid="1.2.840.10008.1.1")),
        "cancel": messages.encode(messages.CCancelRequest(message_id_being_responded_to=3)),
        "find": messages.encode(
            messages.CFindRequest(message_id=4, affected_sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1", priority=0),
            has_data_set=True,
        ),
        "move": messages.encode(
            messages.CMoveRequest(
                message_id=5,
                affected_sop_class_uid="1.2.840.10008.5.1.4.1.2.2.2",
                priority=0,
                move_destination="WS1",
            ),
            has_data_set=True,
        ),
    }


def texts() -> dict[str, dict[str, bytes]]:
    """The targets whose inputs are text."""
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    return {
        "multipart": {
            "two": b"\x00" + body + b"abc\r\n" + body + b"\r\n--x\r\n--b--\r\n",
            "preamble": b"\x03hello\r\n" + body + b"\r\n--b--tail",
            "folded": b"\x01--b\r\nA: b\r\n c\r\n\r\n\r\n--b--",
            "unended": b"\x07" + body + b"abc",
        },
        "json": {
            "plain": b'{"00080018":{"vr":"UI","Value":["1.2.3"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^John"}]}}',
            "nested": b'{"00081140":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]}},{}]}}',
            "bulk": b'{"7FE00010":{"vr":"OW","InlineBinary":"AAAA"},"00420011":{"vr":"OB","BulkDataURI":"cid:1"}}',
            "numbers": b'{"00280010":{"vr":"US","Value":[512]},"00281052":{"vr":"DS","Value":["-1024",1e3]},"00080008":{"vr":"FD","Value":["NaN",1.5]}}',
            "twice": b'{"00080018":{"vr":"UI"},"00080018":{"vr":"UI"}}',
        },
        "xml": {
            "plain": b'<?xml version="1.0" encoding="utf-8"?><NativeDicomModel><DicomAttribute tag="00080018" vr="UI" keyword="SOPInstanceUID">'
            b'<Value number="1">1.2.3</Value></DicomAttribute></NativeDicomModel>',
            "person": b'<NativeDicomModel><DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>Doe</FamilyName>'
            b"</Alphabetic></PersonName></DicomAttribute></NativeDicomModel>",
            "items": b'<NativeDicomModel><DicomAttribute tag="00081140" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI"/></Item>'
            b"</DicomAttribute></NativeDicomModel>",
            "entity": b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
        },
        "qido": {
            "name": b"\x00PatientName=Doe*&StudyDate=20200101-20201231&includefield=all&limit=5&offset=1",
            "fuzzy": b"\x00PatientName=muller&fuzzymatching=true&ModalitiesInStudy=CT\\MR",
            "series": b"\x01StudyInstanceUID=1.1,1.2&Modality=C%3F&PerformedProcedureStepStartDate=-2020",
            "instances": b"\x8200080018=1.9.1&00081115.0020000E=1.2&includefield=00100010",
            "times": b"\x00StudyTime=10-1130&StudyDate=20200101&emptyvaluematching=true&AccessionNumber=%22%22",
            "injection": b"\x00PatientID='%20OR%201=1--&StudyDescription=%25_[a]*",
        },
        "text": {
            "latin": b"ISO_IR 100|M\xfcller^J\xf6rg",
            "japanese": b"\\ISO 2022 IR 87|Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=",
            "korean": b"\\ISO 2022 IR 149|Hong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce",
            "utf8": b"ISO_IR 192|\xe5\xb1\xb1\xe7\x94\xb0\\b",
            "gb18030": b"GB18030|Wang^\xcd\xf5=\x81\x30\x81\x30",
            "unknown": b"ISO_IR 999\\ISO 2022 IR 6|\x1b(Ja\x1b-Ab\xff",
        },
    }


def binaries() -> dict[str, dict[str, bytes]]:
    """The targets whose inputs are bytes of our own formats, or tables."""
    from fuzz.targets import _sealed
    from strongroom.dicom.part10 import encode_header
    from strongroom.ground.label import Label, seal_label
    from strongroom.ground.medium import MemoryMedium
    from strongroom.vault.blob import SealedRecord
    from strongroom.vault.pack import Vault

    medium = MemoryMedium()
    vault = Vault(medium, pack_bytes=1 << 16, randomness=bytes)
    vault.append([SealedRecord(bytes(range(16)), b"k" * 16, [b"s" * 100, b"t" * 50], b"label")])
    vault.flush()
    lease = vault.lease(b"l" * 16, b"k" * 16)
    lease.write([b"long" * 100])
    lease.finish(b"label of the long one")
    vault.flush()
    opened = {name: b"\x01" + medium.content(f"vault/{name}") for name in medium.listing("vault")}
    label = Label("1.2.3", "1.2", "1.4", "1.5", SYNTAXES[1], bytes(32), 10, 0.0, "CT1")
    header = encode_header(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2.3", transfer_syntax_uid=SYNTAXES[1]
    )
    frame_table = struct.pack("<4L", 0, 18, 36, 54)
    return {
        "pack": {"closed": b"\x00" + (VECTORS / "pack/00000001.pack").read_bytes()}
        | {name.replace(".", "-"): data.rstrip(b"\0") + bytes(600) for name, data in opened.items()},
        "trail": {
            "first": (VECTORS / "trail/main-00000001.chain").read_bytes(),
            "second": (VECTORS / "trail/main-00000002.chain").read_bytes(),
        },
        "seal": {
            "blob": _sealed(),
            "label": seal_label(label, KEY, bytes(16), bytes(range(16)), randomness=bytes),
        },
        "frames": {
            "none": bytes([2, 0, 3, 10, 10, 10]),
            "basic": bytes([2, 1, 3]) + frame_table,
            "extended": bytes([1, 2, 2]) + struct.pack("<2Q", 0, 18) + struct.pack("<2Q", 10, 10),
            "offsets-only": bytes([1, 3, 2]) + struct.pack("<2Q", 0, 18),
        },
        "part10": {
            "explicit": b"\x00" + header + element(0x00080018, "UI", b"1.2.3\0"),
            "pieces": b"\x05" + header + element(0x00080018, "UI", b"1.2.3\0"),
            "program": b"\x00MZ" + header[2:],
            "no-preamble": b"\x00" + header[128:],
            "bare": b"\x00" + element(0x00080018, "UI", b"1.2.3\0"),
        },
    }


def everything() -> dict[str, dict[str, bytes]]:
    """Target -> name -> bytes."""
    sets = data_sets()
    small = {name: entry for name, entry in sets.items() if len(entry[1]) < 2_000}
    questions = element(0x00080052, "CS", b"STUDY ") + element(0x00100010, "PN", b"Doe*")
    return {
        "association": {name: b"\x00" + data for name, data in associations().items()}
        | {f"{name}-pieces": b"\x07" + data for name, data in associations().items()},
        "command": commands(),
        "header": {name: bytes([syntax, 0]) + data for name, (syntax, data) in sets.items()},
        "stepping": {name: bytes([syntax, syntax ^ 1, 0]) + data for name, (syntax, data) in small.items()},
        "identifier": {
            "study": b"\x02" + questions,
            "patient": b"\x03" + element(0x00080052, "CS", b"PATIENT ") + element(0x00100010, "PN", b"Doe*"),
            "uids": b"\x02"
            + element(0x00080052, "CS", b"IMAGE ")
            + element(0x0020000D, "UI", b"1.1\0")
            + element(0x0020000E, "UI", b"1.1.1\0")
            + element(0x00080018, "UI", b"1.9.1\\1.9.2"),
            "implicit": b"\x00" + element(0x00080052, "UI", b"STUDY ", uid=IMPLICIT),
        },
        **texts(),
        **binaries(),
    }


def main() -> None:
    """Write every seed."""
    for target, inputs in everything().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in inputs.items():
            (folder / f"seed-{name.lower()}").write_bytes(data)


if __name__ == "__main__":
    main()
