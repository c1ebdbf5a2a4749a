"""Progressive: waves over targets, what is taken back, and what is left as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

import pyflow
from pyflow.analysis import Compare, Threshold
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError
from pyflow.probes import Callable
from pyflow.strategies import Target, progressive
from pyflow.testing import Simulation, World, always, explore, fails, simulate
from support.pairs import explore_part, nobody_could_know
from support.rollouts import NEW, OLD, at, decide, roll_back

REGIONS = ("ap", "eu", "us")
EACH = 2
PAIRS = 60
"""How many pairs of faults are tried where single ones are; `make bench` has all."""
SICK = Callable(lambda: False, name="well")


def open_regions(*names: str, routed: bool = True, broken: Sequence[str] = ()) -> World:
    """Return a world in which the service runs in each region, and does not start in *broken* ones."""
    world = World()
    for name in names or REGIONS:
        world.service(name, version=OLD, instances=EACH, routed=routed)
        world.release(name, NEW, startup="30s", starts=name not in broken)
        world.traffic(name, rps=150)
    return world


def make(world: World, **options: Any) -> Workflow:
    """Return a rollout over all regions of *world*, one in each wave."""
    targets = [
        Target(name, world.platform, world.router if one.routed else None, service=name)
        for name, one in world.services.items()
    ]
    waves = list(range(1, len(targets) + 1))
    given: dict[str, Any] = {"targets": targets, "waves": waves, **options}
    return progressive("shop", NEW, **given)


def versions(world: World) -> dict[str, dict[str, int]]:
    """Return how many instances of each version there are in each region."""
    return {name: service.counts() for name, service in world.services.items()}


def began(simulation: Simulation) -> dict[str, float]:
    """Return when the new version first started in each region."""
    starts: dict[str, float] = {}
    for change in simulation.history:
        region, _, what = change.what.partition(" ")
        if what == f"instances {NEW}":
            starts.setdefault(region, change.at_s)
    return starts


@always
def serves_everywhere(world: World) -> None:
    """At every change each region has full capacity ready, of whichever version."""
    for service in world.services.values():
        able = [service.ready(version, world.now_s) for version in (OLD, NEW)]
        assert max(able) >= EACH, service


class TestWaves:
    @pytest.mark.parametrize("routed", [True, False])
    def test_come_one_after_another(self, routed: bool) -> None:
        """Each target has the version after its wave, and the next wave waits for the bake."""
        world = open_regions(routed=routed)

        simulation = simulate(make(world, bake="5m"), world=world)

        assert simulation.status == "succeeded", simulation.error
        assert versions(world) == {name: {NEW: EACH} for name in REGIONS}
        starts = list(began(simulation).values())
        assert all(b - a >= 330 for a, b in pairwise(starts))

    def test_are_portions(self) -> None:
        """Waves by percentage are of all targets, rounded up, and those that add none are left out."""
        world = open_regions(*"abcdefghij")

        workflow = make(world, waves=[1, "10%", "50%", "100%"], bake="1m")
        simulate(workflow, world=world)

        names = [task.name for task in workflow.tasks]
        assert [name for name in names if name.startswith("bake")] == ["bake_1", "bake_2", "bake_3"]
        bakes = [names.index(f"bake_{number}") for number in (1, 2, 3)]
        assert bakes == [2, 7, 13]
        assert all(counts == {NEW: EACH} for counts in versions(world).values())

    def test_keep_to_what_may_be_under_way(self) -> None:
        """No more targets are between versions at once than max_unavailable says, there and back."""
        world = open_regions(*"abcde")
        most: list[int] = []

        @always
        def counts_those_between(world: World) -> None:
            most.append(sum(len(counts) > 1 for counts in versions(world).values()))

        workflow = make(world, waves=["100%"], max_unavailable="40%", checks=[SICK])
        report = explore(lambda: workflow, world=world, faults=0, invariants=[counts_those_between])

        assert report.ok, report
        assert report.endings == {"rolled_back": 1}
        assert max(most) == 2

    def test_begin_with_what_matters_least(self) -> None:
        """Targets are ordered by criticality, and those that matter alike as they were given."""
        world = open_regions("pay", "blog", "docs")
        matters = {"pay": 9, "blog": 1, "docs": 1}
        targets = [
            Target(name, world.platform, world.router, service=name, criticality=matters[name])
            for name in world.services
        ]

        simulation = simulate(make(world, targets=targets), world=world)

        assert list(began(simulation)) == ["blog", "docs", "pay"]

    def test_may_ask_people(self) -> None:
        """After each wave but the last people are asked, and nothing begins before they answer."""
        world = open_regions()

        async def ann(run: pyflow.Run) -> None:
            await run
            run.approve("approve_1", by="ann")
            await run
            run.reject("approve_2", by="ann")

        simulation = simulate(make(world, approval="Go on?"), world=world, operator=ann)

        assert simulation.status == "rolled_back"
        assert list(began(simulation)) == ["ap", "eu"]

    def test_take_ports_of_names(self) -> None:
        """A target may be a name, whose platform and router are found by functions."""
        world = open_regions("shop")

        workflow = progressive(
            *("shop", NEW),
            targets=["eu-1.example.com"],
            platform=lambda _: world.platform,
            router=lambda _: world.router,
            waves=["100%"],
        )
        simulation = simulate(workflow, world=world)

        assert simulation.status == "succeeded"
        assert simulation.order == ("standings", "roll_eu-1_example_com")
        assert world.facts()["shop weight 2.0"] == 100

    def test_lock_each_service(self) -> None:
        """A rollout locks what the targets call the service, too."""
        assert make(open_regions()).locks == (
            *("service:shop", "service:ap", "service:eu", "service:us"),
        )


class TestChecks:
    def test_are_made_after_each_wave(self) -> None:
        """A wave that a check finds bad is the last, and all is taken back in reverse."""
        world = open_regions()
        before, looks = versions(world), list[str]()

        def well(ctx: pyflow.Context) -> None:
            looks.append(ctx.task)
            if ctx.task == "check_2":
                raise RuntimeError("the error rate is too high")

        simulation = simulate(make(world, checks=[well], bake="1m"), world=world)

        assert simulation.status == "rolled_back"
        assert looks == ["check_1", "check_2"]
        assert versions(world) == before
        gone = [c.what.split()[0] for c in simulation.history if c.what.endswith(NEW)]
        assert [name for name in gone if name in ("ap", "eu")][-1] == "ap"
        assert "us" not in gone

    def test_compare_until_there_is_nothing_left(self) -> None:
        """Comparisons are of the version with the old one, up to the last wave."""
        world = open_regions()
        queries = ("errors ap $version", "requests ap $version")
        given: dict[str, Any] = {"counts": "periods", "max_increase": 0.02, "interval": "1m"}
        compare = Compare(world.metrics, *queries, **given, name="errors")
        below = Threshold(world.metrics, "error_rate ap 2.0", below=0.05, name="rate")

        workflow = make(world, checks=[compare, below], bake="30m")

        tasks = [task.name for task in workflow.tasks]
        assert tasks[:2] == ["standings", "survey"]
        made: Any = [task.fn for task in workflow.tasks if task.name.startswith("check")]
        assert [[one.name for one in task.keywords["checks"]] for task in made] == [
            *[["errors", "rate"]] * 2,
            ["rate"],
        ]

    def test_measure(self) -> None:
        """Checks of an analysis are told the version, and what it is compared with."""
        world = open_regions()
        for name in REGIONS:
            world.release(name, NEW, error_rate=0.2, startup="30s")
        below = Threshold(world.metrics, "error_rate ap $version", below=0.05, name="rate")

        simulation = simulate(make(world, checks=[below], bake="5m"), world=world)

        assert simulation.status == "rolled_back"
        assert "AnalysisFailed: rate" in str(simulation.error)
        assert list(began(simulation)) == ["ap"]


class TestFailures:
    def test_take_everything_back(self) -> None:
        """A target that fails ends the rollout, and every wave is taken back in reverse."""
        world = open_regions(broken=["us"])
        before = world.facts()

        simulation = simulate(make(world), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == before
        undone = [name for name in simulation.order if name.startswith("undo")]
        assert undone == ["undo of roll_us", "undo of roll_eu", "undo of roll_ap"]

    def test_take_the_wave_back(self) -> None:
        """With abort_scope="wave" earlier waves stay, and the run has failed and says so."""
        world = open_regions(broken=["us"])

        simulation = simulate(make(world, waves=[1, 3], abort_scope="wave"), world=world)

        assert simulation.status == "failed"
        assert versions(world) == {"ap": {NEW: EACH}, "eu": {OLD: EACH}, "us": {OLD: EACH}}
        said = "roll_us failed, and what was taken back is: eu, us; earlier waves are as they were"
        assert said in str(simulation.error)
        assert simulation.residue == ()

    def test_take_the_wave_back_for_a_check(self) -> None:
        """A check that fails takes its wave back too."""
        world = open_regions()

        def well(ctx: pyflow.Context) -> None:
            assert ctx.task != "check_2"

        workflow = make(world, checks=[well], abort_scope="wave")
        simulation = simulate(workflow, world=world)

        assert simulation.status == "failed"
        assert versions(world) == {"ap": {NEW: EACH}, "eu": {OLD: EACH}, "us": {OLD: EACH}}

    def test_leave_nothing_to_take_back(self) -> None:
        """Without a failure, what takes a wave back is skipped."""
        world = open_regions()

        simulation = simulate(make(world, abort_scope="wave"), world=world)

        assert simulation.status == "succeeded"
        assert [name for name in simulation.order if "back" in name or "abort" in name] == []

    def test_before_anything_began_take_nothing_back(self) -> None:
        """Where it cannot begin, abort_scope="wave" has nothing to take back, and says so."""
        world = open_regions()
        world.apply_scale("eu", "1.5", 1)

        simulation = simulate(make(world, abort_scope="wave"), world=world)

        assert simulation.status == "failed"
        assert simulation.history == ()
        assert "standings failed, and what was taken back is: nothing" in str(simulation.error)

    def test_are_asked_about_where_a_wave_cannot_be_taken_back(self) -> None:
        """A target that cannot be taken back holds the run; nobody counts it as done."""
        world = open_regions(broken=["eu"])
        world.at("10m", lambda: world.platform.on("scale", fails(ConnectionError)))
        world.at("2h", lambda: world.platform.on("scale", fails(ConnectionError, times=1)))

        async def ann(run: pyflow.Run) -> None:
            held = await run
            assert held.status == "held"
            await asyncio.sleep(7200)
            for name in ("take_back_eu", "take_back_us"):
                run.retry(name, by="ann")

        workflow = make(world, waves=[1, 3], abort_scope="wave", ready_within="15m")
        simulation = simulate(workflow, world=world, operator=ann)

        assert "held" in simulation.states()
        assert simulation.status == "failed"
        assert versions(world) == {"ap": {NEW: EACH}, "eu": {OLD: EACH}, "us": {OLD: EACH}}

    def test_hold_where_the_old_version_does_not_come_back(self) -> None:
        """A target whose old version does not start any more is a question to a person."""
        world = open_regions(broken=["eu"])
        world.release("us", OLD, starts=False)

        workflow = make(world, waves=[1, 3], abort_scope="wave")
        simulation = simulate(workflow, world=world)

        assert simulation.status == "held"
        assert "us could not be taken back: " in str(simulation.tasks["take_back_us"].error)
        assert world.services["us"].now.weights == {NEW: 100.0}
        assert versions(world)["eu"] == {OLD: EACH}

    def test_may_be_tolerated(self) -> None:
        """A target that fails within tolerate is taken back at once, left behind, and named."""
        world = open_regions(broken=["eu"])

        simulation = simulate(make(world, tolerate=1), world=world)

        assert simulation.status == "succeeded"
        assert versions(world) == {"ap": {NEW: EACH}, "eu": {OLD: EACH}, "us": {NEW: EACH}}
        assert "2 of 2.0 are ready" in simulation.tasks["roll_eu"].output

    def test_of_confirmation_are_not_tolerated(self) -> None:
        """A router that never confirms is a question to a person, however many targets may fail."""
        world = open_regions()
        world.router.on("set_weights", fails(ConnectionError, times=7))

        simulation = simulate(make(world, tolerate=3), world=world)

        assert simulation.status == "held"
        assert "after 7 tries there are not the weights" in str(simulation.error)

    def test_may_be_too_many(self) -> None:
        """One more than tolerate says is a failure like any other."""
        world = open_regions(broken=["ap", "us"])
        before = world.facts()

        simulation = simulate(make(world, tolerate=1), world=world)

        assert simulation.status == "rolled_back"
        assert "2 targets have failed, and 1 may: us: " in str(simulation.error)
        assert world.facts() == before


class TestStandings:
    def test_leave_what_is_done(self) -> None:
        """A target that has the version already is left as it is, so a rollout can be made again."""
        world = open_regions(broken=["us"])
        simulate(make(world, abort_scope="wave"), world=world)
        world.release("us", NEW, startup="30s")

        simulation = simulate(make(world), world=world)

        assert simulation.status == "succeeded"
        assert list(began(simulation)) == ["us"]

    def test_leave_what_was_done_before(self) -> None:
        """A rollback takes back what this run has done, and not what an earlier one had."""
        world = open_regions(broken=["us"])
        simulate(make(world, abort_scope="wave"), world=world)
        before = world.facts()

        simulation = simulate(make(world), world=world)

        assert simulation.status == "rolled_back"
        assert versions(world)["ap"] == {NEW: EACH}
        assert world.facts() == before

    def test_say_where_there_is_nothing_to_do(self) -> None:
        """Where every target has the version, there is nothing to roll out."""
        world = open_regions()
        simulate(make(world), world=world)

        simulation = simulate(make(world), world=world)

        assert simulation.status == "rolled_back"
        assert "2.0 is at every target already" in str(simulation.error)

    def test_name_every_problem_first(self) -> None:
        """What stands in the way anywhere is said before anything is changed."""
        world = open_regions()
        for name in ("ap", "us"):
            world.apply_scale(name, "1.5", 1)

        simulation = simulate(make(world), world=world)

        assert simulation.status == "rolled_back"
        assert simulation.history == ()
        assert "ap: ap: 1.5 runs beside 1.0" in str(simulation.error)
        assert "us: us: 1.5 runs beside 1.0" in str(simulation.error)

    def test_count_problems_as_failures(self) -> None:
        """A target where it cannot begin is one of those that may fail."""
        world = open_regions()
        world.apply_scale("ap", "1.5", 1)

        simulation = simulate(make(world, tolerate=1), world=world)

        assert simulation.status == "succeeded"
        assert versions(world)["ap"] == {OLD: EACH, "1.5": 1}

    def test_of_nothing_but_problems(self) -> None:
        """Where it can begin nowhere, it does not begin, however many may fail."""
        world = open_regions()
        for name in REGIONS:
            world.apply_scale(name, "1.5", 1)

        simulation = simulate(make(world, tolerate=3), world=world)

        assert simulation.status == "rolled_back"
        assert "1.5 runs beside 1.0" in str(simulation.error)


class TestForeignChanges:
    @pytest.mark.parametrize("scope", ["all", "wave"])
    @pytest.mark.parametrize("tolerate", [0, 1])
    def test_hold_the_wave(self, scope: Any, tolerate: int) -> None:
        """A version that somebody else started holds the run, tolerated or not, and stays."""
        world = open_regions()
        world.at("40s", lambda: world.apply_scale("eu", "3.0", 1))

        workflow = make(world, abort_scope=scope, tolerate=tolerate, bake="1m")
        simulation = simulate(workflow, world=world)

        assert simulation.status == "held"
        assert "somebody else changed them" in str(simulation.error)
        assert versions(world)["eu"]["3.0"] == 1
        assert versions(world)["ap"] == {NEW: EACH}
        if scope == "wave":
            assert "errors.ForeignChange: " in str(simulation.tasks["take_back_eu"].error)

    @pytest.mark.parametrize("routed", [True, False])
    def test_of_capacity_are_left_alone(self, routed: bool) -> None:
        """Argo 2857: what an autoscaler adds in the middle of it is not taken away."""
        world = open_regions(routed=routed)
        world.at("110s", lambda: world.apply_scale("eu", OLD, EACH + 3))

        simulation = simulate(make(world, bake="1m"), world=world)

        assert simulation.status == "held"
        assert "the instances are {'1.0': 5, '2.0': 2}, and this run left" in str(simulation.error)
        assert versions(world)["eu"][OLD] == EACH + 3

    @pytest.mark.parametrize("then", ["retry", "roll_back"])
    def test_are_over_once_they_are_taken_back(self, then: str) -> None:
        """Where whoever made it takes it back, one target is tried again, or all are taken back."""
        world = open_regions()
        before = world.facts()
        world.at("40s", lambda: world.apply_scale("eu", "3.0", 1))
        world.at("1h", lambda: world.apply_scale("eu", "3.0", 0))

        simulation = simulate(
            make(world, bake="1m"), world=world, operator=decide(then, after_s=7200)
        )

        assert simulation.status == ("succeeded" if then == "retry" else "rolled_back")
        if then == "roll_back":
            assert world.facts() == before


class TestSafety:
    @pytest.mark.parametrize("routed", [True, False])
    def test_holds_under_every_fault(self, routed: bool) -> None:
        """Under every single fault each target has full capacity at every change."""
        world = open_regions(routed=routed)

        report = explore(lambda: make(world), world=world, faults=1, invariants=[serves_everywhere])

        assert report.ok, report

    def test_holds_where_a_wave_is_taken_back(self) -> None:
        """Whatever goes wrong besides, a wave that failed is taken back, or people are asked."""
        world = open_regions("ap", "eu", broken=["eu"])

        def eu_is_not_forgotten(run: Any) -> None:
            if run.status == "failed" and not nobody_could_know(run):
                assert versions(run.world)["eu"] == {OLD: EACH}

        part = explore_part(
            lambda: make(world, abort_scope="wave"),
            world,
            pairs=PAIRS,
            invariants=[serves_everywhere, eu_is_not_forgotten],
        )

        assert part.broken == [], f"of the pairs drawn by {part.seed}"

    def test_holds_where_one_is_left_behind(self) -> None:
        """Whatever goes wrong besides, a target that is left behind serves its old version."""
        world = open_regions("ap", "eu", broken=["ap"])

        def is_whole(run: Any) -> None:
            if run.status == "succeeded" and not nobody_could_know(run):
                assert versions(run.world)["ap"] == {OLD: EACH}

        part = explore_part(
            lambda: make(world, tolerate=2),
            world,
            pairs=PAIRS,
            invariants=[serves_everywhere, is_whole],
        )

        assert part.broken == [], f"of the pairs drawn by {part.seed}"

    @pytest.mark.parametrize("span_s", [0, 10, 31, 45, 95, 120, 150])
    def test_holds_where_a_person_rolls_back(self, span_s: float) -> None:
        """A person who rolls back at any time takes back all that was done, whatever the scope."""
        world = open_regions()
        before = world.facts()

        workflow = make(world, bake="1m", abort_scope="wave")
        simulation = simulate(workflow, world=world, operator=at(span_s, roll_back))

        assert simulation.status == "rolled_back"
        assert world.facts() == before


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"targets": []}, "must be a list of targets"),
            ({"targets": "eu"}, "must be a list of targets"),
            ({"targets": ["eu"]}, "'eu' is no target; give a Target, or a name and platform="),
            ({"targets": [5], "platform": lambda _: None}, "5 is no target"),
            ({"waves": []}, "waves="),
            ({"waves": [1, 2]}, "must be rising counts or percentages that end with all 3 targets"),
            ({"waves": [2, 1, 3]}, "waves="),
            ({"waves": [1, "200%"]}, "waves="),
            ({"waves": [-1, 3]}, "waves="),
            ({"waves": [True, 3]}, "waves="),
            ({"max_unavailable": 0}, "max_unavailable=0 must be a count of 1 or more"),
            ({"tolerate": -1}, "tolerate=-1 must be a count of 0 or more"),
            ({"tolerate": "some"}, "tolerate='some' must be"),
            ({"abort_scope": "host"}, "abort_scope='host' must be"),
            ({"abort_scope": "wave", "on_failure": "hold"}, "leave one of them out"),
        ],
    )
    def test_are_refused(self, options: dict[str, Any], reason: str) -> None:
        """Arguments that make no sense are refused, with what to do."""
        with pytest.raises(DefinitionError, match=reason):
            make(open_regions(), **options)

    @pytest.mark.parametrize(
        ("several", "reason"),
        [
            ([{"name": "a.b"}, {"name": "A_b"}], "two targets are called 'A_b', or nearly so"),
            ([{"name": ""}], "'' is no name of a target"),
            ([{"name": "a", "instances": 0}], "instances=0 must be a whole number of 1 or more"),
            ([{"name": "a", "instances": True}], "instances=True must be"),
        ],
    )
    def test_are_targets(self, several: list[dict[str, Any]], reason: str) -> None:
        """Targets are told apart by name, and have a capacity."""
        world = open_regions()
        targets = [Target(platform=world.platform, **one) for one in several]

        with pytest.raises(DefinitionError, match=reason):
            make(world, targets=targets, waves=["100%"])
