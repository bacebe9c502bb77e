"""Status values and their categories (PS3.7 Annex C; for the service classes PS3.4 B.2.3, C.4.1.1.4, C.4.2, C.4.3)."""

from __future__ import annotations

from enum import Enum
from typing import Final

SUCCESS: Final = 0x0000
CANCEL: Final = 0xFE00
PENDING: Final = 0xFF00
#: Pending, and at least one optional key was not supported for matching (PS3.4 C.4.1.1.4).
PENDING_OPTIONAL_KEYS: Final = 0xFF01

CLASS_INSTANCE_CONFLICT: Final = 0x0119
DUPLICATE_SOP_INSTANCE: Final = 0x0111
DUPLICATE_INVOCATION: Final = 0x0210
INVALID_ARGUMENT_VALUE: Final = 0x0115
INVALID_ATTRIBUTE_VALUE: Final = 0x0106
INVALID_SOP_INSTANCE: Final = 0x0117
MISSING_ATTRIBUTE: Final = 0x0120
MISSING_ATTRIBUTE_VALUE: Final = 0x0121
MISTYPED_ARGUMENT: Final = 0x0212
NO_SUCH_ACTION: Final = 0x0123
NO_SUCH_ATTRIBUTE: Final = 0x0105
NO_SUCH_EVENT_TYPE: Final = 0x0113
NO_SUCH_SOP_CLASS: Final = 0x0118
NO_SUCH_SOP_INSTANCE: Final = 0x0112
NOT_AUTHORIZED: Final = 0x0124
PROCESSING_FAILURE: Final = 0x0110
RESOURCE_LIMITATION: Final = 0x0213
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
UNRECOGNIZED_OPERATION: Final = 0x0211

#: Storage, find, get and move: refused, out of resources (PS3.4 B.2.3, C.4.1.1.4).
OUT_OF_RESOURCES: Final = 0xA700
#: Get and move: the matches cannot be counted, or the sub-operations cannot be performed (PS3.4 C.4.2.1.5, C.4.3.1.4).
UNABLE_TO_COUNT_MATCHES: Final = 0xA701
UNABLE_TO_PERFORM_SUBOPERATIONS: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
#: Storage: the data set does not match the SOP class; find, get and move: neither does the identifier.
DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
#: Storage: it is durable, but not as it was sent for (PS3.4 B.2.3).
COERCION_OF_DATA_ELEMENTS: Final = 0xB000
#: Get and move: complete, with one or more failures or warnings.
SUBOPERATIONS_WITH_FAILURES: Final = 0xB000

#: What is a warning without beginning with B (PS3.7 Annex C.3).
_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})


class Category(Enum):
    """The five kinds of status (PS3.7 Annex C)."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CANCEL = "cancel"
    PENDING = "pending"


def category(status: int) -> Category:
    """Return the kind of *status*; what the standard does not list counts as a failure."""
    if status == SUCCESS:
        return Category.SUCCESS
    if status in (PENDING, PENDING_OPTIONAL_KEYS):
        return Category.PENDING
    if status == CANCEL:
        return Category.CANCEL
    if status in _WARNINGS or status >> 12 == 0xB:
        return Category.WARNING
    return Category.FAILURE
