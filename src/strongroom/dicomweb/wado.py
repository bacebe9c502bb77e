"""
Retrieve of studies, series and instances as DICOM (PS3.18 §10.4, Table 10.4.1-1).

An instance goes out as it is kept where that fits, else in another transfer syntax while it streams. What fits no wish
is left out with 206 where something else remains, and 406 where nothing does. A body whose parts all go out as they are
kept has a Content-Length; it is never begun before the record of the disclosure is durable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from starlette.responses import Response

from strongroom.archive import Disclosure, Instance
from strongroom.dicom.part10 import encode_header
from strongroom.dicom.uid import transfer_syntax
from strongroom.dicomweb import archive_zip, negotiation
from strongroom.dicomweb.answers import Pieces, Streamed, begun
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.conversion import can_give, converted, fits, syntax_for
from strongroom.dicomweb.media import DICOM
from strongroom.dicomweb.multipart_writer import Multipart
from strongroom.dicomweb.negotiation import Accept, Form, Range, not_acceptable
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.ranges import ranged
from strongroom.dicomweb.segments import Segment, Stretch, pieces, total
from strongroom.dicomweb.targets import MAX_AT_ONCE, disclose

__all__ = ["Item", "Plan", "plan", "retrieve", "single"]

ZIP: Final = "application/zip"
MAX_COUNTED: Final = 20_000
"""Parts whose headers are written before the first is sent, so that the length of the whole is known: 10 MB of them."""
_PARTS: Final = Form(DICOM, multipart=True)


@final
@dataclass(frozen=True, slots=True)
class Item:
    """One instance and the transfer syntax it goes out in."""

    instance: Instance
    syntax: str

    @property
    def as_kept(self) -> bool:
        """Whether its bytes are those of the pack."""
        return self.syntax == self.instance.transfer_syntax_uid

    def header(self) -> bytes:
        """Preamble and File Meta Information (PS3.10 §7.1)."""
        instance = self.instance
        return encode_header(instance.sop_class_uid, instance.sop_instance_uid, self.syntax)


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent, and in which form; *missing* instances fit no wish."""

    form: Form
    items: tuple[Item, ...]
    missing: tuple[Instance, ...]

    @property
    def as_kept(self) -> bool:
        """Whether every instance goes out as it is kept."""
        return all(item.as_kept for item in self.items)


async def retrieve(call: Call) -> Response:
    """Answer GET of a study, series or instance."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    disclosure = await disclose(call)
    if len(disclosure.instances) > MAX_AT_ONCE:
        raise HttpProblem(413, f"More than {MAX_AT_ONCE} instances; fetch them series by series.")
    chosen = plan(accept, disclosure.instances, archive="instance" not in call.params)
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        chosen = await _settled(disclosure, chosen)
        for instance in chosen.missing:
            disclosure.failed(instance, "syntax-not-accepted")
        if chosen.form.media_type == ZIP:
            return await archive_zip.answer(call, disclosure, chosen, held)
        if not chosen.form.multipart:
            return await single(call, disclosure, chosen.items[0], held)
        return await _multipart(call, disclosure, chosen, held)


def plan(accept: Accept, instances: Sequence[Instance], *, archive: bool) -> Plan:
    """Choose form and syntaxes; raises HttpProblem (406) when nothing fits."""
    forms = [_PARTS, *([Form(DICOM)] if len(instances) == 1 else ()), *([Form(ZIP)] if archive else ())]
    wishes: dict[Form, list[Range]] = {}
    for wish, form in accept.fitting(forms):
        wishes.setdefault(form, []).append(wish)
    for form, ranges in wishes.items():
        items, missing = [], []
        for instance in instances:
            stored = instance.transfer_syntax_uid
            # An archive of files is for keeping: as they are, unless the client says otherwise.
            syntax = syntax_for(stored, ranges, default=stored if form.media_type == ZIP else None)
            if syntax is not None and can_give(stored, syntax):
                items.append(Item(instance, syntax))
            else:
                missing.append(instance)
        if items:
            return Plan(form, tuple(items), tuple(missing))
    raise not_acceptable(forms)


async def _settled(disclosure: Disclosure, chosen: Plan) -> Plan:
    """*chosen* without what its pixels stand against; raises HttpProblem (406) when nothing is left."""
    unfit = {item for item in chosen.items if not await fits(disclosure, item.instance, item.syntax)}
    if not unfit:
        return chosen
    items = tuple(item for item in chosen.items if item not in unfit)
    if not items:
        raise not_acceptable([chosen.form])
    return Plan(chosen.form, items, (*chosen.missing, *(item.instance for item in unfit)))


async def single(call: Call, disclosure: Disclosure, item: Item, held: contextlib.AsyncExitStack) -> Response:
    """One instance as a file of its own; of what goes out as it is kept, one range can be had."""
    instance, header = item.instance, item.header()
    media_type = f"{DICOM}; transfer-syntax={item.syntax}"
    if not item.as_kept:
        source = converted(call, disclosure, instance, item.syntax)
        return Streamed(await begun(_file(header, source, disclosure, instance)), held.pop_all(), media_type=media_type)
    segments: list[Segment] = [header, Stretch(instance, 0, instance.length)]
    kept = transfer_syntax(item.syntax)
    if kept is not None and kept.deflated:  # a range of it would be one of what it inflates to
        body = pieces(disclosure, segments)
        return Streamed(body, held.pop_all(), media_type=media_type, length=total(segments))
    return ranged(call, disclosure, segments, held, media_type=media_type)


async def _multipart(call: Call, disclosure: Disclosure, chosen: Plan, held: contextlib.AsyncExitStack) -> Response:
    random = call.entropy(16)
    parts = Multipart(DICOM, random)
    status = 206 if chosen.missing else 200
    if chosen.as_kept and len(chosen.items) <= MAX_COUNTED:
        heads = [parts.begin(DICOM, item.syntax) + item.header() for item in chosen.items]
        end = parts.end()
        length = sum(map(len, heads)) + sum(item.instance.length for item in chosen.items) + len(end)
        body = _kept(disclosure, chosen.items, heads, end)
    else:
        length, body = None, await begun(_converted_parts(call, disclosure, parts, chosen.items))
    return Streamed(body, held.pop_all(), media_type=parts.content_type, status=status, length=length)


async def _kept(disclosure: Disclosure, items: Sequence[Item], heads: Sequence[bytes], end: bytes) -> Pieces:
    """Parts that go out as they are kept, read many at a time."""
    heads_left = iter(heads)
    fresh = True
    source = disclosure.batches([item.instance for item in items])
    async with contextlib.aclosing(source):
        async for batch in source:
            for piece in batch:
                if fresh:
                    yield next(heads_left)
                yield piece.data
                fresh = piece.last
                if fresh:
                    disclosure.sent(disclosure.instances[piece.number])
    yield end


async def _converted_parts(call: Call, disclosure: Disclosure, parts: Multipart, items: Sequence[Item]) -> Pieces:
    for item in items:
        instance = item.instance
        head = parts.begin(DICOM, item.syntax) + item.header()
        if item.as_kept:
            source = pieces(disclosure, (head, Stretch(instance, 0, instance.length)))
        else:
            source = _file(head, converted(call, disclosure, instance, item.syntax), disclosure, instance)
        async with contextlib.aclosing(source):
            async for piece in source:
                yield piece
    yield parts.end()


async def _file(header: bytes, source: Pieces, disclosure: Disclosure, instance: Instance) -> Pieces:
    """*header* goes out with the first piece: an instance that cannot be converted is noticed before."""
    async with contextlib.aclosing(source):
        first = await anext(source, b"")
        yield header
        yield first
        async for piece in source:
            yield piece
    disclosure.sent(instance)
