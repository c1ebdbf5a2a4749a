"""A shop that is released: functions that take their time and remember what they did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyflow
from pyflow.run.state import RunState
from support.crashes import Disk, Operator

MINUTE = pyflow.Backoff("1m", factor=1, jitter=0)


@dataclass
class Image:
    """What a build makes."""

    name: str


class Shop:
    """Makes functions, and remembers what they did."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def act(self, name: str, *, takes: float = 10, fails: int = 0) -> Callable[..., Any]:
        """Return a task or an undo that takes so many seconds, and fails in so many attempts."""

        async def act(ctx: pyflow.AsyncContext) -> str:
            self.did.append(f"{name} {ctx.attempt}")
            await ctx.sleep(takes)
            if ctx.attempt <= fails:
                raise OSError(name)
            return name

        return act

    def quick(self, name: str) -> Callable[..., Any]:
        """Return a function that takes no time."""
        return self.act(name, takes=0)


def shipping(shop: Shop, **options: Any) -> pyflow.Workflow:
    """Return a workflow that builds, ships for ten seconds with these *options*, and tells."""
    wf = pyflow.Workflow("release")

    @wf.task
    async def build() -> Image:
        shop.did.append("build")
        return Image("shop")

    @wf.task(depends_on=[build], **options)
    async def ship(ctx: pyflow.AsyncContext, build: Image) -> Image:
        shop.did.append(f"ship {ctx.attempt}")
        await ctx.sleep(10)
        return build

    @wf.task
    async def tell(ship: Image | None) -> str:
        shop.did.append("tell")
        return ship.name if ship is not None else "nothing"

    wf.add_recovery("build", shop.quick("unbuild"))
    wf.add_recovery("ship", shop.quick("unship"))
    return wf


def cut_off(**options: Any) -> Disk:
    """Return the disk of an engine that died while it shipped."""
    return Disk().crash(shipping(Shop(), **options), 5)


def says(ask: Callable[[pyflow.Run], object], *, after: float = 0) -> Operator:
    """Return an operator who asks one thing, after so many seconds."""

    async def operator(run: pyflow.Run) -> None:
        await asyncio.sleep(after)
        ask(run)

    return operator


async def nobody(run: pyflow.Run) -> None:
    """Watch for a day, and ask nothing."""
    await asyncio.sleep(86_400)


def assert_sound(disk: Disk, workflow: pyflow.Workflow, result: pyflow.Result) -> None:
    """Check that the record is one chain, and that it says what the engine knew."""
    result.audit_trail.verify(complete=result.status != "held")
    replayed = RunState.replay(workflow.check(), [record.event for record in disk.records])
    assert replayed.snapshot() == result.tasks._driver.state.snapshot()
