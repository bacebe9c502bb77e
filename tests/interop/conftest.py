"""One archive for all the interoperability tests of a worker, with a modality, a reader and a workstation enrolled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from interop import harness


@dataclass
class Site:
    """The archive and the devices around it."""

    archive: harness.Archive
    modality: harness.Bundle
    reader: harness.Bundle
    workstation: harness.Bundle
    workstation_port: int


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running archive, new for each module."""
    with harness.archive(tmp_path_factory.mktemp("site")) as archive:
        port = harness.free_port()
        yield Site(
            archive,
            archive.enrol("CT1", "deposit"),
            archive.enrol("READER", "query,retrieve"),
            archive.enrol("WORK1", "deposit,query,retrieve", move_port=f"localhost:{port}"),
            port,
        )
