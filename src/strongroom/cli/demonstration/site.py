"""
The demo's archive as any user would have it: a home of its own, a server process, devices enrolled by command.

Everything is done by the `strongroom` command itself; nothing of the archive is reached into.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, final

import msgspec

from strongroom.errors import StrongroomError
from strongroom.transport import Callee, Identity, client_context

if TYPE_CHECKING:
    from types import TracebackType

AE_TITLE: Final = "STRONGROOM"
_COMMAND: Final = (sys.executable, "-P", "-m", "strongroom.cli")
"""The very program that runs; -P keeps whatever lies in the current folder out of it."""
_READY_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 20.0
_COMMAND_SECONDS: Final = 120.0


@final
class CommandFailedError(StrongroomError):
    """One of the commands the demo runs did not do what it should; the sentence is the command's own."""


@final
@dataclass(frozen=True, slots=True)
class Device:
    """An enrolled device: the bundle it was given."""

    name: str
    ae_title: str
    may: str
    folder: Path

    @property
    def identity(self) -> Identity:
        """Its certificate and key."""
        return Identity((self.folder / "device.crt").read_bytes(), (self.folder / "device.key").read_bytes())

    @property
    def authority(self) -> bytes:
        """The archive's authority as the bundle holds it."""
        return (self.folder / "ca.crt").read_bytes()


@final
class Site:
    """A temporary folder with a home, the bundles and the running server; gone when left."""

    def __init__(self) -> None:
        self.root = Path()
        self.port = 0
        self.web_port = 0
        self.ready_seconds = 0.0
        self.server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.root = Path(tempfile.mkdtemp(prefix="strongroom-demo-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def home(self) -> Path:
        """The archive's home."""
        return self.root / "home"

    @property
    def log(self) -> Path:
        """What the server writes to standard error."""
        return self.root / "serve.log"

    def run(self, *arguments: str, good: tuple[int, ...] = (0,)) -> Any:
        """Run `strongroom ... --home HOME --json` and return what it prints."""
        command = [*_COMMAND, *arguments, "--home", str(self.home), "--json"]
        done = subprocess.run(  # noqa: S603 -- our own program with our own arguments
            command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=_COMMAND_SECONDS
        )
        if done.returncode not in good:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            shown = " ".join(arguments)
            raise CommandFailedError(
                f"strongroom {shown}: exit status {done.returncode}: {said[-1] if said else 'nothing said'}"
            )
        return msgspec.json.decode(done.stdout)

    def found(self) -> None:
        """`strongroom init`, with both doors on free ports of loopback."""
        with socket.socket() as dicom, socket.socket() as web:
            dicom.bind(("127.0.0.1", 0))
            web.bind(("127.0.0.1", 0))
            self.port, self.web_port = int(dicom.getsockname()[1]), int(web.getsockname()[1])
        doors = ("--dicom", f"127.0.0.1:{self.port}", "--web", f"127.0.0.1:{self.web_port}")
        self.run("init", *doors, "--ae-title", AE_TITLE)

    def enrol(self, name: str, may: str) -> Device:
        """`strongroom device add`."""
        device = Device(name, name, may, self.root / name.lower())
        self.run("device", "add", name, "--ae-title", name, "--may", may, "--out", str(device.folder))
        return device

    def start(self) -> None:
        """`strongroom serve`; returns when it says that it is ready."""
        began = time.perf_counter()
        with self.log.open("wb") as log:
            # In a session of its own, so that Ctrl-C at the terminal reaches us alone and we end it in order.
            self.server = subprocess.Popen(  # noqa: S603 -- our own program with our own arguments
                [*_COMMAND, "serve", "--home", str(self.home), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.server.stdout is not None
        patience = threading.Timer(_READY_SECONDS, self.server.kill)
        patience.start()
        try:
            line = self.server.stdout.readline()
        finally:
            patience.cancel()
        self.ready_seconds = time.perf_counter() - began
        if not line:
            said = self.log.read_text("utf-8", "replace").strip().splitlines()
            raise CommandFailedError(f"strongroom serve did not start: {said[-1] if said else 'nothing said'}")

    def wait(self) -> int:
        """Wait until the server ends by itself; returns its exit status."""
        assert self.server is not None
        return self.server.wait()

    def stop(self) -> None:
        """End the server in order, as SIGTERM does."""
        if self.server is None:
            return
        server, self.server = self.server, None
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()

    def callee(self, device: Device) -> Callee:
        """Where and how *device* calls: TLS with its own certificate, the archive's one checked."""
        tls = client_context(device.identity, device.authority)
        return Callee("127.0.0.1", self.port, tls, server_name="localhost")
