"""What the records of a run say about each task: when it was worked on, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.frozen import frozen
from pyflow.record import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyflow.record.codec import Record

__all__ = ["Bar", "Look", "Row", "rows_of"]

Look: TypeAlias = Literal["ok", "bad", "cut", "undo", "wait", "open"]
"""Whether it worked, failed, was cut short, took something back, waited for people, or never came to an end."""


@frozen
class Bar:
    """A stretch of work on a task."""

    look: Look
    """What came of it."""

    start_s: float
    """When it began, in seconds from the first record."""

    end_s: float
    """When it ended, or the last record where it did not."""

    words: str
    """What it was."""


@frozen
class Row:
    """A task, or a finalizer, and all the work on it."""

    name: str
    """Its name."""

    bars: tuple[Bar, ...]
    """The work on it, in the order in which it began."""


OPENS: dict[type[ev.Event], tuple[str, Look]] = {
    ev.TaskStarted: ("attempt", "ok"),
    ev.RepairStarted: ("repair", "ok"),
    ev.ApprovalRequested: ("question", "wait"),
    ev.UndoStarted: ("undo", "undo"),
    ev.FinalizerStarted: ("finalizer", "ok"),
}
"""What begins a bar, what it is called, and how it looks if nothing goes wrong."""

CLOSES: dict[type[ev.Event], Look | None] = {
    ev.TaskSucceeded: None,
    ev.AttemptFailed: "bad",
    ev.TaskInterrupted: "cut",
    ev.TaskCancelled: "cut",
    ev.TaskFailed: "bad",
    ev.RepairSucceeded: None,
    ev.RepairFailed: "bad",
    ev.ApprovalAnswered: None,
    ev.UndoSucceeded: None,
    ev.UndoAttemptFailed: "bad",
    ev.UndoFailed: "bad",
    ev.FinalizerSucceeded: None,
    ev.FinalizerFailed: "bad",
}
"""What ends a bar, and how it looks then, unless as it did."""


class _Drawer:
    """Puts bars into rows as records come by."""

    def __init__(self, began: Record) -> None:
        self._began = began.at
        self._bars: dict[str, list[Bar]] = {}
        self._open: dict[str, list[Bar]] = {}

    def take(self, record: Record) -> None:
        """Take in the next record."""
        event = record.event
        name = record.task or str(getattr(event, "name", ""))
        at_s = (record.at - self._began).total_seconds()
        if type(event) in OPENS:
            what, look = OPENS[type(event)]
            number = getattr(event, "attempt", None)
            bar = Bar(look, at_s, at_s, f"{what} {number}" if number else what)
            under_way = self._open.setdefault(name, [])
            self._bars.setdefault(name, [])
            if look == "wait" and under_way:  # an approval is an attempt that waits for people
                under_way[-1] = bar
            else:
                under_way.append(bar)
        elif type(event) in CLOSES and self._open.get(name):
            bar = self._open[name].pop()
            self._end(name, bar, at_s, CLOSES[type(event)] or bar.look)
        elif type(event) in CLOSES and isinstance(event, ev.TaskFailed):
            self._bars.setdefault(name, [])

    def rows(self, at_s: float) -> tuple[Row, ...]:
        """Return all rows, where the record ends at *at_s*."""
        for name, bars in self._open.items():
            for bar in bars:
                self._end(name, bar, at_s, "open")
        return tuple(
            Row(name, tuple(sorted(bars, key=lambda bar: bar.start_s)))
            for name, bars in self._bars.items()
        )

    def _end(self, name: str, bar: Bar, at_s: float, look: Look) -> None:
        self._bars[name].append(Bar(look, bar.start_s, at_s, bar.words))


def rows_of(records: Sequence[Record] | Iterable[Record]) -> tuple[Row, ...]:
    """Return a row for each task that was worked on, in the order in which that began."""
    given = list(records)
    if not given:
        return ()
    drawer = _Drawer(given[0])
    for record in given:
        drawer.take(record)
    return drawer.rows((given[-1].at - given[0].at).total_seconds())
