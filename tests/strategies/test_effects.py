"""What stands behind every rollout, whatever its template says."""

from __future__ import annotations

import pyflow
from pyflow.spans import Backoff
from pyflow.strategies.effects import Hands
from pyflow.strategies.ground import Survey
from pyflow.testing import World, simulate
from support.rollouts import NEW, OLD, open_shop

SURVEY = Survey(OLD, stable_instances=4, instances=4)


def hands(world: World) -> Hands:
    return Hands("shop", NEW, world.platform, world.router, ready_s=60, backoff=Backoff("1s"))


class TestScale:
    def test_keeps_what_the_weight_needs(self) -> None:
        """Capacity below what a version's weight needs is refused, and that is no question to anybody."""
        world = open_shop()
        workflow = pyflow.Workflow("careless")

        @workflow.task
        async def retire(ctx: pyflow.AsyncContext) -> None:
            await hands(world).scale(ctx, SURVEY, OLD, 3, weights=[{OLD: 100.0}])

        simulation = simulate(workflow, world=world)

        assert "1.0 still gets 100 % of the traffic, and 3 instances are too few" in str(
            simulation.error
        )
        assert simulation.status == "rolled_back"
        assert simulation.history == ()


class TestShift:
    def test_waits_for_capacity(self) -> None:
        """A version with nothing ready gets no weight, though the template asks for it."""
        world = open_shop()
        workflow = pyflow.Workflow("careless")

        @workflow.task
        async def shift(ctx: pyflow.AsyncContext) -> None:
            await hands(world).shift(
                ctx, SURVEY, {NEW: 100.0}, origins=[{OLD: 100.0}], capacity={NEW: 4}
            )

        simulation = simulate(workflow, world=world)

        assert "4 of 2.0 are ready" in str(simulation.error)
        assert simulation.history == ()

    def test_records_across_a_crash(self) -> None:
        """A change whose record a crash took is recorded by the next attempt, with what was before."""
        world = open_shop()
        workflow = pyflow.Workflow("crashed")

        @workflow.task(retry=pyflow.Retry(2, backoff=0))
        async def shift(ctx: pyflow.AsyncContext) -> None:
            world.apply_scale("shop", NEW, 4)
            await ctx.sleep("60s")
            made = hands(world)
            if ctx.attempt == 1:
                key = "before shop weights was {'2.0': 100.0}"
                ctx.checkpoint(key, {OLD: 100.0})
                world.apply_weights("shop", {NEW: 100})
                raise ConnectionError("the engine is gone")
            await made.shift(ctx, SURVEY, {NEW: 100.0}, origins=[{OLD: 100.0}], capacity={NEW: 4})

        simulation = simulate(workflow, world=world)

        assert simulation.status == "succeeded"
        [change] = simulation.audit_trail.changes
        assert (change.data["before"], change.data["after"]) == ({OLD: 100.0}, {NEW: 100.0})
