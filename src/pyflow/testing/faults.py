"""Faults: what goes wrong, and at which point of a run.

A point has a name that stays the same in every run that gets there, such as
``deploy#1 platform.scale#2``: the second `scale` of the opening attempt of
`deploy`. A fault is such a point and what happens there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

from pyflow.errors import nearest, shown
from pyflow.testing.behaviour import Act
from pyflow.testing.errors import SimulationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "KINDS",
    "NO_FAULTS",
    "OF_THE_RUN",
    "Fault",
    "FaultKind",
    "Faults",
    "ScriptedFaults",
    "SimulatedFault",
    "act_of",
    "cannot_happen",
    "never_reached",
]

FaultKind: TypeAlias = Literal[
    "fails",
    "applied_then_fails",
    "lies",
    "hangs",
    "stale",
    "missing",
    "nan",
    "flipped",
    "crash",
    "cancel",
    "pause",
    "roll_back",
    "skip",
    "promote",
]
"""What can go wrong.

`fails` before its effect, `applied_then_fails` after it, `lies` says done and
is not, `hangs` never comes back; a `stale`, `missing`, `nan` or `flipped`
answer; the engine's `crash`; an operator's `cancel`, `pause` or `roll_back`,
and, where something can be passed over, `skip` of the present step or `promote`.
"""

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
"""Every kind of fault."""

OF_THE_RUN: tuple[FaultKind, ...] = ("crash", "cancel", "pause", "roll_back", "skip", "promote")
"""Those that happen to a whole run: the engine's crash, and what an operator does."""


class SimulatedFault(ConnectionError):
    """What a fault raises: an error that code for lost connections handles too."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong at one point of a run."""

    point: str
    """Where, such as ``deploy#1 platform.scale#2``."""

    kind: FaultKind
    """What."""

    def __str__(self) -> str:
        return f"{self.point}: {self.kind}"


class Faults(Protocol):
    """Decides at every point that a run reaches whether something goes wrong there."""

    def choose(self, point: str, kinds: tuple[FaultKind, ...], /) -> FaultKind | None:
        """Return one of *kinds*, or None for no fault."""
        ...


class _NoFaults:
    def choose(self, point: str, kinds: tuple[FaultKind, ...], /) -> None:
        """Let everything go right."""


NO_FAULTS: Faults = _NoFaults()


class ScriptedFaults:
    """The faults of a script, each at its point."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        self._left = {fault.point: fault for fault in self.faults}
        self._impossible: SimulationError | None = None
        self._points: dict[str, None] = {}

    def choose(self, point: str, kinds: tuple[FaultKind, ...], /) -> FaultKind | None:
        """Return what the script says for *point*.

        Raises:
            SimulationError: That cannot happen there.
        """
        self._points[point] = None
        fault = self._left.pop(point, None)
        if fault is None:
            return None
        if fault.kind not in kinds:
            self._impossible = cannot_happen(fault, kinds)
            raise self._impossible
        return fault.kind

    def check_used(self) -> None:
        """Check that everything in the script has happened.

        Raises:
            SimulationError: A fault cannot happen at its point, or the run did
                not get there; the error names the nearest point that it did get to.
        """
        if self._impossible is not None:
            raise self._impossible
        for fault in self._left.values():
            raise never_reached(fault, self._points)


def cannot_happen(fault: Fault, kinds: Iterable[FaultKind]) -> SimulationError:
    """Return the error for a fault that is none of the *kinds* possible at its point."""
    return SimulationError(
        f"{fault.kind!r} cannot happen at {fault.point!r}; it can be: {', '.join(kinds)}"
    )


def never_reached(fault: Fault, points: Iterable[str]) -> SimulationError:
    """Return the error for a fault whose point is none of the *points* that a run got to."""
    near = nearest(fault.point, tuple(points))
    hint = f"; the nearest that it did reach is {near!r}" if near is not None else ""
    return SimulationError(f"the run never reached the point {fault.point!r}{hint}")


def act_of(kind: FaultKind) -> Act:
    """Return what a call comes to under a fault."""
    made = _ACTS.get(kind)
    if made is None:
        raise SimulationError(f"{shown(kind)} is nothing that a call can come to")
    if kind in ("fails", "applied_then_fails"):
        return Act(does=made.does, error=SimulatedFault("injected by the simulation"))
    return made


_ACTS: dict[FaultKind, Act] = {
    "fails": Act(does=False),
    "applied_then_fails": Act(does=True),
    "lies": Act(does=False),
    "hangs": Act(delay_s=math.inf, does=False),
    "stale": Act(twist="stale"),
    "missing": Act(twist="missing"),
    "nan": Act(twist="nan"),
    "flipped": Act(twist="flipped"),
}
