"""
`rebuild`: a new `archive.db` beside the old one, filled from packs and keyring, and put in its place at once.

1. The home's lock is taken, so no server and no other command works on it; and the host has to have custody.
2. `archive.db.rebuilding` is made. What only the register holds is copied out of the old file, whole or not at all.
3. Its catalogue is filled (archive.rebuilding), it is flushed, and renamed to `archive.db.rebuilt`: it is complete.
4. The old file is put aside as `archive.db.before-rebuild-N`, then the new one takes its name. A crash in between is
   finished by whoever opens the home next.
5. The archive is opened as always, and the trail says what was done.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

import apsw

from strongroom.access.roles import Action
from strongroom.app.assembly import CATALOGUE, LOCK, REGISTER, VAULT, header_limits, load_master, open_archive
from strongroom.app.founding import read_passphrase
from strongroom.app.switching import finish_switch, remove, switch
from strongroom.archive import HostCredential
from strongroom.archive.gate import require_of_host
from strongroom.archive.rebuilding import Rebuild, Workers, workers_here
from strongroom.errors import ConflictError, HomeInUseError, IntegrityError
from strongroom.ground.database import Database, migrate, migrations_in
from strongroom.ground.disk import DiskMedium
from strongroom.ground.keyring import Keyring
from strongroom.register import retired
from strongroom.vault.pack import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.app.home import Home
    from strongroom.ground.master import MasterKey

ROWS: Final = 1_000
"""Rows of the register that are copied at a time."""


async def rebuild(
    home: Home, *, without_register: bool, passphrase_file: Path | None
) -> AsyncGenerator[dict[str, Any]]:
    """
    Rebuild the catalogue of *home*; yields progress and at last {"result": ...}.

    Raises HomeInUseError while a server runs, IntegrityError when the register cannot be read whole, unless
    *without_register* says to go on without it.
    """
    require_of_host(os.getuid(), Action.CUSTODY)
    passphrase = read_passphrase(passphrase_file)
    result: dict[str, Any] = {}
    began = time.monotonic()
    steps = _made_anew(home, load_master(home, passphrase), without_register=without_register)
    with closing(steps):
        while (reply := await asyncio.to_thread(next, steps, None)) is not None:
            result = reply.get("result", result)
            if "progress" in reply:
                yield reply
    result["seconds"] = time.monotonic() - began
    async with open_archive(home, passphrase=passphrase) as archive:
        session = await archive.gate.admit(HostCredential(uid=os.getuid(), command="rebuild"))
        await archive.upkeep(session).rebuilt(result)
    yield {"result": result}


def _made_anew(home: Home, master: MasterKey, *, without_register: bool) -> Generator[dict[str, Any]]:
    """Steps 1 to 4, in a worker thread."""
    medium = DiskMedium(home.root)
    with ExitStack() as stack:
        try:
            stack.callback(medium.lock(LOCK).release)
        except ConflictError as error:
            raise HomeInUseError("another Strongroom process owns this home; stop the server first") from error
        finish_switch(home)
        config = home.config()
        new = home.database_file.with_name("archive.db.rebuilding")
        remove(new)
        database = Database(new, master.derive("database 1"))
        stack.callback(database.close)
        database.migrate(CATALOGUE, "strongroom.catalogue.migrations")
        database.migrate(REGISTER, "strongroom.register.migrations")
        register = _register(home, master, database, without_register=without_register)
        database.writer.execute("PRAGMA synchronous = off").fetchall()  # a crash throws this file away
        keyring = Keyring.open(home.root, master, medium)
        stack.callback(keyring.close)
        vault = Vault(medium, VAULT, pack_bytes=config.limits.pack_mebibytes << 20)  # puts torn ends in order
        packs = vault.packs()
        vault.close()
        with database.reader() as connection:
            gone = retired.numbers(connection)
        workers = Workers(home.root, VAULT, header_limits(config), workers_here())
        stack.callback(workers.close)
        run = Rebuild(database, keyring, packs, workers, retired=gone)
        for phase, done, total in run.run():
            yield {"progress": {"phase": phase, "done": done, "total": total}}
        database.close()
        switch(home, new)
    findings = [finding.shown() for finding in run.findings]
    yield {"result": {"register": register, "findings": findings} | _counts(run)}


def _counts(run: Rebuild) -> dict[str, int]:
    names = ("instances", "aside", "quarantine", "conflicts", "copies", "without_key", "erased")
    return {name: run.counts[name] for name in names}


def _register(home: Home, master: MasterKey, database: Database, *, without_register: bool) -> str:
    """Copy what only the register holds; say "kept", or "lost"."""
    if not home.database_file.exists():
        return "lost"
    if without_register:
        return "lost"
    try:
        old = Database(home.database_file, master.derive("database 1"))
        with closing(old):
            old.migrate(REGISTER, "strongroom.register.migrations")
            _copy(old, database)
    except (IntegrityError, apsw.Error) as damaged:
        raise IntegrityError(
            "archive.db is damaged where devices, deletions and holds stand, which no pack holds: put archive.db back"
            " from a backup, or let them go with --without-register"
        ) from damaged
    return "kept"


def _copy(old: Database, new: Database) -> None:
    with old.reader() as source, new.transaction() as target:
        target.execute("PRAGMA defer_foreign_keys = on").fetchall()
        for table in _register_tables(target):
            columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            rows = source.execute(f"SELECT {names} FROM {table}")  # noqa: S608 -- names out of our own schema
            while page := [row for _, row in zip(range(ROWS), rows, strict=False)]:
                target.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", page)  # noqa: S608


def _register_tables(target: apsw.Connection) -> list[str]:
    """The tables that the register's scripts make: all that a database of these scripts alone has."""
    with closing(apsw.Connection(":memory:")) as empty:
        migrate(empty, REGISTER, migrations_in("strongroom.register.migrations"))
        made = [row[0] for row in empty.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")]
    known = {row[0] for row in target.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return [name for name in made if name != "format" and not name.startswith("sqlite_") and name in known]
