"""kill -9 around every commit: nothing is lost, done twice unasked, stuck, or called a success falsely.

Real processes, real files, more than 2,000 points; `make soak` tries ten times as many.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.testing.crash import CrashReport, Survivor, crash_everywhere
from support.effects import SOON, Site, add, chain, in_memory_root, once_each

pytestmark = pytest.mark.crash

FACTOR = int(os.environ.get("PYFLOW_SOAK", "1"))
"""How many times the usual number of points to try."""


def linear(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("linear", locks=["service:shop"]), Site(directory)
    chain(wf, site, "abcdefgh")
    return wf


def fan_out(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("fan_out"), Site(directory)
    add(wf, site, "a")
    for name in "bcd":
        add(wf, site, name, ["a"])
    for name in "efg":
        add(wf, site, name, ["a"], fn=site.does_async(), on_interrupt="rerun")
    add(wf, site, "h", list("bcdefg"))
    return wf


def diamond(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("diamond", locks=["service:shop"]), Site(directory)
    add(wf, site, "a")
    chain(wf, site, "bc", "a")
    chain(wf, site, "de", "a")
    add(wf, site, "f", ["c", "e"])
    wf.add_finalizer("report", lambda: site.note("report"))
    return wf


def retrying(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("retrying"), Site(directory)
    often = pyflow.Retry(9, backoff=SOON, after_crash=True)
    add(wf, site, "a", fn=site.does(fails=2), retry=often)
    add(wf, site, "b", ["a"], fn=site.does(fails=2), retry=pyflow.Retry(3, backoff=SOON))
    wf.add_task("c", site.does(fails=1), depends_on=["b"], on_interrupt=site.looks)
    wf.add_recovery("c", lambda: site.note("mend c"), then="retry", times=9)
    add(wf, site, "d", ["c"], fn=site.does(fails=1), retry=often)
    return wf


def mapped(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("mapped"), Site(directory)
    regions = ["eu", "us", "ap", "af", "sa"]
    wf.add_map("a", site.does(), over=regions, max_parallel=2, on_interrupt=site.looks)
    wf.add_recovery("a", site.undoes())
    chain(wf, site, "bc", "a")
    return wf


def approved(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("approved"), Site(directory)
    chain(wf, site, "ab")
    wf.add_approval("go", "Ship it?", depends_on=["b"], quorum=2)
    chain(wf, site, "cd", ["go"])
    return wf


def approve(engine: pyflow.Engine, held: Survivor) -> None:
    Site(held.directory).note("asked")
    engine.approve(held.run_id, "go", by="ann")
    engine.approve(held.run_id, "go", by="bob")


def asking(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("asking", locks=["service:shop"]), Site(directory)
    chain(wf, site, "abcdef", on_interrupt="ask")
    return wf


def resolve(engine: pyflow.Engine, held: Survivor) -> None:
    site = Site(held.directory)
    for name, status in held.tasks.items():
        if status == "interrupted":
            answer = "applied" if site.applied(name) else "not_applied"
            engine.resolve(held.run_id, name, answer, by="ann", output=name)


def holding(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("holding", on_failure="hold"), Site(directory)
    chain(wf, site, "ab")
    add(wf, site, "c", ["b"], fn=site.does(fails=2), on_interrupt="rerun")
    chain(wf, site, "de", ["c"])
    return wf


def retry(engine: pyflow.Engine, held: Survivor) -> None:
    engine.retry(held.run_id, "c", by="ann")


def stepping(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("stepping"), Site(directory)

    @wf.task(on_interrupt="rerun")
    async def a(ctx: pyflow.AsyncContext) -> None:
        for step in range(ctx.checkpoints.get("steps", 0), 8):
            site.note(f"step {step}")
            ctx.checkpoint("steps", step + 1)
            await ctx.sleep("1ms")
        site.note("do a")

    add(wf, site, "b", ["a"])
    return wf


def rolled_back(directory: Path) -> pyflow.Workflow:
    wf, site = diamond(directory), Site(directory)

    def fail(ctx: pyflow.Context) -> None:
        site.note(f"do {ctx.task}")
        raise OSError("no space left")

    wf.add_task("g", fail, depends_on=["f"], on_interrupt="rerun")
    wf.add_recovery("g", site.undoes(fails=1), retry=pyflow.Retry(9, backoff=SOON))
    return wf


def rollback_failed(directory: Path) -> pyflow.Workflow:
    wf, site = pyflow.Workflow("rollback_failed", locks=["service:shop"]), Site(directory)
    chain(wf, site, "a")
    wf.add_task("b", site.does(), depends_on=["a"], on_interrupt=site.looks)
    wf.add_recovery("b", site.undoes(fails=99), retry=pyflow.Retry(2, backoff=SOON))
    chain(wf, site, "cd", "b")
    wf.add_task("e", site.does(fails=99), depends_on=["d"], on_interrupt="rerun")
    return wf


@dataclass(frozen=True)
class Case:
    """A workflow, and how it is killed."""

    factory: Callable[[Path], pyflow.Workflow]
    points: int  # so many at least, with SIGKILL
    status: str = "succeeded"
    operator: Callable[[pyflow.Engine, Survivor], object] | None = None
    rerun: str = ""
    again: Sequence[int] = (10,)

    def __str__(self) -> str:
        return self.factory.__name__

    def check(self, survivor: Survivor) -> None:
        assert survivor.status == self.status
        once_each(survivor, self.factory(survivor.directory).check(), rerun=self.rerun)
        done = Counter(Site(survivor.directory).effects)
        assert done["asked"] == (self.operator is approve), "an answer was lost"
        again = sum(count - 1 for what, count in done.items() if what.startswith("step"))
        assert again <= len(survivor.crashes), "a step was made again after its checkpoint"

    def kill(self, **options: Any) -> CrashReport:
        return crash_everywhere(
            self.factory, check=self.check, operator=self.operator, root=in_memory_root(), **options
        )


CASES = (
    Case(linear, 180),
    Case(fan_out, 80, rerun="efg"),
    Case(diamond, 150, again=(9, 1)),
    Case(retrying, 380, rerun="ad", again=(12,)),
    Case(mapped, 90),
    Case(approved, 80, operator=approve, again=(5,)),
    Case(asking, 80, operator=resolve, again=(5,)),
    Case(holding, 120, operator=retry, rerun="c", again=(5,)),
    Case(stepping, 200, rerun="a"),
    Case(rolled_back, 420, status="rolled_back", rerun="g", again=(9, 1)),
    Case(rollback_failed, 220, status="rollback_failed", rerun="e", again=(12,)),
)


@pytest.mark.parametrize("case", CASES, ids=str)
class TestEveryCommit:
    @pytest.mark.parametrize("seed", range(FACTOR))
    def test_survives_sigkill(self, case: Case, seed: int) -> None:
        """Killed around any commit, and again in its recovery, a run comes to what it would have."""
        report = case.kill(again=case.again, seed=seed)

        assert report.ok, str(report)
        assert report.points >= case.points

    def test_survives_sigterm(self, case: Case) -> None:
        """Told to end around any commit, a run lets what is under way end, and is taken up."""
        report = case.kill(signals=["SIGTERM"])

        assert report.ok, str(report)


def test_points() -> None:
    """There are as many as were promised."""
    assert sum(case.points for case in CASES) >= 2_000
