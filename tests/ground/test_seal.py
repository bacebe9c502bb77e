"""Sealing: what goes in comes out, any range opens without the rest, and nothing else ever opens."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import IntegrityError
from strongroom.ground.seal import (
    HEADER,
    SEGMENT,
    SMALL_OVERHEAD,
    Opener,
    Sealer,
    Slot,
    SmallSeal,
    associated_data,
    derive,
    open_all,
    open_small,
    plain_length,
    plain_range,
    seal_small,
    sealed_length,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "seal"
KEY = bytes(range(32))
BLOB, KEY_ID = b"b" * 16, b"k" * 16
LABEL = associated_data(BLOB, KEY_ID, Slot.DATA_SET)
EDGES = [0, 1, 65479, 65480, 65481, 130999, 131000, 131001, 200_000]


def pattern(length):
    """Return bytes no two segments of which are alike."""
    return b"".join(hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(-(-length // 32)))[:length]


def sealed(plain, *, label=LABEL, key=KEY, step=131_060):
    """Return *plain* sealed in steps of *step* bytes."""
    sealer = Sealer(key, label)
    for start in range(0, len(plain), step):
        sealer.update(memoryview(plain)[start : start + step])
    sealer.finish()
    return b"".join(sealer.take())


@pytest.mark.parametrize("length", EDGES)
@pytest.mark.parametrize("step", [1 << 20, 65_480, 65_481, 4_001])
def test_round_trip(length, step):
    """Every length around the segment edges comes back, however its bytes were cut, and is as long as foretold."""
    plain = pattern(length)
    blob = sealed(plain, step=step)

    assert len(blob) == sealed_length(length)
    assert plain_length(len(blob)) == length
    assert open_all(KEY, LABEL, blob) == plain


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 140_000), max_size=6))
def test_any_fragmenting_seals_the_same(lengths):
    """The cut of the fragments does not show: with the same salt the sealed bytes are the same."""
    plain = pattern(sum(lengths))

    def fixed(length):
        return bytes(length)

    whole = Sealer(KEY, LABEL, randomness=fixed)
    whole.update(plain)
    whole.finish()
    cut = Sealer(KEY, LABEL, randomness=fixed)
    taken, start = [], 0
    for length in lengths:
        cut.update(plain[start : start + length])
        start += length
        taken += cut.take()
    cut.finish()
    taken += cut.take()

    assert b"".join(taken) == b"".join(whole.take())
    assert cut.plain_length == len(plain)
    assert cut.sealed_length == sealed_length(len(plain))


def test_caller_may_reuse_its_buffer():
    """The sealer keeps nothing of the view it was given."""
    buffer = bytearray(b"x" * 1000)
    sealer = Sealer(KEY, LABEL)
    sealer.update(buffer)
    buffer[:] = b"y" * 1000
    sealer.finish()

    assert open_all(KEY, LABEL, b"".join(sealer.take())) == b"x" * 1000


def test_finished_is_finished():
    """Nothing can be added to a finished blob."""
    sealer = Sealer(KEY, LABEL)
    sealer.finish()
    with pytest.raises(ValueError, match="finished"):
        sealer.finish()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(EDGES), st.integers(0, 200_000), st.integers(0, 200_000), st.sampled_from([SEGMENT, 2 * SEGMENT])
)
def test_any_range_opens_without_the_rest(length, start, stop, window):
    """Every range comes out of the windows that cover it, each read apart from the others."""
    plain = pattern(length)
    blob = sealed(plain)
    opener = Opener(KEY, LABEL, len(blob), blob[:HEADER])
    start, stop = min(start, stop, length), min(max(start, stop), length)

    pieces = [
        bytes(opener.open(blob[cover.sealed_start : cover.sealed_stop], cover))
        for cover in opener.windows(start, stop, window=window)
    ]
    assert b"".join(pieces) == plain[start:stop]
    assert all(c.sealed_stop - c.sealed_start <= window for c in opener.windows(start, stop, window=window))


def test_range_reads_no_more_than_it_has_to():
    """A range inside one segment reads that segment alone; one over an edge reads two."""
    length = 10 * SEGMENT

    assert plain_range(70_000, 80_000, length).sealed_stop - plain_range(70_000, 80_000, length).sealed_start == SEGMENT
    assert plain_range(65_479, 65_481, length).sealed_stop == 2 * SEGMENT
    assert plain_range(0, length, length).sealed_stop == sealed_length(length)
    assert plain_range(5, 5, length).length == 0


@pytest.mark.parametrize("length", [0, 5, 65_480, 131_100])
def test_every_flipped_bit_is_refused(length):
    """No byte of a sealed blob can change in any way: header, ciphertext or tag."""
    blob = sealed(pattern(length))
    positions = {*range(64), *range(SEGMENT - 20, SEGMENT + 20), *range(len(blob) - 20, len(blob))}
    for position in sorted(positions):
        if position < len(blob):
            for mask in (0x01, 0x80):
                damaged = bytearray(blob)
                damaged[position] ^= mask
                with pytest.raises(IntegrityError):
                    open_all(KEY, LABEL, damaged)


def test_every_truncation_is_refused():
    """A blob cut anywhere does not open, also when it is cut exactly between two segments."""
    blob = sealed(pattern(140_000))
    cuts = {*range(60), SEGMENT, SEGMENT - 1, SEGMENT + 1, SEGMENT + 17, 2 * SEGMENT, len(blob) - 1, len(blob) - 16}
    for cut in cuts:
        with pytest.raises(IntegrityError):
            open_all(KEY, LABEL, blob[:cut])


def test_cut_between_segments_is_found_by_whoever_reads_the_end():
    """A reader told the shorter length finds that the last segment is not marked as the last."""
    blob = sealed(pattern(200_000))
    opener = Opener(KEY, LABEL, 2 * SEGMENT, blob[:HEADER])
    cover = opener.cover(opener.plain_length - 10)

    with pytest.raises(IntegrityError):
        opener.open(blob[cover.sealed_start : cover.sealed_stop], cover)


def test_appended_bytes_are_refused():
    """Neither a byte nor a whole further segment can be put behind a blob."""
    blob = sealed(pattern(131_000))
    for more in (b"\0", bytes(17), blob[SEGMENT : 2 * SEGMENT], bytes(SEGMENT)):
        with pytest.raises(IntegrityError):
            open_all(KEY, LABEL, blob + more)


def test_swapped_and_repeated_segments_are_refused():
    """Segments open in their own place only."""
    blob = sealed(pattern(65_480 + 65_520 * 3))
    parts = [blob[start : start + SEGMENT] for start in range(0, len(blob), SEGMENT)]
    for order in ((0, 2, 1, 3), (0, 1, 1, 3), (1, 0, 2, 3), (0, 1, 3, 2), (0, 1, 3), (0, 2, 3)):
        with pytest.raises(IntegrityError):
            open_all(KEY, LABEL, b"".join(parts[number] for number in order))


def test_segment_of_another_blob_is_refused():
    """A segment of another blob under the same key and label does not open here."""
    one, two = sealed(pattern(140_000)), sealed(pattern(140_000))

    with pytest.raises(IntegrityError):
        open_all(KEY, LABEL, one[:SEGMENT] + two[SEGMENT : 2 * SEGMENT] + one[2 * SEGMENT :])


@pytest.mark.parametrize(
    "other",
    [
        associated_data(b"c" * 16, KEY_ID, Slot.DATA_SET),
        associated_data(BLOB, b"l" * 16, Slot.DATA_SET),
        associated_data(BLOB, KEY_ID, Slot.LABEL),
        b"",
        b"\x02".join((LABEL[:4], LABEL[5:])),
    ],
)
def test_relabelled_is_refused(other):
    """Under another blob id, key id, slot or version a blob does not open (I8)."""
    with pytest.raises(IntegrityError):
        open_all(KEY, other, sealed(b"data"))


def test_other_key_is_refused():
    """Another key opens nothing."""
    with pytest.raises(IntegrityError):
        open_all(bytes(32), LABEL, sealed(b"data"))


def test_same_plain_text_never_seals_alike():
    """Two blobs of the same bytes share nothing to compare."""
    one, two = sealed(pattern(1000)), sealed(pattern(1000))

    assert one[1:33] != two[1:33]
    assert one[HEADER:] != two[HEADER:]


@pytest.mark.parametrize("length", [0, 1, 39, 55, SEGMENT + 1, SEGMENT + 16, 3 * SEGMENT + 16])
def test_impossible_lengths_are_refused(length):
    """A length no blob can have is refused before anything is opened."""
    with pytest.raises(IntegrityError):
        plain_length(length)


def test_wrong_key_length_is_a_bug():
    """A key that is not 32 bytes is a mistake of ours, named at once."""
    for act in (lambda: Sealer(b"short", LABEL), lambda: SmallSeal(b"short")):
        with pytest.raises(ValueError, match="32 bytes"):
            act()


def test_small_round_trip():
    """A small value comes back, is as much longer as foretold, and never seals alike."""
    for plain in (b"", b"x", pattern(5000)):
        value = seal_small(KEY, plain, LABEL)
        assert len(value) == len(plain) + SMALL_OVERHEAD
        assert open_small(KEY, value, LABEL) == plain
        assert value != seal_small(KEY, plain, LABEL)


def test_small_refuses_everything_else():
    """Every flipped bit, every cut, another label and another key are refused."""
    value = seal_small(KEY, b"value", LABEL)
    wrong = [value[:cut] for cut in range(len(value))] + [value + b"\0"]
    for position in range(len(value)):
        damaged = bytearray(value)
        damaged[position] ^= 1
        wrong.append(bytes(damaged))
    for damaged in wrong:
        with pytest.raises(IntegrityError):
            open_small(KEY, damaged, LABEL)
    with pytest.raises(IntegrityError):
        open_small(KEY, value, LABEL + b"x")
    with pytest.raises(IntegrityError):
        open_small(bytes(32), value, LABEL)


def read_vector(path):
    """Return the header fields of a vector and its sealed bytes, if they stand in it."""
    front, _, body = path.read_text().partition("\n\n")
    fields = dict(line.split(": ", 1) for line in front.strip().splitlines())
    return fields, bytes.fromhex(body)


def vectors(expected):
    """Return the vector files with the wanted outcome."""
    found = [path for path in sorted(VECTORS.glob("*.txt")) if read_vector(path)[0]["expect"] == expected]
    assert found
    return found


@pytest.mark.parametrize("path", vectors("success"), ids=lambda path: path.stem)
def test_vectors_that_open(path):
    """With the vector's salt the sealer writes the vector's bytes, and they open."""
    fields, body = read_vector(path)
    plain = pattern(int(fields["plain-length"]))
    assert hashlib.sha256(plain).hexdigest() == fields["plain-sha256"]
    drawn = iter((bytes.fromhex(fields["salt"]), bytes.fromhex(fields["nonce-prefix"])))
    sealer = Sealer(
        bytes.fromhex(fields["key"]), bytes.fromhex(fields["associated-data"]), randomness=lambda _: next(drawn)
    )
    sealer.update(plain)
    sealer.finish()
    blob = b"".join(sealer.take())

    assert len(blob) == int(fields["sealed-length"])
    assert hashlib.sha256(blob).hexdigest() == fields["sealed-sha256"]
    assert body in (b"", blob)
    assert open_all(bytes.fromhex(fields["key"]), bytes.fromhex(fields["associated-data"]), blob) == plain


@pytest.mark.parametrize("path", vectors("integrity failure"), ids=lambda path: path.stem)
def test_vectors_that_do_not_open(path):
    """The damaged vectors are refused."""
    fields, body = read_vector(path)
    assert hashlib.sha256(body).hexdigest() == fields["sealed-sha256"]

    with pytest.raises(IntegrityError):
        open_all(bytes.fromhex(fields["key"]), bytes.fromhex(fields["associated-data"]), body)


@pytest.fixture(scope="module")
def tink_streaming():
    """Tink's own streaming AEAD under our key, with our segment size."""
    reason = "the Python package tink is not installed: the streaming format was not compared with Tink's own"
    tink = pytest.importorskip("tink", reason=reason)
    from tink import secret_key_access, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

    streaming_aead.register()
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, key_value=KEY)
    key.params.ciphertext_segment_size = SEGMENT
    key.params.derived_key_size = 32
    key.params.hkdf_hash_type = common_pb2.SHA256
    keyset = tink_pb2.Keyset(primary_key_id=1)
    entry = keyset.key.add()
    entry.key_id = 1
    entry.status = tink_pb2.ENABLED
    entry.output_prefix_type = tink_pb2.RAW
    entry.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    entry.key_data.value = key.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


@pytest.mark.parametrize("length", EDGES)
def test_tink_opens_what_we_seal(tink_streaming, length):
    """Tink opens our blobs."""
    import io

    plain = pattern(length)
    with tink_streaming.new_decrypting_stream(io.BytesIO(sealed(plain)), LABEL) as stream:
        assert stream.read() == plain


@pytest.mark.parametrize("length", EDGES)
def test_we_open_what_tink_seals(tink_streaming, length):
    """We open Tink's blobs."""
    import io

    class Kept(io.BytesIO):
        def close(self):
            """Keep the bytes when Tink closes the stream."""

    plain, sink = pattern(length), Kept()
    with tink_streaming.new_encrypting_stream(sink, LABEL) as stream:
        stream.write(plain)

    assert open_all(KEY, LABEL, sink.getvalue()) == plain


def test_little_is_held_back():
    """Whoever takes what is ready keeps no more than a segment waiting."""
    sealer = Sealer(KEY, LABEL)
    fragment = os.urandom(131_072)
    for _ in range(64):
        sealer.update(fragment)
        assert sum(map(len, sealer.take())) <= len(fragment) + 2 * SEGMENT
    sealer.finish()

    assert sum(map(len, sealer.take())) <= SEGMENT
    assert sealer.sealed_length == sealed_length(64 * 131_072)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_derived_keys_are_those_of_rfc_5869(key, salt, info):
    """What is derived is what the library's HKDF derives, for any key, salt and purpose."""
    assert HKDF(SHA256(), 32, salt, info).derive(key) == derive(key, salt=salt, info=info)
