"""What a worker does for each kind of job; imported by `worker` alone, because it imports every codec."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.imaging import codecs, native, pictures, render, syntaxes
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.protocol import Decode, Encode, Job, Picture, Render, Reply, Transcode

__all__ = ["do", "warm_up"]


def warm_up() -> None:
    """Load everything that is loaded lazily."""
    codecs.warm_up()
    render.warm_up()


def do(job: Job, parts: Sequence[memoryview]) -> tuple[Reply, bytes]:
    """Do one job; raises UnreadablePixelsError and MemoryError, and whatever a library thought of."""
    match job:
        case Decode():
            described = syntaxes.after_decoding(job.pixels)
            cells = codecs.decode(job.pixels, _one(parts))
            return Reply(), codecs.encode(described, cells, described.transfer_syntax_uid)
        case Transcode():
            described = syntaxes.after_decoding(job.pixels)
            return Reply(), codecs.encode(described, codecs.decode(job.pixels, _one(parts)), job.uid)
        case Encode():
            return Reply(), codecs.encode(job.pixels, native.array_of(job.pixels, _one(parts)), job.uid)
        case Render():
            return Reply(), render.render(job.pixels, [bytes(part) for part in parts], job.options)
        case Picture():
            info, data = pictures.read(_one(parts), job.media_type)
            return Reply(picture=info), data


def _one(parts: Sequence[memoryview]) -> bytes:
    if len(parts) != 1:
        raise UnreadablePixelsError(f"a job of one frame came with {len(parts)}")
    return bytes(parts[0])
