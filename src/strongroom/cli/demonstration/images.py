"""The demo's main job: real images in, found, out again and compared, judged by what the files themselves hold."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, final

import uvloop

from strongroom.cli.demonstration import journey
from strongroom.cli.demonstration.files import Sample, Shelf, shipped, short_syntax
from strongroom.cli.demonstration.questions import Question, questions
from strongroom.cli.options import human_bytes
from strongroom.dicom.uid import transfer_syntax
from strongroom.dimse import status
from strongroom.dimse.status import Category, category

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from strongroom.cli.demonstration.outcome import Outcome
    from strongroom.cli.demonstration.show import Show
    from strongroom.cli.demonstration.site import Device, Site

T = TypeVar("T")


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
class Images:
    """The parts of the demo that are about images, in their order: look, send, query, retrieve."""

    def __init__(self, site: Site, show: Show, outcome: Outcome) -> None:
        self._site = site
        self._show = show
        self._outcome = outcome

    def look(self) -> Shelf:
        """Find the files, and tell how many there are."""
        shelf = shipped()
        figures = {
            "originals": len(shelf.originals),
            "same_uid": len(shelf.again),
            "broken": len(shelf.broken),
            "without_uids": shelf.without_uids,
            "transfer_syntaxes": len({sample.transfer_syntax_uid for sample in shelf.originals}),
            "character_sets": len({sample.character_sets for sample in shelf.originals}),
        }
        self._outcome.figures["files"] = figures
        self._show.step("Real images in, over TLS")
        self._show.say(
            f"The package pydicom ships {len(shelf.originals)} instances that can be sent, in "
            f"{figures['transfer_syntaxes']} transfer syntaxes and {figures['character_sets']} character sets "
            f"({shelf.without_uids} more files have no UIDs to know them by, and are skipped).",
            indent=3,
        )
        if not shelf.originals:
            self._outcome.must_not("no image was found that could be sent")
        return shelf

    def send(self, modality: Device, shelf: Shelf) -> None:
        """Send everything; what may not be taken as good as well."""
        everything = (*shelf.originals, *shelf.again, *shelf.broken)
        answers: dict[int, journey.Stored] = {}
        began = time.perf_counter()
        with self._show.progress("sending", len(everything)) as forward:

            def told(stored: journey.Stored) -> None:
                answers[id(stored.sample)] = stored
                forward()

            run(lambda: journey.store(self._site, modality, everything, told))
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
        self._outcome.figures["sent"] = [
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
        self._outcome.figures["stored"] = {
            "instances": len(stored) - len(refused),
            "bytes": total,
            "seconds": round(seconds, 3),
        }
        for one in refused:
            self._outcome.must_not(f"{one.sample.path.name} was answered {one.status:04X} instead of success")
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
                self._outcome.must_not(
                    f"{one.sample.path.name}, a second instance under one UID, was answered {one.status:04X}"
                )
        self._outcome.figures["same_uid"] = {"same_content": same, "kept_aside": aside}
        self._show.result(
            f"{len(stored)} files come under a UID that is taken: {same} of the same content, not written "
            f"twice; {aside} of other content, kept aside and answered 0111: nothing is ever replaced silently"
        )

    def _judge_broken(self, stored: Sequence[journey.Stored]) -> None:
        """I4: what is not structurally whole is never answered with success."""
        taken = [one for one in stored if category(one.status) is not Category.FAILURE]
        self._outcome.figures["broken"] = {"sent": len(stored), "refused": len(stored) - len(taken)}
        for one in taken:
            self._outcome.must_not(f"{one.sample.path.name} is incomplete and was answered {one.status:04X}")
        if not taken:
            self._show.result(f"{len(stored)} incomplete files refused: half an image is never answered with success")

    def query(self, reader: Device, shelf: Shelf) -> list[str]:
        """Ask all questions; returns the studies that were found last, which is all of them."""
        self._show.step("Found again")
        asked = questions(shelf.originals)
        began = time.perf_counter()
        with self._show.busy("asking"):
            answers = run(lambda: journey.find(self._site, reader, [one.keys for one in asked]))
        seconds = time.perf_counter() - began
        found = [[_study(match) for match in matches] for matches in answers]
        self._outcome.figures["queries"] = [
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
                self._outcome.must_not(
                    f"the query {one.asked} found {len(uids)} studies, not the {len(one.expected)} expected"
                )
        self._show.result(f"{len(asked)} queries answered in {seconds * 1000:.0f} ms, the TLS handshake included")
        return found[-1]

    def retrieve(self, reader: Device, shelf: Shelf, studies: Sequence[str]) -> None:
        """Get *studies* and compare each instance with its file."""
        self._show.step("Out again, by C-GET, compared bit for bit")
        wanted: dict[str, list[Sample]] = {uid: [] for uid in studies}
        for sample in shelf.originals:
            wanted.setdefault(sample.study_instance_uid, []).append(sample)
        began = time.perf_counter()
        with self._show.progress("retrieving", len(shelf.originals)) as forward:
            fetched = run(lambda: journey.fetch(self._site, reader, wanted, forward))
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
        self._outcome.figures["retrieved"] = {
            "instances": len(data),
            "identical": len(same),
            "bytes": size,
            "seconds": round(seconds, 3),
            "failed": sum(one.failed for one in fetched),
        }
        for one in fetched:
            if one.status != status.SUCCESS:
                self._outcome.must_not(f"a C-GET ended with status {one.status:04X}, {one.failed} instances failed")
        if len(same) == len(shelf.originals) == len(data):
            self._show.result(
                f"{len(data)} of {len(data)} came back identical, each in the syntax it was sent in: "
                f"{human_bytes(size)} in {seconds:.2f} s"
            )
        else:
            self._outcome.must_not(
                f"{len(shelf.originals)} instances were sent, {len(data)} came back, {len(same)} of them identical"
            )


def run(act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run something that speaks with the archive, on the loop the archive itself uses."""
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
