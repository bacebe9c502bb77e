"""
The demo over the web: a token, a search, a study as metadata, files, picture and ZIP archive; then what somebody
without the right token gets.

With Python's own HTTP client, so that nothing of ours stands on both sides (PS3.18).
"""

from __future__ import annotations

import http.client
import io
import ssl
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from strongroom.cli.demonstration.stranger import Attempt, look_up

if TYPE_CHECKING:
    from strongroom.cli.demonstration.files import Sample, Shelf
    from strongroom.cli.demonstration.outcome import Outcome
    from strongroom.cli.demonstration.show import Show
    from strongroom.cli.demonstration.site import Site

ROOT: Final = "/dicom-web"
JSON: Final = "application/dicom+json"
FILES: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_JPEG: Final = b"\xff\xd8\xff"
_SECONDS: Final = 30.0


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, how long it took, and from which address and port it was asked for."""

    status: int
    body: bytes
    seconds: float
    source: str


@final
class Web:
    """The web door of one site."""

    def __init__(self, site: Site, show: Show, outcome: Outcome) -> None:
        self._site = site
        self._show = show
        self._outcome = outcome
        self._tls = ssl.create_default_context(cafile=str(site.home / "keys" / "ca.crt"))

    def visit(self, shelf: Shelf) -> None:
        """Show what a web client does; the study with the most files is the one that is fetched."""
        show = self._show
        show.step("The same over HTTPS: DICOMweb, with a token")
        token = self._token("VIEWER1", "radiologist")
        samples = max(_studies(shelf).values(), key=len)
        study = f"/studies/{samples[0].study_instance_uid}"
        image = next((one for one in shelf.originals if one.modality == "MR"), shelf.originals[0])
        asked: list[tuple[str, str, str, Callable[[bytes], str | None]]] = [
            ("search, a name as it sounds", "/studies?PatientName=archibold&fuzzymatching=true", JSON, _some),
            ("metadata of a study", f"{study}/metadata", JSON, lambda body: _objects(body, len(samples))),
            ("its files", study, FILES, lambda body: _same(body, samples)),
            ("its files, with a DICOMDIR", study, "application/zip", lambda body: _archive(body, len(samples))),
            ("a picture of a study", f"/studies/{image.study_instance_uid}/thumbnail", "image/jpeg", _drawn),
        ]
        rows = []
        for what, path, accept, judge in asked:
            with show.busy(what):
                answer = self.ask(path, token=token, accept=accept)
            found = judge(answer.body) if answer.status == 200 else None
            if found is None:
                self._outcome.must_not(f"over HTTPS: {what}: status {answer.status}, not what it has to be")
            rows.append((what, found or f"NOT as it has to be ({answer.status})", f"{answer.seconds * 1000:,.0f} ms"))
        show.table(("asked for", "answered", "took"), rows, right=(2,))
        self._outcome.figures["web"] = {"answered": [{"what": row[0], "found": row[1]} for row in rows]}

    def strangers(self) -> list[Attempt]:
        """What somebody without the right token tries."""
        modality = self._token("CTGATE", "modality")
        tries = [
            ("search over HTTPS without a token", "no-credential", "", {}),
            ("a made-up token", "token-unknown", "srt_" + "A" * 43, {}),
            ("a token in the address", "token-in-url", "", {"access_token": "srt_" + "A" * 43}),
            ("search with a token that may only store", "action-not-granted", modality, {}),
        ]
        attempts = []
        for tried, code, token, query in tries:
            attempt = Attempt(tried, code)
            path = "/studies" + "".join(f"?{name}={value}" for name, value in query.items())
            answer = self.ask(path, token=token)
            attempt.got, attempt.let_in = f"HTTP {answer.status}, no reason given", answer.status < 400
            if token == modality:
                attempt.actor = "service:CTGATE"
            else:
                attempt.source = answer.source
            attempts.append(attempt)
        look_up(self._site, attempts)
        return attempts

    def ask(self, path: str, *, token: str = "", accept: str = JSON) -> Answer:
        """GET, on a connection of its own."""
        connection = http.client.HTTPSConnection("localhost", self._site.web_port, timeout=_SECONDS, context=self._tls)
        headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
        began = time.perf_counter()
        try:
            connection.request("GET", ROOT + path, headers=headers)
            assert connection.sock is not None
            address, port = connection.sock.getsockname()[:2]
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return Answer(answer.status, body, time.perf_counter() - began, f"{address}:{port}")

    def _token(self, name: str, role: str) -> str:
        self._show.command(f"strongroom token add {name} --role {role} --for 1d")
        with self._show.busy(f"making a token for {name}"):
            made = self._site.run("token", "add", name, "--role", role, "--for", "1d")
        return str(made["token"])


def _studies(shelf: Shelf) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in shelf.originals:
        found.setdefault(sample.study_instance_uid, []).append(sample)
    return found


def _decoded(body: bytes) -> list[Any]:
    found = msgspec.json.decode(body or b"[]")
    return found if isinstance(found, list) else []


def _some(body: bytes) -> str | None:
    found = len(_decoded(body))
    return f"{found} studies" if found else None


def _objects(body: bytes, expected: int) -> str | None:
    found = len(_decoded(body))
    return f"{found} instances, {len(body) / 1024:,.0f} KiB of JSON" if found == expected else None


def _same(body: bytes, samples: list[Sample]) -> str | None:
    """Whether every data set that was sent stands in the answer, bit for bit."""
    held = sum(sample.data in body for sample in samples)
    return f"{held} of {len(samples)} identical" if held == len(samples) else None


def _archive(body: bytes, expected: int) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = archive.namelist()
            whole = archive.testzip() is None
    except zipfile.BadZipFile:
        return None
    files = len([name for name in names if not name.endswith("DICOMDIR")])
    return f"a ZIP archive of {files} files and DICOMDIR" if whole and files == expected < len(names) else None


def _drawn(body: bytes) -> str | None:
    return f"JPEG, {len(body) / 1024:,.1f} KiB" if body.startswith(_JPEG) else None
