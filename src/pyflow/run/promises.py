"""`Promise`: what the driver of a run keeps once, and any thread or loop may wait for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Promise"]


class Promise:
    """Kept once, by whoever made it. Those who wait for it cannot cancel it.

    A future of the standard library would do, but every run makes two or three,
    and nobody waits for most of them.
    """

    __slots__ = ("_error", "_guard", "_heirs", "is_kept")

    def __init__(self) -> None:
        self.is_kept = False
        self._error: BaseException | None = None
        self._guard = threading.Lock()
        self._heirs: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<Promise {'kept' if self.is_kept else 'open'}>"

    def keep(self, error: BaseException | None = None) -> None:
        """Let those who wait go on, or raise *error* there."""
        with self._guard:
            assert not self.is_kept, "a promise is kept once"
            self._error = error
            self.is_kept = True
            heirs, self._heirs = self._heirs, []
        for heir in heirs:
            heir()

    def then(self, heir: Callable[[], object]) -> None:
        """Have *heir* called once it is kept: on the thread that keeps it, or here where it is.

        It must not raise: others are called after it.
        """
        with self._guard:
            if not self.is_kept:
                self._heirs.append(heir)
                return
        heir()

    def forget(self, heir: Callable[[], object]) -> None:
        """Call *heir* no more, if that has not happened yet."""
        with self._guard:
            if heir in self._heirs:
                self._heirs.remove(heir)

    def wait(self, timeout_s: float | None = None) -> None:
        """Block until it is kept.

        Raises:
            TimeoutError: It is not, after *timeout_s* seconds.
        """
        if not self.is_kept:
            kept = threading.Event()
            self.then(kept.set)
            try:
                if not kept.wait(timeout_s):
                    raise TimeoutError
            finally:
                self.forget(kept.set)
        if self._error is not None:
            raise self._error

    def __await__(self) -> Generator[Any, None, None]:
        if not self.is_kept:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()

            def wake() -> None:
                if not waiter.done():
                    waiter.set_result(None)

            def kept() -> None:
                with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                    loop.call_soon_threadsafe(wake)

            self.then(kept)
            try:
                yield from waiter
            finally:
                self.forget(kept)
        self.wait()
