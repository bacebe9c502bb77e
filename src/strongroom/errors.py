"""
The root of everything Strongroom raises on purpose; the type says who must act.

A message may name numbers, tags and our own identifiers; it never contains a value out of a data set (invariant I7).
"""

from __future__ import annotations


class StrongroomError(Exception):
    """Anything raised on purpose."""


class RemoteProtocolError(StrongroomError):
    """The peer broke a rule of the standard; the association or request ends."""


class LocalProtocolError(StrongroomError):
    """We were about to break a rule of the standard: a bug of ours."""


class DataSetError(RemoteProtocolError):
    """A data set is not structurally whole or exceeds a documented limit; it is never stored with success (I4)."""


class UnsupportedSyntaxError(DataSetError):
    """The transfer syntax is none in which a data set can be read (PS3.5 Annex A)."""


class MismatchError(RemoteProtocolError):
    """The data set does not belong to the request: SOP class or instance UID differ (PS3.4 B.2.3, status A900)."""


class UnsupportedClassError(MismatchError):
    """The SOP class is none that this caller may store (PS3.4 §B.5, PS3.18 Table I.2-2)."""


class AccessDenied(StrongroomError):  # noqa: N818 -- the word of DESIGN and of every front door
    """The caller may not do this; *reason* is our short code for the trail, never shown to the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ErasedError(AccessDenied):
    """What came in belongs to a study that was erased; a person has to let it come again first."""

    def __init__(self) -> None:
        super().__init__("erased")


class NotFound(StrongroomError):  # noqa: N818 -- answers exactly like AccessDenied to the outside
    """Nothing there, or nothing there for this caller: the two are not told apart."""


class IntegrityError(StrongroomError):
    """The medium returned something else than was written, or a key does not open what it should."""


class OutOfResources(StrongroomError):  # noqa: N818 -- the standard's word (status A700)
    """The medium cannot take more: full, read-only after a failed flush, or over a quota."""


class ConfigurationError(StrongroomError):
    """The operator must change something; the sentence says what."""


class ConflictError(StrongroomError):
    """What was asked contradicts what is there (a name taken, a home in use)."""


class HomeInUseError(ConflictError):
    """Another process holds the lock of the home (one writer)."""


class JobImpossible(StrongroomError):  # noqa: N818 -- as NotFound
    """A job in the background can never be done: no further attempt."""


class JobCancelled(StrongroomError):  # noqa: N818 -- as NotFound
    """Somebody cancelled a job in the background."""
