"""What tests of the simulated world share: a small shop, and workflows of a few calls."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any

from pyflow.define.workflow import Workflow
from pyflow.protocols import Sample
from pyflow.testing import Change, World

HOUR = timedelta(hours=1)


def shop(*, seed: int = 0, instances: int = 4, rps: float | None = None) -> World:
    """Return a world with a service that runs 1.0, and with traffic if *rps* is given."""
    world = World(seed=seed)
    world.service("shop", version="1.0", instances=instances)
    if rps is not None:
        world.traffic("shop", rps)
    return world


def calls(*functions: Callable[..., Any]) -> Workflow:
    """Return a workflow that calls *functions* one after the other, by their names."""
    workflow = Workflow("w")
    for number, function in enumerate(functions):
        before = functions[number - 1].__name__ if number else ()
        workflow.add_task(function.__name__, function, depends_on=before)
    return workflow


def call(work: Callable[[], Coroutine[Any, Any, Any]]) -> Workflow:
    """Return a workflow of one task, ``deploy``, that awaits *work*."""

    async def deploy() -> None:
        await work()

    return calls(deploy)


def told(history: Iterable[Change]) -> list[tuple[float, str | None, str, Any, Any]]:
    """Return every change as time, author, fact, before and after."""
    return [(round(c.at_s, 6), c.by, c.what, c.before, c.after) for c in history]


def replayed(facts: dict[str, Any], history: Iterable[Change]) -> dict[str, Any]:
    """Return *facts* with every change of *history* made to them, each from what it was before."""
    facts = dict(facts)
    for change in history:
        assert facts.pop(change.what, None) == change.before
        if change.after is not None:
            facts[change.what] = change.after
    return facts


def values(samples: Iterable[Sample]) -> list[float]:
    """Return what was measured."""
    return [sample.value for sample in samples]
