"""What a journal may be able to say at once, and is found by reading where it cannot.

The protocol `Journal` asks for little, so that anybody can write one. Ours on
disk can say more: which runs are the latest, how one ends, which have not
ended. Here one asks without knowing which journal it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pyflow.errors import nearest, shown
from pyflow.record.ledger import is_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.protocols import Journal
    from pyflow.record.codec import Record

__all__ = ["Unknown", "forget", "last_record", "latest_runs", "unfinished_runs", "unknown_text"]

NEAR_MAX = 1_000
"""Among how many of the latest runs the one is looked for that somebody may have meant."""


@runtime_checkable
class Indexed(Protocol):
    """A journal that can say all of this at once: the methods of `SQLiteJournal`.

    One that has only some of them may mean something else by their names.
    """

    def latest(self, count: int, /) -> list[str]:
        """Return the ids of the *count* runs that began last, in order."""
        ...

    def last(self, run_id: str, /) -> Record | None:
        """Return the last record of *run_id*, or None if it has none."""
        ...

    def unfinished(self) -> list[str]:
        """Return the ids of the runs that may not have ended, in order."""
        ...

    def forget(self, run_id: str, /) -> None:
        """Keep nothing of *run_id* in memory: whoever goes on with it reads it before."""
        ...


def latest_runs(journal: Journal, count: int) -> list[str]:
    """Return the ids of the *count* runs that began last, in the order in which they began."""
    if isinstance(journal, Indexed):
        return journal.latest(count)
    runs = [run_id for run_id in journal.runs() if not is_ledger(run_id)]
    return runs[max(len(runs) - count, 0) :]


def last_record(journal: Journal, run_id: str) -> Record | None:
    """Return the last record of *run_id*, or None if it has none."""
    if isinstance(journal, Indexed):
        return journal.last(run_id)
    return next(reversed(journal.read(run_id)), None)


def unfinished_runs(journal: Journal) -> Sequence[str]:
    """Return the ids of runs that may not have ended, in the order in which they began.

    None that has not ended is missing. Read a run to know that it has not.
    """
    if isinstance(journal, Indexed):
        return journal.unfinished()
    return [run_id for run_id in journal.runs() if not is_ledger(run_id)]


def forget(journal: Journal, run_id: str) -> None:
    """Have *journal* keep nothing of *run_id* in memory, where it can be read back."""
    if isinstance(journal, Indexed):
        journal.forget(run_id)


class Unknown:
    """What to tell somebody who has named a run that *journal* lacks.

    The run that was meant is looked for among the latest ones only, because
    comparing with all of them may take seconds.
    """

    def __init__(self, journal: Journal, run_id: str) -> None:
        known = latest_runs(journal, NEAR_MAX)
        self.near = nearest(str(run_id), known)
        """The latest run that was probably meant, or None."""
        self.last = known[-1] if known else None
        """The run that began last, or None where there is none."""
        count = len(known)
        self.count = f"{NEAR_MAX:,} runs or more" if count == NEAR_MAX else _runs(count)
        """How many runs there are, in words."""


def unknown_text(journal: Journal, run_id: str) -> str:
    """Return what an error says about *run_id*, which *journal* lacks."""
    unknown = Unknown(journal, run_id)
    last = f", the last {unknown.last!r}" if unknown.last is not None else ""
    near = f"; did you mean {unknown.near!r}?" if unknown.near is not None else ""
    return f"no run {shown(run_id)} is in the journal, which has {unknown.count}{last}{near}"


def _runs(count: int) -> str:
    return f"{count} run{'s' if count != 1 else ''}" if count else "none"
