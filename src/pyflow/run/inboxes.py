"""What other processes ask of the runs of an engine, which looks for it now and then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyflow.errors import JournalError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from pyflow.run.commands import Message
    from pyflow.run.driver import Driver

__all__ = ["Inboxes"]

LOG = logging.getLogger("pyflow.inbox")
INBOX_S = 0.5
"""How often an engine looks for what other processes ask of its runs, in seconds."""


class Inboxes:
    """Looks for what is asked of runs, on each loop that has some.

    A run whose messages cannot be read goes on without them, and the log
    ``pyflow.inbox`` says so, once for each reason.
    """

    def __init__(
        self, pending: Callable[[str], Iterable[Message]], active: Mapping[str, Driver]
    ) -> None:
        self._pending = pending
        self._active = active
        self._unheard: dict[str, str] = {}
        self._timers: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.TimerHandle]
        self._timers = WeakKeyDictionary()
        self._closed = False

    def check(self, run_id: str) -> None:
        """Make sure that what was asked of a run can be read, before it is taken up.

        Raises:
            JournalError: A message is damaged.
        """
        self._pending(run_id)

    def attend(self, driver: Driver) -> None:
        """Take in what was asked of a run before, and from here on whatever is."""
        self._hear(driver)
        if driver.loop not in self._timers:
            self._look_later(driver.loop)

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take in what is asked of the runs on *loop*, now and again later."""
        if self._closed:
            return
        try:
            for driver in list(self._active.values()):  # other threads start and end runs meanwhile
                if driver.loop is loop:
                    self._hear(driver)
        finally:
            self._look_later(loop)

    def leave(self, driver: Driver, *, last: bool) -> None:
        """Listen no more for a run that is over, nor at all on its loop if it was the *last* there."""
        self._unheard.pop(driver.run_id, None)
        timer = self._timers.pop(driver.loop, None) if last else None
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Look no more; from any thread."""
        self._closed = True

    def _hear(self, driver: Driver) -> None:
        try:
            driver.take_in(self._pending(driver.run_id))
        except JournalError as error:  # whoever takes the run up next finds out as well
            why = driver.redactor.redact(str(error))
            if self._unheard.get(driver.run_id) != why:
                self._unheard[driver.run_id] = why
                LOG.warning("run %s cannot hear what is asked of it: %s", driver.run_id, why)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timers[loop] = loop.call_later(INBOX_S, self.look, loop)
