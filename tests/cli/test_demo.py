"""`strongroom demo`, run for real: a server, a hundred images over TLS, the stranger, the proofs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands import ENVIRONMENT

pytestmark = pytest.mark.xdist_group("demo")

DEMO = [sys.executable, "-m", "strongroom.cli", "demo"]
MODALITIES = {"CT", "MR", "US", "NM", "CR", "SR", "SEG", "ECG", "RTPLAN", "RTDOSE", "RTSTRUCT"}
SECONDS = 15
"""How long the demo may take; a machine that runs other tests beside it gets three times that."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any], Path]:
    """One run of `demo --exit --json`: how it ended, its figures, and the folder it had for temporary files."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [*DEMO, "--exit", "--json"], capture_output=True, text=True, check=False, timeout=120, env=ENVIRONMENT | {"TMPDIR": str(folder)}
    )  # fmt: skip
    return done, json.loads(done.stdout), folder


def test_everything_is_as_it_has_to_be(ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path]) -> None:
    """No findings, exit status 0, nothing on standard error, and one JSON document on standard output."""
    done, figures, _ = ran

    assert figures["findings"] == []
    assert (done.returncode, done.stderr) == (0, "")
    assert figures["seconds"] < 3 * SECONDS


def test_nothing_is_left_behind(ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path]) -> None:
    """The home, the bundles and their keys are gone."""
    _, figures, folder = ran

    assert figures["archive"]["home"].startswith(str(folder))
    assert list(folder.iterdir()) == []


def test_images_of_many_kinds_go_in_and_come_back(
    ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path],
) -> None:
    """Different modalities, transfer syntaxes and character sets; every one comes back bit for bit."""
    _, figures, _ = ran
    files, retrieved = figures["files"], figures["retrieved"]

    assert {row["modality"] for row in figures["sent"]} >= MODALITIES
    assert files["originals"] >= 100
    assert files["transfer_syntaxes"] >= 10
    assert files["character_sets"] >= 10
    assert files["originals"] == figures["stored"]["instances"] == retrieved["instances"] == retrieved["identical"]
    assert figures["stored"]["bytes"] == retrieved["bytes"] == sum(row["bytes"] for row in figures["sent"])
    assert retrieved["failed"] == 0


def test_nothing_is_replaced_and_nothing_broken_is_taken(
    ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path],
) -> None:
    """Files under a UID that is taken are duplicates or conflicts, incomplete ones are refused; the status agrees."""
    _, figures, _ = ran
    same_uid, held = figures["same_uid"], figures["status"]

    assert figures["files"]["same_uid"] == same_uid["same_content"] + same_uid["kept_aside"]
    assert same_uid["same_content"] >= 1
    assert same_uid["kept_aside"] == held["conflicts"] >= 1
    assert figures["broken"]["refused"] == figures["broken"]["sent"] == held["quarantine"] >= 2
    assert figures["files"]["originals"] == held["instances"]


def test_every_query_finds_what_the_files_say(
    ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path],
) -> None:
    """By name (two alphabets), date range and modality: some studies, not all; and all of them when everything is asked for."""
    _, figures, _ = ran
    *chosen, everything = figures["queries"]

    assert all(query["right"] for query in figures["queries"])
    assert figures["status"]["studies"] == everything["found"]
    assert all(0 < query["found"] < everything["found"] for query in chosen)
    assert {"PatientName", "StudyDate", "ModalitiesInStudy"} == {query["asked"].partition("=")[0] for query in chosen}
    assert any(not query["asked"].isascii() for query in chosen)


def test_every_stranger_is_refused_and_recorded(
    ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path],
) -> None:
    """Nine attempts at two doors, each with its own record in the trail."""
    _, figures, _ = ran
    strangers = figures["strangers"]

    assert [one["let_in"] for one in strangers] == [False] * 9
    assert [one["record"]["outcome"] for one in strangers] == [
        "certificate-missing",
        "certificate-untrusted",
        "ae-title-mismatch",
        "no-tls",
        "action-not-granted",
        "no-credential",
        "token-unknown",
        "token-in-url",
        "action-not-granted",
    ]
    assert len({one["record"]["sequence"] for one in strangers}) == 9
    assert strangers[4]["record"]["actor"] == "device:CT1"
    assert strangers[8]["record"]["actor"] == "service:CTGATE"


def test_a_web_client_gets_what_it_asks_for(
    ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path],
) -> None:
    """Search, metadata, files, ZIP archive and picture: each answer was what the files say."""
    _, figures, _ = ran

    assert len(figures["web"]["answered"]) == 5
    assert not [one for one in figures["web"]["answered"] if one["found"].startswith("NOT")]


def test_the_proofs_hold(ran: tuple[subprocess.CompletedProcess[str], dict[str, Any], Path]) -> None:
    """The trail is whole and longer than the acts that were shown; every instance was opened and compared."""
    _, figures, _ = ran

    assert [] == figures["trail"]["findings"] == figures["check"]["findings"]
    assert figures["trail"]["records"] > figures["status"]["studies"]
    assert figures["files"]["originals"] < figures["check"]["checked"]  # with what was kept aside


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    """Without --exit the archive answers commands until Ctrl-C (or SIGTERM); then the server has ended and the home is gone."""
    with (tmp_path / "said").open("w") as said:
        demo = subprocess.Popen(DEMO, stdout=said, stderr=said, env=ENVIRONMENT | {"TMPDIR": str(tmp_path)})
    text = ""
    try:
        for text in _growing(tmp_path / "said", demo):
            if "findscu" in text:
                break
        (home,) = tmp_path.glob("strongroom-demo-*/home")
        status = subprocess.run(
            [sys.executable, "-m", "strongroom.cli", "status", "--json", "--home", str(home)],
            capture_output=True, check=True, env=ENVIRONMENT,
        )  # fmt: skip
        assert json.loads(status.stdout)["serving"]
    finally:
        demo.send_signal(number)
        ended = demo.wait(30)

    assert (0 if number == signal.SIGINT else 128 + number) == ended
    assert list(tmp_path.glob("strongroom-demo-*")) == []
    assert f"export STRONGROOM_HOME={home}" in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("   $ ")) <= 100


def _growing(path: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
    end = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < end:
        yield path.read_text()
        time.sleep(0.1)
    raise AssertionError(path.read_text())
