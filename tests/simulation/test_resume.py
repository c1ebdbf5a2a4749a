"""Runs that are cut off at every record, and taken up again in virtual time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import pyflow
from pyflow.record.codec import Record
from pyflow.record.memory import MemoryJournal
from pyflow.testing.simulation import SimulatedEngine, in_virtual_time


class Shop:
    """A place where tasks have effects, each counted, and undos take them back."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.applied: Counter[str] = Counter()

    def act(self, name: str, *, wait_s: float = 10, fails: int = 0) -> Callable[..., Any]:
        """Return a task that waits, has its effect, and fails in its opening attempts."""

        async def act(ctx: pyflow.AsyncContext) -> str:
            self.did.append(name)
            await ctx.sleep(wait_s)
            if ctx.attempt <= fails:
                raise OSError(name)
            self.applied[ctx.task] += 1
            return name

        return act

    def undo(self, name: str, *, fails: int = 0) -> Callable[..., Any]:
        """Return an undo that looks before it acts."""

        async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
            self.did.append(f"undo {name}")
            await ctx.sleep(5)
            if ctx.attempt <= fails:
                raise OSError(name)
            self.applied.pop(ctx.task, None)

        return undo


def linear(shop: Shop) -> pyflow.Workflow:
    wf = pyflow.Workflow("linear")
    before: list[str] = []
    for name in "abc":
        wf.add_task(name, shop.act(name), depends_on=before, on_interrupt="rerun")
        wf.add_recovery(name, shop.undo(name))
        before = [name]
    return wf


def diamond(shop: Shop) -> pyflow.Workflow:
    wf = pyflow.Workflow("diamond", locks=["service:shop/production"])
    wf.add_task("a", shop.act("a"), on_interrupt="rerun")
    wf.add_task("b", shop.act("b"), depends_on=["a"], on_interrupt="rerun")
    wf.add_task("c", shop.act("c", wait_s=30), depends_on=["a"], on_interrupt="rerun")
    wf.add_task("d", shop.act("d"), depends_on=["b", "c"], on_interrupt="rerun")
    for name in "abcd":
        wf.add_recovery(name, shop.undo(name))
    wf.add_finalizer("report", shop.undo("report"))
    return wf


def retrying(shop: Shop) -> pyflow.Workflow:
    wf = pyflow.Workflow("retrying")
    wf.add_task("a", shop.act("a", fails=2), retry=pyflow.Retry(5, backoff="1m", after_crash=True))
    wf.add_task(
        "b", shop.act("b", fails=1), depends_on=["a"], retry=pyflow.Retry(2), on_interrupt="rerun"
    )
    wf.add_recovery("a", shop.undo("a"))
    wf.add_recovery("b", shop.act("mend b"), then="retry", times=2)
    return wf


def mapped(shop: Shop) -> pyflow.Workflow:
    wf = pyflow.Workflow("mapped")
    wf.add_map("a", shop.act("a"), over=["eu", "us", "ap"], max_parallel=2, on_interrupt="rerun")
    wf.add_recovery("a", shop.undo("a"))
    wf.add_task("b", shop.act("b"), depends_on=["a"], on_interrupt="rerun")
    return wf


def rolling_back(shop: Shop) -> pyflow.Workflow:
    wf = diamond(shop)
    wf.add_task("e", shop.act("e", fails=9), depends_on=["d"], on_interrupt="rerun")
    wf.add_recovery("e", shop.undo("e", fails=1), retry=pyflow.Retry(3, backoff="1m"))
    return wf


def stuck(shop: Shop) -> pyflow.Workflow:
    wf = linear(shop)
    wf.add_task("d", shop.act("d", fails=9), depends_on=["c"], on_interrupt="rerun")
    wf.add_recovery("d", shop.undo("d", fails=9))
    return wf


MAKERS = (linear, diamond, retrying, mapped, rolling_back, stuck)


def execute(engine: SimulatedEngine, start: Callable[[], Any]) -> pyflow.Result:
    async def main() -> pyflow.Result:
        return await start()

    return in_virtual_time(main)


def cut_off(records: list[Record], number: int) -> MemoryJournal:
    journal = MemoryJournal()
    for record in records[:number]:
        journal.append(record.run_id, [record.event], at=record.at)
    return journal


class Committed(MemoryJournal):
    """Remembers after which records a commit ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[int] = []

    def append(self, run_id: str, events: Any, /, **options: Any) -> list[Record]:
        records = super().append(run_id, events, **options)
        if records:
            self.ends.append(records[-1].seq)
        return records


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
class TestEveryCommit:
    def test_is_survived(self, make: Callable[[Shop], pyflow.Workflow]) -> None:
        """A run that is cut off after any commit ends as the one that was not, with the same effects."""
        shop, journal = Shop(), Committed()
        engine = SimulatedEngine(journal=journal)
        whole = engine.execute(make(shop))
        records = list(whole.audit_trail)

        for end in journal.ends:
            taken_up(make, records, end, whole, shop)

    def test_is_survived_twice(self, make: Callable[[Shop], pyflow.Workflow]) -> None:
        """The run that was taken up may be cut off as well, after any of its commits."""
        rng = random.Random(1)
        shop, journal = Shop(), Committed()
        whole = SimulatedEngine(journal=journal).execute(make(shop))
        records = list(whole.audit_trail)
        for end in rng.sample(journal.ends, min(6, len(journal.ends))):
            again = Committed()
            for record in records[:end]:
                again.append(record.run_id, [record.event], at=record.at)
            again.ends.clear()
            engine = SimulatedEngine(journal=again)
            first = execute(engine, lambda engine=engine: engine.reopen(whole.run_id, make(Shop())))
            for later in again.ends:
                taken_up(make, list(first.audit_trail), later, whole, shop)


def taken_up(
    make: Callable[[Shop], pyflow.Workflow],
    records: list[Record],
    end: int,
    whole: pyflow.Result,
    wanted: Shop,
) -> None:
    """Check that the run of *records*, cut off after number *end*, comes to what *whole* did."""
    shop = Shop()
    engine = SimulatedEngine(journal=cut_off(records, end))
    for record in records[:end]:  # what had happened when the engine died
        if record.kind == "task_succeeded" and record.task in wanted_tasks(make):
            shop.applied[record.task] += 1
        elif record.kind == "undo_succeeded":
            shop.applied.pop(record.task or "", None)

    result = execute(engine, lambda: engine.reopen(whole.run_id, make(shop)))

    where = f"cut after record {end} ({records[end - 1].kind} {records[end - 1].task})"
    assert result.status == whole.status, f"{where}\n{result.audit_trail}"
    assert {n: s.status for n, s in result.tasks.items()} == {
        n: s.status for n, s in whole.tasks.items()
    }, f"{where}\n{result.audit_trail}"
    assert result.residue == whole.residue
    assert all(count == 1 for count in shop.applied.values()), where
    result.audit_trail.verify()
    started = [r.task for r in list(result.audit_trail)[end:] if r.kind == "task_started"]
    succeeded = {r.task for r in records[:end] if r.kind == "task_succeeded"}
    assert not succeeded & set(started), f"{where}: {started}"


def wanted_tasks(make: Callable[[Shop], pyflow.Workflow]) -> set[str]:
    plan = make(Shop()).check()
    names = {name for name, node in plan.nodes.items() if node.task.map is None}
    return names | {f"a[{item}]" for item in ("eu", "us", "ap")}
