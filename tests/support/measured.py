"""What the tests of an analysis share: a source that says what a function of time says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyflow
from pyflow.analysis import analysis
from pyflow.protocols import Sample, Samples
from pyflow.run.result import Result
from pyflow.testing import VirtualClock, run_virtual


class Told:
    """A source that answers with what *fn* says of a query at this second, as a sample of now.

    None is no data, and an exception is raised.
    """

    def __init__(self, fn: Callable[[str, float], Any], clock: VirtualClock | None = None) -> None:
        self.fn = fn
        self.clock = clock or VirtualClock()
        self.asked: list[tuple[str, float]] = []

    def __repr__(self) -> str:
        return "Told()"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Sequence[Sample]:
        now_s = asyncio.get_running_loop().time()
        self.asked.append((query, now_s))
        value = self.fn(query, now_s)
        if isinstance(value, Exception):
            raise value
        if value is None:
            return Samples((), ["nothing there"])
        return [Sample(self.clock.now(), float(value))]


def says(*values: Any) -> Told:
    """Return a source that says *values* in turn, the last one again and again."""
    left = list(values)
    return Told(lambda query, now_s: left.pop(0) if len(left) > 1 else left[0])


def traffic(canary_rate: float, baseline_rate: float = 0.01, per_s: float = 20.0) -> Told:
    """Return a source of running totals of two versions, 2.0 and 1.0, with these error rates."""
    rates = {"2.0": canary_rate, "1.0": baseline_rate}

    def total(query: str, now_s: float) -> float:
        figure, version = query.split()
        requests = round(1000 + per_s * now_s)
        return requests if figure == "requests" else round(requests * rates[version])

    return Told(total)


def workflow_of(checks: Sequence[Any], **options: Any) -> pyflow.Workflow:
    """Return a workflow whose one task is the analysis."""
    workflow = pyflow.Workflow("rollout", on_failure=options.pop("on_failure", "rollback"))
    given: dict[str, Any] = {"canary": "2.0", "baseline": "1.0", **options}
    workflow.add_task("analyse", analysis(checks, **given), effect=False)
    return workflow


def analysed(*checks: Any, **options: Any) -> Result:
    """Run an analysis in virtual time, and return the result of the run."""
    engine = pyflow.Engine(clock=VirtualClock(), seed=1, environ={})
    return run_virtual(engine.run(workflow_of(checks, **options)))


def measurements(result: Result, check: str | None = None) -> list[dict[str, Any]]:
    """Return the measurements that *result* recorded, of one check or of all."""
    records = result.audit_trail.query(kind="measurement_taken")
    return [r.data for r in records if check in (None, r.data["check"])]


def verdicts(result: Result, check: str | None = None) -> list[str]:
    """Return the verdicts that were recorded."""
    return [data["verdict"] for data in measurements(result, check)]


def failure(result: Result) -> str:
    """Return what the analysis raised: the kind of error and its text."""
    assert result.error is not None
    return f"{result.error.type.rpartition('.')[2]}: {result.error.message}"
