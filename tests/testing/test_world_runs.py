"""The simulated world from run to run: its history, its clock, what is planned, and coming back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from pyflow import Context, Retry, Workflow
from pyflow.testing import (
    Fault,
    SimulatedFault,
    SimulationError,
    VirtualClock,
    World,
    run_virtual,
    simulate,
)
from support.virtual import this_loop
from support.worlds import HOUR, call, calls, replayed, shop, told, values


def sleeper(span: float) -> Workflow:
    """Return a workflow that sleeps, and touches nothing."""
    return call(lambda: asyncio.sleep(span))


class TestHistory:
    def test_by_whom(self) -> None:
        """Every change names the call that made it: a task, an undo, or nobody of the run."""
        world = shop()
        world.at("5s", lambda: world.kill("shop", "1.0"))

        async def deploy() -> None:
            await world.platform.scale("shop", "2.0", 1)
            await asyncio.sleep(10)

        async def undeploy() -> None:
            await world.platform.scale("shop", "2.0", 0)

        async def shift() -> None:
            raise RuntimeError("no")

        workflow = calls(deploy, shift)
        workflow.add_recovery("deploy", undeploy)
        world.kill("shop", "1.0")
        simulation = simulate(workflow, world=world)

        assert told(simulation.history) == [
            (0.0, "deploy#1", "shop instances 2.0", None, 1),
            (5.0, None, "shop instances 1.0", 3, 2),
            (10.0, "undo of deploy#1", "shop instances 2.0", 1, None),
        ]
        assert told(world.history)[0] == (0.0, None, "shop instances 1.0", 4, 3)

    def test_of_attempts(self) -> None:
        """Each attempt is a call of its own."""
        world = shop()

        async def deploy() -> None:
            world.config["tries"] = world.config.get("tries", 0) + 1
            if world.config["tries"] < 2:
                raise RuntimeError("again")

        workflow = Workflow("w")
        workflow.add_task("deploy", deploy, retry=Retry(2))
        simulation = simulate(workflow, world=world)

        assert [change.by for change in simulation.history] == ["deploy#1", "deploy#2"]

    def test_of_plain_functions(self) -> None:
        """A plain function that waits on a thread is named too, and at the right instant."""
        world = shop()

        def deploy(ctx: Context) -> None:
            ctx.sleep(30)
            world.config["mode"] = "new"

        simulation = simulate(calls(deploy), world=world)

        assert told(simulation.history) == [(30.0, "deploy#1", "config mode", None, "new")]

    def test_replays(self) -> None:
        """The facts before and the history give the facts after."""
        world = shop()
        before = world.facts()

        async def deploy() -> None:
            await world.platform.scale("shop", "2.0", 2)
            await world.router.set_weights("shop", {"2.0": 100})
            await world.platform.scale("shop", "1.0", 0)
            world.schema_version += 1

        simulation = simulate(calls(deploy), world=world)

        assert replayed(before, simulation.history) == world.facts()

    def test_is_watched(self) -> None:
        """Whoever watches is called after every change, and for nothing else."""
        world = shop()
        seen: list[int] = []
        world.watchers.append(lambda: seen.append(len(world.history)))
        world.apply_weights("shop", {"1.0": 50, "2.0": 50})
        world.apply_weights("shop", {"1.0": 50, "2.0": 50})
        world.kill("shop", "1.0")

        assert seen == [2, 3]


class TestTime:
    def test_goes_on(self) -> None:
        """Each simulation begins where the one before ended, whoever looked meanwhile or not."""
        world = shop(rps=10)
        ends: list[float] = []
        for _ in range(3):
            simulate(sleeper(600), world=world)
            ends.append(world.now_s)

        assert ends == [600.0, 1200.0, 1800.0]

    def test_goes_on_unseen(self) -> None:
        """Time that passes before anybody looks at the world has passed in it too."""
        world = shop(rps=10)

        async def main() -> int:
            await asyncio.sleep(3600)
            return len(await world.metrics.query("requests shop", window=HOUR))

        assert run_virtual(main()) == 360
        assert run_virtual(main(), start_s=1e6) == 360
        assert world.now_s == 7200.0

    def test_begins_within_a_run(self) -> None:
        """A world that is made in the middle of a run tells the time of that run."""

        async def main() -> list[float]:
            await asyncio.sleep(60)
            world = shop()
            seen = [world.now_s]
            await asyncio.sleep(1)
            return [*seen, world.now_s]

        assert run_virtual(main()) == [60.0, 61.0]

    def test_dates(self) -> None:
        """Samples carry the dates that the clock of their run tells, in a second run too."""
        world = shop(rps=100)

        async def main() -> list[float]:
            clock = VirtualClock()
            await asyncio.sleep(25)
            samples = await world.metrics.query("rps shop", window=timedelta(seconds=25))
            return [(clock.now() - sample.at).total_seconds() for sample in samples]

        assert run_virtual(main()) == [15.0, 5.0]
        assert run_virtual(main()) == [20.0, 10.0, 0.0]
        assert run_virtual(main(), start_s=1e6) == [15.0, 5.0]

    def test_survives_a_rewind(self) -> None:
        """A loop that is set back goes on where the world is."""
        world = shop()

        async def main() -> list[float]:
            seen: list[float] = []
            for start_s in (0.0, 5.0):
                await asyncio.sleep(60)
                seen.append(world.now_s)
                await this_loop().rewind(start_s)
                seen.append(world.now_s)
            return seen

        assert run_virtual(main()) == [60.0, 60.0, 120.0, 120.0]


class TestAt:
    def test_of_every_run(self) -> None:
        """What is planned happens in every simulation, each time after the same span."""
        world = shop()
        world.at("10s", lambda: world.kill("shop", "1.0"))
        for _ in range(2):
            simulate(sleeper(60), world=world)

        assert [change.at_s for change in world.history] == [10.0, 70.0]

    def test_after_the_end(self) -> None:
        """What is planned for later than the end of a run does not happen in it."""
        world = shop()
        world.at("1h", lambda: world.kill("shop", "1.0"))

        simulation = simulate(sleeper(60), world=world)

        assert (simulation.history, simulation.elapsed) == ((), timedelta(seconds=60))

    def test_changes_behaviour(self) -> None:
        """A release or the traffic may change in the middle of a run, and the past stays."""
        world = shop(rps=100)
        world.at("60s", lambda: world.traffic("shop", 0))
        world.at("30s", lambda: world.release("shop", "1.0", error_rate=1.0))
        seen: list[float] = []

        async def look() -> None:
            await asyncio.sleep(90)
            rates = await world.metrics.query("error_rate shop", window=HOUR)
            seen.extend(values(rates))

        simulate(call(look), world=world)

        assert seen == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]

    def test_is_cancelled(self) -> None:
        """Who ends a run cancels what is still to come."""
        world = shop()
        world.at("10s", lambda: world.kill("shop", "1.0"))

        async def main() -> None:
            world.end(world.begin())
            await asyncio.sleep(60)

        run_virtual(main())
        assert world.history == []

    def test_raises(self) -> None:
        """What goes wrong in it, the simulation raises."""
        world = shop()
        world.at("10s", lambda: world.kill("shp", "1.0"))

        with pytest.raises(SimulationError, match="did you mean 'shop'"):
            simulate(sleeper(60), world=world)
        with pytest.raises(SimulationError, match="did you mean 'shop'"):
            simulate(sleeper(60), world=world)
        assert simulate(sleeper(5), world=world).status == "succeeded"

    def test_is_plain(self) -> None:
        """It cannot await anything, and says so, rather than do nothing."""
        world = shop()
        world.at("10s", lambda: world.router.set_weights("shop", {"2.0": 100}))

        with pytest.raises(SimulationError, match=r"at\(\) .* to await.*world.apply_weights"):
            simulate(sleeper(60), world=world)


class TestSettingsUnderFaults:
    KINDS = (("fails", True, 0), ("applied_then_fails", True, 1), ("lies", False, 0))

    @pytest.mark.parametrize(("kind", "raises", "applied"), KINDS)
    @pytest.mark.parametrize("op", ["config.set", "schema.migrate"])
    def test_meet_faults(self, op: str, kind: Any, raises: bool, applied: int) -> None:
        """Setting a value may fail, apply and fail, or lie."""
        world = World()
        seen: list[str] = []

        async def deploy() -> None:
            try:
                if op == "config.set":
                    world.config["a"] = 1
                else:
                    world.schema_version = 1
            except SimulatedFault:
                seen.append("raised")

        simulate(calls(deploy), world=world, faults=[Fault(f"deploy#1 {op}#1", kind)])

        assert seen == ["raised"] * raises
        assert (world.config.get("a", 0), world.schema_version) in ((applied, 0), (0, applied))
        assert len(world.history) == applied

    def test_deleting(self) -> None:
        """Deleting a setting is such a point too; the test itself meets no fault."""
        world = World()
        world.config["a"] = 1

        async def deploy() -> None:
            del world.config["a"]

        simulate(calls(deploy), world=world, faults=[Fault("deploy#1 config.set#1", "lies")])

        assert world.config["a"] == 1
