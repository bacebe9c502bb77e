"""
What a client accepts, and what it gets of it (PS3.18 §8.7.4-8.7.8, RFC 9110 §12.5.1).

Clients write the same wish in many ways: parameters quoted or not, `multipart/related; type=...` or the bare type, with
`transfer-syntax` as a UID, as `*` or not at all, and the whole once more as the query parameter `accept`. Here all of
them become one ordered list of ranges; a resource asks for the first that fits what it has. A list that is too long or
no list at all is answered 406, never searched for long (SECURITY W17).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from strongroom.dicomweb.problems import HttpProblem

__all__ = ["ANY_SYNTAX", "Accept", "Form", "Range", "not_acceptable", "parse"]

MAX_ACCEPT_BYTES: Final = 8 * 1024
"""All ranges together, as text; a slide viewer's list of every codec has 700 bytes."""
MAX_RANGES: Final = 64
"""Media ranges of one request."""
ANY_SYNTAX: Final = "*"
"""`transfer-syntax=*`: as it is kept."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 -- RFC 9110 §5.6.2
_RANGE = re.compile(rf"[ \t]*({_TOKEN})/({_TOKEN})?")
# The value of a parameter; unquoted it may hold a slash, which the grammar forbids and half of all clients send.
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')
_NEXT = re.compile(r"[ \t]*(,|$)")
_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?|\.[0-9]{1,3}")
_CHARSETS: Final = frozenset({"utf-8", "utf8", "*"})


@final
@dataclass(frozen=True, slots=True)
class Range:
    """One media range: what a part, or the body, may be."""

    media_type: str
    """Lower case; `*/*` and `image/*` are ranges. Of a multipart it is the type of the parts."""
    multipart: bool
    """Asked for as `multipart/related`; a client that names the bare type takes a body of one part."""
    transfer_syntax: str | None
    """A UID, `*`, or None when nothing was said."""
    quality: float
    charset: str | None = None

    @property
    def wild(self) -> bool:
        """Whether the type is a wildcard, wholly or in its second half."""
        return self.media_type.endswith("/*")

    def takes(self, media_type: str) -> bool:
        """Whether a representation of *media_type* fits."""
        if self.media_type == "*/*":
            return True
        if self.wild:
            return media_type.startswith(self.media_type[:-1])
        return media_type == self.media_type


@final
@dataclass(frozen=True, slots=True)
class Form:
    """A representation that a resource has: as a body of its own, or as parts of a `multipart/related` one."""

    media_type: str
    multipart: bool = False

    def __str__(self) -> str:
        return f'multipart/related; type="{self.media_type}"' if self.multipart else self.media_type


@final
@dataclass(frozen=True, slots=True)
class Accept:
    """Every range of one request, best first; those with `q=0` are kept apart: they exclude."""

    ranges: tuple[Range, ...]
    excluded: tuple[Range, ...] = field(default=())

    def fitting(self, forms: Sequence[Form]) -> Iterator[tuple[Range, Form]]:
        """
        Yield what fits, the client's best first, and for one range the first of *forms* first.

        The caller takes the first pair it can make: a range may also name a transfer syntax.
        """
        for wanted in self.ranges:
            for form in forms:
                if wanted.multipart is not form.multipart and (wanted.multipart or wanted.media_type != "*/*"):
                    continue
                if wanted.takes(form.media_type) and not self._excludes(form.media_type):
                    yield wanted, form

    def choose(self, forms: Sequence[Form]) -> tuple[Range, Form]:
        """Return the first that fits; raises HttpProblem (406) when there is none."""
        for found in self.fitting(forms):
            return found
        raise not_acceptable(forms)

    def _excludes(self, media_type: str) -> bool:
        return any(not one.wild and one.takes(media_type) for one in self.excluded)


def not_acceptable(forms: Iterable[Form]) -> HttpProblem:
    """The answer to a request that accepts nothing there is; it names what there is."""
    return HttpProblem(406, f"No representation fits what is accepted. There is: {', '.join(map(str, forms))}.")


def parse(headers: Sequence[str], query: Iterable[tuple[str, str]] = ()) -> Accept:
    """
    Read the Accept header fields and the query parameters `accept` of a request.

    The query parameter goes before the header (PS3.18 §8.7.8): its ranges come first, whatever their quality. Without
    both, anything is accepted. Raises HttpProblem: 400 for what is no list of media ranges, 406 for one too long.
    """
    asked = [_unescaped(value) for name, value in query if name == "accept"]
    if sum(map(len, (*headers, *asked))) > MAX_ACCEPT_BYTES:
        raise HttpProblem(406, f"The list of accepted media types is longer than {MAX_ACCEPT_BYTES} bytes.")
    first, second = _ranges(asked), _ranges(headers)
    if len(first) + len(second) > MAX_RANGES:
        raise HttpProblem(406, f"More than {MAX_RANGES} media types are accepted.")
    if not asked and not any(text.strip() for text in headers):
        second = [Range("*/*", multipart=False, transfer_syntax=None, quality=1.0)]
    both = [*_sorted(first), *_sorted(second)]
    usable = tuple(one for one in both if one.quality > 0 and (one.charset or "utf-8") in _CHARSETS)
    return Accept(usable, tuple(one for one in both if one.quality == 0))


def _unescaped(value: str) -> str:
    """A plus sign that was not escaped in the query has become a space: `application/dicom json`."""
    return re.sub(r"(?<=[a-z]) (?=[a-z])", "+", value)


def _sorted(ranges: list[Range]) -> list[Range]:
    """By quality, wildcards behind what is named, else in the order given."""
    return sorted(ranges, key=lambda one: (-one.quality, one.media_type == "*/*", one.wild))


def _ranges(texts: Iterable[str]) -> list[Range]:
    found: list[Range] = []
    for text in texts:
        at = 0
        while at < len(text):
            begun = _RANGE.match(text, at)
            if begun is None:
                ended = _NEXT.match(text, at)
                if ended is None or (ended.end() == at and at < len(text)):
                    raise HttpProblem(400, "The list of accepted media types cannot be read.")
                at = ended.end() or len(text)
                continue
            parameters, at = _parameters(text, begun.end())
            found.append(_range(begun[1].lower(), (begun[2] or "*").lower(), parameters))
            ended = _NEXT.match(text, at)
            if ended is None:
                raise HttpProblem(400, "The list of accepted media types cannot be read.")
            at = ended.end()
            if len(found) > MAX_RANGES:
                return found
    return found


def _parameters(text: str, at: int) -> tuple[dict[str, str], int]:
    parameters: dict[str, str] = {}
    while (found := _PARAMETER.match(text, at)) is not None:
        at = found.end()
        if found[1] is not None:
            value = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
            parameters.setdefault(found[1].lower(), value.strip())
    return parameters, at


def _range(kind: str, subtype: str, parameters: dict[str, str]) -> Range:
    """Read one range; `image/` without a second half is a wildcard, as some clients write it."""
    multipart = kind == "multipart"
    media_type = f"{kind}/{subtype}"
    if multipart:
        media_type = parameters.get("type", "*/*").strip().lower() if subtype in ("related", "*") else "-/-"
        if media_type.endswith("/"):
            media_type += "*"
    syntax = parameters.get("transfer-syntax") or None
    quality = parameters.get("q", "1")
    if not _QUALITY.fullmatch(quality):
        raise HttpProblem(400, "A quality of an accepted media type is no number from 0 to 1.")
    charset = parameters.get("charset")
    return Range(
        media_type,
        multipart=multipart,
        transfer_syntax=syntax,
        quality=min(float(quality), 1.0),
        charset=None if charset is None else charset.lower(),
    )
