"""Seeded whole runs that are cut off at a random commit, and taken up again, perhaps twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyflow
from support.crashes import Disk
from support.shop import assert_sound

SEEDS = 200
EVEN = pyflow.Backoff("3s", factor=1, jitter=0)
"""Waits that do not depend on how often a task was tried, or cut off."""


class Place:
    """A world of jobs, each of which goes on by itself, whether or not an engine watches it.

    A task starts a job or finds it under way, and waits for it. So a run that
    is cut off, and taken up at once, sees everything at the instants at which
    the run that was not cut off does.
    """

    def __init__(self, seed: int) -> None:
        self.applied: dict[str, None] = {}
        self.finalized: dict[str, int] = {}
        self.ends: dict[str, float] = {}
        self.done: dict[str, int] = {}  # how many jobs of a name have ended
        self.workflow = self.build(random.Random(seed))

    def build(self, rng: random.Random) -> pyflow.Workflow:
        """Return a workflow whose functions act on this place."""
        workflow = pyflow.Workflow(
            "w",
            on_failure=rng.choice(["rollback", "rollback", "stop", "continue"]),
            locks=rng.choice([(), ("service:shop",)]),
        )
        names = [f"t{n}" for n in range(rng.randint(1, 8))]
        may_fail = False
        for number, name in enumerate(names):
            options = self.options(rng, names[:number], handles=may_fail and rng.random() < 0.1)
            may_fail = may_fail or not options["allow_failure"]
            if rng.random() < 0.2:
                self.add_question(workflow, name, rng, options)
            else:
                self.add_work(workflow, name, rng, options)
        for number in range(rng.randrange(3)):
            workflow.add_finalizer(f"f{number}", self.finalize(rng))
        return workflow

    def options(self, rng: random.Random, before: list[str], *, handles: bool) -> dict[str, Any]:
        """Return what every task may have, one that handles the failures *before* it included."""
        deps = before if handles else [name for name in before if rng.random() < 0.35]
        join = rng.choice(["success", "success", "success", "done", "any"]) if deps else "success"
        return {
            "depends_on": deps,
            "join": "failure" if handles else join,
            "allow_failure": not handles and rng.random() < 0.1,
            "when": rng.choice([None] * 8 + [yes, no]),
        }

    def add_question(
        self, workflow: pyflow.Workflow, name: str, rng: random.Random, options: dict[str, Any]
    ) -> None:
        """Add a question that nobody answers."""
        expires = round(rng.uniform(1, 30), 3)
        on_expiry: Any = rng.choice(["approve", "reject"])
        workflow.add_approval(name, "Go on?", expires=expires, on_expiry=on_expiry, **options)

    def add_work(
        self, workflow: pyflow.Workflow, name: str, rng: random.Random, options: dict[str, Any]
    ) -> None:
        """Add a task or a map that may fail, once or for ever, with what is done about it."""
        fails = rng.choice([0, 0, 0, 0, 1, 1, 9])
        if fails == 1:
            options["retry"] = pyflow.Retry(5, backoff=EVEN)
        elif fails and rng.random() < 0.5:
            fails = 1
            workflow.add_recovery(name, self.job("mend", rng), then="retry", times=4)
        act = self.act(rng, fails)
        if rng.random() < 0.2:
            limit, tolerate = rng.choice([None, 1, 2]), rng.randrange(3)
            options |= {"over": ["x", "y", "z"], "max_parallel": limit, "tolerate": tolerate}
            workflow.add_map(name, act, on_interrupt="rerun", **options)
        else:
            workflow.add_task(name, act, on_interrupt="rerun", **options)
        if rng.random() < 0.8:
            fails = rng.choice([0, 0, 0, 1, 9])
            retry = pyflow.Retry(5, backoff=EVEN) if fails else None
            workflow.add_recovery(name, self.undo(rng, fails), retry=retry)

    def job(self, role: str, rng: random.Random) -> Callable[..., Any]:
        """Return a function that starts a job of *role*, or finds it under way, and waits for it."""
        base_s = rng.uniform(1, 9)

        async def job(ctx: pyflow.AsyncContext) -> int:
            key = f"{role} {ctx.task}"
            which = f"{key} {self.done.get(key, 0)}"
            now_s = asyncio.get_running_loop().time()
            takes_s = base_s + random.Random(which).random()
            await ctx.sleep(max(0.0, self.ends.setdefault(which, now_s + takes_s) - now_s))
            self.done[key] = self.done.get(key, 0) + 1
            return self.done[key]

        return job

    def act(self, rng: random.Random, fails: int) -> Callable[..., Any]:
        """Return a task that has its effect, and fails so many times."""
        job = self.job("do", rng)

        async def act(ctx: pyflow.AsyncContext) -> str:
            number = await job(ctx)
            self.applied[ctx.task] = None
            if number <= fails:
                raise ValueError(ctx.task)
            return ctx.task

        return act

    def undo(self, rng: random.Random, fails: int) -> Callable[..., Any]:
        """Return an undo that looks before it acts, and fails so many times."""
        job = self.job("undo", rng)

        async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
            number = await job(ctx)
            if number <= fails:
                raise OSError(ctx.task)
            self.applied.pop(ctx.task, None)

        return undo

    def finalize(self, rng: random.Random) -> Callable[..., Any]:
        """Return a finalizer that takes a while."""
        job = self.job("finalize", rng)

        async def finalize(ctx: pyflow.AsyncRecoveryContext) -> None:
            await job(ctx)
            self.finalized[ctx.task] = self.finalized.get(ctx.task, 0) + 1

        return finalize


def yes() -> bool:
    return True


def no() -> bool:
    return False


async def waits(run: pyflow.Run) -> None:
    """Wait until whatever waits for an answer has expired."""
    await asyncio.sleep(1_000)


def ends_alike(seed: int) -> str:
    """Cut a run once or twice, at random commits, and check that it ends as the one that was not."""
    rng = random.Random(f"cut {seed}")
    whole_place, whole_disk = Place(seed), Disk()
    whole = whole_disk.resume(whole_place.workflow, waits)
    commits = whole_disk.commits

    place, disk = Place(seed), Disk()
    for _ in range(rng.choice([1, 2])):
        disk.cut(place.workflow, rng.randint(1, commits))
    result = disk.resume(place.workflow, waits)

    assert result.status == whole.status
    assert became(result) == became(whole)
    assert result.residue == whole.residue
    assert place.applied == whole_place.applied
    assert set(place.finalized) == set(whole_place.finalized)
    assert started_again(disk) == []
    assert_sound(disk, place.workflow, result)
    return result.status


def became(result: pyflow.Result) -> dict[str, str]:
    """Return what has become of each task; whatever was cut short when a run stopped is one thing."""
    raised = result.audit_trail.query(kind="intent_raised")
    stopped = any(record.data["intent"] != "hold" for record in raised)
    cut_short = ("failed", "cancelled", "interrupted")
    return {
        name: "cut short" if stopped and task.attempts and task.status in cut_short else task.status
        for name, task in result.tasks.items()
    }


def started_again(disk: Disk) -> list[str | None]:
    """Return the tasks that were started after they had succeeded."""
    over: set[str | None] = set()
    again: list[str | None] = []
    for record in disk.records:
        if record.kind == "task_succeeded":
            over.add(record.task)
        elif record.kind == "task_started" and record.task in over:
            again.append(record.task)
    return again


class TestACutRun:
    def test_ends_as_if_nothing_had_happened(self) -> None:
        """Statuses, residue and effects are those of the run that was not cut off."""
        ends: set[str] = set()
        for seed in range(SEEDS):
            try:
                ends.add(ends_alike(seed))
            except AssertionError as error:
                pytest.fail(f"seed {seed}: {error}")

        assert ends == {"succeeded", "failed", "rolled_back", "rollback_failed"}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_ends_so_for_hypothesis(self, seed: int) -> None:
        """The same, for seeds that Hypothesis draws."""
        ends_alike(seed)
