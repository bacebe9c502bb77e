"""
What a peer can do wrong on this layer, with the answer it gets (PS3.8 §9.3.4, §9.3.8).

All of it is `RemoteProtocolError`: whoever drives an association catches that one type and sends
`Association.abort_pdu()`.
"""

from __future__ import annotations

from typing import final

from strongroom.errors import RemoteProtocolError
from strongroom.upper_layer.events import AbortReason, AssociateReject


class PduError(RemoteProtocolError):
    """A PDU that is unknown, malformed or out of place; *reason* is what our A-ABORT says."""

    def __init__(self, message: str, reason: AbortReason) -> None:
        super().__init__(message)
        self.reason = reason


@final
class PduTooLarge(PduError):  # noqa: N818 -- the numbers are the point, as in `PduTooLarge(length, limit)`
    """A PDU longer than announced or allowed, refused by its header alone."""

    def __init__(self, pdu_length: int, max_pdu_length: int) -> None:
        super().__init__(
            f"a PDU of {pdu_length} bytes; the limit is {max_pdu_length}", AbortReason.INVALID_PDU_PARAMETER_VALUE
        )
        self.pdu_length = pdu_length
        self.max_pdu_length = max_pdu_length


@final
class AssociationRefused(RemoteProtocolError):  # noqa: N818 -- said of the peer's request, not of ours
    """A request the provider itself cannot accept (PS3.8 table 9-7, AE-6); *reject* is what the peer is told."""

    def __init__(self, message: str, reject: AssociateReject) -> None:
        super().__init__(message)
        self.reject = reject
