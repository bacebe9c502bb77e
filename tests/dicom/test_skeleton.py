"""A skeleton holds everything but long values, however the bytes come, within its limit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_corpus import BIG, DEFLATED, EXPLICIT, IMPLICIT, RealFile, cuts, encode, name, pieces, reals, trees
from strongroom.dicom.json import to_json
from strongroom.dicom.limits import LimitExceeded, Limits
from strongroom.dicom.skeleton import Skeleton
from strongroom.errors import DataSetError

WHOLE = [file for file in reals() if file.whole]


def made(uid: str, parts: object, **options: object) -> Skeleton:
    """The skeleton of a data set in pieces."""
    skeleton = Skeleton(uid, **options)
    for part in parts:
        skeleton.feed(part)
    skeleton.finish()
    return skeleton


@pytest.mark.parametrize("file", WHOLE, ids=name)
def test_it_does_not_depend_on_the_pieces(file: RealFile) -> None:
    """Whole or cut anywhere: the same bytes, the same places."""
    whole = made(file.transfer_syntax_uid, [file.data_set])
    cut = made(file.transfer_syntax_uid, pieces(file.data_set, cuts(len(file.data_set), 3)))

    assert (whole.data, whole.elided) == (cut.data, cut.elided)
    assert len(whole.data) < 200_000


@pytest.mark.parametrize("file", [file for file in WHOLE if file.transfer_syntax_uid != DEFLATED], ids=name)
def test_values_left_out_need_not_come(file: RealFile) -> None:
    """Whoever reads may pass over them: the same skeleton out of fewer bytes."""
    skeleton = Skeleton(file.transfer_syntax_uid)
    at = 0
    while at < len(file.data_set):
        skeleton.feed(file.data_set[at : at + 512])
        at = min(at + 512, len(file.data_set))
        ahead = min(skeleton.coming, len(file.data_set) - at)
        skeleton.pass_over(ahead)
        at += ahead
    skeleton.finish()

    whole = made(file.transfer_syntax_uid, [file.data_set])
    assert (whole.data, whole.elided) == (skeleton.data, skeleton.elided)


@settings(deadline=None, max_examples=150)
@given(trees(), st.sampled_from([IMPLICIT, EXPLICIT, BIG]))
def test_nothing_short_is_lost(tree: tuple, uid: str) -> None:
    """Read as DICOM JSON it says what the data set itself says."""
    data = encode(tree, uid)
    skeleton = made(uid, [data])

    assert to_json(data, uid) == to_json(bytes(skeleton.data), skeleton.encoding_uid, elided=skeleton.elided)


def test_what_is_left_is_bounded() -> None:
    """A data set of many short values is refused before it fills the memory (F22)."""
    element = b"\x11\x00\x01\x00OB\0\0" + (1000).to_bytes(4, "little") + bytes(1000)
    skeleton = Skeleton(EXPLICIT, limits=Limits(max_captured=64 * 1024))
    with pytest.raises(LimitExceeded):
        skeleton.feed(element * 100)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED]))
def test_noise_is_a_data_set_error(noise: bytes, uid: str) -> None:
    """Any bytes give a skeleton or DataSetError."""
    try:
        made(uid, [noise])
    except DataSetError:
        return
