"""The laws of the machine hold of runs that are cut off after any commit, and taken up again."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyflow.record import events as ev
from support.driving import World
from support.laws import LAWS, decide, settle
from support.strategies import build, random_workflow, random_world

EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = 3_000


def taken_up(workflow: Any, rng: random.Random) -> World:
    """Run *workflow* in a world, cut the run off once or more, and let the last engine end it."""
    world = settle(random_world(workflow, rng))
    for _ in range(rng.choice([1, 1, 2, 3])):
        commits = rng.randint(1, len(world.batches))
        recorded = [event for batch in world.batches[:commits] for event in batch]
        if isinstance(recorded[-1], ev.RunFinished):
            return world
        how: dict[str, Any] = {}
        if rng.randrange(6) == 0 and not is_refused(world, recorded):
            how = {"roll_back": "no", "by": "bob"}
        world = decide(random_world(workflow, rng).resume(world, commits, **how))
    return world


def is_refused(world: World, recorded: list[ev.Event]) -> bool:
    """Return whether a run with these records cannot be rolled back; the engine looks before."""
    tasks = world.state.tasks
    started = {event.task for event in recorded if isinstance(event, ev.TaskStarted)}
    ends = [event.status for event in recorded if isinstance(event, ev.OutcomeDecided)]
    passed = any(tasks[name].node.task.point_of_no_return for name in started)
    return passed or ends[-1:] in (["succeeded"], ["rolled_back"])


def broken(seeds: int) -> str | None:
    """Return the law that a seed breaks, or None."""
    for seed in range(seeds):
        rng = random.Random(f"resume {seed}")
        workflow = random_workflow(rng, people=True)
        world = None
        try:
            world = taken_up(workflow, rng)
            for law in LAWS:
                law(world)
        except (AssertionError, KeyError) as error:
            return f"seed {seed}: {error!r}\n{world!r}"
    return None


class TestLaws:
    def test_hold_for_every_seed(self) -> None:
        """Every law holds of each of some thousand seeded runs that were cut off."""
        assert broken(SEEDS) is None

    @EXAMPLES
    @given(st.data(), st.integers(0, 2**32))
    def test_hold_for_hypothesis(self, data: Any, seed: int) -> None:
        """Every law holds where Hypothesis draws the workflow, and shrinks where one does not."""
        workflow = build(lambda below: data.draw(st.integers(0, below - 1)), people=True)
        world = taken_up(workflow, random.Random(seed))

        for law in LAWS:
            law(world)
