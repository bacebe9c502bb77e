"""
Make the vectors again: `python tests/vectors/make.py`. Nothing may change unless a format version does.

The seal's vectors come from AES-GCM and HKDF put together here step by step, on purpose not from `strongroom.ground.seal`. The
packs and chains are what the code writes with fixed randomness: they keep a later version able to read them.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).parent
KEY = bytes(range(32))
LABEL = b"SRbl\x01\x00\x00\x00" + bytes(range(0x40, 0x50)) + bytes(range(0x60, 0x70))
SALT = bytes(range(0x80, 0xA0))
PREFIX = bytes(range(0xC0, 0xC7))


def fixed_randomness(length):
    """Return the same *length* bytes every time."""
    return bytes(range(length))


def pattern(length):
    """Return plain bytes no two segments of which are alike: SHA-256 of 0, 1, 2 ... one behind the other."""
    blocks = (hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def hkdf(key, salt, info):
    """RFC 5869 with SHA-256, 32 bytes: one block."""
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def seal_parts(plain, *, label=LABEL, mark_last=True):
    """Return the header and the sealed segments of *plain*."""
    pieces = [plain[:65480]] + [plain[start : start + 65520] for start in range(65480, len(plain), 65520)]
    cipher = AESGCM(hkdf(KEY, SALT, label))
    parts = [bytes((40,)) + SALT + PREFIX]
    for number, piece in enumerate(pieces):
        last = mark_last and number == len(pieces) - 1
        parts.append(cipher.encrypt(PREFIX + number.to_bytes(4, "big") + bytes((last,)), piece, None))
    return parts


def vector(name, plain, sealed, expect="success", comment=""):
    """Write one vector; sealed bytes up to 400 stand in it, of longer ones the hash."""
    lines = [f"expect: {expect}", f"comment: {comment}", f"key: {KEY.hex()}", f"associated-data: {LABEL.hex()}"]
    lines += [f"salt: {SALT.hex()}", f"nonce-prefix: {PREFIX.hex()}"]
    lines += [f"plain-length: {len(plain)}", f"plain-sha256: {hashlib.sha256(plain).hexdigest()}"]
    lines += [f"sealed-length: {len(sealed)}", f"sealed-sha256: {hashlib.sha256(sealed).hexdigest()}"]
    if len(sealed) <= 400:
        lines += ["", sealed.hex()]
    (HERE / "seal" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def make_seal():
    """Write the seal's vectors."""
    for name, length, comment in (
        ("empty", 0, "one segment of nothing"),
        ("one-byte", 1, ""),
        ("hundred-bytes", 100, ""),
        ("first-segment-full", 65480, "the only segment is the last one"),
        ("one-byte-over", 65481, "the second segment holds one byte"),
        ("two-segments-full", 65480 + 65520, "no empty segment follows"),
        ("five-segments", 65480 + 3 * 65520 + 7, ""),
    ):
        plain = pattern(length)
        vector(name, plain, b"".join(seal_parts(plain)), comment=comment)
    plain = pattern(100)
    whole = b"".join(seal_parts(plain))
    bad = "integrity failure"
    vector("flipped-ciphertext", plain, flipped(whole, 60), bad)
    vector("flipped-tag", plain, flipped(whole, len(whole) - 1), bad)
    vector("flipped-salt", plain, flipped(whole, 5), bad)
    vector("flipped-nonce-prefix", plain, flipped(whole, 35), bad)
    vector("wrong-header-length", plain, flipped(whole, 0), bad)
    vector("truncated", plain, whole[:-1], bad)
    vector("truncated-to-header", plain, whole[:40], bad)
    vector("one-byte-more", plain, whole + b"\0", bad)
    vector(
        "not-marked-last",
        plain,
        b"".join(seal_parts(plain, mark_last=False)),
        bad,
        "the end of a longer blob is missing",
    )
    vector(
        "other-label", plain, b"".join(seal_parts(plain, label=flipped(LABEL, 39))), bad, "sealed under another key id"
    )


def flipped(data, position):
    """Return *data* with the lowest bit of one byte changed."""
    return data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]


def make_chain():
    """Write a chain of three records in two segments."""
    from strongroom.ground.chain import Chain
    from strongroom.ground.memory import MemoryMedium

    medium = MemoryMedium()
    chain = Chain.open(medium, "trail", "main", KEY, segment_bytes=300, randomness=fixed_randomness)
    for payload in (b"first", b"second" * 20, b"third"):
        chain.append([payload])
        chain.flush()
    for name in medium.listing("trail"):
        (HERE / "trail" / name).write_bytes(medium.content(f"trail/{name}").rstrip(b"\0"))
    (HERE / "trail" / "main.txt").write_text(
        f"key: {KEY.hex()}\nrecords: 3\nhead-sequence: {chain.head.sequence}\nhead-hash: {chain.head.hash.hex()}\n"
    )


def make_pack():
    """Write a closed pack with a whole, a leased and an abandoned record."""
    from strongroom.ground.memory import MemoryMedium
    from strongroom.vault.blob import SealedRecord
    from strongroom.vault.pack import Vault

    medium = MemoryMedium()
    vault = Vault(medium, pack_bytes=6000, randomness=fixed_randomness)
    dead = vault.lease(b"D" * 16, b"K" * 16)
    dead.write([pattern(100)])
    dead.abandon()
    lease = vault.lease(b"L" * 16, b"K" * 16)
    lease.write([pattern(700)])
    lease.finish(b"trailer of the leased record")
    whole = SealedRecord(b"B" * 16, b"K" * 16, [pattern(300)], b"trailer of the whole record")
    while 1 in vault.open_packs():
        vault.append([whole])
        vault.flush()
    (HERE / "pack" / "00000001.pack").write_bytes(medium.content("vault/00000001.pack"))


if __name__ == "__main__":
    for folder in ("seal", "trail", "pack"):
        (HERE / folder).mkdir(exist_ok=True)
    make_seal()
    make_chain()
    make_pack()
