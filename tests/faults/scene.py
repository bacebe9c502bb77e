"""The archive under test with the callers it needs, and what must hold of it after any fault (SECURITY section 5, I1 to I6)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetdicom import build_context

from faults.instances import Instance
from faults.web import Web
from interop import harness, peer
from strongroom.app.founding import MASTER_KEY_FILE
from strongroom.audit import trail
from strongroom.ground.disk import DiskMedium
from strongroom.ground.master import MasterKey

NEVER_PROMISED = {"orphan", "torn"}
"""What `check` may name after a crash: records whose sender was never answered."""
START_SECONDS = 5.0
DEATH_SECONDS = 2.0
"""Until every process of a killed server is gone."""


class ViolationError(AssertionError):
    """A promise that was broken; the sentence says which."""


def must(holds: object, what: str) -> None:
    """Raise ViolationError with *what* unless it *holds*; an `assert` that no option of the interpreter removes."""
    if not holds:
        raise ViolationError(what)


def seed_of(given: int | None) -> int:
    """The seed of a run: as given, from STRONGROOM_SEED, or a new one."""
    return given or int(os.environ.get("STRONGROOM_SEED", "0")) or random.randrange(1, 1 << 30)


@dataclass
class Scene:
    """A home with its server, one device that may do everything a device may, and one token that may put in and take out."""

    archive: harness.Archive
    device: harness.Bundle
    token: str
    starts: list[float] = field(default_factory=list)
    """Seconds from the start of the program to "ready", each time."""

    def web(self, *, seconds: float = 30) -> Web:
        """A new connection of the token's holder."""
        return Web(self.archive.web_port, self.archive.authority, self.token, seconds=seconds)

    def start(self) -> float:
        """Start the server; seconds until it is ready."""
        took = self.archive.start()
        self.starts.append(took)
        return took

    def kill(self) -> None:
        """End the server by SIGKILL; everything it started has to be gone with it."""
        assert self.archive.process is not None
        others = [(pid, _began(pid)) for pid in harness._children(self.archive.process.pid)]
        self.archive.stop(signal.SIGKILL)
        end = time.monotonic() + DEATH_SECONDS
        while left := [pid for pid, began in others if began and _began(pid) == began]:
            must(time.monotonic() < end, f"{len(left)} processes of a killed server live on")
            time.sleep(0.01)

    def look_at(self, web: Web, study: str, sent: Iterable[Instance], acknowledged: set[str]) -> set[str]:
        """
        Compare one study with what was sent of it; return what is there.

        Every acknowledged instance is found and comes back bit for bit (I1); every other one is found and whole, or
        neither found nor returned (I2).
        """
        expected = {one.sop: one for one in sent}
        found = web.instances(study)
        came = web.retrieve(study)
        must(
            found == set(came), f"{len(found ^ set(came))} instances are half visible: found, or returned, but not both"
        )
        must(found <= set(expected), "instances that nobody sent")
        lost = {sop for sop in expected if sop in acknowledged} - found
        must(not lost, f"{len(lost)} acknowledged instances are lost")
        changed = [expected[sop].kind for sop, data in came.items() if data != expected[sop].data_set]
        must(not changed, f"{len(changed)} instances came back changed: {changed[:5]}")
        return found

    def find(self, study: str, series: str) -> set[str]:
        """The SOP Instance UIDs that C-FIND gives for *series* of *study*."""
        root = peer.FIND["study"]
        with peer.associated(self.device, self.archive.port, [build_context(root)]) as association:
            keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": ""}
            asked = peer.identifier("IMAGE", keys)
            answers = [(int(status.Status), found) for status, found in association.send_c_find(asked, root)]
        must(answers and answers[-1][0] == 0, f"C-FIND was answered {[status for status, _ in answers]}")
        return {str(found.SOPInstanceUID) for _, found in answers if found is not None}

    def proved(self) -> int:
        """`trail verify` finds nothing; how many records there are."""
        proof: Any = self.archive.json("trail", "verify")
        must(proof["findings"] == [], f"trail verify: {proof['findings'][:3]}")
        return int(proof["records"])

    def checked(self, *, but: set[str] = NEVER_PROMISED) -> dict[str, int]:
        """`check --read` finds nothing but *but*; how often each of those."""
        found: Any = self.archive.json("check", "--read", status=None)
        kinds = [finding["kind"] for finding in found["findings"]]
        must(set(kinds) <= but, f"check: {[one for one in found['findings'] if one['kind'] not in but][:3]}")
        return {kind: kinds.count(kind) for kind in set(kinds)}

    def recorded(self) -> dict[str, str]:
        """SOP Instance UID -> digest of every deposit that the trail holds a record of."""
        return {one.sop_instance_uid: one.digest.hex() for one, _ in self._deposits()}

    def deposits(self) -> list[tuple[str, str]]:
        """SOP Instance UID and action (C: created, R: was there) of every instance in a record of a deposit."""
        return [(one.sop_instance_uid, action) for one, action in self._deposits()]

    def _deposits(self) -> list[tuple[Any, str]]:
        """Out of the sealed chain itself."""
        home = self.archive.home
        key = MasterKey.load(home / "keys" / MASTER_KEY_FILE).derive("trail 1")
        medium = DiskMedium(home)
        try:
            return [
                (instance, entry.message.action)
                for entry in trail.read(medium, "trail", key)
                if not entry.message.failed
                for thing in entry.message.objects
                for sop_class in thing.sop_classes
                for instance in sop_class.instances
            ]
        finally:
            medium.close()

    def quiet(self) -> None:
        """No exception of the program was logged."""
        text = self.archive.log.read_text("utf-8", "replace")
        must("Traceback" not in text and "unexpected-error" not in text, f"the log tells of a fault: {text[-1500:]}")


@contextlib.contextmanager
def scene(folder: Path, *, pack_mebibytes: int = 4, move_port: int = 0) -> Iterator[Scene]:
    """A new home with a running server and its callers."""
    with harness.archive(folder, start=False) as archive:
        configuration = archive.home / "strongroom.toml"
        changed = configuration.read_text().replace("pack-mebibytes = 256", f"pack-mebibytes = {pack_mebibytes}")
        configuration.write_text(changed)
        archive.start()
        options = {"move_port": f"localhost:{move_port}"} if move_port else {}
        device = archive.enrol("CT1", **options)
        yield Scene(archive, device, archive.token("VIEWER", "modality", "radiologist"))


def _began(pid: int) -> str:
    """When a process began, or nothing when it is gone (a zombie is: it holds nothing any more)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
