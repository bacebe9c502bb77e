"""The short form of `make fuzz`: the corpus, and some thousand seeded changes of it, for each target."""

from __future__ import annotations

import time

import pytest

from fuzz import run
from fuzz.engine import CORPUS, changed, corpus, judge
from fuzz.targets import TARGETS, Target

SECONDS = 4.0
INPUTS = 2_000
SEED = 20_261_124


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus_and_changes_of_it_give_designed_errors_only(name):
    """Every input returns or raises what the target is designed to raise, in less than a second."""
    target, seeds = TARGETS[name], corpus(name)
    ends = time.monotonic() + SECONDS
    inputs = changed(seeds, SEED)
    done = 0
    for data in seeds:
        assert judge(target, data) is None, f"{target.name}: {data[:64].hex()}"
    while done < INPUTS and time.monotonic() < ends:
        data = next(inputs)
        finding = judge(target, data)
        assert finding is None, f"seed {SEED}, input {done}: {finding}"
        done += 1
    assert done > 50, "the target is too slow to be fed"


def test_every_target_has_a_corpus_and_every_corpus_a_target():
    """Nothing is kept for a target that is gone, and no target begins with nothing."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(len(corpus(name)) > 1 for name in TARGETS)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda data: data[5], "IndexError"),
        (lambda _: time.sleep(0) or sum(range(90_000_000)), "took"),
    ],
)
def test_what_is_not_designed_is_found(broken, what):
    """The judge can fail: another error than the designed ones, and an input that takes too long."""
    finding = judge(Target("broken", broken, (ValueError,)), b"abc")

    assert finding is not None
    assert finding.what.startswith(what)


def test_the_same_seed_gives_the_same_inputs():
    """What a run found can be made again."""
    seeds = [b"abc", b"defgh"]
    first, second = changed(seeds, 7), changed(seeds, 7)

    assert [next(first) for _ in range(100)] == [next(second) for _ in range(100)]


@pytest.mark.parametrize(
    ("said", "status", "finding"),
    [
        ("Done 100", 0, ""),
        ("FINDING KeyError in walk.py:7 (fuzz-findings/header-0)", 1, "KeyError in walk.py:7 (fuzz-findings/header-0)"),
        ("==1== ERROR: libFuzzer: out-of-memory", 71, "libFuzzer: out-of-memory"),
        ("", run.HUNG, "an input that does not end"),
        ("", -9, "ended with status -9"),
    ],
)
def test_the_end_of_a_target_is_told(said, status, finding):
    """However a target's process ends, the table says what that means."""
    assert run._finding(said, status) == finding
