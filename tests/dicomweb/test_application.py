"""Who gets in, what a stranger learns, and what every answer carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.world import EVERYTHING, aio, deposited, returned
from dicomweb.place import Place, deposit_shipped, running
from strongroom.audit.codes import Event
from strongroom.dicomweb.application import create, protection
from strongroom.errors import ConfigurationError

PATHS = (
    "/studies",
    "/studies/1.2.3",
    "/studies/1.2.3/metadata",
    "/openapi.json",
    "/no/such/thing",
    "/wado?requestType=WADO",
)
PROTECTION = {
    "x-content-type-options": "nosniff",
    "strict-transport-security": "max-age=31536000",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-store",
    "vary": "Authorization, Accept",
}


def test_localhost_is_not_bound_to_tls_for_a_year() -> None:
    """A browser would refuse plain HTTP of every other program on the machine; a name of the archive's own is bound."""
    for host, bound in (("localhost", False), ("127.0.0.1", False), ("::1", False), ("pacs.example", True)):
        assert bound == (b"strict-transport-security" in dict(protection(host)))


@aio
async def test_a_stranger_learns_nothing(tmp_path: Path) -> None:
    """The same 401 for every path below the base, there or not, and each is noted."""
    async with running(tmp_path / "home") as place:
        answers = [await place.ask(path, token="") for path in PATHS]

        assert {401} == {answer.status_code for answer in answers}
        assert {"Bearer"} == {answer.headers["www-authenticate"] for answer in answers}
        assert 1 == len({(len(answer.content), tuple(sorted(answer.headers))) for answer in answers})
        assert [("web", "127.0.0.1", 40000, "no-credential")] * len(PATHS) == place.turned_away


@aio
async def test_tokens_that_are_none(tmp_path: Path) -> None:
    """Made up, revoked, of another kind, in the address: 401 alike; two of them: 400."""
    async with running(tmp_path / "home") as place:
        gone = await place.issue("gone", "reader")
        await place.world.archive.tokens(await place.world.host()).revoke("gone")
        for token in ("srt_" + "A" * 43, gone, "x", "a" * 5000):
            answer = await place.ask("/studies", token=token)
            assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])

        assert 401 == (await place.ask("/studies", token="", Authorization="Basic abc")).status_code
        assert 401 == (await place.ask(f"/studies?access_token={place.token}", token="")).status_code
        assert 400 == (await place.ask(f"/studies?access_token={place.token}")).status_code
        assert {"credential-unreadable", "token-in-url"} == {what[3] for what in place.turned_away}


@aio
async def test_a_certificate_of_an_enrolled_device_lets_in(tmp_path: Path) -> None:
    """Who shows the certificate of a device is that device, with its rights and no others."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        place.certificate = await place.world.enrol("VIEWER", "query,retrieve")
        assert 200 == (await place.ask(f"/studies/{kept.study}/metadata", token="")).status_code

        place.certificate = await place.world.enrol("CT9", "deposit")
        assert 404 == (await place.ask(f"/studies/{kept.study}/metadata", token="")).status_code

        place.certificate = b"no certificate"
        assert 401 == (await place.ask("/studies", token="")).status_code


@aio
async def test_absent_out_of_scope_and_not_granted_are_one_answer(tmp_path: Path) -> None:
    """Another scope, no role for it, nothing there: same status, length and fields at every level."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        elsewhere = await place.issue("elsewhere", "radiologist", scope="study:1.2.3.4")
        modality = await place.issue("modality", "modality")
        for tail in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010", "/rendered", "/thumbnail", "/pixeldata"):
            answers = [
                await place.ask(f"{kept.url}{tail}", token=elsewhere),
                await place.ask(f"{kept.url}{tail}", token=modality),
                await place.ask(f"/studies/1.9/series/1.8/instances/1.7{tail}", token=elsewhere),
                await place.ask(f"/studies/1.9/series/1.8/instances/1.7{tail}"),
            ]
            assert {404} == {answer.status_code for answer in answers}, tail
            assert 1 == len({(len(answer.content), tuple(sorted(answer.headers))) for answer in answers}), tail


@aio
async def test_what_is_not_granted_is_recorded(tmp_path: Path) -> None:
    """A modality that wants to read finds nothing, and the trail has it."""
    async with running(tmp_path / "home") as place:
        modality = await place.issue("modality", "modality")

        assert 404 == (await place.ask("/studies", token=modality)).status_code
        assert "action-not-granted" == place.world.trail()[-1].message.reason


@aio
async def test_every_answer_carries_protection(tmp_path: Path) -> None:
    """Success, refusal and error alike; none of them allows another origin anything."""
    async with running(tmp_path / "home") as place:
        for answer in (
            await place.ask("/studies", Origin="https://evil.example"),
            await place.ask("/studies", token=""),
            await place.ask("/nothing"),
            await place.ask("/studies", method="OPTIONS", Origin="null", Access_Control_Request_Method="GET"),
        ):
            assert {name: answer.headers.get(name) for name in PROTECTION} == PROTECTION
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert not [name for name in answer.headers if name.startswith("access-control")]


@aio
async def test_a_problem_names_the_request(tmp_path: Path) -> None:
    """The id in the body is that of the field, and another one each time."""
    async with running(tmp_path / "home") as place:
        first, second = await place.ask("/nothing"), await place.ask("/nothing")

        assert "application/problem+json" == first.headers["content-type"]
        assert f"urn:uuid:{first.headers['x-request-id']}" == first.json()["instance"]
        assert first.json()["instance"] != second.json()["instance"]


@aio
async def test_host_names(tmp_path: Path) -> None:
    """Only our names are answered for, with any port; links are made of the configuration (C42)."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        for host, status in (
            ("archive.example", 200),
            ("archive.example:8443", 200),
            ("LOCALHOST:1", 200),
            ("evil.example", 421),
            ("archive.example.evil", 421),
            ("[", 421),
        ):
            assert status == (await place.ask("/studies", Host=host)).status_code, host

        answer = await place.ask(f"{kept.url}/metadata", Host="localhost", X_Forwarded_Host="evil.example")
        assert "https://archive.example/dicom-web/studies/" in answer.text
        assert "evil" not in answer.text


@aio
async def test_methods(tmp_path: Path) -> None:
    """What a resource does not have is 405 with what it has; no field turns a GET into something else (W31)."""
    async with running(tmp_path / "home") as place:
        answer = await place.ask("/studies", method="DELETE")
        assert (405, "GET, HEAD, POST") == (answer.status_code, answer.headers["allow"])

        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        assert 200 == (await place.ask(kept.url, X_HTTP_Method_Override="DELETE")).status_code
        assert 200 == (await place.ask(kept.url)).status_code


@aio
async def test_head_has_the_fields_and_no_body(tmp_path: Path) -> None:
    """HEAD is GET without its body; nothing is read for it and nothing was transferred."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        whole = await place.ask(kept.url, "application/dicom")
        head = await place.ask(kept.url, "application/dicom", method="HEAD")

        assert (200, b"") == (head.status_code, head.content)
        assert whole.headers["content-length"] == head.headers["content-length"]
        assert "not-sent" == place.messages(Event.INSTANCES_TRANSFERRED)[-1].reason


@aio
async def test_queries_that_cannot_be_read(tmp_path: Path) -> None:
    """Broken escapes and too many parameters are 400."""
    async with running(tmp_path / "home") as place:
        assert 400 == (await place.ask("/studies?PatientName=%ff")).status_code
        assert 400 == (await place.ask("/studies?" + "&".join(f"a{n}=1" for n in range(600)))).status_code


@aio
async def test_no_place_left_is_503(tmp_path: Path) -> None:
    """The door says that a caller has too many connections."""
    async with running(tmp_path / "home") as place:
        door = place._door

        async def full(scope: object, receive: object, send: object) -> None:
            async def app(inner: dict[str, dict[str, object]], receive: object, send: object) -> None:
                inner["strongroom"]["admitted"] = lambda _name: False
                await original(inner, receive, send)

            original, place.app = place.app, app
            try:
                await door(scope, receive, send)
            finally:
                place.app = original

        place._door = full  # type: ignore[method-assign]
        answer = await place.ask("/studies")

        assert (503, "10") == (answer.status_code, answer.headers["retry-after"])


@aio
async def test_paths_outside_the_base_are_not_there(tmp_path: Path) -> None:
    """Nobody is asked for a token where there is nothing (W34)."""
    async with running(tmp_path / "home") as place:
        for path in ("/metrics", "/dicom-webx", "/", "/docs", "/.git/config"):
            assert 404 == await status_of(place, path.encode()), path
        for path in ("/dicom-web", "/dicom-web/", "/dicom-web/studies%2f1.2", "/dicom-web//studies"):
            assert 401 == await status_of(place, path.encode()), path


async def status_of(place: Place, raw_path: bytes) -> int:
    """The status of a GET without a credential of just that path."""
    seen: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])  # type: ignore[arg-type]

    scope = {
        "type": "http",
        "method": "GET",
        "path": raw_path.decode(),
        "raw_path": raw_path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    await place._door(scope, receive, send)
    return seen[0]


@aio
async def test_a_session_ends_with_its_request(tmp_path: Path) -> None:
    """What a handler kept of the session is worth nothing afterwards."""
    async with running(tmp_path / "home") as place:
        session = await place.world.device()
        await deposited(session)
        assert await returned(session, EVERYTHING)
        sessions = []
        admit = place.world.archive.gate.admit

        async def kept(credential: object) -> object:
            sessions.append(await admit(credential))  # type: ignore[arg-type]
            return sessions[-1]

        place.world.archive.gate.admit = kept  # type: ignore[method-assign, assignment]
        await place.ask("/studies")

        with pytest.raises(Exception, match="session-ended"):
            await sessions[0].retrieve(EVERYTHING)


def test_an_application_without_a_whole_table_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without an action would be open to everybody: start refuses."""
    from dataclasses import replace

    from strongroom.dicomweb import application, services
    from strongroom.dicomweb.call import Settings

    rows = services.table()
    monkeypatch.setattr(application, "table", lambda: (*rows[1:], replace(rows[0], action="")))

    with pytest.raises(ConfigurationError, match="names no action"):
        create(None, None, Settings("https://a/b", "X"), turned_away=None)  # type: ignore[arg-type]
