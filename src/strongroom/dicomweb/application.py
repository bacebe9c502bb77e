"""
The web services as an ASGI application: who asks, for what, and nothing before both are known (PS3.18 Chapter 8).

1. the name the client used for us is one of ours (421); what is below no path of ours is 404
2. the caller is who its token or certificate says, decided and recorded by the gate (401)
3. the path and method name a row of the table (404, 405), and the row an action that the policy may grant (404)
4. the handler asks the session, which decides again, for what exactly is wanted
5. an error is one of the table's answers; once a body has begun, the connection ends instead
Every answer carries the same protecting fields; none allows another origin anything (SECURITY C40, W35).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from strongroom.archive import Gate, NoCredential, Session, TokenCredential, WebCertificateCredential
from strongroom.dicomweb.answers import BrokenOffError, Streamed
from strongroom.dicomweb.call import MAX_PARAMETERS, Call, Settings
from strongroom.dicomweb.held import Held
from strongroom.dicomweb.problems import NOT_FOUND, HttpProblem, answer_to, problem
from strongroom.dicomweb.routes import ADMITTED, Route, Router
from strongroom.dicomweb.services import table
from strongroom.errors import AccessDenied, StrongroomError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from strongroom.imaging.pool import Pool

__all__ = ["TurnedAway", "create"]

TurnedAway = Callable[[str, str, int, str], Awaitable[None]]
"""Takes note of a caller that brought no credential: door, address, port, our word for why (`Gate.turned_away`)."""

Fields = tuple[tuple[bytes, bytes], ...]

_PROTECTION: Final[Fields] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"vary", b"Authorization, Accept"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
"""Not for localhost: a browser that trusts our authority would want TLS of every other program on this machine too."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TOKEN_NAMES: Final = frozenset({b"access_token", b"token", b"authorization"})
_CACHE: Final = (b"cache-control", b"private, no-store")


def create(
    gate: Gate,
    pool: Pool,
    settings: Settings,
    *,
    turned_away: TurnedAway,
    entropy: Callable[[int], bytes] = os.urandom,
) -> ASGIApp:
    """Make the application; raises ConfigurationError when a row of the table names no action."""
    return _Application(gate, pool, settings, turned_away, entropy)


@final
class _Application:
    def __init__(
        self,
        gate: Gate,
        pool: Pool,
        settings: Settings,
        turned_away: TurnedAway,
        entropy: Callable[[int], bytes],
    ) -> None:
        base = urlsplit(settings.base_url)
        self._gate = gate
        self._pool = pool
        self._settings = settings
        self._turned_away = turned_away
        self._entropy = entropy
        self._held = Held()
        self._base = base.path.rstrip("/")
        self._names = frozenset({(base.hostname or "").lower(), *(name.lower() for name in settings.names)})
        self._router = Router(table())
        self._protection = protection(base.hostname or "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        request_id = str(uuid.UUID(bytes=self._entropy(16), version=4))
        out = _Out(send, self._protection, head=scope["method"] == "HEAD", request_id=request_id)
        try:
            await self._answer(request, request_id, out)
        except StrongroomError as error:
            if out.begun:
                raise BrokenOffError("an answer that had begun broke off") from None
            await problem(answer_to(error), request_id)(scope, receive, out)

    async def _answer(self, request: Request, request_id: str, out: _Out) -> None:
        """Rules 1 to 4."""
        self._check_host(request)
        path = _path(request.scope)
        if path != self._base and not path.startswith(f"{self._base}/"):
            raise HttpProblem(NOT_FOUND.status, NOT_FOUND.detail)
        session = await self._admit(request)
        try:
            route, params = self._route(request.method, path[len(self._base) :])
            await _require(session, route)
            call = Call(
                request,
                session,
                params,
                _query(request.scope),
                self._settings,
                self._pool,
                request_id,
                self._entropy,
                self._held,
            )
            response = await route.handler(call)
            try:
                await response(request.scope, request.receive, out)
            finally:
                if isinstance(response, Streamed):
                    await response.discard()
        finally:
            session.close()

    def _check_host(self, request: Request) -> None:
        """Rule 1: a name that is not ours is somebody else's page that leads here (SECURITY C42)."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1:
            raise HttpProblem(400, "One Host field is needed.")
        try:
            name = urlsplit(f"//{hosts[0]}").hostname
        except ValueError:
            name = None
        if name is None or name not in self._names:
            raise HttpProblem(421, "This server does not answer for that name.")

    async def _admit(self, request: Request) -> Session:
        """Rule 2; every refusal looks the same."""
        caller = request.scope["strongroom"]
        door, address, port = caller["door"], caller["address"], caller["port"]
        credential = _credential(request, door, address, port)
        if isinstance(credential, NoCredential):
            await self._turned_away(door, address, port, credential.value)
            if credential is NoCredential.TWICE:
                raise HttpProblem(400, "More than one Authorization field.")
            raise _unauthorized()
        try:
            session = await self._gate.admit(credential)
        except AccessDenied as error:
            raise _unauthorized() from error
        admitted = caller.get("admitted")
        if admitted is not None and not admitted(f"{session.kind} {session.name}"):
            session.close()
            raise HttpProblem(503, "Too many connections of this caller; try again later.", {"Retry-After": "10"})
        return session

    def _route(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Rule 3, the row."""
        found = self._router.find(path)
        if found is None:
            raise HttpProblem(NOT_FOUND.status, NOT_FOUND.detail)
        rows, params = found
        route = rows.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = sorted({*rows, *({"HEAD"} if "GET" in rows else ())})
            raise HttpProblem(405, "This resource has no such method.", {"Allow": ", ".join(allowed)})
        return route, params


async def _require(session: Session, route: Route) -> None:
    """Rule 3, the action: what the policy would never grant this caller is recorded and not there."""
    # whoever may take an instance away may look at it (Session.view)
    actions = (route.action, "retrieve") if route.action == "view" else (route.action,)
    if route.action != ADMITTED and not any(map(session.may, actions)):
        await session.refused((route.action,))
        raise AccessDenied("action-not-granted")


def _credential(
    request: Request, door: str, address: str, port: int
) -> TokenCredential | WebCertificateCredential | NoCredential:
    """What the caller brings: the token before the certificate of the connection; why it brings none."""
    given = request.headers.getlist("authorization")
    if len(given) > 1:
        return NoCredential.TWICE
    if given:
        kind, _, token = given[0].partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            return NoCredential.UNREADABLE
        return TokenCredential(token=token.strip(), address=address, port=port, door=door)
    certificate = request.scope["strongroom"]["certificate"]
    if certificate is not None:
        return WebCertificateCredential(certificate=certificate, address=address, port=port, door=door)
    names = {part.partition(b"=")[0].lower() for part in request.scope["query_string"].split(b"&")}
    return NoCredential.IN_URL if names & _TOKEN_NAMES else NoCredential.MISSING


def _path(scope: Scope) -> str:
    """The path as it stands in the request line."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
    return raw.partition(b"?")[0].decode("latin-1")


def _query(scope: Scope) -> tuple[tuple[str, str], ...]:
    try:
        found = parse_qsl(
            scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError as error:
        raise HttpProblem(400, f"The query cannot be read, or has more than {MAX_PARAMETERS} parameters.") from error
    if any(name.lower().encode() in _TOKEN_NAMES for name, _ in found):
        raise HttpProblem(400, "A token belongs into the Authorization field, never into an address.")
    return tuple(found)


def protection(host: str) -> Fields:
    """Return the fields every answer carries when we are reached as *host* (SECURITY C40)."""
    return _PROTECTION if host.lower() in _LOOPBACK else (*_PROTECTION, _HSTS)


def _unauthorized() -> HttpProblem:
    return HttpProblem(401, "A valid token or client certificate is needed.", {"WWW-Authenticate": "Bearer"})


@final
class _Out:
    """The way out: adds the protecting fields, and keeps the body of a HEAD request back."""

    def __init__(self, send: Send, protection: Fields, *, head: bool, request_id: str) -> None:
        self._send = send
        self._protection = protection
        self._head = head
        self._request_id = request_id
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = list(message["headers"])
            present = {name.lower() for name, _ in headers}
            added = (*self._protection, _CACHE, (b"x-request-id", self._request_id.encode("ascii")))
            message["headers"] = headers + [(name, value) for name, value in added if name not in present]
        elif self._head:
            message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
        await self._send(message)
