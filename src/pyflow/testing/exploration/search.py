"""Which faults to try next: every one, then every pair, as far as the budget goes.

A run without faults shows the points that it reaches. Each fault at each of
them is a run of its own, which shows further points, and so on until the
budget is used up. Runs with fewer faults come before those with more, so what
is found at the outset needs the fewest. This is enumeration by choice
sequences, as in TigerBeetle's `exhaustigen`, with points that have names.

A run that gets to a state from which another has gone on, with as many faults
still to come, is given up there: what follows is being tried already.

Who makes a run, and in which process, is not for the search to know. It takes
them in the order of its queue.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from pyflow.testing.exploration.invariants import LYING_READS, LYING_WRITES
from pyflow.testing.exploration.scout import Scout
from pyflow.testing.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pyflow.testing.exploration.trial import Violation
    from pyflow.testing.faults import FaultKind

__all__ = ["Known", "Made", "Search", "lies_of"]

LIES = LYING_WRITES | LYING_READS
"""What is an excuse to some invariants: a run that was lied to is held to less than one that was not."""


class Made(Protocol):
    """A run that was made, as far as a search has to know it."""

    @property
    def script(self) -> tuple[Fault, ...]:
        """What went wrong in it."""
        ...

    @property
    def scout(self) -> Scout:
        """What it brought back."""
        ...

    @property
    def ended(self) -> str | None:
        """In which state it ended; None if it was given up before."""
        ...

    @property
    def violations(self) -> Sequence[Violation]:
        """What it broke."""
        ...


class Known:
    """The states that runs have gone on from: after which lies, and with how many faults to come."""

    def __init__(self) -> None:
        self._went_on: dict[int, list[tuple[frozenset[str], int]]] = {}

    def has(self, mark: int, lied: AbstractSet[str], left: int) -> bool:
        """Return whether what follows from *mark* is being tried, so that a run can be given up."""
        went_on = self._went_on.get(mark, ())
        return any(excuses <= lied and still_left >= left for excuses, still_left in went_on)

    def note(self, mark: int, lied: frozenset[str], left: int) -> None:
        """Note that a run goes on from *mark*."""
        self._went_on.setdefault(mark, []).append((lied, left))


class Search:
    """Tries all faults up to a budget, each run by *make*."""

    def __init__(
        self,
        make: Callable[[tuple[Fault, ...], Scout], Made],
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
        self.faults = faults
        self.known = Known()
        self.queue: deque[tuple[Fault, ...]] = deque([()])
        self.make = make
        self._kinds = kinds
        self._prune = prune

    @property
    def waiting(self) -> int:
        """How many runs are known of that have not been made."""
        return len(self.queue)

    def forget(self) -> None:
        """Leave what is still waiting alone."""
        self.queue.clear()

    def trials(self) -> Iterator[Made]:
        """Make one run after another, until there is nothing left to try."""
        while self.queue:
            yield self.attempt(self.queue.popleft())

    def attempt(self, script: tuple[Fault, ...]) -> Made:
        """Make one run, and queue what it shows could be tried after it."""
        made = self.make(script, self.scout(script))
        self._count(made)
        if len(script) < self.faults:
            for point, kinds in made.scout.offered:
                self.points[point] = None
                self.queue.extend((*script, Fault(point, kind)) for kind in kinds)
        return made

    def scout(self, script: tuple[Fault, ...]) -> Scout:
        """Return what goes into a run under *script*, and gives it up at a state that is known."""
        known, lied, left = self.known, lies_of(script), self.faults - len(script)

        def is_known(mark: int) -> bool:
            if known.has(mark, lied, left):
                return True
            known.note(mark, lied, left)
            return False

        return Scout(script, self._kinds, is_known if self._prune else None)

    def _count(self, made: Made) -> None:
        script = made.script
        self.runs += 1
        self.pruned += made.scout.was_pruned
        self.by_faults[len(script)] += 1
        if script:
            self.by_kind[script[-1].kind] += 1
        if made.ended is not None:
            self.endings[made.ended] += 1


def lies_of(script: tuple[Fault, ...]) -> frozenset[str]:
    """Return which kinds of lies are told in a run under *script*."""
    return frozenset(fault.kind for fault in script if fault.kind in LIES)
