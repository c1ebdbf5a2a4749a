"""`power`: what a plan of looks will find, before it starts.

A canary that serves fifty requests can show next to nothing, and nobody says
so until it is too late. This draws the traffic that a plan expects many times,
and says how often a healthy canary would be aborted and which regression would
be found with 80 % and with 95 % probability. The judge itself decides, so the
answer is that of the real rule, with a standard error that is stated.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pyflow.analysis.judges.estimates import Estimate, of_values, transformed
from pyflow.analysis.judges.limits import Side, sides
from pyflow.analysis.judges.sequential import Sequential
from pyflow.analysis.simulating import simulate_judge
from pyflow.analysis.traffic import Points, Requests, Traffic
from pyflow.analysis.verdicts import Counts
from pyflow.errors import DefinitionError, shown
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyflow.analysis.judges.protocol import Judge

__all__ = ["Compared", "Power", "power"]

RUNS = 4_000
RUNS_SLOW = 1_500
"""For judges and shapes whose every effect has to be simulated anew."""
CLOSE = 0.01
EFFECT_MAX = 15.0
STEPS_MAX = 24


@runtime_checkable
class Compared(Protocol):
    """**Protocol:** a check that compares two versions, with its judge and its limit."""

    @property
    def judge_with(self) -> Judge:
        """What decides."""
        ...

    @property
    def max_increase(self) -> float | None:
        """How much more is allowed."""
        ...


@frozen
class Power:
    """What a plan of looks finds, at a given traffic."""

    false_abort: float
    """The probability that a canary that is no different fails at some look."""

    found_80: float | None
    """The smallest regression that is found with 80 % probability, in the unit
    of the limit; None where not even an absurd one is."""

    found_95: float | None
    """The same for 95 %."""

    runs: int
    """How many comparisons were drawn to tell."""

    def error(self, probability: float) -> float:
        """Return the standard error with which *probability* was estimated here."""
        return math.sqrt(max(probability * (1 - probability), 1 / self.runs) / self.runs)

    def __str__(self) -> str:
        found = ", ".join(
            f"{percent} %: {'nothing' if effect is None else f'{abs(effect):.3g}'}"
            for percent, effect in ((80, self.found_80), (95, self.found_95))
        )
        return f"aborts a healthy canary {self.false_abort:.1%}; finds with {found}"


@frozen
class Plan:
    """What is simulated."""

    traffic: Traffic
    looks: int
    side: Side
    runs: int | None
    seed: int

    @property
    def limit(self) -> dict[str, float]:
        """The limit, as an argument of a judge."""
        return {"max_increase" if self.side.sign > 0 else "max_decrease": self.side.limit}


def power(
    judge: Judge | Compared,
    *,
    traffic: Traffic,
    looks: int,
    max_increase: float | None = None,
    max_decrease: float | None = None,
    runs: int | None = None,
    seed: int = 1,
) -> Power:
    """Return what *judge*, asked at *looks* looks while *traffic* comes in, will find.

    Args:
        judge: A judge, or a check that has one and a limit.
        traffic: What is expected between looks.
        looks: How often the judge is asked.
        max_increase: The limit, as for the judge; the check's own if none is given.
        max_decrease: The limit where less is worse. Give one of the two.
        runs: How many comparisons to draw; more is slower and more exact.
        seed: Equal seeds give equal answers.

    Raises:
        DefinitionError: There is not exactly one limit, or a number makes no sense.
    """
    if isinstance(judge, Compared):
        if max_increase is None and max_decrease is None:
            max_increase, max_decrease = judge.max_increase, getattr(judge, "max_decrease", None)
        judge = judge.judge_with
    limits = sides(max_increase, max_decrease)
    if len(limits) != 1 or looks < 1 or (runs is not None and runs < 1):
        seen = f"looks={shown(looks)}, runs={shown(runs)} and {len(limits)} limits make no plan"
        raise DefinitionError("power", [f"{seen}; give one of each at least, and one limit"])
    plan = Plan(traffic, looks, limits[0], runs, seed)
    share, runs = _shares(judge, plan)
    most = 1.0 - traffic.rate if isinstance(traffic, Requests) else EFFECT_MAX
    if limits[0].sign < 0:
        most = traffic.rate if isinstance(traffic, Requests) else 1.0 - 1e-6
    found = [_smallest(share, limits[0], most, wanted) for wanted in (0.8, 0.95)]
    return Power(share(0.0), found[0], found[1], runs)


def _shares(judge: Judge, plan: Plan) -> tuple[Callable[[float], float], int]:
    """Return what tells how often an effect is found, and from how many runs."""
    traffic, side = plan.traffic, plan.side
    if isinstance(traffic, Requests):
        runs = plan.runs or RUNS
        return _cached(_of_requests(judge, plan, traffic, runs)), runs
    if isinstance(judge, Sequential) and traffic.shape == "lognormal":
        runs = plan.runs or RUNS
        least = sorted(_least_found(judge, plan, traffic, runs))
        return lambda e: bisect_right(least, side.sign * math.log1p(e)) / runs, runs
    runs = plan.runs or RUNS_SLOW

    def share(effect: float) -> float:
        found = simulate_judge(
            judge,
            traffic,
            looks=plan.looks,
            effect=effect,
            runs=runs,
            seed=plan.seed,
            **plan.limit,
        )
        return found.failed

    return _cached(share), runs


def _cached(share: Callable[[float], float]) -> Callable[[float], float]:
    known: dict[float, float] = {}

    def lookup(effect: float) -> float:
        if effect not in known:
            known[effect] = share(effect)
        return known[effect]

    return lookup


def _smallest(
    share: Callable[[float], float], side: Side, most: float, wanted: float
) -> float | None:
    """Return the smallest effect that is found with probability *wanted*, to one part in a hundred."""
    low, high = 0.0, min(max(side.limit, most / 1000), most)
    while share(side.sign * high) < wanted:
        if high >= most:
            return None
        low, high = high, min(high * 2, most)
    for _ in range(STEPS_MAX):
        if high - low <= CLOSE * high:
            break
        middle = (low + high) / 2
        low, high = (low, middle) if share(side.sign * middle) >= wanted else (middle, high)
    return side.sign * high


def _least_found(judge: Sequential, plan: Plan, traffic: Points, runs: int) -> Iterator[float]:
    """Yield for each run the least effect, as a logarithm, that fails it at some look.

    On a log scale an effect moves the difference of the means and nothing
    else, so one run without an effect tells about all of them.
    """
    source = random.Random(plan.seed)  # noqa: S311 - a simulation, repeatable on purpose
    drawn = traffic.drawing(looks=plan.looks, effect=0.0)
    for _ in range(runs):
        yield min(
            (
                _needed(of_values(*transformed(x, y), judge.horizon), plan.side, judge.alpha)
                for x, y in drawn(source)
                if len(x) >= judge.min_samples
            ),
            default=math.inf,
        )


def _needed(estimate: Estimate, side: Side, alpha: float) -> float:
    evident = estimate.critical(alpha) * math.sqrt(estimate.variance)
    return max(estimate.limit(side), evident) - side.sign * estimate.difference


def _of_requests(
    judge: Judge, plan: Plan, traffic: Requests, runs: int
) -> Callable[[float], float]:
    """Return what tells how often a difference of rates is found.

    What a judge makes of counts depends on four numbers, so the number of
    events from which on a look fails is looked up, not judged again.
    """
    sign = plan.side.sign
    known: dict[tuple[int, int], int] = {}

    def fails(look: int, one: int, other: int) -> bool:
        counts = Counts(one, look * traffic.canary), Counts(other, look * traffic.baseline)
        return judge.judge_counts(*counts, **plan.limit).verdict == "fail"

    def edge(look: int, other: int) -> int:
        """Return the events of the canary at which a look begins to fail, or stops to."""
        if (look, other) not in known:
            near = known.get((look, other - 1), known.get((look, other + 1)))
            known[look, other] = _edge(
                lambda one: fails(look, one, other), look * traffic.canary, sign, near
            )
        return known[look, other]

    def share(effect: float) -> float:
        source, found = random.Random(plan.seed), 0  # noqa: S311 - as above
        drawn = traffic.drawing(looks=plan.looks, effect=effect)
        for _ in range(runs):
            found += any(
                sign * (one.events - edge(look, int(other.events))) >= 0
                for look, (one, other) in enumerate(drawn(source), start=1)
            )
        return found / runs

    return share


def _edge(fails: Callable[[int], bool], most: int, sign: int, near: int | None) -> int:
    """Return the number from which on (for *sign* -1, down to which) *fails* holds; beyond, if none."""
    low, high = (-1, most + 1) if sign > 0 else (most + 1, -1)  # `low` does not fail, `high` does.
    if near is not None:
        step = 2
        while abs(high - low) > 1 and step <= most:
            for guess in (near - step, near + step):
                if min(low, high) < guess < max(low, high):
                    low, high = (low, guess) if fails(guess) else (guess, high)
            if abs(high - low) <= 2 * step:
                break
            step *= 4
    while abs(high - low) > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return high
