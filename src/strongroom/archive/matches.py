"""
Answers of a search, a page at a time.

The first page is fetched and its count recorded in the trail before the first answer leaves (I5); what follows it is
counted in a second record when the search ends, however it ends.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, final

from strongroom.archive import recording
from strongroom.archive.acts import Note
from strongroom.catalogue.search import goes_on, search
from strongroom.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from strongroom.access.policy import Actor
    from strongroom.archive.core import Core
    from strongroom.catalogue.query import Query
    from strongroom.catalogue.scope import Scope
    from strongroom.dicom.json import JsonElement

PAGE = 256
"""Answers held at a time."""

Match = dict[str, "JsonElement"]


@final
class Matches:
    """The answers to one query inside one scope; iterate once."""

    def __init__(self, core: Core, actor: Actor, query: Query, scope: Scope) -> None:
        self._core = core
        self._actor = actor
        self._query = query
        self._scope = scope
        self._first: int | None = None

    async def __aiter__(self) -> AsyncIterator[Match]:
        """Yield each answer as a DICOM JSON object with the requested keys."""
        with self._core.parts.database.reader() as connection:
            rows = search(connection, self._query, self._scope)
            page = await asyncio.to_thread(_take, rows)
            self._first = len(page)
            last = len(page) < PAGE
            await self._record(len(page), exact=last)
            count = 0
            try:
                while page:
                    for match in page:
                        count += 1
                        yield match
                    page = [] if last else await asyncio.to_thread(_take, rows)
            finally:
                rows.close()
                if not last:
                    await asyncio.shield(self._record(count, exact=True))

    async def go_on(self) -> bool:
        """
        Tell whether there are matches behind the last one that the query's limit lets through.

        Asked when the first answer is there: then the search is in the trail.
        """
        if self._first is None:
            raise LocalProtocolError("what follows a search is asked after its first answer")
        if self._first < PAGE and (self._query.limit is None or self._first < self._query.limit):
            return False
        return await asyncio.to_thread(self._goes_on)

    def _goes_on(self) -> bool:
        with self._core.parts.database.reader() as connection:
            return goes_on(connection, self._query, self._scope)

    async def _record(self, count: int, *, exact: bool) -> None:
        message = recording.query(self._core.parts, self._actor, self._query, count, exact=exact)
        await self._core.committer.submit(Note((message,)))


def _take(rows: object) -> list[Match]:
    return list(islice(rows, PAGE))  # type: ignore[call-overload]
