"""
Retrieval over an association of ours to a third party: C-MOVE (PS3.4 C.4.2).

1. The destination comes from the device register, and only where the gate allows it to receive from this session (C37).
2. A destination gets few associations at a time, a requester few moves: many moves to a slow peer wait or are refused
   (D16).
3. One association carries at most 128 contexts; a larger selection takes several, one after the other.
4. An association that breaks costs its instance; the rest is tried on a new one, a few times only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Generic, final

from strongroom.dimse import CMoveRequest, status
from strongroom.errors import NotFound, OutOfResources, StrongroomError
from strongroom.imaging.pool import Pool
from strongroom.scp import identifier as identifiers
from strongroom.scp.contexts import QUERY_RETRIEVE
from strongroom.scp.errors import BrokenOffError
from strongroom.scp.exchange import DEFAULT_LIMITS, Exchange, Limits
from strongroom.scp.ports import Conversation, DestinationT, Disclosure, InstanceT, Outbound, Session
from strongroom.scp.retrieval import Retrieval
from strongroom.scp.status import answerable
from strongroom.scp.suboperations import ASSOCIATION_ENDED, NOT_REACHED, UNREADABLE, Batch, Channel, Tally, plan

MAX_BROKEN: Final = 3
"""Associations to one destination that may break or fail to open in one move before the rest is given up."""

_LOOK_SECONDS: Final = 0.5
"""How often a waiting move looks whether it was cancelled."""

_ENDS: Final = (StrongroomError, OSError, TimeoutError)
"""What an association of ours may end with."""


@final
class Moves(Generic[DestinationT]):
    """What all moves of the archive share: the way out, and whose turn it is."""

    def __init__(
        self, outbound: Outbound[DestinationT], *, limits: Limits = DEFAULT_LIMITS, pool: Pool | None = None
    ) -> None:
        self.outbound = outbound
        self.pool = pool
        self._limits = limits
        self._of_requester: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def turn(self, requester: str, destination: str, cancelled: Callable[[], bool]) -> AsyncIterator[bool]:
        """Wait for a turn at *destination*; gives False when cancelled meanwhile. Raises OutOfResources (rule 2)."""
        if self._of_requester[requester] >= self._limits.moves_per_requester:
            raise OutOfResources(f"{self._limits.moves_per_requester} moves of this requester are under way already")
        semaphore = self._turns.setdefault(destination, asyncio.Semaphore(self._limits.moves_per_destination))
        self._of_requester[requester] += 1
        held = False
        try:
            while not held and not cancelled():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        held = await semaphore.acquire()
            yield held
        finally:
            if held:
                semaphore.release()
            self._of_requester[requester] -= 1
            if not self._of_requester[requester]:
                del self._of_requester[requester]


async def move(
    exchange: Exchange,
    session: Session[InstanceT, DestinationT],
    request: CMoveRequest,
    moves: Moves[DestinationT],
) -> None:
    """Answer a C-MOVE."""
    retrieval = Retrieval(exchange, request)
    try:
        identifier = await identifiers.receive(exchange)
        target = identifiers.parse_target(identifier, QUERY_RETRIEVE[exchange.context.abstract_syntax][0])
        try:
            destination = await session.destination(request.move_destination)
        except NotFound:
            await retrieval.refuse_with(status.MOVE_DESTINATION_UNKNOWN, "Move destination unknown")
            return
        async with moves.turn(session.name, destination.ae_title, retrieval.cancelled) as held:
            code = status.CANCEL
            if held:
                disclosure = await session.retrieve(target, to=destination.recipient())
                sending = _Sending(retrieval, disclosure, destination, moves, session.ae_title)
                code = await sending.run()
    except StrongroomError as error:
        if not answerable(error):
            raise
        await retrieval.refuse(error)
        return
    await retrieval.finish(code)


@final
class _Sending(Generic[InstanceT, DestinationT]):
    """The sub-operations of one move."""

    def __init__(
        self,
        retrieval: Retrieval,
        disclosure: Disclosure[InstanceT],
        destination: DestinationT,
        moves: Moves[DestinationT],
        originator: str,
    ) -> None:
        self._retrieval = retrieval
        self._disclosure = disclosure
        self._destination = destination
        self._outbound = moves.outbound
        self._pool = moves.pool
        self._originator = (originator, retrieval.request.message_id)
        self._broken = 0

    async def run(self) -> int:
        """Send everything; return the final status."""
        async with self._disclosure:
            self._retrieval.tally = Tally(len(self._disclosure.instances))
            for batch in plan(self._disclosure.instances, has_pool=self._pool is not None):
                await self._send_batch(batch)
                if self._retrieval.tally.remaining and self._retrieval.cancelled():
                    return status.CANCEL
        return self._retrieval.tally.final_status

    async def _send_batch(self, batch: Batch[InstanceT]) -> None:
        """Send the instances of one batch, on a new association for those after one that broke (rule 4)."""
        todo: Sequence[InstanceT] = batch.instances
        while todo and not self._retrieval.cancelled():
            if self._broken >= MAX_BROKEN:
                await self._give_up(todo)
                return
            try:
                conversation = await self._outbound.connect(self._destination, batch.contexts)
            except _ENDS:
                self._broken += 1
                continue
            todo = await self._send_on(conversation, todo)

    async def _give_up(self, todo: Sequence[InstanceT]) -> None:
        for instance in todo:
            await self._retrieval.settle(self._disclosure, instance, NOT_REACHED)

    async def _send_on(self, conversation: Conversation, todo: Sequence[InstanceT]) -> Sequence[InstanceT]:
        """Send on one association until it ends or breaks; return what is left to do."""
        contexts = [context for context in conversation.contexts.values() if context.requestor_is_scu]
        channel = Channel(conversation, contexts, self._pool)
        alive = True
        try:
            for number, instance in enumerate(todo):
                if self._retrieval.cancelled():
                    return todo[number:]
                outcome, alive = await self._send_one(channel, instance)
                await self._retrieval.settle(self._disclosure, instance, outcome)
                if not alive:
                    self._broken += 1
                    return todo[number + 1 :]
        except BaseException:
            alive = False
            raise
        else:
            return ()
        finally:
            with suppress(*_ENDS):
                await (conversation.release() if alive else conversation.abort())

    async def _send_one(self, channel: Channel, instance: InstanceT) -> tuple[int | str, bool]:
        """Send one instance; return what came of it and whether the association still stands."""
        try:
            outcome = await channel.send(
                self._disclosure, instance, priority=self._retrieval.request.priority, originator=self._originator
            )
        except BrokenOffError:
            return UNREADABLE, False
        except _ENDS:
            return ASSOCIATION_ENDED, False
        return outcome, True
