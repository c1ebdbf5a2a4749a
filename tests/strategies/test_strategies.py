"""Every strategy: what it comes to when all is well, and when something is not."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import pyflow
from pyflow.errors import DefinitionError
from pyflow.probes import Callable
from pyflow.strategies import Step, blue_green, canary
from pyflow.testing import (
    Fault,
    FaultKind,
    always,
    applied_then_fails,
    explore,
    fails,
    lies,
    replay,
    simulate,
    stale,
    takes,
)
from support.pairs import explore_part
from support.rollouts import (
    AFTER,
    BEFORE,
    CHECKS,
    EFFECTS,
    INSTANCES,
    LATE,
    NEW,
    OLD,
    STRATEGIES,
    WARM,
    at,
    decide,
    make_blue_green,
    make_canary,
    open_shop,
    roll_back,
)

each = pytest.mark.parametrize("name", STRATEGIES)
PAIRS = 60
"""How many pairs of faults a strategy is tried under here; `make bench` has all."""
SICK = Callable(lambda: False, name="well")


@always
def safe_to_lose(world: Any) -> None:
    """The old version stays at full capacity while any traffic could have to come back to it."""
    service = world.services["shop"]
    new = service.now.weights.get(NEW, 0)
    assert new == 100 or service.counts().get(OLD) == INSTANCES


class TestEveryStrategy:
    @each
    def test_brings_the_version_in(self, name: str) -> None:
        """Without trouble the new version has the traffic, at full capacity, and the old one is gone."""
        world = open_shop()

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "succeeded"
        assert world.facts() == AFTER

    @each
    def test_records_each_change(self, name: str) -> None:
        """Every effect is on record with what was observed before and after."""
        world = open_shop()
        checks = {CHECKS[name]: [SICK], **LATE.get(name, {})}

        for options, status in (({}, "succeeded"), (checks, "rolled_back")):
            simulation = simulate(STRATEGIES[name](world, **options), world=world)
            assert simulation.status == status
            recorded = simulation.audit_trail.changes
            told = [
                (r.data["resource"], r.data["before"], r.data["after"])
                for r in recorded
                if r.data["resource"].startswith("shop ")
            ]
            made = [
                (c.what, c.before or 0, c.after or 0)
                for c in simulation.history
                if "instances" in c.what
            ]
            assert [one for one in told if "instances" in one[0]] == made
            weights = [after for what, _, after in told if what == "shop weights"]
            assert weights[-1] == {NEW if status == "succeeded" else OLD: 100.0}
            world = open_shop()

    @pytest.mark.parametrize("name", WARM)
    def test_rolls_back_at_once(self, name: str) -> None:
        """A check that fails has all weight taken away in one change, and all is as before."""
        world = open_shop()

        simulation = simulate(STRATEGIES[name](world, **{CHECKS[name]: [SICK]}), world=world)

        assert simulation.status == "rolled_back"
        assert "CheckFailed" in str(simulation.error)
        assert world.facts() == BEFORE
        weights = [c for c in simulation.history if c.what == f"shop weight {NEW}"]
        assert [c.after for c in weights][-1] is None
        assert len([c for c in weights if c.after is None]) == 1

    @each
    def test_never_starts_what_is_not_ready(self, name: str) -> None:
        """A version that does not start gets no traffic, and is taken away again."""
        world = open_shop(starts=False)

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "rolled_back"
        assert world.facts() == BEFORE
        assert [c for c in simulation.history if "weight" in c.what] == []

    @each
    def test_is_safe(self, name: str) -> None:
        """Under every fault, and some of all pairs, invariants hold, and no way back is given up early."""
        world = open_shop()
        make, mine = STRATEGIES[name], [] if name == "rolling" else [safe_to_lose]

        part = explore_part(lambda: make(world), world, pairs=PAIRS, invariants=mine)

        assert part.broken == [], f"of the pairs drawn by {part.seed}"
        assert part.by_faults[2] == PAIRS

    @each
    def test_gets_through(self, name: str) -> None:
        """Answers that fail, are late, lost or stale for a while are no reason to give up."""
        effects = (("platform", "scale"), ("router", "set_weights"))
        looks = (("platform", "observe"), ("router", "weights"))
        passing = [fails(ConnectionError, times=2), takes("20s")]
        for port, op, behaviour in [
            *((*effect, one) for effect in effects for one in passing),
            *((*effect, applied_then_fails(TimeoutError, times=2)) for effect in effects),
            *((*look, one) for look in looks for one in [*passing, stale("3s")]),
        ]:
            world = open_shop()
            getattr(world, port).on(op, behaviour)
            simulation = simulate(STRATEGIES[name](world), world=world)
            assert simulation.status == "succeeded", (op, behaviour, simulation.error)

    @each
    @pytest.mark.parametrize("kind", ["lies", "hangs", "fails", "applied_then_fails"])
    def test_gets_through_one_fault(self, name: str, kind: FaultKind) -> None:
        """One effect that does not come about, whatever was answered, is noticed and made again."""
        for point in EFFECTS[name]:
            world = open_shop()
            make = partial(STRATEGIES[name], world)

            report = replay(make, world=world, faults=[Fault(point, kind)])

            assert report.ok, report
            assert report.endings == {"succeeded": 1}, point

    @each
    def test_takes_no_silence_for_health(self, name: str) -> None:
        """A check whose probe cannot tell has not passed."""
        world = open_shop()
        mute = Callable(lambda: None, name="mute")

        simulation = simulate(STRATEGIES[name](world, **{CHECKS[name]: [mute]}), world=world)

        assert simulation.status == "rolled_back"
        assert "is unknown" in str(simulation.error)

    @each
    @pytest.mark.parametrize("behaviour", [fails(ConnectionError), lies()])
    def test_holds_at_a_broken_router(self, name: str, behaviour: Any) -> None:
        """A router that never confirms is tried a bounded number of times; then a person is asked."""
        world = open_shop()
        world.router.on("set_weights", behaviour)

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "held"
        assert world.router.counts["set_weights"] == 7
        assert "after 7 tries there are not the weights" in str(simulation.error)
        assert "Now instances are" in str(simulation.error)
        assert "weights are {'1.0': 100.0}" in str(simulation.error)
        assert simulation.elapsed.total_seconds() < 300

    @each
    @pytest.mark.parametrize("behaviour", [fails(ConnectionError), lies()])
    def test_holds_at_a_broken_platform(self, name: str, behaviour: Any) -> None:
        """So is a platform that never confirms, and nothing has been sent to the new version by then."""
        world = open_shop()
        world.platform.on("scale", behaviour)

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "held"
        assert "Now instances are {'1.0': 4} and weights are {'1.0': 100.0}" in str(
            simulation.error
        )
        assert world.facts() == BEFORE

    @each
    @pytest.mark.parametrize("then", ["retry", "roll_back"])
    def test_goes_on_as_a_person_says(self, name: str, then: str) -> None:
        """A held rollout can be tried again once the router works, or taken back."""
        world = open_shop()
        world.router.on("set_weights", fails(ConnectionError, times=7))

        simulation = simulate(STRATEGIES[name](world), world=world, operator=decide(then))

        assert "held" in simulation.states()
        assert simulation.status == ("succeeded" if then == "retry" else "rolled_back")
        assert world.facts() == (AFTER if then == "retry" else BEFORE)

    @each
    def test_names_what_it_cannot_see(self, name: str) -> None:
        """Where nobody answers any more, the question says so; without a way back, what is left is residue."""
        world = open_shop()
        world.at(
            "35s",
            lambda: [
                getattr(world, p).on(op, fails(ConnectionError))
                for p, op in (
                    ("router", "weights"),
                    ("platform", "observe"),
                    ("router", "set_weights"),
                )
            ],
        )

        simulation = simulate(STRATEGIES[name](world), world=world, operator=at(3600, roll_back))

        assert simulation.status == "rollback_failed"
        assert "instances are unknown" in str(simulation.error)
        assert "instances are unknown" in str(simulation.recovery_errors)
        assert simulation.residue


class TestForeignChanges:
    @each
    @pytest.mark.parametrize("when", ["20s", "80s"])
    def test_of_weights_are_left_alone(self, name: str, when: str) -> None:
        """Weights that somebody else set in the middle of a rollout stay as they set them."""
        world = open_shop()
        theirs = {OLD: 60.0, NEW: 40.0} if when == "80s" else {OLD: 90.0, "0.9": 10.0}
        world.at(when, lambda: world.apply_weights("shop", theirs))

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "held"
        assert "somebody else changed them" in str(simulation.error)
        assert dict(world.services["shop"].now.weights) == theirs

    @each
    def test_survive_a_rollback(self, name: str) -> None:
        """A rollback that meets a foreign change overwrites it neither: it leaves residue."""
        world = open_shop()
        theirs = {OLD: 60.0, NEW: 40.0}
        world.at("80s", lambda: world.apply_weights("shop", theirs))

        simulation = simulate(STRATEGIES[name](world), world=world, operator=at(3600, roll_back))

        assert simulation.status == "rollback_failed"
        assert "somebody else changed them" in str(simulation.recovery_errors)
        assert dict(world.services["shop"].now.weights) == theirs
        assert simulation.residue

    @each
    @pytest.mark.parametrize("then", ["retry", "roll_back"])
    def test_are_over_once_they_are_taken_back(self, name: str, then: str) -> None:
        """Where whoever made it takes it back, the rollout goes on, or back, as a person says."""
        world = open_shop()
        ours: dict[str, float] = {}

        def interfere() -> None:
            ours.update(world.services["shop"].now.weights)
            world.apply_weights("shop", {OLD: 60.0, NEW: 40.0})

        world.at("80s", interfere)
        world.at("1h", lambda: world.apply_weights("shop", ours))

        simulation = simulate(
            STRATEGIES[name](world), world=world, operator=decide(then, after_s=7200)
        )

        assert simulation.status == ("succeeded" if then == "retry" else "rolled_back")
        assert world.facts() == (AFTER if then == "retry" else BEFORE)

    @each
    def test_of_versions_are_left_alone(self, name: str) -> None:
        """A version that somebody else started stops the rollout, and is not touched."""
        world = open_shop()
        world.at("80s", lambda: world.apply_scale("shop", "3.0", 2))

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "held"
        assert "'3.0'], and this run left ['1.0', '2.0']" in str(simulation.error)
        assert world.services["shop"].counts()["3.0"] == 2

    @each
    @pytest.mark.parametrize("policy", ["hold", "stop", "continue"])
    def test_hold_whatever_is_asked_for(self, name: str, policy: Any) -> None:
        """Whatever on_failure= says, the run waits for a person, with everything as it is."""
        world = open_shop()
        theirs = {OLD: 60.0, NEW: 40.0}
        world.at("80s", lambda: world.apply_weights("shop", theirs))

        simulation = simulate(STRATEGIES[name](world, on_failure=policy), world=world)

        assert simulation.status == "held"
        assert dict(world.services["shop"].now.weights) == theirs

    @each
    def test_refuse_a_second_rollout(self, name: str) -> None:
        """Where another version runs or has traffic, a rollout does not begin."""
        world = open_shop()
        world.apply_scale("shop", NEW, 1)

        simulation = simulate(STRATEGIES[name](world), world=world)

        assert simulation.status == "rolled_back"
        assert simulation.history == ()


class TestBlueGreen:
    def test_keeps_the_old_version(self) -> None:
        """The old version stays at full capacity for as long as was asked, then goes."""
        world = open_shop()

        simulation = simulate(make_blue_green(world, bake=None, keep_old_for="2h"), world=world)

        switched, retired = [c.at_s for c in simulation.history if c.what.endswith(OLD)]
        assert 7200 <= retired - switched < 7210

    def test_switches_gradually(self) -> None:
        """A gradual switch goes through percentages of its own."""
        world = open_shop()

        simulation = simulate(make_blue_green(world, switch="gradual"), world=world)

        weights = [c.after for c in simulation.history if c.what == f"shop weight {NEW}"]
        assert weights == [10.0, 25.0, 50.0, 100.0]
        assert "switch_10" in simulation.order
        world = open_shop()
        simulation = simulate(make_blue_green(world, switch=[0.5, 100]), world=world)
        assert "switch_0_5" in simulation.order

    def test_asks_people(self) -> None:
        """With a question, no traffic moves until it is answered."""
        world = open_shop()

        simulation = simulate(make_blue_green(world, approval="Switch?"), world=world)

        assert simulation.status == "held"
        assert dict(world.services["shop"].now.weights) == {OLD: 100.0}

    @pytest.mark.parametrize("switch", ["sometimes", [], [10, 50], [50, 10, 100], [0, 100]])
    def test_refuses_switches(self, switch: Any) -> None:
        """A switch that does not rise to 100 % is refused."""
        with pytest.raises(DefinitionError, match="switch="):
            make_blue_green(open_shop(), switch=switch)

    @pytest.mark.parametrize("instances", [0, -1, True, 1.5])
    def test_refuses_capacities(self, instances: Any) -> None:
        """A capacity of nothing is refused."""
        with pytest.raises(DefinitionError, match="instances="):
            make_blue_green(open_shop(), instances=instances)


class TestCanary:
    def test_has_what_each_step_says(self) -> None:
        """A step may have a bake, checks, a question and a capacity of its own."""
        world = open_shop()
        asked: list[str] = []

        def well(ctx: pyflow.Context) -> None:
            asked.append(ctx.task)

        steps = [Step(10, bake="2h", checks=[well, world.probe("shop", NEW)], instances=2), 100]
        simulation = simulate(make_canary(world, steps=steps, bake=None), world=world)

        assert simulation.status == "succeeded"
        assert asked == ["check_10_1"]
        assert set(simulation.order[:6]) == {
            *("survey", "scale_10", "shift_10", "bake_10", "check_10_1", "check_10_2")
        }
        counts = [c.after for c in simulation.history if c.what == f"shop instances {NEW}"]
        assert counts == [2, 4]

    def test_refuses_too_little_capacity(self) -> None:
        """A share of the traffic never goes to fewer instances than it takes."""
        world = open_shop()
        steps = [25, Step(75, instances=2), 100]

        simulation = simulate(make_canary(world, steps=steps, bake=0), world=world)

        assert simulation.status == "rolled_back"
        assert "2 instances are too few for 75 % of the traffic" in str(simulation.error)
        assert world.facts() == BEFORE
        assert (
            max(c.after or 0 for c in simulation.history if c.what.endswith(f"weight {NEW}")) == 25
        )

    def test_holds_for_people(self) -> None:
        """A step with a question holds there, and goes on once somebody approves."""
        world = open_shop()

        async def person(run: pyflow.Run) -> None:
            import asyncio

            await asyncio.sleep(3600)
            run.approve("approve_50", by="ann")

        steps = [Step(50, approval="Go on?"), 100]
        simulation = simulate(make_canary(world, steps=steps), world=world, operator=person)

        assert simulation.status == "succeeded"
        assert "held" in simulation.states()

    def test_resumes_a_bake(self) -> None:
        """A bake that a crash cuts goes on where it was: not anew, and not shorter."""
        world = open_shop()
        report = explore(
            lambda: make_canary(world, steps=[100], bake="20m"),
            world=world,
            faults=1,
            kinds=["crash"],
            invariants=[bakes_once],
            prune=False,  # which takes no notice of the time, and here it is the time that counts
        )

        assert report.ok, report

    @pytest.mark.parametrize(
        "steps", [[], "5", [5, 50], [50, 25, 100], [0, 100], [5, 5, 100], [True, 100], ["5", 100]]
    )
    def test_refuses_steps(self, steps: Any) -> None:
        """Steps that do not rise to 100 % are refused."""
        with pytest.raises(DefinitionError, match="steps="):
            make_canary(open_shop(), steps=steps)


def bakes_once(run: Any) -> None:
    """Between the last weight and the retirement lie the bake, and what a crash takes."""
    changes = {c.what: c.at_s for c in run.world.history}
    if run.status == "succeeded":
        span_s = changes[f"shop instances {OLD}"] - changes[f"shop weight {NEW}"]
        assert 1199.9 <= span_s <= 1200 + 120 + 60, span_s


class TestFunctions:
    def test_are_values(self) -> None:
        """Equal arguments give equal plans."""
        world = open_shop()

        for make in (blue_green, canary):
            one, two = (
                make("shop", NEW, platform=world.platform, router=world.router).check()
                for _ in range(2)
            )
            assert one.fingerprint == two.fingerprint
