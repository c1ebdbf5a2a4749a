"""What runs came to as Prometheus text, for the textfile collector of node_exporter.

https://prometheus.io/docs/instrumenting/exposition_formats/, text format
0.0.4. There are no timestamps, which that collector refuses. The number of
series is bounded: workflows and environments have series of their own in the
order in which they first ran, which stays the same as a journal grows, and
from the limit on what is new is counted as ``other``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from pyflow.errors import ExportError
from pyflow.notifiers._text import cut, plain
from pyflow.record.history.dora import Tally
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from pyflow.record.history.dora import Figure
    from pyflow.record.history.summary import RunSummary

__all__ = ["prometheus"]

Labels: TypeAlias = "tuple[tuple[str, str], ...]"

LABEL_CHARS_MAX = 200
PLACES_MAX = 100
OTHER = "other"
DAY_S = 86_400.0
BUCKETS_S = (10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 43_200, 86_400)
"""Upper bounds of the histogram of durations, in seconds."""
DORA = (
    ("deployment_frequency", "frequency_per_day", 1.0, "Deployments that succeeded, a day"),
    (
        "change_lead_time",
        "lead_time_seconds",
        3600.0,
        "Commit to the end of its deployment, median",
    ),
    ("change_fail_rate", "fail_ratio", 0.01, "Deployments that failed or were taken back"),
    ("failed_deployment_recovery_time", "recovery_seconds", 3600.0, "Failure to mended, median"),
    ("deployment_rework_rate", "rework_ratio", 0.01, "Deployments that were made to mend"),
)
"""Each of DORA's metrics: its name here, its name there, and what it is multiplied by."""


def prometheus(
    runs: Iterable[RunSummary],
    *,
    now: datetime,
    window: Span = "30d",
    places: int = PLACES_MAX,
    committed_at: Callable[[str], datetime | None] | None = None,
) -> Iterator[str]:
    """Yield what *runs* came to, a line at a time: runs, durations, last instants, DORA's figures.

    Args:
        runs: Each once, the oldest first: ``history.runs(oldest_first=True)``.
        now: The present instant, in UTC; the end of the window.
        window: Over how long DORA's figures are taken.
        places: How many pairs of workflow and environment have series of their own.
        committed_at: Tells when a commit was made, for the lead time.

    Raises:
        ExportError: *places* is below 1.
    """
    if places < 1:
        raise ExportError(f"places={places} leaves no series; give a whole number from 1")
    window_s = seconds(window, what="window=")
    since = now - timedelta(seconds=window_s)
    found: dict[Labels, _Place] = {}
    tallies: dict[Labels, Tally] = {}
    for run in runs:
        labels = _labels(run, found, places)
        found.setdefault(labels, _Place()).take(run)
        if since <= run.started < now:
            tallies.setdefault(labels, Tally(committed_at)).take(run)
    yield from _runs(found)
    yield from _durations(found)
    yield from _instants(found)
    yield from _dora(tallies, window_s)


class _Place:
    """What the runs of one workflow in one environment came to."""

    def __init__(self) -> None:
        self.ended: dict[str, int] = {}
        self.open: dict[str, int] = {}
        self.buckets = [0] * len(BUCKETS_S)
        self.count = 0
        self.total_s = 0.0
        self.last: dict[str, datetime] = {}

    def take(self, run: RunSummary) -> None:
        status, took_s = plain(run.status), run.duration_s
        if run.ended is None or took_s is None:
            self.open[status] = self.open.get(status, 0) + 1
            return
        self.ended[status] = self.ended.get(status, 0) + 1
        self.last[status] = max(run.ended, self.last.get(status, run.ended))
        took_s = max(took_s, 0.0)  # a clock may have gone back
        self.count += 1
        self.total_s += took_s
        for number, bound in enumerate(BUCKETS_S):
            self.buckets[number] += took_s <= bound


def _labels(run: RunSummary, known: Mapping[Labels, object], places: int) -> Labels:
    names = tuple(
        cut(plain(name), LABEL_CHARS_MAX) for name in (run.workflow, run.environment or "")
    )
    labels = tuple(zip(("workflow", "environment"), names, strict=True))
    if labels in known or len(known) < places:
        return labels
    return (("workflow", OTHER), ("environment", OTHER))


def _runs(found: Mapping[Labels, _Place]) -> Iterator[str]:
    yield from _head("pyflow_runs_total", "counter", "Runs that have ended, by how.")
    for labels, place in found.items():
        for status, number in sorted(place.ended.items()):
            yield _sample("pyflow_runs_total", (*labels, ("status", status)), number)
    yield from _head(
        "pyflow_runs_unfinished", "gauge", "Runs that have not ended, by how they stand."
    )
    for labels, place in found.items():
        for status, number in sorted(place.open.items()):
            yield _sample("pyflow_runs_unfinished", (*labels, ("status", status)), number)


def _durations(found: Mapping[Labels, _Place]) -> Iterator[str]:
    name = "pyflow_run_duration_seconds"
    yield from _head(
        name, "histogram", "How long runs took that have ended, waits for people included."
    )
    for labels, place in found.items():
        for bound, number in zip(BUCKETS_S, place.buckets, strict=True):
            yield _sample(f"{name}_bucket", (*labels, ("le", f"{float(bound)!r}")), number)
        yield _sample(f"{name}_bucket", (*labels, ("le", "+Inf")), place.count)
        yield _sample(f"{name}_sum", labels, round(place.total_s, 6))
        yield _sample(f"{name}_count", labels, place.count)


def _instants(found: Mapping[Labels, _Place]) -> Iterator[str]:
    name = "pyflow_run_last_end_timestamp_seconds"
    yield from _head(name, "gauge", "When the last run ended that ended so, in seconds since 1970.")
    for labels, place in found.items():
        for status, at in sorted(place.last.items()):
            yield _sample(name, (*labels, ("status", status)), round(at.timestamp(), 3))


def _dora(tallies: Mapping[Labels, Tally], window_s: float) -> Iterator[str]:
    figures = {labels: tally.figures(window_s / DAY_S) for labels, tally in tallies.items()}
    over = f"over the last {window_s / DAY_S:g} days"
    for field, short, factor, words in DORA:
        name = f"pyflow_dora_{short}"
        found: dict[Labels, Figure] = {at: getattr(one, field) for at, one in figures.items()}
        yield from _head(name, "gauge", f"{words}, {over}.")
        for labels, figure in found.items():
            if figure.value is not None:
                yield _sample(name, labels, round(figure.value * factor, 9))
        yield from _head(f"{name}_of", "gauge", f"What {name} was counted over.")
        for labels, figure in found.items():
            yield _sample(f"{name}_of", labels, figure.of)


# The format -------------------------------------------------------------------------------


def _head(name: str, kind: str, words: str) -> Iterator[str]:
    yield f"# HELP {name} {words}\n"
    yield f"# TYPE {name} {kind}\n"


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inside}}} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
