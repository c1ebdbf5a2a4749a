"""History and verification at size: a journal of many runs, written straight in SQL.

    python benchmarks/history.py [RUNS] [RECORDS-PER-RUN]

The bars, on the machine of the issue: any query < 100 ms, the first page
< 200 ms, verify >= 50,000 records a second, memory flat. Memory is shown by
doing the same at a tenth of the size in a process of its own.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyflow.record import events as ev
from pyflow.record.codec import GENESIS, seal_lines
from pyflow.record.evidence.verification import verify_journal
from pyflow.record.history.lookup import History
from pyflow.record.sqlite.commit import INSERT
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.tip import START, Tip, link

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
BATCH = 2_000
PLACES = ("production", "staging", "eu-1", "us-1", "qa")
ENDS = ("succeeded",) * 17 + ("rolled_back", "rolled_back", "failed")


def events_of(number: int, records: int) -> list[ev.Event]:
    """Return the events of one run; every run differs in who, what, where and how it ended."""
    end = ENDS[number * 7 % len(ENDS)]
    events: list[ev.Event] = [
        ev.RunStarted(
            f"workflow-{number % 10}",
            "f" * 64,
            {"version": f"{number // 100}.{number % 100}", "service": f"service-{number % 40}"},
            {"id": f"user-{number % 200}", "source": "ci"},
            {"host": f"ci-{number % 8}", "pid": number, "ci": {"commit": f"{number:040x}"}},
            {f"task-{n}": "d" * 16 for n in range(8)},
            environment={"name": PLACES[number % len(PLACES)]},
        ),
        ev.LockAcquired(f"service:service-{number % 40}", number + 1),
    ]
    number_of_tasks = (records - len(events) - 5) // 3
    for n in range(number_of_tasks):
        task = f"task-{n % 8}"
        events += [
            ev.TaskStarted(task, 1, "its dependencies succeeded"),
            ev.Logged(task, f"pulled layer {n} of image {number % 1000}"),
            ev.TaskSucceeded(task, 1, 0.25, {"image": f"shop:{number}"}),
        ]
    events.append(ev.ChangeRecorded("task-1", f"lb/service-{number % 40}", number, number + 1))
    events.append(ev.ApprovalAnswered("go", "approve", "x", by=f"boss-{number % 50}"))
    if end != "succeeded":
        error = ev.ErrorInfo("ConnectionError", f"reset by peer {number % 977}")
        events.append(ev.AttemptFailed("task-7", 1, error, 1.0))
    while len(events) < records - 2:
        events.append(ev.LeftoverEnded("task-0"))
    events.append(ev.OutcomeDecided(end, "every task has settled"))
    events.append(ev.RunFinished(end, len(events) + 1))
    return events


def rows_of(runs: int, records: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of every run, sealed and chained; one commit for each."""
    tip = START
    for number in range(runs):
        run_id = f"{number:08d}-{number * 2654435761 % 2**32:08x}"
        rows: list[tuple[Any, ...]] = []
        chain, n = tip.chain, tip.n
        at = BEGAN + timedelta(minutes=10 * number)
        events = events_of(number, records)
        for record, line in seal_lines(run_id, events, at=at, seq=0, prev=GENESIS):
            n += 1
            chain = link(chain, number + 1, record.hash)
            rows.append((n, run_id, record.seq, number + 1, line, chain))
        tip = Tip(n, number + 1, chain)
        yield rows


def generate(path: Path, runs: int, records: int) -> int:
    """Write a journal straight into its tables, and return how many records it has."""
    with SQLiteJournal(path) as journal:
        total = 0
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            for number, rows in enumerate(rows_of(runs, records)):
                connection.executemany(INSERT, rows)
                status = ENDS[number * 7 % len(ENDS)]
                entry = (rows[0][1], rows[0][0], len(rows), f"workflow-{number % 10}", status)
                connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", entry)
                total += len(rows)
                if number % BATCH == BATCH - 1:
                    connection.execute("COMMIT")
                    connection.execute("BEGIN")
            connection.execute("COMMIT")
        del journal
    with SQLiteJournal(path):  # brings the head up to date
        pass
    return total


def timed(call: Callable[[], Any], times: int = 5) -> tuple[float, float]:
    """Return the median and the worst time of a call, in milliseconds."""
    spans: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        spans.append((time.perf_counter() - begin) * 1000)
    spans.sort()
    return spans[len(spans) // 2], spans[-1]


def queries(history: History, runs: int) -> dict[str, Callable[[], Any]]:
    """Return what is asked, from the commonest conditions to ones that nothing fits."""
    middle = BEGAN + timedelta(minutes=10 * runs // 2)
    day = timedelta(days=1)

    def ask(**conditions: Any) -> Callable[[], Any]:
        return lambda: list(history.runs(limit=25, **conditions))

    last = next(iter(history.runs(limit=1)))
    return {
        "first page": ask(),
        "page from the middle": ask(before=last.number // 2),
        "workflow": ask(workflow="workflow-3"),
        "environment": ask(environment="production"),
        "service": ask(service="service-7"),
        "version": ask(version=f"{runs // 200}.7"),
        "task (in every run)": ask(task="task-1"),
        "initiator": ask(initiator="user-17"),
        "approver": ask(approver="boss-3"),
        "status": ask(status="failed"),
        "change": ask(change="lb/service-7"),
        "commit": ask(commit=f"{runs // 3:040x}"),
        "time": ask(since=middle, until=middle + day),
        "text, rare": ask(text="peer 976"),
        "text, common": ask(text="image"),
        "text, the beginning of many": ask(text="2*"),
        "text, common, and nothing fits": ask(
            text="reset by peer", status="succeeded", environment="qa"
        ),
        "environment, status": ask(environment="production", status="failed"),
        "all at once": ask(
            environment="production",
            status="succeeded",
            task="task-1",
            service="service-0",
            since=BEGAN,
        ),
        "two that exclude each other": ask(service="service-1", environment="production"),
        "status that no run has": ask(status="held"),
        "time and task": ask(task="task-1", until=BEGAN + day),
        "count of failures": lambda: history.count(status="failed"),
        "last good": lambda: history.last_good("service-5", "production"),
        "changes of a day": lambda: list(history.changes("production", middle, middle + day)),
        "diff": lambda: history.diff(
            last.run_id, next(iter(history.runs(before=last.number, limit=1))).run_id
        ),
        "trail": lambda: history.trail(last.run_id),
        "compliance": lambda: history.compliance(last.run_id),
    }


def peak_mb() -> float:
    """Return the most memory that this process has had, in megabytes."""
    status = Path("/proc/self/status").read_text()  # getrusage counts what was there before exec
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(path: Path, runs: int, records: int) -> None:
    """Measure everything on the journal at *path*."""
    begin = time.perf_counter()
    history = History(path)
    span_s = time.perf_counter() - begin
    size = Path(str(path) + ".index").stat().st_size
    print(
        f"index made          {records / span_s:10,.0f} records a second, {span_s:.1f} s, {size / 2**20:,.0f} MB"
    )
    history.close()
    median, worst = timed(lambda: History(path).close())
    print(f"opened, up to date  {median:10.1f} ms, worst {worst:.1f}")

    def first_page() -> None:
        with History(path) as opened:
            list(opened.runs(limit=25))

    median, worst = timed(first_page)
    print(f"open and first page {median:10.1f} ms, worst {worst:.1f}   (bar: 200)")
    with History(path) as history:
        for name, call in queries(history, runs).items():
            median, worst = timed(call)
            mark = "" if worst < 100 else "   over 100"
            print(f"  {name:<32} {median:8.1f} ms, worst {worst:8.1f}{mark}")
        end = BEGAN + timedelta(minutes=10 * runs)
        median, worst = timed(lambda: history.dora(since=end - timedelta(days=30), until=end), 3)
        print(f"  {'dora of 30 days':<32} {median:8.1f} ms, worst {worst:8.1f}")
    print(f"peak memory so far  {peak_mb():10.1f} MB")
    begin, worked = time.perf_counter(), time.process_time()
    found = verify_journal(path)
    span_s, work_s = time.perf_counter() - begin, time.process_time() - worked
    assert found.ok, found
    print(f"verify              {records / span_s:10,.0f} records a second   (bar: 50,000)")
    print(f"  of processor time {records / work_s:10,.0f} records a second")
    print(f"peak memory         {peak_mb():10.1f} MB")


def main() -> None:
    """Make a journal, and measure on it; then the same at a tenth, for the memory."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    records = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "deploys.db"
        begin = time.perf_counter()
        total = generate(path, runs, records)
        print(
            f"{runs:,} runs, {total:,} records, {path.stat().st_size / 2**20:,.0f} MB, generated in {time.perf_counter() - begin:.1f} s"
        )
        measure(path, runs, total)
    if len(sys.argv) <= 3 and runs >= 10:
        print(f"\nthe same with {runs // 10:,} runs, for the memory")
        sys.stdout.flush()
        words = [sys.executable, __file__, str(runs // 10), str(records), "alone"]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        print("\n".join(line for line in done.stdout.splitlines() if "memory" in line))


if __name__ == "__main__":
    main()
