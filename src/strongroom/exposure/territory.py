"""
Where the survey may knock. A `Host` is made here and nowhere else, so a probe cannot be aimed at anything outside a
territory.

Own doors need no authorisation beyond owning them; scope files with theirs come with the survey itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, final

from strongroom.errors import AccessDenied

_MAKING: Final = object()


@final
@dataclass(frozen=True, slots=True)
class Host:
    """An address and port that may be knocked on."""

    address: str
    port: int
    label: str
    _made_by: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._made_by is not _MAKING:
            raise AccessDenied("a Host comes out of a Territory only")


@final
class Territory:
    """A set of hosts somebody has the right to look at."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._hosts = tuple(hosts)

    @classmethod
    def own_doors(cls, doors: Iterable[tuple[str, str, int]]) -> Territory:
        """The archive's own listening addresses: (label, address, port) of each."""
        return cls(Host(address, port, label, _MAKING) for label, address, port in doors)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)
