"""Tokens from their making to their end: through the gate, for what they name, until they are revoked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive.world import EVERYTHING, World, aio, answers, deposited, opened, returned, uid
from strongroom.access.roles import Action
from strongroom.archive import Session, TokenCredential, WebCertificateCredential
from strongroom.archive.tokens import MAX_SCOPE, read_scope, scope_words
from strongroom.audit.codes import Event, EventType
from strongroom.errors import AccessDenied, ConfigurationError, ConflictError, NotFound
from strongroom.register import tokens as register

OTHER = "srt_" + "A" * 43


async def issued(world: World, name: str = "ohif", role: str = "radiologist", *scope: str, life: str = "90d") -> str:
    """Make a token."""
    made = await world.archive.tokens(await world.host()).issue(
        name=name, roles=role.split(","), scope=scope or ("all",), life=life
    )
    return str(made["token"])


async def revoke(world: World, name: str = "ohif") -> None:
    """Revoke one."""
    await world.archive.tokens(await world.host()).revoke(name)


async def admitted(world: World, token: str, address: str = "127.0.0.1", door: str = "web") -> Session:
    """Show a token."""
    return await world.archive.gate.admit(TokenCredential(token, address, 40000, door))


async def shown(world: World, certificate: bytes, address: str = "127.0.0.1", door: str = "web") -> Session:
    """Show a certificate on the web door."""
    return await world.archive.gate.admit(WebCertificateCredential(certificate, address, 40000, door))


def signed_in(world: World) -> list[tuple[str, str, str]]:
    """Who signed in, from where, and why not, oldest first."""
    found = []
    for entry in world.trail():
        if entry.message.event == Event.USER_AUTHENTICATION:
            (who,) = (one for one in entry.message.participants if one.requestor)
            found.append((who.user_id, who.address, entry.message.reason))
    return found


@aio
async def test_a_token_is_given_once_and_kept_nowhere(tmp_path: Path) -> None:
    """Neither the list nor any file of the home holds it, nor the trail; that it was made stands there."""
    async with opened(tmp_path / "home") as world:
        token = await issued(world)
        listed = await world.archive.tokens(await world.host()).listed()
        made = [entry.message for entry in world.trail() if EventType.USER_SECURITY_CHANGED in entry.message.types]

        assert token not in str(listed)
        assert token not in str(world.trail())
        assert ["ohif"] == [one["name"] for one in listed["tokens"]]
        assert 1 == len(made)
        with world.parts.database.reader() as connection:
            assert token[4:] not in str(register.every(connection))
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or token[4:].encode() not in path.read_bytes()


@aio
async def test_a_service_may_what_its_role_says(tmp_path: Path) -> None:
    """A radiologist's token searches, looks and fetches, and does not share: that wants a person."""
    async with opened(tmp_path / "home") as world:
        data, _ = await deposited(await world.device("CT1"))
        session = await admitted(world, await issued(world))
        may = [action.value for action in Action if session.may(action)]

        assert ("ohif", "service", "") == (session.name, session.kind, session.ae_title)
        assert ["query", "view", "retrieve"] == may
        assert {uid(1): data} == await returned(session, EVERYTHING)
        assert [["1.2.3"]] == [match["0020000D"]["Value"] for match in await answers(session, t0020000D="")]
        with pytest.raises(AccessDenied):
            await deposited(session, 2)


@aio
async def test_a_modalitys_token_deposits_under_its_name(tmp_path: Path) -> None:
    """It stores and sees nothing; what it stored is found by a scope that names it."""
    async with opened(tmp_path / "home") as world:
        modality = await admitted(world, await issued(world, "scanner", "modality"))
        data, receipt = await deposited(modality)
        with pytest.raises(AccessDenied):
            await answers(modality, t0020000D="")
        await deposited(await world.device("CT1"), 2, study="1.2.9")
        reader = await admitted(world, await issued(world, "reader", "radiologist", "device:scanner"))

        assert "stored" == receipt.outcome.value
        assert {uid(1): data} == await returned(reader, EVERYTHING)
        assert [["1.2.3"]] == [match["0020000D"]["Value"] for match in await answers(reader, t0020000D="")]
        assert frozenset() == modality.private_sop_classes
        assert not modality.duplicate_is_success


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (("all",), ["1.2.3", "1.2.9"]),
        (("study:1.2.9",), ["1.2.9"]),
        (("issuer:HOSPITAL",), ["1.2.3"]),
        (("device:CT2", "study:1.2.3"), ["1.2.3", "1.2.9"]),
        (("study:1.2.77",), []),
    ],
)
@aio
async def test_a_scope_bounds_what_a_token_reaches(tmp_path: Path, scope: tuple[str, ...], found: list[str]) -> None:
    """All, studies, an issuer of patient IDs, what a device sent, and their union."""
    async with opened(tmp_path / "home") as world:
        await deposited(await world.device("CT1"), 1, IssuerOfPatientID="HOSPITAL")
        await deposited(await world.device("CT2"), 2, study="1.2.9")
        session = await admitted(world, await issued(world, "ohif", "reader", *scope))

        assert found == sorted(match["0020000D"]["Value"][0] for match in await answers(session, t0020000D=""))


@pytest.mark.parametrize(
    ("token", "reason", "who"),
    [
        (OTHER, "token-unknown", "caller:"),
        ("password", "token-malformed", "caller:"),
        ("", "token-malformed", "caller:"),
    ],
)
@aio
async def test_a_wrong_token_is_refused_and_recorded(tmp_path: Path, token: str, reason: str, who: str) -> None:
    """The failure stands in the trail and in the list of who knocked before the caller hears of it, without what it sent."""
    async with opened(tmp_path / "home") as world:
        await issued(world)
        with pytest.raises(AccessDenied):
            await admitted(world, token)

        assert [(who, "127.0.0.1:40000", reason)] == signed_in(world)
        assert token == "" or token not in str(world.trail())
        assert reason in [one["reason"] for one in (await (await world.custodian()).devices())["refused"]]


@aio
async def test_revoking_a_token_ends_its_sessions(tmp_path: Path) -> None:
    """The next thing an open session asks is refused, and the next request; the trail names the token (C39)."""
    async with opened(tmp_path / "home") as world:
        await deposited(await world.device("CT1"))
        token = await issued(world)
        session = await admitted(world, token)
        await revoke(world)
        for ask in (session.retrieve(EVERYTHING), session.require(Action.VIEW), session.destination("CT1")):
            with pytest.raises(AccessDenied):
                await ask
        with pytest.raises(AccessDenied):
            await admitted(world, token)

        assert not session.may("query")
        assert ("service:ohif", "127.0.0.1:40000", "token-revoked") == signed_in(world)[-1]
    async with opened(tmp_path / "home") as world:
        with pytest.raises(AccessDenied):
            await admitted(world, token)


@aio
async def test_a_token_ends_by_itself(tmp_path: Path) -> None:
    """At its last second an open session is over as well, and a new one is refused by its own reason."""
    async with opened(tmp_path / "home") as world:
        token = await issued(world, life="30m")
        session = await admitted(world, token)
        clock = world.parts.clock
        world.parts.clock = lambda: clock() + timedelta(minutes=30)
        with pytest.raises(AccessDenied):
            await session.query(None)
        with pytest.raises(AccessDenied):
            await admitted(world, token)

        assert "token-expired" == signed_in(world)[-1][2]
        assert "expired" == (await world.archive.tokens(await world.host()).listed())["tokens"][0]["state"]


@aio
async def test_signing_in_is_recorded_once_an_hour_and_address(tmp_path: Path) -> None:
    """A thousand requests are one record; another address and another hour are one more each (PS3.15 A.5.3.12)."""
    async with opened(tmp_path / "home") as world:
        token = await issued(world)
        for _ in range(1000):
            await admitted(world, token)
        assert [("service:ohif", "127.0.0.1", "")] == signed_in(world)
        await admitted(world, token, "10.1.2.3")
        clock = world.parts.clock
        world.parts.clock = lambda: clock() + timedelta(hours=1)
        await admitted(world, token)
        await admitted(world, token)

        expected = [("service:ohif", address, "") for address in ("127.0.0.1", "10.1.2.3", "127.0.0.1")]
        assert expected == signed_in(world)


@aio
async def test_the_last_use_is_written_once_a_minute(tmp_path: Path) -> None:
    """Not with every request, and never for one that was refused."""
    async with opened(tmp_path / "home") as world:
        token = await issued(world)
        listing = world.archive.tokens(await world.host())
        with pytest.raises(AccessDenied):
            await admitted(world, OTHER)
        assert (await listing.listed())["tokens"][0]["last_used"] is None
        await admitted(world, token)
        first = (await listing.listed())["tokens"][0]["last_used"]
        clock = world.parts.clock
        world.parts.clock = lambda: clock() + timedelta(seconds=30)
        await admitted(world, token)
        second = (await listing.listed())["tokens"][0]["last_used"]
        world.parts.clock = lambda: clock() + timedelta(seconds=90)
        await admitted(world, token)
        third = (await listing.listed())["tokens"][0]["last_used"]

        assert first == second
        assert first < third


@aio
async def test_failures_are_slowed_and_successes_are_not(tmp_path: Path) -> None:
    """From the eleventh bad token of an address on the answer comes later; the good one of the same address comes at once (T11)."""
    async with opened(tmp_path / "home") as world:
        token = await issued(world)
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        world.archive.gate.refusals._sleep = sleep
        for _ in range(13):
            with pytest.raises(AccessDenied):
                await admitted(world, OTHER)
        with pytest.raises(AccessDenied):
            await shown(world, b"no certificate of ours")
        await admitted(world, token)

        assert [0.25, 0.5, 1.0, 2.0] == slept


@aio
async def test_a_device_is_itself_on_the_web_door(tmp_path: Path) -> None:
    """Its certificate alone makes the device's actor; who may retrieve may view, who may deposit may not."""
    async with opened(tmp_path / "home") as world:
        certificate = await world.enrol("WS1", "query,retrieve")
        data, _ = await deposited(await world.device("CT1"))
        session = await shown(world, certificate)

        assert ("WS1", "device", "WS1") == (session.name, session.kind, session.ae_title)
        assert [True, True] == [session.may("view"), session.may("retrieve")]
        assert {uid(1): data} == await returned(session, EVERYTHING)
        assert not (await shown(world, await world.enrol("CT2", "deposit"))).may("view")
        await (await world.custodian()).revoke("WS1")
        with pytest.raises(AccessDenied):
            await session.retrieve(EVERYTHING)
        with pytest.raises(AccessDenied):
            await shown(world, certificate)
        last = world.trail()[-1].message
        assert (Event.SECURITY_ALERT, "device-revoked") == (last.event, last.reason)


@aio
async def test_credentials_belong_to_their_doors(tmp_path: Path) -> None:
    """A token or a bare certificate on a DICOM door, an association request on the web door, a door nobody has: refused."""
    async with opened(tmp_path / "home") as world:
        token, certificate = await issued(world), await world.enrol("CT1")
        for door in ("dicom", "legacy", "side"):
            with pytest.raises(AccessDenied):
                await admitted(world, token, door=door)
            with pytest.raises(AccessDenied):
                await shown(world, certificate, door=door)
        with pytest.raises(AccessDenied):
            await world.admit("CT1", certificate, door="web")


@aio
async def test_nobody_but_a_keeper_makes_or_ends_tokens(tmp_path: Path) -> None:
    """Neither a device nor a service, whatever its role, gets another token, a list or an end."""
    async with opened(tmp_path / "home") as world:
        service = await admitted(world, await issued(world, "strong", "radiologist,modality"))
        for session in (await world.device(), service):
            tools = world.archive.tokens(session)
            for attempt in (
                tools.issue(name="x", roles=["reader"], scope=["all"], life="1d"),
                tools.revoke("strong"),
                tools.listed(),
            ):
                with pytest.raises(AccessDenied):
                    await attempt

        assert ["strong"] == [
            one["name"] for one in (await world.archive.tokens(await world.host()).listed())["tokens"]
        ]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "CT1"}, ConflictError),
        ({"name": "uid 0"}, ConfigurationError),
        ({"roles": ["administrator"]}, ConfigurationError),
        ({"life": "for ever"}, ConfigurationError),
        ({"scope": ["device:CT7"]}, NotFound),
        ({"scope": ["department:X"]}, ConfigurationError),
    ],
)
@aio
async def test_what_cannot_be_made_is_refused(tmp_path: Path, change: dict[str, Any], error: type[Exception]) -> None:
    """A device's name, the host's, a role no service has, no end, a device nobody enrolled: nothing is made."""
    async with opened(tmp_path / "home") as world:
        await world.enrol("CT1")
        tools = world.archive.tokens(await world.host())
        with pytest.raises(error):
            await tools.issue(**({"name": "x", "roles": ["reader"], "scope": ["all"], "life": "1d"} | change))

        assert {"tokens": []} == await tools.listed()


@pytest.mark.parametrize(
    "words", [["all"], ["study:1.2.3"], ["study:1.2.3", "study:1.2.4", "issuer:A:B C", "device:CT1"]]
)
def test_a_scope_reads_as_it_was_typed(words: list[str]) -> None:
    """What the register keeps says the same again."""
    assert words == scope_words(read_scope(words))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs a scope"),
        (["everything"], "takes all"),
        (["all", "study:1.2"], "leave out"),
        (["all:x"], "leave out"),
        (["study:"], "1 to 64"),
        (["study:01.2"], "not a UID"),
        (["study:1.2;DROP"], "not a UID"),
        (["issuer:" + "x" * 65], "1 to 64"),
        (["issuer:a\x1b[0m"], "1 to 64"),
        (["department:ward"], "not there yet"),
        ([f"study:1.{number}" for number in range(MAX_SCOPE + 1)], "at most"),
    ],
)
def test_a_scope_that_means_nothing_is_refused(words: list[str], sentence: str) -> None:
    """Each with a sentence that says what to type instead."""
    with pytest.raises(ConfigurationError, match=sentence):
        read_scope(words)
