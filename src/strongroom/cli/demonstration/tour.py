"""
The whole demo in its order: a home, a server, two devices; images in, found, out again; the stranger; the proofs.

What was not as it has to be is gathered as findings, sentence by sentence; the demo goes on where it can.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from strongroom.cli.demonstration import stranger
from strongroom.cli.demonstration.images import Images, run
from strongroom.cli.demonstration.outcome import Outcome
from strongroom.cli.demonstration.show import Show, program
from strongroom.cli.demonstration.site import AE_TITLE, Device, Site
from strongroom.cli.demonstration.web import Web
from strongroom.cli.options import print_json
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.cli.demonstration.files import Shelf

_STATUS_KEYS: Final = ("patients", "studies", "series", "instances", "bytes", "conflicts", "quarantine", "devices")


def demonstrate(*, stay: bool, as_json: bool) -> list[str]:
    """Run the demo and return what was not as it has to be; with *stay* the archive then stays up until Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    show, outcome = Show(silent=as_json), Outcome()
    with Site() as site:
        tour = Tour(site, show, outcome)
        tour.run()
        if as_json:
            print_json(outcome.document())
            sys.stdout.flush()
        if stay and tour.open:
            tour.invite()
            _stay(site, show, outcome)
    return outcome.findings


def _terminated(number: int, _frame: object) -> NoReturn:
    """A signal ends the server and removes the home, as Ctrl-C does."""
    sys.exit(128 + number)


def _stay(site: Site, show: Show, outcome: Outcome) -> None:
    """Wait for Ctrl-C, or for the server to end by itself, which it should not."""
    try:
        code = site.wait()
    except KeyboardInterrupt:
        show.say()
        show.say("ending the server and removing the home ...", indent=3)
    else:
        outcome.must_not(f"the server ended by itself with status {code}")
        show.result(outcome.findings[-1], good=False)


@final
class Tour:
    """One run on one site."""

    def __init__(self, site: Site, show: Show, outcome: Outcome) -> None:
        self._outcome = outcome
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
            images = Images(self._site, self._show, self._outcome)
            shelf = images.look()
            images.send(modality, shelf)
            images.retrieve(reader, shelf, images.query(reader, shelf))
            web = Web(self._site, self._show, self._outcome)
            web.visit(shelf)
            self._strangers(modality, reader, web)
            self._prove(shelf)
        except (StrongroomError, OSError) as error:
            self._outcome.must_not(f"the demo broke off: {error}")
        self._outcome.figures["seconds"] = round(time.perf_counter() - began, 2)
        self._conclude()

    # ------------------------------------------------------------------------------------------------ the parts
    def _prepare(self) -> tuple[Device, Device]:
        site, show = self._site, self._show
        show.say("Strongroom: a medical-image archive that cannot be left open", "bold")
        show.say(
            "An archive is made, filled with real images over TLS, searched, and read back, over DICOM and over "
            "HTTPS; then a stranger comes."
        )
        show.step("A home, and its doors on loopback")
        with show.busy("making a home"):
            site.found()
        show.command(
            f"strongroom init --home {site.home} --dicom 127.0.0.1:{site.port} --web 127.0.0.1:{site.web_port}"
        )
        with show.busy("opening the doors"):
            site.start()
        self.open = True
        show.command(f"strongroom serve --home {site.home}")
        show.result(
            f"ready after {site.ready_seconds:.1f} s: DICOM over TLS on 127.0.0.1:{site.port}, "
            f"DICOMweb over HTTPS on 127.0.0.1:{site.web_port}, nothing else"
        )
        modality = self._enrol("CT1", "deposit")
        reader = self._enrol("READER1", "query,retrieve")
        self._outcome.figures["archive"] = {
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

    def _strangers(self, modality: Device, reader: Device, web: Web) -> None:
        self._show.step("The stranger")
        with self._show.busy("knocking"):
            attempts = run(lambda: stranger.tour(self._site, modality, reader))
            stranger.look_up(self._site, attempts)
            attempts += web.strangers()
        self._outcome.figures["strangers"] = [attempt.figures() for attempt in attempts]
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
                self._outcome.must_not(f"a stranger was let in: {attempt.tried}: {attempt.got}")
            if attempt.record is None:
                self._outcome.must_not(f"no record of {attempt.code} in the trail: {attempt.tried}")
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
            f"{check['checked']:,} data sets, those kept aside too, opened and compared", "the check", check["findings"]
        )
        held = site.run("status")
        self._outcome.figures |= {
            "trail": {"records": trail["records"], "findings": trail["findings"]},
            "check": {"checked": check["checked"], "findings": check["findings"]},
            "status": {key: held[key] for key in _STATUS_KEYS},
        }
        aside, broken = self._outcome.figures["same_uid"]["kept_aside"], self._outcome.figures["broken"]["refused"]
        expected = {
            "instances": len(shelf.originals),
            "conflicts": aside,
            "quarantine": broken,
            "devices": len(self._devices),
        }
        for key, value in expected.items():
            if held[key] != value:
                self._outcome.must_not(f"the status says {held[key]} {key}, not {value}")
        show.result(
            f"held: {held['patients']} patients, {held['studies']} studies, {held['series']} series, "
            f"{held['instances']} instances; {held['conflicts']} kept aside, {held['quarantine']} in quarantine"
        )

    def _prove_one(self, sentence: str, what: str, findings: Sequence[dict[str, Any]]) -> None:
        if not findings:
            self._show.result(sentence)
        for finding in findings:
            self._outcome.must_not(f"{what}: {finding['kind']} {finding['where']} {finding['detail']}")

    def _conclude(self) -> None:
        self._show.say()
        seconds = self._outcome.figures["seconds"]
        if not self._outcome.findings:
            self._show.say(f"Everything was as it has to be ({seconds:.1f} s).", "bold green")
            return
        count = len(self._outcome.findings)
        self._show.say(f"{count} finding{'' if count == 1 else 's'} ({seconds:.1f} s):", "bold red")
        for finding in self._outcome.findings:
            self._show.result(finding, good=False)

    def invite(self) -> None:
        """Say how to look around."""
        site, show, name = self._site, self._show, program()
        show.step("It stays up: look around from another terminal (Ctrl-C here ends it and removes everything)")
        show.command(f"export STRONGROOM_HOME={site.home}")
        for command in ("status", "doors", "device list", "trail show --refused", "trail show --last 20"):
            show.command(f"{name} {command}")
        for device in self._devices:
            show.say(
                f"the bundle of {device.name}, which may {device.may.replace(',', ' and ')}: {device.folder}", indent=3
            )
        if not self._devices:
            return
        show.say("with DCMTK, as that last device:", indent=3)
        last = self._devices[-1]
        show.command(
            f"cd {last.folder} && findscu +tls device.key device.crt +cf ca.crt -S -aet {last.ae_title} "
            f"-aec {AE_TITLE} -k QueryRetrieveLevel=STUDY -k 'PatientName=doe*' -k StudyDate localhost {site.port}"
        )
