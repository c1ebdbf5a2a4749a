"""A canary with a fresh baseline: instances of the old version that are as new as those of the new one."""

from __future__ import annotations

from typing import Any

import pytest

from pyflow.analysis import Compare
from pyflow.errors import DefinitionError
from pyflow.strategies import Step
from pyflow.testing import World, always, explore, simulate
from pyflow.testing.world import Load
from support.rollouts import AFTER, BEFORE, INSTANCES, NEW, OLD, at, make_canary, open_shop

FRESH = f"{OLD}-baseline"


def cold(load: Load) -> float:
    """Return the error rate of instances whose caches are cold for an hour."""
    return 0.1 if 0 < load.age_s < 3600 else 0.0


def open_cold_shop() -> World:
    """Return a shop in which whatever has just been started fails more often."""
    world = open_shop(error_rate=cold)
    world.release("shop", FRESH, startup="30s", error_rate=cold)
    return world


def compare(world: World) -> Compare:
    queries = ("errors shop $version", "requests shop $version")
    return Compare(
        world.metrics, *queries, counts="periods", max_increase=0.02, interval="1m", name="errors"
    )


def weights(simulation: Any) -> list[tuple[Any, ...]]:
    """Return the weights of old, fresh and new version as they are recorded to be set."""
    recorded = [r.data for r in simulation.audit_trail.changes]
    set_to = [d["after"] for d in recorded if d["resource"] == "shop weights"]
    return [tuple(one.get(v, 0) for v in (OLD, FRESH, NEW)) for one in set_to]


@always
def fresh_is_as_big(world: World) -> None:
    """The fresh baseline gets exactly what the canary gets, and the old version is never given up."""
    service = world.services["shop"]
    now, counts = service.now.weights, service.counts()
    if now.get(FRESH):
        assert now[FRESH] == now.get(NEW)
    assert now.get(NEW) == 100 or counts.get(OLD) == INSTANCES


class TestFresh:
    def test_runs_beside_the_canary(self) -> None:
        """Below half both get the same; from there on the old version is big enough, and it goes at the end."""
        world = open_shop()

        simulation = simulate(
            make_canary(world, steps=[5, 40, 60, 100], baseline="fresh"), world=world
        )

        assert simulation.status == "succeeded", simulation.error
        assert weights(simulation) == [(90, 5, 5), (20, 40, 40), (40, 0, 60), (0, 0, 100)]
        assert world.facts() == AFTER
        counts = [c.after for c in simulation.history if c.what == f"shop instances {FRESH}"]
        assert counts == [1, 2, None]

    @pytest.mark.parametrize(
        ("baseline", "status"), [("stable", "rolled_back"), ("fresh", "succeeded")]
    )
    def test_judges_what_is_cold_by_what_is_cold(self, baseline: str, status: str) -> None:
        """Cold caches alone are no reason to take a version back where both have them."""
        world = open_cold_shop()
        checks = [compare(world)]

        simulation = simulate(
            make_canary(world, steps=[25, 100], bake="20m", checks=checks, baseline=baseline),
            world=world,
        )

        assert simulation.status == status, simulation.error

    def test_is_what_the_background_compares_with(self) -> None:
        """Comparisons in the background compare with it too, and are done when it gets no more traffic."""
        world = open_cold_shop()

        simulation = simulate(
            make_canary(
                world,
                steps=[25, 50, 100],
                bake="20m",
                background_checks=[compare(world)],
                baseline="fresh",
            ),
            world=world,
        )

        assert simulation.status == "succeeded", simulation.error
        order = list(simulation.order)
        assert order.index("background_comparison") < order.index("scale_50")

    def test_goes_in_a_rollback(self) -> None:
        """A rollback takes all weight from both at once, and then both away."""
        world = open_shop(error_rate=0.3)
        checks = [compare(world)]

        simulation = simulate(
            make_canary(world, steps=[25, 100], bake="20m", checks=checks, baseline="fresh"),
            world=world,
        )

        assert simulation.status == "rolled_back"
        assert weights(simulation) == [(50, 25, 25), (100, 0, 0)]
        assert world.facts() == BEFORE

    @pytest.mark.parametrize("after_s", [10, 40, 100, 200])
    def test_goes_in_a_promotion(self, after_s: float) -> None:
        """Whenever somebody promotes, it is gone in the end."""
        world = open_shop()

        simulation = simulate(
            make_canary(world, steps=[10, 25, 100], bake="1h", baseline="fresh"),
            world=world,
            operator=at(after_s, lambda run: run.promote(by="ann")),
        )

        assert simulation.status == "succeeded", simulation.error
        assert world.facts() == AFTER
        assert simulation.elapsed.total_seconds() < 600

    def test_has_the_size_of_the_step(self) -> None:
        """A step that says how many instances says so for both."""
        world = open_shop()
        steps = [Step(10, instances=3), 100]

        simulation = simulate(make_canary(world, steps=steps, baseline="fresh"), world=world)

        counts = [c.after for c in simulation.history if c.what == f"shop instances {FRESH}"]
        assert counts == [3, None]

    def test_is_safe(self) -> None:
        """Under every single fault every invariant holds, and both always get the same."""
        world = open_shop()

        report = explore(
            lambda: make_canary(world, steps=[25, 100], baseline="fresh"),
            world=world,
            faults=1,
            invariants=[fresh_is_as_big],
        )

        assert report.ok, report

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"baseline": "old"}, 'choose "stable" or "fresh"'),
            ({"baseline": "fresh", "steps": [50, 100]}, "begin with a step below 50 %"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], said: str) -> None:
        """What is no baseline, or has no room for one, is refused."""
        with pytest.raises(DefinitionError, match=said):
            make_canary(open_shop(), **options)
