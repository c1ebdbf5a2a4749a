"""How many tasks an engine runs at once, over all of its runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["Slots"]


class Waiter(Protocol):
    """A run that may want slots."""

    loop: asyncio.AbstractEventLoop

    def wake(self) -> None:
        """Have the run ask again."""
        ...


class Slots:
    """Hands out slots; those who go short are woken in the order in which they asked."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._guard = threading.Lock()
        self._short: dict[Waiter, None] = {}

    def __repr__(self) -> str:
        return f"<Slots free={self._free} of {self.total}>"

    def grant(self, waiter: Waiter, wanted: int) -> int:
        """Take up to *wanted* slots for *waiter*, and return how many it got."""
        if wanted <= 0:
            return 0
        with self._guard:
            if wanted <= self._free and not self._short:
                self._free -= wanted
                return wanted
            granted = min(self._free, wanted)
            self._free -= granted
            if granted < wanted:
                self._short.setdefault(waiter)
            else:
                self._short.pop(waiter, None)
            if self._free and self._short:
                self._wake_next()
            return granted

    def release(self, number: int = 1) -> None:
        """Give *number* slots back."""
        with self._guard:
            self._free += number
            if self._free and self._short:
                self._wake_next()

    def forget(self, waiter: Waiter) -> None:
        """Take *waiter*, which has ended, out of the queue."""
        with self._guard:
            self._short.pop(waiter, None)

    def _wake_next(self) -> None:
        waiter = next(iter(self._short))
        del self._short[waiter]
        if not waiter.loop.is_closed():
            waiter.loop.call_soon_threadsafe(waiter.wake)
