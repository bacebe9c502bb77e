"""DICOM by hand, for many callers at a time: an association over TLS that can echo, store, trickle and vanish (PS3.7, PS3.8)."""

from __future__ import annotations

import asyncio
import ssl
import struct

from faults.instances import Instance
from interop.harness import Bundle

VERIFICATION, CT, MR = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
_CONTEXTS = {1: VERIFICATION, 3: CT, 5: MR}
_EXPLICIT = "1.2.840.10008.1.2.1"
_FRAGMENT = 16_384
_ECHO, _STORE, _NO_DATA_SET, _DATA_SET = 0x0030, 0x0001, 0x0101, 0x0001


class Talk:
    """One association; anything that breaks raises OSError, EOFError (IncompleteReadError) or TimeoutError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._message = 0

    @classmethod
    async def begin(cls, port: int, device: Bundle, context: ssl.SSLContext, *, address: str = "127.0.0.1") -> Talk:
        """Connect from *address* and associate."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost", local_addr=(address, 0)
        )
        made = cls(reader, writer)
        writer.write(_request(device.ae_title))
        kind, _ = await made._pdu()
        if kind != 2:
            writer.transport.abort()
            raise ConnectionRefusedError(f"PDU {kind} instead of A-ASSOCIATE-AC")
        return made

    async def echo(self) -> int:
        """C-ECHO; its status."""
        self._command(1, _ECHO, VERIFICATION)
        return await self._status()

    async def store(self, one: Instance, *, pause: float = 0, stop_after: int | None = None) -> int:
        """C-STORE with *pause* seconds between fragments; with *stop_after* bytes it ends the connection instead (-1)."""
        kind = MR if one.kind == "mr" else CT
        context = 5 if one.kind == "mr" else 3
        self._command(context, _STORE, kind, one.sop)
        data = one.data_set
        for at in range(0, len(data), _FRAGMENT):
            if stop_after is not None and at >= stop_after:
                self.vanish()
                return -1
            piece = data[at : at + _FRAGMENT]
            self._pdv(context, 2 if at + _FRAGMENT >= len(data) else 0, piece)
            await self._writer.drain()
            if pause:
                await asyncio.sleep(pause)
        return await self._status()

    async def release(self) -> None:
        """A-RELEASE."""
        self._writer.write(struct.pack(">BxI4x", 5, 4))
        await self._pdu()
        self._writer.close()

    def vanish(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    def _command(self, context: int, field: int, sop_class: str, sop: str = "") -> None:
        self._message = self._message % 65_535 + 1
        elements = [
            (0x0002, _even(sop_class)),
            (0x0100, struct.pack("<H", field)),
            (0x0110, struct.pack("<H", self._message)),
            *([(0x0700, struct.pack("<H", 0))] if sop else []),
            (0x0800, struct.pack("<H", _DATA_SET if sop else _NO_DATA_SET)),
            *([(0x1000, _even(sop))] if sop else []),
        ]
        body = b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements)
        self._pdv(context, 3, struct.pack("<HHII", 0, 0, 4, len(body)) + body)

    def _pdv(self, context: int, control: int, value: bytes) -> None:
        self._writer.write(struct.pack(">BxIIBB", 4, len(value) + 6, len(value) + 2, context, control) + value)

    async def _status(self) -> int:
        kind, body = await self._pdu()
        if kind != 4:
            raise ConnectionAbortedError(f"PDU {kind} instead of P-DATA")
        at = body.index(b"\0\0\0\x09\x02\0\0\0") + 8
        return int.from_bytes(body[at : at + 2], "little")

    async def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", await self._reader.readexactly(6))
        return kind, await self._reader.readexactly(length)


def trusted(device: Bundle) -> ssl.SSLContext:
    """The TLS of *device*."""
    context = ssl.create_default_context(cafile=device.authority)
    context.load_cert_chain(device.certificate, device.key)
    return context


def _even(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


def _request(calling: str) -> bytes:
    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(value)) + value

    syntax = item(0x40, _EXPLICIT.encode())
    contexts = b"".join(
        item(0x20, bytes([number, 0, 0, 0]) + item(0x30, uid.encode()) + syntax) for number, uid in _CONTEXTS.items()
    )
    user = item(0x50, item(0x51, struct.pack(">I", 16_384)) + item(0x52, b"2.25.1"))
    body = b"\0\x01\0\0" + b"STRONGROOM".ljust(16) + calling.ljust(16).encode() + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BxI", 1, len(body)) + body
