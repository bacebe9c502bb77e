"""Catalogue and register lie in one encrypted database, each with its own format."""

from __future__ import annotations

from catalogue.holding import blob, header
from register.registry import label, stored
from strongroom.catalogue.instances import counts, find_instance
from strongroom.catalogue.record import Recorder
from strongroom.ground.database import Database, format_version, migrations_in
from strongroom.register import conflicts


def test_both_share_one_transaction(tmp_path):
    """A transaction that fails takes the row of the catalogue and that of the register back together."""
    database = Database(tmp_path / "archive.db", bytes(32))
    database.migrate("catalogue", "strongroom.catalogue.migrations")
    database.migrate("register", "strongroom.register.migrations")
    recorder = Recorder()
    data_set = header(StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", SOPInstanceUID="1.5", PatientID="P1")
    for fails in (True, False):
        try:
            with database.transaction() as connection:
                recorder.record(connection, data_set, blob(1))
                conflicts.add(connection, label(), stored(1))
                assert not fails
        except AssertionError:
            with database.reader() as reader:
                assert (find_instance(reader, "1.5"), conflicts.count(reader)) == (None, 0)
    with database.reader() as reader:
        assert (counts(reader).instances, conflicts.count(reader)) == (1, 1)
        for name in ("catalogue", "register"):
            assert format_version(reader, name) == len(migrations_in(f"strongroom.{name}.migrations"))
    database.close()
