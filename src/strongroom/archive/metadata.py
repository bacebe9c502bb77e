"""
The metadata of instances as text, read from where it is cheapest: merged fragments, a fragment of its own, or, when
neither is made yet, the data set itself.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, final

from strongroom.archive.extract import metadata_of_record
from strongroom.archive.merging import Opened, open_merged
from strongroom.catalogue import extracts
from strongroom.ground.seal import Slot, associated_data, open_small

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import apsw

    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow

__all__ = ["pages", "texts"]

TEXTS_AT_ONCE: Final = 256
"""Metadata of so many instances is read at a time..."""
TEXT_BYTES_AT_ONCE: Final = 1024 * 1024
"""... and what comes after so many bytes of it waits for the next time."""


def texts(parts: Parts, rows: Sequence[InstanceRow]) -> Generator[bytes]:
    """
    Yield the JSON text of each of *rows*, in their order; for a worker thread.

    One merged blob is held at a time: rows in the order of the catalogue come from each of them once. Raises
    IntegrityError.
    """
    with parts.database.reader() as connection:
        source = _Source(parts, connection)
        for row in rows:
            yield source.text(row)


def pages(parts: Parts, rows: Sequence[InstanceRow]) -> Generator[list[bytes]]:
    """Yield the same, as many at a time as are handed over between threads."""
    page: list[bytes] = []
    length = 0
    with contextlib.closing(texts(parts, rows)) as coming:
        for text in coming:
            page.append(text)
            length += len(text)
            if len(page) >= TEXTS_AT_ONCE or length >= TEXT_BYTES_AT_ONCE:
                yield page
                page, length = [], 0
    if page:
        yield page


@final
class _Source:
    """Remembers the merged blob that was opened last: the next instance is probably in it too."""

    def __init__(self, parts: Parts, connection: apsw.Connection) -> None:
        self._parts = parts
        self._connection = connection
        self._opened: Opened | None = None
        self._series: tuple[str, str] | None = None

    def text(self, row: InstanceRow) -> bytes:
        """The text of one instance."""
        series = row.study_instance_uid, row.series_instance_uid
        if self._opened is None or series != self._series or row.id > self._opened.last:
            found = extracts.find_merged(self._connection, row.id)
            self._opened = None if found is None else open_merged(self._parts, found)
            self._series = series
        if self._opened is not None:
            text = self._opened.text(row.id)
            if text is not None:
                return text
        sealed = extracts.find_fragment(self._connection, row.id)
        if sealed is None:
            return metadata_of_record(self._parts, row)
        key = self._parts.keyring.get(row.key_id)
        return open_small(key.secret, sealed, associated_data(row.blob_id, row.key_id, Slot.FRAGMENT))
