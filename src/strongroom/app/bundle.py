"""The bundle a device gets: key, certificate, CA and a page with the exact settings (DESIGN section 6, Enrolment)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from strongroom.errors import ConflictError

_README = """\
{name}: connecting to the archive {archive}

  host                 {host}
  port                 {port}
  called AE title      {archive}
  calling AE title     {ae_title}
  TLS                  required; 1.3 preferred, 1.2 with ECDHE and AES-GCM or ChaCha20 suites (PS3.15 B.12)
  own key              device.key   (nobody else has it; keep it readable by the device alone)
  own certificate      device.crt   (valid until {expires})
  trusted authority    ca.crt
  may                  {may}
  allowed from         {networks}

Try it with DCMTK:

  {try_command}

An answer means that the archive knows this device. If the association is rejected, the archive's
`strongroom trail show --refused` says why; the device itself is told nothing.
"""

_LEGACY_README = """\
{name}: connecting to the archive {archive} in plain text

  host                 {host}
  port                 {port}
  called AE title      {archive}
  calling AE title     {ae_title}
  TLS                  none: what this device sends travels in clear text
  may                  store and echo, nothing else
  allowed from         {networks}

Try it with DCMTK:

  {try_command}

This device was enrolled for the plaintext door: it has no key, its images travel unencrypted, and it may only store
and echo, from the listed networks, until the door's expiry date. Replace it with a device, or put a TLS front before
it, when you can.
"""


def check_folder(out: Path) -> None:
    """Refuse a folder that already holds a bundle before anything is enrolled."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConflictError(f"{out} exists and is not an empty folder; choose another for the bundle")


def write_bundle(out: Path, enrolled: dict[str, Any]) -> None:
    """Write what enrolment returned; the key is readable by the owner alone."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("device.key", "device.crt", "ca.crt"):
        text = enrolled["files"].get(name)
        if text:
            _write(out / name, text, 0o600 if name.endswith(".key") else 0o644)
    _write(out / "README.txt", _readme(enrolled), 0o644)


def _readme(enrolled: dict[str, Any]) -> str:
    networks = ", ".join(enrolled["networks"]) or "any network that reaches the door"
    fields = enrolled | {"may": ", ".join(enrolled["may"]), "networks": networks}
    page = _LEGACY_README if enrolled["legacy"] else _README
    return page.format(**{key: value for key, value in fields.items() if key != "files"}).replace("BUNDLE/", "")


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
