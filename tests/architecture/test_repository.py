"""What must not be in the repository, and what its code must not grow to (STYLE section 2)."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from architecture.code import GENERATED, ROOT, modules, relative

MODULE_LINES = 600
FUNCTION_LINES = 60
IGNORED = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    ".import_linter_cache",
    "__pycache__",
    "bench-data",
}
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:home|Users|root|work|mnt|private|builds|github/workspace)/[A-Za-z0-9_]")
PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE" + r" KEY-----\s+[A-Za-z0-9+/=]{16}")
KEY_FILES = (".key", ".pem", ".p12", ".pfx", ".jks")
BINARY = (".png", ".pack", ".chain", ".dcm", ".db", ".open", ".ico", ".woff2")


def files() -> list[Path]:
    """What is committed; where there is no git (an unpacked release) everything that no tool made."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not IGNORED & set(path.relative_to(ROOT).parts)]


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of every file that is one."""
    for path in files():
        if path.suffix not in BINARY:
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8", errors="replace")


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """A path that exists on one machine only breaks on every other, and tells about its owner."""
    own = Path(__file__).relative_to(ROOT).as_posix()

    assert [
        f"{name}: {found[0]}" for name, text in texts() if name != own and (found := MACHINE_PATH.search(text))
    ] == []


def test_lock_files_name_no_registry() -> None:
    """Where packages come from is for whoever installs; what they are is pinned by hashes."""
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    assert [lock.name for lock in locks] == ["dev.lock", "run.lock"]

    for lock in locks:
        text = lock.read_text("utf-8")
        assert not re.search(
            r"://|^\s*(-i|--index-url|--extra-index-url|--find-links|--trusted-host)\b| @ ", text, re.MULTILINE
        ), lock.name


def test_every_locked_package_has_a_version_and_hashes() -> None:
    """Nothing is installed that is not the very file that was looked at."""
    for lock in (ROOT / "requirements").glob("*.lock"):
        entries = re.split(
            r"\n(?=[A-Za-z0-9])", "\n" + re.sub(r"^#.*\n", "", lock.read_text("utf-8"), flags=re.MULTILINE)
        )
        pinned = [entry for entry in entries if entry.strip()]
        assert len(pinned) > 5
        for entry in pinned:
            assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^\s;]+", entry), entry[:80]
            assert "--hash=sha256:" in entry, entry[:80]


def test_everything_the_package_needs_is_locked() -> None:
    """A dependency that somebody adds to pyproject.toml has to be locked as well."""
    import tomllib

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {re.split(r"[\s<>=!~;\[]", one)[0].lower() for one in wanted}
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert names <= set(
            re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", lock.read_text("utf-8").lower(), re.MULTILINE)
        ), lock.name


def test_no_private_key_is_committed() -> None:
    """Tests make their own, in memory or in a temporary folder."""
    assert [name for name, text in texts() if PRIVATE_KEY.search(text)] == []
    assert [path.name for path in files() if path.suffix in KEY_FILES] == []


def test_the_patterns_find_what_they_look_for() -> None:
    """A pattern that matches nothing would find nothing."""
    body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQ"

    assert MACHINE_PATH.search("cache = '/home/" + "somebody/archive'")
    assert MACHINE_PATH.search("file:///Users/" + "somebody")
    assert not MACHINE_PATH.search("strongroom init --home /var/lib/strongroom")
    assert PRIVATE_KEY.search("-----BEGIN PRIVATE" + f" KEY-----\n{body}")
    assert PRIVATE_KEY.search("-----BEGIN EC PRIVATE" + f" KEY-----\n{body}")


@pytest.mark.parametrize("path", [path for path in modules() if relative(path) not in GENERATED], ids=relative)
def test_no_module_or_function_grows_too_long(path: Path) -> None:
    """600 lines and 60 are the end; the aim is half of it."""
    text = path.read_text("utf-8")
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]

    assert len(text.splitlines()) <= MODULE_LINES
    assert long == []


def test_what_is_called_generated_says_so() -> None:
    """The exception above is for tables that a script in tools/ writes."""
    for name in GENERATED:
        text = (ROOT / "src" / "strongroom" / name).read_text("utf-8")
        script = re.match(r'"""Generated by (tools/\w+\.py)', text)
        assert script is not None
        assert (ROOT / script[1]).is_file()


def test_every_test_says_what_it_shows() -> None:
    """A sentence each: the list of tests is a description of the program."""
    silent = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert silent == []
