"""
A small world for the transport: an authority with good and bad certificates, a handler, and a listener on loopback.

Ports are ephemeral, on 127.0.0.0/8, and closed when the test ends; deadlines are short.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.dimse import CEchoRequest, CEchoResponse, CStoreRequest, CStoreResponse, DataFragment, MessageReceived
from strongroom.transport import (
    REFUSAL,
    Admission,
    Callee,
    Conversation,
    Deadlines,
    Door,
    Identity,
    Listener,
    Peer,
    Quota,
    Refused,
    Rules,
    association_request,
    client_context,
    connect,
    server_context,
)
from strongroom.upper_layer import AssociateReject, AssociateRequest, Support, negotiate, number_contexts
from wire import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, VERIFICATION

LOOPBACK = "127.0.0.1"
TODAY = date(2026, 6, 1)
CONTEXTS = number_contexts([(VERIFICATION, (IMPLICIT,)), (CT_IMAGE_STORAGE, (EXPLICIT, IMPLICIT))])
SUPPORTED = {VERIFICATION: Support((IMPLICIT,)), CT_IMAGE_STORAGE: Support((EXPLICIT, IMPLICIT))}
QUICK = Deadlines(
    handshake_seconds=0.4,
    associate_seconds=0.6,
    close_seconds=0.4,
    release_seconds=0.6,
    stall_seconds=0.4,
    grace_seconds=0.2,
    tick_seconds=0.02,
)
ECHO, STORE = 1, 3
"""The presentation contexts of CONTEXTS."""


def aio(test):
    """Run an asynchronous test on uvloop; what hangs fails."""

    @functools.wraps(test)
    def wrapper(*args, **kwargs):
        async def bounded():
            async with asyncio.timeout(20):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bounded())

    return wrapper


async def until(condition, seconds: float = 5) -> None:
    """Return once *condition* holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- conditions of all kinds
            await asyncio.sleep(0.005)


# ----------------------------------------------------------------------------------------------------------- certificates
def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key) -> bytes:
    """PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """A certificate authority that also issues what it should not."""

    def __init__(self, name: str = "test authority") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = _pem(self.certificate)

    def issue(
        self,
        name: str,
        *,
        key=None,
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        begins_in_days: float = -1,
        days: float = 30,
        digest=hashes.SHA256,
    ) -> Identity:
        """A certificate of this authority; the defaults make a good client."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        begin = datetime.now(UTC) + timedelta(days=begins_in_days)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self.key, digest())
        )
        return Identity(_pem(certificate), key_pem(key))


@functools.cache
def authority() -> Authority:
    """The authority our doors trust."""
    return Authority()


@functools.cache
def stranger() -> Authority:
    """An authority they do not trust, of the same name."""
    return Authority()


@functools.cache
def server_identity() -> Identity:
    """What our doors show."""
    return authority().issue("archive", usage=ExtendedKeyUsageOID.SERVER_AUTH)


@functools.cache
def device_identity(name: str = "CT1") -> Identity:
    """What a good device shows."""
    return authority().issue(name)


def weak_rsa_key():
    """An RSA key of 1024 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def der(identity: Identity) -> bytes:
    """The certificate of *identity* as it crosses the wire."""
    return ssl.PEM_cert_to_DER_cert(identity.certificate.decode())


def door_context() -> ssl.SSLContext:
    """The TLS of our doors."""
    return server_context(server_identity(), authority().pem)


def device_context(identity: Identity | None = None) -> ssl.SSLContext:
    """The TLS of a good device."""
    return client_context(identity or device_identity(), authority().pem)


def careless_context(identity: Identity | None = None) -> ssl.SSLContext:
    """The TLS of somebody who sends whatever there is, however weak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    if identity is not None:
        import tempfile

        with tempfile.NamedTemporaryFile() as file:
            file.write(identity.certificate + identity.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


# ---------------------------------------------------------------------------------------------------------------- handler
@dataclass
class Desk:
    """A handler that lets everybody in who calls itself a CT, echoes and stores."""

    requests: list[AssociateRequest] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    """SHA-256 of each data set."""
    ends: list[BaseException | None] = field(default_factory=list)
    """How each association ended for whoever served it."""
    declined: int = 0
    serving: int = 0
    most: int | None = None
    idle_seconds: float | None = None
    max_pdu_length: int = 131_072
    hook: object = None
    """Called with the conversation and each message instead of answering it."""

    async def admit(self, request: AssociateRequest, peer: Peer) -> Admission | AssociateReject:
        self.requests.append(request)
        self.peers.append(peer)
        if not request.calling_ae_title.startswith("CT"):
            return REFUSAL
        accept = negotiate(request, SUPPORTED, max_pdu_length=self.max_pdu_length)
        return Admission(accept, self.serve, request.calling_ae_title, self.most, self.idle_seconds, self._decline)

    def _decline(self) -> None:
        self.declined += 1

    async def serve(self, conversation: Conversation) -> None:
        self.serving += 1
        try:
            await self._serve(conversation)
        except BaseException as error:
            self.ends.append(error)
            raise
        else:
            self.ends.append(None)
        finally:
            self.serving -= 1

    async def _serve(self, conversation: Conversation) -> None:
        while (event := await conversation.receive()) is not None:
            assert isinstance(event, MessageReceived)
            message = event.message
            if self.hook is not None:
                await self.hook(conversation, event)
            elif isinstance(message, CEchoRequest):
                answer = CEchoResponse(message_id_being_responded_to=message.message_id, status=0)
                await conversation.send(event.context_id, answer)
            elif isinstance(message, CStoreRequest):
                self.stored.append(await receive_data(conversation))
                answer = CStoreResponse(message_id_being_responded_to=message.message_id, status=0)
                await conversation.send(event.context_id, answer)


async def receive_data(conversation: Conversation) -> str:
    """Take a data set to its end; its SHA-256."""
    digest = hashlib.sha256()
    while True:
        fragment = await conversation.receive()
        assert isinstance(fragment, DataFragment)
        digest.update(fragment.data)
        if fragment.last:
            return digest.hexdigest()


@dataclass
class House:
    """A listener with one door."""

    listener: Listener
    desk: Desk
    port: int
    refused: list[Refused]
    peers: list[Peer]

    def callee(self, **changes: object) -> Callee:
        return replace(Callee(LOOPBACK, self.port, device_context(), "localhost"), **changes)

    async def call(self, calling: str = "CT1", **options: object) -> Conversation:
        """Associate as a good device."""
        request = association_request(called="STRONGROOM", calling=calling, contexts=CONTEXTS)
        return await connect(self.callee(**options.pop("callee", {})), request, **options)

    async def raw(self, context: ssl.SSLContext | None = None, source: str = LOOPBACK):
        """A bare connection; with *context* after the handshake."""
        options = {} if context is None else {"ssl": context, "server_hostname": "localhost"}
        return await asyncio.open_connection(LOOPBACK, self.port, local_addr=(source, 0), **options)


@asynccontextmanager
async def house(
    *,
    tls: bool = True,
    deadlines: Deadlines = QUICK,
    quota: Quota | None = None,
    desk: Desk | None = None,
    known_knock=None,
    **door: object,
) -> AsyncIterator[House]:
    """A listener with one door on an ephemeral port of loopback."""
    desk = desk or Desk()
    refused: list[Refused] = []
    peers: list[Peer] = []

    def report(peer: Peer, reason: Refused) -> None:
        peers.append(peer)
        refused.append(reason)

    options = {} if known_knock is None else {"known_knock": known_knock}
    rules = Rules(deadlines=deadlines, quota=quota or Quota(longest_delay_seconds=0.0, first_delay_seconds=0.0))
    listener = Listener(desk, today=lambda: TODAY, rules=rules, refused=report, **options)
    port = await listener.open(Door("door", LOOPBACK, 0, door_context() if tls else None, **door))
    try:
        yield House(listener, desk, port, refused, peers)
    finally:
        await listener.stop(0.2)


async def echo(conversation: Conversation, message_id: int = 1) -> int:
    """C-ECHO; its status."""
    await conversation.send(ECHO, CEchoRequest(message_id=message_id, affected_sop_class_uid=VERIFICATION))
    answer = await conversation.receive()
    assert isinstance(answer, MessageReceived)
    assert isinstance(answer.message, CEchoResponse)
    return answer.message.status


async def store(conversation: Conversation, data, message_id: int = 1) -> int:
    """C-STORE; its status."""
    request = CStoreRequest(
        message_id=message_id, affected_sop_class_uid=CT_IMAGE_STORAGE, affected_sop_instance_uid="1.2.3"
    )
    await conversation.send(STORE, request, data)
    answer = await conversation.receive()
    assert isinstance(answer, MessageReceived)
    assert isinstance(answer.message, CStoreResponse)
    return answer.message.status
