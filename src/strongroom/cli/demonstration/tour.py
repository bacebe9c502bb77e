"""
The whole demo in its order: a home, a server, two devices; images in, found, out again; the stranger; the proofs.

What was not as it has to be is gathered as findings, sentence by sentence; the demo goes on where it can.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, final

import uvloop

from strongroom.cli.demonstration import journey, stranger
from strongroom.cli.demonstration.files import Sample, Shelf, shipped, short_syntax
from strongroom.cli.demonstration.questions import Question, questions
from strongroom.cli.demonstration.show import Show, program
from strongroom.cli.demonstration.site import AE_TITLE, Device, Site
from strongroom.cli.options import human_bytes, print_json
from strongroom.dicom.uid import transfer_syntax
from strongroom.dimse import status
from strongroom.dimse.status import Category, category
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

T = TypeVar("T")

_ENDED_BY_SIGNAL: Final = 128 + signal.SIGTERM
_STATUS_KEYS: Final = ("patients", "studies", "series", "instances", "bytes", "conflicts", "quarantine", "devices")


def demonstrate(*, stay: bool, as_json: bool) -> list[str]:
    """Run the demo and return what was not as it has to be; with *stay* the archive then stays up until Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminated)
    show = Show(silent=as_json)
    with Site() as site:
        tour = Tour(site, show)
        tour.run()
        if as_json:
            print_json(tour.figures | {"findings": tour.findings})
            sys.stdout.flush()
        if stay and tour.open:
            _stay(site, tour, show)
    return tour.findings


def _terminated(*_: object) -> NoReturn:
    """SIGTERM ends the server and removes the home, as Ctrl-C does."""
    sys.exit(_ENDED_BY_SIGNAL)


def _stay(site: Site, tour: Tour, show: Show) -> None:
    """Wait for Ctrl-C, or for the server to end by itself, which it should not."""
    tour.invite()
    try:
        code = site.wait()
    except KeyboardInterrupt:
        show.say()
        show.say("ending the server and removing the home ...", indent=3)
    else:
        tour.findings.append(f"the server ended by itself with status {code}")
        show.result(tour.findings[-1], good=False)


@final
@dataclass(slots=True)
class _Row:
    """One line of the table of what was sent."""

    syntaxes: Counter[str] = field(default_factory=Counter)
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def add(self, stored: journey.Stored) -> None:
        self.syntaxes[short_syntax(stored.sample.transfer_syntax_uid)] += 1
        self.files += 1
        self.bytes += len(stored.sample.data)
        self.seconds += stored.seconds


@final
class Tour:
    """One run: what was measured, and what was not as it has to be."""

    def __init__(self, site: Site, show: Show) -> None:
        self.findings: list[str] = []
        self.figures: dict[str, Any] = {}
        self.open = False
        """Whether the server runs, so that there is something to look around in."""
        self._site = site
        self._show = show
        self._devices: list[Device] = []

    def run(self) -> None:
        """All parts in their order; one that breaks off ends the rest."""
        began = time.perf_counter()
        try:
            modality, reader = self._prepare()
            shelf = self._look_for_images()
            self._send(modality, shelf)
            studies = self._query(reader, shelf)
            self._retrieve(reader, shelf, studies)
            self._strangers(modality, reader)
            self._prove(shelf)
        except (StrongroomError, OSError) as error:
            self._must_not(f"the demo broke off: {error}")
        self.figures["seconds"] = round(time.perf_counter() - began, 2)
        self._conclude()

    # ------------------------------------------------------------------------------------------------ the parts
    def _prepare(self) -> tuple[Device, Device]:
        site, show = self._site, self._show
        show.say("Strongroom: a medical-image archive that cannot be left open", "bold")
        show.say(
            "An archive is made, filled with real images over TLS, searched, and read back; then a stranger comes."
        )
        show.step("A home, and its doors on loopback")
        with show.busy("making a home"):
            site.found()
        show.command(f"strongroom init --home {site.home} --dicom 127.0.0.1:{site.port}")
        with show.busy("opening the doors"):
            site.start()
        self.open = True
        show.command(f"strongroom serve --home {site.home}")
        show.result(f"ready after {site.ready_seconds:.1f} s: DICOM over TLS on 127.0.0.1:{site.port}, nothing else")
        modality = self._enrol("CT1", "deposit")
        reader = self._enrol("READER1", "query,retrieve")
        self.figures["archive"] = {
            "home": str(site.home),
            "ae_title": AE_TITLE,
            "address": f"127.0.0.1:{site.port}",
            "ready_seconds": round(site.ready_seconds, 3),
            "devices": [
                {"name": one.name, "ae_title": one.ae_title, "may": one.may.split(",")} for one in self._devices
            ],
        }
        return modality, reader

    def _enrol(self, name: str, may: str) -> Device:
        with self._show.busy(f"enrolling {name}"):
            device = self._site.enrol(name, may)
        self._devices.append(device)
        self._show.command(f"strongroom device add {name} --ae-title {name} --may {may} --out {device.folder}")
        return device

    def _look_for_images(self) -> Shelf:
        shelf = shipped()
        figures = {
            "originals": len(shelf.originals),
            "same_uid": len(shelf.again),
            "broken": len(shelf.broken),
            "without_uids": shelf.without_uids,
            "transfer_syntaxes": len({sample.transfer_syntax_uid for sample in shelf.originals}),
            "character_sets": len({sample.character_sets for sample in shelf.originals}),
        }
        self.figures["files"] = figures
        self._show.step("Real images in, over TLS")
        self._show.say(
            f"The package pydicom ships {len(shelf.originals)} instances that can be sent, in "
            f"{figures['transfer_syntaxes']} transfer syntaxes and {figures['character_sets']} character sets "
            f"({shelf.without_uids} more files have no UIDs to know them by, and are skipped).",
            indent=3,
        )
        if not shelf.originals:
            self._must_not("no image was found that could be sent")
        return shelf

    def _send(self, modality: Device, shelf: Shelf) -> None:
        everything = (*shelf.originals, *shelf.again, *shelf.broken)
        answers: dict[int, journey.Stored] = {}
        began = time.perf_counter()
        with self._show.progress("sending", len(everything)) as forward:

            def told(stored: journey.Stored) -> None:
                answers[id(stored.sample)] = stored
                forward()

            _run(lambda: journey.store(self._site, modality, everything, told))
        seconds = time.perf_counter() - began
        self._tell_what_was_sent([answers[id(sample)] for sample in shelf.originals], seconds)
        self._judge_again(
            [answers[id(sample)] for sample in shelf.again], {one.sop_instance_uid: one for one in shelf.originals}
        )
        self._judge_broken([answers[id(sample)] for sample in shelf.broken])

    def _tell_what_was_sent(self, stored: Sequence[journey.Stored], seconds: float) -> None:
        rows: dict[str, _Row] = {}
        for one in stored:
            rows.setdefault(one.sample.modality or "(none)", _Row()).add(one)
        self.figures["sent"] = [
            {
                "modality": modality,
                "syntaxes": dict(row.syntaxes.most_common()),
                "files": row.files,
                "bytes": row.bytes,
                "files_per_second": round(row.files / row.seconds, 1),
                "bytes_per_second": round(row.bytes / row.seconds),
            }
            for modality, row in rows.items()
        ]
        self._show.table(
            ("modality", "transfer syntaxes", "files", "size", "files/s", "MB/s"),
            [
                (modality, ", ".join(row.syntaxes), f"{row.files:,}", human_bytes(row.bytes), *_speed(row))
                for modality, row in rows.items()
            ],
            right=(2, 3, 4, 5),
        )
        refused = [one for one in stored if one.status != status.SUCCESS]
        total = sum(len(one.sample.data) for one in stored)
        self.figures["stored"] = {"instances": len(stored) - len(refused), "bytes": total, "seconds": round(seconds, 3)}
        for one in refused:
            self._must_not(f"{one.sample.path.name} was answered {one.status:04X} instead of success")
        if not refused:
            self._show.result(
                f"{len(stored)} of {len(stored)} stored, {human_bytes(total)}: each sealed, indexed and recorded "
                "on the disk before it was answered"
            )

    def _judge_again(self, stored: Sequence[journey.Stored], originals: dict[str, Sample]) -> None:
        """I3: the same content is success and nothing is written twice, other content is kept aside."""
        same = aside = 0
        for one in stored:
            original = originals[one.sample.sop_instance_uid]
            if one.status == status.SUCCESS and _may_be_same(one.sample, original):
                same += 1
            elif one.status == status.DUPLICATE_SOP_INSTANCE and one.sample.data != original.data:
                aside += 1
            else:
                self._must_not(
                    f"{one.sample.path.name}, a second instance under one UID, was answered {one.status:04X}"
                )
        self.figures["same_uid"] = {"same_content": same, "kept_aside": aside}
        self._show.result(
            f"{len(stored)} files come under a UID that is taken: {same} of the same content, not written "
            f"twice; {aside} of other content, kept aside and answered 0111: nothing is ever replaced silently"
        )

    def _judge_broken(self, stored: Sequence[journey.Stored]) -> None:
        """I4: what is not structurally whole is never answered with success."""
        taken = [one for one in stored if category(one.status) is not Category.FAILURE]
        self.figures["broken"] = {"sent": len(stored), "refused": len(stored) - len(taken)}
        for one in taken:
            self._must_not(f"{one.sample.path.name} is incomplete and was answered {one.status:04X}")
        if not taken:
            self._show.result(f"{len(stored)} incomplete files refused: half an image is never answered with success")

    def _query(self, reader: Device, shelf: Shelf) -> list[str]:
        self._show.step("Found again")
        asked = questions(shelf.originals)
        began = time.perf_counter()
        with self._show.busy("asking"):
            answers = _run(lambda: journey.find(self._site, reader, [one.keys for one in asked]))
        seconds = time.perf_counter() - began
        found = [[_study(match) for match in matches] for matches in answers]
        self.figures["queries"] = [
            {"asked": one.asked, "expected": len(one.expected), "found": len(uids), "right": _right(one, uids)}
            for one, uids in zip(asked, found, strict=True)
        ]
        self._show.table(
            ("C-FIND at study level", "studies", ""),
            [
                (
                    one.asked,
                    f"{len(uids):,}",
                    "as expected" if _right(one, uids) else f"NOT the {len(one.expected)} expected",
                )
                for one, uids in zip(asked, found, strict=True)
            ],
            right=(1,),
        )
        for one, uids in zip(asked, found, strict=True):
            if not _right(one, uids):
                self._must_not(f"the query {one.asked} found {len(uids)} studies, not the {len(one.expected)} expected")
        self._show.result(f"{len(asked)} queries answered in {seconds * 1000:.0f} ms, the TLS handshake included")
        return found[-1]

    def _retrieve(self, reader: Device, shelf: Shelf, studies: Sequence[str]) -> None:
        self._show.step("Out again, by C-GET, compared bit for bit")
        wanted: dict[str, list[Sample]] = {uid: [] for uid in studies}
        for sample in shelf.originals:
            wanted.setdefault(sample.study_instance_uid, []).append(sample)
        began = time.perf_counter()
        with self._show.progress("retrieving", len(shelf.originals)) as forward:
            fetched = _run(lambda: journey.fetch(self._site, reader, wanted, forward))
        seconds = time.perf_counter() - began
        data = {uid: content for one in fetched for uid, content in one.data.items()}
        syntaxes = {uid: syntax for one in fetched for uid, syntax in one.syntaxes.items()}
        same = [
            sample
            for sample in shelf.originals
            if data.get(sample.sop_instance_uid) == sample.data
            and syntaxes[sample.sop_instance_uid] == sample.transfer_syntax_uid
        ]
        size = sum(map(len, data.values()))
        self.figures["retrieved"] = {
            "instances": len(data),
            "identical": len(same),
            "bytes": size,
            "seconds": round(seconds, 3),
            "failed": sum(one.failed for one in fetched),
        }
        for one in fetched:
            if one.status != status.SUCCESS:
                self._must_not(f"a C-GET ended with status {one.status:04X}, {one.failed} instances failed")
        if len(same) == len(shelf.originals) == len(data):
            self._show.result(
                f"{len(data)} of {len(data)} came back identical, each in the syntax it was sent in: "
                f"{human_bytes(size)} in {seconds:.2f} s"
            )
        else:
            self._must_not(
                f"{len(shelf.originals)} instances were sent, {len(data)} came back, {len(same)} of them identical"
            )

    def _strangers(self, modality: Device, reader: Device) -> None:
        self._show.step("The stranger")
        with self._show.busy("knocking"):
            attempts = _run(lambda: stranger.tour(self._site, modality, reader))
            stranger.look_up(self._site, attempts)
        self.figures["strangers"] = [attempt.figures() for attempt in attempts]
        self._show.table(
            ("what a stranger tried", "what he got", "recorded in the trail"),
            [
                (
                    attempt.tried,
                    f"NOT refused: {attempt.got}" if attempt.let_in else attempt.got,
                    "NOT recorded" if attempt.record is None else f"no. {attempt.record['sequence']}: {attempt.code}",
                )
                for attempt in attempts
            ],
        )
        for attempt in attempts:
            if attempt.let_in:
                self._must_not(f"a stranger was let in: {attempt.tried}: {attempt.got}")
            if attempt.record is None:
                self._must_not(f"no record of {attempt.code} in the trail: {attempt.tried}")
        if all(attempt.held for attempt in attempts):
            self._show.result(
                f"{len(attempts)} of {len(attempts)} refused, told nothing, recorded (strongroom trail show --refused)"
            )

    def _prove(self, shelf: Shelf) -> None:
        site, show = self._site, self._show
        show.step("The proofs")
        show.command(f"strongroom trail verify --home {site.home}")
        with show.busy("verifying the trail"):
            trail = site.run("trail", "verify", good=(0, 5))
        self._prove_one(
            f"{trail['records']:,} records of the trail, every one in its place and unchanged",
            "the trail",
            trail["findings"],
        )
        show.command(f"strongroom check --read --home {site.home}")
        with show.busy("reading every byte"):
            check = site.run("check", "--read", good=(0, 1))
        self._prove_one(
            f"{check['checked']:,} instances opened and compared to the last byte", "the check", check["findings"]
        )
        held = site.run("status")
        self.figures |= {
            "trail": {"records": trail["records"], "findings": trail["findings"]},
            "check": {"checked": check["checked"], "findings": check["findings"]},
            "status": {key: held[key] for key in _STATUS_KEYS},
        }
        aside, broken = self.figures["same_uid"]["kept_aside"], self.figures["broken"]["refused"]
        expected = {
            "instances": len(shelf.originals),
            "conflicts": aside,
            "quarantine": broken,
            "devices": len(self._devices),
        }
        for key, value in expected.items():
            if held[key] != value:
                self._must_not(f"the status says {held[key]} {key}, not {value}")
        show.result(
            f"held: {held['patients']} patients, {held['studies']} studies, {held['series']} series, "
            f"{held['instances']} instances; {held['conflicts']} kept aside, {held['quarantine']} in quarantine"
        )

    def _prove_one(self, sentence: str, what: str, findings: Sequence[dict[str, Any]]) -> None:
        if not findings:
            self._show.result(sentence)
        for finding in findings:
            self._must_not(f"{what}: {finding['kind']} {finding['where']} {finding['detail']}")

    def _conclude(self) -> None:
        self._show.say()
        seconds = self.figures["seconds"]
        if not self.findings:
            self._show.say(f"Everything was as it has to be ({seconds:.1f} s).", "bold green")
            return
        count = len(self.findings)
        self._show.say(f"{count} finding{'' if count == 1 else 's'} ({seconds:.1f} s):", "bold red")
        for finding in self.findings:
            self._show.result(finding, good=False)

    def _must_not(self, finding: str) -> None:
        self.findings.append(finding)

    def invite(self) -> None:
        """Say how to look around."""
        site, name = self._site, program()
        self._show.step("It stays up: look around from another terminal (Ctrl-C here ends it and removes everything)")
        for command in ("status", "doors", "device list", "trail show --refused", "trail show --last 20"):
            self._show.command(f"{name} {command} --home {site.home}")
        for device in self._devices:
            self._show.say(f"the bundle of {device.name} ({device.may}): {device.folder}", indent=3)
        if self._devices:
            last = self._devices[-1]
            self._show.command(
                f"findscu +tls {last.folder}/device.key {last.folder}/device.crt +cf {last.folder}/ca.crt -S "
                f"-aet {last.ae_title} -aec {AE_TITLE} -k QueryRetrieveLevel=STUDY -k 'PatientName=doe*' "
                f"-k StudyInstanceUID localhost {site.port}"
            )


def _run(act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(act())


def _study(match: journey.Identifier) -> str:
    element = match.get(journey.STUDY_INSTANCE_UID)
    values = element.get("Value") if element is not None else None
    return str(values[0]) if values else ""


def _right(question: Question, uids: Sequence[str]) -> bool:
    return len(uids) == len(question.expected) and set(uids) == question.expected


def _may_be_same(one: Sample, other: Sample) -> bool:
    """Byte for byte, or both in native syntaxes, which may hold one content in several forms."""
    if one.data == other.data:
        return True
    syntaxes = (transfer_syntax(one.transfer_syntax_uid), transfer_syntax(other.transfer_syntax_uid))
    return syntaxes[0] != syntaxes[1] and all(syntax is not None and not syntax.encapsulated for syntax in syntaxes)


def _speed(row: _Row) -> tuple[str, str]:
    return f"{row.files / row.seconds:,.0f}", f"{row.bytes / row.seconds / 1e6:.1f}"
