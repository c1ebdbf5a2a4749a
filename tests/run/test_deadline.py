"""What an async function knows of its timeout."""

from __future__ import annotations

import asyncio

import pyflow
from pyflow.testing import run_virtual
from pyflow.testing.simulation import SimulatedEngine


def seen(**options: str) -> tuple[float, float | None, bool]:
    """Return when a task began, its deadline, and whether it was cut off then or later."""
    found: list[tuple[float, float | None]] = []
    late: list[bool] = []

    async def wait(ctx: pyflow.AsyncContext) -> None:
        now = asyncio.get_running_loop().time
        found.append((now(), ctx.deadline))
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            late.append(ctx.deadline is not None and now() >= ctx.deadline)
            raise

    workflow = pyflow.Workflow("w", on_failure="stop")
    workflow.add_task("wait", wait, **options)  # type: ignore[arg-type]

    async def run() -> None:
        await SimulatedEngine().run(workflow)

    run_virtual(run())
    return (*found[0], any(late))


class TestDeadline:
    def test_timeout(self) -> None:
        """With a timeout, it is the instant at which the function is cut off."""
        began, deadline, late = seen(timeout="5s")

        assert deadline == began + 5
        assert late

    def test_none(self) -> None:
        """Without one there is none."""
        assert seen()[1:] == (None, False)
