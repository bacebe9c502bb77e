"""Numbered scripts that make and change the catalogue's tables (`ground.database.migrations_in`)."""

from __future__ import annotations

import msgspec

from strongroom.catalogue.names import terms

__all__ = ["FUNCTIONS"]


def _name_terms(alphabetic: str, ideographic: str, phonetic: str) -> str:
    """The terms of a name as a JSON array."""
    return msgspec.json.encode(terms(alphabetic, ideographic, phonetic)).decode()


FUNCTIONS = {"name_terms": _name_terms}
"""What the scripts call and SQL does not have."""
