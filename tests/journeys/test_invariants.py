"""
The invariants I1 to I10 of DESIGN section 5 and the promise of SECURITY 1c, on the running server and with real clients.

I7 has a journey of its own (test_canary.py); what the standard suite can show without a process is in tests/archive.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

from clients import require
from interop import harness
from interop.corpus import data_set_bytes
from journeys.sender import associate, contexts_of, copies, identity, send, statuses
from journeys.test_memory import association_request

pytestmark = pytest.mark.xdist_group("invariants")

ROUNDS = 4
START_SECONDS = 30
NEVER_PROMISED = {"orphan", "torn"}
"""What `check` may name after a crash: records whose sender was never answered."""
DUPLICATE_SOP_INSTANCE, OUT_OF_RESOURCES = 0x0111, 0xA700


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[harness.Archive, harness.Bundle]]:
    """A running archive with small packs, and a device that may do everything a device may."""
    with harness.archive(tmp_path, start=False) as archive:
        configuration = archive.home / "strongroom.toml"
        configuration.write_text(configuration.read_text().replace("pack-mebibytes = 256", "pack-mebibytes = 2"))
        archive.start()
        yield archive, archive.enrol("CT1")


def image() -> Path:
    """A small real CT image, explicit VR little endian."""
    return Path(str(get_testdata_file("CT_small.dcm")))


def retrieved(archive: harness.Archive, device: harness.Bundle, study: str) -> dict[str, bytes]:
    """Data sets that a C-GET of *study* brings, by SOP Instance UID, in the syntax they were sent in."""
    got: dict[str, bytes] = {}

    def take(event: evt.Event) -> int:
        got[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    _get(archive, device, study, take)
    return got


def _get(archive: harness.Archive, device: harness.Bundle, study: str, take: object) -> list[int]:
    context = ssl.create_default_context(cafile=device.authority)
    context.load_cert_chain(device.certificate, device.key)
    entity = AE(device.ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = entity.associate(
        "127.0.0.1", archive.port, ae_title="STRONGROOM", tls_args=(context, "localhost"),
        ext_neg=[build_role(CTImageStorage, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, take)],
    )  # fmt: skip
    if not association.is_established:
        raise ConnectionRefusedError
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", study
    found = []
    with contextlib.suppress(RuntimeError):
        for status, _ in association.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet):
            found.append(int(status.Status) if "Status" in status else -1)
    if association.is_established:
        association.release()
    return found


def clean(archive: harness.Archive, *, but: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """`check --read` finds nothing but *but*; `trail verify` finds nothing."""
    findings = archive.json("check", "--read", status=None)["findings"]
    assert {finding["kind"] for finding in findings} <= set(but), findings
    proof = archive.json("trail", "verify")
    assert proof["findings"] == []


def counts(archive: harness.Archive) -> dict[str, int]:
    """What `status` says."""
    found: dict[str, int] = archive.json("status")  # type: ignore[assignment]
    return found


def records(archive: harness.Archive) -> list[dict[str, str]]:
    """The trail, newest first."""
    found: list[dict[str, str]] = archive.json("trail", "show", "--last", "1000")  # type: ignore[assignment]
    return found


def test_i1_what_was_acknowledged_survives_kill_9(
    place: tuple[harness.Archive, harness.Bundle], tmp_path: Path
) -> None:
    """
    Killed at a random moment under load, several times: it starts without hands, every acknowledged instance comes back
    bit for bit, what was not acknowledged is whole or absent and can be sent again, check and trail are clean (I1, I2).
    """
    archive, device = place
    seed = int(os.environ.get("STRONGROOM_SEED", "0")) or random.randrange(1 << 30)
    print(f"seed {seed}")
    moments = random.Random(seed)
    acknowledged: dict[str, Path] = {}
    studies: dict[str, dict[str, Path]] = {}
    for number in range(ROUNDS):
        folder = tmp_path / f"round{number}"
        folder.mkdir()
        paths = [copies(image(), folder, 60) for _ in range(2)]
        for sent in paths:
            studies[identity(sent[0])[0]] = {identity(path)[2]: path for path in sent}
        ledger = _load_and_kill(archive, device, paths, moments.uniform(0.05, 0.9))
        acknowledged |= {identity(path)[2]: path for path in ledger}
        assert archive.start() < START_SECONDS
        for study in list(studies)[-2:]:
            got = retrieved(archive, device, study)
            assert {uid for uid in studies[study] if uid in acknowledged} <= set(got)
            for uid, data in got.items():
                assert data == data_set_bytes(studies[study][uid]), uid

    assert acknowledged
    again = [path for sent in studies.values() for uid, path in sent.items() if uid not in acknowledged]
    assert set(send(archive, device, again)) <= {0}
    assert counts(archive)["instances"] == sum(len(sent) for sent in studies.values())
    clean(archive, but=NEVER_PROMISED)
    archive.stop()
    clean(archive, but=NEVER_PROMISED)
    assert "Traceback" not in archive.log.read_text()


def _load_and_kill(
    archive: harness.Archive, device: harness.Bundle, loads: list[list[Path]], seconds: float
) -> list[Path]:
    """Send each load over an association of its own; kill the server after *seconds*; return what was acknowledged."""
    ledger: list[Path] = []
    started = threading.Barrier(len(loads) + 1)

    def one(paths: list[Path]) -> None:
        association = associate(archive, device, contexts_of(paths))
        started.wait()
        for path, status in statuses(association, paths):
            if status == 0:
                ledger.append(path)
        association.abort()

    with ThreadPoolExecutor(len(loads)) as pool:
        running = [pool.submit(one, paths) for paths in loads]
        started.wait()
        time.sleep(seconds)
        archive.stop(signal.SIGKILL)
        for task in running:
            task.result(90)
    return ledger


def test_i1_no_answer_leaves_before_its_flushes(place: tuple[harness.Archive, harness.Bundle], tmp_path: Path) -> None:
    """Seen from the kernel: after an image is appended to the pack, nothing is sent before pack and database are flushed."""
    archive, device = place
    strace = require("strace")
    paths = copies(image(), tmp_path, 3)
    assert send(archive, device, paths[:1]) == [0]
    assert archive.process is not None
    log = tmp_path / "strace.log"
    calls = "trace=fdatasync,fsync,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg"
    tracer = subprocess.Popen(
        [strace, "-f", "-yy", "-s", "0", "-e", calls, "-o", str(log), "-p", str(archive.process.pid)],
        stderr=subprocess.PIPE,
    )
    try:
        assert tracer.stderr is not None
        assert b"attached" in tracer.stderr.readline()
        assert send(archive, device, paths[1:]) == [0, 0]
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        tracer.stderr.close()
    orders = _orders(log.read_text().splitlines())

    assert len(orders) == 2
    for order in orders:
        assert order.index("flush pack") < order.index("send"), order
        assert order.index("flush database") < order.index("send"), order


def _orders(lines: list[str]) -> list[list[str]]:
    """For each append to a pack, what was done from there to the first bytes on the association's socket."""
    found: list[list[str]] = []
    order: list[str] = []
    for line in lines:
        step = _step(line)
        if step == "append":
            order = [step]
            found.append(order)
        elif order and step:
            order.append(step)
            if step == "send":
                order = []
    return found


def _step(line: str) -> str:
    flush = re.search(r"(fdatasync|fsync)\(\d+<([^>]*)>", line)
    if flush:
        return "flush pack" if "/vault/" in flush[2] else "flush database" if "archive.db-wal" in flush[2] else ""
    write = re.search(r"(?:pwrite64|pwritev2?)\(\d+<([^>]*)>", line)
    if write:
        return "append" if "/vault/" in write[1] else ""
    return "send" if re.search(r"(?:write|writev|sendto|sendmsg)\(\d+<TCP", line) else ""


def test_i2_a_missing_pack_is_named_and_never_served(
    place: tuple[harness.Archive, harness.Bundle], tmp_path: Path
) -> None:
    """A pack that is gone: check names every instance of it, a retrieve fails for those and gives the others."""
    archive, device = place
    paths = copies(image(), tmp_path, 90)
    assert set(send(archive, device, paths)) == {0}
    archive.stop()
    packs = sorted((archive.home / "vault").iterdir())
    assert len(packs) > 1
    packs[0].rename(tmp_path / "gone")
    found = archive.json("check", "--read", status=1)["findings"]
    archive.start()
    study = identity(paths[0])[0]
    got = retrieved(archive, device, study)

    assert "missing-pack" in {finding["kind"] for finding in found}
    assert 0 < len(got) < 90
    by_uid = {identity(path)[2]: path for path in paths}
    assert all(data == data_set_bytes(by_uid[uid]) for uid, data in got.items())
    assert 90 - len(got) <= len([finding for finding in found if finding["where"].startswith("instance ")])

    archive.stop()
    (tmp_path / "gone").rename(packs[0])
    clean(archive)


def test_i3_the_same_from_everywhere_is_one_blob(place: tuple[harness.Archive, harness.Bundle], tmp_path: Path) -> None:
    """One instance from six associations at once, many times: all are answered 0000, one is kept (SECURITY D08)."""
    archive, device = place
    (path,) = copies(image(), tmp_path, 1)
    with ThreadPoolExecutor(6) as pool:
        answers = [
            status for found in pool.map(lambda _: send(archive, device, [path] * 10), range(6)) for status in found
        ]
    kept = sum(pack.read_bytes().count(b"SRrd") for pack in (archive.home / "vault").iterdir())

    assert [0] * 60 == answers
    assert (1, 0) == (counts(archive)["instances"], counts(archive)["conflicts"])
    assert 1 == kept
    clean(archive)


def test_i3_other_content_never_replaces_the_first(
    place: tuple[harness.Archive, harness.Bundle], tmp_path: Path
) -> None:
    """The same UID with other pixels is answered 0111, kept aside with an alert; the first comes back, after a restart too (D07)."""
    archive, device = place
    (path,) = copies(image(), tmp_path, 1)
    study, _, uid = identity(path)
    assert send(archive, device, [path]) == [0]
    other = tmp_path / "other.dcm"
    changed = pydicom.dcmread(path)
    changed.PixelData = bytes(len(changed.PixelData))
    changed.save_as(other)

    assert [DUPLICATE_SOP_INSTANCE] * 2 == send(archive, device, [other, other])
    assert [0] == send(archive, device, [path])
    assert (1, 1) == (counts(archive)["instances"], counts(archive)["conflicts"])
    assert {uid: data_set_bytes(path)} == retrieved(archive, device, study)
    assert any("other content" in record["event"] for record in records(archive))
    archive.stop(signal.SIGKILL)
    archive.start()
    assert {uid: data_set_bytes(path)} == retrieved(archive, device, study)
    clean(archive)


def test_i4_what_is_not_whole_is_never_answered_with_success(
    place: tuple[harness.Archive, harness.Bundle], tmp_path: Path
) -> None:
    """Cut anywhere, an image is refused with C000, kept in quarantine and not found; the whole one is taken afterwards (D04)."""
    archive, device = place
    (path,) = copies(image(), tmp_path, 1)
    study, _, uid = identity(path)
    whole = path.read_bytes()
    cut = []
    for missing in (1, 2, 3, 500, 7000, 20_000, 33_000):
        cut.append(tmp_path / f"cut{missing}.dcm")
        cut[-1].write_bytes(whole[:-missing])
    answers = send(archive, device, cut)

    assert {0xC} == {status >> 12 for status in answers}, answers
    assert (0, len(cut)) == (counts(archive)["instances"], counts(archive)["quarantine"])
    assert {} == retrieved(archive, device, study)
    assert [0] == send(archive, device, [path])
    assert {uid: whole[-len(data_set_bytes(path)) :]} == retrieved(archive, device, study)
    clean(archive)


def test_i5_a_byte_that_left_has_its_record(place: tuple[harness.Archive, harness.Bundle], tmp_path: Path) -> None:
    """Killed the moment the first image arrives at the reader: after the restart the trail says who was getting which study."""
    archive, _ = place
    sender = archive.enrol("SEND1", "deposit")
    reader = archive.enrol("READER", "query,retrieve")
    paths = copies(image(), tmp_path, 5)
    study = identity(paths[0])[0]
    assert send(archive, sender, paths) == [0] * 5
    arrived = []

    def kill(event: evt.Event) -> int:
        if not arrived:
            arrived.append(str(event.request.AffectedSOPInstanceUID))
            archive.stop(signal.SIGKILL)
        return 0

    _get(archive, reader, study, kill)
    archive.start()
    begun = [record for record in records(archive) if "begin" in record["event"] and "READER" in record["actor"]]

    assert arrived
    assert len(begun) == 1
    assert study in begun[0]["about"]
    patient = pydicom.dcmread(image()).PatientID
    assert f"patient {patient}" in begun[0]["about"]
    clean(archive)


def test_i6_any_bytes_are_answered_or_ended(place: tuple[harness.Archive, harness.Bundle]) -> None:
    """An enrolled device that sends garbage and mutations of what is right disturbs nobody, and no exception is logged."""
    archive, device = place
    context = ssl.create_default_context(cafile=device.authority)
    context.load_cert_chain(device.certificate, device.key)
    source = random.Random(6)
    good = association_request("CT1")
    for number in range(120):
        data = bytearray(good)
        if number % 3 == 0:
            data = bytearray(source.randbytes(source.randrange(1, 400)))
        else:
            for _ in range(source.randrange(1, 6)):
                data[source.randrange(len(data))] = source.randrange(256)
            if number % 3 == 2:
                data += source.randbytes(source.randrange(300))
        with (
            contextlib.suppress(OSError),
            socket.create_connection(
                ("127.0.0.1", archive.port), timeout=10, source_address=(f"127.0.0.{2 + number % 100}", 0)
            ) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(bytes(data))
            secure.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                answer = secure.recv(4096)
                assert not answer or 1 < answer[0] < 8
    assert associate(archive, device, [("1.2.840.10008.1.1", "1.2.840.10008.1.2")]).send_c_echo().Status == 0
    assert "Traceback" not in archive.log.read_text()
    clean(archive)


def test_i8_changed_bytes_are_refused(place: tuple[harness.Archive, harness.Bundle], tmp_path: Path) -> None:
    """Bits flipped in, and bytes exchanged between, sealed images: those are named by check and not served, all others are."""
    archive, device = place
    paths = copies(image(), tmp_path, 12)
    by_uid = {identity(path)[2]: path for path in paths}
    assert set(send(archive, device, paths)) == {0}
    archive.stop()
    (pack,) = (archive.home / "vault").glob("*.open")
    content = bytearray(pack.read_bytes())
    at = [found.start() for found in re.finditer(b"SRrd", content)]
    assert len(at) == 12
    content[at[1] + 5000] ^= 0x10
    length = 30_000
    first, second = (slice(at[number] + 64, at[number] + 64 + length) for number in (4, 5))
    content[first], content[second] = content[second], content[first]
    content[at[8] + 64 + 20_000 : at[8] + 64 + 20_100] = bytes(100)
    pack.write_bytes(content)
    found = archive.json("check", "--read", status=1)["findings"]
    archive.start()
    got = retrieved(archive, device, identity(paths[0])[0])

    named = {finding["where"].split(",")[0] for finding in found if finding["where"].startswith("instance ")}
    assert {"instance 2", "instance 5", "instance 6", "instance 9"} == named
    assert len(got) == 8
    assert all(data == data_set_bytes(by_uid[uid]) for uid, data in got.items())
    assert any(record["outcome"] != "success" and "transferred" in record["event"] for record in records(archive))


def test_i9_written_bytes_never_change(place: tuple[harness.Archive, harness.Bundle], tmp_path: Path) -> None:
    """Whatever happens afterwards, deposits, a kill, a restart, a check: records stand as they were written, closed packs entirely."""
    archive, device = place
    vault = archive.home / "vault"
    study = "2.25.1234567"
    seen: list[tuple[str, bytes]] = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert set(send(archive, device, copies(image(), folder, 45, study=f"{study}{number}"))) == {0}
        for name, written in seen:
            candidates = [path for path in vault.iterdir() if path.stem == name]
            assert candidates[0].read_bytes().startswith(written), name
        for path in vault.iterdir():
            content = path.read_bytes()
            closed = path.suffix == ".pack"
            seen.append((path.stem, content if closed else content[: _end_of_records(content)]))
        if number % 2:
            archive.stop(signal.SIGKILL)
            archive.start()
            archive.command("check", "--read", status=None)
    assert any(path.suffix == ".pack" for path in vault.iterdir())


def _end_of_records(content: bytes) -> int:
    """Behind the last whole record: behind it stand zeros."""
    return len(content.rstrip(b"\0"))


def test_i10_no_record_no_bytes(place: tuple[harness.Archive, harness.Bundle], tmp_path: Path) -> None:
    """
    On a disk that takes nothing more no image leaves and none is acknowledged; with room again everything is as it was (P5).
    """
    archive, device = place
    paths = copies(image(), tmp_path, 3)
    study = identity(paths[0])[0]
    assert send(archive, device, paths[:2]) == [0, 0]
    before = {identity(path)[2]: data_set_bytes(path) for path in paths[:2]}
    assert retrieved(archive, device, study) == before
    assert archive.process is not None
    # every write beyond the first kilobyte of any file fails from here on, as on a full disk
    resource.prlimit(archive.process.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    got: list[str] = []

    def take(event: evt.Event) -> int:
        got.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    try:
        answers = _get(archive, device, study, take)
    except ConnectionRefusedError:
        answers = []  # not even the association could be recorded
    assert 0x0000 not in answers
    try:
        refused = send(archive, device, paths[2:])
    except ConnectionRefusedError:
        refused = [OUT_OF_RESOURCES]
    assert [OUT_OF_RESOURCES] == refused
    assert [] == got
    archive.stop(signal.SIGKILL)
    archive.start()

    assert retrieved(archive, device, study) == before
    assert send(archive, device, paths[2:]) == [0]
    clean(archive, but=NEVER_PROMISED)


def test_one_writer(place: tuple[harness.Archive, harness.Bundle], tmp_path: Path) -> None:
    """A second `serve` is refused, also while a command goes through the socket; after kill -9 the home starts again."""
    archive, device = place
    paths = copies(image(), tmp_path, 3)
    for _ in range(2):
        with ThreadPoolExecutor(2) as pool:
            command = pool.submit(archive.command, "check", "--read")
            second = archive.command("serve", status=None)
            assert command.result().returncode == 0
        assert second.returncode == 3, second
        assert "owns this home" in second.stderr
        assert "ready" not in second.stdout
    assert send(archive, device, paths[:1]) == [0]
    archive.stop(signal.SIGKILL)
    assert (archive.home / "control.sock").exists()
    # a command on a home whose server was killed takes the lock itself, though the socket's file is still there
    assert counts(archive)["instances"] == 1
    assert archive.start() < START_SECONDS
    assert archive.command("serve", status=None).returncode == 3
    assert send(archive, device, paths[1:]) == [0, 0]
    assert archive.stop() == 0
    clean(archive)
