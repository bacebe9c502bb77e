"""
Those who were turned away, on every door: the first of a kind are recorded one by one, the rest counted, and whoever
keeps trying is answered later (SECURITY H02, T11).

A kind is (address, door, reason). What is recorded by itself is durable before the caller hears of it; a count is
written once its minute is over. Nobody who is let in ever waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, final

from strongroom.archive import recording
from strongroom.archive.acts import Change, Note
from strongroom.audit.flood import Flood
from strongroom.errors import StrongroomError
from strongroom.register import callers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from strongroom.archive.committer import Act
    from strongroom.archive.core import Core
    from strongroom.audit.flood import Repeated
    from strongroom.audit.message import AuditMessage

COUNT_SECONDS: Final = 60.0
MAX_WAITING: Final = 1000
"""Refusals waiting to be recorded; beyond, they are counted with their kind only."""
FAILURES_WITHOUT_DELAY: Final = 10
FAILURE_SECONDS: Final = 60.0
"""The period in which the failures of a source are counted together."""
FIRST_DELAY_SECONDS: Final = 0.25
MAX_DELAY_SECONDS: Final = 2.0
MAX_SOURCES: Final = 4096
"""Sources remembered; the one that began earliest is forgotten first."""
MAX_SLOWED: Final = 64
"""Callers made to wait at once; further ones are answered at once, so that nobody fills memory by failing."""
_IPV6_SITE: Final = 64
"""What one IPv6 customer has at least: counted as one source (RFC 6177)."""


class Kind(NamedTuple):
    """What makes two refusals the same."""

    address: str
    door: str
    reason: str


@final
class Throttle:
    """How long the next failure of a source has to wait; pure, the clock is passed in."""

    __slots__ = ("_sources",)

    def __init__(self) -> None:
        self._sources: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, address: str, now: float) -> float:
        """Count a failure; the seconds until it may be answered, doubled from one to the next."""
        source = source_of(address)
        began, failures = self._sources.get(source, (now, 0))
        if now - began >= FAILURE_SECONDS:
            self._sources.pop(source)
            began, failures = now, 0
        self._sources[source] = (began, failures + 1)
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        if failures < FAILURES_WITHOUT_DELAY:
            return 0.0
        doublings = min(failures - FAILURES_WITHOUT_DELAY, 16)
        return float(min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**doublings))


@final
class Refusals:
    """Records, counts and slows; one for all doors of an archive."""

    def __init__(self, core: Core, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._core = core
        self._sleep = sleep
        self._flood = Flood()
        self._throttle = Throttle()
        self._slowed = 0
        self._waiting: asyncio.Queue[tuple[str, str, int, str]] = asyncio.Queue(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to record what `turned_away` is told, and to write what was counted."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Record what is waiting and what was counted."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        while not self._waiting.empty():
            await self._record_turned_away(*self._waiting.get_nowait())
        await self._write_counts(everything=True)

    def turned_away(self, door: str, address: str, port: int, reason: str) -> None:
        """Take note of a caller that came to no credential; quick, and never waits: recorded a moment later."""
        kind = Kind(address, door, reason)
        now = self._core.parts.clock()
        if self._flood.record(kind, now):
            try:
                self._waiting.put_nowait((door, address, port, reason))
            except asyncio.QueueFull:
                self._flood.take_back(kind, now)

    async def refuse(self, kind: Kind, change: Change) -> None:
        """
        Make *change* durable, the record of one who showed a credential, unless there were too many of this kind.

        Raises OutOfResources when it cannot be recorded; then the caller gets no answer about its credential.
        """
        now = self._core.parts.clock()
        if not self._flood.record(kind, now):
            return
        try:
            await self._core.committer.submit(change)
        except StrongroomError:
            self._flood.take_back(kind, now)
            raise

    async def slow(self, address: str) -> None:
        """Let one who failed wait if its source keeps failing."""
        delay = self._throttle.failed(address, asyncio.get_running_loop().time())
        if not delay or self._slowed >= MAX_SLOWED:
            return
        self._slowed += 1
        try:
            await self._sleep(delay)
        finally:
            self._slowed -= 1

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + COUNT_SECONDS
        while True:
            waiting = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    waiting = await self._waiting.get()
            if waiting is not None:
                await self._record_turned_away(*waiting)
            if loop.time() >= due:
                due = loop.time() + COUNT_SECONDS
                await self._write_counts(everything=False)

    async def _record_turned_away(self, door: str, address: str, port: int, reason: str) -> None:
        parts = self._core.parts
        message = recording.turned_away(parts, door, f"{address}:{port}", reason)
        try:
            await self._core.committer.submit(noted(Kind(address, door, reason), parts.clock(), message))
        except StrongroomError:  # a full disk must not end this; it is counted until the disk takes it
            self._flood.take_back(Kind(address, door, reason), parts.clock())

    async def _write_counts(self, *, everything: bool) -> None:
        now = self._core.parts.clock()
        for repeated in self._flood.due(now, everything=everything):
            try:
                await self._core.committer.submit(self._counted(repeated, now))
            except StrongroomError:
                self._flood.put_back(repeated)

    def _counted(self, repeated: Repeated, now: datetime) -> Act:
        message = recording.turned_away_again(self._core.parts, repeated.key, repeated.times, repeated.since)
        if len(repeated.key) != len(Kind._fields):
            return Note((message,))
        return noted(Kind(*repeated.key), now, message, times=repeated.times)


def noted(
    kind: Kind, now: datetime, message: AuditMessage, *, ae_title: str = "", fingerprint: str = "", times: int = 1
) -> Change:
    """The record of a refusal, and its caller in the list of those who knocked."""
    return Change(
        lambda connection: callers.note(
            connection,
            address=kind.address,
            ae_title=ae_title,
            door=kind.door,
            reason=kind.reason,
            at=now.timestamp(),
            fingerprint=fingerprint,
            times=times,
        ),
        (message,),
    )


def source_of(address: str) -> str:
    """
    The source *address* is counted under: an IPv4 address (mapped ones included) or an IPv6 /64.

    Text that is no address is its own source.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _IPV6_SITE), strict=False))
