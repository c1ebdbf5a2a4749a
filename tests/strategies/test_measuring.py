"""Checks of an analysis in a rollout: which versions, for how long, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyflow.analysis import Arms, Compare, Custom, Threshold
from pyflow.analysis.checks import Check
from pyflow.errors import DefinitionError
from pyflow.strategies import Step
from pyflow.strategies.measuring import fitted
from pyflow.testing import Simulation, World, explore, simulate
from support.rollouts import AFTER, BEFORE, NEW, OLD, make_blue_green, make_canary, open_shop


def compare(world: World, **options: Any) -> Compare:
    given: dict[str, Any] = {"max_increase": 0.02, "interval": "1m", "name": "errors"}
    queries = ("errors shop $version", "requests shop $version")
    return Compare(world.metrics, *queries, counts="periods", **{**given, **options})


def threshold(world: World, **options: Any) -> Threshold:
    given: dict[str, Any] = {"below": 0.05, "name": "rate"}
    return Threshold(world.metrics, "error_rate shop $version", **{**given, **options})


def measurements(simulation: Simulation, task: str) -> list[tuple[str, str]]:
    """Return check and verdict of every measurement of *task*."""
    records = simulation.audit_trail.query(kind="measurement_taken")
    return [(r.data["check"], r.data["verdict"]) for r in records if r.task == task]


class TestCanary:
    def test_finds_a_bad_version(self) -> None:
        """A version that fails 20 % of its requests is found while its step bakes, and taken back."""
        world = open_shop(error_rate=0.2)

        simulation = simulate(
            make_canary(world, steps=[5, 25, 100], bake="30m", checks=[compare(world)]), world=world
        )

        assert simulation.status == "rolled_back"
        assert "errors: fail: the canary is" in str(simulation.error)
        assert simulation.elapsed.total_seconds() < 600  # and not 30 minutes
        assert world.facts() == BEFORE
        shares = [c.after for c in simulation.history if c.what == f"shop weight {NEW}"]
        assert shares == [5.0, None]

    def test_promotes_a_good_one(self) -> None:
        """A version that is no worse goes through, and the last step has nothing to compare with."""
        world = open_shop()

        simulation = simulate(
            make_canary(world, steps=[25, 100], bake="15m", checks=[compare(world)]), world=world
        )

        assert simulation.status == "succeeded", simulation.error
        assert world.facts() == AFTER
        assert len(measurements(simulation, "check_25")) == 16  # the opening one, and 15 minutes
        assert "check_100" not in simulation.tasks

    def test_asks_where_it_is_unsure(self) -> None:
        """Too little traffic to tell is no pass: a person decides, with the weights as they are."""
        world = open_shop()
        world.traffic("shop", rps=0.5)

        simulation = simulate(
            make_canary(world, steps=[25, 100], bake="5m", checks=[compare(world)]), world=world
        )

        assert simulation.status == "held"
        assert dict(world.services["shop"].now.weights) == {OLD: 75.0, NEW: 25.0}

    def test_bakes_as_long_as_it_says(self) -> None:
        """The next step comes neither before the bake is over nor before the analysis has passed."""
        for count, least_s in ((2, 600), (20, 1200)):
            world = open_shop()
            checks = [threshold(world, interval="1m", initial_delay="1m", count=count)]
            simulation = simulate(
                make_canary(world, steps=[25, 100], bake="10m", checks=checks), world=world
            )
            shifts = [c.at_s for c in simulation.history if c.what == f"shop weight {NEW}"]
            assert least_s <= shifts[1] - shifts[0] < least_s + 90

    def test_mixes_kinds_of_checks(self) -> None:
        """Probes and functions are called after the bake; what measures makes one analysis."""
        world = open_shop()
        called: list[float] = []

        def well() -> None:
            called.append(world.now_s)

        checks = [compare(world), well, threshold(world), world.probe("shop", NEW)]
        simulation = simulate(
            make_canary(world, steps=[25, 100], bake="15m", checks=checks), world=world
        )

        assert simulation.status == "succeeded", simulation.error
        assert [name for name in simulation.tasks if name.startswith("check")] == [
            *("check_25_1", "check_25_2", "check_25_3"),
            *("check_100_1", "check_100_2", "check_100_3"),
        ]
        assert {check for check, _ in measurements(simulation, "check_25_3")} == {"errors", "rate"}
        assert {check for check, _ in measurements(simulation, "check_100_3")} == {"rate"}

    def test_goes_on_where_a_crash_cut_it(self) -> None:
        """However the deployment is cut off, a bad version ends up without traffic."""
        world = open_shop(error_rate=0.2)

        def taken_back(run: Any) -> None:
            if run.status == "succeeded":
                raise AssertionError("a bad version was promoted")

        report = explore(
            lambda: make_canary(world, steps=[25, 100], bake="3m", checks=[compare(world)]),
            world=world,
            faults=1,
            kinds=["crash"],
            invariants=[taken_back],
        )

        assert report.ok, report

    def test_refuses_to_compare_with_nothing(self) -> None:
        """A comparison that a last step asks for by itself is refused when the rollout is defined."""
        world = open_shop()

        with pytest.raises(DefinitionError, match="at 100 % one of them has no traffic"):
            make_canary(world, steps=[5, Step(100, checks=[compare(world)])])


class TestBlueGreen:
    def test_measures_after_the_switch(self) -> None:
        """A threshold is judged while it bakes, and a bad version taken back at once."""
        world = open_shop(error_rate=0.2)
        checks = [threshold(world, interval="1m", initial_delay="1m")]

        simulation = simulate(make_blue_green(world, bake="1h", post_checks=checks), world=world)

        assert simulation.status == "rolled_back"
        assert simulation.elapsed.total_seconds() < 600
        assert world.facts() == BEFORE

    @pytest.mark.parametrize("option", ["preview_checks", "post_checks"])
    def test_refuses_comparisons(self, option: str) -> None:
        """Before the switch and after it one version has no traffic, so there is nothing to compare."""
        world = open_shop()

        with pytest.raises(DefinitionError, match="'errors' compares the versions"):
            make_blue_green(world, **{option: [compare(world)]})


def well(arms: Arms) -> bool:
    return True


class TestFitted:
    @pytest.mark.parametrize(
        ("make", "delay", "count"),
        [
            (lambda _: Custom(well), 600.0, None),
            (lambda _: Custom(well, initial_delay="2m"), "2m", None),
            (lambda _: Custom(well, interval="1m"), 0, 11),
            (lambda _: Custom(well, interval="1m", initial_delay="30s"), "30s", 10),
            (lambda _: Custom(well, interval="1m", count=3), 0, 3),
            (lambda world: compare(world), 0, 10),
            (lambda _: Custom(well, interval=600 / 7), 0, 8),
        ],
    )
    def test_fills_the_bake(self, make: Callable[[World], Check], delay: Any, count: Any) -> None:
        """What a check leaves open follows from a bake of ten minutes; what it says, it keeps."""
        [check] = fitted([make(World())], 600.0)

        assert (check.initial_delay, check.count) == (delay, count)

    def test_leaves_those_in_the_background(self) -> None:
        """Beside one that says how often it measures, one that does not goes on until it is done."""
        [background, _] = fitted(
            [Custom(well, interval="1m"), Custom(well, interval="2m", count=9, name="other")], 600.0
        )

        assert background.count is None

    def test_changes_nothing_without_a_bake(self) -> None:
        """Without a bake each check says for itself."""
        checks: list[Check] = [Custom(well, interval="1m")]

        assert fitted(checks, 0.0) == checks

    def test_refuses_what_does_not_fit(self) -> None:
        """A bake that is too short for one measurement is refused."""
        with pytest.raises(DefinitionError, match="too short for one measurement at interval='1m'"):
            fitted([compare(World())], 59.0)

    def test_refuses_what_never_ends(self) -> None:
        """Without a bake and without a count an analysis would never end, and is refused at once."""
        world = open_shop()

        with pytest.raises(DefinitionError, match="would never end"):
            make_canary(world, bake=None, checks=[threshold(world, interval="1m")])
