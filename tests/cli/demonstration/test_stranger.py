"""Which record of the trail is about which attempt, and how what the stranger saw is put in words."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.cli.demonstration.stranger import Attempt, _what
from strongroom.transport import AssociationEndedError, AssociationRejectedError, Ended

BEGAN = datetime(2026, 5, 4, 12, tzinfo=UTC)


def _record(**changed: object) -> dict[str, object]:
    return {
        "sequence": 7,
        "time": (BEGAN + timedelta(milliseconds=1)).isoformat(),
        "outcome": "no-tls",
        "source": "127.0.0.1:4000",
        "actor": "caller:",
    } | changed


def _attempt() -> Attempt:
    return Attempt("plain text", "no-tls", source="127.0.0.1:4000", since=BEGAN)


def test_a_record_is_known_by_the_port_it_came_from() -> None:
    """The same address and port, the expected outcome, and not before it was tried."""
    assert _attempt().is_recorded_by(_record())


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "127.0.0.1:4001"},
        {"outcome": "certificate-missing"},
        {"time": (BEGAN - timedelta(seconds=1)).isoformat()},
    ],
)
def test_the_record_of_something_else_is_not_taken(changed: dict[str, object]) -> None:
    """Another port, another outcome, or an earlier time: somebody else's record."""
    assert not _attempt().is_recorded_by(_record(**changed))


def test_an_enrolled_device_is_known_by_its_name() -> None:
    """Where the device itself is known the trail names it, without a port."""
    attempt = Attempt("query", "action-not-granted", actor="device:CT1", since=BEGAN)
    record = _record(outcome="action-not-granted", source="127.0.0.1", actor="device:CT1")

    assert attempt.is_recorded_by(record)
    assert not attempt.is_recorded_by(record | {"actor": "device:CT2"})


@pytest.mark.parametrize(("let_in", "record"), [(True, {"sequence": 1}), (False, None), (True, None)])
def test_an_attempt_is_held_only_when_refused_and_recorded(*, let_in: bool, record: dict[str, object] | None) -> None:
    """One of the two alone is not enough."""
    assert Attempt("x", "y", let_in=False, record={"sequence": 1}).held
    assert not Attempt("x", "y", let_in=let_in, record=record).held


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AssociationRejectedError(2, 2, 1), "A-ASSOCIATE-RJ 2/2/1, no reason given"),
        (
            AssociationEndedError(Ended.CONNECTION_LOST, alert="TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "TLS alert: certificate required",
        ),
        (AssociationEndedError(Ended.CONNECTION_LOST), "connection closed, not a byte of DICOM"),
        (ConnectionResetError(), "connection closed"),
        (ssl.SSLEOFError(8, "EOF"), "connection closed"),
        (ssl.SSLError(1, "handshake"), "TLS failed"),
        (TimeoutError(), "no answer"),
    ],
)
def test_what_the_stranger_saw_is_told_in_the_words_of_the_protocol(error: Exception, words: str) -> None:
    """Rejections with their numbers, alerts by name, and silence as silence."""
    assert _what(error) == words
