"""The page for everybody, and the operator's own certificate: without a server."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest

from strongroom.app import config
from strongroom.app.web import FrontPage, read_identity
from strongroom.errors import ConfigurationError
from strongroom.transport.tls import web_context
from transport.world import authority, server_identity

FINGERPRINT = "ab" * 16 + "cd" * 16


def ask(front: FrontPage, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """The answer of *front*."""
    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(front({"type": "http", "method": method, "path": path, "headers": []}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def test_the_first_page_offers_the_certificate_of_the_authority() -> None:
    """With its fingerprint as a certificate viewer shows it; no version, no name of a product."""
    status, headers, body = ask(FrontPage(b"PEM", FINGERPRINT), "/")

    assert (200, "text/html; charset=utf-8") == (status, headers["content-type"])
    assert b'href="/ca.crt"' in body
    assert b":".join([b"AB"] * 16) + b"\n" + b":".join([b"CD"] * 16) in body
    assert b"strongroom" not in body.lower()
    assert "default-src 'none'; frame-ancestors 'none'" == headers["content-security-policy"]


def test_the_certificate_can_be_loaded() -> None:
    """As browsers expect one."""
    status, headers, body = ask(FrontPage(b"PEM", FINGERPRINT), "/ca.crt")

    assert (200, b"PEM", "application/x-x509-ca-cert") == (status, body, headers["content-type"])
    assert 'attachment; filename="ca.crt"' == headers["content-disposition"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_page_can_only_be_read(method: str) -> None:
    """Nothing can be sent to it."""
    status, headers, _ = ask(FrontPage(b"PEM", FINGERPRINT), "/", method)

    assert (405, "GET, HEAD") == (status, headers["allow"])


@pytest.mark.parametrize("path", ["//", "/ca.crt/", "/CA.CRT", "/dicom-web", "/index.html", "/../ca.crt"])
def test_everything_else_is_passed_on(path: str) -> None:
    """Only the two are for everybody; before anything stands behind, nothing is answered."""
    front = FrontPage(b"PEM", FINGERPRINT)
    assert 503 == ask(front, path)[0]
    passed: list[str] = []

    async def behind(scope, _receive, send) -> None:
        passed.append(scope["path"])
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body"})

    front.behind = behind
    assert 401 == ask(front, path)[0]
    assert [path] == passed


def _write(folder: Path, mode: int) -> tuple[Path, Path]:
    certificate, key = folder / "own.pem", folder / "own.key"
    certificate.write_bytes(server_identity().certificate)
    key.write_bytes(server_identity().key)
    key.chmod(mode)
    return certificate, key


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_certificate_of_ones_own_is_read(tmp_path: Path, mode: int) -> None:
    """The owner, and a group that may read it."""
    identity = read_identity(*_write(tmp_path, mode))

    assert server_identity() == identity
    web_context(identity, authority().pem)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660, 0o777])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that mends it."""
    with pytest.raises(ConfigurationError, match=r"can be read by others.*chmod 600"):
        read_identity(*_write(tmp_path, mode))


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the option that names it."""
    certificate, key = _write(tmp_path, 0o600)
    with pytest.raises(ConfigurationError, match=r"web\.certificate: .*cannot be read"):
        read_identity(tmp_path / "none.pem", key)
    key.unlink()
    with pytest.raises(ConfigurationError, match=r"web\.key: .*cannot be read"):
        read_identity(certificate, key)


def test_an_encrypted_or_foreign_key_is_refused(tmp_path: Path) -> None:
    """Nobody is asked for a passphrase on a terminal."""
    certificate, key = _write(tmp_path, 0o600)
    key.write_bytes(b"-----BEGIN ENCRYPTED " + b"PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED " + b"PRIVATE KEY-----\n")
    with pytest.raises(ConfigurationError, match="cannot be read, or do not belong together"):
        web_context(read_identity(certificate, key), authority().pem)


# ----------------------------------------------------------------------------------------------------------- configuration
def parsed(**web: object) -> config.Web:
    """The [web] section with *web* in it."""
    return config.parse({"web": web}).web


@pytest.mark.parametrize(
    ("web", "url"),
    [
        ({}, "https://localhost:9/dicom-web"),
        ({"names": ["pacs.example.org", "other"]}, "https://pacs.example.org:9/dicom-web"),
        ({"names": ["::1"]}, "https://[::1]:9/dicom-web"),
        ({"base-url": "https://pacs.example.org/dicom-web"}, "https://pacs.example.org/dicom-web"),
        ({"base-url": "https://pacs.example.org:444/dicom-web"}, "https://pacs.example.org:444/dicom-web"),
    ],
)
def test_the_address_in_links_is_configured(web: dict[str, object], url: str) -> None:
    """The first name and the port, or what callers use behind a proxy."""
    assert url == config.web_base_url(parsed(**web), 9)


@pytest.mark.parametrize(
    "url",
    [
        "http://pacs.example.org/dicom-web",
        "https://pacs.example.org",
        "https://pacs.example.org/dicom-web/",
        "https://pacs.example.org/dicom-web?a=b",
        "https://pacs.example.org/dicom-web#a",
        "https://user:word@pacs.example.org/dicom-web",
        "https:///dicom-web",
        "https://pacs.example.org:port/dicom-web",
        "pacs.example.org",
    ],
)
def test_an_address_that_would_not_work_is_refused(url: str) -> None:
    """At the start, not in a viewer."""
    with pytest.raises(ConfigurationError, match=r"web\.base-url must be https://HOST/dicom-web"):
        parsed(**{"base-url": url})


def test_a_certificate_needs_its_key() -> None:
    """And the other way round."""
    for web in ({"certificate": "a.pem"}, {"key": "a.key"}):
        with pytest.raises(ConfigurationError, match="belong together"):
            parsed(**web)


def test_the_web_door_needs_a_name() -> None:
    """Else nobody could call it."""
    with pytest.raises(ConfigurationError, match=r"web\.names"):
        parsed(names=[])


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "192.0.2.1:8443", "[::]:8443", "pacs.example.org:8443"])
def test_the_web_door_listens_on_loopback_only(listen: str) -> None:
    """Until people can sign in."""
    with pytest.raises(ConfigurationError, match="loopback only"):
        parsed(listen=listen)


def test_a_configuration_of_before_still_holds() -> None:
    """A home of 0.1 has `listen` alone in this section."""
    web = config.parse(tomllib.loads('[web]\nlisten = "127.0.0.1:8443"\n')).web

    assert config.Web() == web
