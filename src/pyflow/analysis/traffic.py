"""Traffic that can be drawn: what a service might serve while a canary is judged.

`Requests` are counts, `Points` measurements. Each draws both arms look by
look, the canary with an effect that is known, so that what a judge makes of
them can be held against the truth. Equal seeds draw equal data.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import KW_ONLY, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.analysis.verdicts import Counts
from pyflow.errors import DefinitionError, shown

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = ["Look", "Points", "Requests", "Traffic"]

Look: TypeAlias = "tuple[Counts, Counts] | tuple[list[float], list[float]]"
"""The data of both arms up to a look, the canary's to the left."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of which some go wrong, independently of one another."""

    _: KW_ONLY

    canary: int
    """Requests of the canary from one look to the next."""

    baseline: int
    """Requests of the baseline in the same time."""

    rate: float
    """The share that goes wrong in the baseline, from 0 to 1."""

    def __post_init__(self) -> None:
        problems = [
            f"{name}={shown(value)} must be 1 or more"
            for name, value in (("canary", self.canary), ("baseline", self.baseline))
            if value < 1
        ]
        if not 0 <= self.rate <= 1:
            problems.append(f"rate={shown(self.rate)} must be between 0 and 1")
        if problems:
            raise DefinitionError("Requests", problems)

    def drawing(
        self, *, looks: int, effect: float
    ) -> Callable[[random.Random], Iterator[tuple[Counts, Counts]]]:
        """Return what draws a comparison: the counts up to each look.

        The canary's rate is higher by *effect*, as far as a rate can be.
        """
        canary = _binomial(self.canary, min(max(self.rate + effect, 0.0), 1.0))
        baseline = _binomial(self.baseline, self.rate)

        def drawn(random: random.Random) -> Iterator[tuple[Counts, Counts]]:
            one = other = 0
            for look in range(1, looks + 1):
                one, other = one + canary(random), other + baseline(random)
                yield Counts(one, look * self.canary), Counts(other, look * self.baseline)

        return drawn


@dataclass(frozen=True, slots=True)
class Points:
    """Measurements that vary, and may remember the ones before them (AR(1))."""

    _: KW_ONLY

    per_look: int
    """Points of each arm from one look to the next."""

    first: int | None = None
    """Points of each arm at the opening look; as many as later where it is None."""

    sd: float
    """Their standard deviation: of their logarithms, or relative to the level."""

    correlation: float = 0.0
    """Of neighbouring points, from 0 to below 1."""

    shape: Literal["lognormal", "normal"] = "lognormal"
    """Positive and skewed, as latencies are, or symmetric."""

    def __post_init__(self) -> None:
        problems = [
            f"{name}={shown(value)} must be {wanted}"
            for name, value, wanted, is_right in (
                ("per_look", self.per_look, "1 or more", self.per_look >= 1),
                ("first", self.first, "1 or more", self.first is None or self.first >= 1),
                ("sd", self.sd, "0 or more", 0 <= self.sd < math.inf),
                ("correlation", self.correlation, "from 0 to below 1", 0 <= self.correlation < 1),
            )
            if not is_right
        ]
        if problems:
            raise DefinitionError("Points", problems)

    def drawing(
        self, *, looks: int, effect: float
    ) -> Callable[[random.Random], Iterator[tuple[list[float], list[float]]]]:
        """Return what draws a comparison: the points up to each look.

        The canary's are higher by *effect*, relative to the baseline.
        """
        opening = self.per_look if self.first is None else self.first
        size = opening + (looks - 1) * self.per_look

        def drawn(random: random.Random) -> Iterator[tuple[list[float], list[float]]]:
            canary = self._series(random, size, effect)
            baseline = self._series(random, size, 0.0)
            for upto in range(opening, size + 1, self.per_look):
                yield canary[:upto], baseline[:upto]

        return drawn

    def _series(self, random: random.Random, size: int, effect: float) -> list[float]:
        fresh = self.sd * math.sqrt(1.0 - self.correlation**2)
        noise = [random.gauss(0.0, fresh) for _ in range(size)]
        noise[0] = noise[0] / fresh * self.sd if fresh > 0 else 0.0
        rest: Iterator[float] = accumulate(
            noise, lambda before, new: self.correlation * before + new
        )
        if self.shape == "normal":
            return [1.0 + effect + value for value in rest]
        return [(1.0 + effect) * math.exp(value) for value in rest]


Traffic: TypeAlias = Requests | Points
"""What can be drawn."""


def _binomial(trials: int, chance: float) -> Callable[[random.Random], int]:
    """Return what draws how many of *trials* succeed, by inversion of a table."""
    if chance in (0.0, 1.0):
        return lambda _: round(trials * chance)
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(chance)
        + (trials - k) * math.log1p(-chance)
        for k in range(_upper(trials, chance) + 1)
    )
    table = list(accumulate(math.exp(value) for value in logs))
    return lambda random: min(bisect_left(table, random.random()), len(table) - 1)


def _upper(trials: int, chance: float) -> int:
    """Return a number of successes that is not exceeded, but for one draw in 10^17."""
    expected = trials * chance
    return min(trials, math.ceil(expected + 9.0 * math.sqrt(expected) + 25))
