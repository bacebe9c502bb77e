"""
The Content-Type of a request and of its parts (RFC 9110 §8.3, PS3.18 §8.7.3): bounded, and kinder than the grammar.

Real clients leave out the quotes that `type=application/dicom` and many boundaries would need.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

from strongroom.dicomweb.problems import HttpProblem

MAX_MEDIA_TYPE_LENGTH: Final = 4 << 10
"""Characters of a Content-Type: the longest that clients send have some two hundred."""

_ESSENCE: Final = re.compile(r"[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++/[!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+")
_PARAMETER: Final = re.compile(
    r";[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)=(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;\"]*+))[ \t]*+)?+"
)


@final
@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type with its parameters; names are lower case."""

    essence: str
    """`type/subtype`, lower case."""
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse(text: str) -> MediaType:
    """Parse a Content-Type; raises HttpProblem (415) on what is none, or names a parameter twice."""
    found = _ESSENCE.match(text) if len(text) <= MAX_MEDIA_TYPE_LENGTH else None
    if found is None:
        raise HttpProblem(415, "A Content-Type is missing, malformed or too long.")
    parameters: dict[str, str] = {}
    at = found.end()
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            raise HttpProblem(415, "A Content-Type has a malformed parameter.")
        at = parameter.end()
        name, quoted, plain = parameter.groups()
        if name is None:
            continue
        if name.lower() in parameters:
            raise HttpProblem(415, "A Content-Type names a parameter twice.")
        parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
    return MediaType(found[1].lower(), parameters)
