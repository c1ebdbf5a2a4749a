"""Workflows with a mistake that people make, and that `explore` has to find.

Each is a function that returns the workflow; with *mended* it returns the one
in which the mistake is put right, which `explore` has to find safe. Most
differ in a few characters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import pyflow
from mutants.workflows import (
    CAREFUL,
    NEW,
    OLD,
    Invariant,
    NotApplied,
    make_shop,
    put,
    route,
    scale,
)
from pyflow.probes import consistently
from pyflow.testing import Exploration, World, always, explore
from pyflow.testing.exploration import invariants

ERROR_RATE_MAX = 0.05


class Make(Protocol):
    """Returns a workflow that acts on *world*."""

    __name__: str

    def __call__(self, world: World, *, mended: bool) -> pyflow.Workflow: ...


@dataclass(frozen=True, eq=False)
class Faulty:
    """A workflow with a mistake."""

    make: Make
    """Makes it, and the mended one."""

    breaks: Invariant
    """What `explore` has to find broken."""

    faults: int
    """How many faults it takes."""

    make_world: Callable[[], World]
    """Makes where it runs."""

    invariants: tuple[Invariant, ...]
    """What has to hold besides what always has to."""

    @property
    def name(self) -> str:
        """What is wrong, in a few words."""
        return inspect.cleandoc(self.make.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def story(self) -> str:
        """How it comes about, and what it leads to."""
        return " ".join(inspect.cleandoc(self.make.__doc__ or "").partition("\n")[2].split())

    def explore(self, *, mended: bool = False) -> Exploration:
        """Run it under as many faults as it takes; if *mended*, under at least one."""
        world = self.make_world()
        return explore(
            lambda: self.make(world, mended=mended),
            world=world,
            faults=max(self.faults, int(mended)),
            invariants=self.invariants,
            progress=False,
        )


FAULTY: list[Faulty] = []


def faulty(
    *,
    breaks: Invariant,
    faults: int,
    world: Callable[[], World] = make_shop,
    invariants: tuple[Invariant, ...] = (),
) -> Callable[[Make], Make]:
    """Add what follows to `FAULTY`."""

    def add(make: Make) -> Make:
        FAULTY.append(Faulty(make, breaks, faults, world, invariants))
        return make

    return add


# Worlds, and what is asked of them --------------------------------------------------------


def make_blue_green() -> World:
    """Return a shop where the new version is ready, and gets no traffic yet."""
    world = make_shop()
    world.release("shop", NEW, startup=0)
    world.apply_scale("shop", NEW, 2)
    return world


def make_bad_release() -> World:
    """Return a shop whose new version fails half of its requests."""
    world = make_shop()
    world.release("shop", NEW, error_rate=0.5)
    return world


def make_noon() -> World:
    """Return a shop that needs two instances of whatever serves."""
    world = make_shop()
    world.traffic("shop", rps=150)
    return world


def make_blue_green_at_noon() -> World:
    """Return a shop of both kinds."""
    world = make_blue_green()
    world.traffic("shop", rps=150)
    return world


@always
def at_most_three_instances(world: World) -> bool:
    """There are never more than three instances."""
    return world.services["shop"].counts()[OLD] <= 3


@always
def few_meet_a_bad_version(world: World) -> bool:
    """A bad version never gets more than 5 % of the traffic."""
    return world.services["shop"].now.weights.get(NEW, 0) <= 5


def add_deploy(wf: pyflow.Workflow, world: World) -> None:
    """Have two ready instances of the new version, or none."""
    wf.add_task("deploy", partial(scale, world=world, version=NEW, instances=2), timeout="9m")
    wf.add_recovery(
        "deploy",
        partial(scale, world=world, version=NEW, instances=0),
        retry=CAREFUL,
        timeout="5m",
    )


def add_shift(wf: pyflow.Workflow, world: World, **options: Any) -> None:
    """Send all traffic to the new version, or to the old one."""
    wf.add_task("shift", partial(route, world, NEW), timeout="1m", **options)
    wf.add_recovery("shift", partial(route, world, OLD), retry=CAREFUL, timeout="1m")


# Undos ------------------------------------------------------------------------------------


@faulty(breaks=invariants.rolled_back_is_as_before, faults=1, world=make_blue_green)
def forgets_the_weights(world: World, *, mended: bool) -> pyflow.Workflow:
    """The undo of a switch forgets the weights.

    The switch sets a flag and moves the traffic. Its undo was written when it
    only set the flag. The rollback reports success, and customers stay on the
    release that was taken back.
    """

    async def switch() -> None:
        put(world, "live", NEW)
        await route(world, NEW)

    async def undo() -> None:
        put(world, "live", None)
        if mended:
            await route(world, OLD)

    wf = pyflow.Workflow("switch")
    wf.add_task("switch", switch, timeout="1m")
    wf.add_recovery("switch", undo, retry=CAREFUL, timeout="1m")
    return wf


@faulty(breaks=invariants.rolled_back_is_as_before, faults=2, world=make_blue_green)
def trusts_a_stale_read(world: World, *, mended: bool) -> pyflow.Workflow:
    """An undo looks before it acts, and what it sees is old.

    The undo asks where the traffic goes, is told the state before the last
    change, finds nothing to do, and counts as done. To write what is there
    already does no harm; so write, and look afterwards.
    """

    async def undo() -> None:
        if mended or await world.router.weights("shop") != {OLD: 100}:
            await route(world, OLD)

    wf = pyflow.Workflow("switch")
    wf.add_task("switch", partial(route, world, NEW), timeout="1m")
    wf.add_recovery("switch", undo, retry=CAREFUL, timeout="1m")
    return wf


@faulty(breaks=invariants.someone_is_ready, faults=1)
def removes_what_has_traffic(world: World, *, mended: bool) -> pyflow.Workflow:
    """An undo in the wrong place removes the version that still has the traffic.

    Going back was put into one function, beside the deploy: remove the new
    version, then send the traffic to the old one. For as long as that takes,
    every request fails.
    """

    async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
        if mended:
            await route(world, OLD)
        await scale(ctx, world, NEW, 0)
        await route(world, OLD)

    wf = pyflow.Workflow("rollout")
    wf.add_task("deploy", partial(scale, world=world, version=NEW, instances=2), timeout="9m")
    wf.add_recovery("deploy", undo, retry=CAREFUL, timeout="5m")
    wf.add_task("shift", partial(route, world, NEW), depends_on=["deploy"], timeout="1m")
    return wf


@faulty(breaks=invariants.rolled_back_is_as_before, faults=1, world=World)
def restores_half(world: World, *, mended: bool) -> pyflow.Workflow:
    """Two settings are changed, and one is restored.

    A larger pool went in with a longer timeout, and the undo knows of the
    pool. The next release starts from a timeout that nobody remembers.
    """

    async def tune() -> None:
        put(world, "pool_size", 50)
        put(world, "timeout_s", 30)

    async def undo() -> None:
        put(world, "pool_size", None)
        if mended:
            put(world, "timeout_s", None)

    wf = pyflow.Workflow("tune")
    wf.add_task("tune", tune, timeout="1m")
    wf.add_recovery("tune", undo, retry=CAREFUL, timeout="1m")
    return wf


@faulty(breaks=invariants.rolled_back_is_as_before, faults=1)
def needs_an_output_to_undo(world: World, *, mended: bool) -> pyflow.Workflow:
    """An undo takes a task that returned nothing for one that did nothing.

    The deploy is applied, and then its connection breaks, or somebody calls it
    back: there is no output, so its undo has nothing to remove. Two instances
    of a release that was taken back stay, and the run says `rolled_back`.
    """

    async def deploy(ctx: pyflow.AsyncContext) -> str:
        await scale(ctx, world, NEW, 2)
        return NEW

    async def undo(ctx: pyflow.AsyncRecoveryContext, deploy: str | None) -> None:
        version = NEW if mended else deploy
        if version is not None:
            await scale(ctx, world, version, 0)

    wf = pyflow.Workflow("deploy")
    wf.add_task("deploy", deploy, timeout="9m")
    wf.add_recovery("deploy", undo, retry=CAREFUL, timeout="5m")
    return wf


@faulty(breaks=invariants.residue_is_complete, faults=2, world=World)
def hides_what_is_left(world: World, *, mended: bool) -> pyflow.Workflow:
    """An undo swallows its own error, so the residue does not name it.

    What was announced cannot be taken back, and the run says so. Beside it,
    the undo of the banner failed in silence; whoever cleans up by the list of
    residue leaves the banner where it is.
    """

    async def set_up() -> None:
        put(world, "banner", "new")

    async def undo() -> None:
        with suppress(*(() if mended else (Exception,))):
            put(world, "banner", None)

    async def announce() -> None:
        put(world, "announced", "yes")

    async def regret() -> None:
        raise NotApplied("everybody has read it")

    wf = pyflow.Workflow("announce")
    wf.add_task("set_up", set_up, timeout="1m")
    wf.add_recovery("set_up", undo, retry=CAREFUL, timeout="1m")
    wf.add_task("announce", announce, timeout="1m")
    wf.add_recovery("announce", regret, timeout="1m")
    return wf


@faulty(breaks=invariants.someone_is_ready, faults=1)
def orders_by_polling(world: World, *, mended: bool) -> pyflow.Workflow:
    """A dependency is kept by waiting, so the way back does not know of it.

    The shift polls until the deploy is ready, and needs no `depends_on` for
    that. In the rollback nothing says that the traffic has to leave first;
    both undos start at once, and the instances are gone before the weights.
    """

    async def shift(ctx: pyflow.AsyncContext) -> None:
        await ctx.poll(consistently(world.probe("shop", NEW, ready=2)), timeout="5m")
        await route(world, NEW)

    async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
        await ctx.sleep("5s")  # let the sessions that are under way end
        await route(world, OLD)

    wf = pyflow.Workflow("rollout")
    add_deploy(wf, world)
    wf.add_task("shift", shift, depends_on=["deploy"] if mended else [], timeout="9m")
    wf.add_recovery("shift", undo, retry=CAREFUL, timeout="1m")
    return wf


# Tries ------------------------------------------------------------------------------------


@faulty(
    breaks=at_most_three_instances,
    faults=1,
    world=make_shop,
    invariants=(at_most_three_instances,),
)
def retries_one_more(world: World, *, mended: bool) -> pyflow.Workflow:
    """A step that is not idempotent is tried again.

    It adds one instance to those that it finds. The first try is applied and
    its answer is lost; the second adds another one, which nobody pays for.
    """

    async def grow() -> None:
        state = await world.platform.observe("shop")
        wanted = 3 if mended else len(state.instances) + 1
        await world.platform.scale("shop", OLD, wanted)

    wf = pyflow.Workflow("grow")
    wf.add_task("grow", grow, retry=CAREFUL, timeout="1m")
    wf.add_recovery(
        "grow",
        partial(scale, world=world, version=OLD, instances=2),
        retry=CAREFUL,
        timeout="5m",
    )
    return wf


@faulty(breaks=invariants.rolled_back_is_as_before, faults=2, world=make_blue_green)
def remembers_the_wrong_past(world: World, *, mended: bool) -> pyflow.Workflow:
    """A second try takes what the first one left for how it was before.

    The weights are saved, changed, and the answer is lost. The second try
    saves them again, changed as they are, and it is these that the undo
    restores.
    """

    async def switch(ctx: pyflow.AsyncContext) -> None:
        before = await world.router.weights("shop")
        if mended:
            before = ctx.checkpoints.get("before", before)
        ctx.checkpoint("before", before)
        await route(world, NEW)

    async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
        before = ctx.checkpoints.get("before", {OLD: 100})
        await world.router.set_weights("shop", before)
        if await world.router.weights("shop") != before:
            raise NotApplied("weights")

    wf = pyflow.Workflow("switch")
    wf.add_task("switch", switch, retry=CAREFUL, timeout="1m")
    wf.add_recovery("switch", undo, retry=CAREFUL, timeout="1m")
    return wf


@faulty(breaks=invariants.ends, faults=1)
def waits_for_ever(world: World, *, mended: bool) -> pyflow.Workflow:
    """A call that can hang has no timeout.

    The platform accepts the connection and never answers. The run waits, with
    its lock held, until somebody notices.
    """
    wf = pyflow.Workflow("deploy", locks=["service:shop"])
    wf.add_task(
        "deploy",
        partial(scale, world=world, version=NEW, instances=2),
        timeout="9m" if mended else None,
    )
    wf.add_recovery(
        "deploy",
        partial(scale, world=world, version=NEW, instances=0),
        retry=CAREFUL,
        timeout="5m",
    )
    return wf


@faulty(breaks=invariants.capacity_covers_traffic, faults=1, world=make_noon)
def swallows_what_went_wrong(world: World, *, mended: bool) -> pyflow.Workflow:
    """An error is swallowed, so a step that failed counts as done.

    Scaling up was flaky once, and an ``except Exception: pass`` made the
    pipeline green. Now all traffic goes to the one instance that was there.
    """

    async def scale_up(ctx: pyflow.AsyncContext) -> None:
        with suppress(*(() if mended else (Exception,))):
            await scale(ctx, world, NEW, 2)

    wf = pyflow.Workflow("rollout")
    wf.add_task("start", partial(scale, world=world, version=NEW, instances=1), timeout="9m")
    wf.add_task("scale_up", scale_up, depends_on=["start"], timeout="9m")
    add_shift(wf, world, depends_on=["scale_up"])
    return wf


# Looks ------------------------------------------------------------------------------------


@faulty(breaks=invariants.someone_is_ready, faults=0)
def shifts_at_once(world: World, *, mended: bool) -> pyflow.Workflow:
    """Traffic is shifted before anything is ready.

    The platform says yes when it has accepted the request, not when the new
    instances serve. On the laptop, where they start at once, it always worked.
    """

    async def deploy(ctx: pyflow.AsyncContext) -> None:
        await world.platform.scale("shop", NEW, 2)
        if mended:
            await ctx.poll(consistently(world.probe("shop", NEW, ready=2)), timeout="5m")

    wf = pyflow.Workflow("rollout")
    wf.add_task("deploy", deploy, timeout="9m")
    add_shift(wf, world, depends_on=["deploy"])
    return wf


@faulty(breaks=invariants.someone_is_ready, faults=1)
def retires_without_looking(world: World, *, mended: bool) -> pyflow.Workflow:
    """The old version is retired without reading the weights back.

    The router says that the traffic has moved, and it has not. The step after
    it removes the instances that serve everybody.
    """

    async def shift() -> None:
        await world.router.set_weights("shop", {NEW: 100})
        if mended and await world.router.weights("shop") != {NEW: 100}:
            raise NotApplied("weights")

    wf = pyflow.Workflow("rollout")
    add_deploy(wf, world)
    wf.add_task("shift", shift, depends_on=["deploy"], timeout="1m")
    wf.add_recovery("shift", partial(route, world, OLD), retry=CAREFUL, timeout="1m")
    wf.add_task(
        "retire",
        partial(scale, world=world, version=OLD, instances=0),
        depends_on=["shift"],
        timeout="5m",
    )
    wf.add_recovery(
        "retire",
        partial(scale, world=world, version=OLD, instances=2),
        retry=CAREFUL,
        timeout="5m",
    )
    return wf


@faulty(
    breaks=few_meet_a_bad_version,
    faults=1,
    world=make_bad_release,
    invariants=(few_meet_a_bad_version,),
)
def takes_nan_for_healthy(world: World, *, mended: bool) -> pyflow.Workflow:
    """What is no number counts as healthy.

    ``nan > 0.05`` is false, so the check that should stop a bad release lets
    it pass when the metrics are broken. Ask for what is good, not for what is
    bad: ``not nan <= 0.05`` is true.
    """

    async def send(pct: float) -> None:
        wanted = {version: share for version, share in ((OLD, 100 - pct), (NEW, pct)) if share}
        await world.router.set_weights("shop", wanted)

    async def measure(ctx: pyflow.AsyncContext) -> None:
        await ctx.sleep("5m")
        query = f"error_rate shop {NEW}"
        samples = await world.metrics.query(query, window=timedelta(minutes=4))
        worst = max(sample.value for sample in samples)
        if not worst <= ERROR_RATE_MAX if mended else worst > ERROR_RATE_MAX:
            raise NotApplied(f"an error rate of {worst}")

    wf = pyflow.Workflow("canary")
    add_deploy(wf, world)
    wf.add_task("canary", partial(send, pct=5), depends_on=["deploy"], timeout="1m")
    wf.add_recovery("canary", partial(route, world, OLD), retry=CAREFUL, timeout="1m")
    wf.add_task("measure", measure, depends_on=["canary"], timeout="9m", effect=False)
    wf.add_task("all", partial(send, pct=100), depends_on=["measure"], timeout="1m")
    return wf


@faulty(breaks=invariants.someone_is_ready, faults=1)
def asks_once(world: World, *, mended: bool) -> pyflow.Workflow:
    """A probe is believed the first time.

    One answer came from an instance that is about to be replaced. Ask until
    it says the same several times in a row.
    """

    async def deploy(ctx: pyflow.AsyncContext) -> None:
        await world.platform.scale("shop", NEW, 2)
        probe = world.probe("shop", NEW, ready=2)
        await ctx.poll(consistently(probe) if mended else probe, timeout="5m")

    wf = pyflow.Workflow("rollout")
    wf.add_task("deploy", deploy, timeout="9m")
    wf.add_recovery(
        "deploy",
        partial(scale, world=world, version=NEW, instances=0),
        retry=CAREFUL,
        timeout="5m",
    )
    add_shift(wf, world, depends_on=["deploy"])
    return wf


@faulty(breaks=invariants.capacity_covers_traffic, faults=0, world=make_blue_green_at_noon)
def shrinks_first(world: World, *, mended: bool) -> pyflow.Workflow:
    """Capacity is taken away before the traffic is.

    Half of the old instances make room for the new ones. At noon the other
    half cannot bear what still comes to them.
    """
    wf = pyflow.Workflow("rollout")
    wf.add_task(
        "make_room",
        partial(scale, world=world, version=OLD, instances=1),
        depends_on=["shift"] if mended else [],
        timeout="5m",
    )
    wf.add_recovery(
        "make_room",
        partial(scale, world=world, version=OLD, instances=2),
        retry=CAREFUL,
        timeout="5m",
    )
    add_shift(wf, world, depends_on=[] if mended else ["make_room"])
    return wf
