"""
Who may knock, how often and how many at a time (SECURITY C12, C13). Pure: the clock is passed in.

1. Callers that nobody has let in yet have places of their own, few in total and few per address; an association that
   was admitted holds another kind of place, so strangers never take those. When these places are all taken, whoever has
   stood there longest goes, if that was longer than a caller that means it needs: so silent ones push out one another.
2. A source whose knocks keep failing is answered later and later, and nothing else: a device behind the same address
   is delayed, not refused.
3. Everything kept here is bounded.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, final

from strongroom.transport.ends import Refused

_IPV6_SITE: Final = 64
"""What one IPv6 customer has at least: counted as one source (RFC 6177)."""


@final
@dataclass(frozen=True, slots=True)
class Quota:
    """How many places there are."""

    knocking: int = 256
    """Connections that have no association yet, all sources together."""
    knocking_per_address: int = 8
    knocking_seconds: float = 1.0
    """How long a caller keeps its place for certain while others want it."""
    associations: int = 600
    associations_per_device: int = 64
    failures_before_delay: int = 10
    first_delay_seconds: float = 0.25
    longest_delay_seconds: float = 4.0
    forget_seconds: float = 300.0
    """After this long without a failure a source begins anew."""
    sources: int = 4096
    """Sources remembered; the one whose last failure is oldest is forgotten first."""


DEFAULT_QUOTA: Final = Quota()


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


@final
class Waiting:
    """The places for callers that nobody has let in yet (rule 1)."""

    __slots__ = ("_by_source", "_quota", "_standing", "_total")

    def __init__(self, quota: Quota = DEFAULT_QUOTA) -> None:
        self._quota = quota
        self._total = 0
        self._by_source: Counter[str] = Counter()
        self._standing: OrderedDict[Hashable, tuple[float, Callable[[], object]]] = OrderedDict()

    def __len__(self) -> int:
        return self._total

    def enter(self, source: str, now: float = 0.0) -> Refused | None:
        """Take a place, or say why there is none."""
        if self._by_source[source] >= self._quota.knocking_per_address:
            return Refused.ADDRESS_FULL
        if self._total >= self._quota.knocking and not self._make_room(now):
            return Refused.POOL_FULL
        self._total += 1
        self._by_source[source] += 1
        return None

    def stand(self, key: Hashable, now: float, give_way: Callable[[], object]) -> None:
        """Say who has just entered, and how to make it go; it still has to `leave`, with that key."""
        self._standing[key] = now, give_way

    def _make_room(self, now: float) -> bool:
        """
        Let the one go that has stood longest; False when nobody has stood long enough.

        Its place counts until it has left, so for a moment there may be more callers than places, at most twice.
        """
        if not self._standing:
            return False
        key, (since, give_way) = next(iter(self._standing.items()))
        if now - since < self._quota.knocking_seconds:
            return False
        del self._standing[key]
        give_way()
        return True

    def leave(self, source: str, key: Hashable = None) -> None:
        """Give a place back; once for each `enter` that took one."""
        self._standing.pop(key, None)
        self._total -= 1
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]


@final
class Places:
    """The places for associations (rule 1)."""

    __slots__ = ("_by_device", "_quota", "_total")

    def __init__(self, quota: Quota = DEFAULT_QUOTA) -> None:
        self._quota = quota
        self._total = 0
        self._by_device: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._total

    def enter(self, device: str, *, most: int | None = None) -> Refused | None:
        """Take a place for *device*, of which *most* or the general number may have; or say why there is none."""
        allowed = self._quota.associations_per_device if most is None else most
        if self._by_device[device] >= allowed:
            return Refused.DEVICE_FULL
        if self._total >= self._quota.associations:
            return Refused.ARCHIVE_FULL
        self._total += 1
        self._by_device[device] += 1
        return None

    def leave(self, device: str) -> None:
        """Give a place back; once for each `enter` that took one."""
        self._total -= 1
        self._by_device[device] -= 1
        if not self._by_device[device]:
            del self._by_device[device]


@final
class Failures:
    """How often each source has failed lately, and how long it waits for the next answer (rules 2 and 3)."""

    __slots__ = ("_counts", "_quota")

    def __init__(self, quota: Quota = DEFAULT_QUOTA) -> None:
        self._quota = quota
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, source: str, now: float) -> int:
        """Count one failure; returns how many there are now."""
        count = self.count(source, now) + 1
        self._counts[source] = (count, now)
        self._counts.move_to_end(source)
        while len(self._counts) > self._quota.sources:
            self._counts.popitem(last=False)
        return count

    def count(self, source: str, now: float) -> int:
        """The failures of *source* that are not forgotten."""
        count, last = self._counts.get(source, (0, now))
        if now - last < self._quota.forget_seconds:
            return count
        self._counts.pop(source, None)
        return 0

    def delay(self, source: str, now: float) -> float:
        """Seconds that *source* waits: none at first, then doubling up to the longest."""
        beyond = self.count(source, now) - self._quota.failures_before_delay
        if beyond < 0:
            return 0.0
        doubled = self._quota.first_delay_seconds * 2.0 ** min(beyond, 16)
        return min(doubled, self._quota.longest_delay_seconds)


__all__ = ["DEFAULT_QUOTA", "Failures", "Places", "Quota", "Waiting", "source_of"]
