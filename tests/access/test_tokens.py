"""Tokens: what is one, what it may be given, and that only the right one at the right time makes an actor."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.access.identity import Door, DoorKind, Rejected, Rejection, parse_networks
from strongroom.access.policy import EVERYTHING, Actor, Grant, decide
from strongroom.access.roles import ROLES, Action, ActorKind
from strongroom.access.tokens import (
    TokenEntry,
    Tokens,
    admit_token,
    check_name,
    check_roles,
    digest_of,
    new_token,
    parse_life,
    service_roles,
)
from strongroom.errors import ConfigurationError

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WEB = Door("web", DoorKind.WEB)
TOKEN = new_token(lambda count: b"\x5a" * count)
OTHER = new_token(lambda count: b"\xa5" * count)
OHIF = TokenEntry("ohif", digest_of(TOKEN), frozenset({"radiologist"}), NOW - DAY, NOW + DAY, EVERYTHING)


def showing(token: str = TOKEN, entry: TokenEntry = OHIF, door: Door = WEB, now: datetime = NOW) -> Actor | Rejection:
    """Show a token where one is known."""
    return admit_token(token, "10.1.2.7", door, Tokens([entry]), now)


def test_a_good_token_becomes_a_service():
    """The actor has the token's roles and scope, and the address of the request for the trail."""
    expected = Actor(ActorKind.SERVICE, "ohif", roles=OHIF.roles, scope=EVERYTHING, address="10.1.2.7")

    assert expected == showing()


def test_a_token_is_256_random_bits_behind_our_prefix():
    """43 characters of base64url; the hash that is kept is SHA-256 of the whole text."""
    asked = []
    token = new_token(lambda count: asked.append(count) or bytes(range(count)))

    assert asked == [32]
    assert re.fullmatch(r"srt_[A-Za-z0-9_-]{43}", token)
    assert hashlib.sha256(token.encode()).digest() == digest_of(token)


@pytest.mark.parametrize(
    ("token", "change", "expected"),
    [
        (OTHER, {}, Rejected.TOKEN_UNKNOWN),
        (TOKEN[:-1], {}, Rejected.TOKEN_MALFORMED),
        (TOKEN + "\n", {}, Rejected.TOKEN_MALFORMED),
        (TOKEN.upper(), {}, Rejected.TOKEN_MALFORMED),
        ("", {}, Rejected.TOKEN_MALFORMED),
        ("srt_", {}, Rejected.TOKEN_MALFORMED),
        ("\ud800" * 47, {}, Rejected.TOKEN_MALFORMED),
        ("x" * 1_000_000, {}, Rejected.TOKEN_MALFORMED),
        (TOKEN, {"revoked": True}, Rejected.TOKEN_REVOKED),
        (TOKEN, {"expires": NOW}, Rejected.TOKEN_EXPIRED),
        (TOKEN, {"created": NOW + timedelta(seconds=61)}, Rejected.TOKEN_NOT_YET_VALID),
    ],
)
def test_whatever_else_is_shown_is_refused(token, change, expected):
    """Unknown, no token at all, revoked, past its end, or made in the future: refused, each with its own reason (C14, H14)."""
    found = showing(token, replace(OHIF, **change))

    assert isinstance(found, Rejection)
    assert expected is found.reason
    assert ("ohif" if change else "") == found.device


def test_a_clock_a_little_slow_does_not_matter():
    """A minute of difference between two clocks refuses nobody (C56)."""
    assert isinstance(showing(now=OHIF.created - timedelta(seconds=60)), Actor)


def test_the_hash_of_what_is_no_token_opens_nothing():
    """Even a register that held the hash of an ill-formed text would not let it in."""
    for text in ("srt_", "", "secret"):
        assert isinstance(showing(text, replace(OHIF, digest=digest_of(text))), Rejection)


def test_the_doors_own_rules_hold_for_tokens():
    """A web door with networks or a last day lets nobody in from elsewhere or afterwards."""
    elsewhere = replace(WEB, networks=parse_networks(["10.9.0.0/16"]))
    over = replace(WEB, expires=NOW.date())

    assert Rejected.DOOR_NETWORK is showing(door=elsewhere).reason
    assert Rejected.DOOR_EXPIRED is showing(door=over).reason


@given(st.text(max_size=60) | st.from_regex(r"srt_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_nothing_but_the_token_itself_is_admitted(text):
    """Whatever text is shown: no exception, and an actor for the right token only."""
    assert isinstance(showing(text), Actor) == (text == TOKEN)


def test_roles_that_give_a_service_nothing_are_refused():
    """Each with its own sentence; the others are taken, also several."""
    assert ("modality", "reader", "radiologist", "auditor") == service_roles()
    assert frozenset({"reader", "modality"}) == check_roles(["reader", "modality", "reader"])
    for roles, sentence in (
        ([], "needs a role"),
        (["root"], "no role 'root'"),
        (["reader", "administrator"], "cannot be administrator"),
        (["custodian"], "custody, delete"),
        (["researcher"], "cannot be researcher yet"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            check_roles(roles)


def test_every_role_a_token_takes_grants_it_something():
    """The list of roles is not wider than the ceiling of services, and not narrower."""
    for name in ROLES:
        actor = Actor(ActorKind.SERVICE, "t", roles=frozenset({name}), scope=EVERYTHING)
        grants = any(isinstance(decide(actor, action), Grant) for action in Action)

        assert grants == (name in service_roles()), name


@pytest.mark.parametrize(
    ("text", "life"),
    [
        ("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("52w", timedelta(weeks=52)), ("1m", timedelta(minutes=1)),
        ("825d", timedelta(days=825)), ("19800h", timedelta(days=825)),
    ],
)  # fmt: skip
def test_how_long_a_token_holds(text, life):
    """Minutes, hours, days and weeks, up to 825 days."""
    assert life == parse_life(text)


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "0d", "-1d", "+1d", "1.5d", "90 d", "90D", "90s", "1y", "826d", "118w", "9999999w", "1" * 100 + "d", "९d", "90d\n"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text):
    """No unit, no number, nothing at all, for ever, or longer than allowed."""
    with pytest.raises(ConfigurationError, match="--for"):
        parse_life(text)


def test_names_that_stand_well_in_a_trail_and_on_a_command_line():
    """Letters of any script, digits and a few signs; nothing that steers a terminal or looks like the host."""
    for name in ("ohif", "OHIF-2", "radiologie_süd", "a", "x" * 64, "ai@gpu1", "3d-lab.v2"):
        check_name(name)
    for name in ("", "x" * 65, "uid 0", "-x", "_x", "a/b", "a:b", "a\n", "a\x1b[31m", ".", "a\u202eb"):
        with pytest.raises(ConfigurationError):
            check_name(name)
