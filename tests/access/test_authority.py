"""The small CA: what it issues is what TLS needs, and nothing more."""

from __future__ import annotations

import itertools
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from strongroom.access.authority import Authority, Revoked, ae_titles, renewal_due
from strongroom.access.identity import fingerprint
from strongroom.errors import ConfigurationError, ConflictError, IntegrityError

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
SECRET = bytes(range(32))


class Entropy:
    """A counter in place of randomness: every draw differs, every run is the same."""

    def __init__(self) -> None:
        self.draws = itertools.count(1)

    def __call__(self, count: int) -> bytes:
        digest = hashes.Hash(hashes.SHAKE256(count))
        digest.update(next(self.draws).to_bytes(8, "big"))
        return digest.finalize()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    """A clock that stands until it is set."""
    return Clock()


@pytest.fixture
def authority(tmp_path, clock):
    """A fresh CA in an empty folder."""
    return Authority.create(tmp_path, SECRET, clock=clock, entropy=Entropy())


def parse(pem: bytes) -> x509.Certificate:
    """Read a PEM certificate."""
    return x509.load_pem_x509_certificate(pem)


def verifier(authority: Authority, at: datetime = NOW):
    """A verifier that trusts this CA alone."""
    return PolicyBuilder().store(Store([parse(authority.certificate)])).time(at)


def test_the_authority_is_limited(authority):
    """The CA certificate may sign certificates and lists, no further CA, and holds for ten years on P-256."""
    own = parse(authority.certificate)

    assert (
        x509.BasicConstraints(ca=True, path_length=0)
        == own.extensions.get_extension_for_class(x509.BasicConstraints).value
    )
    usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert isinstance(own.public_key().curve, ec.SECP256R1)
    assert own.not_valid_after_utc == NOW + timedelta(days=3652)


def test_the_key_lies_encrypted_and_private(authority, tmp_path):
    """keys/ca.key opens with the derived password only, and nobody else may read the file."""
    sealed = (tmp_path / "ca.key").read_bytes()

    assert b"ENCRYPTED PRIVATE KEY" in sealed
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    assert serialization.load_pem_private_key(sealed, SECRET.hex().encode())
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(sealed, None)


def test_loading_gives_the_same_authority(authority, tmp_path, clock):
    """What was created is what opens, and what it issues verifies against the first certificate."""
    again = Authority.load(tmp_path, SECRET, clock=clock, entropy=Entropy())

    assert again.certificate == authority.certificate
    assert again.fingerprint == fingerprint(parse(authority.certificate).public_bytes(serialization.Encoding.DER))
    issued = parse(again.issue_device("CT1", "CT1").certificate)
    verifier(authority).build_client_verifier().verify(issued, [])


def test_loading_what_is_wrong(authority, tmp_path, clock):
    """Another master key, a foreign certificate, rubbish and a missing file are told apart."""
    with pytest.raises(IntegrityError, match="master key"):
        Authority.load(tmp_path, bytes(32), clock=clock, entropy=Entropy())
    other = tmp_path / "other"
    other.mkdir()
    entropy = Entropy()
    entropy(1)
    foreign = Authority.create(other, SECRET, clock=clock, entropy=entropy)
    (tmp_path / "ca.crt").write_bytes(foreign.certificate)
    with pytest.raises(IntegrityError, match="belong together"):
        Authority.load(tmp_path, SECRET, clock=clock, entropy=Entropy())
    (tmp_path / "ca.crt").write_bytes(b"rubbish")
    with pytest.raises(IntegrityError, match="not a certificate"):
        Authority.load(tmp_path, SECRET, clock=clock, entropy=Entropy())
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(ConfigurationError, match="backup"):
        Authority.load(tmp_path, SECRET, clock=clock, entropy=Entropy())


def test_an_authority_is_never_replaced(authority, tmp_path, clock):
    """Creating where one exists raises: every enrolled device would be locked out."""
    before = (tmp_path / "ca.key").read_bytes()
    with pytest.raises(ConflictError):
        Authority.create(tmp_path, SECRET, clock=clock, entropy=Entropy())
    assert (tmp_path / "ca.key").read_bytes() == before


def test_device_certificate(authority):
    """A device gets a client certificate with its AE title as a URI, for 398 days, and a key that belongs to it."""
    bundle = authority.issue_device("CT 1", "CT1 AE/2")
    issued = parse(bundle.certificate)

    assert ae_titles(bundle.certificate) == ("CT1 AE/2",)
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:strongroom:ae:CT1%20AE%2F2"]
    usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (issued.not_valid_before_utc, issued.not_valid_after_utc) == (bundle.not_before, bundle.expires)
    assert bundle.expires == NOW + timedelta(days=398)
    assert bundle.fingerprint == fingerprint(issued.public_bytes(serialization.Encoding.DER))
    assert bundle.serial == issued.serial_number > 0
    key = serialization.load_pem_private_key(bundle.key, None)
    assert key.public_key() == issued.public_key()
    assert bundle.authority == authority.certificate
    assert issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_device_certificate_is_no_server_and_no_authority(authority):
    """A device cannot pass for a server, nor sign for another device (T07)."""
    issued = parse(authority.issue_device("CT1", "CT1").certificate)

    with pytest.raises(VerificationError):
        verifier(authority).build_server_verifier(x509.DNSName("ct1.example")).verify(issued, [])
    at_end = verifier(authority, NOW + timedelta(days=399))
    with pytest.raises(VerificationError):
        at_end.build_client_verifier().verify(issued, [])


def test_a_destination_is_a_server_too(authority):
    """A device which takes C-MOVE transfers is verified under the host names it was given (C37)."""
    issued = parse(authority.issue_device("WS1", "WS1", hosts=["ws1.example"]).certificate)

    verifier(authority).build_client_verifier().verify(issued, [])
    verifier(authority).build_server_verifier(x509.DNSName("ws1.example")).verify(issued, [])


def test_server_certificate(authority):
    """The doors' certificate holds names and addresses, and is good as server and as client."""
    issued = parse(authority.issue_server(["localhost", "127.0.0.1", "::1"]).certificate)

    verifier(authority).build_server_verifier(x509.DNSName("localhost")).verify(issued, [])
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_tls_takes_what_was_issued(authority, tmp_path):
    """The bundle's files load into a TLS context as they are, and a handshake between device and door succeeds."""
    context = {}
    for side, bundle in (
        ("server", authority.issue_server(["localhost"])),
        ("client", authority.issue_device("CT1", "CT1")),
    ):
        (tmp_path / f"{side}.key").write_bytes(bundle.key)
        (tmp_path / f"{side}.crt").write_bytes(bundle.certificate)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side == "server" else ssl.PROTOCOL_TLS_CLIENT)
        made.load_cert_chain(tmp_path / f"{side}.crt", tmp_path / f"{side}.key")
        made.load_verify_locations(cadata=authority.certificate.decode())
        made.verify_mode = ssl.CERT_REQUIRED
        # The certificates begin at a fixed date in this test; what TLS checks against its own clock is not the question here.
        made.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME
        context[side] = made
    pipes = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    server = context["server"].wrap_bio(pipes[0], pipes[1], server_side=True)
    client = context["client"].wrap_bio(pipes[1], pipes[0], server_hostname="localhost")
    pending = [client, server]
    for _ in range(10):
        for end in list(pending):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(end)
    server_sees = server.getpeercert(binary_form=True)

    assert not pending
    assert server_sees == parse((tmp_path / "client.crt").read_bytes()).public_bytes(serialization.Encoding.DER)


def test_renewal_keeps_the_names_and_changes_the_key(authority, clock):
    """A renewed certificate says the same of a new key, from now on."""
    first = authority.issue_device("WS1", "WS1", hosts=["ws1.example"])
    clock.now = NOW + timedelta(days=300)
    second = authority.renew(first.certificate, days=398)

    for extension in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage):
        values = [parse(one.certificate).extensions.get_extension_for_class(extension).value for one in (first, second)]
        assert values[0] == values[1]
    assert parse(first.certificate).subject == parse(second.certificate).subject
    assert first.key != second.key
    assert first.serial != second.serial
    assert second.expires == NOW + timedelta(days=698)


def test_only_our_own_is_renewed(authority, tmp_path, clock):
    """A certificate of another CA of the same kind is not renewed."""
    other = tmp_path / "other"
    other.mkdir()
    entropy = Entropy()
    entropy(1)
    foreign = Authority.create(other, SECRET, clock=clock, entropy=entropy).issue_device("CT1", "CT1")
    with pytest.raises(ConfigurationError, match="not issued"):
        authority.renew(foreign.certificate, days=398)


def test_renewal_is_due_in_the_last_third():
    """Thirty days of ninety: time to renew before anybody is locked out."""
    begin, end = NOW, NOW + timedelta(days=90)
    assert not renewal_due(begin, end, NOW + timedelta(days=59))
    assert renewal_due(begin, end, NOW + timedelta(days=60))


def test_no_certificate_outlives_the_authority(authority, clock):
    """Near the CA's end certificates become shorter, and after it none is issued."""
    clock.now = authority.expires - timedelta(days=10)
    assert authority.issue_device("CT1", "CT1").expires == authority.expires
    clock.now = authority.expires
    with pytest.raises(ConfigurationError, match="expired"):
        authority.issue_device("CT1", "CT1")


@pytest.mark.parametrize(("name", "days", "hosts"), [("", 1, ()), ("x" * 65, 1, ()), ("CT1", 0, ()), ("CT1", 1, ("",))])
def test_what_a_certificate_cannot_say(authority, name, days, hosts):
    """Names and times outside RFC 5280 are refused with a sentence."""
    with pytest.raises(ConfigurationError):
        authority.issue_device(name, "CT1", days=days, hosts=hosts)
    with pytest.raises(ConfigurationError):
        authority.issue_server([])


def test_revocation_list(authority):
    """The list names the revoked serials, is signed by the CA and says when the next one comes."""
    bundle = authority.issue_device("CT1", "CT1")
    pem = authority.crl([Revoked(bundle.serial, NOW)], number=3)
    crl = x509.load_pem_x509_crl(pem)

    assert crl.is_signature_valid(parse(authority.certificate).public_key())
    assert [line.serial_number for line in crl] == [bundle.serial]
    assert crl.next_update_utc == NOW + timedelta(days=7)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    assert len(x509.load_pem_x509_crl(authority.crl([], number=4))) == 0


def test_the_key_is_not_shown(authority):
    """A bundle in a traceback or log does not show the private key."""
    assert "PRIVATE" not in repr(authority.issue_device("CT1", "CT1"))


def test_same_clock_and_randomness_give_the_same_bytes(tmp_path, clock):
    """Keys, serials and signatures come from what is passed in and nothing else."""
    made = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        made.append(Authority.create(folder, SECRET, clock=clock, entropy=Entropy()).issue_device("CT1", "CT1"))

    assert made[0] == made[1]
