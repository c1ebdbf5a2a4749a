"""Commit what several runs decided in one turn of the loop together.

A synced commit costs far more than what is in it. Runs that decide in the same
turn share one, and each goes on when it is durable; one that cannot be
written fails alone. A run that is alone on its loop has nobody to wait for.
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

    def committed(self, records: Sequence[Record], commands: Sequence[Any]) -> None:
        """Go on: these are durable. It does not raise, because others wait behind."""
        ...

    def failed(self, error: BaseException) -> None:
        """Stop: it could not be written."""
        ...


class Committer:
    """Gathers what the runs of one loop decide in one turn, and commits it in the next."""

    def __init__(self, journal: GroupJournal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Waiting, Batch, Sequence[Any]]] = []
        self._runs: dict[int, Waiting] = {}

    def join(self, run: Waiting) -> None:
        """Take note that *run* will have something to commit."""
        self._runs[id(run)] = run

    def leave(self, run: Waiting) -> None:
        """Take note that *run* has nothing more to commit."""
        self._runs.pop(id(run), None)

    @property
    def is_shared(self) -> bool:
        """Whether several runs may have something to commit, so that it is worth a turn to wait."""
        return len(self._runs) > 1

    def put(self, run: Waiting, batch: Batch, commands: Sequence[Any]) -> None:
        """Have *batch* committed in the next turn, or by `flush`; then *commands* come back."""
        if not self._waiting and self.is_shared:
            run.loop.call_soon(self.flush)
        self._waiting.append((run, batch, commands))

    def flush(self) -> None:
        """Commit what waits for it, if anything does."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        outcomes: Sequence[Sequence[Record] | BaseException]
        try:
            outcomes = self._journal.append_all([batch for _, batch, _ in waiting])
        except BaseException as error:  # noqa: BLE001 - nothing may start that has no record
            outcomes = [error] * len(waiting)
        for (run, _, commands), outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                run.failed(outcome)
            else:
                run.committed(outcome, commands)
