"""
What the host can ask of an archive, by name: the same functions serve the control socket and a command that owns the
home itself.

Each operation is an async generator: progress objects first, {"result": ...} last. Each goes through the gate as the
actor *host*.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from strongroom.app import exporting, importing
from strongroom.app.assembly import LEGACY_DOOR
from strongroom.app.config import check_ae_title, check_network, split_listen
from strongroom.archive import HostCredential
from strongroom.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Reply = dict[str, Any]
Replies = AsyncGenerator[Reply]


async def operate(archive: Archive, operation: str, parameters: dict[str, Any], uid: int) -> Replies:
    """Run the named operation; raises NotFound for an unknown name and whatever the operation raises."""
    function = _OPERATIONS.get(operation)
    if function is None:
        raise NotFound(f"this server knows no operation {operation!r}; is it older than the command?")
    credential = HostCredential(uid=uid, command=operation, reason=parameters.pop("reason", None))
    session = await archive.gate.admit(credential)
    replies = function(archive, session, **_checked(operation, function, parameters))
    try:
        async for reply in replies:
            yield reply
    finally:
        await replies.aclose()
        session.close()


def _checked(operation: str, function: Callable[..., Replies], parameters: dict[str, Any]) -> dict[str, Any]:
    code = function.__code__
    known = code.co_varnames[2 : code.co_argcount + code.co_kwonlyargcount]
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ConfigurationError(
            f"operation {operation!r} has no parameter {unknown[0]!r}; are server and command of one version?"
        )
    return parameters


async def _status(archive: Archive, session: Session) -> Replies:
    yield {
        "result": await archive.custodian(session).status()
        | {"serving": archive.serving, "doors": archive.door_table()}
    }


async def _doors(archive: Archive, session: Session) -> Replies:
    await archive.custodian(session).require_review()
    yield {"result": {"doors": archive.door_table()}}


async def _device_add(  # noqa: PLR0913 -- one parameter for each option of the command
    archive: Archive,
    session: Session,
    *,
    name: str,
    ae_title: str,
    may: list[str],
    networks: list[str],
    move: str | None,
    private_classes: list[str],
    legacy: bool,
    days: int,
) -> Replies:
    for network in networks:
        check_network(network, "--network")
    check_ae_title(ae_title)
    if legacy and archive.config.legacy is None:
        raise ConfigurationError(
            "this home has no plaintext door; describe one under [legacy] in strongroom.toml first"
        )
    enrolled = await archive.custodian(session).enrol(
        name=name,
        ae_title=ae_title,
        may=may,
        networks=networks,
        move=split_listen(move, "--move-port") if move else None,
        private_classes=private_classes,
        legacy_door=LEGACY_DOOR if legacy else None,
        days=days,
    )
    yield {"result": enrolled | archive.connection_settings(enrolled)}


async def _device_list(archive: Archive, session: Session) -> Replies:
    yield {"result": await archive.custodian(session).devices()}


async def _device_revoke(archive: Archive, session: Session, *, name: str) -> Replies:
    revoked = await archive.custodian(session).revoke(name)
    yield {"result": revoked | {"ended": archive.disconnect(name) + archive.disconnect_web("device", name)}}


async def _token_add(
    archive: Archive, session: Session, *, name: str, roles: list[str], scope: list[str], life: str
) -> Replies:
    made = await archive.tokens(session).issue(name=name, roles=roles, scope=scope, life=life)
    yield {"result": made | archive.web_settings()}


async def _token_list(archive: Archive, session: Session) -> Replies:
    yield {"result": await archive.tokens(session).listed()}


async def _token_revoke(archive: Archive, session: Session, *, name: str) -> Replies:
    revoked = await archive.tokens(session).revoke(name)
    yield {"result": revoked | {"ended": archive.disconnect_web("service", name)}}


async def _check(archive: Archive, session: Session, *, read: bool) -> Replies:
    async for reply in archive.custodian(session).check(read=read):
        yield reply


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


_OPERATIONS: dict[str, Callable[..., Replies]] = {
    "status": _status,
    "doors": _doors,
    "device.add": _device_add,
    "device.list": _device_list,
    "device.revoke": _device_revoke,
    "token.add": _token_add,
    "token.list": _token_list,
    "token.revoke": _token_revoke,
    "check": _check,
    "trail.show": _trail_show,
    "trail.verify": _trail_verify,
    "import": _import,
    "export": _export,
}
