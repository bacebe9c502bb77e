"""
One piece of work beside another: a thread that flushes a pack while the statements of its group run.

A pool's futures, queues and conditions cost a lone sender as much as the flush saves. Here two locks hand over the work
and its end, so the thread that waits is woken once.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, final

from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@final
class Beside:
    """A thread with one piece of work at a time; used by one thread at a time."""

    __slots__ = ("_done", "_error", "_go", "_thread", "_work")

    def __init__(self, name: str) -> None:
        self._go = threading.Lock()
        self._done = threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._work: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @contextmanager
    def run(self, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """
        Do *work* beside the body, which is given what waits for it: that returns when the work is done and raises what
        it raised.

        The work has ended when this ends, also when the body failed before it waited.
        """
        waiting = True

        def done() -> None:
            nonlocal waiting
            waiting = False
            self._end()

        self._begin(work)
        try:
            yield done
        finally:
            if waiting:
                with suppress(StrongroomError):  # the body's own failure is on its way already
                    self._end()

    def _begin(self, work: Callable[[], None]) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self._work = work
        self._go.release()

    def _end(self) -> None:
        self._done.acquire()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def stop(self) -> None:
        """End the thread; nothing may be run afterwards."""
        self._work = None
        if self._thread.ident is not None:
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            work, self._work = self._work, None
            if work is None:
                return
            try:
                work()
            except BaseException as error:  # noqa: BLE001 -- it is raised where the end is waited for
                self._error = error
            self._done.release()
