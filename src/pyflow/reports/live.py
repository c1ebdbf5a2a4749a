"""A live display that needs nothing but a terminal: one line, written anew, below what stays."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, TextIO

from pyflow.record.rendering import columns_of, fitted
from pyflow.reports.above import Prints
from pyflow.reports.looks import words_of
from pyflow.run.states import TASK_SETTLED
from pyflow.spans import worded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.protocols import Clock
    from pyflow.record.outline import Outline

__all__ = ["LiveLine", "Painter", "done_of", "elapsed_of", "titled", "under_way"]

BAR_COLUMNS = 24
NAME_COLUMNS_MAX = 24
TICK_S = 1.0
COLUMNS = 80
COLOURS = (("good", "32"), ("bad", "31"), ("doubt", "33"), ("back", "35"), ("busy", "36"))
UNDER_WAY = ("running", "undoing")


class Painter:
    """Writes to a stream what it can hold, in colours if it has them; what fails is left out."""

    def __init__(self, stream: TextIO, *, colours: bool) -> None:
        self._stream = stream
        self.colours = colours

    def write(self, text: str) -> None:
        """Write *text* at once."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # the reader has gone, or the stream is closed
            return

    def painted(self, text: str, look: str) -> str:
        """Return *text* in the colour of *look*."""
        code = dict(COLOURS).get(look)
        return f"\033[{code}m{text}\033[0m" if code is not None and self.colours else text

    @property
    def bars(self) -> tuple[str, str]:
        """What a full and an empty piece of a bar are, where the stream has such characters."""
        encoding = (getattr(self._stream, "encoding", None) or "utf-8").lower()
        return ("━", "─") if encoding.startswith("utf") else ("#", "-")

    @property
    def columns(self) -> int:
        """How many columns the terminal has."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or COLUMNS
        except (OSError, ValueError):
            return COLUMNS


class LiveLine:
    """One line that says how far the run is that moved last, and what is under way in it.

    What the process prints meanwhile appears above it.
    """

    is_live = True

    def __init__(self, painter: Painter, *, clock: Clock, tick_s: float = TICK_S) -> None:
        self._painter = painter
        self._clock = clock
        self._tick_s = tick_s
        self._guard = threading.RLock()
        self._runs: Mapping[str, Outline] = {}
        self._idle: threading.Event | None = None
        self._prints = Prints(self._print)

    def line(self, text: str, *, look: str = "") -> None:
        """Show *text* for good, above the line that moves."""
        with self._guard:
            self._painter.write(f"\r\033[K{self._painter.painted(text, look)}\n{self._now()}")

    def show(self, runs: Mapping[str, Outline]) -> None:
        """Show how *runs* stand."""
        with self._guard:
            was_idle, self._runs = not self._runs, dict(runs)
            if was_idle and not runs:
                return
            self._painter.write(f"\r\033[K{self._now()}")
            if was_idle:
                self._prints.take()
                self._idle = threading.Event()
                name = "pyflow-progress"
                threading.Thread(
                    target=self._tick, args=(self._idle,), name=name, daemon=True
                ).start()
            elif not runs and self._idle is not None:
                self._idle.set()
                self._prints.give_back()

    def _print(self, stream: TextIO, text: str) -> None:
        """Have *stream* show *text*, whole lines that something else has printed, above the line."""
        with self._guard:
            self._painter.write("\r\033[K")
            stream.write(text)
            stream.flush()
            self._painter.write(self._now())

    def _tick(self, idle: threading.Event) -> None:
        """Let the time go on until nothing is under way."""
        while not idle.wait(self._tick_s):
            with self._guard:
                self._painter.write(f"\r\033[K{self._now()}")

    def _now(self) -> str:
        """Return the line as it is now, cut to the terminal."""
        if not self._runs:
            return ""
        outline = list(self._runs.values())[-1]
        done, whole = done_of(outline)
        full, empty = self._painter.bars
        filled = BAR_COLUMNS * done // max(whole, 1)
        name = titled(outline)
        others = f"  and {len(self._runs) - 1} more" if len(self._runs) > 1 else ""
        tail = f" {done}/{whole}  {elapsed_of(outline, self._clock)}{others}  "
        room = self._painter.columns - columns_of(name) - BAR_COLUMNS - columns_of(tail) - 2
        doing = fitted(", ".join(under_way(outline)), room) if room > 1 else ""
        look = "back" if outline.status == "rolling_back" else "busy"
        bar = self._painter.painted(full * filled, look) + empty * (BAR_COLUMNS - filled)
        return f"{name} {bar}{tail}{doing}"


def titled(outline: Outline) -> str:
    """Return what runs, and what is done with it where that is not the usual."""
    name = fitted(outline.start.workflow if outline.start else "run", NAME_COLUMNS_MAX)
    return name if outline.status == "running" else f"{name}: {words_of(outline.status)}"


def done_of(outline: Outline) -> tuple[int, int]:
    """Return how many tasks have settled, and how many there are."""
    statuses = [task.status for task in outline.tasks.values()]
    return sum(status in TASK_SETTLED for status in statuses), len(statuses)


def under_way(outline: Outline) -> list[str]:
    """Return the tasks that are worked on."""
    return [name for name, task in outline.tasks.items() if task.status in UNDER_WAY]


def elapsed_of(outline: Outline, clock: Clock) -> str:
    """Return how long ago the run began."""
    if outline.started is None:
        return ""
    passed_s = round((clock.now() - outline.started).total_seconds())
    return worded(passed_s) if passed_s > 0 else "0s"
