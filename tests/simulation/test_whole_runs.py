"""Seeded whole runs: the real engine, in virtual time, over random graphs, delays and failures."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyflow
from pyflow.testing.loop import run_virtual
from support.runs import virtual_engine

SEEDS = 400


class Site:
    """A world in which tasks have effects, which undos take back; it remembers everything."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.applied: dict[str, None] = {}
        self.engine = virtual_engine(max_parallel=self.rng.choice([1, 2, 64]), drain_timeout="1h")
        self.workflow = self.build()
        self.unrecorded: list[str] = []
        self.doubled: list[str] = []
        self.under_way: set[str] = set()

    def build(self) -> pyflow.Workflow:
        """Return a workflow whose functions act on this site."""
        rng = self.rng
        workflow = pyflow.Workflow(
            "w", on_failure=rng.choice(["rollback", "rollback", "rollback", "stop", "continue"])
        )
        names = [f"t{n}" for n in range(rng.randint(1, 9))]
        for number, name in enumerate(names):
            deps = [d for d in names[:number] if rng.random() < 0.4]
            retry = (
                pyflow.Retry(rng.randint(2, 3), backoff=rng.randint(0, 9))
                if rng.random() < 0.3
                else None
            )
            timeout = rng.choice([None, None, None, 5])
            join: Any = rng.choice(["success", "success", "done", "any"]) if deps else "success"
            workflow.add_task(
                name, self.act(name), depends_on=deps, retry=retry, timeout=timeout, join=join
            )
            if rng.random() < 0.8:
                undo_retry = pyflow.Retry(2) if rng.random() < 0.5 else None
                workflow.add_recovery(name, self.undo(name), retry=undo_retry)
        return workflow

    def act(self, name: str) -> Any:
        """Return the function of a task: it waits, has its effect, and may fail before or after."""
        rng = self.rng
        plan = [
            (rng.randint(0, 9), rng.choice(["ok", "ok", "ok", "before", "after"])) for _ in range(4)
        ]

        async def act(ctx: pyflow.AsyncContext) -> str:
            self.note(ctx, "task_started")
            delay, fate = plan[ctx.attempt]
            try:
                await ctx.sleep(delay)
                if fate == "before":
                    raise ValueError(name)
                self.applied[name] = None
                if fate == "after":
                    raise ValueError(name)
            finally:
                self.under_way.discard(name)
            return name

        return act

    def undo(self, name: str) -> Any:
        """Return the undo of a task: it checks, waits, takes the effect back, and may fail."""
        rng = self.rng
        plan = [(rng.randint(0, 9), rng.random() < 0.2) for _ in range(3)]

        async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
            self.note(ctx, "undo_started")
            delay, bad = plan[ctx.attempt]
            try:
                await ctx.sleep(delay)
                if bad:
                    raise OSError(name)
                self.applied.pop(name, None)
            finally:
                self.under_way.discard(name)

        return undo

    def note(self, ctx: pyflow.AsyncContext, kind: str) -> None:
        """Check that what begins now has its record, and that it begins once."""
        records = self.engine.journal.read(ctx.run_id)
        wanted = (kind, ctx.task, ctx.attempt)
        if wanted not in [(r.kind, r.task, r.data.get("attempt")) for r in records]:
            self.unrecorded.append(f"{wanted}")
        if ctx.task in self.under_way:
            self.doubled.append(ctx.task)
        self.under_way.add(ctx.task)

    def run(self) -> pyflow.Result:
        """Run the workflow once, in virtual time."""

        async def main() -> pyflow.Result:
            return await self.engine.run(self.workflow, initiator="ann")

        return run_virtual(main())


def check(site: Site, result: pyflow.Result) -> None:
    """Check every law of a whole run."""
    assert site.unrecorded == []
    assert site.doubled == []
    result.audit_trail.verify()
    undoable = {name for name, node in site.workflow.check().nodes.items() if node.undo is not None}
    if result.status == "rolled_back":
        assert not undoable & set(site.applied)
        assert result.residue == ()
    elif result.status == "rollback_failed":
        assert result.residue
        assert undoable & set(site.applied) <= set(result.residue)
    else:
        assert result.status in ("succeeded", "failed")
    started: dict[str, int] = {}
    for record in result.audit_trail:
        if record.kind == "task_started":
            started.setdefault(record.task or "", record.seq)
    for name, node in site.workflow.check().nodes.items():
        if name in started and node.task.join != "any":
            for dep in node.depends_on:
                ends = [
                    r.seq
                    for r in result.audit_trail.query(task=dep)
                    if r.kind in ("task_succeeded", "task_failed", "task_blocked", "task_skipped")
                ]
                assert min(ends) < started[name]


class TestWholeRuns:
    def test_end_safe(self) -> None:
        """No effect without an earlier record, nothing twice, nothing applied that is not said."""
        ends: set[str] = set()
        for seed in range(SEEDS):
            site = Site(seed)
            result = site.run()
            try:
                check(site, result)
            except AssertionError as error:
                pytest.fail(f"seed {seed}: {error}\n{result.audit_trail}")
            ends.add(result.status)

        assert ends == {"succeeded", "failed", "rolled_back", "rollback_failed"}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_end_safe_for_hypothesis(self, seed: int) -> None:
        """The same, for seeds that Hypothesis draws."""
        site = Site(seed)

        check(site, site.run())

    def test_of_one_seed_are_one_trail(self) -> None:
        """The same seed gives the same trail, but for the process and the names of its host."""
        for seed in range(40):
            one, two = Site(seed).run(), Site(seed).run()

            assert one.audit_trail.to_jsonl() == two.audit_trail.to_jsonl()
