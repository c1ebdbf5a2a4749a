"""How long it takes from a commit to whoever is told, with ten runs at once.

    python benchmarks/notices.py

Each run tells a notifier in this process of every record that it logs; what is
measured is the span from the instant of the record to the call of the notifier.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyflow
from pyflow.messages import FIRST, Attempt, Delivery, Message, delivered
from pyflow.notifiers import Route

RUNS = 10
TURNS = 100
PAUSE_S = 0.01


class Stopwatch:
    """Notes how old each message is."""

    def __init__(self) -> None:
        self.ages_s: list[float] = []

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        self.ages_s.append((datetime.now(UTC) - message.at).total_seconds())
        return delivered()


async def talk(ctx: pyflow.AsyncContext) -> None:
    for number in range(TURNS):
        ctx.log(str(number))
        await ctx.sleep(PAUSE_S)


def measure(journal: str | None) -> list[float]:
    watch = Stopwatch()
    workflow = pyflow.Workflow("talk")
    workflow.add_task("talk", talk)

    async def run() -> None:
        await asyncio.gather(*(engine.run(workflow) for _ in range(RUNS)))

    with pyflow.Engine(
        journal=journal, notifiers=[Route(watch, events=["logged"])], drain="60s"
    ) as engine:
        asyncio.run(run())
        assert engine.wait_delivered("60s")
    assert len(watch.ages_s) == RUNS * TURNS
    return sorted(watch.ages_s)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, journal in (("in memory", None), ("on disk", str(Path(folder, "deploys.db")))):
            ages_s = measure(journal)
            median, p99 = statistics.median(ages_s), ages_s[int(len(ages_s) * 0.99)]
            print(f"{name}: median {median * 1e3:.1f} ms, 99th percentile {p99 * 1e3:.1f} ms")
            if median >= 0.05 or p99 >= 1.0:
                sys.exit("slower than the bar: median 50 ms, 99th percentile 1 s")


if __name__ == "__main__":
    main()
