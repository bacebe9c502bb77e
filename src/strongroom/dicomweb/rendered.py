"""
Pictures for people (PS3.18 §10.4.1.1.3, §10.4.1.1.4): rendered and thumbnail resources at every level.

Of an instance or frames: a JPEG, PNG or GIF; several frames are an animated GIF or a part each. Of a series or study:
`multipart/related` has a part for every image, a bare media type gets the one that represents it. A document or a video
is given as what it is. Which instance is shown is known before any is read, and only that one is recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from strongroom.archive import Disclosure, Instance, Target
from strongroom.dicom.dicomdir import record_type
from strongroom.dicom.frames import is_stream
from strongroom.dicom.json import loads_trusted
from strongroom.dicom.model import Level
from strongroom.dicomweb import negotiation
from strongroom.dicomweb.answers import Pieces, Streamed, begun
from strongroom.dicomweb.bulkdata import DOCUMENT, document_of
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.conversion import stored_faults
from strongroom.dicomweb.frames import numbers
from strongroom.dicomweb.media import media_type_of
from strongroom.dicomweb.multipart_writer import Multipart
from strongroom.dicomweb.negotiation import Accept, Form
from strongroom.dicomweb.picture import Picture
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.ranges import ranged
from strongroom.dicomweb.render_query import Wish, read
from strongroom.dicomweb.segments import Segment, Stretch
from strongroom.dicomweb.targets import disclose
from strongroom.errors import NotFound
from strongroom.imaging.options import GIF, JPEG, PNG

__all__ = ["as_it_is", "is_picture", "of_instance", "rendered", "thumbnail"]

MAX_PICTURES: Final = 1_000
"""Pictures of one answer; a larger series is rendered image by image."""
MAX_TRIES: Final = 5
"""Instances that are tried for a picture that represents a study: the first may have none."""

_PICTURES: Final = (JPEG, PNG, GIF)
_VIDEOS: Final = frozenset({"video/mpeg", "video/mp4", "video/h265"})


async def rendered(call: Call) -> Response:
    """Answer GET of `rendered` at any level, frames included."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    wish = read(call.query)
    found = await disclose(call, view=True)
    if "instance" not in call.params:
        return await _of_many(call, accept, wish, found)
    (instance,) = found.instances
    if "frames" not in call.params and not is_picture(instance):
        return await as_it_is(call, accept, found)
    return await of_instance(call, accept, wish, found)


def is_picture(instance: Instance) -> bool:
    """Whether frames can be shown of it; else it is given as what it is, a document or a video."""
    return record_type(instance.sop_class_uid) != "ENCAP DOC" and not is_stream(instance.transfer_syntax_uid)


async def thumbnail(call: Call) -> Response:
    """Answer GET of `thumbnail` at any level: one small picture."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    wish = read(call.query, thumbnail=True).small()
    _, form = accept.choose([Form(kind) for kind in _PICTURES])
    found = await disclose(call, view=True)
    wanted = numbers(call.params["frames"])[:1] if "frames" in call.params else None
    return await _representative(call, form.media_type, wish, found.instances, wanted)


async def of_instance(call: Call, accept: Accept, wish: Wish, disclosure: Disclosure) -> Response:
    """A picture of the only instance of *disclosure*, or of the frames that the path names."""
    (instance,) = disclosure.instances
    listed = numbers(call.params["frames"]) if "frames" in call.params else None
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        with stored_faults():
            picture = Picture(call, disclosure, instance, await disclosure.frames(instance), wish)
        several = listed or list(range(1, picture.index.number_of_frames + 1))
        if max(several) > picture.index.number_of_frames:
            raise NotFound("no such frame")
        # Of several frames an animation comes first; of one, a photograph's format.
        kinds = _PICTURES if len(several) == 1 else (GIF, JPEG, PNG)
        forms = [Form(kind, multipart=both) for kind in kinds for both in (False, True)]
        for _, form in accept.fitting(forms):
            if form.multipart:
                return await _parts(call, picture, several, form.media_type, held)
            if form.media_type == GIF:
                return _whole(await picture.animated(several), GIF, held)
            if listed is None or len(listed) == 1:
                number = listed[0] if listed else await picture.representative()
                return _whole(await picture.of(number, form.media_type), form.media_type, held)
        raise negotiation.not_acceptable(forms)
    raise AssertionError


async def _parts(
    call: Call, picture: Picture, several: Sequence[int], media_type: str, held: contextlib.AsyncExitStack
) -> Response:
    """A part for each frame."""
    if len(several) > MAX_PICTURES:
        raise HttpProblem(400, f"More than {MAX_PICTURES} pictures; ask for some of the frames.")
    parts = Multipart(media_type, call.entropy(16))

    async def body() -> Pieces:
        for number in several:
            made = await picture.of(number, media_type)
            yield parts.begin(media_type, length=len(made)) + made
        yield parts.end()

    return Streamed(await begun(body()), held.pop_all(), media_type=parts.content_type)


async def _of_many(call: Call, accept: Accept, wish: Wish, found: Disclosure) -> Response:
    """A series or study: a part for each image, or the one that represents it."""
    forms = [Form(kind, multipart=both) for kind in _PICTURES for both in (False, True)]
    _, form = accept.choose(forms)
    if not form.multipart:
        return await _representative(call, form.media_type, wish, found.instances, None)
    if len(found.instances) > MAX_PICTURES:
        raise HttpProblem(413, f"More than {MAX_PICTURES} pictures; ask for a series or an instance.")
    async with contextlib.AsyncExitStack() as held:
        disclosure = await held.enter_async_context(found)
        parts = Multipart(form.media_type, call.entropy(16))

        async def body() -> Pieces:
            some = False
            for instance in disclosure.instances:
                try:
                    made = await _one(call, disclosure, instance, form.media_type, wish)
                except (NotFound, HttpProblem):  # a report, or a compression that nobody here can read
                    continue
                some = True
                yield parts.begin(form.media_type, length=len(made)) + made
            if not some:
                raise NotFound("no picture in it")
            yield parts.end()

        return Streamed(await begun(body()), held.pop_all(), media_type=parts.content_type)
    raise AssertionError


async def _one(call: Call, disclosure: Disclosure, instance: Instance, media_type: str, wish: Wish) -> bytes:
    with stored_faults():
        picture = Picture(call, disclosure, instance, await disclosure.frames(instance), wish)
    return await picture.of(await picture.representative(), media_type)


async def _representative(
    call: Call, media_type: str, wish: Wish, among: Sequence[Instance], wanted: list[int] | None
) -> Response:
    """The picture of the instance that stands for *among*; each that is tried is disclosed by itself."""
    problem: Exception = NotFound("no picture in it")
    for instance in _candidates(among)[:MAX_TRIES]:
        target = Target(
            Level.IMAGE,
            study_instance_uids=(instance.study_instance_uid,),
            series_instance_uids=(instance.series_instance_uid,),
            sop_instance_uids=(instance.sop_instance_uid,),
        )
        async with contextlib.AsyncExitStack() as held:
            disclosure = await held.enter_async_context(await call.session.view(target))
            if not disclosure.instances:
                continue
            try:
                picture = await _opened(call, disclosure, wish, wanted)
                number = wanted[0] if wanted else await picture.representative(middle=True)
                return _whole(await picture.of(number, media_type), media_type, held)
            except (NotFound, HttpProblem) as error:
                problem = error
    raise problem


async def _opened(call: Call, disclosure: Disclosure, wish: Wish, wanted: list[int] | None) -> Picture:
    (instance,) = disclosure.instances
    with stored_faults():
        picture = Picture(call, disclosure, instance, await disclosure.frames(instance), wish)
    if wanted is not None and wanted[0] > picture.index.number_of_frames:
        raise NotFound("no such frame")
    return picture


def _candidates(among: Sequence[Instance]) -> list[Instance]:
    """Images before anything else; of each series the one in its middle, then those around it."""
    by_series: dict[str, list[Instance]] = {}
    for instance in among:
        by_series.setdefault(instance.series_instance_uid, []).append(instance)
    middles = [series[len(series) // 2] for series in by_series.values()]
    others = [one for series in by_series.values() for one in (*series[:1], *series[-1:])]
    ordered = list(dict.fromkeys((*middles, *others)))
    return sorted(ordered, key=lambda one: record_type(one.sop_class_uid) not in ("IMAGE", "RT DOSE"))


async def as_it_is(call: Call, accept: Accept, disclosure: Disclosure) -> Response:
    """A document or a video: what is in the instance, to be saved and not to be shown (SECURITY C41)."""
    (instance,) = disclosure.instances
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        segments: list[Segment] = []
        with stored_faults():
            if is_stream(instance.transfer_syntax_uid):
                index = await disclosure.frames(instance)
                media_type, name = media_type_of(instance.transfer_syntax_uid), "video"
                segments += [Stretch(instance, first, last) for first, last in index.whole]
            else:
                media_type, length = document_of(loads_trusted(await disclosure.metadata(instance)))
                first, last, _ = await disclosure.bulk(instance, DOCUMENT)
                name = "document"
                segments.append(Stretch(instance, first, min(last, first + length) if length else last))
        accept.choose([Form(media_type)])
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        if media_type in _VIDEOS:
            disposition = {}
        return ranged(call, disclosure, segments, held, media_type=media_type, headers=disposition)
    raise AssertionError


def _whole(picture: bytes, media_type: str, held: contextlib.AsyncExitStack) -> Response:
    async def body() -> Pieces:
        yield picture

    return Streamed(body(), held.pop_all(), media_type=media_type, length=len(picture))
