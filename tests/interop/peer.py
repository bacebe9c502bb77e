"""
The pynetdicom side of the tests: a client with a device's certificate, and a storage SCP that keeps the bytes it gets.

Nothing here decodes a data set: what goes out are the bytes of a file, what is kept are the bytes of the P-DATA.
"""

from __future__ import annotations

import contextlib
import itertools
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, _config, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
    register_uid,
)

from interop.corpus import Sample, data_set_bytes
from interop.harness import Bundle

FIND = {"patient": PatientRootQueryRetrieveInformationModelFind, "study": StudyRootQueryRetrieveInformationModelFind}
GET = {"patient": PatientRootQueryRetrieveInformationModelGet, "study": StudyRootQueryRetrieveInformationModelGet}
MOVE = {"patient": PatientRootQueryRetrieveInformationModelMove, "study": StudyRootQueryRetrieveInformationModelMove}

register_uid(
    "1.2.840.10008.5.1.4.1.1.6", "UltrasoundImageStorageRetired", StorageServiceClass
)  # an SCP needs to be told


@dataclass
class Kept:
    """What an SCP of ours received: the data set as it came, its transfer syntax, and a file made of both."""

    data_sets: dict[str, bytes] = field(default_factory=dict)
    syntaxes: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def take(self, event: evt.Event) -> int:
        """Handle a C-STORE."""
        uid = str(event.request.AffectedSOPInstanceUID)
        self.data_sets[uid] = event.request.DataSet.getvalue()
        self.syntaxes[uid] = str(event.context.transfer_syntax)
        self.files[uid] = event.encoded_dataset()
        return 0x0000


@contextlib.contextmanager
def bytes_as_they_are() -> Iterator[None]:
    """Let `send_c_store(path)` send what stands in the file; otherwise pynetdicom decodes and encodes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
        yield


def syntaxes_of(samples: Iterable[Sample]) -> list[PresentationContext]:
    """A presentation context for each pair of SOP class and transfer syntax among *samples*."""
    pairs = sorted({(sample.sop_class_uid, sample.transfer_syntax_uid) for sample in samples})
    return [build_context(sop_class, syntax) for sop_class, syntax in pairs]


def services() -> list[PresentationContext]:
    """C-ECHO, and find, get and move of both roots."""
    return [build_context(uid) for uid in (Verification, *FIND.values(), *GET.values(), *MOVE.values())]


@contextlib.contextmanager
def associated(
    bundle: Bundle, port: int, contexts: list[PresentationContext], *, keep: Kept | None = None
) -> Iterator[Association]:
    """An association over TLS with the certificate of *bundle*; with *keep* it takes the C-STOREs of a C-GET."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=bundle.authority)
    context.load_cert_chain(bundle.certificate, bundle.key)
    entity = AE(ae_title=bundle.ae_title)
    entity.maximum_pdu_size = 131_072
    storage = [one for one in contexts if one.abstract_syntax.startswith("1.2.840.10008.5.1.4.1.1.")]
    roles = {one.abstract_syntax: build_role(one.abstract_syntax, scp_role=True) for one in storage if keep is not None}
    association = entity.associate(
        "localhost",
        port,
        contexts=contexts,
        ae_title="STRONGROOM",
        max_pdu=131_072,
        ext_neg=list(roles.values()),
        evt_handlers=[(evt.EVT_C_STORE, keep.take)] if keep is not None else [],
        tls_args=(context, "localhost"),
    )
    assert association.is_established
    try:
        yield association
    finally:
        association.release()
        association.join(10)


@contextlib.contextmanager
def storage_scp(bundle: Bundle, port: int, contexts: list[PresentationContext]) -> Iterator[Kept]:
    """A destination of C-MOVE over TLS that takes *contexts*."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=bundle.authority)
    context.load_cert_chain(bundle.certificate, bundle.key)
    context.verify_mode = ssl.CERT_REQUIRED
    entity = AE(ae_title=bundle.ae_title)
    entity.maximum_pdu_size = 131_072
    for one in contexts:
        entity.add_supported_context(one.abstract_syntax, one.transfer_syntax)
    kept = Kept()
    server = entity.start_server(
        ("localhost", port), block=False, ssl_context=context, evt_handlers=[(evt.EVT_C_STORE, kept.take)]
    )
    assert server is not None
    try:
        yield kept
    finally:
        server.shutdown()


def identifier(level: str, keys: dict[str, str]) -> Dataset:
    """An identifier with *keys* by keyword; a key of a sequence is written Sequence.Key."""
    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        sequence, _, inner = keyword.rpartition(".")
        if sequence:
            item = Dataset()
            setattr(item, inner, value)
            setattr(made, sequence, Sequence([item]))
        else:
            setattr(made, keyword, value)
    return made


def write(folder: Path, kept: Kept) -> dict[str, Path]:
    """The files of *kept*, by SOP Instance UID."""
    folder.mkdir()
    paths = {uid: folder / f"{uid}.dcm" for uid in kept.files}
    for uid, path in paths.items():
        path.write_bytes(kept.files[uid])
    return paths


def abort_in_the_middle(association: Association, sample: Sample) -> None:
    """Begin to store *sample*, send some fragments of its data set, and abort."""
    (context,) = association.accepted_contexts
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sample.sop_class_uid, sample.sop_instance_uid
    request.DataSet = BytesIO(data_set_bytes(sample.path))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    assert context.context_id is not None
    for fragment in itertools.islice(message.encode_msg(context.context_id, 16_384), 20):
        association.dul.send_pdu(fragment)
    association.abort()
