"""
How inputs are made and judged without a coverage-guided engine: seeded changes of the corpus, one second and little memory
for each input.
"""

from __future__ import annotations

import random
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz.targets import Target

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 1.0  # processor time one input may take
LONGEST = 64 << 10  # bytes of an input
GROWTH = 96 << 20  # bytes the process may grow while a target is fed
NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFE,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
"""What lengths, counts and tags break at."""


@dataclass(frozen=True)
class Finding:
    """An input that did something else than it may."""

    target: str
    what: str
    data: bytes


def corpus(target: str) -> list[bytes]:
    """The inputs kept for a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def judge(target: Target, data: bytes) -> Finding | None:
    """Feed *data* once."""
    began = time.thread_time()
    try:
        target.run(data)
    except target.designed:
        pass
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is the finding
        return Finding(target.name, f"{type(error).__name__} in {_place(error)}", data)
    took = time.thread_time() - began
    return Finding(target.name, f"took {took:.1f} s", data) if took > SECONDS else None


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "strongroom" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def resident() -> int:
    """Bytes the process holds at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def changed(seeds: list[bytes], seed: int) -> Iterator[bytes]:
    """Endless inputs, the same ones for the same *seed*."""
    rng = random.Random(seed)
    while True:
        data = bytearray(rng.choice(seeds))
        for _ in range(1 << rng.randrange(5)):
            rng.choice(_CHANGES)(data, rng, seeds)
        yield bytes(data[:LONGEST])


def _flip(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _number(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    size = rng.choice((1, 2, 4))
    if len(data) >= size:
        at = rng.randrange(len(data) - size + 1)
        number = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
        data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _cut(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    if data:
        at = rng.randrange(len(data))
        del data[at : at + rng.choice((1, 2, 4, 8, 100, len(data)))]


def _twice(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    if data and len(data) < LONGEST:
        at = rng.randrange(len(data))
        part = data[at : at + rng.choice((1, 2, 8, 64, 512))]
        data[at:at] = part * rng.choice((1, 2, 50))


def _splice(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    other = rng.choice(seeds)
    if data and other:
        at, there = rng.randrange(len(data)), rng.randrange(len(other))
        data[at:] = other[there:]


def _insert(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16)))


_Change = Callable[[bytearray, random.Random, list[bytes]], None]
_CHANGES: tuple[_Change, ...] = (_flip, _byte, _number, _number, _cut, _twice, _splice, _insert)
