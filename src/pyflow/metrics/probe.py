"""Let a workflow turn on a metric: a source and a threshold make a probe."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pyflow.errors import PyflowError, shown
from pyflow.metrics.asking import ask
from pyflow.metrics.bounds import Bounds, Reduce, bound_problems, reduced
from pyflow.probes._checks import refuse, span_problems, unknown
from pyflow.protocols import Reading
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from pyflow.protocols import MetricSource

__all__ = ["MetricProbe"]


@dataclass(frozen=True, slots=True, repr=False)
class MetricProbe:
    """Healthy while a metric lies within its bounds.

    | what happens | reading |
    |---|---|
    | the value is above *above* and below *below* | healthy |
    | it is not | unhealthy |
    | no sample in the window, NaN and infinities included | unknown |
    | the source fails | unknown |
    """

    source: MetricSource
    """Whom to ask."""

    query: str
    """What to ask, in the language of the source."""

    _: KW_ONLY

    above: float | None = None
    """The value has to be above this."""

    below: float | None = None
    """The value has to be below this."""

    window: Span = "5m"
    """How far back samples count."""

    take: Reduce = "last"
    """What of the window is the value: its last sample, mean, least or greatest."""

    def __post_init__(self) -> None:
        problems = [
            *bound_problems(above=self.above, below=self.below, take=self.take),
            *span_problems("window", self.window),
        ]
        if self.above is None and self.below is None:
            problems.append("it has no condition; give above= or below=")
        if not callable(getattr(self.source, "query", None)):
            problems.append(f"{shown(self.source)} is no source of metrics: it lacks `query`")
        refuse("MetricProbe", problems)

    def __repr__(self) -> str:
        bounds = Bounds(self.above, self.below)
        return f"MetricProbe({shown(self.query)} {bounds}, {self.source!r})"

    async def read(self) -> Reading:
        """Ask once, and say what was seen."""
        window = timedelta(seconds=seconds(self.window))
        evidence: dict[str, Any] = {"query": self.query}
        try:
            samples = await ask(self.source, self.query, window=window)
        except PyflowError as error:
            return unknown(str(error), **evidence)
        if samples.notes:
            evidence["notes"] = list(samples.notes)
        if not samples:
            return Reading("unknown", {**evidence, "reason": f"no sample in {self.window}"})
        value = reduced(samples, self.take)
        bounds = Bounds(self.above, self.below)
        evidence |= {"value": value, "at": samples[-1].at.isoformat(), "expected": str(bounds)}
        return Reading("healthy" if bounds.hold(value) else "unhealthy", evidence)
