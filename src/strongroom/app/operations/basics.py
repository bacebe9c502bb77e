"""What the host asks of a whole archive: its state, check, import, export, trail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from strongroom.app import exporting, importing

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Replies = AsyncGenerator[dict[str, Any]]


async def _status(archive: Archive, session: Session) -> Replies:
    found = await archive.custodian(session).status()
    second = None if archive.second is None else await asyncio.to_thread(archive.second.state)
    yield {"result": found | {"serving": archive.serving, "doors": archive.door_table(), "second_vault": second}}


async def _doors(archive: Archive, session: Session) -> Replies:
    await archive.custodian(session).require_review()
    yield {"result": {"doors": archive.door_table()}}


async def _trail_show(
    archive: Archive, session: Session, *, last: int, patient: str | None, actor: str | None, refused: bool
) -> Replies:
    async for page in archive.custodian(session).trail(last=last, patient=patient, actor=actor, refused=refused):
        yield {"records": page}
    yield {"result": {}}


async def _trail_verify(archive: Archive, session: Session) -> Replies:
    yield {"result": await archive.custodian(session).verify_trail()}


async def _import(_archive: Archive, session: Session, *, path: str) -> Replies:
    async for reply in importing.import_path(session, path):
        yield reply


async def _export(_archive: Archive, session: Session, *, level: str, uid: str, out: str) -> Replies:
    async for reply in exporting.export(session, level=level, uid=uid, out=out):
        yield reply


OPERATIONS: dict[str, Callable[..., Replies]] = {
    "status": _status,
    "doors": _doors,
    "trail.show": _trail_show,
    "trail.verify": _trail_verify,
    "import": _import,
    "export": _export,
}
