"""The pool with real worker processes: what crashes, hangs, or grows costs one job and nothing else (SECURITY C32, F10-F16)."""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from imaging.corpus import named
from strongroom.imaging import syntaxes
from strongroom.imaging.errors import PoolBusyError, UnreadablePixelsError
from strongroom.imaging.options import PNG, RenderOptions
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.pool import Budget, Pool
from strongroom.imaging.protocol import Decode

EXPLICIT = "1.2.840.10008.1.2.1"
SMALL = PixelDescription(rows=8, columns=8, transfer_syntax_uid=EXPLICIT)
FRAME = bytes(range(64))


def pooled(workers: int = 1, **budget):
    """Run an asynchronous test with a pool that is started and stopped around it."""

    def decorate(test):
        @functools.wraps(test)
        def wrapper():
            async def bounded():
                pool = Pool(workers, budget=Budget(**budget))
                await pool.start()
                try:
                    async with asyncio.timeout(60):
                        await test(pool)
                finally:
                    await pool.stop()
                assert () == pool.pids

            asyncio.run(bounded())

        del wrapper.__wrapped__  # pytest would look for a fixture "pool"
        return wrapper

    return decorate


@pooled()
async def test_no_process_before_the_first_job_and_none_after_the_end(pool: Pool) -> None:
    """Starting a server starts no worker."""
    assert () == pool.pids

    native, described = await pool.decode(SMALL, FRAME)
    (pid,) = pool.pids
    assert (FRAME, EXPLICIT) == (native, described.transfer_syntax_uid)

    await pool.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pooled()
async def test_each_kind_of_job_comes_back(pool: Pool) -> None:
    """Decode, encode, transcode, render and picture, through the process and equal to what goes round."""
    image = named("693_J2KR.dcm")
    native, described = await pool.decode(image.pixels, image.frame(1))
    encoded = await pool.encode(described, native, syntaxes.JPEG_LS)
    again, _ = await pool.decode(syntaxes.after_encoding(described, syntaxes.JPEG_LS), encoded)
    direct, transcoded = await pool.transcode(image.pixels, image.frame(1), syntaxes.JPEG_LS)
    picture = await pool.render(image.pixels, [image.frame(1)], RenderOptions(PNG))
    info, kept = await pool.picture(picture, PNG)

    assert (native, encoded, syntaxes.JPEG_LS) == (again, direct, transcoded.transfer_syntax_uid)
    assert (512, 512, 1, 512 * 512) == (info.rows, info.columns, info.samples_per_pixel, len(kept))


@pooled()
async def test_a_worker_is_confined(pool: Pool) -> None:
    """No descriptor but its socket and the null device, no environment of ours, limits that cannot be raised again."""
    await pool.decode(SMALL, FRAME)
    process = Path(f"/proc/{pool.pids[0]}")
    limits = dict(_limits((process / "limits").read_text("ascii")))
    opened = sorted(str(one.readlink()).split(":")[0] for one in (process / "fd").iterdir())
    status = (process / "status").read_text("ascii")

    assert ["/dev/null", "/dev/null", "socket"] == opened
    assert ("0", "0", "0") == (limits["Max open files"], limits["Max file size"], limits["Max core file size"])
    assert str(1 << 30) == limits["Max address space"]
    assert b"HOME" not in (process / "environ").read_bytes()
    assert "NoNewPrivs:\t1" in status
    assert {"dies-with-parent", "no-new-privileges", "limits", "no-descriptors"} <= set(pool.confined)


def _limits(text: str):
    for line in text.splitlines()[1:]:
        yield line[:26].strip(), line[26:].split()[1]


@pooled()
async def test_a_killed_worker_costs_the_job_it_had_and_is_replaced_within_a_second(pool: Pool) -> None:
    """A crash, as the kernel reports it: one unreadable frame, then work goes on."""
    await pool.decode(SMALL, FRAME)
    os.kill(pool.pids[0], signal.SIGSEGV)
    with pytest.raises(UnreadablePixelsError):
        await pool.decode(SMALL, FRAME)
    began = time.monotonic()
    native, _ = await pool.decode(SMALL, FRAME)

    assert FRAME == native
    assert 1 == pool.ended
    assert time.monotonic() - began < 5  # within a second on a machine that does nothing else


@pooled(workers=2, job_seconds=2)
async def test_a_hanging_worker_is_killed_and_the_others_go_on(pool: Pool) -> None:
    """While one does not answer, the jobs of the other worker are done."""
    await asyncio.gather(*(pool.decode(SMALL, FRAME) for _ in range(8)))
    while len(pool.pids) < 2:
        await asyncio.gather(*(pool.decode(SMALL, FRAME) for _ in range(8)))
    os.kill(pool.pids[0], signal.SIGSTOP)
    outcomes = await asyncio.gather(*(pool.decode(SMALL, FRAME) for _ in range(12)), return_exceptions=True)
    lost = [one for one in outcomes if isinstance(one, BaseException)]

    assert ["a worker took longer than 2 seconds"] == [str(one) for one in lost]
    assert isinstance(lost[0], UnreadablePixelsError)
    assert 11 == len(outcomes) - len(lost)


@pooled()
async def test_a_bomb_meets_the_memory_limit_and_is_one_unreadable_frame(pool: Pool) -> None:
    """The largest frame that may be described, JPEG 2000 components of four bytes each: more than a worker has."""
    side = 16_384
    pixels = PixelDescription(rows=side, columns=side, transfer_syntax_uid=syntaxes.JPEG_2000_LOSSLESS)
    bomb = _j2k(side)
    with pytest.raises(UnreadablePixelsError):
        await pool.decode(pixels, bomb)
    native, _ = await pool.decode(SMALL, FRAME)

    assert FRAME == native


def _j2k(side: int) -> bytes:
    """A codestream of some 100 bytes that says it is *side* x *side* pixels in one tile."""
    size = b"\0\0" + b"".join(n.to_bytes(4, "big") for n in (side, side, 0, 0, side, side, 0, 0)) + b"\0\1\7\1\1"
    coding = bytes((0, 0, 0, 1, 0, 1, 4, 4, 0, 1))
    quantization = bytes((0x40, 0x40, 0x48, 0x48, 0x50))
    parts = b"\xff\x4f"
    for marker, body in ((0x51, size), (0x52, coding), (0x5C, quantization)):
        parts += bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
    return parts + b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1" + b"\xff\x93" + bytes(64) + b"\xff\xd9"


@pooled(max_waiting=3)
async def test_what_waits_is_bounded(pool: Pool) -> None:
    """The fourth waiting job is refused at once, with the error that is answered 503."""
    await pool.decode(SMALL, FRAME)
    os.kill(pool.pids[0], signal.SIGSTOP)
    first = asyncio.create_task(pool.decode(SMALL, FRAME))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(pool.decode(SMALL, FRAME)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(PoolBusyError):
        await pool.decode(SMALL, FRAME)
    os.kill(pool.pids[0], signal.SIGCONT)

    assert [FRAME] * 4 == [native for native, _ in await asyncio.gather(first, *waiting)]


@pooled(max_waiting_bytes=100)
async def test_the_bytes_that_wait_are_bounded(pool: Pool) -> None:
    """Few large frames are as much as many small ones."""
    first = asyncio.create_task(pool.decode(SMALL, FRAME))
    await asyncio.sleep(0)
    with pytest.raises(PoolBusyError):
        await pool.decode(SMALL, FRAME)

    assert FRAME == (await first)[0]


@pooled(wait_seconds=0.0)
async def test_who_waits_too_long_is_refused(pool: Pool) -> None:
    """Nobody gets a picture he has stopped waiting for."""
    with pytest.raises(PoolBusyError, match="too long"):
        await pool.decode(SMALL, FRAME)


@pooled()
async def test_a_job_whose_owner_left_is_not_done(pool: Pool) -> None:
    """A cancelled request frees its place; the others get their own answers."""
    tasks = [asyncio.create_task(pool.decode(SMALL, bytes([n]) * 64)) for n in range(6)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [bytes([n]) * 64 for n in (1, 3, 5)] == [outcomes[n][0] for n in (1, 3, 5)]
    assert all(isinstance(outcomes[n], asyncio.CancelledError) for n in (0, 2, 4))


@pooled(idle_seconds=0.05)
async def test_an_idle_worker_ends(pool: Pool) -> None:
    """Its memory is given back, and the next job starts another."""
    await pool.decode(SMALL, FRAME)
    while pool.pids:  # noqa: ASYNC110 -- the pool tells nobody
        await asyncio.sleep(0.02)

    assert FRAME == (await pool.decode(SMALL, FRAME))[0]
    assert 0 == pool.ended


@pooled(max_jobs=1)
async def test_a_worker_is_replaced_after_so_many_jobs(pool: Pool) -> None:
    """A codec that leaks does not leak for ever."""
    await pool.decode(SMALL, FRAME)
    assert () == pool.pids
    await pool.decode(SMALL, FRAME)

    assert 0 == pool.ended


@pooled()
async def test_a_worker_that_answers_too_much_is_not_believed(pool: Pool) -> None:
    """It has seen bytes from outside: an answer longer than it may be ends it."""
    with pytest.raises(UnreadablePixelsError, match="are the most"):
        await pool._submit(Decode(SMALL), (FRAME,), 63)

    assert 1 == pool.ended


def test_a_pool_that_is_not_started_takes_nothing() -> None:
    """Nor does one that was stopped."""

    async def run() -> None:
        pool = Pool(1)
        with pytest.raises(PoolBusyError):
            await pool.decode(SMALL, FRAME)
        await pool.start()
        await pool.stop()
        with pytest.raises(PoolBusyError):
            await pool.decode(SMALL, FRAME)

    asyncio.run(run())


@pooled()
async def test_errors_name_no_value(pool: Pool) -> None:
    """What a frame holds does not reach a message (I7)."""
    canary = b"CANARY^PATIENT" * 8
    for uid in sorted(syntaxes.DECODABLE - syntaxes.NATIVE):
        pixels = PixelDescription(rows=8, columns=8, transfer_syntax_uid=uid)
        with pytest.raises(UnreadablePixelsError) as caught:
            await pool.decode(pixels, canary)
        assert "CANARY" not in str(caught.value)


@pooled()
async def test_no_descriptor_for_a_worker_costs_the_job_and_not_the_pool(pool: Pool) -> None:
    """While the process has no descriptor left a job is refused; with one it is done."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # the limit is about numbers, and tests before this one may have left some of them free
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(PoolBusyError):
            await pool.decode(SMALL, FRAME)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    native, _ = await pool.decode(SMALL, FRAME)

    assert FRAME == native


@pooled()
async def test_a_job_that_cannot_be_handed_over_costs_nobody_else_anything(pool: Pool) -> None:
    """A fault of ours in one job is told to the event loop, and the next job is done."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(type(context["exception"])))
    with pytest.raises(PoolBusyError):
        await pool._submit(object(), (FRAME,), 64)
    native, _ = await pool.decode(SMALL, FRAME)

    assert (FRAME, [TypeError]) == (native, told)
