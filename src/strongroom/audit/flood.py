"""
Keeps a flood of refused strangers from burying the trail: the first few of a kind are recorded, the rest are counted
exactly (H02).

Only for callers nobody knows (`Reporter.not_admitted`). What an admitted actor does is always recorded one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, final

FIRST: Final = 10
"""Of one kind within a window, this many are recorded one by one (SECURITY T11: throttled after 10)."""
WINDOW: Final = timedelta(minutes=1)
MAX_KINDS: Final = 4096
"""
Kinds counted at once; beyond, new ones share a kind of their own, so that memory stays bounded and no count is lost.
"""

Key = tuple[str, ...]
OTHERS: Final[Key] = ()
"""The kind of everything beyond MAX_KINDS."""


@final
@dataclass(frozen=True, slots=True)
class Repeated:
    """So many more of *key* were not recorded one by one: to be recorded as one (`Reporter.repeated`)."""

    key: Key
    times: int
    since: datetime


@final
@dataclass(slots=True)
class _Kind:
    began: datetime
    seen: int = 0


@final
class Flood:
    """Counts events by kind; *key* is what makes two of them the same, such as (address, reason, door)."""

    __slots__ = ("_first", "_kinds", "_max_kinds", "_window")

    def __init__(self, *, first: int = FIRST, window: timedelta = WINDOW, max_kinds: int = MAX_KINDS) -> None:
        self._first = first
        self._window = window
        self._max_kinds = max_kinds
        self._kinds: dict[Key, _Kind] = {}

    def record(self, key: Key, now: datetime) -> bool:
        """Count one; whether it has to be recorded by itself."""
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= self._max_kinds:
                kind = self._kinds.get(OTHERS)
                # What shares a kind is not recorded one by one: there are thousands of kinds already.
                key = OTHERS
            if kind is None:
                kind = self._kinds[key] = _Kind(now, self._first if key == OTHERS else 0)
        kind.seen += 1
        return kind.seen <= self._first

    def due(self, now: datetime, *, everything: bool = False) -> list[Repeated]:
        """
        What has to be recorded as counted, of windows that ended (of all of them with *everything*, at the end).

        The caller asks at least once per window, from the same thread as `record`.
        """
        ended = [key for key, kind in self._kinds.items() if everything or now - kind.began >= self._window]
        repeated = []
        for key in ended:
            kind = self._kinds.pop(key)
            if kind.seen > self._first:
                repeated.append(Repeated(key, kind.seen - self._first, kind.began))
        return repeated
