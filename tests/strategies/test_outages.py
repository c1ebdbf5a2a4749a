"""Outages that users of other tools have reported, each of them as a test.

The numbers are issues of argoproj/argo-rollouts (argo) and fluxcd/flagger.
"""

from __future__ import annotations

from typing import Any

import pytest

import pyflow
from pyflow.probes import Callable as Check
from pyflow.strategies import Step
from pyflow.testing import Simulation, World, always, explore, lies, simulate, stale
from support.rollouts import (
    AFTER,
    BEFORE,
    INSTANCES,
    NEW,
    OLD,
    STRATEGIES,
    WARM,
    at,
    decide,
    make_blue_green,
    make_canary,
    make_progressive,
    make_rolling,
    open_shop,
    roll_back,
)

each = pytest.mark.parametrize("name", STRATEGIES)
SICK = Check(lambda: False, name="well")


def changed(simulation: Simulation, what: str) -> list[tuple[float, Any]]:
    """Return when a fact changed, and to what."""
    return [(change.at_s, change.after) for change in simulation.history if change.what == what]


class TestOrder:
    def test_the_only_healthy_copy_is_kept(self) -> None:
        """Flagger 1898, 1932: a failed promotion is no reason to delete the one version that serves."""
        world = open_shop()
        world.at("45s", lambda: world.kill("shop", OLD, 3))
        workflow = make_blue_green(world, bake="5m", post_checks=[SICK], ready_within="5m")

        simulation = simulate(workflow, world=world)

        assert simulation.status == "rollback_failed"
        assert dict(world.services["shop"].now.weights) == {NEW: 100.0}
        assert world.services["shop"].counts()[NEW] == INSTANCES

    @each
    def test_the_old_version_serves_until_the_switch_is_seen(self, name: str) -> None:
        """Argo 2235: nothing is scaled down for weights that were only asked for."""
        world = open_shop()
        world.router.on("set_weights", lies())

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "held"
        assert changed(simulation, f"shop instances {OLD}") == []

    @pytest.mark.parametrize("name", [*WARM, "progressive"])
    def test_the_way_back_waits_for_all_of_the_old_version(self, name: str) -> None:
        """Argo 3941: a rollback does not send everything to the one instance that is up already."""
        world = open_shop()
        world.release("shop", OLD, startup="90s")
        workflow = STRATEGIES[name](world)
        workflow.add_task("smoke", lambda: 1 / 0, depends_on=[workflow.tasks[-1].name])

        simulation = simulate(workflow, world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        [_, (restarted_s, _)] = changed(simulation, f"shop instances {OLD}")
        assert changed(simulation, f"shop weight {OLD}")[-1][0] >= restarted_s + 90

    def test_a_canary_never_gets_more_than_it_is_sized_for(self) -> None:
        """Argo 4612: whoever aborts, and when, no share of the traffic exceeds the share of instances."""
        world = open_shop()

        @always
        def is_sized(world: World) -> None:
            service = world.services["shop"]
            share = service.now.weights.get(NEW, 0) / 100
            assert service.counts().get(NEW, 0) >= share * INSTANCES

        report = explore(
            lambda: make_canary(world),
            world=world,
            faults=1,
            kinds=["roll_back", "cancel", "crash", "fails"],
            invariants=[is_sized],
        )

        assert report.ok, report

    def test_the_old_version_is_warm_at_every_step(self) -> None:
        """Argo 3888: an abort comes back to capacity that was never taken away."""
        world = open_shop()

        simulation = simulate(make_canary(world, checks=[SICK], steps=[75, 100]), world=world)

        assert simulation.status == "rolled_back"
        assert changed(simulation, f"shop instances {OLD}") == []


class TestAbort:
    @each
    @pytest.mark.parametrize("span_s", [0, 10, 31, 45, 80, 120])
    def test_is_honoured_at_any_time(self, name: str, span_s: float) -> None:
        """Argo 4841, 4867, 4898, 4461; flagger 1268: weight goes to 0 at once, capacity after it."""
        world = open_shop()

        simulation = simulate(
            STRATEGIES[name](world, bake="10m"), world=world, operator=at(span_s, roll_back)
        )

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        weights = changed(simulation, f"shop weight {NEW}")
        if weights:
            assert weights[-1] == (pytest.approx(span_s, abs=5), None)
            assert changed(simulation, f"shop instances {NEW}")[-1][0] >= weights[-1][0]

    @each
    def test_is_the_end_of_it(self, name: str) -> None:
        """Argo 2929: a rollout that was aborted does not start again by itself."""
        world = open_shop()

        simulation = simulate(STRATEGIES[name](world), world=world, operator=at(45, roll_back))

        assert simulation.status == "rolled_back"
        assert [change for change in simulation.history if change.at_s > 60] == []

    @each
    def test_leaves_the_version_to_be_tried_again(self, name: str) -> None:
        """Flagger 1310, 862: the same version can be rolled out again after it was taken back."""
        world = open_shop()

        simulate(STRATEGIES[name](world), world=world, operator=at(45, roll_back))
        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "succeeded"
        assert world.facts() == AFTER


class TestSupersede:
    @each
    def test_does_not_take_a_version_away_that_is_routed_to(self, name: str) -> None:
        """Argo 4534: a third version does not begin while two of them share the traffic."""
        world = open_shop()
        world.apply_scale("shop", NEW, 2)
        world.apply_weights("shop", {OLD: 50, NEW: 50})
        before = world.facts()

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert "share the traffic; finish the rollout" in str(simulation.error)
        assert world.facts() == before


class TestWaves:
    def test_a_region_waits_until_the_one_before_is_judged(self) -> None:
        """Argo 2737, 3770, 1191: there is a barrier between regions, and it is closed after a bad one."""
        world = open_shop()
        calls: list[str] = []

        def judge(ctx: pyflow.Context) -> None:
            calls.append(ctx.task)
            raise RuntimeError("the depot is not well")

        simulation = simulate(make_progressive(world, checks=[judge]), world=world)

        assert (simulation.status, calls) == ("rolled_back", ["check_1"])
        assert changed(simulation, f"shop instances {NEW}") == []

    def test_an_old_version_is_back_before_the_new_one_goes(self) -> None:
        """Argo 2235, flagger 1898: on the way back nobody is left without what serves."""
        world = open_shop()
        world.release("shop", OLD, startup="5m")
        workflow = make_progressive(world)
        workflow.add_task("smoke", lambda: 1 / 0, depends_on=["bake_2"])

        simulation = simulate(workflow, world=world)

        assert simulation.status == "rolled_back"
        [*_, (started_s, _)] = changed(simulation, f"shop instances {OLD}")
        [*_, (gone_s, gone)] = changed(simulation, f"shop instances {NEW}")
        assert gone is None
        assert gone_s >= started_s + 300

    def test_a_broken_region_costs_no_other(self) -> None:
        """Argo 1774, flagger 639: one target that is broken does not keep the rest from the fix."""
        world = open_shop(starts=False)

        simulation = simulate(make_progressive(world, tolerate=1), world=world)

        assert simulation.status == "succeeded"
        assert world.facts() == BEFORE
        assert "4 of 2.0 are ready" in simulation.tasks["roll_shop"].output
        assert simulation.tasks["roll_depot"].output is None


class TestRolling:
    @pytest.mark.parametrize("limits", [(1, 0), (0, 1)])
    def test_no_share_is_more_than_the_instances_that_carry_it(self, limits: Any) -> None:
        """Argo 4612, 4867: whoever aborts, and when, nothing is scaled below its traffic."""
        world = open_shop()
        surge, unavailable = limits

        @always
        def is_sized(world: World) -> None:
            service = world.services["shop"]
            for version, weight in service.now.weights.items():
                able = service.ready(version, world.now_s)
                assert able >= weight / 100 * (INSTANCES - unavailable) - 1e-6

        report = explore(
            lambda: make_rolling(world, max_surge=surge, max_unavailable=unavailable),
            world=world,
            faults=1,
            kinds=["roll_back", "cancel", "crash"],
            invariants=[is_sized],
        )

        assert report.ok, report

    def test_the_way_back_waits_for_each_instance(self) -> None:
        """Argo 3941: old instances that are not up yet get no traffic back."""
        world = open_shop()
        world.release("shop", OLD, startup="90s")
        workflow = make_rolling(world)
        workflow.add_task("smoke", lambda: 1 / 0, depends_on=[workflow.tasks[-1].name])

        simulation = simulate(workflow, world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        restarts = [at_s for at_s, _ in changed(simulation, f"shop instances {OLD}")[2:]]
        returns = [at_s for at_s, _ in changed(simulation, f"shop weight {OLD}")[2:]]
        assert len(restarts) == len(returns) == 2
        assert all(b >= a + 90 for a, b in zip(restarts, returns, strict=True))

    def test_workers_have_no_traffic_to_split(self) -> None:
        """Argo 438, 1340, 4538; flagger 375, 1190: for consumers of a queue, capacity is the share."""
        for checks, status in (([], "succeeded"), ([SICK], "rolled_back")):
            world = open_shop(routed=False)

            workflow = make_rolling(world, checks=checks)
            simulation = simulate(workflow, world=world)

            assert simulation.status == status
            live = NEW if status == "succeeded" else OLD
            assert world.services["shop"].counts() == {live: INSTANCES}
            assert [task.name for task in workflow.tasks if "shift" in task.name] == []

    @pytest.mark.parametrize("routed", [True, False])
    def test_an_autoscaler_is_not_fought(self, routed: bool) -> None:
        """Argo 2857, 3849, 4847: what it adds in the middle of it holds the run, and stays."""
        world = open_shop(routed=routed)
        world.at("70s", lambda: world.apply_scale("shop", OLD, INSTANCES + 2))

        simulation = simulate(make_rolling(world), world=world)

        assert simulation.status == "held"
        assert "somebody else changed them" in str(simulation.error)
        assert world.services["shop"].counts()[OLD] == INSTANCES + 2


class TestStuck:
    @each
    def test_a_cache_that_lags_strands_nobody(self, name: str) -> None:
        """Argo 3316, 2522, 3080: answers that are behind by seconds only make it slower."""
        world = open_shop()
        world.router.on("weights", stale("5s"))

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "succeeded"

    @each
    def test_a_cache_that_never_follows_asks_a_person(self, name: str) -> None:
        """Argo 4073, 4694: what never shows is asked about in minutes, and nothing is taken for granted."""
        world = open_shop()
        world.router.on("weights", stale("2h"))

        simulation = simulate(STRATEGIES[name](world), world=world, operator=decide("roll_back"))

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        assert changed(simulation, f"shop instances {OLD}") == []


class TestPeople:
    def test_are_on_record(self) -> None:
        """Argo 2058: who promoted, and when, can be read afterwards."""
        world = open_shop()

        def approve(run: pyflow.Run) -> None:
            run.approve("approve_50", by="ann", comment="looks fine")

        simulation = simulate(
            make_canary(world, steps=[Step(50, approval="Go on?"), 100]),
            world=world,
            operator=at(600, approve),
        )

        assert simulation.status == "succeeded"
        said = [r.data for r in simulation.audit_trail if r.data.get("by") == "ann"]
        assert said
        assert any(data.get("comment") == "looks fine" for data in said)

    def test_are_waited_for_without_doing_anything_again(self) -> None:
        """Flagger 1248: while a gate is closed, what came before it is not run again and again."""
        world = open_shop()
        calls: list[str] = []

        def warm_up() -> None:
            calls.append("warm_up")

        workflow = make_blue_green(world, preview_checks=[warm_up], approval="Switch?")
        simulation = simulate(
            workflow,
            world=world,
            operator=at(86_400, lambda run: run.reject("approve_switch", by="ann")),
        )

        assert (simulation.status, calls) == ("rolled_back", ["warm_up"])
        assert world.facts() == BEFORE

    @each
    def test_are_told_once(self, name: str) -> None:
        """Argo 2556, 1667: a run has one end on record, a crash in the middle of it included."""
        world = open_shop()
        make = STRATEGIES[name]

        def ends_once(run: Any) -> None:
            ends = [event for event in run.events if event.kind == "run_finished"]
            assert len(ends) <= 1

        report = explore(
            lambda: make(world), world=world, faults=1, kinds=["crash"], invariants=[ends_once]
        )

        assert report.ok, report
