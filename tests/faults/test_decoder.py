"""Pixel workers that crash and images no decoder can read, while eight viewers have good ones rendered (fault 20)."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faults.instances import some
from faults.scene import Scene, scene
from faults.web import Web
from interop import harness
from interop.corpus import data_set_bytes, described, renamed, shipped
from journeys.sender import send

pytestmark = pytest.mark.xdist_group("decoder")
VIEWERS = 8
SECONDS = 6.0
CRASHES = 5


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Scene]:
    """A running archive."""
    with scene(tmp_path) as made:
        yield made


def _rendered(web: Web, study: str, series: str, sop: str) -> int:
    status, kind, body = web.get(f"/studies/{study}/series/{series}/instances/{sop}/rendered", "image/jpeg")
    assert status != 200 or (kind == "image/jpeg" and body.startswith(b"\xff\xd8")), kind
    return status


def test_a_crash_is_one_failed_request(place: Scene, tmp_path: Path) -> None:
    """
    Workers are killed at work and unreadable codestreams are asked for: those requests fail, no other; good images are rendered all the while
    and afterwards, and the unreadable one comes back as it was sent.
    """
    source = random.Random(20)
    good = some(source, ("ct", "mr"), VIEWERS)
    bad = renamed(shipped("JPEG2000.dcm"), tmp_path)
    broken = bytearray(bad.path.read_bytes())
    at = broken.index(b"\xff\x4f\xff\x51") + 8
    broken[at : at + 8] = b"\xff\xff\xff\xff\xff\xff\xff\xff"  # its image is 4,294,967,295 pixels wide and high
    bad.path.write_bytes(broken)
    assert described(bad.path) == bad
    assert set(place.web().store(good).values()) == {0}
    assert [0] == send(place.archive, place.device, [bad.path])
    end = time.monotonic() + SECONDS

    def view(number: int) -> list[int]:
        web, one, found = place.web(), good[number], []
        while time.monotonic() < end:
            found.append(_rendered(web, one.study, one.series, one.sop))
        web.close()
        return found

    def view_bad() -> list[int]:
        web, found = place.web(), []
        while time.monotonic() < end:
            found.append(_rendered(web, bad.study_instance_uid, bad.series_instance_uid, bad.sop_instance_uid))
            time.sleep(0.05)
        web.close()
        return found

    def crash() -> int:
        assert place.archive.process is not None
        done = 0
        while done < CRASHES and time.monotonic() < end:
            time.sleep(SECONDS / CRASHES / 2)
            workers = harness._children(place.archive.process.pid)
            if workers:
                os.kill(source.choice(workers), signal.SIGKILL)
                done += 1
        return done

    with ThreadPoolExecutor(VIEWERS + 2) as pool:
        views = [pool.submit(view, number) for number in range(VIEWERS)]
        bad_views, killed = pool.submit(view_bad), pool.submit(crash)
        answers = [status for one in views for status in one.result()]
    failed = [status for status in answers if status != 200]

    assert killed.result() >= 3
    assert len(failed) <= killed.result(), failed
    assert len(answers) - len(failed) > VIEWERS
    assert bad_views.result()
    assert 200 not in bad_views.result()
    assert all(_rendered(place.web(), one.study, one.series, one.sop) == 200 for one in good)
    came = place.web().retrieve(bad.study_instance_uid)
    assert {bad.sop_instance_uid: data_set_bytes(bad.path)} == came
    place.checked(but=set())
    place.proved()
    place.quiet()
