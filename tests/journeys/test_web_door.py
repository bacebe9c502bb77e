"""The web door of a running archive, as an operator and a browser meet it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import harness
from transport.world import authority, server_identity

pytestmark = pytest.mark.xdist_group("web-door")


def fetch(
    archive: harness.Archive,
    path: str,
    *,
    trust: str | None = None,
    token: str = "",
    identity: harness.Bundle | None = None,
) -> tuple[int, bytes]:
    """Status and body of a GET."""
    context = ssl.create_default_context(cafile=trust or archive.authority)
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"https://localhost:{archive.web_port}{path}", headers=headers)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Archive]:
    """A running archive."""
    with harness.archive(tmp_path_factory.mktemp("web-door")) as running:
        yield running


def test_a_browser_gets_the_certificate_of_the_authority(archive: harness.Archive) -> None:
    """The page, the certificate it leads to, and the same fingerprint in both."""
    status, page = fetch(archive, "/")
    assert 200 == status
    status, pem = fetch(archive, "/ca.crt")
    assert (200, Path(archive.authority).read_bytes()) == (status, pem)

    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()
    shown = re.search(r"<pre>(.*)</pre>", page.decode(), re.DOTALL)
    assert shown is not None
    assert fingerprint == re.sub(r"[:\s]", "", shown[1]).lower()


def test_only_who_is_known_gets_further(archive: harness.Archive) -> None:
    """401 without a credential; a token or a device's certificate opens."""
    bundle = archive.enrol("VIEWER")
    assert 401 == fetch(archive, "/dicom-web/studies")[0]
    for answered in (
        fetch(archive, "/dicom-web/studies", token=archive.token("reader", "reader")),
        fetch(archive, "/dicom-web/studies", identity=bundle),
    ):
        assert answered[0] in {200, 204}


def test_the_door_is_in_the_table_with_what_a_stranger_gets(archive: harness.Archive) -> None:
    """`doors` and `status` show it, and the look at the start found it shut."""
    doors = archive.json("doors")
    assert isinstance(doors, dict)
    (web,) = (door for door in doors["doors"] if door["name"] == "web")

    assert (f"127.0.0.1:{archive.web_port}", "HTTPS", "open") == (web["address"], web["transport"], web["state"])
    assert "GET /dicom-web/studies without a token: refused" in web["stranger"]
    assert "in clear text: closed without a word" in web["stranger"]
    assert f"127.0.0.1:{archive.web_port}" in archive.command("status").stdout


def test_our_own_look_is_not_taken_for_an_attack(archive: harness.Archive) -> None:
    """It is recorded as what it is, and none of its knocks as a refusal."""
    archive.stop()
    archive.start()
    records = archive.json("trail", "show", "--last", "10")
    text = str(records)

    assert "our own look at the door from outside: GET /dicom-web/studies" in text.replace("\\n", " ")
    refused = archive.json("trail", "show", "--refused", "--last", "50")
    assert isinstance(refused, list)
    assert [] == [one for one in refused if "no-tls" in str(one) or "certificate-untrusted" in str(one)]


def test_a_revoked_device_is_cut_off(archive: harness.Archive) -> None:
    """Its open connection ends at once."""
    bundle = archive.enrol("GONE")
    context = ssl.create_default_context(cafile=archive.authority)
    context.load_cert_chain(bundle.certificate, bundle.key)
    with (
        socket.create_connection(("127.0.0.1", archive.web_port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nAccept: application/dicom+json\r\n\r\n")
        assert secure.recv(65_536).startswith(b"HTTP/1.1 20")
        archive.command("device", "revoke", "GONE")
        rest = b"-"
        with contextlib.suppress(OSError):
            while rest:
                rest = secure.recv(65_536)


def test_a_certificate_of_ones_own_is_shown(tmp_path: Path) -> None:
    """What clients trust already; the archive's own authority is not needed for it."""
    with harness.archive(tmp_path, start=False) as archive:
        (tmp_path / "own.pem").write_bytes(server_identity().certificate)
        key = archive.home / "keys" / "own.key"
        key.write_bytes(server_identity().key)
        key.chmod(0o600)
        _configure(archive, certificate=str(tmp_path / "own.pem"), key="keys/own.key")
        archive.start()
        trust = tmp_path / "trust.pem"
        trust.write_bytes(authority().pem)

        assert 200 == fetch(archive, "/", trust=str(trust))[0]
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(archive, "/")


def test_a_key_for_everybody_ends_serve(tmp_path: Path) -> None:
    """Exit status 6, and what to do."""
    with harness.archive(tmp_path, start=False) as archive:
        (archive.home / "own.pem").write_bytes(server_identity().certificate)
        (archive.home / "own.key").write_bytes(server_identity().key)
        (archive.home / "own.key").chmod(0o644)
        _configure(archive, certificate="own.pem", key="own.key")
        done = archive.command("serve", status=6)

        assert "chmod 600" in done.stdout + done.stderr


def test_a_taken_port_ends_serve(tmp_path: Path) -> None:
    """Exit status 6, the door and the address; the DICOM door does not stay open alone."""
    with harness.archive(tmp_path, start=False) as archive, socket.socket() as taken:
        taken.bind(("127.0.0.1", archive.web_port))
        taken.listen()
        done = archive.command("serve", status=6)

        said = " ".join((done.stdout + done.stderr).split())
        assert f"the door web cannot listen on 127.0.0.1:{archive.web_port}" in said
        assert "is another program there?" in said


def test_the_ready_line_names_the_door(tmp_path: Path) -> None:
    """A script learns the port from it."""
    with harness.archive(tmp_path, start=False) as archive:
        process = subprocess.Popen(
            [harness.STRONGROOM, "serve", "--home", str(archive.home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        process.terminate()
        assert 0 == process.wait(30)
        process.stdout.close()

        assert f"ready  dicom 127.0.0.1:{archive.port} (TLS)  web 127.0.0.1:{archive.web_port} (HTTPS)\n" == line


def _configure(archive: harness.Archive, **options: str) -> None:
    """Put *options* into the section [web]."""
    file = archive.home / "strongroom.toml"
    text = file.read_text("utf-8")
    for name, value in options.items():
        text = re.sub(rf'^{name} = ""', f'{name} = "{value}"', text, flags=re.MULTILINE)
    file.write_text(text, "utf-8")
