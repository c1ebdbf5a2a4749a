"""What a durable run costs a task, next to a bare loop with a bare SQLite journal in the same run.

    python benchmarks/durable_runs.py

A chain costs one synced commit a task; a wave of tasks, and runs that decide
in the same turn, share one. The bare figure is what one would write in an
afternoon: for each task an asyncio task, and a transaction of two rows of
JSON with ``synchronous=FULL``. `durable.py` has the journal alone, without
engine and loop, so its ratio is smaller: the bar of a chain is for this one.

Where a definition comes from is not asked for: git takes longer than a short run.

Ratios are taken of short slices that follow each other, and the median of
them is told: the least of many ratios flatters whoever is luckier. What is
told of the processor does not depend on the disk.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

import pyflow
from pyflow.record.batches import Batch
from pyflow.record.sqlite.journal import SQLiteJournal

ROUNDS = 7
TASKS = 1_000
ROW_CHARS = 300
KINDS = ("task_succeeded", "task_started")
RUNS_BEFORE = 20_000
GIVEN_BACK = """
INSERT INTO locks (resource, epoch, run_id, owner, since, host, pid)
VALUES (?, 1, NULL, NULL, '2026-01-02T03:04:05+00:00', 'host', 1)
"""
"""What each run leaves among the locks: its own, which it has given back."""


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


class Span(NamedTuple):
    """How long something took, by the clock and on the processor, in seconds."""

    wall_s: float
    cpu_s: float


def now() -> Span:
    """Return both clocks."""
    return Span(time.perf_counter(), time.process_time())


def since(began: Span, parts: int) -> Span:
    """Return what each of *parts* took."""
    ended = now()
    return Span((ended.wall_s - began.wall_s) / parts, (ended.cpu_s - began.cpu_s) / parts)


def bare(directory: Path) -> Span:
    """Return what one task of a bare loop with a bare journal takes."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (line TEXT)")
    text = "x" * (ROW_CHARS - 50)

    async def chain() -> Span:
        began = now()
        for number in range(TASKS):
            await asyncio.get_running_loop().create_task(nothing())
            events = [{"kind": kind, "task": f"t{number}", "text": text} for kind in KINDS]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO rows VALUES (?)", [(json.dumps(event),) for event in events]
            )
            connection.execute("COMMIT")
        return since(began, TASKS)

    with closing(connection):
        return asyncio.run(chain())


def durable(directory: Path, wf: pyflow.Workflow, runs: int) -> tuple[Span, int]:
    """Return what each run takes on average, and how many commits there were."""
    commits = 0
    with tempfile.TemporaryDirectory(dir=directory) as name:
        engine = pyflow.Engine(journal=Path(name) / "journal.db", environ={}, source=False)
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
            began = now()
            asyncio.run(all_at_once())
            return since(began, runs), commits


def after_others(directory: Path) -> tuple[float, float]:
    """Return the least that a run of one task takes in a new journal, and in one with many runs."""
    wf = workflow(1, chain=True)
    with pyflow.Engine(journal=directory / "many.db", environ={}, source=False) as engine:

        def least_s() -> float:
            spans: list[float] = []
            for _ in range(ROUNDS * 3):
                began = time.perf_counter()
                engine.execute(wf)
                spans.append(time.perf_counter() - began)
            return min(spans)

        alone_s, journal = least_s(), cast("SQLiteJournal", engine.journal)
        trail = engine.trail(journal.runs()[0])
        events, at = [record.event for record in trail], trail[0].at
        for number in range(RUNS_BEFORE // 1_000):
            names = [f"before-{number}-{one}" for one in range(1_000)]
            journal.append_all([Batch(name, events, at) for name in names])
            with journal.database.writing() as cursor:
                cursor.executemany(GIVEN_BACK, [(f"run:{name}",) for name in names])
        return alone_s, least_s()


def told(name: str, pairs: list[tuple[Span, Span]], parts: int, bar: str) -> None:
    """Print the least that a part took, and the median ratio to what is bare, by both clocks."""
    wall, cpu = (median(ours[n] / parts / base[n] for base, ours in pairs) for n in range(2))
    least = Span(*(min(ours[n] for _, ours in pairs) / parts * 1e6 for n in range(2)))
    base = Span(*(min(base[n] for base, _ in pairs) * 1e6 for n in range(2)))
    print(f"{name:18} {least.wall_s:6.0f} us a task, {least.cpu_s:5.0f} of the processor   "
          f"bare {base.wall_s:5.0f} and {base.cpu_s:3.0f}   {wall:5.2f} x and {cpu:5.2f} x a bare chain   {bar}")  # fmt: skip


def main() -> None:
    """Print each figure next to its bar."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        chain, fan = workflow(TASKS, chain=True), workflow(TASKS, chain=False)
        small = workflow(20, chain=True)
        for shape, wf, bar in (("chain", chain, "bar 2 x"), ("fan-out", fan, "bar 60 us")):
            pairs = [(bare(directory), durable(directory, wf, 1)[0]) for _ in range(ROUNDS)]
            told(f"{shape} of {TASKS:,}", pairs, TASKS, bar)
        for runs in (1, 10, 100):
            took, commits = durable(directory, small, runs)
            print(
                f"{runs:3} runs of 20 at once: {took.wall_s / 20 * 1e6:6.0f} us a task, {commits} commits"
            )
        alone_s, after_s = after_others(directory)
        print(
            f"a run of one task: {alone_s * 1e3:.1f} ms in a new journal; after {RUNS_BEFORE:,} "
            f"other runs {after_s * 1e3:.1f} ms, {after_s / alone_s:.2f} x"
        )


if __name__ == "__main__":
    main()
