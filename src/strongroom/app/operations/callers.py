"""Who may call: devices and tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from strongroom.app.assembly import LEGACY_DOOR
from strongroom.app.config import check_ae_title, check_network, split_listen
from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Replies = AsyncGenerator[dict[str, Any]]


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


OPERATIONS: dict[str, Callable[..., Replies]] = {
    "device.add": _device_add,
    "device.list": _device_list,
    "device.revoke": _device_revoke,
    "token.add": _token_add,
    "token.list": _token_list,
    "token.revoke": _token_revoke,
}
