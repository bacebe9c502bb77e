"""
A home of every release opens, whole, with the newest program (DESIGN section 6, Home and configuration).

`tests/vectors/home/VERSION.tar.xz` is what that version left: `init` with the passphrase below, `import` of files that pydicom
ships, one enrolled device. Its master key is wrapped by the passphrase and protects nothing but these files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HOMES = Path(__file__).parents[1] / "vectors" / "home"
STRONGROOM = str(Path(sys.executable).with_name("strongroom"))
PASSPHRASE = "golden passphrase, for tests only"
HELD = {
    "0.1.tar.xz": {
        "patients": 7,
        "studies": 7,
        "series": 7,
        "instances": 7,
        "bytes": 293142,
        "conflicts": 1,
        "devices": 1,
    }
}


def unpacked(name, home):
    """The home of an older version, anew, as the folder *home*."""
    home.mkdir(mode=0o700)
    with tarfile.open(HOMES / name) as archive:
        archive.extractall(home, filter="data")
    for path in [home, *home.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return home


def opening(folder):
    """The environment in which they open; their passphrase is written into *folder*."""
    passphrase = folder / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    passphrase.chmod(0o600)
    return {**os.environ, "STRONGROOM_PASSPHRASE_FILE": str(passphrase)}


@pytest.fixture(params=sorted(path.name for path in HOMES.glob("*.tar.xz")))
def golden(request, tmp_path):
    """The home of an older version, and what it held."""
    return unpacked(request.param, tmp_path / "home"), opening(tmp_path), HELD[request.param]


def run(golden, *arguments):
    """Run a command on the home; its JSON."""
    home, environment, _ = golden
    command = [STRONGROOM, *arguments, "--home", str(home), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_golden_home_has_its_figures():
    """A home that somebody adds says what it holds."""
    assert sorted(HELD) == sorted(path.name for path in HOMES.glob("*.tar.xz"))


def test_an_older_home_opens_with_all_it_held(golden):
    """Nothing is lost by opening it: counts, every byte's digest, every record of the trail."""
    status = run(golden, "status")

    assert golden[2] == {key: status[key] for key in golden[2]}
    assert run(golden, "check", "--read")["findings"] == []
    assert run(golden, "trail", "verify")["findings"] == []


def test_an_older_home_goes_on_taking_images(golden, tmp_path):
    """What is sent again is known, and what is new is taken."""
    from pydicom.data import get_testdata_file

    home = golden[0]
    source = tmp_path / "files"
    source.mkdir()
    for name in ("CT_small.dcm", "RG3_UNCI.dcm"):
        (source / name).write_bytes(Path(str(get_testdata_file(name, download=False) or "")).read_bytes())
    command = [STRONGROOM, "import", str(source), "--home", str(home), "--json"]
    done = subprocess.run(command, env=golden[1], capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr
    assert run(golden, "status")["instances"] == golden[2]["instances"] + 1
