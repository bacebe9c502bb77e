"""What the keepers' tools say of something kept aside: UIDs, sender, times and sizes, never a value of a data set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.access.policy import MIN_WRITTEN_REASON, is_written_reason
from strongroom.errors import AccessDenied
from strongroom.register import decisions

if TYPE_CHECKING:
    import apsw

    from strongroom.access.policy import Actor
    from strongroom.register.kept import KeptBlob

__all__ = ["MAX_LISTED", "decision_of", "kept_of", "require_reason"]

MAX_LISTED: Final = 1_000
"""Entries of one list: who decides, shortens it."""


def kept_of(kept: KeptBlob) -> dict[str, Any]:
    """A sealed data set or file."""
    return {
        "sop_instance_uid": kept.sop_instance_uid,
        "sop_class_uid": kept.sop_class_uid,
        "series_instance_uid": kept.series_instance_uid,
        "study_instance_uid": kept.study_instance_uid,
        "transfer_syntax_uid": kept.transfer_syntax_uid,
        "device": kept.device,
        "received": _when(kept.received_at),
        "bytes": kept.plain_length,
        "sha256": kept.digest.hex(),
    }


def decision_of(connection: apsw.Connection, number: int | None) -> dict[str, Any]:
    """The decision, None as long as there is none."""
    found = None if number is None else decisions.find(connection, number)
    if found is None:
        return {"decision": None}
    told = {"outcome": found.verdict.value, "when": _when(found.at), "who": found.actor, "reason": found.reason}
    return {"decision": told}


def require_reason(actor: Actor) -> None:
    """Raise AccessDenied unless *actor* has written down why."""
    if not is_written_reason(actor.written_reason):
        raise AccessDenied(
            f"a decision needs a written reason: --reason, a word of {MIN_WRITTEN_REASON} characters at least; it"
            " stands in the trail"
        )


def _when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")
