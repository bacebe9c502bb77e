"""
What the harness must find: the archive with its order broken on purpose, one way at a time (`crash_states.py --break NAME`).

A flush that is left out is a flush that returns and did nothing: `SimulatedDisk.lying`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faults.simulated_disk import SimulatedDisk
from strongroom.archive.committer import Committer
from strongroom.register import heads
from strongroom.vault.pack import Vault

Spoil = Callable[[SimulatedDisk], None]


def _forgets(call: str, *names: str) -> Spoil:
    def spoil(disk: SimulatedDisk) -> None:
        disk.lying = lambda kind, name: kind == call and name.startswith(names)

    return spoil


def _commit_first(_disk: SimulatedDisk) -> None:
    """The database commits, then the pack is flushed: a row may be durable whose blob is not (I2)."""
    if hasattr(Vault, "late"):
        return
    flush, committed = Vault.flush, Committer._committed

    def later(vault: Any) -> None:
        Vault.late.append(vault)  # type: ignore[attr-defined]

    def then(self: Any, *arguments: Any) -> None:
        while Vault.late:  # type: ignore[attr-defined]
            flush(Vault.late.pop())  # type: ignore[attr-defined]
        committed(self, *arguments)

    Vault.late = []  # type: ignore[attr-defined]
    Vault.flush, Committer._committed = later, then  # type: ignore[method-assign]


def _no_outbox(_disk: SimulatedDisk) -> None:
    """The trail's records are appended and flushed some time later, and are nowhere else meanwhile."""
    if not hasattr(heads, "honest"):
        heads.honest = save = heads.save  # type: ignore[attr-defined]
        heads.save = lambda connection, head, flushed, payloads=(), *, tidy=True: save(  # type: ignore[assignment]
            connection, head, flushed, () if payloads else payloads, tidy=tidy
        )


WAYS: dict[str, Spoil] = {
    "pack-flush": _forgets("sync", "vault/"),
    "pack-directory": _forgets("sync-directory", "vault"),
    "trail-directory": _forgets("sync-directory", "trail"),
    "trail-flush": _forgets("sync", "trail/"),
    "log-flush": _forgets("sync", "archive.db-wal"),
    "database-flush": _forgets("sync", "archive.db"),
    "keyring-flush": _forgets("sync", "keyring"),
    "commit-first": _commit_first,
    "no-outbox": _no_outbox,
}
