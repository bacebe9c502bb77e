"""Every DICOM file pydicom ships, as data set bytes and transfer syntax; found through the package at run time."""

from __future__ import annotations

import zlib
from pathlib import Path

import pydicom
from pydicom.filereader import _read_file_meta_info, read_preamble

ROOT = Path(pydicom.__file__).parent / "data"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT = "1.2.840.10008.1.2.1"


def _paths() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM")


PATHS = _paths()


def body(path: Path) -> tuple[bytes, str]:
    """Return the (inflated) data set bytes of a file and the transfer syntax they are in; empty when it says none."""
    with path.open("rb") as file:
        read_preamble(file, force=False)
        meta = _read_file_meta_info(file)
        data = file.read()
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if syntax == DEFLATED:
        return zlib.decompress(data, -zlib.MAX_WBITS), EXPLICIT
    return data, syntax
