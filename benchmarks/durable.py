"""What the durable journal costs, next to bare SQLite that writes the same bytes in the same run.

This is the journal alone; what a task of a durable run costs, engine and loop
included, is in ``durable_runs.py``. Microseconds depend on the disk; ratios
travel. Every figure is the best of interleaved rounds. Run with ``python benchmarks/durable.py``; ``--quick``
makes the journal that is opened ten times smaller.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pyflow.record import events as ev
from pyflow.record.codec import encode_line, seal
from pyflow.record.memory import MemoryJournal
from pyflow.record.sqlite import head
from pyflow.record.sqlite.commit import INSERT, Batch
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.tip import START, Tip, link

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BAR_CHAIN_RATIO = 2.0
BAR_BATCH_US = 30.0
BAR_OPEN_S = 1.0
RECORDS = 1_000_000
RUN_RECORDS = 1_000
COMMITS = 50


def pair(number: int) -> list[ev.Event]:
    """Return what one task of a chain commits: that it is done, and that the next one starts."""
    return [
        ev.TaskSucceeded(f"task-{number}", 1, 0.0123, {"image": "shop:2.3.1", "n": number}),
        ev.TaskStarted(f"task-{number + 1}", 1, "its dependencies succeeded"),
    ]


def lines_of(events: Sequence[ev.Event]) -> list[str]:
    """Return the stored form of *events*, to have bare SQLite write the same bytes."""
    return [encode_line(record) for record in MemoryJournal().append("run-1", events, at=AT)]


def timed(fn: Callable[[], object]) -> float:
    """Return how long *fn* takes, in seconds, with the collector at rest before it."""
    gc.collect()
    started = time.perf_counter()
    fn()
    return time.perf_counter() - started


class Bare:
    """A journal as one would write it in an afternoon: a table of lines, WAL, FULL."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("CREATE TABLE records (n INTEGER PRIMARY KEY, line TEXT NOT NULL)")

    def append(self, lines: Sequence[str]) -> None:
        """Add *lines* in one commit."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO records (line) VALUES (?)", [(line,) for line in lines]
        )
        self.connection.execute("COMMIT")


def measure_chain(directory: Path, size: int, rounds: int) -> tuple[float, float]:
    """Return microseconds a commit of one task of a chain: bare, and ours."""
    work = [pair(number) for number in range(size)]
    lines = [lines_of(events) for events in work]
    bare = Bare(directory / "bare-chain.db")
    bares, ours = [], []
    with SQLiteJournal(directory / "chain.db") as journal:
        for number in range(rounds):
            bares.append(timed(lambda: [bare.append(texts) for texts in lines]))
            run = f"run-{number}"
            ours.append(timed(lambda run=run: [journal.append(run, e, at=AT) for e in work]))
    bare.connection.close()
    return min(bares) * 1e6 / size, min(ours) * 1e6 / size


def measure_batch(directory: Path, size: int, rounds: int) -> tuple[float, float]:
    """Return microseconds a record where *size* records share a commit: bare, and ours."""
    work = [event for number in range(size // 2) for event in pair(number)]
    lines = lines_of(work)
    bare = Bare(directory / "bare-batch.db")
    bares, ours = [], []
    with SQLiteJournal(directory / "batch.db") as journal:
        for number in range(rounds):
            bares.append(timed(lambda: bare.append(lines)))
            run = f"run-{number}"
            ours.append(timed(lambda run=run: journal.append(run, work, at=AT)))
    bare.connection.close()
    return min(bares) * 1e6 / size, min(ours) * 1e6 / size


def measure_group(directory: Path, runs: int, rounds: int) -> tuple[float, float]:
    """Return microseconds a run where *runs* runs share each commit: bare, and ours."""
    work = pair(1)
    lines = lines_of(work) * runs
    bare = Bare(directory / f"bare-group-{runs}.db")
    bares, ours = [], []
    with SQLiteJournal(directory / f"group-{runs}.db") as journal:
        batches = [Batch(f"run-{number}", work, AT) for number in range(runs)]
        for _ in range(rounds):
            bares.append(timed(lambda: [bare.append(lines) for _ in range(COMMITS)]))
            ours.append(timed(lambda: [journal.append_all(batches) for _ in range(COMMITS)]))
    bare.connection.close()
    scale = 1e6 / (runs * COMMITS)
    return min(bares) * scale, min(ours) * scale


def measure_head(directory: Path, size: int, rounds: int) -> dict[str, float]:
    """Return microseconds a write of the head: synced now and then, and synced each time."""
    path = directory / "alone.head"
    costs: dict[str, float] = {}
    for name, every in (("now and then", head.SYNC_EVERY), ("each time", 1)):
        head.write_head(path, "0" * 32, START)
        file = head.HeadFile(path, "0" * 32, sync_every=every)
        tips = iter([Tip(n, n, START.chain) for n in range(1, rounds * size + 1)])
        work = partial(write_heads, file, tips, size)
        costs[name] = min(timed(work) for _ in range(rounds)) * 1e6 / size
        file.abandon()
    return costs


def write_heads(file: head.HeadFile, tips: Iterator[Tip], size: int) -> None:
    """Write the next *size* heads."""
    for tip in itertools.islice(tips, size):
        file.write(tip)


def fill(path: Path, size: int) -> None:
    """Write *size* records straight into the tables of a new journal."""
    SQLiteJournal(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    tip = START
    for number in range(size // RUN_RECORDS):
        run, began = f"run-{number}", tip.n + 1
        events = [event for one in range(RUN_RECORDS // 2) for event in pair(one)]
        rows = []
        for record in seal(run, events, at=AT, seq=0, prev=START.chain):
            n, commit = tip.n + 1, tip.commit + record.seq % 2
            tip = Tip(n, commit, link(tip.chain, commit, record.hash))
            rows.append((n, run, record.seq, commit, encode_line(record), tip.chain))
        connection.executemany(INSERT, rows)
        connection.execute(
            "INSERT INTO runs VALUES (?, ?, ?, NULL, 'unfinished')", (run, began, len(events))
        )
    connection.execute("COMMIT")
    (database_id,) = connection.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    connection.close()
    head.write_head(path.with_name(path.name + ".head"), database_id, tip)


def measure_open(directory: Path, size: int, rounds: int) -> dict[str, float]:
    """Return seconds for what somebody does who opens a journal of *size* records."""
    path = directory / "large.db"
    fill(path, size)
    costs: dict[str, list[float]] = {"open": [], "runs": [], "read a run": [], "append": []}
    for number in range(rounds):
        started = time.perf_counter()
        journal = SQLiteJournal(path)
        costs["open"].append(time.perf_counter() - started)
        assert journal.notes == ()
        costs["runs"].append(timed(journal.runs))
        costs["read a run"].append(timed(lambda j=journal: j.read("run-7")))
        new = f"new-{number}"
        costs["append"].append(timed(lambda j=journal, r=new: j.append(r, pair(1), at=AT)))
        journal.close()
    return {name: min(seconds) for name, seconds in costs.items()}


def verdict(good: bool) -> str:
    """Return a word for whether a bar is met."""
    return "ok" if good else "MISSED"


def main() -> int:
    """Measure everything and print it next to its bar; fail if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller journal, fewer rounds")
    parser.add_argument("--directory", help="where to write, on the disk to be measured")
    options = parser.parse_args()
    rounds, size = (3, RECORDS // 10) if options.quick else (7, RECORDS)
    missed = 0
    print(
        f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, "
        f"best of {rounds} interleaved rounds\n"
    )
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        bare, ours = measure_chain(directory, 1_000, rounds)
        good = ours / bare <= BAR_CHAIN_RATIO
        missed += not good
        print(f"chain, a commit a task    {ours:8.1f} µs   bare {bare:6.1f}   {ours / bare:5.2f} x"
              f"   bar ≤ {BAR_CHAIN_RATIO:g} x     {verdict(good)}")  # fmt: skip
        bare, ours = measure_batch(directory, 1_000, rounds)
        good = ours <= BAR_BATCH_US
        missed += not good
        print(f"batch of 1,000, a record  {ours:8.1f} µs   bare {bare:6.1f}   {ours / bare:5.2f} x"
              f"   bar ≤ {BAR_BATCH_US:g} µs   {verdict(good)}")  # fmt: skip
        for runs in (10, 100):
            bare, ours = measure_group(directory, runs, rounds)
            print(f"{runs:>3} runs a commit, a run  {ours:8.1f} µs   bare {bare:6.1f}"
                  f"   {ours / bare:5.2f} x")  # fmt: skip
        for how, cost in measure_head(directory, 1_000, rounds).items():
            print(f"head, synced {how:<12} {cost:8.1f} µs")
        for what, seconds in measure_open(directory, size, rounds).items():
            good = what != "open" or seconds <= BAR_OPEN_S
            missed += not good
            bar = f"bar ≤ {BAR_OPEN_S:g} s   {verdict(good)}" if what == "open" else ""
            print(f"of {size:>9,} records: {what:<10} {seconds * 1e3:9.2f} ms   {bar}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
