"""
Frames of an instance (PS3.18 §10.4.1.1.1, §8.7.3.3): several at once, in any order, each read as a range of its pack.

A frame goes out as it is stored wherever a client lets it: `transfer-syntax=*`, the media type of its own compression,
or octets where it is not compressed. Anything else is decoded, or decoded and encoded, by the workers of `imaging`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from starlette.responses import Response

from strongroom.archive import Disclosure
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN
from strongroom.dicomweb import negotiation
from strongroom.dicomweb.answers import Pieces, Streamed, begun
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.conversion import stored_faults
from strongroom.dicomweb.media import COMPRESSED, OCTETS, default_syntax, media_type_of
from strongroom.dicomweb.multipart_writer import Multipart
from strongroom.dicomweb.negotiation import ANY_SYNTAX, Accept, Form, Range, not_acceptable
from strongroom.dicomweb.pixels import AS_NATIVE, Choice, Frames
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.ranges import ranged
from strongroom.dicomweb.segments import pieces, total
from strongroom.dicomweb.targets import disclose
from strongroom.errors import NotFound
from strongroom.imaging import syntaxes

__all__ = ["choose", "frames", "numbers", "send"]

MAX_FRAMES_AT_ONCE: Final = 4_096
"""Frames of one request: what a path of 8 KiB can name."""


async def frames(call: Call) -> Response:
    """Answer GET of `frames/{list}`."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    wanted = numbers(call.params["frames"])
    disclosure = await disclose(call, view=True)
    (instance,) = disclosure.instances
    chosen = choose(accept, instance.transfer_syntax_uid, single=len(wanted) == 1)
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        with stored_faults():
            index = await disclosure.frames(instance)
            if max(wanted) > index.number_of_frames:
                raise NotFound("no such frame")
            return await send(call, disclosure, Frames(call, disclosure, instance, index, chosen), wanted, held)
    raise AssertionError


def numbers(text: str) -> list[int]:
    """Read a list of frame numbers, from 1; raises NotFound for 0, HttpProblem (400) for too many."""
    parts = text.split(",")
    if len(parts) > MAX_FRAMES_AT_ONCE:
        raise HttpProblem(400, f"More than {MAX_FRAMES_AT_ONCE} frames in one request.")
    found = [int(part[:9]) for part in parts]
    if min(found) < 1:
        raise NotFound("frames are counted from 1")
    return found


def choose(accept: Accept, stored: str, *, single: bool) -> Choice:
    """Choose what frames kept in *stored* go out as; raises HttpProblem (406)."""
    own = media_type_of(stored)
    default = OCTETS if default_syntax(stored) in AS_NATIVE else own
    kinds = list(dict.fromkeys((default, own, OCTETS, *COMPRESSED)))
    forms = [Form(kind, multipart=multipart) for kind in kinds for multipart in ((True, False) if single else (True,))]
    found: list[tuple[Range, Choice]] = []
    for wish, form in accept.fitting(forms):
        syntax = _syntax(wish, form.media_type, stored)
        if syntax is not None:
            found.append((wish, Choice(form.media_type, syntax, form.multipart)))
    if not found:
        raise not_acceptable(_to_be_had(stored, kinds))
    # Of wishes of one quality the one for what is kept wins; a wildcard that names no syntax means the default.
    for wish, choice in found:
        named = wish.transfer_syntax is not None or not wish.wild
        if wish.quality == found[0][0].quality and named and choice.syntax == _kept(stored):
            return choice
    return found[0][1]


def _kept(stored: str) -> str:
    """The syntax that the frames of an instance kept in *stored* are in."""
    return EXPLICIT_VR_LITTLE_ENDIAN if stored in syntaxes.NATIVE else stored


def _to_be_had(stored: str, kinds: Sequence[str]) -> Iterator[Form]:
    for kind in kinds:
        if _syntax(Range(kind, multipart=True, transfer_syntax=None, quality=1), kind, stored) is not None:
            yield Form(kind, multipart=True)


def _syntax(wish: Range, media_type: str, stored: str) -> str | None:
    """The transfer syntax that *wish* means for frames of *media_type*; None when it is not to be had."""
    native, kept = stored in syntaxes.NATIVE, _kept(stored)
    named = wish.transfer_syntax
    if media_type == OCTETS:
        if named in (ANY_SYNTAX, kept):
            return kept
        targets = [EXPLICIT_VR_LITTLE_ENDIAN] if named is None or named in AS_NATIVE else [named]
    else:
        among = COMPRESSED[media_type]
        if kept in among and named in (None, ANY_SYNTAX, kept):
            return kept
        targets = [uid for uid in among if named in (None, ANY_SYNTAX, uid)]
    if native and EXPLICIT_VR_LITTLE_ENDIAN in targets:
        return EXPLICIT_VR_LITTLE_ENDIAN
    return next((uid for uid in targets if syntaxes.can_convert(stored, uid)), None)


async def send(
    call: Call,
    disclosure: Disclosure,
    source: Frames,
    wanted: Sequence[int],
    held: contextlib.AsyncExitStack,
    *,
    fields: Mapping[str, str] | None = None,
) -> Response:
    """Send the frames *wanted*; *fields* stand in the header of each part."""
    chosen = source.choice
    fields = fields or {}
    if not chosen.multipart:
        if source.as_stored:
            row = list(source.stretches(wanted[0]))
            return ranged(call, disclosure, row, held, media_type=chosen.content_type, headers=dict(fields))
        made = await source.made(wanted[0])
        return Streamed(_once(made), held.pop_all(), media_type=chosen.content_type, length=len(made), headers=fields)
    parts = Multipart(chosen.media_type, call.entropy(16))
    if source.as_stored:
        segments = [*source.stored_parts(parts, wanted, fields), parts.end()]
        body = pieces(disclosure, segments)
        return Streamed(body, held.pop_all(), media_type=parts.content_type, length=total(segments))
    body = await begun(_ended(source.made_parts(parts, wanted, fields), parts))
    if len(wanted) > 1:
        return Streamed(body, held.pop_all(), media_type=parts.content_type)
    whole = b"".join([bytes(piece) async for piece in body])
    return Streamed(_once(whole), held.pop_all(), media_type=parts.content_type, length=len(whole))


async def _ended(source: Pieces, parts: Multipart) -> Pieces:
    async with contextlib.aclosing(source):
        async for piece in source:
            yield piece
    yield parts.end()


async def _once(body: bytes) -> Pieces:
    yield body
