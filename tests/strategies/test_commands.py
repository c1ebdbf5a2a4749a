"""What people ask of a running rollout: skip the present step, promote, abort, hold, supersede."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pyflow
from pyflow.strategies import Step, blue_green, canary
from pyflow.testing import always, explore, run_virtual, simulate
from pyflow.testing.simulation import SimulatedEngine
from support.rollouts import (
    AFTER,
    BEFORE,
    INSTANCES,
    NEW,
    OLD,
    STRATEGIES,
    WARM,
    at,
    make_blue_green,
    make_canary,
    open_shop,
    roll_back,
)

each = pytest.mark.parametrize("name", WARM)
BAKES = {"blue_green": "bake", "canary": "bake_25"}
STEPS = {"blue_green": "step_confirm", "canary": "step_25"}
LATEST = "3.0"


def promote(run: pyflow.Run) -> None:
    run.promote(by="ann", reason="it looks good")


def shares(simulation: Any) -> list[float | None]:
    """Return what the new version gets, change by change."""
    return [c.after for c in simulation.history if c.what == f"shop weight {NEW}"]


@always
def safe_to_lose(world: Any) -> None:
    """The old version stays at full capacity while any traffic could have to come back to it."""
    service = world.services["shop"]
    assert service.now.weights.get(NEW, 0) == 100 or service.counts().get(OLD) == INSTANCES


class TestSkip:
    @each
    def test_the_present_step(self, name: str) -> None:
        """Its bake and its checks end at once, as if they had passed; the next step is not skipped."""
        world = open_shop()

        simulation = simulate(
            STRATEGIES[name](world, bake="1h"),
            world=world,
            operator=at(600, lambda run: run.skip(STEPS[name], by="ann")),
        )

        assert simulation.status == "succeeded"
        assert world.facts() == AFTER
        assert simulation.tasks[BAKES[name]].status == "skipped"
        hours = {"blue_green": 0, "canary": 2}[name]
        assert 3600 * hours + 600 <= simulation.elapsed.total_seconds() < 3600 * hours + 900

    def test_a_question(self) -> None:
        """A step that asks is skipped with its question."""
        world = open_shop()
        steps = [Step(25, approval="Go on?"), 100]

        simulation = simulate(
            make_canary(world, steps=steps),
            world=world,
            operator=at(3600, lambda run: run.skip("step_25", by="ann")),
        )

        assert simulation.status == "succeeded"
        assert simulation.tasks["approve_25"].status == "skipped"

    @each
    def test_refuses_changes(self, name: str) -> None:
        """What changes something is never skipped, and neither is a step that has not begun."""
        world = open_shop()

        def skip_all(run: pyflow.Run) -> None:
            for task in ("survey", "retire_old", "keep_old"):
                run.skip(task, by="ann")

        simulation = simulate(
            STRATEGIES[name](world, keep_old_for="1h"), world=world, operator=at(10, skip_all)
        )

        told = simulation.audit_trail.query(kind="command_received")
        assert [r.data["accepted"] for r in told] == [False] * 3
        assert told[-1].data["note"] == "keep_old has not begun"
        assert simulation.status == "succeeded"

    @each
    def test_the_time_the_old_version_is_kept(self, name: str) -> None:
        """The old version may be retired early; nobody promotes that away unasked."""
        world = open_shop()

        simulation = simulate(
            STRATEGIES[name](world, keep_old_for="24h"),
            world=world,
            operator=at(600, lambda run: run.skip("keep_old", by="ann")),
        )

        assert simulation.status == "succeeded"
        assert simulation.elapsed.total_seconds() < 700


class TestPromote:
    @pytest.mark.parametrize("after_s", [10, 40, 200])
    def test_goes_straight_to_all(self, after_s: float) -> None:
        """The steps between are left out, and capacity still comes before weight."""
        world = open_shop()

        simulation = simulate(
            make_canary(world, steps=[25, 50, 75, 100], bake="1h"),
            world=world,
            operator=at(after_s, promote),
        )

        assert simulation.status == "succeeded"
        assert world.facts() == AFTER
        assert shares(simulation) in ([25.0, 100.0], [100.0])
        assert simulation.elapsed.total_seconds() < 500
        changes = [c for c in simulation.history if NEW in c.what and c.after]
        assert changes[-2].what == f"shop instances {NEW}"

    @each
    def test_keeps_the_old_version(self, name: str) -> None:
        """The instant way back stays for as long as was asked."""
        world = open_shop()

        simulation = simulate(
            STRATEGIES[name](world, bake="1h", keep_old_for="2h"),
            world=world,
            operator=at(200, promote),
        )

        assert simulation.status == "succeeded"
        assert simulation.elapsed.total_seconds() > 7200

    @each
    def test_an_abort_outranks_it(self, name: str) -> None:
        """Whichever comes first, the rollout is taken back: argo-rollouts#4461."""
        for asks in ((promote, roll_back), (roll_back, promote)):
            world = open_shop()

            def operate(run: pyflow.Run, asks: Any = asks) -> None:
                for ask in asks:
                    ask(run)

            simulation = simulate(
                STRATEGIES[name](world, bake="1h"), world=world, operator=at(200, operate)
            )

            assert simulation.status == "rolled_back"
            assert world.facts() == BEFORE

    def test_in_an_included_rollout(self) -> None:
        """A rollout that is part of another workflow knows which of its steps were left out."""
        world = open_shop()
        train = pyflow.Workflow("train", locks=["service:shop"])
        train.include(make_canary(world, steps=[25, 50, 100], bake="1h"), prefix="shop")

        simulation = simulate(train, world=world, operator=at(200, promote))

        assert simulation.status == "succeeded", simulation.error
        assert shares(simulation) == [25.0, 100.0]

    def test_through_a_hold(self) -> None:
        """A hold in the middle of it, and its end, change nothing about what is left out."""
        world = open_shop()

        async def operator(run: pyflow.Run) -> None:
            await asyncio.sleep(200)
            run.pause(by="ann")
            run.promote(by="ann")
            await asyncio.sleep(600)
            assert world.services["shop"].now.weights == {OLD: 75.0, NEW: 25.0}
            run.unpause(by="ann")

        simulation = simulate(make_canary(world, bake="1h"), world=world, operator=operator)

        assert simulation.status == "succeeded"
        assert shares(simulation) == [25.0, 100.0]


class TestSupersede:
    @each
    @pytest.mark.parametrize("after_s", [1, 40, 100, 200])
    def test_takes_the_place(self, name: str, after_s: float) -> None:
        """The older rollout is taken back, and only then does the newer one begin: argo-rollouts#4534."""
        world = open_shop()

        async def main() -> list[pyflow.Result]:
            world.begin()
            engine = SimulatedEngine()
            old = engine.start(STRATEGIES[name](world, bake="1h"))
            await asyncio.sleep(after_s)
            ports: dict[str, Any] = {"platform": world.platform, "router": world.router}
            make: Any = {"blue_green": blue_green, "canary": canary}[name]
            new = engine.start(make("shop", LATEST, on_locked="roll_back_holder", **ports))
            return [await old, await new]

        old, new = run_virtual(main())

        assert (old.status, new.status) == ("rolled_back", "succeeded"), new.error
        assert world.services["shop"].counts() == {LATEST: INSTANCES}
        seen = [c.what for c in world.history if c.what.endswith((NEW, LATEST))]
        first = next(n for n, what in enumerate(seen) if what.endswith(LATEST))
        assert all(what.endswith(LATEST) for what in seen[first:])

    def test_waits_where_something_is_left(self) -> None:
        """Where the older one cannot be taken back, the newer one does not begin."""
        world = open_shop()

        async def main() -> list[pyflow.Result]:
            world.begin()
            engine = SimulatedEngine()
            old = engine.start(make_canary(world, bake="1h"))
            await asyncio.sleep(100)
            world.apply_weights("shop", {OLD: 60.0, NEW: 40.0})  # by somebody else
            ports: dict[str, Any] = {"platform": world.platform, "router": world.router}
            new = engine.start(canary("shop", LATEST, on_locked="roll_back_holder", **ports))
            return [await old, await new]

        old, new = run_virtual(main())

        assert (old.status, new.status) == ("rollback_failed", "failed")
        assert LATEST not in world.services["shop"].counts()


class TestEveryFault:
    @each
    def test_is_safe(self, name: str) -> None:
        """Commands and a crash, and any two of them, at every point: nothing is broken by them."""
        world = open_shop()
        make = {"blue_green": make_blue_green, "canary": make_canary}[name]
        options: dict[str, Any] = {"steps": [50, 100]} if name == "canary" else {}

        report = explore(
            lambda: make(world, **options),
            world=world,
            kinds=["skip", "promote", "roll_back"],
            invariants=[safe_to_lose],
        )

        assert report.ok, report
        assert report.by_kind["promote"] > 20
        assert report.by_kind["skip"] >= 5
