"""Faults at points of a run reach the ports of its world."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from pyflow import Retry, Workflow
from pyflow.protocols import Instance
from pyflow.testing import Fault, SimulationError, World, flaps, simulate
from support.ports import EFFECTS, LOOKS, outcome
from support.worlds import call, calls, shop, values

PORT_OF = {"read": "probe", "query": "metrics", "observe": "platform", "weights": "router"}


def looked(world: World, name: str, kind: Any) -> list[Any]:
    """Return what a look tells three times, of which the second meets a fault."""
    seen: list[Any] = []

    async def deploy() -> None:
        seen.extend([await LOOKS[name][1](world) for _ in range(3)])

    point = f"deploy#1 {PORT_OF[name]}.{name}#2"
    assert simulate(calls(deploy), world=world, faults=[Fault(point, kind)]).status == "succeeded"
    return seen


@pytest.mark.parametrize("name", EFFECTS)
class TestEffects:
    @pytest.mark.parametrize(
        ("kind", "ends", "applied"),
        [
            ("fails", "SimulatedFault at 0 s", False),
            ("applied_then_fails", "SimulatedFault at 0 s", True),
            ("lies", "done at 0 s", False),
            ("hangs", "TimeoutError at 60 s", False),
        ],
    )
    def test_go_wrong(self, name: str, kind: Any, ends: str, applied: bool) -> None:
        """A call under a fault ends as the fault says, and does what that says."""
        op, _, act, done = EFFECTS[name]
        world, seen = shop(), list[str]()

        async def deploy() -> None:
            seen.append(await outcome(act(world)))

        simulate(calls(deploy), world=world, faults=[Fault(f"deploy#1 {name}.{op}#1", kind)])

        assert seen == [ends]
        assert done(world) is applied

    def test_cannot_go_wrong_like_this(self, name: str) -> None:
        """A fault that cannot happen at its point is refused, with those that can."""
        op, _, act, _ = EFFECTS[name]
        world = shop()

        with pytest.raises(
            SimulationError, match=r"'stale' cannot happen at .*; it can be: fails, "
        ):
            simulate(
                call(lambda: act(world)),
                world=world,
                faults=[Fault(f"deploy#1 {name}.{op}#1", "stale")],
            )


class TestLooks:
    @pytest.mark.parametrize("name", ["observe", "weights", "query"])
    @pytest.mark.parametrize(
        ("kind", "ends"), [("fails", "SimulatedFault at 0 s"), ("hangs", "TimeoutError at 60 s")]
    )
    def test_have_no_end(self, name: str, kind: Any, ends: str) -> None:
        """A look may fail, or never come back."""
        world, seen = shop(), list[str]()

        async def deploy() -> None:
            seen.append(await outcome(LOOKS[name][1](world)))

        simulate(
            calls(deploy), world=world, faults=[Fault(f"deploy#1 {PORT_OF[name]}.{name}#1", kind)]
        )

        assert seen == [ends]

    def test_observe_stale(self) -> None:
        """A stale platform tells what ran before the last change, once."""
        world = shop(instances=1)
        world.apply_scale("shop", "2.0", 1)

        before, stale, after = looked(world, "observe", "stale")

        assert stale.instances == (Instance("shop-1", "1.0", ready=True),)
        assert (stale.generation, len(before.instances)) == ("1", 2)
        assert before == after

    def test_weights_stale(self) -> None:
        """A stale router tells the weights before the last change, once."""
        world = shop()
        world.apply_weights("shop", {"2.0": 100})

        assert looked(world, "weights", "stale") == [{"2.0": 100.0}, {"1.0": 100.0}, {"2.0": 100.0}]

    @pytest.mark.parametrize(("kind", "health"), [("missing", "unknown"), ("flipped", "unhealthy")])
    def test_read_untrue(self, kind: Any, health: str) -> None:
        """A probe may not know, or say the opposite of what is."""
        readings = looked(shop(), "read", kind)

        assert [reading.health for reading in readings] == ["healthy", health, "healthy"]

    @pytest.mark.parametrize(("kind", "spoilt"), [("missing", []), ("nan", [math.nan] * 6)])
    def test_query_untrue(self, kind: Any, spoilt: list[float]) -> None:
        """A source of metrics may have no data, or data that are no numbers."""
        world = shop(rps=10)
        simulate(call(lambda: asyncio.sleep(60)), world=world)

        before, found, after = looked(world, "query", kind)

        assert repr(values(found)) == repr(spoilt)
        assert len(before) == 6
        assert before == after


class TestPoints:
    def test_of_an_attempt(self) -> None:
        """Points count the calls of one attempt, so a fault strikes one of them."""
        world = shop()

        async def deploy() -> None:
            for count in (1, 2):
                await world.platform.scale("shop", "2.0", count)

        workflow = Workflow("w")
        workflow.add_task("deploy", deploy, retry=Retry(3))
        simulation = simulate(
            workflow,
            world=world,
            faults=[
                Fault("deploy#1 platform.scale#2", "fails"),
                Fault("deploy#2 platform.scale#1", "applied_then_fails"),
                Fault("deploy#3 platform.scale#2", "lies"),
            ],
        )

        assert simulation.order == ("deploy",) * 3
        assert simulation.status == "succeeded"
        assert world.services["shop"].counts()["2.0"] == 1

    def test_of_an_undo(self) -> None:
        """What an undo does has points of its own."""
        world = shop()

        async def deploy() -> None:
            await world.platform.scale("shop", "2.0", 1)
            raise RuntimeError("no")

        async def undeploy() -> None:
            await world.platform.scale("shop", "2.0", 0)

        workflow = calls(deploy)
        workflow.add_recovery("deploy", undeploy)
        fault = Fault("undo of deploy#1 platform.scale#1", "lies")
        simulation = simulate(workflow, world=world, faults=[fault])

        assert simulation.status == "rolled_back"
        assert world.services["shop"].counts() == {"1.0": 4, "2.0": 1}

    def test_of_every_probe(self) -> None:
        """All probes count as one, in the order in which they are read."""
        world, seen = shop(), list[str]()

        async def deploy() -> None:
            for ready in (1, 2):
                seen.append((await world.probe("shop", ready=ready).read()).health)

        simulate(calls(deploy), world=world, faults=[Fault("deploy#1 probe.read#2", "flipped")])

        assert seen == ["healthy", "unhealthy"]

    def test_take_the_place_of_scripts(self) -> None:
        """Where a script and a fault meet, the fault happens, and the script has had its turn."""
        world, seen = shop(), list[str]()
        world.probe("shop").on("read", flaps())

        async def deploy() -> None:
            for _ in range(3):
                seen.append((await world.probe("shop").read()).health)

        simulate(calls(deploy), world=world, faults=[Fault("deploy#1 probe.read#1", "missing")])

        assert seen == ["unknown", "healthy", "unhealthy"]

    def test_outside_of_a_run(self) -> None:
        """What the test itself does meets no fault, during a run or after."""
        world = shop()
        world.at("1s", lambda: world.config.update(mode="old"))

        async def deploy(ctx: Any) -> None:
            await ctx.sleep("5s")
            world.config["mode"] = "new"

        simulate(calls(deploy), world=world, faults=[Fault("deploy#1 config.set#1", "lies")])

        assert world.config["mode"] == "old"
