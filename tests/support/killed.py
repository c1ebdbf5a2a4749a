"""Workflows that are killed around every commit, for real and in virtual time, and what they come to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyflow
from support.effects import SOON, Site, add, chain, once_each

FACTOR = int(os.environ.get("PYFLOW_SOAK", "1"))
"""How many times the usual number of points to try."""

Tell = Callable[[str, int, Mapping[str, int]], None]
"""Is told what was killed and how, at how many points, and how often it ended in which status."""


def linear(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("linear", locks=["service:shop"])
    chain(wf, site, "abcdefgh")
    return wf


def fan_out(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("fan_out")
    add(wf, site, "a")
    for name in "bcd":
        add(wf, site, name, ["a"])
    for name in "efg":
        add(wf, site, name, ["a"], fn=site.does_async(), on_interrupt="rerun")
    add(wf, site, "h", list("bcdefg"))
    return wf


def diamond(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("diamond", locks=["service:shop"])
    add(wf, site, "a")
    chain(wf, site, "bc", "a")
    chain(wf, site, "de", "a")
    add(wf, site, "f", ["c", "e"])
    wf.add_finalizer("report", lambda: site.note("report"))
    return wf


def retrying(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("retrying")
    often = pyflow.Retry(9, backoff=SOON, after_crash=True)
    add(wf, site, "a", fn=site.does(fails=2), retry=often)
    add(wf, site, "b", ["a"], fn=site.does(fails=2), retry=pyflow.Retry(3, backoff=SOON))
    wf.add_task("c", site.does(fails=1), depends_on=["b"], on_interrupt=site.looks)
    wf.add_recovery("c", lambda: site.note("mend c"), then="retry", times=9)
    add(wf, site, "d", ["c"], fn=site.does(fails=1), retry=often)
    return wf


def mapped(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("mapped")
    regions = ["eu", "us", "ap", "af", "sa"]
    wf.add_map("a", site.does(), over=regions, max_parallel=2, on_interrupt=site.looks)
    wf.add_recovery("a", site.undoes())
    chain(wf, site, "bc", "a")
    return wf


def approved(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("approved")
    chain(wf, site, "ab")
    wf.add_approval("go", "Ship it?", depends_on=["b"], quorum=2)
    chain(wf, site, "cd", ["go"])
    return wf


def approve(ask: Any, tasks: Mapping[str, str], site: Site) -> None:
    site.note("asked")
    ask.approve("go", by="ann")
    ask.approve("go", by="bob")


def asking(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("asking", locks=["service:shop"])
    chain(wf, site, "abcdef", on_interrupt="ask")
    return wf


def resolve(ask: Any, tasks: Mapping[str, str], site: Site) -> None:
    for name, status in tasks.items():
        if status == "interrupted":
            answer = "applied" if site.applied(name) else "not_applied"
            ask.resolve(name, answer, by="ann", output=name)


def holding(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("holding", on_failure="hold")
    chain(wf, site, "ab")
    add(wf, site, "c", ["b"], fn=site.does(fails=2), on_interrupt="rerun")
    chain(wf, site, "de", ["c"])
    return wf


def retry(ask: Any, tasks: Mapping[str, str], site: Site) -> None:
    ask.retry("c", by="ann")


def stepping(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("stepping")

    @wf.task(on_interrupt="rerun")
    async def a(ctx: pyflow.AsyncContext) -> None:
        for step in range(ctx.checkpoints.get("steps", 0), 8):
            site.note(f"step {step}")
            ctx.checkpoint("steps", step + 1)
            await ctx.sleep("1ms")
        site.note("do a")

    add(wf, site, "b", ["a"])
    return wf


def rolled_back(site: Site) -> pyflow.Workflow:
    wf = diamond(site)

    def fail(ctx: pyflow.Context) -> None:
        site.note(f"do {ctx.task}")
        raise OSError("no space left")

    wf.add_task("g", fail, depends_on=["f"], on_interrupt="rerun")
    wf.add_recovery("g", site.undoes(fails=1), retry=pyflow.Retry(9, backoff=SOON))
    return wf


def rollback_failed(site: Site) -> pyflow.Workflow:
    wf = pyflow.Workflow("rollback_failed", locks=["service:shop"])
    chain(wf, site, "a")
    wf.add_task("b", site.does(), depends_on=["a"], on_interrupt=site.looks)
    wf.add_recovery("b", site.undoes(fails=99), retry=pyflow.Retry(2, backoff=SOON))
    chain(wf, site, "cd", "b")
    wf.add_task("e", site.does(fails=99), depends_on=["d"], on_interrupt="rerun")
    return wf


@dataclass(frozen=True)
class Case:
    """A workflow, how it is killed, and what it comes to."""

    make: Callable[[Site], pyflow.Workflow]
    points: int  # so many real ones at least
    again: Sequence[int] = (10,)
    status: str = "succeeded"
    rerun: str = ""
    operator: Callable[[Any, Mapping[str, str], Site], None] | None = None

    def __str__(self) -> str:
        return self.make.__name__

    def check(
        self,
        status: str,
        tasks: Mapping[str, str],
        site: Site,
        *,
        crashes: int,
        asked_again: int = 0,
    ) -> None:
        """Check that what a run came to after so many crashes is what it has to come to.

        What is asked of an engine, and not of the journal's inbox, may have to
        be *asked_again* so many times at most.
        """
        effects = site.effects
        assert status == self.status, f"it is {status}"
        once_each(effects, tasks, plan_of(self.make), crashes=crashes, rerun=self.rerun)
        asked = effects.count("asked") - (self.operator is approve)
        assert 0 <= asked <= asked_again, "an answer was lost"
        steps = Counter(effect for effect in effects if effect.startswith("step"))
        assert steps.total() - len(steps) <= crashes, f"a step was made again: {effects}"


@cache
def plan_of(make: Callable[[Site], pyflow.Workflow]) -> pyflow.Plan:
    """Return the plan of a workflow, wherever its tasks have their effects."""
    return make(Site()).check()


CASES = (
    Case(linear, 180),
    Case(fan_out, 80, rerun="efg"),
    Case(diamond, 150, again=(7, 1)),
    Case(retrying, 380, rerun="ad", again=(12,)),
    Case(mapped, 90),
    Case(approved, 80, operator=approve, again=(5,)),
    Case(asking, 80, operator=resolve, again=(5,)),
    Case(holding, 120, operator=retry, rerun="c", again=(5,)),
    Case(stepping, 200, rerun="a"),
    Case(rolled_back, 420, status="rolled_back", rerun="g", again=(8, 1)),
    Case(rollback_failed, 220, status="rollback_failed", rerun="e", again=(12,)),
)
