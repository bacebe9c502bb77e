"""A running archive as its users have it, and the real clients that talk to it: DCMTK with TLS of its own or behind stunnel."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clients import require
from interop import corpus

STRONGROOM = str(Path(sys.executable).with_name("strongroom"))
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
TIMEOUT = 120


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20) -> None:
    """Return once something accepts on *port*."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A device's bundle and AE title."""

    folder: Path
    ae_title: str

    @property
    def key(self) -> str:
        return str(self.folder / "device.key")

    @property
    def certificate(self) -> str:
        return str(self.folder / "device.crt")

    @property
    def authority(self) -> str:
        return str(self.folder / "ca.crt")

    @property
    def tls(self) -> list[str]:
        """DCMTK's options for this identity."""
        return ["+tls", self.key, self.certificate, "+cf", self.authority]


@dataclass
class Archive:
    """A home and its server."""

    home: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    web_port: int = 0

    def command(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run `strongroom ... --home`; checks the exit status unless None."""
        done = subprocess.run(
            [STRONGROOM, *arguments, "--home", str(self.home)],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        assert status is None or done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, status: int | None = 0) -> object:
        """Run a command with --json and parse what it prints."""
        return json.loads(self.command(*arguments, "--json", status=status).stdout)

    def enrol(
        self, name: str, may: str = "deposit,query,retrieve", *, ae_title: str | None = None, **options: str
    ) -> Bundle:
        """Enrol a device; an option such as network="10.0.0.0/8" becomes --network."""
        folder = self.home.parent / f"bundle-{name}"
        title = ae_title or name
        extra = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
        self.command("device", "add", name, "--ae-title", title, "--may", may, "--out", str(folder), *extra)
        return Bundle(folder, title)

    @property
    def web(self) -> str:
        """Where DICOMweb answers."""
        return f"https://localhost:{self.web_port}/dicom-web"

    @property
    def authority(self) -> str:
        """The archive's own CA, as a client trusts it."""
        return str(self.home / "keys" / "ca.crt")

    def token(self, name: str, *roles: str, scope: str = "all", lasts: str = "1d") -> str:
        """A new token with *roles*."""
        options = [part for role in roles for part in ("--role", role)]
        made = self.json("token", "add", name, *options, "--scope", scope, "--for", lasts)
        assert isinstance(made, dict)
        return str(made["token"])

    def start(self) -> float:
        """Start the server; seconds until its "ready" line."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [STRONGROOM, "serve", "--home", str(self.home)],
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        took = time.monotonic() - began
        assert line.startswith(b"ready"), (line, self.log.read_text()[-2000:])
        return took

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End the server."""
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return status

    def resident_bytes(self) -> int:
        """The server's resident memory, all its processes."""
        assert self.process is not None
        total = 0
        for pid in [self.process.pid, *_children(self.process.pid)]:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        total += int(line.split()[1]) * 1024
        return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in path.read_text().split()]
    return found + [grandchild for child in found for grandchild in _children(child)]


@contextlib.contextmanager
def archive(folder: Path, *, start: bool = True) -> Iterator[Archive]:
    """A new home with a running server."""
    port, web_port = free_port(), free_port()
    running = Archive(folder / "home", port, folder / "serve.log", web_port=web_port)
    running.command("init", "--dicom", f"127.0.0.1:{port}", "--web", f"127.0.0.1:{web_port}")
    if start:
        running.start()
    try:
        yield running
    finally:
        if running.process is not None:
            running.stop()


@contextlib.contextmanager
def tls_front(bundle: Bundle, port: int, folder: Path) -> Iterator[int]:
    """Stunnel holding the device's key, for clients that have no TLS; yields the plaintext port on loopback."""
    stunnel = require("stunnel4")
    plain = free_port()
    configuration = folder / f"stunnel-{plain}.conf"
    configuration.write_text(
        f"foreground = yes\npid =\nsyslog = no\n[front]\nclient = yes\naccept = 127.0.0.1:{plain}\nconnect = 127.0.0.1:{port}\n"
        f"cert = {bundle.certificate}\nkey = {bundle.key}\nCAfile = {bundle.authority}\nverifyChain = yes\n"
        "socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
    )
    with (folder / f"stunnel-{plain}.log").open("wb") as log:
        process = subprocess.Popen([stunnel, str(configuration)], stdout=log, stderr=log)
    try:
        wait_for_port(plain)
        yield plain
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def receiver(bundle: Bundle, port: int, folder: Path, *, accept: str | None = "+xa") -> Iterator[Path]:
    """
    A destination of C-MOVE over TLS that shows the certificate of *bundle*; yields the folder where files arrive.

    It is DCMTK's storescp, with *accept* as its option for the transfer syntaxes it takes, or dcmrecv when that is None,
    which takes what is not compressed.
    """
    out = folder / "moved"
    out.mkdir()
    if accept is None:
        program, options = "dcmrecv", ["-xf", str(_profile(folder)), "Storage"]
    else:
        program, options = "storescp", [accept]
    command = [require(program), *bundle.tls, "+B", *options, "-aet", bundle.ae_title, "-od", str(out), str(port)]
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
    try:
        wait_for_port(port)
        yield out
    finally:
        process.terminate()
        process.wait(10)


def _profile(folder: Path) -> Path:
    """What dcmrecv is to accept; left alone it takes C-ECHO only."""
    classes = sorted({sample.sop_class_uid for sample in corpus.originals()})
    contexts = "".join(f"PresentationContext{at} = {uid}\\Native\n" for at, uid in enumerate(classes, 1))
    path = folder / "dcmrecv.cfg"
    path.write_text(
        f"[[TransferSyntaxes]]\n[Native]\nTransferSyntax1 = {corpus.EXPLICIT}\nTransferSyntax2 = {corpus.IMPLICIT}\n"
        f"[[PresentationContexts]]\n[Storage]\n{contexts}[[Profiles]]\n[Storage]\nPresentationContexts = Storage\n"
    )
    return path


def run(program: str, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run one of DCMTK's tools."""
    done = subprocess.run(
        [require(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
        env=ENVIRONMENT,
        errors="replace",
    )
    assert status is None or done.returncode == status, (
        program,
        done.returncode,
        done.stdout[-2000:],
        done.stderr[-2000:],
    )
    return done
