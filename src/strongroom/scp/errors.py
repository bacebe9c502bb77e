"""What only the service class providers raise."""

from __future__ import annotations

from strongroom.errors import LocalProtocolError, MismatchError


class IdentifierError(MismatchError):
    """
    An identifier that does not match its information model (PS3.4 C.4.1.2, C.6); *offending_element* is the tag to
    look at.

    Raised and answered within this package. The sentence names tags, never values.
    """

    def __init__(self, message: str, offending_element: int) -> None:
        super().__init__(message)
        self.offending_element = offending_element


class BrokenOffError(LocalProtocolError):
    """A data set could not be sent to its end because its source failed; its association must be aborted."""
