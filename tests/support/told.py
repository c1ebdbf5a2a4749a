"""A run in which all happened that a report tells of."""

from __future__ import annotations

import asyncio
from typing import Any

import pyflow
from pyflow.testing import Simulation, fails, simulate, takes

HOSTILE = "</td><script>alert('x')</script><img src=x onerror=alert(1)>\x1b[2J\x00\u202e"


def do() -> None:
    """Do nothing."""


async def shift(ctx: pyflow.AsyncContext) -> None:
    """Change something in the world, and take a while."""
    ctx.record_change("lb/shop", before={"1.0": 100}, after={"1.0": 50, "2.0": 50})
    await asyncio.sleep(45)


def shop() -> pyflow.Workflow:
    """Return a workflow with a map, a question, undos, a condition and a finalizer."""
    workflow = pyflow.Workflow("shop", params={"version": str}, locks=["service:shop"])
    workflow.add_task("migrate", do, retry=pyflow.Retry(3))
    workflow.add_recovery("migrate", do)
    workflow.add_approval("go", f"Release it? {HOSTILE}", depends_on=["migrate"])
    workflow.add_map("deploy", lambda item: None, over=["eu", "us"], depends_on=["go"])
    workflow.add_recovery("deploy", do)
    workflow.add_task("shift", shift, depends_on=["deploy"])
    workflow.add_task("optional", do, depends_on=["deploy"], when=lambda: False)
    workflow.add_task("verify", do, depends_on=["shift"])
    workflow.add_task("tell", do, depends_on=["verify"])
    workflow.add_finalizer("clean", do)
    return workflow


def troubled() -> Simulation:
    """Return a run of it that people decided things in, and that could not be rolled back."""
    tries = iter([TimeoutError("lock wait timeout exceeded")])

    def flaky() -> None:
        for error in tries:
            raise error

    async def operator(run: Any) -> None:
        await asyncio.sleep(60)
        run.pause(by="bob")
        await asyncio.sleep(60)
        run.approve("go", by="ada", comment=f"fine {HOSTILE}")

    fakes: dict[str, Any] = {
        "migrate": flaky,
        "deploy": takes("70s"),
        "verify": fails(RuntimeError(f"503 {HOSTILE}")),
        "undo of migrate": fails(OSError("gone")),
        "finalizer clean": fails(OSError("full")),
    }
    return simulate(
        shop(),
        fakes=fakes,
        operator=operator,
        params={"version": HOSTILE},
        environment=pyflow.Environment("production", tier="production"),
    )
