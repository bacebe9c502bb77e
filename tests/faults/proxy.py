"""A wire that breaks: TCP from one loopback port to another, which is cut or falls silent after a number of bytes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: the end of the connection is an RST


@dataclass
class Wire:
    """
    How the next connection breaks. *cut* counts bytes in the direction *towards* ("there" or "back"); None breaks nothing.

    With *hole* nothing is passed on in either direction for so many seconds before the reset; `passed` counts what got through.
    """

    port: int
    cut: int | None = None
    towards: str = "there"
    hole: float = 0.0
    passed: dict[str, int] = field(default_factory=lambda: {"there": 0, "back": 0})


@contextlib.contextmanager
def wire(target: int) -> Iterator[Wire]:
    """A wire to the port *target*; connections one after the other or side by side."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Wire(server.getsockname()[1])
        threading.Thread(target=_accept, args=(server, target, made, ended), daemon=True).start()
        try:
            yield made
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, target: int, made: Wire, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            near, _ = server.accept()
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", target))
        made.passed = {"there": 0, "back": 0}
        broken = threading.Event()
        for source, sink, towards in ((near, far, "there"), (far, near, "back")):
            threading.Thread(target=_carry, args=(source, sink, towards, made, broken), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket, towards: str, made: Wire, broken: threading.Event) -> None:
    passed = made.passed
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if broken.is_set():
                return
            if made.cut is not None and towards == made.towards and passed[towards] + len(data) > made.cut:
                sink.sendall(data[: made.cut - passed[towards]])
                broken.set()
                threading.Event().wait(made.hole)
                for end in (source, sink):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                    end.close()
                return
            sink.sendall(data)
            passed[towards] += len(data)
        sink.shutdown(socket.SHUT_WR)
