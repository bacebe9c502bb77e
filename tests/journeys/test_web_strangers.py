"""
A stranger's tour over HTTPS: everything somebody without a key, or with the wrong one, can try on the web door.

Absent, out of scope and not granted look alike (SECURITY C17); every refusal stands in the trail; nothing is told (W13-W35).
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests

from interop import corpus, harness

pytestmark = pytest.mark.xdist_group("web-strangers")

JSON = {"Accept": "application/dicom+json"}
TOLD = ("strongroom", "uvicorn", "starlette", "python", "Traceback")
"""Words that must not stand in what a stranger gets."""


@dataclass
class Place:
    """A running archive with one study inside."""

    archive: harness.Archive
    study: str
    series: str
    instance: str
    token: str

    def get(self, path: str, *, token: str | None = None, **headers: str) -> requests.Response:
        """GET below /dicom-web, with *token* or without any."""
        return self.send("GET", path, token=token, **headers)

    def send(
        self, method: str, path: str, *, token: str | None = None, data: bytes = b"", **headers: str
    ) -> requests.Response:
        """Any request below /dicom-web."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        with requests.Session() as session:
            session.trust_env = False
            request = session.prepare_request(
                requests.Request(method, self.archive.web + path, headers={**JSON, **headers}, data=data)
            )
            request.url = self.archive.web + path  # as it stands: no path is made shorter on the way
            return session.send(request, verify=self.archive.authority, timeout=30, allow_redirects=False)

    def refused(self) -> list[dict[str, str]]:
        """The refusals that the trail shows, the last 200."""
        records = self.archive.json("trail", "show", "--refused", "--last", "200")
        assert isinstance(records, list)
        return records


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An archive with a study in it and a token that may see it."""
    sample = corpus.described(corpus.shipped("CT_small.dcm"))
    assert sample is not None
    with harness.archive(tmp_path_factory.mktemp("strangers")) as archive:
        archive.command("import", str(sample.path))
        token = archive.token("doctor", "radiologist")
        yield Place(archive, sample.study_instance_uid, sample.series_instance_uid, sample.sop_instance_uid, token)


def _eventually(check: Callable[[], object], seconds: float = 20) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.2)
    return check()


def _tells_nothing(answer: requests.Response) -> bool:
    text = (answer.text + json.dumps(dict(answer.headers))).lower()
    return not any(word.lower() in text for word in TOLD)


RESOURCES = (
    "/studies",
    "/series",
    "/instances",
    "/studies/{study}",
    "/studies/{study}/metadata",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
    "/studies/{study}/series/{series}/instances/{instance}/frames/1",
    "/studies/{study}/series/{series}/instances/{instance}/rendered",
    "/studies/{study}/thumbnail",
    "/openapi.json",
    "/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}",
)


def test_the_control_gets_in(place: Place) -> None:
    """With its token the study is found."""
    answer = place.get(f"/studies?StudyInstanceUID={place.study}", token=place.token)

    assert 200 == answer.status_code
    assert [place.study] == answer.json()[0]["0020000D"]["Value"]


@pytest.mark.parametrize("resource", RESOURCES)
def test_without_a_token_nothing_is_there(place: Place, resource: str) -> None:
    """401 with the challenge, whether the thing exists or not, and the same bytes for both."""
    path = resource.format(study=place.study, series=place.series, instance=place.instance)
    absent = resource.format(study="1.2.3.9", series="1.2.3.8", instance="1.2.3.7")
    answer, other = place.get(path), place.get(absent)

    assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"].split(" ")[0])
    assert 401 == other.status_code
    assert len(answer.content) == len(other.content)
    assert _tells_nothing(answer)


def test_wrong_expired_and_revoked_tokens_are_refused_alike(place: Place) -> None:
    """A made-up token, one that has expired and one that was revoked get the same 401, and each is recorded."""
    short = place.archive.token("short", "radiologist", lasts="1m")
    gone = place.archive.token("gone", "radiologist")
    assert 200 == place.get("/studies", token=gone).status_code
    place.archive.command("token", "revoke", "gone")
    wrong = place.token[:-4] + ("AAAA" if not place.token.endswith("AAAA") else "BBBB")

    answers = [place.get("/studies", token=token) for token in (wrong, gone, "nonsense", "srt_", "a" * 5000)]

    assert {401} == {answer.status_code for answer in answers}
    assert all(_tells_nothing(answer) for answer in answers)
    assert short  # its end is tested where the clock can be set (tests/access)
    assert _eventually(lambda: len(place.refused()) >= 2)


def test_a_token_in_the_url_is_no_token(place: Place) -> None:
    """A token belongs into the Authorization header; elsewhere it is not even looked at (W25)."""
    answers = [
        place.get(f"/studies?{name}={place.token}")
        for name in ("access_token", "token", "authorization", "Authorization")
    ]

    assert {401} == {answer.status_code for answer in answers}
    assert place.token not in place.archive.log.read_text()


def test_two_authorization_headers_are_refused(place: Place) -> None:
    """Which one counts must not be a matter of who parses (W25)."""
    request = (
        f"GET /dicom-web/studies HTTP/1.1\r\nHost: localhost:{place.archive.web_port}\r\n"
        f"Authorization: Bearer {place.token}\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n"
    )

    assert _status(_raw(place, request.encode())) in (400, 401)


def test_out_of_scope_looks_like_absent(place: Place) -> None:
    """Another scope: the same status, body length and headers as for a study that does not exist, at every level."""
    elsewhere = place.archive.token("elsewhere", "radiologist", scope="study:1.2.3.4")
    for resource in RESOURCES[3:10]:
        there = resource.format(study=place.study, series=place.series, instance=place.instance)
        absent = resource.format(study="1.2.3.9", series="1.2.3.8", instance="1.2.3.7")
        one, other = place.get(there, token=elsewhere), place.get(absent, token=elsewhere)

        assert one.status_code == other.status_code in (404, 406), resource
        assert len(one.content) == len(other.content)
        assert set(one.headers) == set(other.headers)
    found = place.get("/studies", token=elsewhere)
    assert 204 == found.status_code or [] == found.json()


def test_a_role_that_may_not_looks_like_absent(place: Place) -> None:
    """A modality's token may store and nothing else: searching and reading are 404, and recorded."""
    modality = place.archive.token("modality", "modality")
    before = len(place.refused())

    assert 404 == place.get("/studies", token=modality).status_code
    assert 404 == place.get(f"/studies/{place.study}/metadata", token=modality).status_code
    assert _eventually(lambda: len(place.refused()) >= before + 2)


def test_a_reader_stores_nothing(place: Place) -> None:
    """A radiologist's token has no deposit: the body is not even read to its end."""
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\nx\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'

    answer = place.send("POST", "/studies", token=place.token, data=body, **{"Content-Type": kind})

    assert 404 == answer.status_code
    assert 1 == place.archive.json("status")["instances"]  # type: ignore[call-overload,index]


@pytest.mark.parametrize(
    "path",
    [
        "/../dicom-web/studies",
        "/%2e%2e/dicom-web/studies",
        "//studies",
        "/studies/../studies",
        "/studies%2f1.2.3",
        "/studies/..%2f..%2fetc%2fpasswd",
        "/studies/%00",
        "/studies;a=b",
        "/STUDIES",
    ],
)
def test_path_tricks_lead_nowhere(place: Place, path: str) -> None:
    """A path is one of the table's or nothing: 400 or 404 with a token, 401 or 404 without."""
    assert place.get(path, token=place.token).status_code in (400, 404)
    assert place.get(path).status_code in (400, 401, 404)


@pytest.mark.parametrize(
    "path", ["/metrics", "/docs", "/openapi.json", "/debug", "/.git/config", "/server-status", "/redoc"]
)
def test_nothing_stands_beside_the_table(place: Place, path: str) -> None:
    """Outside /dicom-web only the front page and the CA certificate answer (W34)."""
    url = f"https://localhost:{place.archive.web_port}{path}"
    answer = requests.get(url, verify=place.archive.authority, timeout=30)

    assert answer.status_code in (401, 404)
    assert _tells_nothing(answer)


@pytest.mark.parametrize("origin", ["null", "https://evil.example"])
def test_no_other_site_reads_anything(place: Place, origin: str) -> None:
    """No CORS header, not even for a preflight (W35)."""
    plain = place.get("/studies", token=place.token, Origin=origin)
    preflight = place.send("OPTIONS", "/studies", Origin=origin, **{"Access-Control-Request-Method": "GET"})

    assert not [
        name for answer in (plain, preflight) for name in answer.headers if name.lower().startswith("access-control")
    ]


def test_methods_are_not_overridden(place: Place) -> None:
    """A header never turns a GET into a DELETE (W31)."""
    answer = place.get(f"/studies/{place.study}/metadata", token=place.token, **{"X-HTTP-Method-Override": "DELETE"})

    assert 200 == answer.status_code
    assert 200 == place.get(f"/studies/{place.study}/metadata", token=place.token).status_code


def test_another_host_name_is_refused(place: Place) -> None:
    """Links are made from the configuration; a Host we do not know is 421 or 400 (C42)."""
    request = f"GET /dicom-web/studies HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {place.token}\r\nConnection: close\r\n\r\n"

    assert _status(_raw(place, request.encode())) in (400, 421)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
        b"GET /dicom-web/studies HTTP/1.1\nHost: localhost\n\n",
        b"GET /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"\x16\x03\x01 nonsense\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_and_closed(place: Place, request_bytes: bytes) -> None:
    """Smuggling and oversized headers: an error and the end of the connection (T26, C34)."""
    answer = _raw(place, request_bytes)

    assert answer == b"" or 400 <= _status(answer) < 500


def test_plain_text_on_the_web_door_gets_nothing(place: Place) -> None:
    """No TLS, no answer with a word of the archive in it."""
    with socket.create_connection(("127.0.0.1", place.archive.web_port), timeout=20) as plain:
        plain.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"dicom" not in plain.recv(4096)


def test_no_query_and_no_token_stands_in_the_log(place: Place) -> None:
    """What people search for never reaches the operational log (C24)."""
    place.get("/studies?PatientName=CanaryNameForTheLog", token=place.token)

    log = place.archive.log.read_text()
    assert "CanaryNameForTheLog" not in log
    assert place.token not in log


def test_after_the_tour_the_control_still_gets_in(place: Place) -> None:
    """All that cost nobody else anything; and the trail is whole."""
    began = time.monotonic()

    assert 200 == place.get("/studies", token=place.token).status_code
    assert 5 > time.monotonic() - began
    place.archive.command("trail", "verify")


def _raw(place: Place, request: bytes) -> bytes:
    """What comes back for *request* as it stands, up to the end of the connection or 5 seconds."""
    context = ssl.create_default_context(cafile=place.archive.authority)
    with (
        socket.create_connection(("127.0.0.1", place.archive.web_port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.settimeout(15)
        secure.sendall(request)
        found = b""
        with contextlib.suppress(OSError):
            while len(found) < 65536 and (more := secure.recv(65536)):
                found += more
        return found


def _status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer[9:12])
