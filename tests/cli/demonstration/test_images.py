"""The demo's own judgement: it has to notice when the archive does what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.cli.demonstration.files import Sample
from strongroom.cli.demonstration.images import Images
from strongroom.cli.demonstration.journey import Stored
from strongroom.cli.demonstration.outcome import Outcome
from strongroom.cli.demonstration.show import Show
from strongroom.cli.demonstration.site import Site

EXPLICIT, IMPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"
SUCCESS, DUPLICATE, WARNING, FAILURE = 0x0000, 0x0111, 0xB000, 0xC000


@pytest.fixture
def outcome() -> Outcome:
    """An empty outcome."""
    return Outcome()


@pytest.fixture
def images(outcome: Outcome) -> Images:
    """The judge, silent."""
    return Images(Site(), Show(silent=True), outcome)


def _sample(data: bytes = b"data", syntax: str = EXPLICIT) -> Sample:
    return Sample(Path("file.dcm"), "1.2", "1.2.3", syntax, data, "1.2.4", "CT")


def test_an_original_that_is_not_stored_is_a_finding(images: Images, outcome: Outcome) -> None:
    """Anything but success, a warning too, is named with its status."""
    images._tell_what_was_sent([Stored(_sample(), SUCCESS, 0.1), Stored(_sample(), WARNING, 0.1)], 0.2)

    assert outcome.findings == ["file.dcm was answered B000 instead of success"]
    assert outcome.figures["stored"]["instances"] == 1


@pytest.mark.parametrize(
    ("again", "status", "good"),
    [
        (_sample(), SUCCESS, True),
        (_sample(b"other"), DUPLICATE, True),
        (_sample(b"other", IMPLICIT), SUCCESS, True),
        (_sample(b"other", IMPLICIT), DUPLICATE, True),
        (_sample(b"other", RLE), DUPLICATE, True),
        (_sample(b"other"), SUCCESS, False),
        (_sample(b"other", RLE), SUCCESS, False),
        (_sample(), DUPLICATE, False),
        (_sample(), FAILURE, False),
    ],
)
def test_a_second_instance_under_one_uid_is_judged(
    images: Images, outcome: Outcome, again: Sample, status: int, *, good: bool
) -> None:
    """Success only for what can be the same content, 0111 only for what is other content, and nothing else."""
    images._judge_again([Stored(again, status, 0.1)], {"1.2.3": _sample()})

    assert good is not bool(outcome.findings)


@pytest.mark.parametrize(("status", "good"), [(FAILURE, True), (0xA900, True), (SUCCESS, False), (WARNING, False)])
def test_an_incomplete_file_may_only_be_refused(images: Images, outcome: Outcome, status: int, *, good: bool) -> None:
    """Success for half an image is a finding, and so is a warning: the sender would take both for stored."""
    images._judge_broken([Stored(_sample(), status, 0.1)])

    assert good is not bool(outcome.findings)
    assert outcome.figures["broken"] == {"sent": 1, "refused": int(good)}
