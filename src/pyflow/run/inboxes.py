"""Listening: what other processes ask of the runs of an engine, looked for now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyflow.errors import JournalError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from pyflow.run.commands import Message
    from pyflow.run.driver import Driver

__all__ = ["Inboxes"]

INBOX_S = 0.5
"""How often an engine looks for what other processes ask of its runs, in seconds."""


class Inboxes:
    """Looks for what is asked of runs, on each loop that has some."""

    def __init__(
        self, pending: Callable[[str], Iterable[Message]], active: Mapping[str, Driver]
    ) -> None:
        self._pending = pending
        self._active = active
        self._timers: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.TimerHandle]
        self._timers = WeakKeyDictionary()

    def attend(self, driver: Driver) -> None:
        """Take in what was asked of a run before, and from here on whatever is.

        Raises:
            JournalError: A message is damaged.
        """
        driver.take_in(self._pending(driver.run_id))
        if driver.loop not in self._timers:
            self._look_later(driver.loop)

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take in what is asked of the runs on *loop*, now and again later."""
        for driver in [driver for driver in self._active.values() if driver.loop is loop]:
            try:
                driver.take_in(self._pending(driver.run_id))
            except JournalError as error:  # whoever takes the run up next finds out as well
                driver.hear_nothing(error)
        self._look_later(loop)

    def leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look no more on *loop*, where no run is left."""
        timer = self._timers.pop(loop, None)
        if timer is not None:
            timer.cancel()

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timers[loop] = loop.call_later(INBOX_S, self.look, loop)
