"""
Associations that we ask for (PS3.8 §7.1): connect, TLS, negotiate, and hand over a conversation.

The rule of this file: where a fingerprint is expected nothing is sent before the peer has shown that certificate.
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import final

from strongroom.dicom.uid import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from strongroom.transport import sockets
from strongroom.transport.conversation import Conversation
from strongroom.transport.ends import Ended, PeerIdentityError
from strongroom.transport.link import Link, Opening
from strongroom.transport.pacing import DEFAULT_DEADLINES, Deadlines
from strongroom.transport.secure import Secure, raw_buffer
from strongroom.transport.tls import fingerprint
from strongroom.upper_layer import (
    DEFAULT_LIMITS,
    AssociateAccept,
    AssociateRequest,
    Association,
    Limits,
    PresentationContext,
    Role,
)


@final
@dataclass(frozen=True, slots=True)
class Callee:
    """Where to call, and who has to answer there."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    """None means plain text."""
    server_name: str | None = None
    """The name the certificate is checked for, where *tls* checks names; *host* unless given."""
    fingerprint: str | None = None
    """SHA-256 (hex) of the one certificate the peer has to show."""


def association_request(
    *, called: str, calling: str, contexts: Iterable[PresentationContext], max_pdu_length: int | None = None
) -> AssociateRequest:
    """Make an ordinary request; role selections and the rest are added with `dataclasses.replace`."""
    request = AssociateRequest(
        called_ae_title=called,
        calling_ae_title=calling,
        presentation_contexts=tuple(contexts),
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
    )
    return request if max_pdu_length is None else replace(request, max_pdu_length=max_pdu_length)


async def connect(
    callee: Callee,
    request: AssociateRequest,
    *,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    limits: Limits = DEFAULT_LIMITS,
    announce: Callable[[tuple[str, int]], None] | None = None,
) -> Conversation:
    """
    Open an association.

    *announce* is told the address and port we call from before the peer can see them; the connection is then bound to
    the called address, so this is for own doors only. Raises OSError (TimeoutError and ssl.SSLError are kinds of it),
    PeerIdentityError, AssociationRejectedError, AssociationEndedError.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(deadlines.handshake_seconds):
        connected = await sockets.call(callee.host, callee.port, announce)
    link = Link(
        Association(Role.REQUESTOR, limits),
        loop=loop,
        deadlines=deadlines,
        connected=connected if callee.tls is None else None,
        opening=Opening(request, lambda transport: _check_identity(transport, callee.fingerprint)),
    )
    try:
        if callee.tls is None:
            await loop.create_connection(lambda: link, sock=connected)
        else:
            name = callee.server_name or callee.host
            secure = Secure(link, callee.tls, connected, raw_buffer(), server_name=name)
            await loop.create_connection(lambda: secure, sock=connected)
            await secure.shaken(deadlines.handshake_seconds)
    except BaseException:
        connected.close()
        raise
    try:
        accept = await link.opened()
    except BaseException:
        link.abort(Ended.ABORTED)
        raise
    assert isinstance(accept, AssociateAccept)
    return Conversation(link, accept)


def _check_identity(transport: asyncio.BaseTransport, expected: str | None) -> None:
    """Compare the certificate the peer has proved with the one it has to have."""
    if expected is None:
        return
    secured = transport.get_extra_info("ssl_object")
    shown = None if secured is None else secured.getpeercert(binary_form=True)
    if shown is None or not hmac.compare_digest(fingerprint(shown), expected.lower()):
        raise PeerIdentityError("the peer does not show the certificate it is registered with")


__all__ = ["Callee", "association_request", "connect"]
