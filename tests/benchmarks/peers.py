"""
The receivers that are measured: ours as a user runs it, DCMTK's storescp, and Orthanc; each starts, takes
connections, and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

STRONGROOM = str(Path(sys.executable).with_name("strongroom"))
STORESCU = "/usr/bin/storescu"
STORESCP = "/usr/bin/storescp"
ORTHANC = "/usr/sbin/Orthanc"
ORTHANC_DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
QUICK = {**os.environ, "TCP_NODELAY": "1"}
SLOW = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
"""DCMTK turns Nagle's algorithm off only when TCP_NODELAY is set; most modalities leave it on."""


@dataclass
class Receiver:
    """A running receiver and how storescu reaches it."""

    port: int
    called: str
    calling: str = "BENCH"
    tls: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    web_port: int = 0
    token: str = ""
    ca: Path | None = None


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, seconds: float = 20) -> None:
    """Return once something accepts connections on *port*."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {seconds} s")


@contextlib.contextmanager
def _running(
    command: list[str], port: int, log: Path, environment: dict[str, str] = QUICK
) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, text=True)
        try:
            wait_for(port)
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()


def _command(*arguments: str) -> str:
    done = subprocess.run([STRONGROOM, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"strongroom {arguments[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


@contextlib.contextmanager
def strongroom(folder: Path, *, web: bool = False) -> Iterator[Receiver]:
    """
    Ours: a new home, an enrolled device, the server as `strongroom serve` starts it; every protection on, as always.

    *web* also makes a token for the web door, which is open in any case.
    """
    home, bundle, port, web_port = folder / "home", folder / "bundle", free_port(), free_port()
    _command("init", "--home", str(home), "--dicom", f"127.0.0.1:{port}", "--web", f"127.0.0.1:{web_port}")
    _command(
        "device",
        "add",
        "BENCH",
        "--home",
        str(home),
        "--ae-title",
        "BENCH",
        "--may",
        "deposit,query,retrieve",
        "--out",
        str(bundle),
    )
    tls = ["+tls", str(bundle / "device.key"), str(bundle / "device.crt"), "+cf", str(bundle / "ca.crt")]
    token = ""
    if web:
        roles = ("--role", "radiologist", "--role", "modality", "--scope", "all")
        token = json.loads(_command("token", "add", "bench", "--home", str(home), *roles, "--for", "1d", "--json"))[
            "token"
        ]
    with _running([STRONGROOM, "serve", "--home", str(home)], port, folder / "serve.log") as process:
        if web:
            wait_for(web_port)
        yield Receiver(
            port, "STRONGROOM", tls=tls, process=process, web_port=web_port, token=token, ca=bundle / "ca.crt"
        )


@contextlib.contextmanager
def storescp_tls(folder: Path) -> Iterator[Receiver]:
    """DCMTK's receiver with TLS: files written bit by bit (+B), no index, no flush."""
    port, out = free_port(), folder / "out"
    out.mkdir()
    key, certificate, authority = certificates(folder)
    command = [STORESCP, "+tls", str(key), str(certificate), "+cf", str(authority), "+B", "-od", str(out), str(port)]
    with _running(command, port, folder / "storescp.log") as process:
        yield Receiver(
            port, "ANY-SCP", tls=["+tls", str(key), str(certificate), "+cf", str(authority)], process=process
        )


@contextlib.contextmanager
def storescp_plain(folder: Path) -> Iterator[Receiver]:
    """DCMTK's receiver in clear text."""
    port, out = free_port(), folder / "out"
    out.mkdir()
    with _running([STORESCP, "+B", "-od", str(out), str(port)], port, folder / "storescp.log") as process:
        yield Receiver(port, "ANY-SCP", process=process)


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Receiver]:
    """Orthanc in clear text with its DICOMweb plugin, in its quicker configuration (SyncStorageArea false)."""
    port = free_port()
    configuration = {
        "Name": "bench",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomPort": port,
        "DicomAet": "ORTHANC",
        "HttpPort": (web_port := free_port()),
        "HttpServerEnabled": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "SyncStorageArea": False,
        "Plugins": [ORTHANC_DICOMWEB] if Path(ORTHANC_DICOMWEB).exists() else [],
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with _running([ORTHANC, str(path)], port, folder / "orthanc.log") as process:
        yield Receiver(port, "ORTHANC", process=process, web_port=web_port)


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A CA and one certificate for both sides of a DCMTK-to-DCMTK run."""
    authority_key, authority, key, request, certificate = (
        folder / name for name in ("ca.key", "ca.crt", "x.key", "x.csr", "x.crt")
    )
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    steps = (
        [
            "req",
            "-x509",
            *curve,
            "-keyout",
            str(authority_key),
            "-out",
            str(authority),
            "-subj",
            "/CN=bench ca",
            "-days",
            "2",
        ],
        ["req", *curve, "-keyout", str(key), "-out", str(request), "-subj", "/CN=localhost"],
        [
            "x509",
            "-req",
            "-in",
            str(request),
            "-CA",
            str(authority),
            "-CAkey",
            str(authority_key),
            "-CAcreateserial",
            "-out",
            str(certificate),
        ],
    )
    for step in steps:
        subprocess.run(["openssl", *step], check=True, capture_output=True)
    return key, certificate, authority


def send(receiver: Receiver, files: Path, environment: dict[str, str] = QUICK) -> float:
    """
    Send every file below *files* over one association with DCMTK's storescu; seconds it took, or an error if any was
    not taken.
    """
    command = [
        STORESCU,
        *receiver.tls,
        "-aet",
        receiver.calling,
        "-aec",
        receiver.called,
        "+sd",
        "localhost",
        str(receiver.port),
        str(files),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    took = time.perf_counter() - began
    if done.returncode or "Warning" in done.stderr or "Failed" in done.stderr:
        raise RuntimeError(f"storescu ended with {done.returncode}: {done.stderr[-500:]}")
    return took


def clean(folder: Path) -> Path:
    """A new empty *folder*."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
