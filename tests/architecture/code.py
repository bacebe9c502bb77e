"""What the tests of this folder read out of the source without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "strongroom"
DOCS = ROOT / "docs"
GENERATED = frozenset({"dicom/_tables.py"})
_NAMES = {"_KIB": 1 << 10, "_MIB": 1 << 20, "_GIB": 1 << 30, "timedelta": timedelta}


@dataclass(frozen=True, slots=True)
class Constant:
    """A number with a name: of a module, or a default of a dataclass's field."""

    module: str
    name: str
    value: float


def modules() -> list[Path]:
    """Every module, generated tables included."""
    return sorted(SOURCE.rglob("*.py"))


def relative(path: Path) -> str:
    """Its name below src/strongroom."""
    return path.relative_to(SOURCE).as_posix()


def constants() -> Iterator[Constant]:
    """Every number with a name in the source."""
    for path in modules():
        known: dict[str, object] = dict(_NAMES)
        for node in ast.parse(path.read_text("utf-8")).body:
            yield from _of(node, relative(path), "", known)
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    yield from _of(member, relative(path), f"{node.name}.", known)


def _of(node: ast.stmt, module: str, prefix: str, known: dict[str, object]) -> Iterator[Constant]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = node.target, node.value
    else:
        return
    if not isinstance(target, ast.Name):
        return
    try:
        found = eval(compile(ast.Expression(value), module, "eval"), {"__builtins__": {}}, dict(known))
    except Exception:  # noqa: BLE001 -- whatever it says, it is no number then
        return
    if not prefix:
        known[target.id] = found
    if isinstance(found, timedelta):
        found = found.total_seconds()
    if isinstance(found, int | float) and not isinstance(found, bool):
        yield Constant(module, prefix + target.id, found)
