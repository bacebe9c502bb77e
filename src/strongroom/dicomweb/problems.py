"""
Errors to HTTP: the one table of the web services (RFC 9457, PS3.18 §8.5).

A sentence stands here as it is sent: no value of a data set, no path, no reason of a refusal (I7). What is not there
and what is not for this caller are one and the same answer (SECURITY C17).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

import msgspec
from starlette.responses import Response

from strongroom import errors
from strongroom.imaging.errors import NoPixelDataError, PoolBusyError, UnreadablePixelsError


class HttpProblem(errors.StrongroomError):
    """A request that is answered with *status*; *detail* says what to change and holds no value of the request."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """The status and sentence of one kind of error."""

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)


_INTERNAL: Final = Answer(500, "The archive could not process this request.")
NOT_FOUND: Final = Answer(404, "Nothing here, or nothing here for you.")

TABLE: Final[dict[type[errors.StrongroomError], Answer]] = {
    errors.StrongroomError: _INTERNAL,
    errors.LocalProtocolError: _INTERNAL,
    errors.ConfigurationError: _INTERNAL,
    errors.HomeInUseError: _INTERNAL,
    errors.JobImpossible: _INTERNAL,
    errors.JobCancelled: _INTERNAL,
    errors.IntegrityError: Answer(500, "The archive could not read what it holds."),
    errors.RemoteProtocolError: Answer(400, "The request breaks a rule of the standard."),
    errors.DataSetError: Answer(400, "The data set is not whole, or beyond a limit."),
    errors.UnsupportedSyntaxError: Answer(400, "The transfer syntax of the data set is not known."),
    errors.UnsupportedClassError: Answer(409, "The SOP class of the data set is not stored here."),
    errors.MismatchError: Answer(409, "The data set does not belong to this request."),
    errors.AccessDenied: NOT_FOUND,
    errors.ErasedError: NOT_FOUND,
    errors.NotFound: NOT_FOUND,
    errors.OutOfResources: Answer(
        503, "The archive cannot take more just now; try again later.", {"Retry-After": "30"}
    ),
    NoPixelDataError: NOT_FOUND,
    UnreadablePixelsError: Answer(422, "These pixels cannot be read."),
    PoolBusyError: Answer(503, "Too much pixel work is waiting; try again later.", {"Retry-After": "10"}),
    errors.ConflictError: Answer(409, "The request contradicts what is there."),
}


def answer_to(error: errors.StrongroomError) -> Answer:
    """Return the answer for *error*: its own when it is an HttpProblem, else the row of the nearest class."""
    if isinstance(error, HttpProblem):
        return Answer(error.status, error.detail, error.headers)
    return next(TABLE[cls] for cls in type(error).__mro__ if cls in TABLE)


def problem(answer: Answer, request_id: str) -> Response:
    """Return the response for *answer* (application/problem+json)."""
    body = {
        "type": "about:blank",
        "status": answer.status,
        "detail": answer.detail,
        "instance": f"urn:uuid:{request_id}",
    }
    headers = {"Cache-Control": "private, no-store", **answer.headers}
    return Response(msgspec.json.encode(body), answer.status, headers, media_type="application/problem+json")
