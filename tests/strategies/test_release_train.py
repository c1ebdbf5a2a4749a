"""Release train: several services and changes of state, one verdict and one way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import pyflow
from pyflow.analysis import Threshold
from pyflow.errors import DefinitionError
from pyflow.probes import Callable
from pyflow.strategies import RolloutWorkflow, Service, StateChange, WayBack, release_train
from pyflow.testing import Simulation, World, always, explore, simulate
from support.rollouts import INSTANCES, NEW, OLD, at, make_blue_green, make_canary, roll_back
from support.trains import (
    AFTER,
    API_INSTANCES,
    BEFORE,
    api,
    facts,
    make_train,
    open_shops,
    schema,
    shop,
)

SICK = Callable(lambda: False, name="well")
WELL = Callable(lambda: True, name="well")


def what(simulation: Simulation) -> list[str]:
    """Return what changed, in order."""
    return [change.what for change in simulation.history]


@always
def nothing_is_given_up_early(world: World) -> None:
    """No old version goes before every service has its new one, unless all is over."""
    weights = {name: service.now.weights for name, service in world.services.items()}
    if any(one.get(OLD) for one in weights.values()):
        assert world.services["shop"].counts().get(OLD) == INSTANCES
        assert world.services["api"].counts().get(OLD) == API_INSTANCES


@always
def whoever_depends_goes_last(world: World) -> None:
    """The shop needs the new api, and that the new schema: none serves without what it needs."""
    new = {name: service.now.weights.get(NEW, 0) for name, service in world.services.items()}
    assert not new["shop"] or new["api"] == 100
    assert not new["api"] or world.schema_version == 1


class TestOrder:
    def test_is_that_of_dependencies(self) -> None:
        """Each part waits for what it depends on, and old versions go when all have arrived."""
        world = open_shops()

        simulation = simulate(make_train(world), world=world)

        assert simulation.status == "succeeded"
        assert world.facts() == AFTER
        assert what(simulation) == [
            "schema version",
            "api instances 2.0",
            "api weight 1.0",
            "api weight 2.0",
            "shop instances 2.0",
            "shop weight 1.0",
            "shop weight 2.0",
            "api instances 1.0",
            "shop instances 1.0",
        ]

    def test_is_reversed_on_the_way_back(self) -> None:
        """A verdict that fails takes all of it back: the shop, then the api, then the schema."""
        world = open_shops()

        simulation = simulate(make_train(world, checks=[SICK]), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        back = [one for one in what(simulation)[7:] if not one.endswith("weight 1.0")]
        assert back == [
            "shop weight 2.0",
            "shop instances 2.0",
            "api weight 2.0",
            "api instances 2.0",
            "schema version",
        ]

    def test_leaves_what_is_independent_side_by_side(self) -> None:
        """Services that do not depend on one another move at the same time."""
        world = open_shops()

        simulation = simulate(
            release_train(services=[api(world), shop(world)], bake="1m"), world=world
        )

        starts = [c.at_s for c in simulation.history if c.what.endswith("instances 2.0")]
        assert starts == [0, 0]
        assert simulation.elapsed < timedelta(seconds=120)

    def test_takes_back_what_is_over_too(self) -> None:
        """When the old versions are gone, a rollback starts them again, before any traffic."""
        world = open_shops()
        workflow = make_train(world)
        workflow.add_task("smoke", lambda: 1 / 0, depends_on=["api", "shop"])

        simulation = simulate(workflow, world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE

    def test_any_service_takes_all_back(self) -> None:
        """A check of one service is a check of the train."""
        world = open_shops()
        services = [
            Service(api(world)),
            Service(make_canary(world, checks=[SICK]), depends_on=["api"]),
        ]

        simulation = simulate(release_train(services=services), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        assert "api instances 2.0" in what(simulation)

    def test_the_old_ones_are_kept_after_the_verdict(self) -> None:
        """What a service says of keeping its old version counts from the verdict, for each its own."""
        world = open_shops()
        services = [
            Service(api(world, keep_old_for="2h")),
            Service(shop(world, keep_old_for="1h"), depends_on=["api"]),
        ]

        simulation = simulate(release_train(services=services, bake="10m"), world=world)

        at_s = {c.what: c.at_s for c in simulation.history}
        verdict_s = at_s["shop weight 2.0"] + 600
        assert at_s["shop instances 1.0"] == pytest.approx(verdict_s + 3600, abs=1)
        assert at_s["api instances 1.0"] == pytest.approx(verdict_s + 7200, abs=1)

    def test_are_values(self) -> None:
        """Equal arguments give equal plans, and what is coupled is left as it was."""
        world = open_shops()
        one = shop(world)
        before = one.check().fingerprint

        plans = [release_train(services=[one], checks=[WELL]).check() for _ in range(2)]

        assert plans[0].fingerprint == plans[1].fingerprint
        one.add_task("more", lambda: None)
        assert shop(world).check().fingerprint == before
        assert "shop.more" not in plans[0].nodes


class TestVerdict:
    def test_has_checks_of_every_kind(self) -> None:
        """Probes, functions and analyses are made beside one another, and a question after them."""
        world = open_shops()
        asked: list[str] = []
        rate = Threshold(
            world.metrics,
            "error_rate shop 2.0",
            below=0.05,
            interval="1m",
            initial_delay="2m",
            name="rate",
        )

        def smoke(ctx: pyflow.Context) -> None:
            asked.append(ctx.task)

        workflow = make_train(world, bake="5m", checks=[WELL, rate, smoke], approval="Keep it?")
        simulation = simulate(
            workflow, world=world, operator=at(900, lambda run: run.approve("approve", by="ann"))
        )

        assert simulation.status == "succeeded", simulation.error
        assert asked == ["verdict_2"]
        measured = simulation.audit_trail.query(kind="measurement_taken")
        assert [record.task for record in measured] == ["verdict_3"] * 4
        at_s = {c.what: c.at_s for c in simulation.history}
        assert at_s["shop instances 1.0"] - at_s["shop weight 2.0"] > 300

    @pytest.mark.parametrize("bad", [True, False])
    def test_may_be_an_analysis_alone(self, bad: bool) -> None:
        """What is measured while the train bakes decides about all of it."""
        world = open_shops(error_rate=0.2 if bad else 0.0)
        rate = Threshold(world.metrics, "error_rate shop 2.0", below=0.05, name="rate")

        simulation = simulate(make_train(world, bake="5m", checks=[rate]), world=world)

        assert simulation.status == ("rolled_back" if bad else "succeeded")
        assert world.facts() == (BEFORE if bad else AFTER)

    def test_waits_for_people(self) -> None:
        """Until the question is answered, both versions of every service are there."""
        world = open_shops()

        simulation = simulate(make_train(world, approval="Keep it?"), world=world)

        assert simulation.status == "held"
        assert world.services["shop"].counts() == {OLD: INSTANCES, NEW: INSTANCES}
        assert world.services["api"].counts() == {OLD: API_INSTANCES, NEW: API_INSTANCES}


class TestUndo:
    def test_comes_after_a_check_that_fails(self) -> None:
        """What is not well after a change takes it back, before any service has moved."""
        world = open_shops()

        simulation = simulate(make_train(world, change=schema(world, checks=[SICK])), world=world)

        assert simulation.status == "rolled_back"
        assert what(simulation) == ["schema version", "schema version"]
        assert world.facts() == BEFORE


class TestForwardOnly:
    def test_stays(self) -> None:
        """Services are taken back past it, and the result says that it is not undone."""
        world = open_shops()
        change = schema(world, way_back="forward_only", checks=[WELL])

        simulation = simulate(make_train(world, change=change, checks=[SICK]), world=world)

        assert simulation.status == "rolled_back"
        assert simulation.not_undone == ("schema",)
        assert world.facts() == facts(OLD, 1)

    @pytest.mark.parametrize("kind", ["probe", "async", "plain"])
    def test_asks_a_person_where_old_versions_break(self, kind: str) -> None:
        """Where they do not work with it, nothing further moves, and the run is held."""
        world = open_shops()

        async def ask() -> None:
            raise RuntimeError("the old api cannot read this")

        def ask_plainly() -> None:
            raise RuntimeError("the old api cannot read this")

        checks = {"probe": SICK, "async": ask, "plain": ask_plainly}
        change = schema(world, way_back="forward_only", checks=[checks[kind]])

        simulation = simulate(make_train(world, change=change), world=world)

        assert simulation.status == "held"
        assert "only goes forward, and whether old versions work with it" in str(simulation.error)
        assert what(simulation) == ["schema version"]

    @pytest.mark.parametrize("works", [True, False])
    def test_bars_the_way_to_what_came_before(self, works: bool) -> None:
        """What came before it goes back only if the check passes once more; else it stays, and is named."""
        world = open_shops()
        answers = [True, works, works, works]
        change = schema(
            world,
            way_back="forward_only",
            checks=[Callable(lambda: answers.pop(0), name="works with 1.0")],
            depends_on=["api"],
        )
        services = [Service(api(world)), Service(shop(world), depends_on=["schema"])]
        workflow = release_train(services=services, changes=[change], checks=[SICK])

        simulation = simulate(workflow, world=world)

        if works:
            assert simulation.status == "rolled_back"
            assert world.facts() == facts(OLD, 1)
        else:
            assert simulation.status == "rollback_failed"
            assert simulation.residue == (
                "way_back_past_schema",
                "api.switch",
                "api.deploy_preview",
            )
            assert dict(world.services["api"].now.weights) == {NEW: 100.0}
            assert dict(world.services["shop"].now.weights) == {OLD: 100.0}

    def test_can_be_checked_in_several_ways(self) -> None:
        """Every check bars the way by itself."""
        world = open_shops()

        def well() -> None:
            """Say nothing."""

        change = schema(world, way_back="forward_only", checks=[WELL, well], depends_on=["api"])
        workflow = release_train(services=[api(world), shop(world)], changes=[change])

        simulation = simulate(workflow, world=world)

        assert simulation.status == "succeeded"
        assert "way_back_past_schema_2" in simulation.order
        assert "check_schema_2" in simulation.order


class TestFreeze:
    def test_holds_after_it(self) -> None:
        """Once it has started nothing is taken back: a person decides, with everything as it is."""
        world = open_shops()
        change = schema(world, way_back="freeze")

        simulation = simulate(
            make_train(world, change=change, checks=[SICK]),
            world=world,
            operator=at(300, roll_back),
        )

        assert simulation.status == "held"
        assert "point_of_no_return" in str(simulation.audit_trail)
        assert dict(world.services["shop"].now.weights) == {NEW: 100.0}
        assert world.services["shop"].counts() == {OLD: INSTANCES, NEW: INSTANCES}

    def test_rolls_back_before_it(self) -> None:
        """Until then the train goes back like any other."""
        world = open_shops()
        change = schema(world, way_back="freeze", depends_on=["shop"])
        services = [Service(api(world)), Service(shop(world, post_checks=[SICK]))]

        simulation = simulate(release_train(services=services, changes=[change]), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE


class TestTail:
    def test_is_what_nothing_waits_for(self) -> None:
        """An old version that has to be gone before something else happens is not kept for the verdict."""
        world = open_shops()
        one = shop(world, keep_old_for="1h")
        one.add_task("clean", lambda: None, depends_on=["retire_old"])

        simulation = simulate(release_train(services=[one], bake="1h"), world=world)

        assert simulation.status == "succeeded"
        assert simulation.order[-4:] == ("shop.keep_old", "shop.retire_old", "shop.clean", "bake")


class TestAtEnd:
    def test_waits_until_the_old_versions_are_gone(self) -> None:
        """A change at the end is made when nobody is left who needs what was there before."""
        world = open_shops()
        change = schema(world, way_back="freeze", at_end=True)
        workflow = release_train(services=[api(world), shop(world)], changes=[change], bake="1m")

        simulation = simulate(workflow, world=world)

        assert simulation.status == "succeeded"
        assert what(simulation)[-1] == "schema version"
        assert workflow.report().no_return == ("schema",)

    def test_may_have_an_order(self) -> None:
        """Changes at the end can depend on one another."""
        world = open_shops()
        later = StateChange("later", lambda: None, way_back="freeze", at_end=True)
        change = schema(world, at_end=True, depends_on=["later"])
        workflow = release_train(services=[api(world)], changes=[change, later])

        plan = workflow.check()

        assert "later" in plan.nodes["schema"].depends_on
        assert "api.retire_old" in plan.nodes["later"].depends_on


def odd(**options: Any) -> StateChange:
    """Return a change that leaves out what *options* do not say."""
    return StateChange("odd", lambda: None, **options)


class TestProblems:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (odd(), "odd has no undo; give undo="),
            (odd(way_back="back"), "way_back='back'; choose from undo, forward_only, freeze"),
            (odd(way_back="freeze", undo=print), "way_back='freeze' would never use it"),
            (odd(way_back="forward_only"), "odd only goes forward, .* give checks="),
            (odd(undo=print, depends_on=["shpo"]), "'shpo', .* did you mean 'shop'"),
            (odd(undo=print, depends_on=["zzzzzzzz"]), "there are shop, odd."),
            (odd(undo=print, depends_on="shop"), "depends_on='shop' must be a list of names"),
            (StateChange("bake", print, print), "'bake' is what a task of the train itself"),
            (StateChange("shop", print, print), "'shop' names 2 parts of the train"),
        ],
    )
    def test_of_changes_are_named(self, change: StateChange, reason: str) -> None:
        """What is wrong with a change is said, with what to do."""
        world = open_shops()

        with pytest.raises(DefinitionError, match=reason):
            release_train(services=[shop(world)], changes=[change])

    def test_come_together(self) -> None:
        """All of them are reported at once."""
        world = open_shops()

        with pytest.raises(DefinitionError) as caught:
            release_train(services=[shop(world)], changes=[odd(), odd(way_back="back")])

        assert len(caught.value.problems) == 3

    def test_of_an_analysis_in_a_change(self) -> None:
        """A change has no traffic to measure."""
        world = open_shops()
        rate = Threshold(world.metrics, "error_rate shop 2.0", below=0.05, name="rate")

        with pytest.raises(DefinitionError, match="an analysis needs traffic"):
            release_train(services=[shop(world)], changes=[odd(undo=print, checks=[rate])])

    def test_of_services_are_named(self) -> None:
        """A train needs rollouts, each with a name; a part cannot wait for what comes at the end."""
        world = open_shops()
        last = StateChange("last", print, print, at_end=True)
        plain: Any = pyflow.Workflow("plain")
        unnamed = shop(world)
        unnamed.notes.clear()

        for services, changes, reason in (
            ([], [], "a train without a service"),
            ([plain], [], "is no rollout; give what a strategy returns"),
            ([unnamed], [], "a service has no name"),
            ([Service(shop(world), depends_on=["last"])], [last], "at the very end of the train"),
        ):
            with pytest.raises(DefinitionError, match=reason):
                release_train(services=services, changes=changes)

    def test_of_policies_are_those_of_an_include(self) -> None:
        """Services and train have to agree on what a failure leads to."""
        world = open_shops()

        with pytest.raises(DefinitionError, match="on_failure"):
            release_train(services=[shop(world)], on_failure="hold").check()

    def test_of_versions_in_the_verdict(self) -> None:
        """A verdict cannot ask about the version, because there are several."""
        world = open_shops()
        rate = Threshold(world.metrics, "error_rate shop $version", below=0.05, name="rate")

        with pytest.raises(DefinitionError, match="version"):
            make_train(world, checks=[rate])

    def test_of_names_inside_are_named(self) -> None:
        """Where a service has a task that is called like the verdict, its end could not wait for that."""
        world = open_shops()
        inner = release_train(services=[api(world)], checks=[WELL])

        with pytest.raises(DefinitionError, match="a train inside a train is one"):
            release_train(services=[Service(inner), shop(world)], checks=[WELL])

    def test_a_name_can_be_given(self) -> None:
        """One service can be there twice under two names, as in two regions."""
        world = open_shops()
        services = [
            Service(make_blue_green(world), name="eu"),
            Service(make_blue_green(world), name="us", depends_on=["eu"]),
        ]

        plan = release_train(services=services).check()

        assert "eu.switch" in plan.nodes["us.survey"].depends_on or (
            "eu.bake" in plan.nodes["us.survey"].depends_on
        )


class TestFaults:
    @pytest.mark.parametrize("way_back", ["undo", "forward_only", "freeze"])
    def test_every_one_is_safe(self, way_back: WayBack) -> None:
        """Under every single fault every invariant holds, whatever the change says of its way back."""
        world = open_shops()
        options: dict[str, Any] = {} if way_back == "undo" else {"way_back": way_back}
        if way_back == "forward_only":
            options["checks"] = [WELL]

        report = explore(
            lambda: make_train(world, change=schema(world, **options)),
            world=world,
            faults=1,
            invariants=[nothing_is_given_up_early, whoever_depends_goes_last],
        )

        assert report.ok, report

    def test_are_safe_around_what_stays(self) -> None:
        """So it is where a change that only goes forward stands between two services."""
        world = open_shops()
        stays = schema(world, way_back="forward_only", checks=[WELL], depends_on=["api"])

        def make() -> RolloutWorkflow:
            services = [Service(api(world)), Service(shop(world), depends_on=["schema"])]
            return release_train(services=services, changes=[stays])

        report = explore(make, world=world, faults=1, invariants=[nothing_is_given_up_early])

        assert report.ok, report

    def test_of_two_at_once_are_safe(self) -> None:
        """Nor do a person who takes it back and a platform that lies leave anything in between."""
        world = open_shops()

        report = explore(
            lambda: make_train(world),
            world=world,
            faults=2,
            kinds=["roll_back", "lies"],
            invariants=[nothing_is_given_up_early, whoever_depends_goes_last],
        )

        assert report.ok, report
