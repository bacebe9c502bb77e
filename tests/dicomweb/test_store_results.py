"""Errors to Failure Reasons, results to the answer (PS3.18 §10.5.3, Annex I)."""

from __future__ import annotations

import pytest

from scp.test_status import load_everything, subclasses
from strongroom import errors
from strongroom.dicomweb.store_results import REASONS, Failed, Result, Stored, reason_of, response_module, status_of
from strongroom.imaging.errors import PoolBusyError, UnreadablePixelsError

STORED = Stored("1.2", "1.3", "1.4", "1.5")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.StrongroomError("x"), 0x0110),
        (errors.IntegrityError("x"), 0x0110),
        (errors.DataSetError("x"), 0xC000),
        (UnreadablePixelsError("x"), 0xC000),
        (errors.UnsupportedSyntaxError("x"), 0xC122),
        (errors.UnsupportedClassError("x"), 0x0122),
        (errors.MismatchError("x"), 0xA900),
        (errors.AccessDenied("x"), 0x0124),
        (errors.OutOfResources("x"), 0xA700),
        (PoolBusyError("x"), 0xA700),
    ],
)
def test_each_kind_of_error_has_its_reason(error: errors.StrongroomError, reason: int) -> None:
    """The numbers of PS3.18 Table I.2-2, and C-STORE's where it has none."""
    assert reason == reason_of(error)


def test_every_error_has_a_reason() -> None:
    """A new kind of error falls to what it derives from, never to a KeyError."""
    load_everything()

    assert all(0x0100 <= reason_of(cls.__new__(cls)) <= 0xFFFF for cls in subclasses(errors.StrongroomError))
    assert errors.StrongroomError in REASONS


@pytest.mark.parametrize(
    ("results", "whole", "status"),
    [
        ([STORED], True, 200),
        ([STORED], False, 202),
        ([STORED, Failed(0xC000)], True, 202),
        ([Failed(0xC000)], True, 409),
        ([Failed(0xA700), Failed(0xA700)], True, 503),
        ([Failed(0xA700), Failed(0xC000)], True, 409),
    ],
)
def test_the_status_is_that_of_the_worst_and_the_best(results: list[Result], whole: bool, status: int) -> None:
    """PS3.18 Table 10.5.3-1; out of resources only when there is nothing else to tell."""
    assert status == status_of(results, whole=whole)


@pytest.mark.parametrize("uid", ["", "1.2\r\nX: y", "Doe^Jane", "1" * 65])
def test_what_is_no_uid_is_not_told(uid: str) -> None:
    """A failure without both UIDs is one of the others; text that only stands where a UID should is not repeated."""
    module = response_module([Failed(0xC000, "1.2", uid), Failed(0xC000, uid, "1.2")], "https://x")

    assert {"00081190", "0008119A"} == module.keys()
    assert uid == "" or uid not in str(module)


def test_addresses_are_escaped() -> None:
    """A UID that is none cannot lead a reader of the answer elsewhere."""
    module = response_module([Stored("1.2", "../x", "a/b?c", "1#2")], "https://x")

    assert "https://x/studies/a%2Fb%3Fc/series/1%232/instances/..%2Fx" in str(module)
