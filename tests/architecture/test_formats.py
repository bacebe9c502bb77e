"""The worked examples of the format pages run, print what the pages say, and agree with the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from architecture.code import DOCS
from architecture.test_documents import blocks
from strongroom.ground.keyring import DataKey, _commitment
from strongroom.ground.master import MasterKey

ROOT = DOCS.parent
PAGES = sorted(path.name for path in (DOCS / "formats").glob("*.md"))


def run(code: str) -> str:
    """Run an example where its reader stands: in the root of the repository."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_example_prints_what_the_page_says(page: str) -> None:
    """Every format has an example that uses nothing of the program, and it is true."""
    code, said = blocks(DOCS / "formats" / page, "python"), blocks(DOCS / "formats" / page, "text")

    assert len(code) == len(said) == 1, "one example and what it prints"
    assert "strongroom." not in code[0].replace("# strongroom.", "")
    assert run(code[0]).strip() == said[0].strip()


def test_the_example_of_the_keyring_says_what_the_code_does(tmp_path: Path) -> None:
    """Same file, same derivation, same commitment."""
    (code,) = blocks(DOCS / "formats" / "keyring.md", "python")
    (said,) = blocks(DOCS / "formats" / "keyring.md", "text")
    space: dict[str, bytes] = {}
    exec(compile(code, "keyring.md", "exec"), space)
    path = tmp_path / "master.key"
    path.write_bytes(space["file"])
    path.chmod(0o600)

    master = MasterKey.load(path, passphrase=None, credentials=None)

    assert master.derive("fingerprint")[:8].hex() in said
    assert _commitment(DataKey(bytes([9]) * 16, bytes([7]) * 32)).hex()[:16] in said


def test_the_example_of_a_frame_index_is_one(tmp_path: Path) -> None:
    """The code reads the index that the page writes by hand."""
    from strongroom.dicom.frames import FrameIndex

    (code,) = blocks(DOCS / "formats" / "metadata.md", "python")
    space: dict[str, bytes] = {}
    exec(compile(code, "metadata.md", "exec"), space)

    index = FrameIndex.decode(space["index"])

    assert index.range_of(1) == [(1016, 1116), (1124, 1224)]
    assert index.range_of(2) == [(1232, 1282)]
