"""A second client (pynetdicom over TLS) that sends files as they are, byte by byte, also those a better client would not send."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path

import pydicom
from pydicom.uid import generate_uid
from pynetdicom import AE, _config
from pynetdicom.association import Association

from interop.harness import Archive, Bundle

NO_ANSWER = -1
"""In the place of a status: the association ended first."""


def associate(archive: Archive, bundle: Bundle, contexts: Iterable[tuple[str, str]]) -> Association:
    """An association over TLS that offers (SOP class, transfer syntax) pairs; raises ConnectionRefusedError."""
    context = ssl.create_default_context(cafile=bundle.authority)
    context.load_cert_chain(bundle.certificate, bundle.key)
    entity = AE(bundle.ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for sop_class, syntax in sorted(set(contexts)):
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate(
        "127.0.0.1", archive.port, ae_title="STRONGROOM", tls_args=(context, "localhost"), max_pdu=0
    )
    if not association.is_established:
        raise ConnectionRefusedError
    return association


def contexts_of(paths: Iterable[Path]) -> set[tuple[str, str]]:
    """What has to be offered to send *paths*."""
    found = set()
    for path in paths:
        meta = pydicom.filereader.read_file_meta_info(path)
        found.add((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))
    return found


def statuses(association: Association, paths: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Send each file over *association* and yield the status it was answered with."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    for path in paths:
        try:
            answer = association.send_c_store(path)
        except (RuntimeError, OSError):  # not established any more
            return
        if "Status" not in answer:
            yield path, NO_ANSWER
            return
        yield path, int(answer.Status)


def send(archive: Archive, bundle: Bundle, paths: list[Path]) -> list[int]:
    """The statuses of *paths*, sent over one association."""
    association = associate(archive, bundle, contexts_of(paths))
    try:
        return [status for _, status in statuses(association, paths)]
    finally:
        association.release()


def copies(source: Path, folder: Path, count: int, *, study: str | None = None, start: int = 0) -> list[Path]:
    """*count* images made of *source* under UIDs of their own, all of one study."""
    study, series = study or generate_uid(), generate_uid()
    made = []
    data_set = pydicom.dcmread(source)
    for number in range(start, start + count):
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data_set.InstanceNumber = str(number)
        path = folder / f"{study[-6:]}-{number:05d}.dcm"
        data_set.save_as(path)
        made.append(path)
    return made


def identity(path: Path) -> tuple[str, str, str]:
    """Study, Series and SOP Instance UID of a file."""
    data_set = pydicom.dcmread(path, stop_before_pixels=True)
    return str(data_set.StudyInstanceUID), str(data_set.SeriesInstanceUID), str(data_set.SOPInstanceUID)
