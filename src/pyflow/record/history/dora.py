"""DORA's five metrics of software delivery, each with what it was counted over.

After "DORA's software delivery metrics" (dora.dev/guides/dora-metrics, 2025):
change lead time, deployment frequency, failed deployment recovery time,
change fail rate, deployment rework rate. A figure without its denominator
says nothing, so each carries it, and none is given where that is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from pyflow.record.history.summary import RunSummary

__all__ = ["Dora", "Figure", "Tally", "dora_of"]

BAD = ("failed", "rolled_back", "rollback_failed")


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric."""

    name: str
    """Which."""

    value: float | None
    """Its value; None where there is nothing to count over."""

    unit: str
    """What it is in."""

    of: int
    """What it was counted over: that many."""

    what: str
    """What these are."""

    def __str__(self) -> str:
        value = "no figure" if self.value is None else f"{self.value:.3g} {self.unit}"
        return f"{self.name:<32} {value}, over {self.of} {self.what}"


@dataclass(frozen=True, slots=True)
class Dora:
    """The five metrics of some runs."""

    deployment_frequency: Figure
    """Deployments that succeeded, a day."""

    change_lead_time: Figure
    """From the commit to the end of the deployment, the median."""

    change_fail_rate: Figure
    """Deployments that failed or had to be taken back, of all that are over."""

    failed_deployment_recovery_time: Figure
    """From the start of a deployment that failed to the end of the next that succeeded in the
    same place, the median."""

    deployment_rework_rate: Figure
    """Deployments that succeeded right after one that failed in the same place, of all that
    succeeded: those that were made to mend."""

    def __str__(self) -> str:
        return "\n".join(str(getattr(self, name)) for name in self.__slots__)


def dora_of(
    runs: Iterable[RunSummary],
    *,
    days: float,
    committed_at: Callable[[str], datetime | None] | None = None,
) -> Dora:
    """Return the metrics of *runs*, oldest first, over a time of so many *days*.

    A run counts as a deployment once it is over; a cancelled one counts for
    nothing. Whether users suffered is not in a journal: a failure is a
    deployment that failed or was taken back.

    Args:
        runs: The runs, in the order in which they began.
        days: How long the time is that they are from, in days.
        committed_at: Tells when a commit was made; without it, or where it
            does not know, a deployment has no lead time.
    """
    tally = Tally(committed_at)
    for run in runs:
        tally.take(run)
    return tally.figures(days)


class Tally:
    """Counts runs as they come by, the oldest first, each once; see `dora_of`."""

    def __init__(self, committed_at: Callable[[str], datetime | None] | None = None) -> None:
        self._committed_at = committed_at
        self._good = self._bad = self._mended = 0
        self._leads_h: list[float] = []
        self._recoveries_h: list[float] = []
        self._broken: dict[tuple[str, str | None, str | None], datetime] = {}

    def take(self, run: RunSummary) -> None:
        """Take in one more run."""
        if run.ended is None:
            return
        place = run.workflow, run.environment, run.service
        if run.status in BAD:
            self._bad += 1
            self._broken.setdefault(place, run.started)
        elif run.status == "succeeded":
            self._good += 1
            since = self._broken.pop(place, None)
            if since is not None:
                self._mended += 1
                self._recoveries_h.append((run.ended - since).total_seconds() / 3600)
            made = self._committed_at(run.commit) if self._committed_at and run.commit else None
            if made is not None:
                self._leads_h.append((run.ended - made).total_seconds() / 3600)

    def figures(self, days: float) -> Dora:
        """Return the metrics of what was taken in, over so many *days*."""
        good, bad, mended = self._good, self._bad, self._mended
        leads_h, recoveries_h = self._leads_h, self._recoveries_h
        frequency = good / days if days > 0 else None
        return Dora(
            Figure(
                "deployment frequency", frequency, "a day", good, f"deployments in {days:.3g} days"
            ),
            Figure(
                "change lead time",
                _median(leads_h),
                "hours",
                len(leads_h),
                "deployments with a known commit time",
            ),
            Figure("change fail rate", _rate(bad, good + bad), "%", good + bad, "deployments"),
            Figure(
                "failed deployment recovery time",
                _median(recoveries_h),
                "hours",
                len(recoveries_h),
                "failures that were mended",
            ),
            Figure(
                "deployment rework rate",
                _rate(mended, good),
                "%",
                good,
                "deployments that succeeded",
            ),
        )


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def _rate(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
