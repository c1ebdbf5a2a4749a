"""What carries faults into a run, and brings back where more of them could happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.testing.exploration.recorder import EngineDied
from pyflow.testing.faults import Fault, cannot_happen, never_reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.testing.faults import FaultKind

__all__ = ["Scout"]


class Scout:
    """Carries a script of faults into a run, and brings back where more could happen.

    A `Faults`. Once the last fault of the script has happened, every point
    that follows is noted, until the run gets to a state that is known.
    """

    def __init__(
        self,
        script: tuple[Fault, ...],
        kinds: frozenset[FaultKind],
        is_known: Callable[[int], bool] | None = None,
    ) -> None:
        self.offered: list[tuple[str, tuple[FaultKind, ...]]] = []
        self.marks: list[tuple[int, int]] = []  # states, and how much was offered before each
        self.left: dict[str, FaultKind] = {fault.point: fault.kind for fault in script}
        self.is_dead = False
        self.was_pruned = False
        self.looked_back: int | None = None
        """After how many marks somebody asked why the run rolls back; None if nobody did."""
        self.fingerprint: Callable[[], object] = lambda: None
        self._passed: dict[str, tuple[FaultKind, ...]] = {}  # on the way to the last fault
        self._kinds = kinds
        self._is_known = is_known
        self._mine: set[int] = set()
        self._allowed: dict[tuple[FaultKind, ...], tuple[FaultKind, ...]] = {}

    def choose(self, point: str, kinds: tuple[FaultKind, ...], /) -> FaultKind | None:
        """Return what the script says for *point*.

        Raises:
            EngineDied: The run is over, and whoever asks only does not know it yet.
        """
        if self.is_dead:
            raise EngineDied(point)
        if self.left:
            return self._scripted(point, kinds)
        if point.startswith("after") and self._is_old(self.fingerprint()):
            self.was_pruned = self.is_dead = True
            raise EngineDied(point)
        self._offer(point, kinds)
        return None

    def between(self, point: str, kinds: tuple[FaultKind, ...]) -> FaultKind | None:
        """Return what an operator does while everything waits; the run may be given up there, too."""
        if self.is_dead:
            return None
        if self.left:
            return self._scripted(point, kinds)
        present = "wait", self.fingerprint()
        mark = hash(present)
        if mark in self._mine:
            return None
        if self._is_old(present):
            self.was_pruned = self.is_dead = True
            return None
        self._mine.add(mark)
        self._offer(point, kinds)
        return None

    def look_back(self) -> None:
        """Note that somebody asks why the run rolls back."""
        if self.looked_back is None and not self.was_pruned:
            self.looked_back = len(self.marks)

    def check_used(self) -> None:
        """Check that everything in the script has happened.

        Raises:
            SimulationError: A fault cannot happen at its point, or the run did
                not get there.
        """
        for point, kind in self.left.items():
            fault = Fault(point, kind)
            if point in self._passed:
                raise cannot_happen(fault, self._passed[point])
            raise never_reached(fault, self._passed)

    def _scripted(self, point: str, kinds: tuple[FaultKind, ...]) -> FaultKind | None:
        self._passed[point] = kinds
        return self.left.pop(point) if self.left.get(point) in kinds else None

    def _is_old(self, present: object) -> bool:
        if self._is_known is None:
            return False
        mark = hash(present)
        if mark in self._mine:
            return False
        self._mine.add(mark)
        self.marks.append((mark, len(self.offered)))
        return self._is_known(mark)

    def _offer(self, point: str, kinds: tuple[FaultKind, ...]) -> None:
        if kinds not in self._allowed:
            self._allowed[kinds] = tuple(kind for kind in kinds if kind in self._kinds)
        allowed = self._allowed[kinds]
        if allowed:
            self.offered.append((point, allowed))
