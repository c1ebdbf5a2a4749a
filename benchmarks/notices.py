"""How long it takes from a commit to whoever is told, with ten runs at once, and whether all arrives.

    python benchmarks/notices.py

Each run tells of every record that it logs. What is measured is the span from
the instant of the record to the call of a notifier in this process, or to the
arrival of a signed webhook at an HTTP server on this machine. Then ten runs
log a thousand records each, as fast as they can, and every one has to arrive.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyflow
from pyflow.messages import FIRST, Attempt, Delivery, Message, delivered
from pyflow.notifiers import Route, Webhook
from pyflow.protocols import Notifier
from pyflow.testing.servers import HTTPServer, Reply
from pyflow.testing.servers.http import Received

RUNS = 10
TURNS = 100
PAUSE_S = 0.01
HTTP_TURNS = 50
HTTP_PAUSE_S = 0.1
MANY = 1_000
MEDIAN_S, P99_S = 0.05, 1.0
KEY = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


class Stopwatch:
    """Notes how old each message is."""

    def __init__(self) -> None:
        self.ages_s: list[float] = []

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        self.ages_s.append((datetime.now(UTC) - message.at).total_seconds())
        return delivered()


class Arrivals(HTTPServer):
    """Notes how old each webhook is, and whose it is."""

    def __init__(self) -> None:
        super().__init__()
        self.ages_s: list[float] = []
        self.ids: list[str] = []

    def answer(self, request: Received) -> Reply:
        at = datetime.fromisoformat(request.json["timestamp"])
        self.ages_s.append((datetime.now(UTC) - at).total_seconds())
        self.ids.append(request.headers["webhook-id"])
        return Reply(204)


def talking(turns: int, pause_s: float) -> pyflow.Workflow:
    """Return a workflow that logs *turns* times, with a pause after each."""
    workflow = pyflow.Workflow("talk")

    @workflow.task
    async def talk(ctx: pyflow.AsyncContext) -> None:
        for number in range(turns):
            ctx.log(str(number))
            await (ctx.sleep(pause_s) if pause_s else asyncio.sleep(0))

    return workflow


def tell(journal: str | None, notifier: Notifier, turns: int, pause_s: float) -> None:
    """Have ten runs at once tell *notifier* of what they log."""
    workflow = talking(turns, pause_s)

    async def run() -> None:
        await asyncio.gather(*(engine.run(workflow) for _ in range(RUNS)))

    with pyflow.Engine(
        journal=journal,
        notifiers=[Route(notifier, events=["logged"])],
        drain="300s",
        source=False,
    ) as engine:
        asyncio.run(run())
        assert engine.wait_delivered("300s")


def judge(name: str, ages_s: list[float], count: int) -> bool:
    """Print how long it took, and return whether that is within the bar."""
    ages_s = sorted(ages_s)
    assert len(ages_s) == count, f"{len(ages_s)} of {count} arrived"
    median, p99 = statistics.median(ages_s), ages_s[int(len(ages_s) * 0.99)]
    print(f"{name}: median {median * 1e3:.1f} ms, 99th percentile {p99 * 1e3:.1f} ms")
    return median < MEDIAN_S and p99 < P99_S


def in_order(ids: list[str]) -> bool:
    """Whether the messages of each run arrived once each, and in order."""
    runs: dict[str, list[int]] = {}
    for one in ids:
        run, _, number = one.rpartition("-")
        runs.setdefault(run, []).append(int(number))
    return max(Counter(ids).values()) == 1 and all(sorted(seqs) == seqs for seqs in runs.values())


def everything(journal: str) -> None:
    """Have ten runs log a thousand records each, and see that every one arrives."""
    with Arrivals() as server:
        began = time.perf_counter()
        tell(journal, Webhook(server.base_url, secrets=[KEY], allow_private=True), MANY, 0.0)
        took_s = time.perf_counter() - began
        arrived = len(set(server.ids))
    rate = arrived / took_s
    print(f"{arrived:,} of {RUNS * MANY:,} webhooks arrived, in order, {rate:.0f} a second")
    if arrived != RUNS * MANY or not in_order(server.ids):
        sys.exit("some were lost, or came twice or in another order")


def main() -> None:
    fast = True
    with tempfile.TemporaryDirectory() as folder:
        for name, journal in (("in memory", None), ("on disk", str(Path(folder, "deploys.db")))):
            watch = Stopwatch()
            tell(journal, watch, TURNS, PAUSE_S)
            fast &= judge(name, watch.ages_s, RUNS * TURNS)
        with Arrivals() as server:
            hook = Webhook(server.base_url, secrets=[KEY], allow_private=True)
            tell(str(Path(folder, "web.db")), hook, HTTP_TURNS, HTTP_PAUSE_S)
        fast &= judge("on disk, over HTTP", server.ages_s, RUNS * HTTP_TURNS)
        everything(str(Path(folder, "many.db")))
    if not fast:
        sys.exit("slower than the bar: median 50 ms, 99th percentile 1 s")


if __name__ == "__main__":
    main()
