"""Outages of several services, schemas and configuration that users of other tools have reported.

The numbers are issues of argoproj/argo-rollouts (argo), argoproj/argo-cd and
fluxcd/flagger.
"""

from __future__ import annotations

from typing import Any

import pytest

import pyflow
from pyflow.analysis import Threshold
from pyflow.probes import Callable
from pyflow.strategies import RolloutWorkflow, Service, StateChange, release_train
from pyflow.testing import World, always, explore, simulate
from support.rollouts import NEW, OLD, at, decide, roll_back
from support.trains import AFTER, BEFORE, api, facts, make_train, open_shops, schema, shop

SICK = Callable(lambda: False, name="well")
WELL = Callable(lambda: True, name="well")


def by_time(simulation: Any) -> dict[str, float]:
    """Return when each fact changed for the last time."""
    return {change.what: change.at_s for change in simulation.history}


class TestSeveralServices:
    @pytest.mark.parametrize("span_s", [0, 10, 21.6, 30, 60, 90])
    def test_are_aborted_as_one(self, span_s: float) -> None:
        """Argo 2088, 451, 4054, 4565: one abort takes every service back, whichever is under way."""
        world = open_shops()

        simulation = simulate(
            make_train(world, bake="10m"), world=world, operator=at(span_s, roll_back)
        )

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE

    def test_are_promoted_as_one(self) -> None:
        """Argo 2088, 4054: one answer promotes all of them, and until then none gives up its old version."""
        world = open_shops()

        def approve(run: pyflow.Run) -> None:
            run.approve("approve", by="ann")

        simulation = simulate(
            make_train(world, approval="All of it?"), world=world, operator=at(3600, approve)
        )

        at_s = by_time(simulation)
        assert simulation.status == "succeeded"
        assert world.facts() == AFTER
        assert at_s["api instances 1.0"] == pytest.approx(3600, abs=5)
        assert at_s["shop instances 1.0"] == pytest.approx(3600, abs=5)

    def test_a_frontend_does_not_go_ahead_of_its_backend(self) -> None:
        """Flagger 1700: where the backend fails, the frontend that needs it is not even started."""
        world = open_shops()
        services = [
            Service(api(world, bake="1m", post_checks=[SICK])),
            Service(shop(world), depends_on=["api"]),
        ]

        simulation = simulate(release_train(services=services), world=world)

        assert simulation.status == "rolled_back"
        assert "shop instances 2.0" not in by_time(simulation)
        assert world.facts() == BEFORE

    def test_a_backend_does_not_leave_its_frontend(self) -> None:
        """Flagger 1700: where the frontend fails, it goes back first, and its backend after it."""
        world = open_shops()
        services = [
            Service(api(world)),
            Service(shop(world, bake="1m", post_checks=[SICK]), depends_on=["api"]),
        ]

        simulation = simulate(release_train(services=services), world=world)

        at_s = by_time(simulation)
        assert simulation.status == "rolled_back"
        assert at_s["shop weight 2.0"] <= at_s["api weight 2.0"]
        assert at_s["shop instances 2.0"] <= at_s["api weight 2.0"]
        assert world.facts() == BEFORE

    def test_one_that_suffers_stops_the_one_it_depends_on(self) -> None:
        """Argo 2005: the api looks well, and the shop in front of it does not: the api goes back."""
        world = open_shops()

        def suffers(_: object) -> float:
            return 0.3 if world.services["api"].now.weights.get(NEW) else 0.0

        world.release("shop", OLD, error_rate=suffers)
        rate = Threshold(world.metrics, "error_rate shop 1.0", below=0.05, name="the shop's errors")
        services = [
            Service(api(world, bake="5m", post_checks=[rate])),
            Service(shop(world), depends_on=["api"]),
        ]

        simulation = simulate(release_train(services=services), world=world)

        assert simulation.status == "rolled_back"
        assert "the shop's errors" in str(simulation.error)
        assert world.facts() == BEFORE

    def test_none_is_far_ahead_of_the_others(self) -> None:
        """Argo 2737, 3770, 1191: what has arrived waits for what has not, and keeps its old version."""
        world = open_shops()
        world.release("shop", NEW, startup="5m")
        workflow = release_train(services=[api(world), shop(world)])

        simulation = simulate(workflow, world=world)

        at_s = by_time(simulation)
        assert (at_s["api weight 2.0"] < 60, at_s["shop weight 2.0"] > 300) == (True, True)
        assert at_s["api instances 1.0"] >= at_s["shop weight 2.0"]


class TestConfiguration:
    @staticmethod
    def make(world: World, *, fails: bool = False) -> RolloutWorkflow:
        """Return a train whose versions each have a configuration of their own for as long as they run."""

        async def put(version: str, value: object) -> None:
            world.config[version] = value
            if world.config.get(version) != value:
                raise RuntimeError("the configuration is not what it was set to")

        async def put_new() -> None:
            await put(NEW, "new")

        async def take_new() -> None:
            await put(NEW, None)

        async def take_old() -> None:
            await put(OLD, None)

        async def put_old() -> None:
            await put(OLD, "old")

        workflow = release_train(
            services=[Service(shop(world), depends_on=["new_config"])],
            changes=[
                StateChange("new_config", put_new, take_new, on_interrupt="rerun"),
                StateChange("old_config", take_old, put_old, at_end=True, on_interrupt="rerun"),
            ],
        )
        if fails:
            workflow.add_task("smoke", lambda: 1 / 0, depends_on=["old_config"], timeout="1m")
        return workflow

    def test_is_rolled_back_with_the_code(self) -> None:
        """Argo 1297, 2669, 2675: what a release has changed beside the code is as before, too."""
        world = open_shops()
        world.config[OLD] = "old"
        before = world.facts()

        simulation = simulate(self.make(world, fails=True), world=world)

        assert simulation.status == "rolled_back"
        assert "config 1.0" in by_time(simulation)
        assert world.facts() == before

    @pytest.mark.parametrize("fails", [False, True])
    def test_never_meets_the_code_of_another_version(self, fails: bool) -> None:
        """Argo 958, 1244: no version runs without its own, when it is started again neither."""
        world = open_shops()
        world.config[OLD] = "old"

        @always
        def has_its_own(world: World) -> None:
            for version in world.services["shop"].counts():
                assert world.config.get(version), version

        report = explore(
            lambda: self.make(world, fails=fails), world=world, faults=1, invariants=[has_its_own]
        )

        assert report.ok, report


class TestSchemas:
    def test_that_cannot_go_back_freeze_the_release(self) -> None:
        """Flagger 1186: after an irreversible migration nothing is taken back; a person mends it and goes on."""
        world = open_shops()
        answers = [False, True]
        check = Callable(lambda: answers.pop(0), name="well")
        workflow = make_train(world, change=schema(world, way_back="freeze"), checks=[check])

        simulation = simulate(workflow, world=world, operator=decide("retry", after_s=600))

        assert "held" in simulation.states()
        assert simulation.status == "succeeded"
        assert world.facts() == AFTER

    def test_that_cannot_go_back_are_not_gone_back_over(self) -> None:
        """Flagger 1186: nor does an operator who asks for a rollback then get old code on a new schema."""
        world = open_shops()
        workflow = make_train(world, change=schema(world, way_back="freeze"), bake="1h")

        simulation = simulate(workflow, world=world, operator=at(600, roll_back))

        assert simulation.status == "succeeded"
        assert "shop weight 1.0" in by_time(simulation)
        assert world.facts() == AFTER

    def test_old_versions_can_live_with_stay(self) -> None:
        """Flagger 1186: where they were seen to work with it, code goes back and the schema does not."""
        world = open_shops()
        change = schema(world, way_back="forward_only", checks=[world.probe("shop", OLD)])

        simulation = simulate(make_train(world, change=change, checks=[SICK]), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == facts(OLD, 1)
        assert simulation.not_undone == ("schema",)

    def test_are_migrated_back_when_nobody_needs_them(self) -> None:
        """Argo-cd 5365, 1927: a reverse migration is a part of the rollback, after all code is back."""
        world = open_shops()

        simulation = simulate(make_train(world, checks=[SICK]), world=world)

        at_s = by_time(simulation)
        assert simulation.status == "rolled_back"
        assert [change.what for change in simulation.history][-1] == "schema version"
        assert at_s["schema version"] >= at_s["api instances 2.0"] >= at_s["shop weight 2.0"]

    def test_that_do_not_come_back_keep_the_rollout_from_ending_well(self) -> None:
        """Argo-cd 5365: a reverse migration that fails is residue, and the next release is kept out."""
        world = open_shops()

        async def migrate_back() -> None:
            raise RuntimeError("a column is in use")

        change = StateChange("schema", schema(world).do, migrate_back, on_interrupt="rerun")
        workflow = make_train(world, change=change, checks=[SICK])

        simulation = simulate(workflow, world=world)

        assert simulation.status == "rollback_failed"
        assert simulation.residue == ("schema",)
        assert dict(world.services["shop"].now.weights) == {OLD: 100.0}
        assert world.locks.refusal(["service:shop"]) is not None
