"""
The web door of an archive: its certificate, the page that offers the authority's, and DICOMweb behind it.

Two resources need no credential, because they hold nothing but what every TLS handshake shows: `/`, a page with the
fingerprint of the archive's certificate authority, and `/ca.crt`, its certificate. Everything else asks the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from starlette.responses import PlainTextResponse, Response

from strongroom.app import config as configuration
from strongroom.dicomweb.application import create
from strongroom.dicomweb.call import Settings
from strongroom.errors import ConfigurationError
from strongroom.imaging.pool import Pool
from strongroom.transport import tls
from strongroom.transport.web import WebDoor
from strongroom.transport.web_rules import Limits, Rules

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from strongroom.app.assembly import Archive
    from strongroom.transport.doors import Peer
    from strongroom.transport.ends import Refused

_READABLE_BY_OTHERS: Final = 0o027
"""Anything for others, and writing for the group; a group may hold the key, as Debian's `ssl-cert` does."""
MAX_PEM_BYTES: Final = 1 << 20
"""A certificate with its chain has some kilobytes."""
_PROTECTION: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@final
class Web:
    """The web door and what stands behind it; opened once, closed once."""

    def __init__(self, archive: Archive, pool: Pool, *, own_knock: Callable[[tuple[str, int]], bool]) -> None:
        self._archive = archive
        self._own_knock = own_knock
        self._pool = pool
        self._front = FrontPage(archive.authority.certificate, archive.authority.fingerprint)
        limits = Limits(body_bytes=archive.config.limits.data_set_gibibytes << 30)
        self._door = WebDoor(
            self._front, rules=Rules(limits=limits), refused=self._refused, known_knock=self._own_knock
        )

    async def open(self) -> int:
        """Open the door; returns its port. Raises OSError when the address cannot be had."""
        archive, web = self._archive, self._archive.config.web
        names = configuration.host_names(web.listen, web.names, "web.listen")
        context = tls.web_context(self._identity(names), archive.authority.certificate)
        host, port = configuration.split_listen(web.listen, "web.listen")
        port = await self._door.start(host, port, context)
        settings = Settings(
            base_url=configuration.web_base_url(web, port),
            ae_title=archive.config.dicom.ae_title,
            max_body_bytes=archive.config.limits.data_set_gibibytes << 30,
            names=frozenset(names),
        )
        self._front.behind = create(archive.gate, self._pool, settings, turned_away=self._turned_away)
        return port

    async def close(self, seconds: float) -> None:
        """Shut the door, let answers under way finish for *seconds*."""
        await self._door.stop(seconds)

    def disconnect(self, kind: str, name: str) -> int:
        """Cut the connections of an actor whose right has ended; returns how many."""
        return self._door.disconnect(f"{kind} {name}")

    def _identity(self, names: tuple[str, ...]) -> tls.Identity:
        web = self._archive.config.web
        if web.certificate:
            root = self._archive.home.root
            return read_identity(root / web.certificate, root / web.key)
        bundle = self._archive.authority.issue_server(names)
        return tls.Identity(bundle.certificate, bundle.key)

    def _refused(self, peer: Peer, reason: Refused) -> None:
        self._archive.gate.refusals.turned_away(peer.door, peer.address, peer.port, reason.value)

    async def _turned_away(self, door: str, address: str, port: int, reason: str) -> None:
        if not self._own_knock((address, port)):  # our own look records itself
            await self._archive.gate.turned_away(door, address, port, reason)


@final
class FrontPage:
    """The two resources for everybody; the rest goes to *behind*, and nowhere before that is set."""

    def __init__(self, certificate: bytes, fingerprint: str) -> None:
        self.behind: ASGIApp | None = None
        page = _PAGE.format(fingerprint=_in_pairs(fingerprint)).encode("utf-8")
        self._pages: Mapping[str, tuple[bytes, str, dict[str, str]]] = {
            "/": (page, "text/html; charset=utf-8", {}),
            "/ca.crt": (
                certificate,
                "application/x-x509-ca-cert",
                {"Content-Disposition": 'attachment; filename="ca.crt"'},
            ),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        found = self._pages.get(scope["path"])
        if found is None and self.behind is not None:
            await self.behind(scope, receive, send)
            return
        await self._answer(scope["method"], found)(scope, receive, send)

    def _answer(self, method: str, found: tuple[bytes, str, dict[str, str]] | None) -> Response:
        if found is None:
            return PlainTextResponse("Not ready yet.", 503, {**_PROTECTION, "Retry-After": "1"})
        if method not in ("GET", "HEAD"):
            return PlainTextResponse("This resource can only be read.", 405, {**_PROTECTION, "Allow": "GET, HEAD"})
        body, media_type, headers = found
        return Response(body, headers={**_PROTECTION, **headers}, media_type=media_type)


def read_identity(certificate: Path, key: Path) -> tls.Identity:
    """
    Read the operator's own certificate and key; raises ConfigurationError when they cannot be read, or when others
    could read the key as well.
    """
    content: list[bytes] = []
    for name, path in (("web.certificate", certificate), ("web.key", key)):
        try:
            with path.open("rb") as file:
                mode = path.stat().st_mode
                content.append(file.read(MAX_PEM_BYTES))
        except OSError as error:
            raise ConfigurationError(f"{name}: {path} cannot be read: {error.strerror}") from error
        if name == "web.key" and mode & _READABLE_BY_OTHERS:
            raise ConfigurationError(f"web.key: {path} can be read by others; change that with: chmod 600 {path}")
    return tls.Identity(*content)


_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Certificate of this archive</title>
<h1>Certificate of this archive</h1>
<p>Clients that are to trust this archive need <a href="/ca.crt" download>the certificate of its authority</a>.
<p>Compare its SHA-256 fingerprint with the one that the archive's administrator reads to you:
<pre>{fingerprint}</pre>
</html>
"""


def _in_pairs(fingerprint: str) -> str:
    """Hexadecimal digits as certificate viewers show them."""
    pairs = [fingerprint[at : at + 2].upper() for at in range(0, len(fingerprint), 2)]
    return ":".join(pairs[:16]) + "\n" + ":".join(pairs[16:])


__all__ = ["FrontPage", "Web", "read_identity"]
