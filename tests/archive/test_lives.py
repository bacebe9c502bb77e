"""
Fault 25: delete, restore, erase, compact, check and store the same content, all at once and in any order.

Hypothesis chooses what happens; each step lets several things run side by side on a real home. Whatever was answered with
success and not deleted comes back bit for bit; whatever was erased never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from archive.test_deletion import WHY, custodian
from archive.test_erasing import confirmed, tools
from archive.world import data_set, deposit, opened, returned, uid
from strongroom.archive import Outcome, Session, Target
from strongroom.archive.compaction import Compaction
from strongroom.dicom.model import Level
from strongroom.errors import ErasedError, NotFound, OutOfResources

STUDIES = ("1.2.31", "1.2.32")
NUMBERS = {"1.2.31": (1, 2, 3), "1.2.32": (11, 12)}
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.sampled_from([1, 2, 3, 11, 12])),
        st.tuples(st.just("delete"), st.sampled_from(STUDIES)),
        st.tuples(st.just("restore"), st.sampled_from(STUDIES)),
        st.tuples(st.just("compact"), st.just(0)),
        st.tuples(st.just("check"), st.just(0)),
        st.tuples(st.just("read"), st.sampled_from(STUDIES)),
    ),
    min_size=1,
    max_size=6,
)


def study_of(number: int) -> str:
    """Which study an instance belongs to."""
    return next(study for study, numbers in NUMBERS.items() if number in numbers)


def target(study: str) -> Target:
    """A whole study."""
    return Target(Level.STUDY, study_instance_uids=(study,))


class Lives(RuleBasedStateMachine):
    """One home, and what it has to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.opening: Any = None
        self.known: set[int] = set()
        """Answered with success at some time and not erased since: there, or deleted."""
        self.erased: set[str] = set()

    def run(self, coming: Any) -> Any:
        """On the machine's own loop."""
        return self.loop.run_until_complete(coming)

    @initialize()
    def open(self) -> None:
        """A new home."""
        self.opening = opened(self.folder / "home", pack_mebibytes=1)
        self.world = self.run(self.opening.__aenter__())
        self.session: Session = self.run(self.world.device())
        self.vera = custodian(self.world)

    @rule(acts=ACTS)
    def at_once(self, acts: list[tuple[str, Any]]) -> None:
        """Several things side by side."""
        note(f"at once: {acts}")
        self.run(self._together(acts))

    async def _together(self, acts: list[tuple[str, Any]]) -> None:
        await asyncio.gather(*(self._act(kind, what) for kind, what in acts))

    async def _act(self, kind: str, what: Any) -> None:
        match kind:
            case "store":
                await self._store(what)
            case "delete" | "restore":
                with contextlib.suppress(NotFound):
                    await (self.vera.delete(target(what), WHY) if kind == "delete" else self.vera.restore(target(what)))
            case "compact":
                for number in self.world.parts.vault.packs():
                    await Compaction(self.world.core).compact(number, "test")
            case "check":
                found = await self.world.findings()
                assert [] == [one for one in found if one["kind"] not in ("orphan", "torn")]
            case "read":
                for name, data in (await returned(self.session, target(what))).items():
                    assert data == data_set(int(name.rpartition(".")[2]), study=what)

    async def _store(self, number: int) -> None:
        study = study_of(number)
        try:
            receipt = await deposit(self.session, data_set(number, study=study), number=number)
        except ErasedError:
            assert study in self.erased
            return
        assert study not in self.erased
        assert receipt.outcome is not Outcome.CONFLICT or number in self.known
        self.known.add(number)

    @rule(study=st.sampled_from(STUDIES), beside=ACTS)
    def erase(self, study: str, beside: list[tuple[str, Any]]) -> None:
        """A study for good, beside things that happen to the other one."""
        other = [one for one in beside if one[1] != study and not (one[0] == "store" and study_of(one[1]) == study)]
        note(f"erase {study} beside {other}")
        self.run(self._erase(study, other))

    async def _erase(self, study: str, beside: list[tuple[str, Any]]) -> None:
        try:
            number = (await tools(self.world).request([study], reason=WHY))["id"]
        except NotFound:
            return
        await asyncio.gather(self._confirmed(number), self._together(beside))
        self.erased.add(study)
        self.known -= set(NUMBERS[study])

    async def _confirmed(self, number: int) -> None:
        while True:
            try:
                await confirmed(self.world, number, "uid 1")
            except OutOfResources:
                continue
            return

    @rule(study=st.sampled_from(STUDIES))
    def release(self, study: str) -> None:
        """It may come again."""
        if study in self.erased:
            self.run(tools(self.world).release(study, reason=WHY))
            self.erased.discard(study)

    @rule()
    def restart(self) -> None:
        """Close and open it."""
        self.run(self.opening.__aexit__(None, None, None))
        self.opening = opened(self.folder / "home")
        self.world = self.run(self.opening.__aenter__())
        self.session = self.run(self.world.device(f"CT{self.world.archive.directory.count + 2}"))
        self.vera = custodian(self.world)

    @invariant()
    def nothing_is_lost_and_nothing_comes_back(self) -> None:
        """What is known is there once it is restored; what was erased is not; check finds nothing."""
        if self.opening is None:
            return
        for study in STUDIES:
            there = set(self.run(returned(self.session, target(study))))
            assert there <= {uid(number) for number in self.known}
        assert [] == self.run(self.world.findings())

    def teardown(self) -> None:
        """At the end everything that was deleted is taken back."""
        if self.opening is not None:
            for study in STUDIES:
                self.run(self._act("restore", study))
            there: dict[str, bytes] = {}
            for study in STUDIES:
                there |= self.run(returned(self.session, target(study)))
            expected = {uid(number): data_set(number, study=study_of(number)) for number in self.known}
            self.run(self.opening.__aexit__(None, None, None))
            assert expected == there
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)


def test_lives_of_studies() -> None:
    """Any order, side by side; hypothesis prints the seed that repeats a failure."""
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
