"""DICOMweb as the fault tests need it: one connection, a token, the standard library's client, nothing of the archive's own code."""

from __future__ import annotations

import http.client
import json
import random
import ssl
from collections.abc import Iterable
from typing import Any

from faults.instances import Instance, begin

DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
SUCCESS = 200
ABSENT = (204, 404)
_SOP, _FAILED, _STORED, _REASON = "00081155", "00081198", "00081199", "00081197"


class Web:
    """One caller and its connection; anything that breaks it raises OSError or http.client.HTTPException."""

    def __init__(self, port: int, authority: str, token: str, *, seconds: float = 30) -> None:
        context = ssl.create_default_context(cafile=authority)
        self._connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=seconds)
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str, accept: str = "application/dicom+json") -> tuple[int, str, bytes]:
        """Status, content type and body of GET."""
        self._connection.request("GET", f"/dicom-web{path}", headers={**self._headers, "Accept": accept})
        answer = self._connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read()

    def store(self, instances: Iterable[Instance]) -> dict[str, int]:
        """STOW-RS in one request: SOP Instance UID -> 0 or the failure reason it was answered with."""
        boundary = f"strongroom{random.getrandbits(64):016x}"
        parts = [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + one.file + b"\r\n"
            for one in instances
        ]
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {**self._headers, "Content-Type": kind, "Accept": "application/dicom+json"}
        self._connection.request(
            "POST", "/dicom-web/studies", b"".join(parts) + f"--{boundary}--\r\n".encode(), headers
        )
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 202, 409):
            raise RuntimeError(f"STOW-RS was answered {answer.status}: {body[:200]!r}")
        return dict(_answers(json.loads(body)))

    def instances(self, study: str) -> set[str]:
        """The SOP Instance UIDs that QIDO-RS finds in *study*."""
        found: set[str] = set()
        while True:
            status, _, body = self.get(f"/studies/{study}/instances?limit=1000&offset={len(found)}")
            if status in ABSENT:
                return found
            assert status == SUCCESS, (status, body[:200])
            page = {one["00080018"]["Value"][0] for one in json.loads(body)}
            found |= page
            if len(page) < 1000:
                return found

    def retrieve(self, study: str, instance: Instance | None = None) -> dict[str, bytes]:
        """The data sets WADO-RS returns for *study* or one instance of it, by SOP Instance UID; nothing when it says 404."""
        path = f"/studies/{study}" + (f"/series/{instance.series}/instances/{instance.sop}" if instance else "")
        status, kind, body = self.get(path, DICOM)
        if status in ABSENT:
            return {}
        assert status == SUCCESS, (status, body[:200])
        boundary = kind.split("boundary=")[1].split(";")[0].strip('" ').encode()
        pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
        assert pieces[-1].startswith(b"--"), "an answer that was cut short"
        return dict(_data_set(piece.partition(b"\r\n\r\n")[2]) for piece in pieces[1:-1])

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _answers(found: dict[str, Any]) -> Iterable[tuple[str, int]]:
    for one in found.get(_STORED, {}).get("Value", ()):
        yield one[_SOP]["Value"][0], 0
    for one in found.get(_FAILED, {}).get("Value", ()):
        yield one[_SOP]["Value"][0], one[_REASON]["Value"][0]


def _data_set(file: bytes) -> tuple[str, bytes]:
    head = file[:1024]
    at = head.index(b"\x02\x00\x03\x00UI") + 8
    sop = head[at : at + int.from_bytes(head[at - 2 : at], "little")].rstrip(b"\0 ").decode()
    return sop, file[begin(file) :]
