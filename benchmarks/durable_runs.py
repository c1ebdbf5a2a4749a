"""What a durable run costs a task, next to a bare SQLite commit of the same size in the same run.

    python benchmarks/durable_runs.py

A chain costs one synced commit a task; a wave of tasks, and runs that decide
in the same turn, share one. The bare figure is a transaction of two rows with
``synchronous=FULL``, made over and over.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyflow

ROUNDS = 5
TASKS = 1_000
ROW_CHARS = 300


async def nothing() -> None:
    """Do nothing: what remains is the engine and its journal."""


def workflow(tasks: int, *, chain: bool) -> pyflow.Workflow:
    """Return tasks in a row, or side by side."""
    wf = pyflow.Workflow("bench")
    before: list[str] = []
    for number in range(tasks):
        wf.add_task(f"t{number}", nothing, depends_on=before)
        before = [f"t{number}"] if chain else []
    wf.check()
    return wf


def bare(directory: Path) -> float:
    """Return the seconds that one bare commit takes."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (a TEXT, b TEXT)")
    row = ("x" * ROW_CHARS, "y" * ROW_CHARS)
    began = time.perf_counter()
    for _ in range(TASKS):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows VALUES (?, ?)", row)
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    return took / TASKS


def durable(directory: Path, wf: pyflow.Workflow, runs: int) -> tuple[float, int]:
    """Return the seconds that each run takes on average, and how many commits there were."""
    commits = 0
    with tempfile.TemporaryDirectory(dir=directory) as name:
        engine = pyflow.Engine(journal=Path(name) / "journal.db", environ={})
        journal: Any = engine.journal
        append_all = journal.append_all

        def counted(batches: Any) -> Any:
            nonlocal commits
            commits += 1
            return append_all(batches)

        journal.append_all = counted

        async def all_at_once() -> None:
            await asyncio.gather(*(engine.run(wf) for _ in range(runs)))

        with engine:
            began = time.perf_counter()
            asyncio.run(all_at_once())
            return (time.perf_counter() - began) / runs, commits


def best(measure: Callable[[], float]) -> float:
    """Return the least of some measurements."""
    return min(measure() for _ in range(ROUNDS))


def main() -> None:
    """Print each figure next to its bar."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        chain, fan = workflow(TASKS, chain=True), workflow(TASKS, chain=False)
        small = workflow(20, chain=True)
        pairs = [(bare(directory), durable(directory, chain, 1)[0] / TASKS) for _ in range(ROUNDS)]
        ratio = min(run / base for base, run in pairs)
        base, run = min(pairs, key=lambda pair: pair[1])
        print(f"chain of {TASKS:,}    {run * 1e6:7.0f} us a task   bare {base * 1e6:.0f} us   "
              f"{ratio:.2f} x   bar 2 x")  # fmt: skip
        wide = best(lambda: durable(directory, fan, 1)[0] / TASKS)
        print(f"fan-out of {TASKS:,}  {wide * 1e6:7.0f} us a task   bar 60 us")
        for runs in (1, 10, 100):
            took, commits = durable(directory, small, runs)
            print(
                f"{runs:3} runs of 20 at once: {took / 20 * 1e6:6.0f} us a task, {commits} commits"
            )


if __name__ == "__main__":
    main()
