"""Contexts and what a failed handshake means; two TLS ends in memory, no socket."""

from __future__ import annotations

import functools
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from strongroom.errors import ConfigurationError
from strongroom.transport.ends import Refused
from strongroom.transport.tls import (
    Identity,
    client_context,
    fingerprint,
    server_context,
    unverified_client_context,
    why,
)
from transport.world import (
    Authority,
    authority,
    careless_context,
    der,
    device_context,
    device_identity,
    door_context,
    key_pem,
    server_identity,
    stranger,
    weak_rsa_key,
)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Run a handshake; raises what the server's side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    done = {ours: False, theirs: False}
    for _ in range(20):
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done[side] = True
            except ssl.SSLWantReadError:
                continue
        if all(done.values()):
            return ours, theirs
    raise AssertionError("the handshake does not end")


def refusal(client: ssl.SSLContext) -> Refused:
    """Why the door refuses *client*."""
    with pytest.raises(ssl.SSLError) as caught:
        shake_hands(door_context(), client)
    return why(caught.value)


def test_a_good_device_gets_tls_1_3_and_is_known_by_its_certificate() -> None:
    """Both sides agree on TLS 1.3, and the door sees the very certificate."""
    ours, theirs = shake_hands(door_context(), device_context())
    assert ours.version() == theirs.version() == "TLSv1.3"
    assert ours.getpeercert(binary_form=True) == der(device_identity())


def test_tls_1_2_takes_ecdhe_with_aead_only() -> None:
    """Offered one by one, exactly the suites of RFC 9325 and ChaCha20 that fit an EC certificate are taken (C09)."""
    everything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    everything.set_ciphers("ALL:eNULL:@SECLEVEL=0")
    names = [cipher["name"] for cipher in everything.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    taken = set()
    for name in names:
        client = careless_context(device_identity())
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(f"{name}:@SECLEVEL=0")
        try:
            shake_hands(door_context(), client)
        except ssl.SSLError:
            continue
        taken.add(name)
    assert len(names) > 50
    assert taken == {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    }


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_older_versions_are_refused(version: ssl.TLSVersion) -> None:
    """TLS 1.0 and 1.1 find no common protocol (T04)."""
    client = careless_context(device_identity())
    client.maximum_version = version
    assert refusal(client) is Refused.NO_COMMON_PROTOCOL


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_no_tickets_no_compression_no_renegotiation() -> None:
    """Nothing of a session outlives its connection, and a client cannot make the door work by renegotiating."""
    context = door_context()
    assert context.num_tickets == 0
    for option in (ssl.OP_NO_TICKET, ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_CIPHER_SERVER_PREFERENCE):
        assert context.options & option


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (lambda: None, Refused.CERTIFICATE_MISSING),
        (lambda: stranger().issue("CT1"), Refused.CERTIFICATE_UNTRUSTED),
        (lambda: authority().issue("CT1", begins_in_days=-60), Refused.CERTIFICATE_EXPIRED),
        (lambda: authority().issue("CT1", begins_in_days=2), Refused.CERTIFICATE_NOT_YET_VALID),
        (lambda: authority().issue("CT1", usage=ExtendedKeyUsageOID.SERVER_AUTH), Refused.CERTIFICATE_PURPOSE),
        (lambda: authority().issue("CT1", key=weak_rsa_key()), Refused.CERTIFICATE_WEAK),
    ],
    ids=["missing", "foreign", "expired", "not yet valid", "server's", "rsa 1024"],
)
def test_bad_client_certificates_are_refused(identity, expected: Refused, version: ssl.TLSVersion) -> None:
    """Each kind of bad certificate ends the handshake, and is told apart for the trail (T07)."""
    client = careless_context(identity())
    client.minimum_version = client.maximum_version = version
    assert refusal(client) is expected


def test_a_sha_1_signature_is_refused(tmp_path: Path) -> None:
    """An authority that still signs with SHA-1 does not make devices good (T07)."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing: nothing else here signs with SHA-1")
    names = {name: tmp_path / name for name in ("ca.key", "ca.crt", "key", "csr", "crt")}
    names["ca.key"].write_bytes(key_pem(authority().key))
    names["ca.crt"].write_bytes(authority().pem)
    names["key"].write_bytes(device_identity().key)
    run = functools.partial(subprocess.run, check=True, capture_output=True)
    run([openssl, "req", "-new", "-key", names["key"], "-subj", "/CN=CT1", "-out", names["csr"]])
    signing = ["-CA", names["ca.crt"], "-CAkey", names["ca.key"], "-set_serial", "1", "-days", "9", "-sha1"]
    run([openssl, "x509", "-req", "-in", names["csr"], *signing, "-out", names["crt"]])
    client = careless_context(Identity(names["crt"].read_bytes(), device_identity().key))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refusal(client) is Refused.CERTIFICATE_WEAK


def test_a_caller_that_distrusts_us_is_told_apart() -> None:
    """A device with another authority's certificate refuses ours, which is its setting to mend."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = door_context().wrap_bio(to_server, to_client, server_side=True)
    client = client_context(device_identity(), Authority("another").pem)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (theirs, ours):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError):
        theirs.do_handshake()
    with pytest.raises(ssl.SSLError) as caught:
        ours.do_handshake()
    assert why(caught.value) is Refused.PEER_DISTRUSTS_US


@pytest.mark.parametrize(
    "first", [b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00ANY-SCP         ", b"GET / HTTP/1.1\r\n\r\n", bytes(64)]
)
def test_plain_text_on_a_tls_door_is_told_apart(first: bytes) -> None:
    """An A-ASSOCIATE-RQ or HTTP in clear text is no TLS."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = door_context().wrap_bio(to_server, to_client, server_side=True)
    to_server.write(first)
    with pytest.raises(ssl.SSLError) as caught:
        ours.do_handshake()
    assert why(caught.value) is Refused.NO_TLS


def test_times_and_hang_ups_are_told_apart() -> None:
    """What is not an error of TLS has its own code."""
    assert why(TimeoutError()) is Refused.HANDSHAKE_TIMEOUT
    assert why(ConnectionAbortedError()) is Refused.HANDSHAKE_TIMEOUT
    assert why(ConnectionResetError()) is Refused.HANDSHAKE_CLOSED
    assert why(OSError("?")) is Refused.HANDSHAKE_FAILED


def test_the_survey_needs_no_authority() -> None:
    """An unverified context sees the certificate of a door it knows nothing about."""
    server = door_context()
    server.verify_mode = ssl.CERT_NONE
    _, theirs = shake_hands(server, unverified_client_context())
    assert theirs.getpeercert(binary_form=True) == der(server_identity())


@pytest.mark.parametrize(
    ("identity", "authorities"),
    [
        (Identity(b"", b""), None),
        (Identity(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"no key"), None),
        (None, b"no certificate"),
        (None, b"\xff\xfe"),
    ],
)
def test_what_cannot_be_used_is_a_configuration_error(identity, authorities) -> None:
    """The operator is told, and no key is quoted."""
    with pytest.raises(ConfigurationError) as caught:
        server_context(identity or server_identity(), authorities or authority().pem)
    assert "key" not in str(caught.value) or "no key" not in str(caught.value)


def test_a_key_of_another_certificate_is_refused() -> None:
    """Certificate and key have to belong together."""
    with pytest.raises(ConfigurationError):
        server_context(Identity(server_identity().certificate, device_identity().key), authority().pem)


def test_the_key_is_not_shown() -> None:
    """Neither repr nor str of an identity holds the key (I7)."""
    assert "PRIVATE" not in repr(server_identity())


def test_fingerprints_are_sha_256_of_the_der() -> None:
    """The same as `openssl x509 -fingerprint -sha256`, in lower case and without colons."""
    assert fingerprint(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
