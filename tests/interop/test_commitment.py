"""
Storage commitment with pynetdicom on the other side, over TLS: as the modality that asks, and as an archive that is asked.

DCMTK has no storage commitment client or server, so there is one real peer only.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel

from interop import corpus, harness, peer

pytestmark = pytest.mark.xdist_group("commitment")

INSTANCE = "1.2.840.10008.1.20.1.1"
PATIENCE = 60


@dataclass
class Told:
    """What N-EVENT-REPORT said."""

    event_type: int
    transaction: str
    kept: list[str]
    failed: dict[str, int]
    calling: str = ""


@dataclass
class Device:
    """The address of a device, where it takes results as an SCU does: by a role that the caller proposes."""

    bundle: harness.Bundle
    port: int
    told: queue.Queue[Told] = field(default_factory=queue.Queue)
    asked: list[Dataset] = field(default_factory=list)
    answer: int = 0x0000

    def hear(self, event: evt.Event) -> tuple[int, None]:
        """Take a result."""
        data = event.event_information
        kept = [str(one.ReferencedSOPInstanceUID) for one in data.get("ReferencedSOPSequence", [])]
        failed = {
            str(one.ReferencedSOPInstanceUID): int(one.FailureReason) for one in data.get("FailedSOPSequence", [])
        }
        calling = event.assoc.requestor.ae_title
        self.told.put(Told(int(event.event_type), str(data.TransactionUID), kept, failed, calling))
        return self.answer, None

    def act(self, event: evt.Event) -> tuple[int, None]:
        """Be asked."""
        self.asked.append(event.action_information)
        return 0x0000, None


@contextlib.contextmanager
def listening(device: Device, *, as_scp: bool = False, bundle: harness.Bundle | None = None) -> Iterator[Device]:
    """The device takes calls, over TLS with its own certificate unless *bundle* is another's."""
    shown = bundle or device.bundle
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=shown.authority)
    context.load_cert_chain(shown.certificate, shown.key)
    context.verify_mode = ssl.CERT_REQUIRED
    entity = AE(ae_title=device.bundle.ae_title)
    if as_scp:
        entity.add_supported_context(StorageCommitmentPushModel)
    else:
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    server = entity.start_server(
        ("localhost", device.port),
        block=False,
        ssl_context=context,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, device.hear), (evt.EVT_N_ACTION, device.act)],
    )
    assert server is not None
    try:
        yield device
    finally:
        server.shutdown()


@dataclass
class Place:
    """An archive with a modality that has an address, and one that has none."""

    archive: harness.Archive
    modality: Device
    simple: Device
    other: harness.Bundle
    samples: list[corpus.Sample]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A running archive that holds some images of the modality, and one of another."""
    with harness.archive(tmp_path) as archive:
        port = harness.free_port()
        modality = archive.enrol("CT1", "deposit", move_port=f"localhost:{port}")
        simple = archive.enrol("CT2", "deposit")
        other = archive.enrol("CT3", "deposit", move_port=f"localhost:{harness.free_port()}")
        samples = list(corpus.originals())[:6]
        for bundle, some in ((modality, samples[:5]), (other, samples[5:])):
            with (
                peer.bytes_as_they_are(),
                peer.associated(bundle, archive.port, peer.syntaxes_of(some)) as association,
            ):
                assert [0] * len(some) == [association.send_c_store(one.path).Status for one in some]
        yield Place(archive, Device(modality, port), Device(simple, 0), other, samples)


def request(references: list[tuple[str, str]], transaction: str | None = None) -> Dataset:
    """What N-ACTION brings."""
    made = Dataset()
    made.TransactionUID = transaction or generate_uid()
    made.ReferencedSOPSequence = []
    for sop_class, instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        made.ReferencedSOPSequence.append(item)
    return made


def of(samples: list[corpus.Sample]) -> list[tuple[str, str]]:
    """References to *samples*."""
    return [(one.sop_class_uid, one.sop_instance_uid) for one in samples]


@contextlib.contextmanager
def calling(device: Device, port: int) -> Iterator[Association]:
    """An association of the device that takes results as well."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=device.bundle.authority)
    context.load_cert_chain(device.bundle.certificate, device.bundle.key)
    association = AE(ae_title=device.bundle.ae_title).associate(
        "localhost",
        port,
        contexts=[build_context(StorageCommitmentPushModel)],
        ae_title="STRONGROOM",
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, device.hear)],
        tls_args=(context, "localhost"),
    )
    assert association.is_established
    try:
        yield association
    finally:
        end(association)


def end(association: Association) -> None:
    """
    Release, within a bound: pynetdicom's release may wait for ever when its other thread is just ending a handler.

    The archive does not depend on it; when the client hangs, its socket goes with the server's.
    """
    releasing = threading.Thread(target=association.release, daemon=True)
    releasing.start()
    releasing.join(10)
    if releasing.is_alive():
        association.dul.kill_dul()


def ask(association: Association, asked: Dataset, *, action: int = 1) -> int:
    """N-ACTION; its status."""
    status, _ = association.send_n_action(asked, action, StorageCommitmentPushModel, INSTANCE)
    return int(status.Status)


def listed(archive: harness.Archive) -> list[dict[str, Any]]:
    """`commitment list`."""
    found: Any = archive.json("commitment", "list")
    commitments: list[dict[str, Any]] = found["commitments"]
    return commitments


def until(condition: Callable[[], bool]) -> None:
    """Wait for the server."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_result_comes_on_the_association_that_asked(place: Place) -> None:
    """Also to a device without an address: all kept is event 1, the rest are named with their reasons in event 2."""
    with calling(place.modality, place.archive.port) as association:
        asked = request(of(place.samples[:5]))
        assert 0x0000 == ask(association, asked)
        told = place.modality.told.get(timeout=PATIENCE)
        assert (1, str(asked.TransactionUID), {}) == (told.event_type, told.transaction, told.failed)
        assert {one.sop_instance_uid for one in place.samples[:5]} == set(told.kept)

        first, foreign, unknown = place.samples[0], place.samples[5], generate_uid()
        wrong_class = (StorageCommitmentPushModel, place.samples[1].sop_instance_uid)
        assert 0x0000 == ask(association, request([*of([first, foreign]), (first.sop_class_uid, unknown), wrong_class]))
        told = place.modality.told.get(timeout=PATIENCE)
        assert (2, [first.sop_instance_uid]) == (told.event_type, told.kept)
        assert {foreign.sop_instance_uid: 0x0112, unknown: 0x0112, wrong_class[1]: 0x0119} == told.failed
    with calling(place.simple, place.archive.port) as association:
        assert 0x0000 == ask(association, request(of(place.samples[:1])))
        told = place.simple.told.get(timeout=PATIENCE)
        assert {place.samples[0].sop_instance_uid: 0x0112} == told.failed

    until(lambda: ["over"] * 3 == [one["state"] for one in listed(place.archive)])
    shown: Any = place.archive.json("trail", "show")
    assert {"storage commitment"} <= {one["event"] for one in shown}
    assert [] == place.archive.json("trail", "verify")["findings"]  # type: ignore[call-overload,index]


def test_the_result_comes_on_an_association_of_ours(place: Place) -> None:
    """The one that asked is gone: the device is called at its address, in the role of the provider."""
    with listening(place.modality):
        with calling(place.modality, place.archive.port) as association:
            asked = request(of(place.samples[:5]))
            association.network_timeout = 1
            place.modality.answer = 0x0110  # not taken on this one
            assert 0x0000 == ask(association, asked)
            place.modality.told.get(timeout=PATIENCE)
            place.modality.answer = 0x0000
        told = place.modality.told.get(timeout=PATIENCE)

        assert (1, "STRONGROOM", 5) == (told.event_type, told.calling, len(told.kept))
        until(lambda: "over" == listed(place.archive)[0]["state"])


def test_the_result_goes_only_to_who_shows_the_certificate(place: Place) -> None:
    """Somebody else at the address, with a good certificate of this archive, is told nothing; the device is, later."""
    with calling(place.modality, place.archive.port) as association:
        place.modality.answer = 0x0110
        assert 0x0000 == ask(association, request(of(place.samples[:2])))
        place.modality.told.get(timeout=PATIENCE)
    place.modality.answer = 0x0000
    with listening(place.modality, bundle=place.other):
        until(lambda: "PeerIdentityError" in jobs(place)[0]["problem"])
        assert place.modality.told.empty()
    with listening(place.modality):
        place.archive.command("jobs", "retry", str(jobs(place)[0]["id"]), status=None)  # it may have come by itself
        told = place.modality.told.get(timeout=PATIENCE)

    assert (1, 2) == (told.event_type, len(told.kept))


def jobs(place: Place) -> list[dict[str, Any]]:
    """Reports that wait or are over."""
    found: Any = place.archive.json("jobs", "list", "--kind", "commitment-report", status=None)
    reports: list[dict[str, Any]] = found["jobs"]
    return reports or [{"problem": ""}]


def test_a_request_outlives_kill_9(place: Place) -> None:
    """Killed after the answer to the request: the next server examines and tells, without anybody asking."""
    place.modality.answer = 0x0110
    with calling(place.modality, place.archive.port) as association:
        assert 0x0000 == ask(association, request(of(place.samples[:5]), "1.2.3.4"))
        place.archive.stop(signal.SIGKILL)
    while not place.modality.told.empty():
        place.modality.told.get()
    place.modality.answer = 0x0000
    with listening(place.modality):
        place.archive.start()
        told = place.modality.told.get(timeout=PATIENCE)

    assert (1, "1.2.3.4", 5) == (told.event_type, told.transaction, len(told.kept))


def test_requests_that_cannot_be_taken(place: Place) -> None:
    """Another action, another list under a Transaction UID, nothing asked for: each with a status that says so."""
    with calling(place.modality, place.archive.port) as association:
        assert 0x0123 == ask(association, request(of(place.samples[:1])), action=2)
        assert 0x0106 == ask(association, request([]))
        assert 0x0000 == ask(association, request(of(place.samples[:1]), "1.2.3"))
        assert 0x0000 == ask(association, request(of(place.samples[:1]), "1.2.3"))
        assert 0x0110 == ask(association, request(of(place.samples[:2]), "1.2.3"))
        assert 1 == place.modality.told.get(timeout=PATIENCE).event_type


def test_ten_thousand_instances_that_were_never_sent(place: Place) -> None:
    """Each is named with 0112, within seconds, and others are served meanwhile (SECURITY D20)."""
    unknown = [(place.samples[0].sop_class_uid, f"1.2.826.0.1.{number}") for number in range(10_000)]
    with calling(place.modality, place.archive.port) as association:
        association.dimse_timeout = PATIENCE
        began = time.monotonic()
        assert 0x0000 == ask(association, request(unknown))
        told = place.modality.told.get(timeout=PATIENCE)
        took = time.monotonic() - began

    assert (2, 10_000, {0x0112}) == (told.event_type, len(told.failed), set(told.failed.values()))
    assert took < PATIENCE / 2


@pytest.mark.parametrize("same_association", [True, False])
def test_we_ask_another_archive(place: Place, *, same_association: bool) -> None:
    """It is asked about every instance of the study; its result comes at once or on an association of its own."""
    port = harness.free_port()
    other = Device(place.archive.enrol("ARCHIVE2", "deposit,retrieve", move_port=f"localhost:{port}"), port)
    study = place.samples[0].study_instance_uid
    mine = [one for one in place.samples if one.study_instance_uid == study]

    def act(event: evt.Event) -> tuple[int, None]:
        other.asked.append(event.action_information)
        return 0x0000, None

    other.act = act  # type: ignore[method-assign]
    with listening(other, as_scp=True):
        made: Any = place.archive.json("commitment", "ask", "ARCHIVE2", "--study", study)
        assert len(mine) == made["instances"]
        until(lambda: bool(other.asked))
        (asked,) = other.asked
        assert {one.sop_instance_uid for one in mine} == {
            str(one.ReferencedSOPInstanceUID) for one in asked.ReferencedSOPSequence
        }
        tell(other, place.archive.port, asked, failed=same_association)
    until(lambda: "over" == listed(place.archive)[0]["state"])

    shown: Any = place.archive.json("commitment", "show", str(made["id"]), status=1 if same_association else 0)
    assert (len(mine) if same_association else 0) == shown["failed"] == len(shown["not_kept"])


def tell(device: Device, port: int, asked: Dataset, *, failed: bool) -> None:
    """The other archive's result, on an association of its own, in the role of the provider."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=device.bundle.authority)
    context.load_cert_chain(device.bundle.certificate, device.bundle.key)
    association = AE(ae_title=device.bundle.ae_title).associate(
        "localhost",
        port,
        contexts=[build_context(StorageCommitmentPushModel)],
        ae_title="STRONGROOM",
        ext_neg=[build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)],
        tls_args=(context, "localhost"),
    )
    assert association.is_established
    result = Dataset()
    result.TransactionUID = asked.TransactionUID
    if failed:
        for item in asked.ReferencedSOPSequence:
            item.FailureReason = 0x0112
        result.FailedSOPSequence = asked.ReferencedSOPSequence
    else:
        result.ReferencedSOPSequence = asked.ReferencedSOPSequence
    status, _ = association.send_n_event_report(result, 2 if failed else 1, StorageCommitmentPushModel, INSTANCE)
    stranger = Dataset()
    stranger.TransactionUID, stranger.ReferencedSOPSequence = "1.9.9", asked.ReferencedSOPSequence
    unknown, _ = association.send_n_event_report(stranger, 1, StorageCommitmentPushModel, INSTANCE)
    end(association)

    assert (0x0000, 0x0110) == (status.Status, unknown.Status)
