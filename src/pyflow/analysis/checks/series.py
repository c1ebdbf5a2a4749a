"""What a comparison makes of series that are read look by look: what is new, and how much it grew."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pyflow.analysis.checks.base import filled, rows
from pyflow.metrics.asking import ask
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.protocols import MetricSource

__all__ = ["ARMS", "growth", "read_new", "seen", "window_problems"]

ARMS = ("canary", "baseline")


async def read_new(
    source: MetricSource,
    query: str,
    version: str | None,
    *,
    window: Span,
    after: Sequence[Sequence[Any]],
) -> tuple[list[list[Any]], tuple[str, ...]]:
    """Return the samples of *query* for *version* that are newer than those read before, and notes.

    Samples that were read before are left out, so that windows may overlap and
    nothing counts twice. Where none were, the newest alone is returned:
    counting begins there.
    """
    span = timedelta(seconds=seconds(window))
    samples = await ask(source, filled(query, version), window=span)
    last = datetime.fromisoformat(after[-1][0]) if after else None
    new = samples[-1:] if last is None else [sample for sample in samples if sample.at > last]
    return rows(new), samples.notes


def growth(values: Sequence[float], *, totals: bool) -> float:
    """Return how much was counted after the opening one of *values*.

    Running totals only grow, so one that is smaller than the one before began
    at zero again, as it does where a process restarts. Counts of single
    periods are added up.
    """
    if not totals:
        return float(sum(values[1:]))
    steps = (after - before if after >= before else after for before, after in pairwise(values))
    return float(sum(steps))


def seen(looks: Sequence[Mapping[str, Any]], *path: str) -> list[list[Any]]:
    """Return the samples that *looks* have at *path*, those of a look that could not ask left out."""
    found: list[list[Any]] = []
    for look in looks:
        part: Any = look
        for step in path:
            part = part.get(step) if part is not None else None
        found += part or []
    return found


def window_problems(window: Span, interval: Span | None) -> list[str]:
    """Return why a comparison has no second look, or loses what happened between two, if it does."""
    if interval is None:
        return ["it needs interval=: counting begins with the opening measurement"]
    if seconds(window) < seconds(interval):
        return [f"window={window!r} is shorter than interval={interval!r}, and would lose samples"]
    return []
