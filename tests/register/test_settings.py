"""Small facts about a home."""

from __future__ import annotations

from register.registry import register
from strongroom.register import settings


def test_a_setting_is_what_it_was_last_set_to():
    """And None before that."""
    connection = register()
    assert settings.find(connection, "format") is None
    settings.put(connection, "format", "1")
    settings.put(connection, "format", "2")

    assert settings.find(connection, "format") == "2"
