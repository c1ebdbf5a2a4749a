"""How fast deployments are proved: simulated days, whole runs a second, all pairs of faults.

    python benchmarks/simulation.py

Each figure stands next to its bar and next to a bare asyncio program that does
the same waits on the same loop, measured in the same run, so that the ratio
says how much of the time is pyflow's. The bars were set on a machine on which
a task of a bare loop in a chain takes 8.0 us; what it takes here stands at the
top, and each figure stands there once more as that machine would show it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyflow
from pyflow.testing import explore, run_virtual, simulate

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import overhead

import rollout

ROUNDS = 7
STEPS, DAY_STEP_S = 100, 864.0
RUN_TASKS, RUNS = 10, 200
REFERENCE_US = 8.0


def chain(tasks: int, wait_s: float) -> pyflow.Workflow:
    """Return tasks in a row that each wait, with an undo each."""
    wf = pyflow.Workflow("chain")

    async def step(ctx: pyflow.AsyncContext) -> int:
        await ctx.sleep(wait_s)
        return 1

    async def undo() -> None:
        """Do nothing."""

    before: list[str] = []
    for number in range(tasks):
        name = f"step_{number}"
        wf.add_task(name, step, depends_on=before)
        wf.add_recovery(name, undo)
        before = [name]
    return wf


async def bare(tasks: int, wait_s: float) -> None:
    """Make the same waits with nothing around them."""
    for _ in range(tasks):
        await asyncio.create_task(asyncio.sleep(wait_s))


def best_of(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the least time that *work* took, in seconds."""
    times: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def slowness() -> float:
    """Return how many times slower than the bars' machine this one is just now."""
    graph = overhead.chain(1000)
    took = best_of(lambda: asyncio.run(overhead.bare(graph))) / len(graph)
    slow = took * 1e6 / REFERENCE_US
    print(
        f"a task of a bare chain    {took * 1e6:8.1f} us   {slow:.2f} x that of the bars' machine"
    )
    return slow


def day(slow: float) -> None:
    """Measure a day of a hundred steps."""
    workflow = chain(STEPS, DAY_STEP_S)
    took = best_of(lambda: simulate(workflow))
    base = best_of(lambda: run_virtual(bare(STEPS, DAY_STEP_S)))
    print(
        f"24 h in 100 steps         {took * 1e3:8.1f} ms   bar 50 ms   {took / base:5.1f} x bare   "
        f"there {took * 1e3 / slow:.1f} ms"
    )


def runs(slow: float) -> None:
    """Measure whole runs of ten tasks."""
    workflow = chain(RUN_TASKS, 300.0)
    simulate(workflow)

    def many(one: Callable[[], object]) -> Callable[[], object]:
        return lambda: [one() for _ in range(RUNS)]

    took = best_of(many(lambda: simulate(workflow))) / RUNS
    base = best_of(many(lambda: run_virtual(bare(RUN_TASKS, 300.0)))) / RUNS
    rate = 1 / took
    print(
        f"runs of 10 tasks          {rate:8,.0f} /s   bar 1,000   {took / base:5.1f} x bare   "
        f"there {rate * slow:,.0f} /s"
    )


def pairs(slow: float) -> None:
    """Measure all pairs of faults of a rollout in eight steps."""
    world = rollout.make_world()
    report = explore(lambda: rollout.make_rollout(world), world=world, faults=2, progress=False)
    print(
        f"all pairs, 8-task rollout {report.elapsed_s:8.1f} s    bar 20 s    {report.runs:,} runs, "
        f"{report.points} points, {report.pruned:,} pruned, ok={report.ok}   there {report.elapsed_s / slow:.1f} s"
    )


if __name__ == "__main__":
    day(slowness())
    runs(slowness())
    pairs(slowness())
