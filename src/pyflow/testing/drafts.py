"""A journal of drafts: it seals records only once somebody looks at them.

Most simulated runs are judged by how they ended, and nobody reads their
records. Encoding and hashing each one would be a tenth of such a run. What is
read in the end is the same to the byte as what a `MemoryJournal` holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast, overload

from pyflow.record.codec import GENESIS, Record, seal

if TYPE_CHECKING:
    from datetime import datetime

    from pyflow.protocols import Lease
    from pyflow.record.events import Event

__all__ = ["DraftChain", "DraftJournal", "Drafts"]


class DraftChain:
    """What was recorded of one run; its records are made as far as they were looked at."""

    __slots__ = ("_commits", "_sealed", "events", "run_id")

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.events: list[Event] = []
        self._commits: deque[tuple[int, datetime]] = deque()  # up to which event, and when
        self._sealed: list[Record] = []

    def add(self, events: Sequence[Event], at: datetime) -> None:
        """Add *events* as one commit, made at the instant *at*."""
        self.events += events
        self._commits.append((len(self.events), at))

    def sealed(self) -> list[Record]:
        """Return every record, sealed now where that was not done before."""
        done = self._sealed
        while self._commits:
            end, at = self._commits[0]
            events, prev = self.events[len(done) : end], done[-1].hash if done else GENESIS
            done += seal(self.run_id, events, at=at, seq=len(done), prev=prev)
            self._commits.popleft()
        return done


class Drafts(Sequence[Record]):
    """The records of a run from one number to another, which never change; sealed when looked at."""

    __slots__ = ("_after", "_chain", "_end")

    def __init__(self, chain: DraftChain, after: int = 0) -> None:
        self._chain = chain
        self._after = after
        self._end = len(chain.events)

    def __len__(self) -> int:
        return max(0, self._end - self._after)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return self._sealed()[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._sealed())

    def _sealed(self) -> list[Record]:
        return self._chain.sealed()[self._after : self._end]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return self._sealed() == list(cast("Sequence[object]", other))

    __hash__ = None  # type: ignore[assignment]


class DraftJournal:
    """A `Journal` in memory for the events of an engine, which hold JSON data and nothing else."""

    def __init__(self) -> None:
        self._runs: dict[str, DraftChain] = {}

    def append(
        self,
        run_id: str,
        events: Sequence[Event],
        /,
        *,
        at: datetime,
        fences: Sequence[Lease] = (),
    ) -> Drafts:
        """Add *events* to the record of *run_id*; *fences* are taken at their word."""
        del fences
        chain = self._runs.get(run_id)
        if chain is None:
            chain = self._runs[run_id] = DraftChain(run_id)
        before = len(chain.events)
        chain.add(events, at)
        return Drafts(chain, before)

    def read(self, run_id: str, /, *, after: int = 0) -> Drafts:
        """Return the records of *run_id* whose number is above *after*."""
        return Drafts(self._runs.get(run_id) or DraftChain(run_id), max(after, 0))

    def runs(self) -> list[str]:
        """Return the ids of all runs, in the order in which they began."""
        return list(self._runs)

    def __repr__(self) -> str:
        return f"<DraftJournal runs={len(self._runs)}>"
