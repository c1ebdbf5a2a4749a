"""The laws of the machine, over random workflows in random worlds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyflow.run import inputs as on
from pyflow.run.machine import Machine
from support.driving import World
from support.laws import LAWS, rollback_goes_backwards, settle, starts_stop_when_the_run_does
from support.strategies import random_workflow, random_world, workflows

EXAMPLES = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = 4_000

Law = Callable[[World], None]


def broken(laws: tuple[Law, ...], seeds: int) -> str | None:
    """Return the law that a seed breaks, or None."""
    for seed in range(seeds):
        rng = random.Random(seed)
        world = random_world(random_workflow(rng), rng)
        try:
            settle(world)
            for law in laws:
                law(world)
        except (AssertionError, KeyError) as error:
            return f"seed {seed}: {error!r}\n{world!r}"
    return None


class TestLaws:
    def test_hold_for_every_seed(self) -> None:
        """Every law holds in each of some thousand seeded worlds."""
        assert broken(LAWS, SEEDS) is None

    @EXAMPLES
    @given(workflows(), st.integers(0, 2**32))
    def test_hold_for_hypothesis(self, workflow: Any, seed: int) -> None:
        """Every law holds in worlds that Hypothesis draws, and shrinks where one does not."""
        world = settle(random_world(workflow, random.Random(seed)))

        for law in LAWS:
            law(world)

    def test_equal_happenings_give_equal_events(self) -> None:
        """Equal plans and equal happenings give equal events, whatever else is drawn."""
        for seed in range(300):
            rng = random.Random(seed)
            world = random_world(random_workflow(rng), rng, slots=1_000)
            script: list[on.Happening] = []
            handle = world.machine.handle

            def noted(happening: on.Happening, handle: Any = handle, script: Any = script) -> None:
                script.append(happening)
                handle(happening)

            world.machine.handle = noted
            settle(world)
            again = World(world.plan, rng.randrange, max_parallel=world.max_parallel)
            again.machine.start(world.events[0])  # pyright: ignore[reportArgumentType]
            again._turn()
            for happening in script:
                again.tell(happening)

            assert again.events == world.events


MUTANTS: dict[str, tuple[Law, Callable[[pytest.MonkeyPatch], None]]] = {
    "retry while the run is stopping": (
        starts_stop_when_the_run_does,
        lambda patch: patch.setattr(Machine, "is_stopping", property(lambda self: False)),
    ),
    "undo everything at once": (
        rollback_goes_backwards,
        lambda patch: patch.setattr(
            "pyflow.run.recovery.Rollback.begin",
            lambda self: [s for s in self.order if s.attempt and s.node.undo and s.items is None],
        ),
    ),
}


class TestTheLawsThemselves:
    @pytest.mark.parametrize("name", MUTANTS)
    def test_catch(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine with this fault breaks the law."""
        law, plant = MUTANTS[name]
        plant(monkeypatch)

        assert broken((law,), SEEDS) is not None
