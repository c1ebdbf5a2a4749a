"""Check what a test hands to a simulation, before anything of it happens.

Each mistake gives one `SimulationError`, which shows what was given and says
what to give. `simulate`, `explore` and `replay` ask the same of one argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from pyflow.define.wiring import is_async, unusable
from pyflow.errors import nearest, shown
from pyflow.testing.errors import SimulationError
from pyflow.testing.faults import KINDS, Fault, FaultKind
from pyflow.testing.where import name_of
from pyflow.testing.world import World
from pyflow.testing.world.given import check_seed

__all__ = [
    "AS_FAKES",
    "AS_PARAMS",
    "call_problem",
    "check_invariant",
    "check_kinds",
    "check_operator",
    "check_script",
    "check_world",
    "mapping",
    "several",
]

AS_FAKES = '{"deploy": returns(1)}'
AS_PARAMS = '{"version": "2.0"}'


def several(what: str, values: Any) -> tuple[Any, ...]:
    """Return what is in *values*, which has to be a list, or anything else to go through."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SimulationError(f"{what}={shown(values)}: give a list of them")
    return tuple(cast("Iterable[Any]", values))


def mapping(what: str, values: Any, *, example: str) -> dict[str, Any]:
    """Return *values*, which has to map names to something, or be None for nothing, as a dict."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise SimulationError(f"{what}={shown(values)}: give a dict, such as {example}")
    return dict(cast("Mapping[str, Any]", values))


def check_world(world: object) -> None:
    """Check that *world* is a world, and not its class or its name, and can be drawn for again."""
    if not isinstance(world, World):
        hint = ", which is World() with the parentheses" if world is World else ""
        raise SimulationError(f"world={shown(world)}: give a World{hint}")
    check_seed(world.seed, "the world's seed")


def check_kinds(kinds: object) -> tuple[FaultKind, ...]:
    """Return *kinds*, of which each has to be a kind of fault."""
    given = several("kinds", kinds)
    for kind in given:
        _check_kind(kind)
    return given


def check_script(faults: object) -> tuple[Fault, ...]:
    """Return *faults*, which have to be faults, each at a point of its own."""
    given = several("faults", faults)
    points: set[str] = set()
    for fault in given:
        if not isinstance(fault, Fault) or not isinstance(cast("object", fault.point), str):
            raise SimulationError(f"{shown(fault)} is no fault; give Fault(point, kind)")
        _check_kind(fault.kind)
        if fault.point in points:
            raise SimulationError(f"two faults cannot happen at one point, {fault.point!r}")
        points.add(fault.point)
    return given


def check_operator(operator: object) -> None:
    """Check that *operator* can be called with a run."""
    reason = unusable(operator) or call_problem(operator, 1)
    if reason is not None:
        raise SimulationError(f"operator= {reason}; it is called with the Run")


def check_invariant(invariant: Any) -> None:
    """Check that *invariant* is a function that answers when it is asked about one thing."""
    if not callable(invariant):
        raise SimulationError(f"{shown(invariant)} is no invariant; give a function")
    name = name_of(invariant)
    if is_async(invariant):
        raise SimulationError(
            f"the invariant {name} is async, and nobody would await it; make it a plain function"
        )
    about = "the World" if getattr(invariant, "always", False) else "an Explored run"
    reason = unusable(invariant) or call_problem(invariant, 1)
    if reason is not None:
        raise SimulationError(f"the invariant {name} {reason}; it is called with {about}")


def call_problem(fn: Any, count: int) -> str | None:
    """Return why *fn* cannot be called with *count* arguments, or None; where nobody knows, as well."""
    try:
        signature = inspect.signature(cast("Callable[..., object]", fn))
    except (ValueError, TypeError):
        return None  # it was written in C; calling it will tell
    try:
        signature.bind(*range(count))
    except TypeError as error:
        given = "without arguments" if count == 0 else f"with {count} argument"
        return f"cannot be called {given}: {error}"
    return None


def _check_kind(kind: object) -> None:
    if kind not in KINDS:
        near = nearest(str(kind), KINDS)
        hint = f"; did you mean {near!r}?" if near is not None else "."
        raise SimulationError(
            f"{shown(kind)} is no kind of fault{hint} There are: {', '.join(KINDS)}"
        )
