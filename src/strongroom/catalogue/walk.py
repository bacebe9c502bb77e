"""How a search goes through the tables: a row of passes, each along one index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from strongroom.catalogue.condition import TRUE, Condition
from strongroom.dicom.model import Level

__all__ = ["Pass", "Walk"]


@final
@dataclass(frozen=True, slots=True)
class Pass:
    """
    A walk along one index, entering the levels at *level*.

    *start* is the text after FROM; *seek* what of the index is walked, except for *low*, where the walk begins: every
    page but the first begins where the one before it ended. *order* are the columns of the index that name a place in
    it, ending with what makes them unique. *covered* is true for just the rows of the walk, so that a later pass
    leaves them out.
    """

    level: Level
    start: str
    order: tuple[str, ...]
    seek: Condition = TRUE
    low: Condition = TRUE
    covered: Condition = TRUE
    probed: str = ""
    """The index alone, when *start* joins it to its table: what a probe counts."""


@final
@dataclass(frozen=True, slots=True)
class Walk:
    """Passes that together meet every match; *done* are keys they fulfil exactly, which need not be compared again."""

    passes: Iterable[Pass]
    done: frozenset[str] = frozenset()
