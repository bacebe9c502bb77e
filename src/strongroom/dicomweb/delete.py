"""
DELETE of a study, series or instance: the first of two steps. It is out of sight from now on and can be taken back.

Destroying for good is a custodian's, with a second person, and not to be had here. Why it is deleted is asked for and
stands in the trail.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from strongroom.dicomweb.call import Call
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.targets import at

__all__ = ["delete"]

MAX_REASON: Final = 256
"""Characters of a reason."""
HEADER: Final = "strongroom-reason"
PARAMETER: Final = "reason"


async def delete(call: Call) -> Response:
    """Answer DELETE."""
    given = [*call.request.headers.getlist(HEADER), *(value for name, value in call.query if name == PARAMETER)]
    if len(given) != 1 or not given[0].strip() or len(given[0]) > MAX_REASON or not given[0].isprintable():
        raise HttpProblem(
            400, f"Say once why, in the field Strongroom-Reason or the parameter reason: {MAX_REASON} characters."
        )
    await call.session.delete(at(call.params), given[0].strip())
    return Response(status_code=204)
