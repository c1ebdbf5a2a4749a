"""Two seeded programs of which every run has to be the same, and a way to run them elsewhere.

`trace_of` is plain asyncio and uses all that asyncio does in an order of its
own: groups that cancel, races, equal deadlines, queues. `trail_of_run` is a
workflow that fails on every road and is rolled back.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyflow
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import GENESIS, Record, decode_event, seal
from pyflow.testing.loop import run_virtual
from support.runs import virtual_engine

ELSEWHERE = """
import json, sys
from support.repeatable import trace_of, trail_of_run, without_origin
out = {"trace": trace_of(1), "trail": without_origin(trail_of_run())}
json.dump(out, sys.stdout)
"""


def trace_of(seed: int) -> list[str]:
    """Run a program of groups, races, queues and equal deadlines, and return what happened."""
    return run_virtual(_program(random.Random(seed)))


async def _program(rng: random.Random) -> list[str]:
    loop = asyncio.get_running_loop()
    trace: list[str] = []

    def note(what: str) -> None:
        task = asyncio.current_task()
        trace.append(f"{loop.time():.6f} {task.get_name() if task else '-'} {what}")

    async def worker(*, fails: bool = False) -> float:
        naps = [rng.choice([0.0, 0.1, 0.1, 0.25]) for _ in range(3)]
        try:
            for nap in naps:
                await asyncio.sleep(nap)
                note("woke")
            if fails:
                raise ValueError("told to")
            return sum(naps)
        except asyncio.CancelledError:
            note("cancelled")
            raise

    async def consumer(queue: asyncio.Queue[int]) -> None:
        while (item := await queue.get()) >= 0:
            note(f"got {item}")
            try:
                async with asyncio.timeout(0.1):
                    await asyncio.sleep(rng.choice([0.05, 0.1, 0.2]))
                    note(f"made {item}")
            except TimeoutError:
                note(f"gave up {item}")

    for _ in range(2):
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(12):
                    group.create_task(worker(fails=n == 7))
        except* ValueError as errors:
            note(f"group failed {len(errors.exceptions)}")

    racers = {asyncio.create_task(worker()) for _ in range(12)}
    while racers:
        done, racers = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        note("done " + " ".join(t.get_name() for t in done))
        note("left " + " ".join(t.get_name() for t in racers))
        for loser in racers:
            if rng.random() < 0.3:
                loser.cancel()

    async with asyncio.TaskGroup() as group:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        for _ in range(3):
            group.create_task(consumer(queue))
        for item in [*range(9), -1, -1, -1]:
            await queue.put(item)

    deadline_s = loop.time() + 1.0
    for n in range(8):
        loop.call_at(deadline_s, note, f"timer {n}")
    try:
        async with asyncio.timeout_at(deadline_s):
            await asyncio.sleep(1.0)
            note("slept")
    except TimeoutError:
        note("timed out")
    await asyncio.sleep(1.0)
    return trace


def trail_of_run() -> AuditTrail:
    """Run a workflow with retries, a timeout, a failure and a rollback, and return its trail."""

    async def main() -> pyflow.Result:
        return await virtual_engine(max_parallel=6).run(_workflow(), initiator="ann")

    return run_virtual(main()).audit_trail


def _workflow() -> pyflow.Workflow:
    rng = random.Random(7)
    workflow = pyflow.Workflow("release", locks=["host:b", "host:a", "service:shop"])

    async def act(ctx: pyflow.AsyncContext) -> str:
        ctx.log("begins", attempt=ctx.attempt)
        await ctx.sleep(rng.choice([1, 1, 2]))
        if ctx.attempt == 1 and rng.random() < 0.5:
            raise OSError(f"{ctx.task} is not ready")
        return ctx.task

    async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
        await ctx.sleep(rng.choice([1, 1, 2]))
        if ctx.attempt == 1 and rng.random() < 0.3:
            raise OSError(f"{ctx.task} is busy")

    async def fail(ctx: pyflow.AsyncContext) -> None:
        await ctx.sleep(rng.choice([3, 5]))
        raise ValueError("told to")

    async def hang(ctx: pyflow.AsyncContext) -> None:
        await ctx.sleep("1h")

    async def report(ctx: pyflow.AsyncContext) -> None:
        ctx.log("over")

    retry = pyflow.Retry(3, "1s")
    hosts = [f"host-{n}" for n in range(8)]
    for name in hosts:
        workflow.add_task(name, act, retry=retry)
        workflow.add_recovery(name, undo, retry=retry)
    workflow.add_map("copies", act, over=["eu", "us", "ap"], depends_on=hosts[:2], retry=retry)
    workflow.add_recovery("copies", undo, retry=retry)
    workflow.add_task("slow", hang, timeout=4, allow_failure=True)
    workflow.add_task("last", act, depends_on=[*hosts, "copies"], retry=retry)
    workflow.add_recovery("last", undo, retry=retry)
    workflow.add_task("check", fail, depends_on=["last"], retry=pyflow.Retry(2, "1s"))
    workflow.add_task("verify", hang, depends_on=["last"], timeout=5)
    workflow.add_finalizer("report", report)
    return workflow


def without_origin(trail: AuditTrail) -> str:
    """Return *trail* as JSON lines, chained anew without the process that it is from."""
    records: list[Record] = []
    for record in trail:
        event = record.event
        if record.kind == "run_started":
            event = decode_event(record.kind, {**record.data, "origin": {}})
        prev = records[-1].hash if records else GENESIS
        records += seal(record.run_id, [event], at=record.at, seq=record.seq - 1, prev=prev)
    return AuditTrail(records).to_jsonl()


def run_elsewhere(hash_seed: str) -> dict[str, Any]:
    """Run both programs in a fresh interpreter whose strings hash by *hash_seed*."""
    done = run_python(["-c", ELSEWHERE], PYTHONHASHSEED=hash_seed)
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def run_python(args: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter that finds the library and this package, to its end."""
    paths = (Path(pyflow.__file__).parents[1], Path(__file__).parents[1])
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
