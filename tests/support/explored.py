"""What tests of `explore` share: small workflows that change one setting, safe and unsafe."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from pyflow import Retry, Workflow
from pyflow.testing import Exploration, Explored, World, explore

Make = Callable[[], Workflow]

FEW = Retry(4, backoff="1s")
"""More tries than faults."""


class Mismatch(Exception):
    """What was asked for is not what is there."""


def switch(
    world: World,
    deploy: Callable[..., Any] | None = None,
    undo: Callable[..., Any] | None = None,
    *,
    timeout: str | None = "1m",
    locks: tuple[str, ...] = (),
    params: dict[str, Any] | None = None,
    **options: Any,
) -> Workflow:
    """Return a workflow of one task that changes a setting, and an undo that looks what it did."""

    async def put() -> None:
        world.config["mode"] = "new"

    async def put_back() -> None:
        world.config["mode"] = None
        if world.config["mode"] is not None:
            raise Mismatch

    workflow = Workflow("switch", locks=locks, params=params)
    workflow.add_task("deploy", deploy or put, timeout=timeout, **options)
    workflow.add_recovery("deploy", undo or put_back, timeout=timeout, retry=FEW)
    return workflow


def careless(world: World) -> Workflow:
    """Return a switch whose undo does not look."""

    async def put_back() -> None:
        world.config["mode"] = None

    return switch(world, undo=put_back)


def endless(world: World) -> Workflow:
    """Return a switch that nothing ends when it hangs."""
    return switch(world, timeout=None)


def remembering(world: World) -> Workflow:
    """Return a switch whose undo acts only if its own process has made the change."""
    noted: list[str] = []

    async def put() -> None:
        noted.append("mode")
        world.config["mode"] = "new"

    async def put_back() -> None:
        if noted:
            world.config["mode"] = None

    return switch(world, put, put_back)


async def break_down() -> None:
    raise ConnectionError


def forgetful(world: World) -> Workflow:
    """Return a switch whose undo acts only if the change was noted, which comes after it."""
    noted: list[str] = []

    async def put() -> None:
        world.config["mode"] = "new"
        noted.append("mode")

    async def put_back() -> None:
        if noted:
            world.config["mode"] = None

    return switch(world, put, put_back)


def half(world: World) -> Workflow:
    """Return a switch of two settings whose undo puts one of them back."""

    async def put() -> None:
        world.config["mode"] = "new"
        world.config["level"] = 3

    return switch(world, put)


def twofold(world: World) -> Workflow:
    """Return a switch, and then another that has to be undone before it, each with its own setting."""

    async def put() -> None:
        world.config["level"] = 3

    async def put_back() -> None:
        world.config["level"] = None
        if world.config["level"] is not None:
            raise Mismatch

    workflow = switch(world)
    workflow.add_task("raise", put, depends_on="deploy", timeout="1m")
    workflow.add_recovery("raise", put_back, timeout="1m", retry=FEW)
    return workflow


def give_up(world: World) -> Workflow:
    """Return a switch whose undo is tried once, so that a fault there leaves residue, and says so."""
    workflow = Workflow("switch")

    async def put() -> None:
        world.config["mode"] = "new"

    async def put_back() -> None:
        world.config["mode"] = None
        if world.config["mode"] is not None:
            raise Mismatch

    workflow.add_task("deploy", put, timeout="1m")
    workflow.add_recovery("deploy", put_back, timeout="1m")
    return workflow


SAFE: dict[str, Callable[[World], Workflow]] = {
    "switch": switch,
    "twofold": twofold,
    "gives up": give_up,
}
UNSAFE: dict[str, Callable[[World], Workflow]] = {
    "careless": careless,
    "endless": endless,
    "forgetful": forgetful,
    "half": half,
}


def made(make: Callable[[World], Workflow], world: World) -> Make:
    """Return a factory, named as *make* is, that makes a workflow for *world*."""

    def factory() -> Workflow:
        return make(world)

    factory.__name__ = make.__name__
    return factory


def told(report: Exploration) -> str:
    """Return everything that a report says but how long it took."""
    return str(dataclasses.replace(report, elapsed_s=0.0))


def spread() -> None:
    """Write what explorations say that several processes make, and see who made the runs."""
    several: list[tuple[Any, Any]] = [(switch, {}), (switch, {"prune": False}), (careless, {})]
    for make, options in several:
        with tempfile.TemporaryFile("a+") as pids:
            world, note = World(), partial(_note_pid, pids)
            report = explore(
                made(make, world), world=world, invariants=[note], processes=3, **options
            )
            sys.stdout.write(told(report))
            pids.seek(0)
            assert {int(line) for line in pids} - {os.getpid()}, "nobody else made a run"
    assert not multiprocessing.active_children()


def _note_pid(file: IO[str], run: Explored) -> None:
    """Keep who made a run."""
    del run
    file.write(f"{os.getpid()}\n")
    file.flush()


def main() -> None:
    """Write what explorations say, for a process to compare."""
    for make in (twofold, careless):
        world = World()
        sys.stdout.write(told(explore(made(make, world), world=world)))
