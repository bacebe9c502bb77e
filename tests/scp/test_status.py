"""Errors to statuses (PS3.4 B.2.3, C.4.1.1.4, C.4.2.1.5)."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import pytest

import strongroom
from strongroom import errors
from strongroom.dimse.status import Category, category
from strongroom.scp.errors import BrokenOffError, IdentifierError
from strongroom.scp.status import TABLE, answer_to, answerable, comment_on

EXACT = ("strongroom.errors", "strongroom.scp", "strongroom.dimse", "strongroom.archive", "strongroom.transport")
"""Where every kind of error needs a row of its own; below these a more special error may answer like what it derives from."""


NEVER_MET = ("app", "cli", "console", "delivery", "dicomweb", "exposure")
"""The floors above and beside: nothing of theirs can come up through a provider."""


def load_everything() -> None:
    """Import every module that a provider stands on, so that every subclass is there to be walked."""
    for top in pkgutil.iter_modules(strongroom.__path__, "strongroom."):
        if top.name.split(".")[1] in NEVER_MET:
            continue
        package = importlib.import_module(top.name)
        for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{top.name}."):
            importlib.import_module(module.name)


def subclasses(of: type) -> set[type]:
    """Every class below *of* that strongroom defines."""
    return {
        cls
        for child in of.__subclasses__()
        for cls in {child, *subclasses(child)}
        if cls.__module__.startswith("strongroom.") and cls.__module__.split(".")[1] not in NEVER_MET
    }


def nearest_row(cls: type) -> type:
    """The class whose row answers for *cls*."""
    return next(ancestor for ancestor in cls.__mro__ if ancestor in TABLE)


def test_every_error_has_a_row() -> None:
    """A new kind of error fails here until somebody has decided what the peer is told."""
    load_everything()

    without = {
        cls for cls in subclasses(errors.StrongroomError) if cls.__module__.startswith(EXACT) and cls not in TABLE
    }

    assert set() == without


def test_no_error_of_the_floors_below_falls_through() -> None:
    """What other packages derive answers like its parent, and never like the bare root."""
    load_everything()

    fallen = {cls for cls in subclasses(errors.StrongroomError) if nearest_row(cls) is errors.StrongroomError}

    assert set() == fallen


def test_the_walk_would_notice() -> None:
    """The walks above see the errors of this package and a class without a row."""

    class Fresh(errors.StrongroomError):
        __module__ = "strongroom.scp.fresh"

    assert {IdentifierError, BrokenOffError, Fresh} <= subclasses(errors.StrongroomError)
    assert nearest_row(Fresh) is errors.StrongroomError
    del Fresh
    gc.collect()
    assert "Fresh" not in {cls.__name__ for cls in subclasses(errors.StrongroomError)}


@pytest.mark.parametrize(
    ("error", "store", "find", "retrieve"),
    [
        (errors.DataSetError("x"), 0xC000, 0xC000, 0xC000),
        (errors.MismatchError("x"), 0xA900, 0xA900, 0xA900),
        (IdentifierError("x", 0x00080052), 0xA900, 0xA900, 0xA900),
        (errors.AccessDenied("secret-reason"), 0x0124, 0x0124, 0x0124),
        (errors.OutOfResources("x"), 0xA700, 0xA700, 0xA702),
        (errors.IntegrityError("x"), 0x0110, 0xC000, 0xA702),
        (errors.ConflictError("x"), 0x0111, 0xC000, 0xC000),
        (errors.NotFound("x"), 0x0112, 0x0000, 0x0000),
    ],
)
def test_statuses(error: errors.StrongroomError, store: int, find: int, retrieve: int) -> None:
    """The statuses of the standard for what can go wrong."""
    answer = answer_to(error)

    assert (store, find, retrieve) == (answer.store, answer.find, answer.retrieve)


@pytest.mark.parametrize("row", TABLE.values(), ids=[cls.__name__ for cls in TABLE])
def test_every_row_can_be_sent(row) -> None:
    """A comment fits its element (LO) and no row is a success for storage."""
    assert len(row.comment) <= 64
    assert category(row.store) is Category.FAILURE


def test_what_an_error_says_never_leaves() -> None:
    """The peer gets the table's comment, not the error's sentence or the reason of a refusal (I7)."""
    assert "Canary" not in str(comment_on(errors.DataSetError("Canary^Patient")))
    assert "secret-reason" not in str(comment_on(errors.AccessDenied("secret-reason")))


def test_a_subclass_without_a_row_answers_like_its_parent() -> None:
    """The nearest ancestor decides, so nothing is ever without an answer."""

    class _Special(errors.OutOfResources):
        pass

    assert answer_to(_Special("x")).store == 0xA700


def test_broken_protocol_is_not_answered_with_a_status() -> None:
    """What the peer broke or we were about to break ends the association."""
    assert not answerable(errors.RemoteProtocolError("x"))
    assert not answerable(errors.LocalProtocolError("x"))
    assert answerable(errors.DataSetError("x"))
    assert answerable(errors.OutOfResources("x"))
