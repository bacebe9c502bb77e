"""
A study or series as one ZIP archive: files as PS3.10 has them and the DICOMDIR that lists them (PS3.18 §8.7.3.6).

Names are IM000001 and so on: nothing of a data set stands in the name of a file. The directory comes first, the files
after it, each as it is read; nothing is gathered but the directory.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from strongroom.archive import Disclosure
from strongroom.dicom.dicomdir import Directory, file_name
from strongroom.dicom.json import loads_trusted
from strongroom.dicom.uid import from_random
from strongroom.dicomweb.answers import Pieces, Streamed
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.conversion import converted
from strongroom.dicomweb.segments import Stretch, pieces
from strongroom.dicomweb.zip_writer import ZipWriter

if TYPE_CHECKING:
    from strongroom.dicomweb.wado import Item, Plan

__all__ = ["answer", "directory_of"]

_NAME: Final = 'attachment; filename="images.zip"'


async def answer(call: Call, disclosure: Disclosure, plan: Plan, held: contextlib.AsyncExitStack) -> Response:
    """The archive of what *plan* says; *held* has entered the disclosure."""
    directory = await directory_of(disclosure, {item.instance.number: item.syntax for item in plan.items})
    encoded = directory.encode(sop_instance_uid=from_random(call.entropy(16)))
    return Streamed(
        _body(call, disclosure, plan.items, encoded),
        held.pop_all(),
        media_type="application/zip",
        status=206 if plan.missing else 200,
        headers={"Content-Disposition": _NAME},
    )


async def directory_of(disclosure: Disclosure, syntaxes: dict[int, str]) -> Directory:
    """The directory of the instances that *syntaxes* names by their place in the disclosure, in that order."""
    directory = Directory()
    number = 0
    async with contextlib.aclosing(disclosure.all_metadata()) as texts:
        async for text in texts:
            instance = disclosure.instances[number]
            number += 1
            if instance.number not in syntaxes:
                continue
            directory.add(
                loads_trusted(bytes(text)),
                file_name(len(directory) + 1),
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_instance_uid,
                transfer_syntax_uid=syntaxes[instance.number],
            )
    return directory


async def _body(call: Call, disclosure: Disclosure, items: tuple[Item, ...], directory: bytes) -> Pieces:
    writer = ZipWriter()
    yield writer.begin("DICOMDIR", length=len(directory))
    writer.note(directory)
    yield directory
    yield writer.end()
    for number, item in enumerate(items, 1):
        instance, header = item.instance, item.header()
        length = len(header) + instance.length if item.as_kept else None
        yield writer.begin("/".join(file_name(number)), length=length)
        writer.note(header)
        yield header
        if item.as_kept:
            source = pieces(disclosure, (Stretch(instance, 0, instance.length, done=False),))
        else:
            source = converted(call, disclosure, instance, item.syntax)
        async with contextlib.aclosing(source):
            async for piece in source:
                writer.note(piece)
                yield piece
        yield writer.end()
        disclosure.sent(instance)
    yield writer.finish()
