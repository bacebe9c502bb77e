"""
A stranger's tour: everything somebody without a key can try on the doors, and what they get for it.

Each refusal is the right one (TLS alert or A-ASSOCIATE-RJ), tells nothing, and stands in the trail (SECURITY T01-T14, C08-C13).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clients import require
from interop import harness
from journeys.test_memory import association_request

pytestmark = pytest.mark.xdist_group("strangers")

REJECTED = 3
ACCEPTED = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[harness.Archive, harness.Bundle]]:
    """An archive and one enrolled modality."""
    with harness.archive(tmp_path_factory.mktemp("strangers")) as archive:
        yield archive, archive.enrol("CT1", "deposit")


def _context(authority: str, certificate: str | None = None, key: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def _associate(archive: harness.Archive, context: ssl.SSLContext, calling: str, called: str = "STRONGROOM") -> bytes:
    """The first PDU that comes back; raises ssl.SSLError or ConnectionError when TLS refuses."""
    with (
        socket.create_connection(("127.0.0.1", archive.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(association_request(calling, called))
        return secure.recv(4096)


def _refused_since(archive: harness.Archive, began: datetime) -> list[dict[str, str]]:
    records = archive.json("trail", "show", "--refused", "--last", "50")
    assert isinstance(records, list)
    return [record for record in records if datetime.fromisoformat(record["time"]) >= began - timedelta(seconds=1)]


def _issue(archive: harness.Archive, folder: Path, *, days_ago: int) -> tuple[str, str]:
    """A certificate of the archive's own authority for CT1, made *days_ago* for one day: expired, though genuine."""
    import os

    from strongroom.access.authority import Authority
    from strongroom.ground.master import MasterKey

    keys = archive.home / "keys"
    secret = MasterKey.load(keys / "master.key").derive("certificate authority")
    authority = Authority.load(
        keys, secret, clock=lambda: datetime.now(UTC) - timedelta(days=days_ago), entropy=os.urandom
    )
    bundle = authority.issue_device("CT1", "CT1", days=1)
    key, certificate = folder / "old.key", folder / "old.crt"
    key.write_bytes(bundle.key)
    certificate.write_bytes(bundle.certificate)
    return str(certificate), str(key)


def _self_signed(folder: Path) -> tuple[str, str]:
    key, certificate = folder / "own.key", folder / "own.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out",
         str(certificate), "-subj", "/CN=CT1", "-days", "2"],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(certificate), str(key)


def test_the_enrolled_modality_is_let_in(place: tuple[harness.Archive, harness.Bundle]) -> None:
    """The control: with its own certificate and AE title CT1 gets A-ASSOCIATE-AC."""
    archive, device = place

    assert ACCEPTED == _associate(archive, _context(device.authority, device.certificate, device.key), "CT1")[0]


@pytest.mark.parametrize("kind", ["no certificate", "foreign certificate", "expired certificate"])
def test_without_a_good_certificate_tls_refuses(
    place: tuple[harness.Archive, harness.Bundle], tmp_path: Path, kind: str
) -> None:
    """No certificate, one of another authority, and an expired one of ours end in a TLS alert, and stand in the trail."""
    archive, device = place
    began = datetime.now(UTC)
    pair: tuple[str, str] | tuple[()] = ()
    if kind == "foreign certificate":
        pair = _self_signed(tmp_path)
    elif kind == "expired certificate":
        pair = _issue(archive, tmp_path, days_ago=30)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        _associate(archive, _context(device.authority, *pair), "CT1")

    assert _eventually(lambda: _refused_since(archive, began))


def test_a_genuine_certificate_that_nobody_enrolled_is_rejected(
    place: tuple[harness.Archive, harness.Bundle], tmp_path: Path
) -> None:
    """Signed by our authority but not in the register: A-ASSOCIATE-RJ, the same as for every other reason."""
    archive, device = place
    pair = _issue(archive, tmp_path, days_ago=0)

    answer = _associate(archive, _context(device.authority, *pair), "CT1")

    assert REJECTED == answer[0]


def test_every_rejection_is_the_same(place: tuple[harness.Archive, harness.Bundle]) -> None:
    """A stolen AE title, a wrong called AE title and a device outside its network get one and the same A-ASSOCIATE-RJ."""
    archive, device = place
    other = archive.enrol("MR7", "deposit")
    outside = archive.enrol("FAR1", "deposit", network="10.99.0.0/16")
    began = datetime.now(UTC)
    answers = {
        _associate(archive, _context(device.authority, device.certificate, device.key), "MR7"),
        _associate(archive, _context(device.authority, other.certificate, other.key), "CT1"),
        _associate(archive, _context(device.authority, device.certificate, device.key), "CT1", "ELSEWHERE"),
        _associate(archive, _context(device.authority, outside.certificate, outside.key), "FAR1"),
        _associate(archive, _context(device.authority, device.certificate, device.key), "NOBODY"),
    }

    assert 1 == len(answers)
    assert REJECTED == answers.pop()[0]
    assert 5 <= len(_refused_since(archive, began))


def test_a_revoked_device_is_cut_off_at_once(place: tuple[harness.Archive, harness.Bundle]) -> None:
    """Revoking ends an open association and rejects the next one."""
    archive, device = place
    gone = archive.enrol("GONE1", "deposit")
    context = _context(device.authority, gone.certificate, gone.key)
    with (
        socket.create_connection(("127.0.0.1", archive.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(association_request("GONE1"))
        assert ACCEPTED == secure.recv(4096)[0]
        archive.command("device", "revoke", "GONE1")
        secure.settimeout(5)
        rest = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            rest = secure.recv(64)

        assert rest[:1] in (b"\x07", b"")  # A-ABORT, or closed

    assert REJECTED == _associate(archive, context, "GONE1")[0]


def test_plaintext_on_the_tls_door_gets_no_dicom_answer(place: tuple[harness.Archive, harness.Bundle]) -> None:
    """An A-ASSOCIATE-RQ in clear text is answered by a TLS alert or nothing, never by a DICOM PDU; it is recorded."""
    archive, _ = place
    began = datetime.now(UTC)
    with socket.create_connection(("127.0.0.1", archive.port), timeout=20) as plain:
        plain.sendall(association_request("CT1"))
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = plain.recv(4096)

    assert answer[:1] in (b"", b"\x15")  # closed, or a TLS alert record
    assert _eventually(lambda: _refused_since(archive, began))


def test_old_tls_is_refused(place: tuple[harness.Archive, harness.Bundle]) -> None:
    """TLS 1.1 and suites without forward secrecy or authenticated encryption are refused by a handshake alert (T04, B.12)."""
    archive, device = place
    tries = (
        ["-tls1_1"],
        ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
    )
    for options in tries:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{archive.port}", "-cert", device.certificate, "-key", device.key, *options],
            input=b"", capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        assert done.returncode != 0, options


def test_silent_clients_cost_nobody_anything(place: tuple[harness.Archive, harness.Bundle]) -> None:
    """Twenty connections that say nothing, and one that announces a 4 GiB PDU: the modality is answered within a second meanwhile."""
    archive, device = place
    context = _context(device.authority, device.certificate, device.key)
    with contextlib.ExitStack() as silent:
        for _ in range(20):
            with contextlib.suppress(OSError):
                silent.enter_context(socket.create_connection(("127.0.0.1", archive.port), timeout=5))
        plain = silent.enter_context(socket.create_connection(("127.0.0.1", archive.port), timeout=5))
        with contextlib.suppress(OSError):
            greedy = silent.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            greedy.sendall(struct.pack(">BxI", 1, 0xFFFFFFFF) + bytes(4096))
            assert greedy.recv(64)[:1] in (b"\x07", b"")
        began = time.monotonic()
        # the enrolled device comes from another loopback address: the quota before authentication is counted by source
        with (
            socket.create_connection(("127.0.0.1", archive.port), timeout=5, source_address=("127.0.0.2", 0)) as good,
            context.wrap_socket(good, server_hostname="localhost") as secure,
        ):
            secure.sendall(association_request("CT1"))
            assert ACCEPTED == secure.recv(4096)[0]
        took = time.monotonic() - began

    assert took < 1


def test_nmap_finds_nothing_here_and_an_open_orthanc_there(
    place: tuple[harness.Archive, harness.Bundle], tmp_path: Path
) -> None:
    """Nmap's dicom-ping and dicom-brute say nothing about our door; the same command finds an Orthanc opened for the purpose."""
    archive, _ = place
    nmap = require("nmap")
    with _open_orthanc(tmp_path) as port:
        ours, theirs = (_nmap(nmap, number) for number in (archive.port, port))

    for found in ("discovered", "config:", "vendor", "version", "Accounts", "Called Application Entity"):
        assert found not in ours.split("PORT", 1)[-1], ours
    assert "dicom: DICOM Service Provider discovered" in theirs


def _nmap(nmap: str, port: int) -> str:
    done = subprocess.run(
        [nmap, "-Pn", "-p", str(port), "--script", "+dicom-ping,+dicom-brute", "127.0.0.1"], capture_output=True, text=True, check=True,
        timeout=300,
    )  # fmt: skip
    return done.stdout


@contextlib.contextmanager
def _open_orthanc(folder: Path) -> Iterator[int]:
    program, port = require("Orthanc"), harness.free_port()
    configuration = folder / "orthanc.json"
    configuration.write_text(
        f'{{"StorageDirectory": "{folder}/o", "IndexDirectory": "{folder}/o", "DicomPort": {port}, "HttpPort": {harness.free_port()},'
        ' "DicomAlwaysAllowFind": true, "DicomAlwaysAllowGet": true, "RemoteAccessAllowed": false, "AuthenticationEnabled": false}'
    )
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log)
    try:
        harness.wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _eventually(found: object, seconds: float = 5) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()  # type: ignore[operator]
        if value:
            return value
        time.sleep(0.1)
    return found()  # type: ignore[operator]
