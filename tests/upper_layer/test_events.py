"""What the primitives keep to themselves."""

from __future__ import annotations

import dataclasses

import pytest

from strongroom.upper_layer import AssociateAccept, AssociateRequested, UserIdentity, UserIdentityType
from wire import a_request


def test_no_repr_shows_who_the_user_is():
    """Neither user name nor passcode nor the server's answer appears when an event is printed (I7)."""
    identity = UserIdentity(UserIdentityType.USERNAME_AND_PASSCODE, b"mallory", b"opensesame")
    accept = AssociateAccept("A", "B", (), "1.2", user_identity_response=b"ticket-4711")
    text = repr(AssociateRequested(a_request(user_identity=identity))) + repr(accept)

    assert not [word for word in ("mallory", "opensesame", "ticket-4711") if word in text]


def test_what_was_received_cannot_be_changed():
    """A request is frozen: what the gate decided about is what the association was made from."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_request().calling_ae_title = "OTHER"
