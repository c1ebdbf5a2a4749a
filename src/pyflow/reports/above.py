"""What is printed while a line moves at the bottom of a terminal: it stays, above that line."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Above", "Prints"]

NAMES = ("stdout", "stderr")


class Above:
    """Stands for a stream of a terminal, and hands on whole lines."""

    def __init__(self, stream: TextIO, hand_on: Callable[[TextIO, str], None]) -> None:
        self.stream = stream
        self._hand_on = hand_on
        self._guard = threading.Lock()
        self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str, /) -> int:
        """Write what *text* ends of lines, and keep the rest until its line ends too."""
        with self._guard:
            whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._hand_on(self.stream, whole + newline)
        return len(text)

    def flush(self) -> None:
        """Write what is kept, as a line."""
        with self._guard:
            rest, self._rest = self._rest, ""
        if rest:
            self._hand_on(self.stream, f"{rest}\n")


class Prints:
    """Has what the process prints to terminals handed on, from `take` until `give_back`."""

    def __init__(self, hand_on: Callable[[TextIO, str], None]) -> None:
        self._hand_on = hand_on
        self._taken: dict[str, Above] = {}

    def take(self) -> None:
        """Have each standard stream that is a terminal hand on what it is told to write."""
        for name in NAMES:
            stream = cast("TextIO | None", getattr(sys, name))
            if stream is not None and stream.isatty():
                self._taken[name] = Above(stream, self._hand_on)
                setattr(sys, name, self._taken[name])

    def give_back(self) -> None:
        """Have the standard streams be what they were, unless they are something else by now."""
        for name, above in self._taken.items():
            above.flush()
            if getattr(sys, name) is above:
                setattr(sys, name, above.stream)
        self._taken.clear()
