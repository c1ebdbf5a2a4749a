"""Rolling: what it comes to, and the limits that hold all the way, forward and back."""

from __future__ import annotations

from typing import Any

import pytest

from pyflow.analysis import Threshold
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError
from pyflow.probes import Callable
from pyflow.strategies import rolling
from pyflow.strategies.rolling import Turn, turns
from pyflow.testing import World, always, explore, fails, simulate
from support.rollouts import AFTER, BEFORE, INSTANCES, NEW, OLD, decide, open_shop

LIMITS = [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (4, 0), (9, 3)]
each = pytest.mark.parametrize(("surge", "unavailable"), LIMITS)
SICK = Callable(lambda: False, name="well")


def make(world: World, surge: Any = 1, unavailable: Any = 0, **options: Any) -> Workflow:
    router = world.router if world.services["shop"].routed else None
    given: dict[str, Any] = {"instances": INSTANCES, "bake": "1m", "router": router, **options}
    limits = {"max_surge": surge, "max_unavailable": unavailable}
    return rolling("shop", NEW, platform=world.platform, **limits, **given)


def within(surge: int, unavailable: int) -> Any:
    """Return the invariant that a rolling update with these limits keeps, at every change."""

    @always
    def limits_hold(world: World) -> None:
        service = world.services["shop"]
        able = {version: service.ready(version, world.now_s) for version in (OLD, NEW)}
        assert sum(service.counts().values()) <= INSTANCES + surge
        assert sum(able.values()) >= INSTANCES - unavailable
        least = (INSTANCES - unavailable) / 100
        for version, weight in service.now.weights.items():
            assert able[version] >= least * weight - 1e-6

    return limits_hold


class TestRolling:
    @each
    def test_brings_the_version_in(self, surge: int, unavailable: int) -> None:
        """Without trouble the new version has the traffic, at full capacity, and the old one is gone."""
        world = open_shop()

        simulation = simulate(make(world, surge, unavailable), world=world)

        assert simulation.status == "succeeded", simulation.error
        assert world.facts() == AFTER

    @each
    def test_goes_back_the_way_it_came(self, surge: int, unavailable: int) -> None:
        """Whatever has been done when a check fails is taken back, in reverse."""
        world = open_shop()
        workflow = make(world, surge, unavailable)
        workflow.add_task("smoke", lambda: 1 / 0, depends_on=[f"stop_{INSTANCES}"])

        simulation = simulate(workflow, world=world)

        assert simulation.status == "rolled_back", simulation.recovery_errors
        assert world.facts() == BEFORE

    @pytest.mark.parametrize("routed", [True, False])
    @pytest.mark.parametrize(("surge", "unavailable"), [(2, 0), (0, 2), (2, 1)])
    def test_is_safe(self, surge: int, unavailable: int, routed: bool) -> None:
        """Under every single fault every invariant holds, and so do the limits."""
        world = open_shop(routed=routed)

        report = explore(
            lambda: make(world, surge, unavailable),
            world=world,
            faults=1,
            invariants=[within(surge, unavailable)],
        )

        assert report.ok, report

    def test_stops_at_the_first_bad_one(self) -> None:
        """A check that fails has the update stop while most instances are old ones."""
        world = open_shop()

        simulation = simulate(make(world, checks=[SICK]), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        shares = [c.after for c in simulation.history if c.what == f"shop weight {NEW}"]
        assert shares == [25.0, None]

    def test_never_counts_what_is_not_ready(self) -> None:
        """A version that does not start gets no traffic, and is taken away again."""
        world = open_shop(starts=False)

        simulation = simulate(make(world), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        assert [c for c in simulation.history if "weight" in c.what] == []

    def test_measures_at_each_turn(self) -> None:
        """Checks of an analysis are judged at every share."""
        world = open_shop(error_rate=0.2)
        query = "error_rate shop $version"
        check = Threshold(world.metrics, query, below=0.05, interval="1m", initial_delay="1m")

        simulation = simulate(make(world, bake="10m", checks=[check]), world=world)

        assert simulation.status == "rolled_back"
        assert "AnalysisFailed" in str(simulation.error)

    @pytest.mark.parametrize("then", ["retry", "roll_back"])
    def test_asks_a_person(self, then: str) -> None:
        """A router that does not confirm, and a foreign change, hold it where it is."""
        world = open_shop()
        world.router.on("set_weights", fails(ConnectionError, times=7))

        simulation = simulate(make(world), world=world, operator=decide(then))

        assert simulation.status == ("succeeded" if then == "retry" else "rolled_back")
        assert world.facts() == (AFTER if then == "retry" else BEFORE)

    def test_leaves_foreign_changes_alone(self) -> None:
        """Weights that somebody else set in the middle of it stay as they set them."""
        world = open_shop()
        theirs = {OLD: 60.0, NEW: 40.0}
        world.at("80s", lambda: world.apply_weights("shop", theirs))

        simulation = simulate(make(world), world=world)

        assert simulation.status == "held"
        assert dict(world.services["shop"].now.weights) == theirs

    def test_keeps_the_capacity(self) -> None:
        """A service that has another number of instances is left as it is."""
        world = open_shop()

        simulation = simulate(make(world, instances=5), world=world)

        assert simulation.status == "rolled_back"
        assert "1.0 has 4 instances, and instances=5" in str(simulation.error)
        assert simulation.history == ()

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"instances": 0}, "instances=0 must be a whole number of 1 or more"),
            ({"surge": -1}, "max_surge=-1 must be"),
            ({"surge": "lots"}, "max_surge='lots' must be a count of 0 or more, or a percentage"),
            ({"unavailable": True}, "max_unavailable=True must be"),
            ({"surge": 0, "unavailable": "20%"}, "of 4 instances let nothing ever move"),
            ({"surge": 0}, "let nothing ever move"),
            ({"unavailable": 4}, "leave nobody to serve"),
        ],
    )
    def test_refuses_limits(self, options: dict[str, Any], reason: str) -> None:
        """Limits within which nothing moves, or nobody serves, are refused."""
        with pytest.raises(DefinitionError, match=reason):
            make(open_shop(), **options)


class TestTurns:
    def test_are_one_at_a_time(self) -> None:
        """With a surge of one, an instance starts, gets its share, and an old one goes."""
        assert list(turns(2, 1, 0)) == [
            *(Turn(2, 1, 0.0), Turn(2, 1, 50.0), Turn(1, 1, 50.0)),
            *(Turn(1, 2, 50.0), Turn(1, 2, 100.0), Turn(0, 2, 100.0)),
        ]

    @pytest.mark.parametrize("instances", range(1, 8))
    @pytest.mark.parametrize("surge", range(4))
    @pytest.mark.parametrize("unavailable", range(4))
    def test_keep_the_limits(self, instances: int, surge: int, unavailable: int) -> None:
        """Whatever the numbers, it ends, both limits hold, and a share has the instances it takes."""
        if surge == unavailable == 0 or unavailable >= instances:
            surge, unavailable = 1, 0
        serving = instances - unavailable

        found = list(turns(instances, surge, unavailable))

        assert found[-1] == Turn(0, instances, 100.0)
        for turn in found:
            assert serving <= turn.old + turn.new <= instances + surge
            assert turn.new >= serving * turn.pct / 100 - 1e-9
            assert turn.old >= serving * (100 - turn.pct) / 100 - 1e-9
