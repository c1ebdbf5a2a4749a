"""Which faults to try next: every one, then every pair, as far as the budget goes.

A run without faults shows the points that it reaches. Each fault at each of
them is a run of its own, which shows further points, and so on until the
budget is used up. Runs with fewer faults come before those with more, so what
is found at the outset needs the fewest. This is enumeration by choice
sequences, as in TigerBeetle's `exhaustigen`, with points that have names.

A run that gets to a state from which another has gone on, with as many faults
still to come, is given up there: what follows is being tried already.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from pyflow.testing.exploration.invariants import LYING_READS, LYING_WRITES
from pyflow.testing.exploration.trial import Scout
from pyflow.testing.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyflow.testing.exploration.trial import Trial
    from pyflow.testing.faults import FaultKind

__all__ = ["Search"]

LIES = LYING_WRITES | LYING_READS
"""What is an excuse to some invariants: a run that was lied to is held to less than one that was not."""


class Search:
    """Tries all faults up to a budget, each run by *attempt*."""

    def __init__(
        self,
        attempt: Callable[[tuple[Fault, ...], Scout], Trial],
        *,
        faults: int,
        kinds: frozenset[FaultKind],
        prune: bool,
    ) -> None:
        self.runs = 0
        self.pruned = 0
        self.by_faults: Counter[int] = Counter()
        self.by_kind: Counter[FaultKind] = Counter()
        self.endings: Counter[str] = Counter()
        self.points: dict[str, None] = {}
        self._attempt = attempt
        self.faults = faults
        self._kinds = kinds
        self._prune = prune
        self._queue: deque[tuple[Fault, ...]] = deque([()])
        self._known: dict[object, list[tuple[frozenset[str], int]]] = {}

    @property
    def waiting(self) -> int:
        """How many runs are known of that have not been made."""
        return len(self._queue)

    def forget(self) -> None:
        """Leave what is still waiting alone."""
        self._queue.clear()

    def trials(self) -> Iterator[Trial]:
        """Make one run after another, until there is nothing left to try."""
        while self._queue:
            script = self._queue.popleft()
            yield self.attempt(script)

    def attempt(self, script: tuple[Fault, ...]) -> Trial:
        """Make one run, and queue what it shows could be tried after it."""
        left = self.faults - len(script)
        lied = frozenset(fault.kind for fault in script if fault.kind in LIES)

        def is_known(mark: object) -> bool:
            went_on = self._known.setdefault(mark, [])
            if any(excuses <= lied and still_left >= left for excuses, still_left in went_on):
                return True
            went_on.append((lied, left))
            return False

        scout = Scout(script, self._kinds, is_known if self._prune else None)
        trial = self._attempt(script, scout)
        self._count(script, scout, trial)
        if left > 0:
            for point, kinds in scout.offered:
                self.points[point] = None
                self._queue.extend((*script, Fault(point, kind)) for kind in kinds)
        return trial

    def _count(self, script: tuple[Fault, ...], scout: Scout, trial: Trial) -> None:
        self.runs += 1
        self.pruned += scout.was_pruned
        self.by_faults[len(script)] += 1
        if script:
            self.by_kind[script[-1].kind] += 1
        if trial.explored is not None:
            self.endings[trial.explored.status] += 1
