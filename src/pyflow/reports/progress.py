"""How runs get on, told while they do: live on a terminal, a line for each step everywhere else.

A display is handed a `Run` and follows its records, so it shows what is on
record and nothing else. What it cannot write it leaves out: a run never
suffers from somebody looking on.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, TextIO, cast

from pyflow.clock import SystemClock
from pyflow.record import events as ev
from pyflow.record.outline import Outline
from pyflow.record.rendering import table_of
from pyflow.reports.live import LiveLine, Painter, done_of
from pyflow.run.states import RUN_ENDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.protocols import Clock
    from pyflow.record.codec import Record
    from pyflow.run.handle import Run

__all__ = ["TOLD", "Display", "Progress", "line_of", "progress"]

TOLD = frozenset(
    {
        *("run_paused", "run_unpaused", "intent_raised", "command_received", "outcome_decided"),
        *("task_started", "task_succeeded", "attempt_failed", "task_failed", "task_skipped"),
        *("task_interrupted", "undo_started", "undo_succeeded", "undo_failed", "undo_blocked"),
        *("approval_requested", "approval_answered", "finalizer_failed", "change_recorded"),
    }
)
"""The records that people are told of, a line each."""

NOTABLE = frozenset(
    {
        *("run_paused", "intent_raised", "attempt_failed", "task_failed", "task_interrupted"),
        *("undo_failed", "undo_blocked", "approval_requested", "finalizer_failed"),
    }
)
"""The records that leave a line where the display is live."""


class Display(Protocol):
    """**Protocol:** shows how runs get on. Called in order, by one thread at a time."""

    is_live: bool
    """Whether it moves, so that not every step needs a line."""

    def line(self, text: str, *, look: str = "") -> None:
        """Show *text* for good."""
        ...

    def show(self, runs: Mapping[str, Outline]) -> None:
        """Show how *runs* stand that go on; where there is none, show nothing any more."""
        ...


class Plain:
    """A line for each step, and nothing that moves."""

    is_live = False

    def __init__(self, painter: Painter) -> None:
        self._painter = painter

    def line(self, text: str, *, look: str = "") -> None:
        """Write *text*."""
        self._painter.write(self._painter.painted(text, look) + "\n")

    def show(self, runs: Mapping[str, Outline]) -> None:
        """Show nothing: each step had its line."""


class Progress:
    """Follows runs, and has a display show them. Made by `progress`."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._told = NOTABLE if display.is_live else TOLD
        self._runs: dict[str, Outline] = {}
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"<Progress {type(self._display).__name__} runs={len(self._runs)}>"

    def __call__(self, run: Run) -> None:
        """Show *run* from now on; what is on record by now is only summed up."""
        watched = _Watched(self, Outline(run.id))
        run.follow(watched.take)
        watched.begin()

    def tell(self, text: str, look: str = "") -> None:
        """Have the display show a line."""
        with self._guard:
            self._display.line(text, look=look)

    def take(self, outline: Outline, record: Record) -> None:
        """Have the display show what a *record* has made of a run."""
        if record.kind in self._told:
            self.tell(line_of(record), LOOKS.get(type(record.event), ""))
        self.show(outline)

    def show(self, outline: Outline) -> None:
        """Have the display show how runs stand, of which *outline* moved last."""
        with self._guard:
            self._runs.pop(outline.run_id, None)
            if outline.status not in RESTING:
                self._runs[outline.run_id] = outline
            self._display.show(self._runs)

    def close(self) -> None:
        """Show nothing that moves any more, and leave the terminal as it was."""
        with self._guard:
            self._runs.clear()
            self._display.show(self._runs)


class _Watched:
    """A run that is shown: its record is taken in, and told from some point on."""

    def __init__(self, progress: Progress, outline: Outline) -> None:
        self._progress = progress
        self._outline = outline
        self._begun = False

    def take(self, record: Record) -> None:
        """Take in the next record."""
        self._outline.take(record)
        if self._begun:
            self._progress.take(self._outline, record)

    def begin(self) -> None:
        """Sum up what is on record, and tell of each record from now on."""
        outline = self._outline
        done, whole = done_of(outline)
        name = f"{outline.start.workflow}: " if outline.start else ""
        so_far = f", taken up where {done} of {whole} tasks are done" if done else ""
        self._progress.tell(f"{name}run {outline.run_id}{so_far}")
        self._progress.show(outline)
        self._begun = True


RESTING = RUN_ENDS | {"held", "paused"}
"""How a run stands that nothing happens in by itself."""

LOOKS: dict[type[ev.Event], str] = {
    ev.AttemptFailed: "bad",
    ev.TaskFailed: "bad",
    ev.UndoFailed: "bad",
    ev.UndoBlocked: "bad",
    ev.FinalizerFailed: "bad",
    ev.TaskInterrupted: "doubt",
    ev.IntentRaised: "doubt",
    ev.RunPaused: "doubt",
    ev.ApprovalRequested: "doubt",
    ev.TaskSucceeded: "good",
    ev.UndoSucceeded: "back",
}
"""How lines look about what people have to know of."""


def progress(
    stream: TextIO | None = None,
    *,
    live: bool | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> Progress:
    """Return what shows how runs get on: ``Engine(watch=progress())``, or ``progress()(run)``.

    On a terminal it is live: with ``rich`` installed (``pip install
    "pyflow-deploy[rich]"``) a table of what is under way, else one line that
    is written anew. Everywhere else, and in CI, each step is a line with its
    time. Colours are left out where ``NO_COLOR`` is set.

    Args:
        stream: Where to; ``sys.stderr`` unless given.
        live: Whether it may move; unless given, on a terminal that can, and
            outside of CI.
        environ: Where ``NO_COLOR``, ``TERM`` and ``CI`` are looked up; that of
            the process unless given.
        clock: What the time that has passed comes from.
    """
    # A program without a console has no stderr.
    stream = stream or cast("TextIO | None", sys.stderr) or io.StringIO()
    environ = os.environ if environ is None else environ
    can = stream.isatty() and environ.get("TERM") != "dumb"
    painter = Painter(stream, colours=can and not environ.get("NO_COLOR"))
    if not (can and not environ.get("CI") if live is None else live):
        return Progress(Plain(painter))
    clock = SystemClock() if clock is None else clock
    if find_spec("rich") is not None:
        from pyflow.reports.live_table import LiveTable  # noqa: PLC0415 - an extra

        return Progress(LiveTable(stream, colours=painter.colours, clock=clock))
    return Progress(LiveLine(painter, clock=clock))


def line_of(record: Record) -> str:
    """Return *record* in one line, with the time of day in UTC."""
    row = table_of([record])[-1].split("  ", 2)[-1]
    return f"{record.at:%H:%M:%S}  {row}"
