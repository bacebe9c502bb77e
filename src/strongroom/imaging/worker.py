"""
A worker: takes a job, answers it, takes the next; one process, one thread, confined before it sees a byte (C32).

Started by `process` as `python -I -m strongroom.imaging.worker PARENT`, standard input being the socket to the pool.
It keeps nothing between jobs. Whatever goes wrong inside Python is a reply; whatever does not, ends the process, and
the pool sees that.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

import msgspec

from strongroom.errors import DataSetError
from strongroom.imaging import confinement
from strongroom.imaging.protocol import FRAMING, Fault, Reply, Request

__all__ = ["main"]

_SOCKET: Final = 0
_PIECE: Final = 1 << 20


def main() -> None:
    """Confine this process, load the codecs, and serve until the pool is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the server's to handle
    held = confinement.begin(int(sys.argv[1]))
    from strongroom.imaging import jobs  # noqa: PLC0415 -- codecs are loaded behind the first limits

    jobs.warm_up()
    held += confinement.finish()
    _answer(Reply(confined=tuple(held)), b"")
    decoder = msgspec.msgpack.Decoder(Request)
    while True:
        length, total = FRAMING.unpack(_read(FRAMING.size))
        request = decoder.decode(_read(length))
        body = memoryview(_read(total))
        parts, at = [], 0
        for size in request.parts:
            parts.append(body[at : at + size])
            at += size
        confinement.cpu_for_next_job()
        try:
            reply, part = jobs.do(request.job, parts)
        except DataSetError as error:
            reply, part = Reply(fault=Fault.UNREADABLE, sentence=str(error)), b""
        except MemoryError:
            reply, part = Reply(fault=Fault.MEMORY, sentence="it takes more memory than a worker has"), b""
        except Exception as error:  # noqa: BLE001 -- a library's mistake is this one request's
            reply, part = Reply(fault=Fault.UNREADABLE, sentence=f"pixel work failed: {type(error).__name__}"), b""
        _answer(reply, part)
        del request, body, parts, part  # a large frame is given back before the next one comes


def _read(size: int) -> bytearray:
    """Read exactly *size* bytes; end quietly when the pool is gone."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        got = os.readv(_SOCKET, [view[at : at + _PIECE]])
        if not got:
            sys.exit(0)
        at += got
    return data


def _answer(reply: Reply, part: bytes | memoryview) -> None:
    header = msgspec.msgpack.encode(reply)
    _write(FRAMING.pack(len(header), len(part)) + header)
    _write(part)


def _write(data: bytes | memoryview) -> None:
    view, at = memoryview(data), 0
    while at < len(view):
        at += os.write(_SOCKET, view[at : at + _PIECE])


if __name__ == "__main__":
    main()
