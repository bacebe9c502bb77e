"""The floors are tests: the contracts of pyproject.toml hold, and each of them catches what it is there for (DESIGN section 2, decision 5)."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from architecture.code import ROOT, SOURCE, modules, relative

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

PLANTED = {
    "audit/planted.py": ("import strongroom.scp.find\n", "Floors"),
    "scp/planted.py": ("import strongroom.vault.pack\n", "through the gate only"),
    "scp/planted_inside.py": ("import strongroom.archive.session\n", "what it publishes"),
    "cli/planted.py": ("import strongroom.ground.keyring\n", "may name it"),
    "exposure/planted.py": ("import strongroom.archive\n", "never sees an archive"),
    "vault/planted.py": ("import strongroom.dicom.uid\n", "not DICOM"),
    "dimse/planted.py": ("def later():\n    import socket\n", "have no clock"),
    "register/planted.py": ("import pydicom\n", "nobody pynetdicom"),
}
"""What is planted where, and a part of the name of the contract that has to break."""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package below *folder*/src with the contracts of *folder*/pyproject.toml."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--config", str(folder / "pyproject.toml")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "400", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a copy of the package and its contracts that may be spoiled."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(SOURCE, folder / "src" / "strongroom", ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        return folder

    return make


@pytest.fixture(scope="module")
def planted(copy: Callable[[str], Path]) -> str:
    """What import-linter says of a copy that breaks every contract."""
    folder = copy("planted")
    for name, (text, _) in PLANTED.items():
        (folder / "src" / "strongroom" / name).write_text(text, encoding="utf-8")
    done = lint(folder)
    assert done.returncode != 0
    return done.stdout


def broken(said: str) -> list[str]:
    """The names of the contracts that were broken."""
    return [line.rpartition(" BROKEN")[0] for line in said.splitlines() if line.rstrip().endswith("BROKEN")]


def test_the_contracts_hold() -> None:
    """Imports point down, and front doors reach the archive through the gate only."""
    done = lint(ROOT)

    assert (done.returncode, broken(done.stdout)) == (0, []), done.stdout + done.stderr


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_import_breaks_its_contract(planted: str, name: str) -> None:
    """A contract that catches nothing would be no floor."""
    _, contract = PLANTED[name]

    assert [one for one in broken(planted) if contract in one], planted[-3000:]
    assert f"strongroom.{name.removesuffix('.py').replace('/', '.')}" in planted


def test_a_package_without_a_floor_breaks_the_build(copy: Callable[[str], Path]) -> None:
    """Whoever adds a package has to say where it stands."""
    folder = copy("homeless")
    (folder / "src" / "strongroom" / "homeless").mkdir()
    (folder / "src" / "strongroom" / "homeless" / "__init__.py").touch()

    done = lint(folder)

    assert done.returncode != 0
    assert "homeless" in done.stdout + done.stderr


def _imported_at_start(path: Path) -> set[str]:
    """The packages a module imports as soon as it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_imports_pydicom_when_it_is_imported() -> None:
    """It costs a second, which neither a server's start nor `--help` has to spare (PERFORMANCE section 2)."""
    assert [relative(path) for path in modules() if "pydicom" in _imported_at_start(path)] == []


def test_help_needs_nothing_of_the_archive() -> None:
    """`strongroom --help` loads the commands and not what they work with."""
    heavy = ("apsw", "cryptography", "uvloop", "asyncio", "pydicom", "rich", "strongroom.app", "strongroom.archive")
    script = f"import sys, strongroom.cli.main; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"
