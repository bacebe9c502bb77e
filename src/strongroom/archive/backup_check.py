"""Reading a backup against its manifest: what is missing, cut or changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from strongroom.archive.backup import VAULT
from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.transfer import digest_of
from strongroom.vault.copying import name_of

if TYPE_CHECKING:
    from strongroom.archive.manifest import Manifest
    from strongroom.ground.medium import Medium
    from strongroom.ground.transfer import Pace


def entries(manifest: Manifest) -> Iterator[tuple[str, str, int, bytes]]:
    """Yield every file a manifest names: where it lies, where it belongs in a home, its length and digest."""
    for one in manifest.files:
        yield one.name, one.home, one.length, one.digest
    for pack in manifest.packs:
        name = name_of(VAULT, pack.number, closed=pack.closed)
        yield name, name, pack.length, pack.digest


def damaged(medium: Medium, manifest: Manifest, findings: list[str], pace: Pace) -> Iterator[int]:
    """Compare every byte with the digests; yields bytes done, adds a sentence to *findings* for each that differs."""
    done = 0
    for name, _, length, digest in entries(manifest):
        try:
            if digest_of(medium, name, length, pace=pace) != digest:
                findings.append(f"{name} is not what was backed up")
        except NotFound:
            findings.append(f"{name} is not there")
        except IntegrityError as wrong:
            findings.append(str(wrong))
        done += length
        yield done
