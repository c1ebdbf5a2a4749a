"""A journal that lives as long as its process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.record.codec import GENESIS, Record, seal
from pyflow.record.ledger import is_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pyflow.protocols import Lease
    from pyflow.record.events import Event

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Keeps the records of every run in memory, chained like those on disk."""

    def __init__(self) -> None:
        self._runs: dict[str, list[Record]] = {}

    def append(
        self,
        run_id: str,
        events: Sequence[Event],
        /,
        *,
        at: datetime,
        fences: Sequence[Lease] = (),  # noqa: ARG002 - whoever could take a lock away is in here
    ) -> list[Record]:
        """Add *events* to the record of *run_id*, all or none; *fences* are taken at their word.

        Raises:
            JournalError: One of them cannot be written. Nothing was added.
        """
        chain = self._runs.get(run_id)
        seq, prev = (chain[-1].seq, chain[-1].hash) if chain else (0, GENESIS)
        records = seal(run_id, events, at=at, seq=seq, prev=prev)
        if chain is not None:
            chain.extend(records)
        elif records:
            self._runs[run_id] = records.copy()
        return records

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        """Return the records of *run_id* whose number is above *after*."""
        return self._runs.get(run_id, [])[max(after, 0) :]

    def runs(self) -> list[str]:
        """Return the ids of all runs, in the order in which they began."""
        return [run_id for run_id in self._runs if not is_ledger(run_id)]

    def __repr__(self) -> str:
        return f"<MemoryJournal runs={len(self._runs)}>"
