"""Small workflows that the engine keeps safe under every fault; faults of the engine are tried on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyflow
from pyflow.probes import consistently
from pyflow.testing import Exploration, Explored, World, explore

OLD, NEW = "1.0", "2.0"
CAREFUL = pyflow.Retry(3, backoff="5s")
ONCE = pyflow.Retry(1)
Invariant = Callable[..., object]


@dataclass(frozen=True, eq=False)
class Case:
    """A workflow to explore, and how."""

    make_world: Callable[[], World]
    """Makes where it runs."""

    make_workflow: Callable[[World], pyflow.Workflow]
    """Makes the workflow, with functions that act on that world."""

    faults: int = 1
    """The budget under which it is safe in less than a second."""

    invariants: tuple[Invariant, ...] = ()
    """What has to hold besides."""

    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Other arguments of `explore`."""

    def explore(self) -> Exploration:
        """Run it under every fault, up to the budget or to the first counterexample."""
        world = self.make_world()
        return explore(
            lambda: self.make_workflow(world),
            world=world,
            faults=self.faults,
            invariants=self.invariants,
            progress=False,
            **self.options,
        )


class NotApplied(Exception):
    """What was set is not what is there."""


def put(world: World, key: str, value: object) -> None:
    """Set a setting, and look whether it is set; None takes it away."""
    world.config[key] = value
    if world.config.get(key) != value:
        raise NotApplied(key)


def one_fault_leaves_nothing(run: Explored) -> bool:
    """Where one thing goes wrong, nothing is left behind."""
    return len(run.faults) > 1 or not run.residue


# Versions and weights ---------------------------------------------------------------------


def make_shop() -> World:
    """Return a shop that runs the old version under traffic."""
    world = World()
    world.service("shop", version=OLD, instances=2)
    world.traffic("shop", rps=100)
    return world


async def scale(ctx: pyflow.AsyncContext, world: World, version: str, instances: int) -> None:
    """Have *instances* ready instances of *version*."""
    await world.platform.scale("shop", version, instances)
    state = await world.platform.observe("shop")
    if sum(one.version == version for one in state.instances) != instances:
        raise NotApplied(version)
    if instances:
        probe = consistently(world.probe("shop", version, ready=instances))
        await ctx.poll(probe, backoff="10s", timeout="2m")


async def route(world: World, version: str) -> None:
    """Send all traffic to *version*."""
    await world.router.set_weights("shop", {version: 100})
    if await world.router.weights("shop") != {version: 100}:
        raise NotApplied(version)


def make_rollout(world: World) -> pyflow.Workflow:
    """Deploy, shift and retire, one after another, under a lock."""
    wf = pyflow.Workflow("rollout", locks=["service:shop", "config:shop"])
    wf.add_task("deploy", partial(scale, world=world, version=NEW, instances=2), timeout="9m")
    wf.add_recovery(
        "deploy",
        partial(scale, world=world, version=NEW, instances=0),
        retry=CAREFUL,
        timeout="5m",
    )
    wf.add_task("shift", partial(route, world, NEW), depends_on=["deploy"], timeout="1m")
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
    wf.add_finalizer("report", lambda: None, timeout="1m")
    return wf


# Settings ---------------------------------------------------------------------------------


def add_setting(
    wf: pyflow.Workflow,
    world: World,
    key: str,
    *,
    takes: str = "1m",
    undo_retry: pyflow.Retry = CAREFUL,
    **options: Any,
) -> None:
    """Add a task that sets *key* and waits a while, and the undo of that."""

    async def do(ctx: pyflow.AsyncContext) -> None:
        put(world, key, "set")
        await ctx.sleep(takes)

    async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
        put(world, key, None)
        await ctx.sleep("10s")

    wf.add_task(key, do, timeout="8m", **options)
    wf.add_recovery(key, undo, retry=undo_retry, timeout="5m")


def make_turned_back(world: World) -> pyflow.Workflow:
    """Go back every time: what is verified is bad, while another branch is still under way."""

    async def deaf() -> None:
        await asyncio.sleep(300)  # which nobody can cut short

    async def verify() -> None:
        raise NotApplied("it is bad")

    wf = pyflow.Workflow("turned_back", locks=["config"])
    add_setting(wf, world, "gate")
    add_setting(wf, world, "left", depends_on=["gate"])
    wf.add_task("right", deaf, depends_on=["gate"], retry=CAREFUL, timeout="8m")
    wf.add_task("verify", verify, depends_on=["left"], retry=pyflow.Retry(2), timeout="1m")
    add_setting(wf, world, "last", depends_on=["verify"])
    wf.add_finalizer("report", lambda: None, timeout="1m")
    wf.add_finalizer("tidy", lambda: None, timeout="1m")
    return wf


def make_undone_once(world: World) -> pyflow.Workflow:
    """Go back every time, where each undo is tried once, so that one fault leaves residue."""

    async def verify() -> None:
        raise NotApplied("it is bad")

    wf = pyflow.Workflow("undone_once", locks=["config"])
    add_setting(wf, world, "below", undo_retry=ONCE)
    add_setting(wf, world, "above", depends_on=["below"], undo_retry=ONCE)
    wf.add_task("verify", verify, depends_on=["above"], timeout="1m")
    return wf


def make_handled(world: World) -> pyflow.Workflow:
    """Try one way, and another where that fails; ask whether a step is needed."""

    async def canary() -> None:
        put(world, "canary", "set")

    async def take_back() -> None:
        put(world, "canary", None)

    wf = pyflow.Workflow("handled")
    wf.add_task("canary", canary, timeout="1m")
    wf.add_recovery("canary", take_back, retry=CAREFUL, timeout="1m")
    add_setting(wf, world, "all_at_once", depends_on=["canary"])
    add_setting(wf, world, "by_hand", depends_on=["canary"], join="failure")
    add_setting(
        wf,
        world,
        "cache",
        depends_on=["all_at_once", "by_hand"],
        join="done",
        when=lambda: "canary" in world.config,
    )
    add_setting(wf, world, "legacy", depends_on=["cache"], join="done", when=lambda: False)
    return wf


def make_repaired(world: World) -> pyflow.Workflow:
    """Repair what fails: by trying again, or with an output from elsewhere."""

    async def fetch() -> str:
        return "fresh"

    async def fall_back() -> str:
        return "cached"

    async def push(fetch: str) -> None:
        put(world, "pushed", fetch)

    async def unblock() -> None:
        put(world, "blocked", None)

    async def take_back() -> None:
        put(world, "pushed", None)

    wf = pyflow.Workflow("repaired")
    wf.add_task("fetch", fetch, timeout="1m", effect=False)
    wf.add_recovery("fetch", fall_back, then="continue", timeout="1m")
    wf.add_task("push", push, timeout="1m")
    wf.add_recovery("push", unblock, then="retry", timeout="1m")
    wf.add_recovery("push", take_back, retry=CAREFUL, timeout="1m")
    return wf


def make_one_way(world: World) -> pyflow.Workflow:
    """Migrate a schema: from there on, nothing goes back by itself."""

    async def migrate(ctx: pyflow.AsyncContext) -> None:
        world.schema_version = 2
        await ctx.sleep("1m")
        if world.schema_version != 2:
            raise NotApplied("schema")

    wf = pyflow.Workflow("one_way", locks=["database"])
    add_setting(wf, world, "read_only")
    wf.add_task("migrate", migrate, depends_on=["read_only"], point_of_no_return=True, timeout="5m")
    add_setting(wf, world, "switched", depends_on=["migrate"])
    return wf


def make_regions(world: World) -> pyflow.Workflow:
    """Set three regions, two at a time."""

    async def release(ctx: pyflow.AsyncContext, item: str) -> None:
        put(world, item, "set")
        await ctx.sleep("1m")

    async def take_back(item: str) -> None:
        put(world, item, None)

    wf = pyflow.Workflow("regions")
    add_setting(wf, world, "prepared")
    wf.add_map(
        "release",
        release,
        over=["eu", "us", "asia"],
        max_parallel=2,
        depends_on=["prepared"],
        timeout="5m",
    )
    wf.add_recovery("release", take_back, retry=CAREFUL, timeout="1m")
    return wf


def make_threads(world: World) -> pyflow.Workflow:
    """Call plain functions, which a timeout cannot stop."""

    def switch_on() -> None:
        put(world, "switch", "on")

    def switch_off() -> None:
        put(world, "switch", None)

    def check() -> None:
        if world.config.get("switch") != "on":
            raise NotApplied("switch")

    wf = pyflow.Workflow("threads")
    wf.add_task("switch", switch_on, retry=CAREFUL, timeout="1m")
    wf.add_recovery("switch", switch_off, timeout="1m")
    wf.add_task("check", check, depends_on=["switch"], timeout="1m", effect=False)
    return wf


def make_secretive(world: World) -> pyflow.Workflow:
    """Log in with a secret, and be careless with it."""

    async def log_in(ctx: pyflow.AsyncContext, token: pyflow.Secret) -> None:
        ctx.log(f"logging in with {token.reveal()}")

    wf = pyflow.Workflow("secretive", params={"token": pyflow.Secret})
    wf.add_task("log_in", log_in, timeout="1m")
    return wf


def make_resumed(world: World) -> pyflow.Workflow:
    """Say for every step what to do about it after a crash, so that nobody has to be asked."""

    async def look(ctx: pyflow.AsyncContext) -> pyflow.Applied | object:
        await ctx.sleep("5s")
        is_set = world.config.get("looked_at") == "set"
        return pyflow.Applied("found") if is_set else pyflow.NOT_APPLIED

    async def read() -> object:
        return world.config.get("looked_at")

    async def release(ctx: pyflow.AsyncContext, item: str) -> None:
        put(world, item, "set")
        await ctx.sleep("1m")

    async def take_back(item: str) -> None:
        put(world, item, None)

    wf = pyflow.Workflow("resumed", locks=["config"])
    add_setting(wf, world, "repeated", on_interrupt="rerun")
    add_setting(wf, world, "looked_at", depends_on=["repeated"], on_interrupt=look)
    wf.add_task("read", read, depends_on=["looked_at"], effect=False, timeout="1m")
    wf.add_map(
        "release",
        release,
        over=["eu", "us", "asia"],
        max_parallel=2,
        depends_on=["repeated"],
        timeout="5m",
        on_interrupt="rerun",
    )
    wf.add_recovery("release", take_back, retry=CAREFUL, timeout="1m")
    wf.add_finalizer("report", lambda: None, timeout="1m")
    wf.add_finalizer("tidy", lambda: None, timeout="1m")
    return wf


def make_second_try(world: World) -> pyflow.Workflow:
    """Go back every time, where each step and each undo needs a second try, and one undo fails."""

    async def do(ctx: pyflow.AsyncContext) -> None:
        if ctx.attempt == 1:
            raise NotApplied("not at once")
        put(world, ctx.task, "set")

    async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
        if ctx.attempt == 1:
            raise NotApplied("not at once")
        put(world, ctx.task, None)

    async def verify() -> None:
        raise NotApplied("it is bad")

    wf = pyflow.Workflow("second_try", locks=["config"])
    wf.add_task("beside", do, retry=CAREFUL, timeout="1m", on_interrupt="rerun")
    wf.add_recovery("beside", verify, retry=ONCE, timeout="1m")
    before: list[str] = []
    for name in ("below", "above"):
        wf.add_task(name, do, depends_on=before, retry=CAREFUL, timeout="1m", on_interrupt="rerun")
        wf.add_recovery(name, undo, retry=CAREFUL, timeout="1m")
        before = [name]
    wf.add_task("verify", verify, depends_on=before, timeout="1m", on_interrupt="rerun")
    return wf


def make_held(world: World) -> pyflow.Workflow:
    """Leave it to a person what follows from a failure, while another branch is under way."""

    async def verify() -> None:
        raise NotApplied("it is bad")

    wf = pyflow.Workflow("held", on_failure="hold", locks=["config"])
    wf.add_task("verify", verify, timeout="1m", on_interrupt="rerun")
    add_setting(wf, world, "left", on_interrupt="rerun")
    add_setting(wf, world, "right", depends_on=["left"], on_interrupt="rerun")
    return wf


def make_passable(world: World) -> pyflow.Workflow:
    """Look twice before something is set; people may pass both looks over."""

    async def look(ctx: pyflow.AsyncContext) -> None:
        await ctx.sleep("10s")

    looking: Any = {"effect": False, "timeout": "1m", "skippable": True, "skip_on_promotion": True}
    wf = pyflow.Workflow("passable", locks=["config"])
    wf.add_task("look", look, **looking)
    wf.add_task("look_again", look, depends_on=["look"], **looking)
    add_setting(wf, world, "left", depends_on=["look_again"], on_interrupt="rerun")
    return wf


TOKEN = pyflow.Secret("correct-horse-battery", name="token")

ROLLOUT = Case(make_shop, make_rollout, invariants=(one_fault_leaves_nothing,))
TURNED_BACK = Case(World, make_turned_back, invariants=(one_fault_leaves_nothing,))
UNDONE_ONCE = Case(World, make_undone_once, faults=2)
HANDLED = Case(World, make_handled)
REPAIRED = Case(World, make_repaired, faults=2)
ONE_WAY = Case(World, make_one_way)
REGIONS = Case(World, make_regions)
NARROW = Case(World, make_regions, options={"max_parallel": 2})
THREADS = Case(World, make_threads, faults=2)
SECRETIVE = Case(World, make_secretive, options={"params": {"token": TOKEN}})
RESUMED = Case(World, make_resumed, faults=2, options={"kinds": ["crash"]})
SECOND_TRY = Case(World, make_second_try, options={"kinds": ["crash"]})
HELD = Case(World, make_held, options={"kinds": ["crash"]})
PAUSED = Case(World, make_turned_back, faults=2, options={"kinds": ["crash", "pause"]})
PASSED_OVER = Case(World, make_passable, options={"kinds": ["promote", "skip"]})

CASES = (
    ROLLOUT,
    TURNED_BACK,
    UNDONE_ONCE,
    HANDLED,
    REPAIRED,
    ONE_WAY,
    REGIONS,
    NARROW,
    THREADS,
    SECRETIVE,
    RESUMED,
    SECOND_TRY,
    HELD,
    PAUSED,
    PASSED_OVER,
)
"""All of them."""
