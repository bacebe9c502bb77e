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
    alone: int = 0
    """How many of them were to be recorded by themselves."""


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
        key = self._shared(key)
        kind = self._kinds.setdefault(key, _Kind(now))
        kind.seen += 1
        # What shares a kind is not recorded one by one: there are thousands of kinds already.
        if key == OTHERS or kind.alone >= self._first:
            return False
        kind.alone += 1
        return True

    def take_back(self, key: Key, now: datetime) -> None:
        """One that `record` wanted recorded by itself could not be: it is counted with the others of its kind."""
        kind = self._kinds.get(key)
        if kind is not None and kind.alone:
            kind.alone -= 1
            return
        self._kinds.setdefault(self._shared(key), _Kind(now)).seen += 1  # its window ended meanwhile

    def put_back(self, repeated: Repeated) -> None:
        """What `due` handed out could not be recorded: it is counted on."""
        kind = self._kinds.setdefault(self._shared(repeated.key), _Kind(repeated.since))
        kind.seen += repeated.times
        kind.began = min(kind.began, repeated.since)

    def due(self, now: datetime, *, everything: bool = False) -> list[Repeated]:
        """
        What has to be recorded as counted, of windows that ended (of all of them with *everything*, at the end).

        The caller asks at least once per window, from the same thread as `record`.
        """
        ended = [key for key, kind in self._kinds.items() if everything or now - kind.began >= self._window]
        repeated = []
        for key in ended:
            kind = self._kinds.pop(key)
            if kind.seen > kind.alone:
                repeated.append(Repeated(key, kind.seen - kind.alone, kind.began))
        return repeated

    def _shared(self, key: Key) -> Key:
        """The kind that *key* is counted under: its own as long as there is room."""
        return key if key in self._kinds or len(self._kinds) < self._max_kinds else OTHERS
