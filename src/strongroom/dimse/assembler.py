"""
From presentation data values to messages: which fragment belongs to what (PS3.7 §6.3.1, PS3.8 Annex E).

Rules, each one a RemoteProtocolError when broken:
1. a value comes on a presentation context that was accepted;
2. the fragments of a message are not interleaved with those of another, on whatever context;
3. a data set fragment comes only after a command that announced a data set, and on the same context;
4. a command comes only after the data set of the previous message has ended;
5. a command set is no longer than MAX_COMMAND_LENGTH.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Protocol, final

from strongroom.dimse import messages
from strongroom.dimse.command import MAX_COMMAND_LENGTH
from strongroom.errors import RemoteProtocolError


class ReceivedValue(Protocol):
    """A presentation data value as the upper layer hands it over (PS3.8 §9.3.5.1, Annex E.2)."""

    @property
    def context_id(self) -> int:
        """The presentation context ID."""

    @property
    def is_command(self) -> bool:
        """True for a command fragment, False for a data set fragment."""

    @property
    def is_last(self) -> bool:
        """True for the last fragment of the command or of the data set."""

    @property
    def data(self) -> memoryview:
        """The fragment's bytes."""


@final
@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A whole command set; when *has_data_set*, DataFragments on the same context follow until one is the last."""

    context_id: int
    message: messages.Message
    has_data_set: bool


@final
@dataclass(frozen=True, slots=True)
class DataFragment:
    """A piece of the data set of the last message; *data* is the view that came in, with that one's lifetime."""

    context_id: int
    data: memoryview
    last: bool


@final
class Assembler:
    """One association's received values, in order. A new one is made for each association."""

    __slots__ = ("_accepted", "_command", "_command_context", "_data_context")

    def __init__(self, accepted_contexts: Container[int] | None = None) -> None:
        """*accepted_contexts* None: the caller has checked the contexts already."""
        self._accepted = accepted_contexts
        self._command = bytearray()
        self._command_context: int | None = None
        self._data_context: int | None = None

    @property
    def in_message(self) -> bool:
        """True while a command or its data set has begun and not ended: a release now would cut it off."""
        return self._command_context is not None or self._data_context is not None

    def feed(self, value: ReceivedValue) -> tuple[()] | tuple[MessageReceived | DataFragment]:
        """Take the next received value and return what it completes, at most one event; called for every fragment."""
        if value.is_command:
            return self._feed_command(value)
        context_id = value.context_id
        if context_id != self._data_context:
            raise RemoteProtocolError(self._why_no_data(context_id))
        last = value.is_last
        data = value.data
        if last:
            self._data_context = None
        elif not data:
            return ()
        return (DataFragment(context_id, data, last),)

    def _feed_command(self, value: ReceivedValue) -> tuple[()] | tuple[MessageReceived]:
        """Collect a command set (rules 1, 2, 4 and 5)."""
        context_id = value.context_id
        if self._data_context is not None:
            raise RemoteProtocolError(f"a command on context {context_id} before the data set had ended")
        if self._command_context is None:
            if self._accepted is not None and context_id not in self._accepted:
                raise RemoteProtocolError(f"a command on context {context_id}, which was not accepted")
        elif self._command_context != context_id:
            raise RemoteProtocolError(f"a command on context {context_id} inside one on {self._command_context}")
        length = len(self._command) + len(value.data)
        if length > MAX_COMMAND_LENGTH:
            raise RemoteProtocolError(f"a command set of at least {length} bytes, the limit is {MAX_COMMAND_LENGTH}")
        if not value.is_last:
            self._command += value.data
            self._command_context = context_id
            return ()
        whole = self._command + value.data if self._command else value.data
        message, has_data_set = messages.decode(whole)
        self._command = bytearray()
        self._command_context = None
        if has_data_set:
            self._data_context = context_id
        return (MessageReceived(context_id, message, has_data_set),)

    def _why_no_data(self, context_id: int) -> str:
        """The sentence for a data fragment that has no place here (rules 1 to 3)."""
        if self._data_context is not None:
            return f"a data set fragment on context {context_id} inside one on {self._data_context}"
        if self._command_context is not None:
            return f"a data set fragment on context {context_id} before the command had ended"
        return f"a data set fragment on context {context_id} that no command announced"
