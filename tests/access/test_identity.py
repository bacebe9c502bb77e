"""Who is calling: each broken part of the binding is refused, alike towards the peer and apart in the trail."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.access.identity import (
    Caller,
    Certificate,
    DeviceEntry,
    Devices,
    DeviceState,
    Door,
    DoorKind,
    Rejected,
    Rejection,
    WebCaller,
    admit,
    admit_web,
    fingerprint,
    parse_networks,
    recipient,
)
from strongroom.access.policy import EVERYTHING, Actor
from strongroom.access.roles import Action, ActorKind

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DER = b"the certificate of CT1"
TLS = Door("dicom", DoorKind.TLS, frozenset({"STRONGROOM"}))
LEGACY = Door("old-wing", DoorKind.LEGACY, frozenset({"OLDWING"}), parse_networks(["10.1.0.0/16"]), date(2026, 12, 1))
CERTIFICATE = Certificate(fingerprint(DER), NOW - DAY, NOW + 30 * DAY)
CT1 = DeviceEntry(
    "CT1",
    "CT1_AE",
    frozenset({Action.DEPOSIT, Action.QUERY}),
    EVERYTHING,
    (CERTIFICATE,),
    parse_networks(["10.1.2.0/24"]),
)
US1 = DeviceEntry(
    "US1",
    "US1_AE",
    frozenset({Action.DEPOSIT, Action.QUERY}),
    EVERYTHING,
    networks=parse_networks(["10.1.3.0/24"]),
    doors=frozenset({"old-wing"}),
)
CALL = Caller("CT1_AE", "STRONGROOM", "10.1.2.7", encrypted=True, certificate=DER)
PLAIN_CALL = Caller("US1_AE", "OLDWING", "10.1.3.9", encrypted=False)


def calling(entry: DeviceEntry = CT1, call: Caller = CALL, door: Door = TLS, now: datetime = NOW) -> Actor | Rejection:
    """Admit one call where one device is enrolled."""
    return admit(call, door, Devices([entry]), now)


def why(answer: Actor | Rejection) -> Rejected:
    """The reason of a rejection."""
    assert isinstance(answer, Rejection)
    return answer.reason


def test_enrolled_device_becomes_an_actor():
    """Certificate, AE title, network and door agree: the actor has the entry's rights and what the trail shows about it."""
    actor = calling()

    assert Actor(
        ActorKind.DEVICE, "CT1", frozenset({Action.DEPOSIT, Action.QUERY}), scope=EVERYTHING, ae_title="CT1_AE", address="10.1.2.7"
    ) == actor  # fmt: skip


def test_fingerprint_is_sha_256_of_the_der():
    """The binding is to the whole certificate, not to a name in it."""
    assert hashlib.sha256(DER).hexdigest() == fingerprint(DER)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"encrypted": False}, Rejected.DOOR_NOT_ENCRYPTED),
        ({"certificate": None}, Rejected.CERTIFICATE_MISSING),
        ({"certificate": b"of the same CA, but not enrolled"}, Rejected.CERTIFICATE_UNKNOWN),
        ({"calling_ae_title": "MR1_AE"}, Rejected.AE_TITLE_MISMATCH),
        ({"calling_ae_title": "ct1_ae"}, Rejected.AE_TITLE_MISMATCH),
        ({"calling_ae_title": ""}, Rejected.AE_TITLE_MISMATCH),
        ({"address": "10.1.3.7"}, Rejected.DEVICE_NETWORK),
        ({"address": "nonsense"}, Rejected.DEVICE_NETWORK),
        ({"called_ae_title": "ANY-SCP"}, Rejected.CALLED_AE_TITLE),
    ],
)
def test_a_call_which_differs_in_one_thing(change, expected):
    """Whatever part of the binding is wrong, the caller stays out, and the trail has the right reason (C10, T07, T10)."""
    assert expected is why(calling(call=replace(CALL, **change)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"state": DeviceState.REVOKED}, Rejected.DEVICE_REVOKED),
        ({"state": DeviceState.SUSPENDED}, Rejected.DEVICE_SUSPENDED),
        ({"expires": date(2026, 10, 5)}, Rejected.DEVICE_EXPIRED),
        ({"doors": frozenset({"other"})}, Rejected.DEVICE_DOOR),
        ({"user_identity_type": 5}, Rejected.USER_IDENTITY_MISSING),
        ({"certificates": (replace(CERTIFICATE, revoked=True),)}, Rejected.CERTIFICATE_REVOKED),
        ({"certificates": (replace(CERTIFICATE, expires=NOW),)}, Rejected.CERTIFICATE_EXPIRED),
        ({"certificates": (replace(CERTIFICATE, not_before=NOW + DAY),)}, Rejected.CERTIFICATE_NOT_YET_VALID),
    ],
)
def test_an_entry_which_no_longer_holds(change, expected):
    """Revoked, suspended, expired or moved to another door: refused at once (T07, T08)."""
    assert expected is why(calling(replace(CT1, **change)))


def test_a_required_user_identity_has_to_be_verified():
    """Presented is not verified: a type nobody checked is refused, never accepted silently (C11, T23)."""
    entry = replace(CT1, user_identity_type=5)

    assert Rejected.USER_IDENTITY_NOT_VERIFIED is why(calling(entry, replace(CALL, user_identity_type=5)))
    assert Rejected.USER_IDENTITY_MISSING is why(
        calling(entry, replace(CALL, user_identity_type=1, user_identity_verified=True))
    )
    assert isinstance(calling(entry, replace(CALL, user_identity_type=5, user_identity_verified=True)), Actor)


def test_both_certificates_hold_during_a_renewal():
    """The old certificate stays good next to the new one until it ends."""
    new = Certificate(fingerprint(b"new"), NOW, NOW + 60 * DAY)
    entry = replace(CT1, certificates=(CERTIFICATE, new))

    assert isinstance(calling(entry), Actor)
    assert isinstance(calling(entry, replace(CALL, certificate=b"new")), Actor)
    assert Rejected.CERTIFICATE_EXPIRED is why(calling(entry, now=NOW + 31 * DAY))
    assert isinstance(calling(entry, replace(CALL, certificate=b"new"), now=NOW + 31 * DAY), Actor)


def test_outer_spaces_of_ae_titles_do_not_count():
    """Leading and trailing spaces are not significant (PS3.8 9.3.2)."""
    assert isinstance(calling(call=replace(CALL, calling_ae_title="CT1_AE    ", called_ae_title=" STRONGROOM")), Actor)


@pytest.mark.parametrize("address", ["::ffff:10.1.2.7", "10.1.2.7"])
def test_mapped_addresses_are_the_same_address(address):
    """A dual-stack socket reports IPv4 callers as IPv4-mapped IPv6."""
    assert isinstance(calling(call=replace(CALL, address=address)), Actor)


def test_a_zone_in_an_address_is_ignored():
    """A link-local caller carries the name of our interface."""
    entry = replace(CT1, networks=parse_networks(["fe80::/10"]))
    assert isinstance(calling(entry, replace(CALL, address="fe80::1%eth0")), Actor)


def test_plaintext_door_gives_deposit_only():
    """On a legacy door the entry's other rights are cut off (C08)."""
    actor = calling(US1, PLAIN_CALL, LEGACY)

    assert isinstance(actor, Actor)
    assert frozenset({Action.DEPOSIT}) == actor.actions
    assert not actor.receives


@pytest.mark.parametrize(
    ("call", "door", "entry", "expected"),
    [
        ({"calling_ae_title": "GUESS"}, {}, {}, Rejected.AE_TITLE_UNKNOWN),
        ({"address": "10.1.9.9"}, {}, {}, Rejected.DEVICE_NETWORK),
        ({"address": "10.9.3.9"}, {}, {}, Rejected.DOOR_NETWORK),
        ({"user_identity_type": 2}, {}, {}, Rejected.PASSCODE_IN_CLEAR),
        ({"user_identity_type": 5}, {}, {}, Rejected.PASSCODE_IN_CLEAR),
        ({"called_ae_title": "STRONGROOM"}, {}, {}, Rejected.CALLED_AE_TITLE),
        ({}, {"expires": date(2026, 10, 5)}, {}, Rejected.DOOR_EXPIRED),
        ({}, {"expires": None}, {}, Rejected.DOOR_EXPIRED),
        ({}, {"networks": ()}, {}, Rejected.DOOR_NETWORK),
        ({}, {}, {"networks": ()}, Rejected.DEVICE_NETWORK),
        ({}, {}, {"doors": frozenset()}, Rejected.DEVICE_DOOR),
        ({}, {}, {"state": DeviceState.REVOKED}, Rejected.DEVICE_REVOKED),
    ],
)
def test_plaintext_door_refuses(call, door, entry, expected):
    """AE title, both lists of networks, the expiry date and the device's own entry all have to agree (T10, T19)."""
    assert expected is why(calling(replace(US1, **entry), replace(PLAIN_CALL, **call), replace(LEGACY, **door)))


def test_a_device_with_a_certificate_cannot_be_impersonated_in_plain_text():
    """Knowing the AE title of a TLS device is worth nothing on the plaintext door: its entry does not name the door."""
    call = Caller("CT1_AE", "OLDWING", "10.1.2.7", encrypted=False)
    assert Rejected.DEVICE_DOOR is why(calling(CT1, call, LEGACY))


def test_a_passcode_in_clear_is_found_before_the_device_is_looked_at():
    """A secret sent in clear text is refused whoever sent it, so that it is not tried out (T19)."""
    call = replace(PLAIN_CALL, calling_ae_title="GUESS", user_identity_type=2)
    assert Rejection(Rejected.PASSCODE_IN_CLEAR) == calling(US1, call, LEGACY)


def test_the_rejection_names_the_device_for_the_trail():
    """Who was impersonated, and with which certificate, is worth knowing; an unknown certificate is recorded all the same."""
    assert Rejection(Rejected.AE_TITLE_MISMATCH, "CT1", fingerprint(DER)) == calling(
        call=replace(CALL, calling_ae_title="X")
    )
    assert Rejection(Rejected.CERTIFICATE_UNKNOWN, "", fingerprint(b"?")) == calling(
        call=replace(CALL, certificate=b"?")
    )


def test_an_ae_title_freed_by_a_revoked_device_is_the_new_devices():
    """Whichever order the register returns them in, the active entry answers to the AE title."""
    old = replace(US1, name="US0", state=DeviceState.REVOKED)
    for entries in itertools.permutations([old, US1]):
        actor = admit(PLAIN_CALL, LEGACY, Devices(entries), NOW)
        assert isinstance(actor, Actor)
        assert actor.name == "US1"


def test_the_recipient_of_a_move_has_to_be_in_force():
    """A destination whose entry or certificate ended receives nothing (C37)."""
    entry = replace(CT1, receives=True, actions=frozenset({Action.RETRIEVE}))

    actor = recipient(entry, "10.1.2.7:104", NOW)
    assert isinstance(actor, Actor)
    assert actor.receives
    assert Rejected.DEVICE_SUSPENDED is why(recipient(replace(entry, state=DeviceState.SUSPENDED), "", NOW))
    assert Rejected.DEVICE_REVOKED is why(recipient(replace(entry, state=DeviceState.REVOKED), "", NOW))
    assert Rejected.DEVICE_EXPIRED is why(recipient(replace(entry, expires=NOW.date()), "", NOW))
    assert Rejected.CERTIFICATE_EXPIRED is why(recipient(replace(entry, certificates=()), "", NOW))
    assert Rejected.CERTIFICATE_EXPIRED is why(recipient(entry, "", NOW + 60 * DAY))


@given(
    st.builds(
        Caller,
        calling_ae_title=st.sampled_from(["CT1_AE", "US1_AE", "", "\0", "X"]) | st.text(max_size=20),
        called_ae_title=st.sampled_from(["STRONGROOM", "OLDWING", "X"]),
        address=st.sampled_from(["10.1.2.7", "10.1.3.9", "::1", "", "10.1.2.7%x"]) | st.text(max_size=20),
        encrypted=st.booleans(),
        certificate=st.sampled_from([None, DER, b"", b"other"]),
        user_identity_type=st.sampled_from([None, 1, 2, 5, 77]),
        user_identity_verified=st.booleans(),
    ),
    st.sampled_from([TLS, LEGACY]),
    st.sampled_from([NOW, NOW + 31 * DAY, NOW + 90 * DAY]),
)
def test_only_the_two_right_calls_are_admitted(call, door, now):
    """Whatever is sent: no exception, and an actor only for the enrolled certificate, or the listed device on its plaintext door."""
    answer = admit(call, door, Devices([CT1, US1]), now)

    if isinstance(answer, Actor):
        assert now == NOW or (now == NOW + 31 * DAY and door is LEGACY)
        if door is TLS:
            assert (answer.name, call.certificate, call.encrypted) == ("CT1", DER, True)
            assert call.address.startswith("10.1.2.7")
        else:
            assert (answer.name, call.calling_ae_title.strip(" "), call.address) == ("US1", "US1_AE", "10.1.3.9")
            assert call.user_identity_type not in {2, 5}
    else:
        assert isinstance(answer.reason, Rejected)


WEB = Door("web", DoorKind.WEB)
WEB_CALL = WebCaller("10.1.2.7", DER)


def on_the_web(
    entry: DeviceEntry = CT1, call: WebCaller = WEB_CALL, door: Door = WEB, now: datetime = NOW
) -> Actor | Rejection:
    """Admit one request where one device is enrolled."""
    return admit_web(call, door, Devices([entry]), now)


def test_on_the_web_a_certificate_is_its_device():
    """Without an AE title in the request the actor is the same as on the DICOM door."""
    assert calling() == on_the_web()


@pytest.mark.parametrize(
    ("entry", "call", "door", "expected"),
    [
        ({}, {"certificate": b"another"}, {}, Rejected.CERTIFICATE_UNKNOWN),
        ({}, {"certificate": b""}, {}, Rejected.CERTIFICATE_UNKNOWN),
        ({}, {"address": "10.1.3.7"}, {}, Rejected.DEVICE_NETWORK),
        ({}, {"address": "nonsense"}, {}, Rejected.DEVICE_NETWORK),
        ({"state": DeviceState.REVOKED}, {}, {}, Rejected.DEVICE_REVOKED),
        ({"state": DeviceState.SUSPENDED}, {}, {}, Rejected.DEVICE_SUSPENDED),
        ({"expires": date(2026, 10, 5)}, {}, {}, Rejected.DEVICE_EXPIRED),
        ({"doors": frozenset({"dicom"})}, {}, {}, Rejected.DEVICE_DOOR),
        ({"certificates": (replace(CERTIFICATE, revoked=True),)}, {}, {}, Rejected.CERTIFICATE_REVOKED),
        ({"certificates": (replace(CERTIFICATE, expires=NOW),)}, {}, {}, Rejected.CERTIFICATE_EXPIRED),
        ({"certificates": (replace(CERTIFICATE, not_before=NOW + DAY),)}, {}, {}, Rejected.CERTIFICATE_NOT_YET_VALID),
        ({"user_identity_type": 2}, {}, {}, Rejected.USER_IDENTITY_MISSING),
        ({}, {}, {"expires": date(2026, 10, 5)}, Rejected.DOOR_EXPIRED),
        ({}, {}, {"networks": parse_networks(["10.9.0.0/16"])}, Rejected.DOOR_NETWORK),
    ],
)
def test_the_web_door_checks_what_the_dicom_door_does(entry, call, door, expected):
    """What keeps a device out of the DICOM door keeps it out of the web door as well, with the same reason (C10)."""
    found = on_the_web(replace(CT1, **entry), replace(WEB_CALL, **call), replace(WEB, **door))

    assert expected is why(found)


def test_a_device_can_be_bound_to_the_web_door():
    """An entry that names the door is let in there and nowhere else."""
    entry = replace(CT1, doors=frozenset({"web"}))

    assert isinstance(on_the_web(entry), Actor)
    assert Rejected.DEVICE_DOOR is why(calling(entry))


@given(
    st.binary(max_size=40) | st.just(DER),
    st.text(max_size=20) | st.just("10.1.2.7"),
    st.sampled_from([NOW, NOW + 31 * DAY]),
)
def test_only_the_right_certificate_is_admitted_on_the_web(certificate, address, now):
    """Whatever is shown from wherever: no exception, and an actor for the enrolled certificate in its time and network only."""
    found = on_the_web(call=WebCaller(address, certificate), now=now)

    right = certificate == DER and now == NOW and address.partition("%")[0] == "10.1.2.7"
    assert isinstance(found, Actor) == right
