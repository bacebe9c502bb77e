"""docs/limits.md says what the code does: every limit, each with its value (SECURITY C33)."""

from __future__ import annotations

import re

import pytest

from architecture.code import DOCS, Constant, constants

WORDS = frozenset(
    [
        "max",
        "most",
        "longest",
        "least",
        "min",
        "seconds",
        "milliseconds",
        "days",
        "bytes",
        "page",
        "pages",
        "kib",
        "leases",
        "kept",
        "cached",
        "ahead",
        "backlog",
        "mebibytes",
        "gibibytes",
    ]
)
"""A number whose name has one of these words limits something."""
CLASSES = ("Limits.", "Deadlines.", "Quota.")
NOT_LIMITS = {
    ("upper_layer/items.py", "_MAX_LENGTH"): "the type of the item Maximum Length (PS3.8 D.1)",
    ("upper_layer/pdu.py", "_MIN_ASSOCIATE_LENGTH"): "the fixed fields of the PDU (PS3.8 table 9-11)",
    ("dicom/convert.py", "_LONGEST_SHORT"): "what a length of 16 bits can say (PS3.5 7.1.2)",
}
PREFIXES = ("_KIB", "_MIB", "_GIB")
OUTSIDE = ("cli/demonstration/",)
"""The demonstration is a show beside the archive: its patience limits nobody."""
UNITS = {
    "": 1,
    "bytes": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "s": 1,
    "min": 60,
    "h": 3600,
    "days": 86400,
}
IN_THE_NAME = {"days": 86400, "kib": 1 << 10, "milliseconds": 0.001, "mebibytes": 1 << 20, "gibibytes": 1 << 30}
_ROW = re.compile(
    r"^\|(?P<what>[^|]+)\| `(?P<name>[^`]+)` \| (?P<value>[^|]+) \| `(?P<where>[^`]+)` \|(?P<why>[^|]+)\|(?P<option>[^|]*)\|$",
    re.MULTILINE,
)
_VALUE = re.compile(r"([\d,.]+)(?: ?(bytes|KiB|MiB|GiB|TiB|s|min|h|days))?\b")


def words_of(constant: Constant) -> set[str]:
    """The words of a constant's own name."""
    return set(constant.name.rpartition(".")[2].lower().strip("_").split("_"))


def is_limit(constant: Constant) -> bool:
    """Tell whether a number limits something, by its name."""
    if (
        (constant.module, constant.name) in NOT_LIMITS
        or constant.name in PREFIXES
        or constant.module.startswith(OUTSIDE)
    ):
        return False
    if "." in constant.name:
        return constant.name.startswith(CLASSES)
    return bool(WORDS & words_of(constant))


def in_base_units(constant: Constant) -> float:
    """Bytes or seconds where the name says another unit."""
    for word, factor in IN_THE_NAME.items():
        if word in words_of(constant):
            return constant.value * factor
    return constant.value


def rows() -> dict[tuple[str, str], re.Match[str]]:
    """The rows of the document by module and name."""
    return {(row["where"], row["name"]): row for row in _ROW.finditer((DOCS / "limits.md").read_text("utf-8"))}


def test_every_limit_is_documented() -> None:
    """A limit that somebody adds without a row and a reason fails here."""
    missing = {
        f"{one.module} {one.name}" for one in constants() if is_limit(one) and (one.module, one.name) not in rows()
    }

    assert set() == missing


def test_every_row_is_a_constant_of_the_code() -> None:
    """A limit that was renamed or removed does not stay in the document."""
    existing = {(one.module, one.name) for one in constants()}

    assert set() == set(rows()) - existing


@pytest.mark.parametrize(
    "constant",
    [one for one in constants() if (one.module, one.name) in rows()],
    ids=lambda one: f"{one.module}:{one.name}",
)
def test_the_documented_value_is_that_of_the_code(constant: Constant) -> None:
    """The number a reader sees is the one that is in force."""
    written = rows()[constant.module, constant.name]["value"]
    found = _VALUE.match(written)
    assert found is not None, written

    assert in_base_units(constant) == float(found[1].replace(",", "")) * UNITS[found[2] or ""]


def test_every_row_has_a_reason() -> None:
    """A limit without a reason cannot be judged by whoever meets it."""
    assert [name for name, row in rows().items() if not row["why"].strip()] == []


def test_no_line_of_the_tables_is_overlooked() -> None:
    """A row with a typing mistake in it would not be compared with anything."""
    lines = [line for line in (DOCS / "limits.md").read_text("utf-8").splitlines() if line.startswith("|")]
    heads = [line for line in lines if line.startswith(("| what |", "|---"))]

    assert len(lines) - len(heads) == len(_ROW.findall("\n".join(lines)))
