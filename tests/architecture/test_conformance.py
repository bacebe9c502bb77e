"""The conformance statement cannot drift from the program (SECURITY C58)."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from architecture.code import DOCS, ROOT


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("generate_conformance", ROOT / "tools" / "generate_conformance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_code(generator: ModuleType) -> None:
    """Whoever changes what the archive speaks has to run tools/generate_conformance.py."""
    text = (DOCS / "conformance.md").read_text("utf-8")

    assert generator.render(text) == text


def test_a_stale_table_is_noticed(generator: ModuleType) -> None:
    """The comparison above can fail: a UID that is changed by hand is put right again."""
    text = (DOCS / "conformance.md").read_text("utf-8")
    stale = text.replace("`1.2.840.10008.5.1.4.1.1.2`", "`1.2.840.10008.5.1.4.1.1.3333`")

    assert stale != text
    assert generator.render(stale) == text


def test_a_missing_marker_is_an_error(generator: ModuleType) -> None:
    """A table cannot be dropped from the statement unnoticed."""
    text = (DOCS / "conformance.md").read_text("utf-8")

    with pytest.raises(ValueError, match="statuses"):
        generator.render(text.replace("<!-- table statuses -->", ""))
