"""Wires that break at every place of a C-STORE and a C-MOVE, and retries that come three at a time (faults 15 and 16)."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pynetdicom import build_context

from clients import require
from faults.instances import Instance, some
from faults.proxy import Wire, wire
from faults.scene import Scene, scene
from interop import harness, peer

pytestmark = pytest.mark.xdist_group("network")
CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Wire, int]]:
    """An archive, a wire to the destination its device is known under, and the port behind that wire."""
    behind = harness.free_port()
    with (
        wire(behind) as towards_destination,
        scene(tmp_path_factory.mktemp("network"), move_port=towards_destination.port) as made,
    ):
        yield made, towards_destination, behind


def _storescu(made: Scene, one: Instance, port: int, folder: Path) -> bool:
    path = folder / "one.dcm"
    path.write_bytes(one.file)
    names = ["-aet", made.device.ae_title, "-aec", "STRONGROOM", "localhost", str(port)]
    command = [require("storescu"), "-R", "--max-send-pdu", "16384", *made.device.tls, *names, str(path)]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.parametrize(("towards", "hole"), [("there", 0.0), ("there", 0.3), ("back", 0.0)])
def test_a_store_may_break_anywhere(place: tuple[Scene, Wire, int], tmp_path: Path, towards: str, hole: float) -> None:
    """
    Cut by RST, or silent first, at every PDU and between them, on the way in and on the way back: without its answer a sender
    has no promise, what is there is whole, and sending it again succeeds (fault 15).
    """
    made = place[0]
    source = random.Random(15)
    with wire(made.archive.port) as towards_archive:
        (whole,) = some(source, ("ct",), 1)
        assert _storescu(made, whole, towards_archive.port, tmp_path)
        length = towards_archive.passed[towards]
        towards_archive.towards, towards_archive.hole = towards, hole
        for cut in sorted({*range(0, length, length // 9), length - 200, length - 1}):
            (one,) = some(source, ("ct",), 1)
            towards_archive.cut = cut
            acknowledged = _storescu(made, one, towards_archive.port, tmp_path)
            towards_archive.cut = None
            web = made.web()
            made.look_at(web, one.study, [one], {one.sop} if acknowledged else set())
            assert _storescu(made, one, towards_archive.port, tmp_path)
            assert {one.sop} == made.look_at(web, one.study, [one], {one.sop})
            web.close()
    made.checked()
    made.proved()
    made.quiet()


def test_a_move_over_a_breaking_wire_counts_what_arrived(place: tuple[Scene, Wire, int]) -> None:
    """
    The destination's wire is cut at several places: the counts of the final response add up, completed ones arrived whole, and
    a move after that brings everything (fault 15).
    """
    made, towards_destination, behind = place
    sent = some(random.Random(16), ("ct",), 6)
    web = made.web()
    assert set(web.store(sent).values()) == {0}
    expected = {one.sop: one.data_set for one in sent}
    root = peer.MOVE["study"]
    with peer.storage_scp(made.device, behind, [build_context(CT, EXPLICIT)]) as kept:

        def move(cut: int | None) -> tuple[int, int, int]:
            kept.data_sets.clear()
            towards_destination.cut = cut
            with peer.associated(made.device, made.archive.port, [build_context(root)]) as association:
                asked = peer.identifier("STUDY", {"StudyInstanceUID": sent[0].study})
                *_, (last, _) = association.send_c_move(asked, made.device.ae_title, root)
            towards_destination.cut = None
            return (
                int(last.NumberOfCompletedSuboperations),
                int(last.NumberOfFailedSuboperations),
                int(last.Status),
            )

        assert (6, 0, 0) == move(None)
        length = towards_destination.passed["there"]
        for cut in range(0, length, length // 7):
            completed, failed, status = move(cut)
            assert 6 == completed + failed
            assert bool(status) == bool(failed)
            assert completed <= len(kept.data_sets)
            assert kept.data_sets.items() <= expected.items()
        assert (6, 0, 0) == move(None)
        assert expected == kept.data_sets
    made.proved()
    made.quiet()


def test_retries_three_at_a_time_make_one_instance(place: tuple[Scene, Wire, int], tmp_path: Path) -> None:
    """Every instance three times at once, in other orders, by both doors: one is kept, one record says created (fault 16)."""
    made = place[0]
    sent = some(random.Random(17), ("ct", "mr"), 12)
    before = _packed(made)

    def by_web(number: int) -> set[int]:
        web = made.web()
        mixed = random.Random(number).sample(sent, len(sent))
        return {status for at in range(0, 12, 3) for status in web.store(mixed[at : at + 3]).values()}

    def by_dicom(number: int) -> set[int]:
        folder = tmp_path / str(number)
        folder.mkdir()
        return {int(not _storescu(made, one, made.archive.port, folder)) for one in reversed(sent)}

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(by_web, 1), pool.submit(by_web, 2), pool.submit(by_dicom, 3)]
        assert [{0}] * 3 == [one.result() for one in answers]
    everything = {one.sop for one in sent}
    assert everything == made.look_at(made.web(), sent[0].study, sent, everything)
    time.sleep(0.2)
    assert 12 == _packed(made) - before
    assert made.archive.json("status")["conflicts"] == 0
    created = [one for one, action in made.deposits() if action == "C" and one in everything]
    assert sorted(everything) == sorted(created)


def _packed(made: Scene) -> int:
    """Records of instances in the packs."""
    return sum(path.read_bytes().count(b"SRrd") for path in (made.archive.home / "vault").iterdir())
