"""Checks in the background of a canary: they measure beside its steps, and end it at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pyflow
from pyflow.analysis import Compare, Custom, Threshold
from pyflow.errors import DefinitionError
from pyflow.strategies import Step
from pyflow.testing import World, simulate
from pyflow.testing.world import Load
from support.rollouts import AFTER, BEFORE, NEW, OLD, at, make_canary, open_shop


def rate(world: World, **options: Any) -> Threshold:
    given: dict[str, Any] = {"below": 0.05, "interval": "30s", "name": "rate"}
    return Threshold(world.metrics, "error_rate shop $version", **{**given, **options})


def compare(world: World, **options: Any) -> Compare:
    given: dict[str, Any] = {"max_increase": 0.02, "interval": "1m", "name": "errors"}
    queries = ("errors shop $version", "requests shop $version")
    return Compare(world.metrics, *queries, counts="periods", **{**given, **options})


def turns_bad(load: Load) -> float:
    """Return the error rate of a version that fails after half an hour."""
    return 0.2 if load.age_s > 1800 else 0.0


class TestBackgroundChecks:
    def test_measure_beside_the_steps(self) -> None:
        """They measure from the first shift until the last step is done, and the old version stays so long."""
        world = open_shop()
        checks = [rate(world, initial_delay="2m")]

        simulation = simulate(make_canary(world, bake="10m", background_checks=checks), world=world)

        assert simulation.status == "succeeded", simulation.error
        assert world.facts() == AFTER
        tasks = simulation.tasks
        assert tasks["background"].status == "succeeded"
        assert simulation.order[-1] == "retire_old"
        measured = list(simulation.audit_trail.query(kind="measurement_taken"))
        assert {r.task for r in measured} == {"background"}
        assert len(measured) == pytest.approx(60, abs=6)

    def test_take_it_back_at_once(self) -> None:
        """What goes bad in the middle of a long bake has the rollout taken back within one look."""
        world = open_shop(error_rate=turns_bad)

        simulation = simulate(
            make_canary(world, bake="2h", background_checks=[rate(world)]), world=world
        )

        assert simulation.status == "rolled_back"
        assert 1800 < simulation.elapsed.total_seconds() < 1800 + 120
        assert "background" in str(simulation.error)
        assert world.facts() == BEFORE
        [failed] = list(simulation.audit_trail.query(kind="task_failed"))
        [raised] = list(simulation.audit_trail.query(kind="intent_raised"))
        assert (failed.task, raised.at) == ("background", failed.at)

    def test_hold_where_they_are_unsure(self) -> None:
        """A comparison that is unsure at its end asks a person, with the weights as they are."""
        world = open_shop()
        world.traffic("shop", rps=0.5)
        checks = [compare(world)]

        simulation = simulate(
            make_canary(world, steps=[25, 100], bake="3m", background_checks=checks), world=world
        )

        assert simulation.status == "held"
        assert dict(world.services["shop"].now.weights) == {OLD: 75.0, NEW: 25.0}

    def test_compare_before_the_last_step(self) -> None:
        """Comparisons are done before all traffic goes to one version; the others go on."""
        world = open_shop()
        checks = [compare(world), rate(world)]

        simulation = simulate(
            make_canary(world, steps=[25, 50, 100], bake="15m", background_checks=checks),
            world=world,
        )

        assert simulation.status == "succeeded", simulation.error
        order = list(simulation.order)
        assert order.index("background_comparison") < order.index("scale_100")
        ends = {r.task: r.seq for r in simulation.audit_trail.query(kind="task_succeeded")}
        assert ends["shift_100"] < ends["background"] < ends["retire_old"]
        assert ends["background_comparison"] < ends["scale_100"]

    def test_go_on_while_people_think(self) -> None:
        """A question holds the run although they measure, and a failure does not wait for the answer."""
        world = open_shop(error_rate=turns_bad)
        steps = [Step(25, approval="Go on?"), 100]
        held: list[str] = []

        async def operator(run: pyflow.Run) -> None:
            held.append((await run).status)
            await asyncio.sleep(7200)

        simulation = simulate(
            make_canary(world, steps=steps, bake="5m", background_checks=[rate(world)]),
            world=world,
            operator=operator,
        )

        assert held == ["held"]
        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE

    def test_are_over_where_the_run_is_left(self) -> None:
        """Whoever takes a held run up again has them go on, and nothing is lost."""
        world = open_shop()
        steps = [Step(25, approval="Go on?"), 100]

        simulation = simulate(
            make_canary(world, steps=steps, bake="5m", background_checks=[rate(world)]),
            world=world,
        )

        assert simulation.status == "held"

    def test_are_left_out_of_a_promotion(self) -> None:
        """Whoever promotes passes them over too."""
        world = open_shop()

        simulation = simulate(
            make_canary(world, bake="2h", background_checks=[rate(world), compare(world)]),
            world=world,
            operator=at(600, lambda run: run.promote(by="ann")),
        )

        assert simulation.status == "succeeded"
        assert simulation.elapsed.total_seconds() < 1000
        assert world.facts() == AFTER

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda world: world.probe("shop", NEW), "does not measure"),
            (lambda world: rate(world, interval=None), "'rate' measures only once"),
            (lambda world: Custom(lambda arms: True, name="own"), "'own' measures only once"),
        ],
    )
    def test_refuse_what_does_not_go_on(self, make: Any, said: str) -> None:
        """What cannot measure again and again is refused when the rollout is defined."""
        world = open_shop()

        with pytest.raises(DefinitionError, match=said):
            make_canary(world, background_checks=[make(world)])

    def test_refuse_to_compare_with_nothing(self) -> None:
        """Where no step has traffic on both versions, nothing can be compared."""
        world = open_shop()

        with pytest.raises(DefinitionError, match="no step has traffic on both"):
            make_canary(world, steps=[100], background_checks=[compare(world)])
