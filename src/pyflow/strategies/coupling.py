"""How the parts of a release train hang together: who waits for what, and what is wrong with that. Pure.

A service has arrived once it serves the new version at full weight and its
checks have passed. What is left then is its tail: to keep the old version for
a while, and to take it away. Whoever depends on a service waits until it has
arrived; no tail begins before all of them have, and the verdict is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.analysis.checks.base import Check as AnalysisCheck
from pyflow.errors import nearest, shown
from pyflow.strategies.outline import RolloutWorkflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyflow.define.policies import Retry
    from pyflow.define.task import Function
    from pyflow.protocols import Probe
    from pyflow.spans import Span

__all__ = [
    "OWN_NAMES",
    "Ends",
    "Service",
    "StateChange",
    "WayBack",
    "ends_of",
    "name_of",
    "problems_of",
]

WayBack: TypeAlias = Literal["undo", "forward_only", "freeze"]
"""What becomes of a change in a rollback."""

WAYS_BACK: tuple[WayBack, ...] = ("undo", "forward_only", "freeze")
OWN_NAMES = ("bake", "verdict", "approve")
"""What the tasks of the train itself are called."""
LAST = ("keep", "retire")


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of configuration, of a schema or of other state, as a part of a release train."""

    name: str
    """What the train calls it."""

    do: Function
    """Makes the change; a task function."""

    undo: Function | None = None
    """Takes it back. It must look before it acts, because after a crash it runs again."""

    way_back: WayBack = "undo"
    """What a rollback does about it: `undo` takes it back in its turn. With
    `forward_only` it stays, and services are taken back past it where *checks*
    say that old versions work with it. With `freeze` nothing is taken back
    once it has started: the run holds for a person."""

    checks: Sequence[Probe | Function] = ()
    """What has to be well after it, before anything that depends on it begins."""

    depends_on: Sequence[str] = ()
    """The services and changes that it waits for."""

    at_end: bool = False
    """Whether it waits for the verdict, and until all old versions are gone."""

    retry: Retry | None = None
    """How often it is tried; once, unless this says otherwise."""

    timeout: Span = "10m"
    """How long one try of it may take, or of its undo."""

    on_interrupt: Literal["ask", "rerun"] | Function = "ask"
    """What to do after a crash in the middle of it; as for `pyflow.Workflow.add_task`."""


@dataclass(frozen=True, slots=True)
class Service:
    """A rollout as a part of a release train, and what it waits for."""

    workflow: RolloutWorkflow
    """What a strategy has returned."""

    depends_on: Sequence[str] = ()
    """The services and changes that it waits for."""

    name: str | None = None
    """What the train calls it; the name of the service unless given."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The end of one rollout."""

    arrived: tuple[str, ...]
    """The tasks after which it serves the new version, judged, and still has the old one."""

    tail: tuple[str, ...]
    """The tasks with which it begins to give up the old one."""


def ends_of(workflow: RolloutWorkflow) -> Ends:
    """Return where *workflow* has arrived, and where its tail begins.

    It goes by the dependencies that were declared, so that nothing has to be
    compiled; those that only a parameter implies are not seen.
    """
    after = _dependents(workflow)
    tail = {name for name, note in workflow.notes.items() if note.kind in LAST}
    while early := {name for name in tail if not tail.issuperset(after[name])}:
        tail -= early
    behind = {name for one in tail for name in after[one]}
    return Ends(
        arrived=tuple(n for n in after if n not in tail and tail.issuperset(after[n])),
        tail=tuple(name for name in after if name in tail - behind),
    )


def _dependents(workflow: RolloutWorkflow) -> dict[str, list[str]]:
    """Return what waits for each task; a prefix stands for every task under it."""
    after: dict[str, list[str]] = {task.name: [] for task in workflow.tasks}
    for task in workflow.tasks:
        for before in task.depends_on:
            under = f"{before}."
            for name in [n for n in after if n == before or n.startswith(under)]:
                after[name].append(task.name)
    return after


def name_of(service: Service) -> str:
    """Return what the train calls *service*; empty where nothing says."""
    if service.name is not None:
        return service.name
    return next((note.service for note in service.workflow.notes.values() if note.service), "")


# What is wrong ----------------------------------------------------------------------------


def problems_of(services: Sequence[Service], changes: Sequence[StateChange]) -> list[str]:
    """Return everything that is wrong with the parts of a train, in sentences."""
    if not services:
        return ["services=[] is a train without a service; give what strategies return"]
    odd = [one.workflow for one in services if not isinstance(one.workflow, RolloutWorkflow)]  # pyright: ignore[reportUnnecessaryIsInstance]
    if odd:
        return [f"{shown(one)} is no rollout; give what a strategy returns" for one in odd]
    parts = [(name_of(one), one.depends_on) for one in services]
    parts += [(one.name, one.depends_on) for one in changes]
    names = [name for name, _ in parts]
    problems = list(_name_problems(names))
    for name, before in parts:
        problems += _dependency_problems(name, before, names)
    for change in changes:
        problems += _change_problems(change)
    ends = [one.name for one in changes if one.at_end]
    for name, before in [part for part in parts if part[0] not in ends]:
        problems += [
            f"{name} waits for {one}, which comes at the very end of the train"
            for one in before
            if one in ends
        ]
    return problems


def _name_problems(names: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if not name:
            yield "a service has no name; give Service(..., name=...)"
        elif name in OWN_NAMES:
            yield f"{name!r} is what a task of the train itself is called; give another name"
        elif names.count(name) > 1:
            yield f"{name!r} names {names.count(name)} parts of the train; give each its own name"


def _dependency_problems(name: str, before: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    if isinstance(before, str):
        yield f"{name}: depends_on={before!r} must be a list of names"
        return
    for one in before:
        if one not in names:
            near = nearest(str(one), names)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(names)}."
            yield f"{name} depends on {shown(one)}, which is no part of this train; {hint}"


def _change_problems(change: StateChange) -> Iterator[str]:
    name, way_back = change.name, change.way_back
    if way_back not in WAYS_BACK:
        yield f"{name}: way_back={shown(way_back)}; choose from {', '.join(WAYS_BACK)}"
    elif way_back == "undo" and change.undo is None:
        yield (
            f"{name} has no undo; give undo=, or say way_back='forward_only' or 'freeze' "
            "where there can be none"
        )
    elif way_back != "undo" and change.undo is not None:
        yield f"{name} has an undo, and way_back={way_back!r} would never use it; leave one out"
    elif way_back == "forward_only" and not change.checks:
        yield (
            f"{name} only goes forward, so services are taken back past it; give checks= that say "
            "whether old versions work with it, or way_back='freeze'"
        )
    if any(isinstance(check, AnalysisCheck) for check in change.checks):
        yield f"{name}: checks= of a change are probes and functions; an analysis needs traffic"
