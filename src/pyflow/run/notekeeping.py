"""Record what was told, for many runs together.

A synced commit costs more than what is in it, and the runs themselves wait
for the same disk. So results are gathered for a moment and committed
together. A crash in that moment makes a few messages come again, with the
ids that they had.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyflow.errors import PyflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyflow.protocols import Journal
    from pyflow.record.batches import Batch

__all__ = ["Notekeeper"]

GATHER_S = 0.02
"""How long results wait for others, in seconds."""


class Notekeeper:
    """Gathers what is to be recorded; lives on the loop of the deliveries."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Batch, Callable[[BaseException], None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.is_done = True
        """Whether everything is recorded that was put here."""

    def put(self, batch: Batch, failed: Callable[[BaseException], None]) -> None:
        """Have *batch* recorded soon; *failed* is called where that cannot be done."""
        self.is_done = False
        self._waiting.append((batch, failed))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    def flush(self) -> None:
        """Record what waits for it, if anything does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._record(waiting)
        self.is_done = not self._waiting

    def _record(self, waiting: list[tuple[Batch, Callable[[BaseException], None]]]) -> None:
        outcomes = self._append([batch for batch, _ in waiting])
        for (_, failed), outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                failed(outcome)

    def _append(self, batches: Sequence[Batch]) -> Sequence[object]:
        append_all: Callable[[Sequence[Batch]], Sequence[object]] | None
        append_all = getattr(self._journal, "append_all", None)
        if append_all is None:
            return [self._append_one(batch) for batch in batches]
        try:
            return append_all(batches)
        except PyflowError as error:
            return [error] * len(batches)

    def _append_one(self, batch: Batch) -> object:
        options: Any = {"fences": batch.fences} if batch.fences else {}
        try:
            return self._journal.append(batch.run_id, batch.events, at=batch.at, **options)
        except PyflowError as error:
            return error
