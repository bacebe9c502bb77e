"""The C-STORE sub-operations (PS3.4 C.4.2, C.4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from scp.world import CT, EXPLICIT, IMPLICIT, JPEG, MR, read_identifier
from strongroom.imaging.pool import Pool
from strongroom.scp.suboperations import (
    MAX_FAILED_LISTED,
    SOP_CLASS_NOT_ACCEPTED,
    SYNTAX_NOT_ACCEPTED,
    Channel,
    Route,
    Tally,
    plan,
)
from strongroom.upper_layer.events import AcceptedContext

BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_LS = "1.2.840.10008.1.2.4.80"
HTJ2K = "1.2.840.10008.1.2.4.202"


@dataclass(frozen=True)
class Item:
    sop_class_uid: str = CT
    transfer_syntax_uid: str = EXPLICIT
    sop_instance_uid: str = "1.2.3"


@pytest.mark.parametrize(
    ("stored", "accepted", "expected"),
    [
        (EXPLICIT, [EXPLICIT, IMPLICIT], [Route(1)]),
        (IMPLICIT, [EXPLICIT, IMPLICIT], [Route(3)]),
        (IMPLICIT, [JPEG, EXPLICIT], [Route(3, EXPLICIT)]),
        (EXPLICIT, [IMPLICIT], [Route(1, IMPLICIT)]),
        (JPEG, [JPEG], [Route(1)]),
        (JPEG, [EXPLICIT, IMPLICIT], SYNTAX_NOT_ACCEPTED),
        (EXPLICIT, [JPEG], SYNTAX_NOT_ACCEPTED),
        (EXPLICIT, [], SOP_CLASS_NOT_ACCEPTED),
    ],
)
def test_how_an_instance_goes_out(stored: str, accepted: list[str], expected: list[Route] | str) -> None:
    """The stored syntax, else the other native one, else the reason why not."""
    contexts = [AcceptedContext(2 * n + 1, CT, syntax) for n, syntax in enumerate(accepted)]

    assert expected == Channel(None, contexts).routes(Item(transfer_syntax_uid=stored))


@pytest.mark.parametrize(
    ("stored", "accepted", "expected"),
    [
        (JPEG, [JPEG, EXPLICIT], [Route(1)]),
        (EXPLICIT, [JPEG_LS, IMPLICIT], [Route(3, IMPLICIT)]),
        (JPEG, [IMPLICIT, EXPLICIT], [Route(3, EXPLICIT, True), Route(1, IMPLICIT, True)]),
        (EXPLICIT, [JPEG_LS, HTJ2K], [Route(3, HTJ2K, True), Route(1, JPEG_LS, True)]),
        (JPEG, [JPEG_LS], SYNTAX_NOT_ACCEPTED),
        ("1.2.840.10008.1.2.4.102", [EXPLICIT], SYNTAX_NOT_ACCEPTED),
    ],
)
def test_how_an_instance_goes_out_where_pixels_can_be_converted(
    stored: str, accepted: list[str], expected: list[Route] | str
) -> None:
    """Decoded first, then the quickest lossless codec; nothing lossy is compressed anew, no video decoded."""
    contexts = [AcceptedContext(2 * n + 1, CT, syntax) for n, syntax in enumerate(accepted)]

    assert expected == Channel(None, contexts, Pool()).routes(Item(transfer_syntax_uid=stored))


def test_decoded_ones_are_proposed_where_pixels_can_be_converted() -> None:
    """A destination that takes nothing compressed gets a compressed image all the same."""
    (batch,) = plan([Item(CT, JPEG)], has_pool=True)

    assert [context.transfer_syntaxes for context in batch.contexts] == [(JPEG,), (EXPLICIT,), (IMPLICIT,)]


def test_what_is_proposed_to_a_destination() -> None:
    """One syntax per context: the stored ones of each class, then what they can be converted to."""
    items = [Item(CT, JPEG), Item(MR, IMPLICIT), Item(CT, EXPLICIT), Item(CT, JPEG)]
    (batch,) = plan(items)

    assert [(context.id, context.abstract_syntax, context.transfer_syntaxes) for context in batch.contexts] == [
        (1, CT, (JPEG,)),
        (3, CT, (EXPLICIT,)),
        (5, CT, (IMPLICIT,)),
        (7, MR, (IMPLICIT,)),
        (9, MR, (EXPLICIT,)),
    ]
    assert (items[0], items[2], items[3], items[1]) == batch.instances


def test_a_compressed_class_alone_is_proposed_alone() -> None:
    """Nothing is proposed that could not be sent."""
    (batch,) = plan([Item(CT, JPEG)])

    assert [context.transfer_syntaxes for context in batch.contexts] == [(JPEG,)]


def test_nothing_needs_no_association() -> None:
    """No instances, no batches."""
    assert plan([]) == []


def test_every_instance_is_in_exactly_one_batch() -> None:
    """Splitting at 128 contexts loses nothing and repeats nothing."""
    items = [Item(f"1.2.{n % 70}", EXPLICIT if n % 2 else JPEG, f"1.2.3.{n}") for n in range(500)]
    batches = plan(items)

    assert all(1 <= len(batch.contexts) <= 128 for batch in batches)
    assert sorted(item.sop_instance_uid for item in items) == sorted(
        item.sop_instance_uid for batch in batches for item in batch.instances
    )
    for batch in batches:
        proposed = {(context.abstract_syntax, context.transfer_syntaxes[0]) for context in batch.contexts}
        assert {(item.sop_class_uid, item.transfer_syntax_uid) for item in batch.instances} <= proposed


def test_the_list_of_failed_instances_fits_its_element() -> None:
    """However many fail, the list can be encoded with a 16-bit length; the count says how many there were."""
    tally = Tally(remaining=70_000)
    for number in range(70_000):
        tally.fail(
            Item(sop_instance_uid="1.2.840.113619.2.55.3.1234567890.123.1234567890.123." + str(number)),
            SYNTAX_NOT_ACCEPTED,
        )

    listed = read_identifier(tally.failed_list(EXPLICIT), EXPLICIT).FailedSOPInstanceUIDList
    assert (tally.remaining, tally.failed, len(listed)) == (0, 70_000, MAX_FAILED_LISTED)
    assert len(tally.comment()) <= 64


def test_the_comment_names_the_commonest_reason() -> None:
    """One sentence that fits, for the reason that concerns most."""
    tally = Tally(remaining=3)
    tally.fail(Item(), SOP_CLASS_NOT_ACCEPTED)
    tally.fail(Item(), SYNTAX_NOT_ACCEPTED)
    tally.fail(Item(), SYNTAX_NOT_ACCEPTED)

    assert tally.comment() == "2 not sent: the receiver takes no syntax we have"
    assert Tally(0).comment() == ""
    assert Tally(0).failed_list(EXPLICIT) is None
