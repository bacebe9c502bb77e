"""
The small certificate authority of one archive (RFC 5280; PS3.15 B.12): it makes enrolling a device easier than
leaving a door open.

EC P-256 throughout. The CA key lies in keys/ca.key as PKCS #8, encrypted with a password derived from the master
key; keys/ca.crt is public. Clock and randomness are passed in; signatures are deterministic (RFC 6979).
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, final
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

CERTIFICATE_FILE: Final = "ca.crt"
KEY_FILE: Final = "ca.key"

AUTHORITY_DAYS: Final = 3652
"""Ten years: replacing the CA means visiting every device."""
DEVICE_DAYS: Final = 398
"""Thirteen months: a renewal a year with a month to spare."""
SERVER_DAYS: Final = 90
CRL_DAYS: Final = 7
"""C10: revocation reaches a verifier which knows only the list within a week; our own doors ask the register."""
BACKDATED: Final = timedelta(minutes=5)
"""How far a new certificate reaches back, so that a device whose clock is a little slow can use it at once."""

_CURVE_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the base point of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3)."""
_KEY_RANDOM: Final = 48
"""
Random bytes per key: 128 more bits than the order, so that the remainder is as good as uniform (FIPS 186-5 A.2.1).
"""
_SERIAL_RANDOM: Final = 16
_AE_URI: Final = "urn:strongroom:ae:"
_MAX_NAME: Final = 64
"""ub-common-name of RFC 5280 A.1."""


@final
@dataclass(frozen=True, slots=True)
class Bundle:
    """A key with its certificate, as files to hand over; the key is not kept by the archive for devices."""

    key: bytes = field(repr=False)
    """PEM, PKCS #8, not encrypted."""
    certificate: bytes
    """PEM."""
    authority: bytes
    """PEM of the CA."""
    fingerprint: str
    """SHA-256 of the certificate's DER, lower-case hex: what the device entry is bound to."""
    serial: int
    not_before: datetime
    expires: datetime


@final
@dataclass(frozen=True, slots=True)
class Revoked:
    """One line of the revocation list."""

    serial: int
    at: datetime


@final
class Authority:
    """The CA, opened: signs certificates of devices and doors, and the list of those no longer good."""

    __slots__ = ("_certificate", "_clock", "_entropy", "_key")

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self._entropy = entropy

    @classmethod
    def create(
        cls, keys: Path, secret: bytes, *, clock: Callable[[], datetime], entropy: Callable[[int], bytes]
    ) -> Authority:
        """
        Make a new CA and write it into the folder *keys*; raises ConflictError when there is one already.

        *secret* is derived from the master key for this purpose alone (32 bytes).
        """
        now = clock().replace(microsecond=0)
        key = _new_key(entropy)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Strongroom CA {entropy(4).hex()}")])
        builder = (
            _builder(name, name, key.public_key(), entropy)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
        )
        certificate = builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)
        encryption = serialization.BestAvailableEncryption(_password(secret))
        _write_new(keys / KEY_FILE, key.private_bytes(_PEM, _PKCS8, encryption))
        _write_new(keys / CERTIFICATE_FILE, certificate.public_bytes(_PEM))
        _flush_folder(keys)
        return cls(certificate, key, clock, entropy)

    @classmethod
    def load(
        cls, keys: Path, secret: bytes, *, clock: Callable[[], datetime], entropy: Callable[[int], bytes]
    ) -> Authority:
        """
        Open the CA in the folder *keys*.

        Raises ConfigurationError when a file is missing, and IntegrityError when the key does not open with *secret*
        or does not belong to the certificate.
        """
        try:
            sealed = (keys / KEY_FILE).read_bytes()
            public = (keys / CERTIFICATE_FILE).read_bytes()
        except FileNotFoundError as error:
            raise ConfigurationError(
                "the certificate authority is missing: keys/ca.key and keys/ca.crt have to be restored from a backup"
            ) from error
        try:
            key = serialization.load_pem_private_key(sealed, _password(secret))
        except (ValueError, TypeError) as error:
            raise IntegrityError("keys/ca.key does not open with this master key") from error
        try:
            certificate = x509.load_pem_x509_certificate(public)
        except ValueError as error:
            raise IntegrityError("keys/ca.crt is not a certificate") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise IntegrityError("keys/ca.key and keys/ca.crt do not belong together")
        return cls(certificate, key, clock, entropy)

    def write_key(self, path: Path, secret: bytes) -> None:
        """Write the CA's key to the new file *path*, sealed under another *secret*: for another master key."""
        encryption = serialization.BestAvailableEncryption(_password(secret))
        _write_new(path, self._key.private_bytes(_PEM, _PKCS8, encryption))

    @property
    def certificate(self) -> bytes:
        """The CA certificate, PEM: what every device and viewer has to trust."""
        return self._certificate.public_bytes(_PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA certificate, lower-case hex."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def expires(self) -> datetime:
        """When the CA itself ends; no certificate outlives it."""
        return self._certificate.not_valid_after_utc

    def issue_device(self, name: str, ae_title: str, *, days: int = DEVICE_DAYS, hosts: Iterable[str] = ()) -> Bundle:
        """
        Issue the certificate of an enrolled device, with a new key.

        *ae_title* becomes a URI among the alternative names. *hosts* are the names and addresses under which the
        device takes C-MOVE transfers over TLS; only with them is the certificate good for a server.
        """
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(_AE_URI + quote(ae_title, safe=""))]
        names += _host_names(hosts)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if len(names) > 1:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        return self._issue(name, names, usages, days)

    def issue_server(self, hosts: Iterable[str], *, name: str = "Strongroom", days: int = SERVER_DAYS) -> Bundle:
        """Issue the certificate of the archive's own doors; it is a client too, towards the destinations of C-MOVE."""
        names = _host_names(hosts)
        if not names:
            raise ConfigurationError("a door needs at least one host name or address in its certificate")
        return self._issue(name, names, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], days)

    def renew(self, certificate: bytes, *, days: int) -> Bundle:
        """
        Issue anew what *certificate* (PEM) says, with a new key; the old one stays good until it ends or is revoked.

        Raises ConfigurationError when it was not issued by this CA.
        """
        old = x509.load_pem_x509_certificate(certificate)
        try:
            old.verify_directly_issued_by(self._certificate)
        except Exception as error:  # InvalidSignature, ValueError and TypeError all say: not ours
            raise ConfigurationError("this certificate was not issued by the archive's own authority") from error
        names = list(old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        usages = list(old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        common = str(old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        return self._issue(common, names, usages, days)

    def crl(self, revoked: Iterable[Revoked], *, number: int, days: int = CRL_DAYS) -> bytes:
        """The revocation list (PEM). *number* has to grow with every list (RFC 5280 §5.2.3)."""
        now = self._clock().replace(microsecond=0)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now)
            .next_update(now + timedelta(days=days))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(_authority_identifier(self._certificate), critical=False)
        )
        for one in revoked:
            line = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.at)
            builder = builder.add_revoked_certificate(line.build())
        return builder.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(_PEM)

    def _issue(
        self, name: str, names: list[x509.GeneralName], usages: list[x509.ObjectIdentifier], days: int
    ) -> Bundle:
        if not 0 < len(name) <= _MAX_NAME:
            raise ConfigurationError(f"a name in a certificate has 1 to {_MAX_NAME} characters, not {len(name)}")
        if days < 1:
            raise ConfigurationError("a certificate has to hold for at least one day")
        now = self._clock().replace(microsecond=0)
        if now >= self.expires:
            raise ConfigurationError("the certificate authority itself has expired; a new one has to be made")
        key = _new_key(self._entropy)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        not_before, expires = now - BACKDATED, min(now + timedelta(days=days), self.expires)
        builder = (
            _builder(subject, self._certificate.subject, key.public_key(), self._entropy)
            .not_valid_before(not_before)
            .not_valid_after(expires)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_authority_identifier(self._certificate), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)
        return Bundle(
            key=key.private_bytes(_PEM, _PKCS8, serialization.NoEncryption()),
            certificate=certificate.public_bytes(_PEM),
            authority=self.certificate,
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            serial=certificate.serial_number,
            not_before=not_before,
            expires=expires,
        )


def renewal_due(not_before: datetime, expires: datetime, now: datetime) -> bool:
    """Whether the last third of a certificate's time has begun: when to renew, and when to begin to warn."""
    return now >= expires - (expires - not_before) / 3


def ae_titles(certificate: bytes) -> tuple[str, ...]:
    """The AE titles in the alternative names of a certificate (PEM): what `issue_device` put there."""
    parsed = x509.load_pem_x509_certificate(certificate)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return tuple(unquote(uri.removeprefix(_AE_URI)) for uri in uris if uri.startswith(_AE_URI))


_PEM: Final = serialization.Encoding.PEM
_PKCS8: Final = serialization.PrivateFormat.PKCS8


def _password(secret: bytes) -> bytes:
    """Hex, because a PKCS #8 password is text to every tool that may have to open the file by hand."""
    return secret.hex().encode("ascii")


def _new_key(entropy: Callable[[int], bytes]) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(entropy(_KEY_RANDOM), "big") % (_CURVE_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, entropy: Callable[[int], bytes]
) -> x509.CertificateBuilder:
    serial = int.from_bytes(b"\x01" + entropy(_SERIAL_RANDOM), "big")  # the 1 keeps it positive and of one length
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _host_names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if not host or not host.isascii():
                raise ConfigurationError(f"{host!r} is not a host name or address a certificate can hold") from None
            names.append(x509.DNSName(host))
    return names


def _write_new(path: Path, content: bytes) -> None:
    """Write a file which must not exist yet, private to the owner, and flush it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise ConflictError(f"keys/{path.name} is there already; a certificate authority is not replaced") from error
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
