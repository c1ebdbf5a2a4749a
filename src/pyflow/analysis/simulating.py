"""`simulate_judge`: what a judge makes of traffic whose truth is known."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from pyflow.analysis.verdicts import Counts
from pyflow.errors import DefinitionError, shown
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyflow.analysis.judges.protocol import Judge
    from pyflow.analysis.traffic import Look, Traffic
    from pyflow.analysis.verdicts import Judgement

__all__ = ["Characteristics", "simulate_judge"]

RUNS = 1_000


@frozen
class Characteristics:
    """How often a judge decided what, over many simulated comparisons."""

    runs: int
    """How many comparisons were drawn."""

    failed: float
    """The share that failed at a look: false aborts where there was no effect."""

    passed: float
    """The share that passed at a look before any failed."""

    looks: tuple[int, ...]
    """The look at which each of those that failed did, from 1, in order."""

    decided: float
    """The share that passed or failed at a look."""

    @property
    def undecided(self) -> float:
        """The share that neither passed nor failed at any look."""
        return 1.0 - self.decided

    @property
    def median_look(self) -> int | None:
        """The look by which half of all comparisons had failed, or None where fewer did."""
        half = (self.runs + 1) // 2
        return self.looks[half - 1] if len(self.looks) >= half else None

    def error(self, share: float) -> float:
        """Return the standard error of *share*, with a floor of that of one run."""
        return math.sqrt(max(share * (1.0 - share), 1.0 / self.runs) / self.runs)


def simulate_judge(
    judge: Judge,
    traffic: Traffic,
    *,
    looks: int = 1,
    effect: float = 0.0,
    max_increase: float | None = None,
    max_decrease: float | None = None,
    runs: int = RUNS,
    seed: int = 1,
) -> Characteristics:
    """Draw many comparisons and return how often *judge* failed and passed them.

    A comparison is over with the look that fails; a look that passes does not
    end it, as in a bake that lasts its time. *effect* is in the unit of the
    limits. Equal arguments give equal results.

    Raises:
        DefinitionError: The judge has no limit, or a number makes no sense.
    """
    if runs < 1 or looks < 1:
        raise DefinitionError(
            "simulate_judge", [f"runs={shown(runs)} and looks={shown(looks)} must be 1 or more"]
        )
    limits = {"max_increase": max_increase, "max_decrease": max_decrease}
    source = random.Random(seed)  # noqa: S311 - a simulation, repeatable on purpose
    drawn = traffic.drawing(looks=looks, effect=effect)
    failed: list[int] = []
    passed = decided = 0
    for _ in range(runs):
        fail: int | None = None
        first_pass: int | None = None
        for look, found in enumerate(_judged(judge, drawn(source), limits), 1):
            if found.verdict == "pass" and first_pass is None:
                first_pass = look
            if found.verdict == "fail":
                fail = look
                break
        if fail is not None:
            failed.append(fail)
        passed += first_pass is not None
        decided += first_pass is not None or fail is not None
    failed.sort()
    return Characteristics(runs, len(failed) / runs, passed / runs, tuple(failed), decided / runs)


def _judged(
    judge: Judge, drawn: Iterator[Look], limits: Mapping[str, float | None]
) -> Iterator[Judgement]:
    for one, other in drawn:
        if isinstance(one, Counts) and isinstance(other, Counts):
            yield judge.judge_counts(one, other, **limits)
        elif isinstance(one, list) and isinstance(other, list):
            yield judge.judge_values(one, other, **limits)
