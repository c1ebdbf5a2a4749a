"""What the judges do on traffic whose truth is known: the simulations behind every stated rate.

The tests hold the rates to their bars, and `docs/plots.py` draws them. All are
seeded, so that they come out alike everywhere, but for the last digit of the
logarithms of a platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyflow.analysis import (
    Characteristics,
    FixedSample,
    Judge,
    Points,
    Requests,
    Sequential,
    simulate_judge,
)

__all__ = ["SCENARIOS", "Scenario", "simulated"]

SEQUENTIAL, BOUNDED, FIXED = Sequential(), Sequential(horizon=60), FixedSample()
HALF, CANARY = (50, 50), (10, 190)


@dataclass(frozen=True)
class Scenario:
    """One simulation, and what has to come out."""

    name: str
    judge: Judge
    traffic: Requests | Points
    limit: float
    runs: int
    looks: int = 1
    effect: float = 0.0
    seed: int = 1
    failed_most: float = 1.0
    failed_least: float = 0.0
    passed_most: float = 1.0
    requests_most: int | None = None
    """The requests of each arm by which half of the comparisons have to have failed."""


def series(correlation: float, shape: Any = "normal", sd: float = 0.0833) -> Points:
    """Return nine looks' points, from 20 to 60: 100 with a standard deviation of 8.3, or logarithms."""
    return Points(per_look=5, first=20, sd=sd, correlation=correlation, shape=shape)


def healthy(correlation: float, runs: int) -> Scenario:
    name = f"sequential, healthy, 9 looks, correlation {correlation:g}"
    return Scenario(name, SEQUENTIAL, series(correlation), 0.05, runs, looks=9, failed_most=0.05)


def bounded(name: str, traffic: Points, runs: int, failed_most: float) -> Scenario:
    name = f"to a horizon, {name}"
    return Scenario(name, BOUNDED, traffic, 0.0, runs, looks=9, failed_most=failed_most)


def requests(arms: tuple[int, int], rate: float) -> Requests:
    return Requests(canary=arms[0], baseline=arms[1], rate=rate)


def counted(name: str, arms: tuple[int, int], rate: float) -> Scenario:
    return Scenario(
        f"sequential, healthy, 100 looks, {name}",
        SEQUENTIAL,
        requests(arms, rate),
        0.0,
        300,
        looks=100,
        failed_most=0.05,
    )


SCENARIOS = (
    healthy(0.0, 800),
    healthy(0.5, 800),
    healthy(0.8, 2_500),
    Scenario(
        "sequential, healthy, 9 looks, lognormal 0.3, correlation 0.8",
        SEQUENTIAL,
        series(0.8, "lognormal", 0.3),
        0.05,
        1_500,
        looks=9,
        failed_most=0.05,
    ),
    Scenario(
        "sequential, +20 %, 9 looks, correlation 0",
        SEQUENTIAL,
        series(0.0),
        0.1,
        500,
        looks=9,
        effect=0.2,
        failed_least=0.99,
    ),
    Scenario(
        "sequential, +20 %, 9 looks, correlation 0.5",
        SEQUENTIAL,
        series(0.5),
        0.1,
        500,
        looks=9,
        effect=0.2,
        failed_least=0.99,
    ),
    Scenario(
        "sequential, +20 %, 9 looks, correlation 0.8",
        SEQUENTIAL,
        series(0.8),
        0.1,
        2_000,
        looks=9,
        effect=0.2,
        failed_least=0.93,
    ),
    Scenario(
        "sequential, +20 %, 9 looks, lognormal 0.3",
        SEQUENTIAL,
        series(0.0, "lognormal", 0.3),
        0.1,
        1_000,
        looks=9,
        effect=0.2,
        failed_least=0.65,
    ),
    bounded("healthy, 9 looks, correlation 0", series(0.0), 800, failed_most=0.05),
    bounded("healthy, 9 looks, correlation 0.5", series(0.5), 800, failed_most=0.05),
    bounded("healthy, 9 looks, correlation 0.8", series(0.8), 2_500, failed_most=0.055),
    Scenario(
        "to a horizon, +20 %, 9 looks, correlation 0.8",
        BOUNDED,
        series(0.8),
        0.1,
        1_000,
        looks=9,
        effect=0.2,
        failed_least=0.90,
    ),
    Scenario(
        "to a horizon, +20 %, 9 looks, lognormal 0.3",
        BOUNDED,
        series(0.0, "lognormal", 0.3),
        0.1,
        1_000,
        looks=9,
        effect=0.2,
        failed_least=0.88,
    ),
    Scenario(
        "fixed at 0.02, +20 %, 50 points, lognormal 0.3",
        FixedSample(alpha=0.02),
        Points(per_look=50, sd=0.3),
        0.1,
        2_000,
        effect=0.2,
        failed_least=0.80,
    ),
    Scenario(
        "fixed at 0.02, healthy, 50 points, lognormal 0.3",
        FixedSample(alpha=0.02),
        Points(per_look=50, sd=0.3),
        0.0,
        2_000,
        failed_most=0.025,
    ),
    Scenario(
        "fixed, healthy, 60 points, correlation 0.8: not what it is for",
        FIXED,
        Points(per_look=60, sd=0.0833, correlation=0.8, shape="normal"),
        0.0,
        500,
        failed_least=0.2,
    ),
    Scenario(
        "fixed, healthy, looked at 100 times, 2 %: not what it is for",
        FIXED,
        requests(HALF, 0.02),
        0.0,
        200,
        looks=100,
        failed_least=0.15,
    ),
    counted("2 %", HALF, 0.02),
    counted("0.1 %", HALF, 0.001),
    counted("30 %", HALF, 0.3),
    counted("99 %", HALF, 0.99),
    counted("2 % with a canary of 5 %", CANARY, 0.02),
    Scenario(
        "sequential, 2 % to 4 %, 100 looks",
        SEQUENTIAL,
        requests(HALF, 0.02),
        0.01,
        500,
        looks=100,
        effect=0.02,
        failed_least=0.99,
        requests_most=1_500,
    ),
    Scenario(
        "sequential, worse by the very limit of 1 point, 100 looks",
        SEQUENTIAL,
        requests(HALF, 0.02),
        0.01,
        300,
        looks=100,
        effect=0.01,
        passed_most=0.2,
    ),
    Scenario(
        "sequential, worse by the very limit of 10 %, 9 looks",
        SEQUENTIAL,
        series(0.0, "lognormal", 0.15),
        0.1,
        500,
        looks=9,
        effect=0.1,
        passed_most=0.2,
    ),
)


def simulated(scenario: Scenario) -> Characteristics:
    """Return what came out of a scenario."""
    return simulate_judge(
        scenario.judge,
        scenario.traffic,
        looks=scenario.looks,
        effect=scenario.effect,
        max_increase=scenario.limit,
        runs=scenario.runs,
        seed=scenario.seed,
    )
