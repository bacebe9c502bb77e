"""
What the host can ask of an archive, by name: the same functions serve the control socket and a command that owns the
home itself.

Each operation is an async generator: progress objects first, {"result": ...} last. Each goes through the gate as the
actor *host*.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from strongroom.app.operations import aside, basics, callers, copies, erasing, upkeep, work
from strongroom.archive import HostCredential
from strongroom.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive

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


_OPERATIONS: dict[str, Callable[..., Replies]] = {
    name: function
    for module in (basics, callers, aside, upkeep, copies, work, erasing)
    for name, function in module.OPERATIONS.items()
}
