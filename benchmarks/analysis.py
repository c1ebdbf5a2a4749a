"""How long a judgement takes, for a hundred points of each arm and for ten thousand.

    python benchmarks/analysis.py

Each figure stands next to its bar, and next to sorting the same points, measured
in the same run: on any machine the ratio says how much a judge costs. Time is
that of the processor, so that other programs on the machine matter less.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from pyflow.analysis import Counts, FixedSample, Judge, Requests, Sequential, power

ROUNDS = 9
SIZES = {100: 1.0, 10_000: 50.0}
"""Points of each arm, and the bar in milliseconds."""


def best_of(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the least time that *work* took, in milliseconds."""
    times: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times) * 1e3


def points(size: int, seed: int) -> list[float]:
    """Return latencies."""
    source = random.Random(seed)
    return [source.lognormvariate(0.0, 0.3) for _ in range(size)]


def values(judge: Judge, size: int, bar_ms: float) -> None:
    """Measure a judgement on values; the arms are alike, which takes longest."""
    canary, baseline = points(size, 1), points(size, 2)
    took = best_of(lambda: judge.judge_values(canary, baseline, max_increase=0.1))
    bare = best_of(lambda: (sorted(canary), sorted(baseline)))
    name = f"{type(judge).__name__}, {size:,} points"
    print(f"{name:30}{took:9.3f} ms   bar {bar_ms:g} ms   {took / bare:5.1f} x sorting")


def counts(judge: Judge) -> None:
    """Measure a judgement on counts."""
    one, other = Counts(2_050, 100_000), Counts(2_000, 100_000)
    took = best_of(lambda: judge.judge_counts(one, other, max_increase=0.01), ROUNDS * 5)
    print(f"{type(judge).__name__ + ', counts':30}{took:9.3f} ms   bar 1 ms")


def plan() -> None:
    """Measure what it takes to say what a plan will find."""
    traffic = Requests(canary=50, baseline=950, rate=0.01)
    took = best_of(
        lambda: power(Sequential(), traffic=traffic, looks=20, max_increase=0.005), rounds=1
    )
    print(f"{'power, 20 looks, 2,000 runs':30}{took:9.0f} ms")


if __name__ == "__main__":
    for each in (Sequential(), FixedSample()):
        for number, most_ms in SIZES.items():
            values(each, number, most_ms)
        counts(each)
    plan()
