"""Commit what several runs decided in one turn of the loop together.

A synced commit costs far more than what is in it. Runs that decide in the same
turn share one, and each goes on when it is durable; one that cannot be
written fails alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from pyflow.record.batches import Batch
    from pyflow.record.codec import Record

__all__ = ["Committer", "GroupJournal"]


class GroupJournal(Protocol):
    """A journal that writes for several runs at once."""

    def append_all(self, batches: Sequence[Batch], /) -> Sequence[Sequence[Record] | BaseException]:
        """Add each batch or none of it, and return its records or why it failed."""
        ...


class Waiting(Protocol):
    """Who waits for a commit."""

    loop: asyncio.AbstractEventLoop

    def committed(self, commands: Sequence[Any]) -> None:
        """Go on: it is durable."""
        ...

    def failed(self, error: BaseException) -> None:
        """Stop: it could not be written."""
        ...


class Committer:
    """Gathers what the runs of one loop decide in one turn, and commits it in the next."""

    def __init__(self, journal: GroupJournal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Waiting, Batch, Sequence[Any]]] = []

    def put(self, run: Waiting, batch: Batch, commands: Sequence[Any]) -> None:
        """Have *batch* committed; *commands* come back to *run* once it is."""
        if not self._waiting:
            run.loop.call_soon(self.flush)
        self._waiting.append((run, batch, commands))

    def flush(self) -> None:
        """Commit what waits for it, if anything does."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        outcomes: Sequence[object]
        try:
            outcomes = self._journal.append_all([batch for _, batch, _ in waiting])
        except BaseException as error:  # noqa: BLE001 - nothing may start that has no record
            outcomes = [error] * len(waiting)
        for (run, _, commands), outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                run.failed(outcome)
            else:
                run.committed(commands)
