"""
Between the DICOM doors and the gate: what a caller shows becomes a credential, what the gate grants becomes an
association.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

from strongroom.access.identity import REJECTION
from strongroom.archive import DeviceCredential, MoveDestination
from strongroom.errors import AccessDenied, NotFound, StrongroomError
from strongroom.scp.contexts import actions_refused, extended_answers, supported
from strongroom.transport import outbound
from strongroom.transport.doors import Admission, Peer
from strongroom.transport.ends import PeerIdentityError, Refused
from strongroom.transport.requestor import Callee, association_request
from strongroom.upper_layer import AssociateReject, AssociateRequest, any_accepted, negotiate

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.scp.dispatch import Provider
    from strongroom.transport.conversation import Conversation
    from strongroom.upper_layer import PresentationContext
    from strongroom.upper_layer.events import RoleSelection

NOTHING_SUPPORTED = AssociateReject(1, 1, 1)
"""Rejected-permanent by the user, no reason: the device is known, but wants nothing that it may have."""


@final
class Doorkeeper:
    """The handler behind every DICOM door."""

    def __init__(
        self,
        archive: Archive,
        provider: Provider[MoveDestination],
        *,
        max_pdu_length: int,
        own_knock: Callable[[tuple[str, int]], bool],
    ) -> None:
        self._own_knock = own_knock
        self._archive = archive
        self._provider = provider
        self._max_pdu_length = max_pdu_length

    async def admit(self, request: AssociateRequest, peer: Peer) -> Admission | AssociateReject:
        """Ask the gate, then negotiate what the session may have."""
        if self._own_knock((peer.address, peer.port)) and peer.certificate is None:
            return AssociateReject(*REJECTION)  # our own look from outside, on a plaintext door: it records itself
        identity = request.user_identity
        credential = DeviceCredential(
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            address=peer.address,
            port=peer.port,
            door=peer.door,
            encrypted=peer.encrypted,
            certificate=peer.certificate,
            user_identity_type=None if identity is None else identity.type,
        )
        try:
            session = await self._archive.gate.admit(credential)
        except AccessDenied:
            return AssociateReject(*REJECTION)
        # An identity that nobody verified gets no answer that could be taken for a yes (PS3.7 D.3.3.7.2, SECURITY C11).
        accept = negotiate(
            replace(request, user_identity=None),
            supported(session),
            max_pdu_length=self._max_pdu_length,
            sop_class_extended=extended_answers(request.sop_class_extended),
        )
        await session.refused(actions_refused(request, accept))
        if not any_accepted(accept):
            session.close()
            return NOTHING_SUPPORTED

        async def serve(conversation: Conversation) -> None:
            try:
                await self._provider.serve(conversation, session)
            finally:
                session.close()

        name = session.name
        return Admission(
            accept,
            serve,
            holder=name,
            most=self._archive.directory.max_associations(name),
            idle_seconds=self._archive.directory.idle_seconds(name),
            declined=session.close,
        )

    def refused(self, peer: Peer, reason: Refused) -> None:
        """The listener's report of a caller it did not let come so far."""
        self._archive.gate.refusals.turned_away(peer.door, peer.address, peer.port, reason.value)


@final
class WayOut:
    """
    Associations to enrolled devices, for C-MOVE and storage commitment: TLS, and the very certificate the device is
    enrolled with (C37).
    """

    def __init__(
        self,
        ae_title: str,
        tls: Callable[[], ssl.SSLContext],
        own_doors: Callable[[], Collection[tuple[str, int]]],
    ) -> None:
        self._ae_title = ae_title
        self._tls = tls
        self._own_doors = own_doors

    async def connect(
        self,
        destination: MoveDestination,
        contexts: Sequence[PresentationContext],
        roles: Sequence[RoleSelection] = (),
    ) -> Conversation:
        """Call *destination* at the address of its entry; during a renewal either of its certificates will do."""
        request = association_request(called=destination.ae_title, calling=self._ae_title, contexts=contexts)
        request = replace(request, role_selections=tuple(roles))
        failure: StrongroomError = NotFound("this destination has no certificate in force")
        for fingerprint in sorted(destination.certificate_fingerprints):
            callee = Callee(destination.host, destination.port, self._tls(), fingerprint=fingerprint)
            try:
                return await outbound.connect(callee, request, own_doors=self._own_doors())
            except PeerIdentityError as error:
                failure = error
        raise failure
