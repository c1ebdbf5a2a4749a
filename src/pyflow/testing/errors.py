"""What a simulation says when it cannot go on.

    SimulationError (a PyflowError)   the simulation was asked for what it cannot give
    ├── SimulationDeadlock            every task waits, and nothing will ever wake one
    └── SimulationStalled             time cannot move on: real work or a spinning task holds it

A test that hangs says nothing. These end the run instead, and name everything
that waits and where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyflow.errors import PyflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "SimulationDeadlock",
    "SimulationError",
    "SimulationStalled",
    "Waiting",
    "counted",
    "listed",
]


class SimulationError(PyflowError):
    """The simulation was asked for something that virtual time cannot give."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task, or the thread of a parked call, that has not finished, and where it is."""

    task: str
    """The task's name, or whose thread it is."""

    where: str
    """The calls it waits in, outermost first; ``not started`` or ``parked`` without any."""

    def __str__(self) -> str:
        return f"{self.task}: {self.where}"


class SimulationDeadlock(SimulationError):
    """Every task waits, no timer is set and no work will return: nothing can ever happen.

    Contrast `SimulationStalled`: there something goes on, without end. Raised
    out of the loop itself, so that no task can catch it; `waiting` holds everything
    unfinished.
    """

    def __init__(self, waiting: Sequence[Waiting], *, at_s: float) -> None:
        self.waiting = tuple(waiting)
        self.at_s = at_s
        super().__init__(
            f"nothing can ever happen again: at {at_s:.6f} s no timer is set, no work will "
            f"return, and {counted(self.waiting, 'waits', 'wait')}{listed(self.waiting)}\n"
            "Wake one of them, or put a timeout around its wait."
        )


class SimulationStalled(SimulationError):
    """Virtual time cannot move on, because something real does not come to an end.

    Either work in flight did not come back, which `work` names, or a task
    spins: it runs again and again without waiting for time to pass.
    """

    def __init__(self, message: str, *, work: Sequence[str] = ()) -> None:
        self.work = tuple(work)
        super().__init__(message)


def counted(things: Sequence[object], one: str, many: str) -> str:
    """Return how many *things* there are, in words: *one* of them, or *many*."""
    return f"1 {one}" if len(things) == 1 else f"{len(things)} {many}"


def listed(things: Sequence[object]) -> str:
    """Return *things* below one another, each on a line of its own."""
    return "".join(f"\n  {thing}" for thing in things)
