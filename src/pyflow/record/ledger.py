"""What was told about a run: a chain of records of its own, beside the run's.

It is kept apart because telling goes on after the run has ended, whose record
is then closed, and because nothing about a notifier may change a run. Its
state is a fold over its records, as everything is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.record import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyflow.record.codec import Record

__all__ = ["BROKEN", "CUTS", "Ledger", "is_ledger", "ledger_of"]

SUFFIX = ".notices"
CUTS = "journal.cuts"
"""The name under which a journal keeps what was removed from it; no run has it."""
BROKEN = "journal.locks"
"""The name under which a journal keeps which locks people have broken; no run has it."""
FINAL = ("delivered", "rejected", "unknown")


def ledger_of(run_id: str) -> str:
    """Return the name under which the journal keeps what was told about *run_id*."""
    return run_id + SUFFIX


def is_ledger(run_id: str) -> bool:
    """Return whether *run_id* names a chain that is kept beside the runs, and no run."""
    return run_id.endswith(SUFFIX) or run_id in (CUTS, BROKEN)


class Ledger:
    """How far each route has come with one run."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.is_open = False
        """Whether anything was recorded at all."""
        self.closed_at = 0
        """The record of the run up to which all routes had come when nothing was left to tell."""
        self.settled: dict[str, int] = {}
        """For each route, the number of the last record of which it was told, or not, for good."""
        self.receipts: dict[str, dict[str, Any]] = {}
        """For each route, what its later messages need to know."""
        for record in records:
            self.take(record.event)

    def take(self, event: ev.Event) -> None:
        """Take in one more record."""
        self.is_open = True
        if isinstance(event, ev.NotificationsClosed):
            self.closed_at = event.seq
        elif isinstance(event, ev.Notified) and event.result in FINAL:
            self.settled[event.route] = max(event.seq, self.settled.get(event.route, 0))
            self.receipts.setdefault(event.route, {}).update(event.receipt or {})
