"""What stands behind every rollout, whatever its template says."""

from __future__ import annotations

import pyflow
from pyflow.spans import Backoff
from pyflow.strategies.effects import Hands
from pyflow.strategies.ground import Survey
from pyflow.testing import World, fails, simulate
from support.rollouts import NEW, OLD, open_shop

SURVEY = Survey(OLD, stable_instances=4, instances=4)


def hands(world: World) -> Hands:
    return Hands("shop", NEW, world.platform, world.router, ready_s=60, backoff=Backoff("1s"))


def workers(world: World) -> Hands:
    return Hands("shop", NEW, world.platform, None, ready_s=60, backoff=Backoff("1s"))


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

    def test_waits_for_others_to_serve(self) -> None:
        """Capacity goes only once what is left can serve, and what is left is looked at twice."""
        world = open_shop(routed=False)
        world.apply_scale("shop", NEW, 4)
        workflow = pyflow.Workflow("careless")

        @workflow.task
        async def retire(ctx: pyflow.AsyncContext) -> None:
            await workers(world).scale(ctx, SURVEY, OLD, 0, weights=[], serving=4)

        simulation = simulate(workflow, world=world)

        assert simulation.status == "succeeded"
        [change] = simulation.history
        assert (change.what, change.before) == (f"shop instances {OLD}", 4)
        assert change.at_s >= 31

    def test_takes_no_more_away_than_others_can_serve(self) -> None:
        """Where the others never become ready, nothing goes."""
        world = open_shop(routed=False, starts=False)
        world.apply_scale("shop", NEW, 4)
        workflow = pyflow.Workflow("careless")

        @workflow.task
        async def retire(ctx: pyflow.AsyncContext) -> None:
            await workers(world).scale(ctx, SURVEY, OLD, 0, weights=[], serving=4)

        simulation = simulate(workflow, world=world)

        assert "4 are ready without what goes of 1.0" in str(simulation.error)
        assert world.services["shop"].counts()[OLD] == 4

    def test_keeps_its_hands_off_what_others_added(self) -> None:
        """More instances than this rollout can have left are somebody else's."""
        world = open_shop()
        world.apply_scale("shop", OLD, 6)
        workflow = pyflow.Workflow("watched")

        @workflow.task
        async def deploy(ctx: pyflow.AsyncContext) -> None:
            known, most = [{OLD: 100.0}], {OLD: 4, NEW: 4}
            await hands(world).scale(ctx, SURVEY, NEW, 4, weights=known, most=most)

        simulation = simulate(workflow, world=world)

        assert simulation.status == "held"
        assert "the instances are {'1.0': 6}, and this run left {'1.0': 4, '2.0': 4}" in str(
            simulation.error
        )
        assert world.services["shop"].counts() == {OLD: 6}

    def test_names_what_is_there_without_a_router(self) -> None:
        """Where nobody weighs, only instances are told."""
        world = open_shop(routed=False)
        world.platform.on("scale", fails(ConnectionError))
        workflow = pyflow.Workflow("refused")

        @workflow.task
        async def deploy(ctx: pyflow.AsyncContext) -> None:
            await workers(world).scale(ctx, SURVEY, NEW, 4, weights=[])

        simulation = simulate(workflow, world=world)

        assert str(simulation.error).endswith("Now instances are {'1.0': 4}.")


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
