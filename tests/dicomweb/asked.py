"""A store request as the handler gets it: a Request over an ASGI scope, its body in pieces, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from pydicom.uid import UID
from starlette.requests import Request
from starlette.responses import Response

from archive.world import CT, EXPLICIT, uid
from strongroom.archive import Session
from strongroom.dicom.part10 import encode_header
from strongroom.dicomweb.call import Call, Settings
from strongroom.dicomweb.held import Held
from strongroom.dicomweb.problems import answer_to, problem
from strongroom.dicomweb.stow import store
from strongroom.errors import StrongroomError

BASE = "https://localhost:8443/dicom-web"
BOUNDARY = "----=_part/1"
REQUEST_ID = "00000000-0000-4000-8000-000000000000"
Part = tuple[str, bytes]
"""Header lines and content."""


def file(data: bytes, number: int = 1, *, sop_class: str = CT, syntax: str = EXPLICIT, preamble: bytes = b"") -> bytes:
    """A data set as a file."""
    assert UID(sop_class).is_valid
    return preamble.ljust(128, b"\0") + encode_header(sop_class, uid(number), syntax)[128:] + data


def dicom(content: bytes) -> Part:
    """A part that is a file."""
    return "Content-Type: application/dicom\r\n", content


def multipart(*parts: Part, end: bytes = b"--\r\n") -> bytes:
    """The parts as a body."""
    mark = f"--{BOUNDARY}".encode()
    return (
        b"".join(mark + b"\r\n" + headers.encode() + b"\r\n" + content + b"\r\n" for headers, content in parts)
        + mark
        + end
    )


def related(kind: str = "application/dicom") -> str:
    """The Content-Type of `multipart`."""
    return f'multipart/related; type="{kind}"; boundary="{BOUNDARY}"'


def cut(body: bytes, piece: int) -> list[bytes]:
    """A body in pieces."""
    return [body[at : at + piece] for at in range(0, len(body), piece)]


async def ask(
    session: Session,
    body: bytes | Iterable[bytes],
    content_type: str | None = None,
    *,
    study: str = "",
    lost: bool = False,
    settings: dict[str, Any] | None = None,
    pool: Any = None,
    held: Held | None = None,
    **headers: str,
) -> Response:
    """
    Let the handler answer, as the application would; an error becomes a problem.

    *lost*: the connection ends behind the body, which is not all of it. Headers are given with underscores.
    """
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given["content-type"] = related() if content_type is None else content_type
    pieces = iter(cut(body, 5000) if isinstance(body, bytes) else body)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)  # as a server does, so that a request can be cancelled
        piece = next(pieces, None)
        if piece is not None:
            return {"type": "http.request", "body": piece, "more_body": True}
        return {"type": "http.disconnect"} if lost else {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/dicom-web/studies",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }
    call = Call(
        request=Request(scope, receive),
        session=session,
        params={"study": study} if study else {},
        query=(),
        settings=Settings(base_url=BASE, ae_title="STRONGROOM", **(settings or {})),
        pool=pool,
        request_id=REQUEST_ID,
        held=held or Held(),
    )
    try:
        return await store(call)
    except StrongroomError as error:
        return problem(answer_to(error), REQUEST_ID)


def said(response: Response) -> dict[str, Any]:
    """The answer's JSON."""
    found: dict[str, Any] = json.loads(bytes(response.body))
    return found


def stored(response: Response) -> list[str]:
    """The SOP Instance UIDs that were stored, in their order."""
    return [item["00081155"]["Value"][0] for item in said(response).get("00081199", {}).get("Value", [])]


def failed(response: Response) -> dict[str, int]:
    """The SOP Instance UIDs that were not, with the reason."""
    items = said(response).get("00081198", {}).get("Value", [])
    return {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in items}


def others(response: Response) -> list[int]:
    """The reasons of what was no instance."""
    return [item["00081197"]["Value"][0] for item in said(response).get("0008119A", {}).get("Value", [])]
