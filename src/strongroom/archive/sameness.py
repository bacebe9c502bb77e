"""
Is a second deposit of a SOP Instance UID the same content (I3)?

1. Equal SHA-256 of the data sets: the same.
2. Both in native syntaxes, and different ones: both are converted to explicit VR little endian in one normal form, and
   compared.
3. Anything else: not the same. A person decides; nothing is lost by asking.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from strongroom.archive.record import Record
from strongroom.dicom.convert import SyntaxConverter, can_convert
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from strongroom.errors import StrongroomError
from strongroom.ground.seal import WINDOW, Slot, associated_data, open_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.archive.acts import Arrival, DepositAct
    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow


def same_content(parts: Parts, earlier: InstanceRow | DepositAct, arrival: Arrival) -> bool:
    """Whether *arrival* brings what *earlier* brought; *earlier* is a row, or a deposit of the same group."""
    label = arrival.label
    digest, syntax = _digest_and_syntax(earlier)
    if digest == label.digest:
        return True
    if syntax == label.transfer_syntax_uid or arrival.lease is not None:
        return False
    if not (_native(syntax) and _native(label.transfer_syntax_uid)):
        return False
    try:
        return _normal_digest(_plain_of(parts, earlier), syntax) == _normal_digest(
            _plain_of_arrival(arrival), label.transfer_syntax_uid
        )
    except StrongroomError:
        return False


def _digest_and_syntax(earlier: InstanceRow | DepositAct) -> tuple[bytes, str]:
    arrival = getattr(earlier, "arrival", None)
    if arrival is not None:
        return arrival.label.digest, arrival.label.transfer_syntax_uid
    return earlier.digest, earlier.transfer_syntax_uid  # type: ignore[union-attr]


def _native(syntax: str) -> bool:
    return can_convert(syntax, EXPLICIT_VR_LITTLE_ENDIAN) or syntax == EXPLICIT_VR_LITTLE_ENDIAN


def _normal_digest(plain: Iterable[memoryview], syntax: str) -> bytes:
    """
    SHA-256 over the data set in implicit VR little endian as our converter writes it (lengths undefined, one form).

    Explicit VR is brought to implicit and not the other way: what implicit VR does not say cannot differ then.
    """
    digest = hashlib.sha256()
    via = SyntaxConverter(
        syntax, EXPLICIT_VR_LITTLE_ENDIAN if syntax == IMPLICIT_VR_LITTLE_ENDIAN else IMPLICIT_VR_LITTLE_ENDIAN
    )
    back = (
        SyntaxConverter(EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
        if syntax == IMPLICIT_VR_LITTLE_ENDIAN
        else None
    )
    for piece in plain:
        converted = via.feed(piece)
        digest.update(converted if back is None else back.feed(converted))
    rest = via.finish()
    digest.update(rest if back is None else back.feed(rest) + back.finish())
    return digest.digest()


def _plain_of(parts: Parts, earlier: InstanceRow | DepositAct) -> Iterable[memoryview]:
    arrival = getattr(earlier, "arrival", None)
    if arrival is not None:
        yield from _plain_of_arrival(arrival)
        return
    record = Record(parts, earlier)  # type: ignore[arg-type]
    for cover in record.windows(0, None, window=WINDOW):
        yield record.open(cover)


def _plain_of_arrival(arrival: Arrival) -> Iterable[memoryview]:
    sealed = b"".join(arrival.sealed)
    ad = associated_data(arrival.blob_id, arrival.key.key_id, Slot.DATA_SET)
    yield open_all(arrival.key.secret, ad, sealed)
