"""
What a caller may do, for as long as it is admitted. Made by `Gate.admit` and by nothing else (DESIGN section 2,
decision 3).

Each method asks the one policy for this actor and this target before it touches anything, and a refusal is recorded
before it is raised. Out of scope and absent look the same from here on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, final

from strongroom.access.policy import ARCHIVE, Reason, Refusal, decide, decide_transfer, is_written_reason
from strongroom.access.policy import Target as PolicyTarget
from strongroom.access.roles import Action, ActorKind
from strongroom.archive import erasing, recording
from strongroom.archive.acts import Note
from strongroom.archive.credentials import MoveDestination, Recipient
from strongroom.archive.deletion import RESTORED_AT_ONCE, DeleteAct, RestoreAct, read_again
from strongroom.archive.deposit import Deposit
from strongroom.archive.disclosure import Disclosure
from strongroom.archive.matches import Matches
from strongroom.archive.original import Original
from strongroom.catalogue import instances as catalogue
from strongroom.errors import AccessDenied, ConflictError, NotFound, RemoteProtocolError
from strongroom.register import deletions

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from strongroom.access.policy import Actor
    from strongroom.archive.committed import Commitment, CommitmentInbox
    from strongroom.archive.core import Core
    from strongroom.archive.deletion import Returning
    from strongroom.archive.directory import Directory
    from strongroom.catalogue.query import Query, Target
    from strongroom.catalogue.scope import Scope
    from strongroom.register.deletions import Deleted

MAX_DELETE_REASON = 1_024
"""Characters of the reason for a deletion: a sentence or two."""
MAX_INSTANCES = 200_000
"""Instances of one retrieve; more is asked for study by study."""


@final
class Session:
    """The only way from a front door to the archive."""

    def __init__(self, core: Core, directory: Directory, actor: Actor) -> None:
        self._core = core
        self._directory = directory
        self._actor = actor
        self._closed = False

    @property
    def name(self) -> str:
        """Who this is, for people."""
        return self._actor.name

    @property
    def kind(self) -> str:
        """What kind of actor this is: a name is unique within its kind."""
        return self._actor.kind.value

    @property
    def ae_title(self) -> str:
        """The AE title it called itself, or an empty string."""
        return self._actor.ae_title

    @property
    def private_sop_classes(self) -> frozenset[str]:
        """Private SOP classes its entry allows it to store; only a device has such an entry."""
        if self._actor.kind is not ActorKind.DEVICE:
            return frozenset()
        return self._directory.private_sop_classes(self._actor.name)

    @property
    def duplicate_is_success(self) -> bool:
        """Whether its entry wants success for a conflicting second deposit instead of 0x0111 (I3)."""
        is_device = self._actor.kind is ActorKind.DEVICE
        return is_device and self._directory.duplicate_is_success(self._actor.name)

    @property
    def may_commit(self) -> bool:
        """Whether it may ask for storage commitment: an enrolled device that deposits and proves itself by TLS."""
        proved = self._actor.kind is ActorKind.DEVICE and self._directory.has_certificate(self._actor.name)
        return proved and self.may(Action.DEPOSIT)

    @property
    def may_report(self) -> bool:
        """Whether it may tell results of what we asked: only a device that we have an address of is ever asked."""
        return self._is_open and self._actor.kind is ActorKind.DEVICE and self._actor.receives

    def may(self, action: str) -> bool:
        """Whether the policy would grant *action* as such; front doors use it to offer less, never to decide."""
        return self._is_open and not isinstance(decide(self._actor, Action(action), ARCHIVE), Refusal)

    def close(self) -> None:
        """End the session; whatever is asked of it afterwards is refused."""
        self._closed = True

    def deposit(
        self,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        study_instance_uid: str = "",
        sop_classes: Container[str] | None = None,
    ) -> Deposit:
        """
        Begin to take one data set; raises AccessDenied.

        What is given must be what the data set says, or `finish` raises MismatchError; *sop_classes*, where the SOP
        class was not negotiated, are those that may be stored.
        """
        self._still_open()
        decision = decide(self._actor, Action.DEPOSIT, ARCHIVE)
        if isinstance(decision, Refusal):
            raise AccessDenied(decision.reason)
        return Deposit(
            self._core,
            self._actor,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            study_instance_uid=study_instance_uid,
            sop_classes=sop_classes,
        )

    async def original(self) -> Original:
        """Begin to take a file as it came, for quarantine, beside the deposit of its data set; raises AccessDenied."""
        await self.require(Action.DEPOSIT)
        return await Original.begin(self._core, self._actor)

    async def query(self, query: Query) -> Matches:
        """Search inside the session's scope; raises AccessDenied."""
        scope = await self._scope(Action.QUERY)
        return Matches(self._core, self._actor, query, scope)

    async def retrieve(self, target: Target, *, to: Recipient | None = None) -> Disclosure:
        """
        Name what *target* holds for this session and prepare to send it to *to* (the caller itself when not given).

        An empty disclosure means: nothing there, or nothing there for this caller. Raises AccessDenied.
        """
        scope = await self._scope(Action.RETRIEVE)
        recipient = to if to is not None else Recipient(self._actor.name, self._actor.ae_title, self._actor.address)
        if to is not None:
            theirs = self._directory.actor(to.name)
            decision = decide_transfer(self._actor, theirs, ARCHIVE) if theirs is not None else None
            if decision is None or isinstance(decision, Refusal):
                await self._refuse(Action.RETRIEVE, "recipient-unknown" if decision is None else decision.reason)
            assert theirs is not None
            scope = scope & self._directory.scope(theirs)
        rows = await asyncio.to_thread(self._rows, target, scope)
        return Disclosure(self._core, self._actor, recipient, rows)

    async def view(self, target: Target) -> Disclosure:
        """
        Name what *target* holds for this session and prepare to show it to the caller: metadata, frames, bulk data.

        Whoever may retrieve may view. An empty disclosure means what it means for `retrieve`. Raises AccessDenied.
        """
        may_retrieve = not isinstance(decide(self._actor, Action.RETRIEVE, ARCHIVE), Refusal)
        scope = await self._scope(Action.RETRIEVE if may_retrieve else Action.VIEW)
        recipient = Recipient(self._actor.name, self._actor.ae_title, self._actor.address)
        rows = await asyncio.to_thread(self._rows, target, scope)
        return Disclosure(self._core, self._actor, recipient, rows, is_view=True)

    async def delete(self, target: Target, reason: str) -> int:
        """
        Take what *target* holds for this session out of sight, the first of two steps; return how many instances.

        It is kept sealed, and `restore` takes it back; *reason* stands in the trail and in the list of deletions.
        Raises AccessDenied, NotFound when there is nothing, ConflictError when a study is on hold, RemoteProtocolError
        when *reason* is none.
        """
        scope = await self._scope(Action.DELETE)
        if not is_written_reason(reason) or len(reason) > MAX_DELETE_REASON:
            raise RemoteProtocolError(f"a deletion needs a reason, of {MAX_DELETE_REASON} characters at most")
        try:
            deleted = await self._core.committer.submit(DeleteAct(self._actor, target, scope, reason))
        except ConflictError:
            await self._record_refusal(Action.DELETE, Reason.ON_HOLD)
            raise
        self._core.fragments.look_again()
        return int(deleted)

    async def restore(self, target: Target) -> int:
        """
        Bring back what was deleted and *target* names by UIDs; return how many instances.

        Raises AccessDenied, NotFound when there is nothing, IntegrityError when a blob is damaged: what came before it
        is back then.
        """
        await self.require(Action.DELETE)
        found = await asyncio.to_thread(self._deleted, target)
        if not found:
            raise NotFound("nothing to restore")
        restored = 0
        for start in range(0, len(found), RESTORED_AT_ONCE):
            returning = await asyncio.to_thread(self._read_again, found[start : start + RESTORED_AT_ONCE])
            restored += await self._core.committer.submit(RestoreAct(self._actor, returning))
            self._core.fragments.look_again()
        return restored

    async def purge(self, target: Target, reason: str) -> int:
        """
        Ask for the studies that *target* names to be erased for good, the second of two steps; return the request's
        number. A second person confirms it (`archive.erasing`).

        Raises AccessDenied, NotFound, ConfigurationError, and ConflictError when a study is on hold.
        """
        for uid in target.study_instance_uids:
            await self.require(Action.DELETE, PolicyTarget(study_instance_uid=uid))
        await self.require(Action.DELETE)
        return await erasing.request(self._core, self._actor, target.study_instance_uids, reason)

    async def commit(self, request: Commitment, inbox: CommitmentInbox) -> None:
        """
        Take a request for storage commitment; once this returns it is durable, and a result will come.

        *inbox* takes the result while the association stands. Raises AccessDenied, ConflictError, OutOfResources.
        """
        await self.require(Action.DEPOSIT)
        if not self.may_commit:
            await self._refuse(Action.DEPOSIT, "commitment-without-certificate")
        await self._core.commitments.open(self._actor.name, request, inbox)

    async def committed(self, result: Commitment) -> None:
        """Take what the caller says of a commitment that we asked it for; raises AccessDenied, NotFound."""
        self._still_open()
        if not self.may_report:
            raise AccessDenied("kind-cannot")
        await self._core.commitments.answered(self._actor.name, result)

    async def destination(self, ae_title: str) -> MoveDestination:
        """
        The enrolled device that *ae_title* names, if this session may send to it; raises NotFound otherwise (C37).
        """
        self._still_open()
        found = self._directory.destination(ae_title)
        if found is None:
            await self._record_refusal(Action.RETRIEVE, "move-destination-unknown")
            raise NotFound("no such move destination")
        theirs = self._directory.actor(found.name)
        assert theirs is not None
        decision = decide_transfer(self._actor, theirs, ARCHIVE)
        if isinstance(decision, Refusal):
            await self._record_refusal(Action.RETRIEVE, decision.reason)
            raise NotFound("no such move destination")
        return found

    async def require(self, action: Action, target: PolicyTarget = ARCHIVE) -> None:
        """Raise AccessDenied, after recording it, unless the policy grants *action*."""
        self._still_open()
        decision = decide(self._actor, action, target)
        if isinstance(decision, Refusal):
            await self._refuse(action, decision.reason)

    async def refused(self, actions: Iterable[str]) -> None:
        """Record that a front door offered less than was asked for: what the policy says of each of *actions*."""
        for name in actions:
            decision = decide(self._actor, Action(name), ARCHIVE)
            if isinstance(decision, Refusal):
                await self._record_refusal(Action(name), decision.reason)

    @property
    def actor(self) -> Actor:
        """The actor behind this session, for `archive`'s own modules."""
        return self._actor

    def _deleted(self, target: Target) -> list[Deleted]:
        """Deleted instances of a target that lie in the actor's scope, as far as that can be said of them."""
        with self._core.parts.database.reader() as connection:
            found = deletions.matching(
                connection,
                study_instance_uids=target.study_instance_uids,
                series_instance_uids=target.series_instance_uids,
                sop_instance_uids=target.sop_instance_uids,
            )
        return [one for one in found if not isinstance(decide(self._actor, Action.DELETE, _about(one)), Refusal)]

    def _read_again(self, found: Sequence[Deleted]) -> list[Returning]:
        return [read_again(self._core.parts, one) for one in found]

    def _rows(self, target: Target, scope: Scope) -> list[catalogue.InstanceRow]:
        with self._core.parts.database.reader() as connection:
            return catalogue.instances(connection, target, scope)

    async def _scope(self, action: Action) -> Scope:
        await self.require(action)
        return self._directory.scope(self._actor)

    async def _refuse(self, action: Action, reason: str) -> None:
        await self._record_refusal(action, reason)
        raise AccessDenied(reason)

    async def _record_refusal(self, action: Action, reason: str) -> None:
        message = recording.refusal(self._core.parts, self._actor, action, reason)
        await self._core.committer.submit(Note((message,)))

    def _still_open(self) -> None:
        if not self._is_open:
            raise AccessDenied("session-ended")

    @property
    def _is_open(self) -> bool:
        return not self._closed and self._directory.still_admitted(self._actor)


def _about(deleted: Deleted) -> PolicyTarget:
    """What is known of a deleted instance, for the policy."""
    kept = deleted.kept
    return PolicyTarget(study_instance_uid=kept.study_instance_uid, sending_devices=frozenset({kept.device}))
