"""Hold a metric against fixed bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pyflow.analysis.checks.base import (
    Arms,
    Check,
    Look,
    broken,
    empty,
    filled,
    query_problems,
    rows,
    source_problems,
)
from pyflow.analysis.verdicts import Judgement, Verdict
from pyflow.metrics.asking import ask
from pyflow.metrics.bounds import Bounds, Reduce, bound_problems, reduced
from pyflow.protocols import MetricSource, Sample
from pyflow.spans import Span, seconds, span_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Threshold"]


@dataclass(frozen=True, slots=True, repr=False)
class Threshold(Check):
    """Passes while a metric lies within its bounds.

    | given | the value | verdict |
    |---|---|---|
    | any | beyond `fails_above` or `fails_below` | fail |
    | `above`, `below` | within them | pass |
    | `above`, `below` alone | not within them | fail |
    | both kinds | beyond neither, and not within | inconclusive |
    | `fails_above`, `fails_below` alone | not beyond them | pass |

    No sample in the window is `no_data`; NaN and infinities are no samples.
    ``$version`` in the query stands for the canary.
    """

    kind: ClassVar[str] = "threshold"

    source: MetricSource = field(kw_only=False)
    """Whom to ask."""

    query: str = field(kw_only=False)
    """What to ask, in the language of the source."""

    above: float | None = field(default=None, kw_only=True)
    """To pass, the value has to be above this."""

    below: float | None = field(default=None, kw_only=True)
    """To pass, the value has to be below this."""

    fails_above: float | None = field(default=None, kw_only=True)
    """A value above this fails."""

    fails_below: float | None = field(default=None, kw_only=True)
    """A value below this fails."""

    window: Span = field(default="5m", kw_only=True)
    """How far back samples count."""

    take: Reduce = field(default="last", kw_only=True)
    """What of the window is the value: its last sample, mean, least or greatest."""

    def __post_init__(self) -> None:
        problems = [
            *source_problems(self.source),
            *query_problems("query", self.query),
            *bound_problems(above=self.above, below=self.below, take=self.take),
            *bound_problems(
                above=self.fails_above,
                below=self.fails_below,
                take="last",
                names=("fails_above", "fails_below"),
                nested=False,
            ),
        ]
        if problem := span_problem(self.window, zero=False):
            problems.append(f"window: {problem}")
        if all(getattr(self, name) is None for name in BOUNDS):
            problems.append(
                "it has no condition, and would pass whatever is measured; "
                "give above=, below=, fails_above= or fails_below="
            )
        self._check(problems, name=str(self.query))

    @property
    def settings(self) -> dict[str, Any]:
        """What its verdict depends on, as JSON data."""
        bounds = {name: getattr(self, name) for name in BOUNDS if getattr(self, name) is not None}
        return {"kind": self.kind, "query": self.query, "take": self.take, **bounds}

    @property
    def queries(self) -> tuple[str, ...]:
        """What it asks its source."""
        return (self.query,)

    async def look(self, arms: Arms, past: Sequence[Mapping[str, Any]]) -> Look:
        """Ask once."""
        del past
        window = timedelta(seconds=seconds(self.window))
        samples = await ask(self.source, filled(self.query, arms.canary), window=window)
        kept = samples[-1:] if self.take == "last" else samples
        return Look({"samples": rows(kept)}, samples.notes)

    @classmethod
    def judge(
        cls, settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]
    ) -> Judgement | None:
        """Judge the latest look alone."""
        look = looks[-1]
        if (problem := broken(look)) is not None:
            return problem
        if not look["samples"]:
            return empty("no sample in the window")
        samples = [Sample(datetime.fromisoformat(at), value) for at, value in look["samples"]]
        value = reduced(samples, settings["take"])
        verdict, reason = _held(settings, value)
        return Judgement(
            verdict, reason, f"threshold, {settings['take']}", samples=(len(samples), 0)
        )


BOUNDS = ("above", "below", "fails_above", "fails_below")


def _held(settings: Mapping[str, Any], value: float) -> tuple[Verdict, str]:
    """Return the verdict on *value*, and why."""
    passes = Bounds(settings.get("above"), settings.get("below"))
    fails_above, fails_below = settings.get("fails_above"), settings.get("fails_below")
    if fails_above is not None and value > fails_above:
        return "fail", f"{value:g} is above {fails_above:g}"
    if fails_below is not None and value < fails_below:
        return "fail", f"{value:g} is below {fails_below:g}"
    if passes.hold(value):
        words = str(passes) or "beyond no bound"
        return "pass", f"{value:g} is {words}"
    banded = fails_above is not None or fails_below is not None
    return "inconclusive" if banded else "fail", f"{value:g} is not {passes}"
