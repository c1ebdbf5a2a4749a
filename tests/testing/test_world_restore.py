"""Saving a simulated world and coming back to it: everything is as it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyflow import AsyncContext, Retry, Workflow
from pyflow.errors import LockError
from pyflow.testing import (
    World,
    fails,
    flaps,
    run_virtual,
    simulate,
    takes,
)
from support.worlds import HOUR, call, calls, shop, values


class TestRestore:
    def test_everything(self) -> None:
        """Facts, history, clock, ids, notifications and what was planned are as they were."""
        world = shop(rps=100)
        simulate(call(lambda: asyncio.sleep(5)), world=world)
        saved, before = world.save(), str(world)

        async def deploy() -> None:
            world.service("mail", version="1")
            await world.platform.scale("shop", "2.0", 2)
            await world.notifier.notify(None)  # type: ignore[arg-type]
            world.config["a"], world.schema_version = 1, 2
            world.at("1s", lambda: world.kill("shop", "1.0"))
            await asyncio.sleep(60)

        simulate(calls(deploy), world=world)
        changed = str(world)
        world.restore(saved)

        assert changed != before == str(world)
        assert (world.now_s, world.history, world.notifier.sent) == (5.0, [], [])
        assert dict(world.config) == {}
        assert simulate(call(lambda: asyncio.sleep(5)), world=world).history == ()
        world.apply_scale("shop", "2.0", 1)
        assert run_virtual(world.platform.observe("shop")).instances[-1].id == "shop-5"

    def test_behaviour(self) -> None:
        """Releases and traffic are as they were, so that equal runs see equal figures."""
        world = shop(rps=100)
        saved = world.save()

        async def look() -> list[float]:
            await asyncio.sleep(60)
            return values(await world.metrics.query("errors shop", window=HOUR))

        seen = [run_virtual(look())]
        world.restore(saved)
        world.traffic("shop", 900)
        world.release("shop", "1.0", error_rate=0.5)
        seen.append(run_virtual(look()))
        world.restore(saved)
        seen.append(run_virtual(look()))

        assert seen[0] == seen[2] == [0.0] * 6
        assert min(seen[1]) > 4000

    def test_in_any_order(self) -> None:
        """Any state that was saved can be come back to, an earlier one or a later one."""
        world = World()
        states = [(world.save(), str(world))]
        for step in (
            lambda: world.service("shop", version="1.0", instances=2),
            lambda: world.apply_scale("shop", "2.0", 3),
            lambda: world.kill("shop", "1.0"),
        ):
            step()
            states.append((world.save(), str(world)))

        for number in (1, 3, 0, 2, 3):
            saved, text = states[number]
            world.restore(saved)
            assert str(world) == text

    def test_within_a_run(self) -> None:
        """Coming back in the middle of a run sets the clock back, and it goes on from there."""
        world = shop()

        async def main() -> list[float]:
            await asyncio.sleep(60)
            saved = world.save()
            await asyncio.sleep(60)
            world.restore(saved)
            seen = [world.now_s]
            await asyncio.sleep(5)
            return [*seen, world.now_s]

        assert run_virtual(main()) == [60.0, 65.0]

    def test_within_a_later_run(self) -> None:
        """Coming back is so too where a run has not looked at the world before."""
        world = shop()
        saved = world.save()

        async def main() -> list[float]:
            await asyncio.sleep(60)
            world.restore(saved)
            await asyncio.sleep(5)
            return [world.now_s]

        assert [run_virtual(main()) for _ in range(2)] == [[5.0], [5.0]]

    def test_scripts(self) -> None:
        """A script is as far as it was; what was scripted since is gone."""
        world = shop()
        probe = world.probe("shop")
        probe.on("read", flaps())

        async def look() -> list[bool]:
            return [(await probe.read()).is_healthy for _ in range(3)]

        run_virtual(probe.read())
        saved = world.save()
        seen = [run_virtual(look())]
        world.platform.on("scale", fails())
        later = world.probe("shop", ready=2)
        later.on("read", flaps())
        world.restore(saved)
        seen.append(run_virtual(look()))

        assert seen == [[True, False, True]] * 2
        assert run_virtual(later.read()).is_healthy
        run_virtual(world.platform.scale("shop", "2.0", 1))

    def test_locks(self) -> None:
        """Locks are held, free or barred as they were, and their epochs go on from there."""
        world = World()

        async def main() -> None:
            world.locks.release(await world.locks.acquire("r", ["a"]), residue=True)
            await world.locks.acquire("r", ["b"])
            saved = world.save()
            for _ in range(2):
                for lock in "ab":
                    world.locks.break_lock(lock)
                world.restore(saved)

            with pytest.raises(LockError, match="run r left residue"):
                await world.locks.acquire("s", ["a"])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await world.locks.acquire("s", ["b"])
            assert world.locks.break_lock("b") == 2

        run_virtual(main())

    def test_runs_are_equal(self) -> None:
        """A run after a restore is the run that was, to the last record."""
        world = shop(seed=7, rps=250)
        world.release("shop", "2.0", startup="7s")
        world.platform.on("scale", fails(times=1, then=takes("3s")))
        saved = world.save()

        async def deploy(ctx: AsyncContext) -> list[float]:
            await world.platform.scale("shop", "2.0", 2)
            await world.router.set_weights("shop", {"1.0": 50, "2.0": 50})
            await ctx.poll(world.probe("shop", "2.0", ready=2), timeout="5m")
            return values(await world.metrics.query("errors shop", window=HOUR))

        workflow = Workflow("w", locks=["shop"])
        workflow.add_task("deploy", deploy, retry=Retry(3))
        seen: list[Any] = []
        for _ in range(2):
            one = simulate(workflow, world=world)
            seen.append((one.status, one.events, one.history, one.elapsed))
            world.restore(saved)

        assert seen[0] == seen[1]
        assert seen[0][0] == "succeeded"
