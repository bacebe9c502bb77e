"""The documentation's code runs: the Python of the guide, as it stands, against an archive as its users have it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from architecture.code import DOCS
from architecture.test_documents import blocks
from interop.harness import Archive, archive

IMAGE = str(get_testdata_file("CT_small.dcm"))
INSTANCE = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """An archive with its doors open."""
    with archive(tmp_path_factory.mktemp("examples")) as one:
        yield one


def run(page: str, port: int, folder: Path, **changes: str) -> str:
    """Run the Python of a page in *folder*; only the port, and what the reader is meant to change, are replaced."""
    (body,) = blocks(DOCS / "guide" / page, "python")
    assert "2762" in body
    body = body.replace("2762", str(port))
    for old, new in changes.items():
        assert old in body
        body = body.replace(old, new)
    done = subprocess.run(
        [sys.executable, "-c", body],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_guide_shows_works(running: Archive) -> None:
    """A modality sends by the guide's example, a viewer finds and fetches by the guide's example."""
    modality, viewer = running.enrol("CT1", "deposit"), running.enrol("WS1", "query,retrieve")
    shutil.copy(IMAGE, modality.folder / "image.dcm")

    sent = run("connect-a-modality.md", running.port, modality.folder)
    fetched = run("connect-a-viewer.md", running.port, viewer.folder, SMITH="CompressedSamples")

    assert sent.strip() == "0000"
    assert fetched.split()[1:] == ["0000", "1"]
    assert (viewer.folder / f"{INSTANCE}.dcm").is_file()


def test_the_settings_page_of_a_bundle_says_what_the_guide_says(running: Archive) -> None:
    """Host, port, both AE titles and the command to try stand in README.txt."""
    bundle = running.enrol("MR1", "deposit")

    page = (bundle.folder / "README.txt").read_text("utf-8")

    assert all(
        word in page for word in ("localhost", str(running.port), "STRONGROOM", "MR1", "device.key", "echoscu +tls")
    )
