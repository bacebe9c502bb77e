"""
TLS as DICOM wants it (PS3.15 B.12, which takes over BCP 195; SECURITY C08-C10): contexts for our doors and our calls,
and what a failed handshake means.

TLS 1.2 with ECDHE and an AEAD cipher, or TLS 1.3; no session tickets, no compression, no renegotiation. Security
level 2 keeps RSA below 2048 bits and SHA-1 signatures out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

from strongroom.errors import ConfigurationError
from strongroom.transport.ends import Refused

CIPHERS: Final = (
    "@SECLEVEL=2:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""TLS 1.2: the four AES-GCM suites of RFC 9325 §4.2 first, then ChaCha20; those of TLS 1.3 are all AEAD and ECDHE."""

_OPTIONS: Final = (
    ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_ECDH_USE | ssl.OP_NO_SSLv3
)

_BY_VERIFY_CODE: Final = MappingProxyType(
    {
        9: Refused.CERTIFICATE_NOT_YET_VALID,  # X509_V_ERR_CERT_NOT_YET_VALID
        10: Refused.CERTIFICATE_EXPIRED,  # X509_V_ERR_CERT_HAS_EXPIRED
        26: Refused.CERTIFICATE_PURPOSE,  # X509_V_ERR_INVALID_PURPOSE
        66: Refused.CERTIFICATE_WEAK,  # X509_V_ERR_EE_KEY_TOO_SMALL
        67: Refused.CERTIFICATE_WEAK,  # X509_V_ERR_CA_KEY_TOO_SMALL
        68: Refused.CERTIFICATE_WEAK,  # X509_V_ERR_CA_MD_TOO_WEAK
    }
)

_BY_REASON: Final = MappingProxyType(
    {
        "TLSV1_ALERT_UNKNOWN_CA": Refused.PEER_DISTRUSTS_US,
        "SSLV3_ALERT_BAD_CERTIFICATE": Refused.PEER_DISTRUSTS_US,
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Refused.PEER_DISTRUSTS_US,
        "SSLV3_ALERT_CERTIFICATE_EXPIRED": Refused.PEER_DISTRUSTS_US,
        "PEER_DID_NOT_RETURN_A_CERTIFICATE": Refused.CERTIFICATE_MISSING,
        "CERTIFICATE_VERIFY_FAILED": Refused.CERTIFICATE_UNTRUSTED,
        "EE_KEY_TOO_SMALL": Refused.CERTIFICATE_WEAK,
        "WRONG_VERSION_NUMBER": Refused.NO_TLS,
        "HTTP_REQUEST": Refused.NO_TLS,
        "HTTPS_PROXY_REQUEST": Refused.NO_TLS,
        "UNKNOWN_PROTOCOL": Refused.NO_TLS,
        "WRONG_SSL_VERSION": Refused.NO_TLS,
        "UNSUPPORTED_PROTOCOL": Refused.NO_COMMON_PROTOCOL,
        "VERSION_TOO_LOW": Refused.NO_COMMON_PROTOCOL,
        "NO_SHARED_CIPHER": Refused.NO_COMMON_PROTOCOL,
        "NO_SUITABLE_SIGNATURE_ALGORITHM": Refused.NO_COMMON_PROTOCOL,
        "NO_SUITABLE_KEY_SHARE": Refused.NO_COMMON_PROTOCOL,
        "INAPPROPRIATE_FALLBACK": Refused.NO_COMMON_PROTOCOL,
        "NO_PROTOCOLS_AVAILABLE": Refused.NO_COMMON_PROTOCOL,
    }
)


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate (with what leads to its authority, if anything) and its key, both PEM, the key not encrypted."""

    certificate: bytes
    key: bytes = field(repr=False)


def server_context(identity: Identity, authorities: bytes) -> ssl.SSLContext:
    """
    Make the context of a DICOM door: shows *identity*, demands a client certificate issued by *authorities* (PEM).

    Raises ConfigurationError when one of them cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, authorities)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    _show(context, identity)
    return context


def web_context(identity: Identity, authorities: bytes) -> ssl.SSLContext:
    """
    Make the context of the web door: as a DICOM door, but a client may come without a certificate.

    One that is shown has to be issued by *authorities* (PEM), else the handshake fails. HTTP/1.1 is all that is
    offered (RFC 7301). No tickets: a handshake costs less than keys that would open yesterday's connections.
    Raises ConfigurationError when one of them cannot be used.
    """
    context = server_context(identity, authorities)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(identity: Identity | None, authorities: bytes, *, check_host: bool = True) -> ssl.SSLContext:
    """
    Make the context of a call to a peer whose certificate comes from *authorities* (PEM).

    Without *check_host* the caller has to compare the peer's certificate itself: a registered device is known by the
    fingerprint of its certificate, not by a host name.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, authorities)
    context.check_hostname = check_host
    context.verify_mode = ssl.CERT_REQUIRED
    if identity is not None:
        _show(context, identity)
    return context


def unverified_client_context(identity: Identity | None = None) -> ssl.SSLContext:
    """Make the context of the survey, which looks at doors whose authority it need not know."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, None)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        _show(context, identity)
    return context


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate's DER as lower-case hex."""
    return hashlib.sha256(certificate).hexdigest()


def why(error: BaseException) -> Refused:
    """The short code of a handshake that failed with *error*; called by the listener for each one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, Refused.CERTIFICATE_UNTRUSTED)
    if isinstance(error, ssl.SSLEOFError):
        return Refused.HANDSHAKE_CLOSED
    if isinstance(error, ssl.SSLError):
        return _BY_REASON.get(error.reason or "", Refused.HANDSHAKE_FAILED)
    if isinstance(error, TimeoutError | ConnectionAbortedError):  # uvloop aborts the connection when time is up
        return Refused.HANDSHAKE_TIMEOUT
    if isinstance(error, ConnectionError | BrokenPipeError):
        return Refused.HANDSHAKE_CLOSED
    return Refused.HANDSHAKE_FAILED


def _context(protocol: int, authorities: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    context.set_ciphers(CIPHERS)
    if authorities is not None:
        try:
            context.load_verify_locations(cadata=authorities.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError("the certificates of the authority cannot be read (PEM expected)") from error
    return context


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    with _as_file(identity.certificate + b"\n" + identity.key) as path:
        try:
            context.load_cert_chain(path, password=b"")  # never ask on a terminal
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError("certificate and key cannot be read, or do not belong together") from error


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that holds *content*: OpenSSL reads keys from files only. In memory where the system can (Linux)."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("identity", os.MFD_CLOEXEC)
        try:
            os.write(handle, content)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory() as folder:  # 0700
        path = Path(folder, "identity.pem")
        path.write_bytes(content)
        yield str(path)


__all__ = [
    "CIPHERS",
    "Identity",
    "client_context",
    "fingerprint",
    "server_context",
    "unverified_client_context",
    "web_context",
    "why",
]
