"""`explore` after a crash: another engine takes the run up, and what goes wrong then is tried too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import pyflow
from pyflow import NOT_APPLIED, UNKNOWN, Applied, AsyncContext, AsyncRecoveryContext, Workflow
from pyflow.record import events as ev
from pyflow.testing import Exploration, Explored, Fault, World, explore, replay
from support.explored import FEW, break_down, made, remembering, switch
from support.simulated import nothing_behind

CRASH: Any = ["crash"]
AS_BEFORE = "After `rolled_back`, versions, capacity, weights and configuration are as before."


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


class Shop:
    """A place where each step has an effect that is counted, and an undo that takes it back."""

    def __init__(self, world: World) -> None:
        self.world = world

    def add(
        self, wf: Workflow, name: str, *, waits: str = "1m", fails: int = 0, **options: Any
    ) -> None:
        """Add a step that has its effect, waits, and fails in its opening attempts; and its undo."""

        async def do(ctx: AsyncContext) -> str:
            self.world.config[ctx.task] = self.world.config.get(ctx.task, 0) + 1
            await ctx.sleep(waits)
            if ctx.attempt <= fails:
                raise ConnectionError(name)
            return name

        async def undo(ctx: AsyncRecoveryContext) -> None:
            await ctx.sleep("10s")
            self.world.config[ctx.task] = None

        wf.add_task(name, do, timeout="1h", **options)
        wf.add_recovery(name, undo, timeout="1h", retry=FEW)

    def look(self, name: str) -> Callable[..., Any]:
        """Return a function that finds out whether the step *name* took effect, which takes a while."""

        async def look(ctx: AsyncContext) -> object:
            await ctx.sleep("5s")
            return Applied(name) if name in self.world.config else NOT_APPLIED

        return look


def steps(world: World, *, fails: int = 0, **options: Any) -> Workflow:
    """Return a chain of steps, each of which says what to do about it after a crash."""
    shop = Shop(world)
    wf = Workflow("steps", locks=["service:shop"], **options)
    shop.add(wf, "looked", on_interrupt=shop.look("looked"))
    shop.add(wf, "again", depends_on="looked", on_interrupt="rerun")
    shop.add(wf, "tried", depends_on="again", retry=pyflow.Retry(5, after_crash=True), fails=1)
    shop.add(wf, "last", depends_on="tried", on_interrupt="rerun", fails=fails)
    wf.add_finalizer("report", lambda: None, timeout="1m")
    return wf


def crashed(
    make: Callable[[World], Workflow], *, faults: int = 2, kinds: Any = CRASH, **options: Any
) -> tuple[Exploration, list[Explored]]:
    """Explore what *make* makes under crashes, each run to its end; return the runs as well."""
    world, seen = World(), list[Explored]()
    report = explore(
        lambda: make(world),
        world=world,
        faults=faults,
        kinds=kinds,
        invariants=[seen.append],
        prune=False,
        **options,
    )
    return report, seen


def script(run: Explored) -> list[str]:
    """Return the faults of *run*."""
    return [str(fault) for fault in run.faults]


class TestForward:
    def test_single(self) -> None:
        """A run that says what to do about each step gets to its end after every crash."""
        report, seen = crashed(steps, faults=1)

        # run_started; lock_acquired with a start; three steps that succeed, one of which fails and
        # starts again before that; the last, with the finalizer's start; and the finalizer's end.
        assert report.ok
        assert report.by_faults == {0: 1, 1: 2 * 9}
        assert report.endings == {"crashed": 1, "succeeded": 1 + 2 * 9 - 1}
        assert [run.status for run in seen] == ["succeeded"] * 18

    def test_pairs(self) -> None:
        """So it does after every two crashes, one of which may hit the recovery from the other."""
        report, seen = crashed(steps)

        # Commits after each crash: run_resumed, lock_acquired with what the crash has cut off, and
        # what was still to do. Looking at a step takes another; an attempt that was to fail and was
        # cut off takes two less.
        commits = (9, 9, 10, 9, 8, 8, 5, 5, 6, 6, 5, 5, 4, 4, 3, 3)
        assert report.ok
        assert report.by_faults == {0: 1, 1: 18, 2: 2 * sum(commits)}
        assert report.endings == {"crashed": 1, "succeeded": 18 + 2 * sum(commits)}
        during = [script(run)[1] for run in seen if len(run.faults) == 2]
        # All but those without a record, and with its last, are taken up.
        assert sum("(run_resumed)" in point for point in during) == 2 * (18 - 2)
        assert sum("(interrupt_resolved looked)" in point for point in during) == 2 * 2

    def test_effects(self) -> None:
        """A step that is looked into has its effect once, whatever is cut off; another may not."""
        _, seen = crashed(steps)

        assert {run.after["config looked"] for run in seen} == {1}
        assert {run.after["config again"] for run in seen} == {1, 2, 3}

    def test_pruned(self) -> None:
        """Pruning leaves runs out, and finds the same."""
        world = World()
        whole, _ = crashed(steps)

        report = explore(lambda: steps(world), world=world, kinds=CRASH)

        assert report.ok
        assert report.pruned > 0
        assert report.runs < whole.runs
        assert report.endings.keys() == whole.endings.keys()

    def test_mistakes_are_found(self) -> None:
        """A step that runs again, and is not idempotent, breaks what has to hold."""
        world = World()

        def once(run: Explored) -> bool:
            return run.after["config again"] == 1

        report = explore(lambda: steps(world), world=world, kinds=CRASH, invariants=[once])

        assert report.counterexample is not None
        assert script(report.counterexample.run) == [
            "before record 6 (task_succeeded again): crash"
        ]

    def test_map(self) -> None:
        """No item of a map is lost, and none that is done is run again."""

        def regions(world: World, on_interrupt: Any = "rerun") -> Workflow:
            async def release(ctx: AsyncContext, item: str) -> None:
                world.config[item] = "new"
                await ctx.sleep("1m")

            wf = Workflow("regions")
            over = ["eu", "us", "ap"]
            wf.add_map(*("release", release), over=over, max_parallel=2, on_interrupt=on_interrupt)
            return wf

        report, seen = crashed(regions)
        asked, _ = crashed(partial(regions, on_interrupt="ask"))

        assert report.ok
        assert report.endings.keys() == {"crashed", "succeeded"}
        for run in seen:
            assert [run.after[f"config {item}"] for item in ("eu", "us", "ap")] == ["new"] * 3
        assert asked.ok
        assert asked.endings.keys() == {"crashed", "held", "succeeded"}

    def test_approval(self) -> None:
        """A question that was asked is not asked again, and expires when it would have."""

        def approved(world: World) -> Workflow:
            wf = steps(world)
            wf.add_approval("approve", "Go on?", expires="1h", on_expiry="approve")
            return wf

        report, seen = crashed(approved)

        assert report.ok
        assert report.endings.keys() == {"crashed", "held"}
        for run in seen:
            assert sum(isinstance(event, ev.ApprovalRequested) for event in run.events) == 1


class TestBack:
    def test_single_and_pairs(self) -> None:
        """A run that turns back is back after every crash and every two, those in its undos too."""
        report, seen = crashed(turned_back)

        assert report.ok
        assert report.endings == {"crashed": 1, "rolled_back": report.runs - 1}
        assert all(run.after == run.before for run in seen)

    def test_undo_runs_again(self) -> None:
        """An undo runs again as often as it was cut off, as another try."""
        _, seen = crashed(turned_back)

        for run in seen:
            tries = [event for event in run.events if isinstance(event, ev.UndoStarted)]
            assert len(tries) == 4 + cut_undos(run)
            assert len({(one.task, one.attempt) for one in tries}) == len(tries)
        assert {cut_undos(run) for run in seen} == {0, 1, 2}

    def test_residue(self) -> None:
        """An undo that failed for good stays failed after a crash, and its lock stays barred."""

        def stuck(world: World) -> Workflow:
            async def undo() -> None:
                raise ConnectionError("gone")

            wf = Workflow("stuck", locks=["service:shop"])
            Shop(world).add(wf, "above", on_interrupt="rerun", fails=9)
            wf.add_task("below", lambda: None, timeout="1m", on_interrupt="rerun")
            wf.add_recovery("below", undo, timeout="1m")
            return wf

        report, seen = crashed(stuck)

        assert report.ok
        assert report.endings == {"crashed": 1, "rollback_failed": report.runs - 1}
        assert {run.residue for run in seen} == {("below",)}


def turned_back(world: World) -> Workflow:
    """Return `steps` of which the last fails for good."""
    return steps(world, fails=99)


def cut_undos(run: Explored) -> int:
    """Return how many undos of *run* were cut off."""
    under_way = count = 0
    for event in run.events:
        if isinstance(event, ev.RunResumed):
            count, under_way = count + under_way, 0
        under_way += isinstance(event, ev.UndoStarted) - isinstance(event, ev.UndoSucceeded)
    return count


class TestAsked:
    def test_holds(self) -> None:
        """Where nobody has said what to do, a run that was cut off in a step waits for a person."""
        report, seen = crashed(switch, faults=1)

        assert report.ok
        assert report.endings == {"crashed": 1, "held": 2, "succeeded": 1 + 3}
        for run in seen:
            if run.status == "held":
                assert run.state.held == {"deploy": None}
                assert run.state.tasks["deploy"].status == "interrupted"

    def test_pairs(self) -> None:
        """What is held stays so through another crash, and nobody is asked twice."""
        report, seen = crashed(switch)
        held = [run for run in seen if run.status == "held" and len(run.faults) == 2]

        assert report.ok
        assert report.endings.keys() == {"crashed", "held", "succeeded"}
        for run in held:
            asked = [event for event in run.events if isinstance(event, ev.IntentRaised)]
            assert [one.intent for one in asked] == ["hold"]
        assert {"(run_resumed)" in script(run)[1] for run in held} == {True, False}

    @pytest.mark.parametrize(
        ("kind", "ends"), [("cancel", "cancelled"), ("roll_back", "rolled_back")]
    )
    def test_operator(self, kind: Any, ends: str) -> None:
        """A run that is held because nobody knows can be given up, and turned back."""
        report, seen = crashed(switch, kinds=["crash", kind])
        after = [run for run in seen if len(run.faults) == 2 and "crash" in script(run)[0]]
        given_up = [run for run in after if run.faults[1].kind == kind and run.status == ends]

        assert report.ok
        assert any(
            isinstance(event, ev.TaskInterrupted) for run in given_up for event in run.events
        )
        if ends == "rolled_back":
            assert all(run.after == run.before for run in given_up)


class TestLooks:
    @pytest.mark.parametrize(
        ("answer", "ends", "attempts"),
        [
            (lambda: Applied("found"), "succeeded", 1),
            (lambda: NOT_APPLIED, "succeeded", 2),
            (lambda: UNKNOWN, "held", 1),
            (lambda: 1 / 0, "held", 1),
            (lambda: "yes", "held", 1),
        ],
    )
    def test_answers(self, answer: Callable[[], Any], ends: str, attempts: int) -> None:
        """What the function answers decides, and what it does not know is left to a person."""
        world, heard = World(), list[str]()

        def make() -> Workflow:
            workflow = switch(world, lambda: "done", on_interrupt=answer)
            workflow.add_task("check", lambda deploy: heard.append(deploy), depends_on="deploy")
            return workflow

        fault = Fault("after record 2 (task_started deploy)", "crash")
        seen: list[Explored] = []
        report = replay(make, world=world, faults=[fault], invariants=[seen.append])

        assert report.ok
        assert report.endings == {ends: 1}
        assert seen[0].state.tasks["deploy"].attempt == attempts
        assert heard == {"held": [], "succeeded": ["found" if attempts == 1 else "done"]}[ends]

    def test_may_go_wrong_itself(self) -> None:
        """The function is called at points of its own, at which things go wrong too."""
        points: set[str] = set()
        world = World()

        def note(run: Explored) -> None:
            points.update(fault.point for fault in run.faults)

        report = explore(
            lambda: steps(world), world=world, kinds=["crash", "fails"], invariants=[note]
        )

        assert report.ok
        assert "on_interrupt= of looked#1 begins" in points
        assert report.endings["held"] > 0


class TestAnotherProcess:
    def test_variables_are_gone(self) -> None:
        """What a function kept in a variable is not there after a crash, and that is found."""

        def make(world: World) -> Workflow:
            workflow = remembering(world)
            workflow.add_task("verify", break_down, depends_on="deploy", on_interrupt="rerun")
            return workflow

        world = World()
        report = explore(made(make, world), world=world, kinds=CRASH)

        assert report.counterexample is not None
        assert [v.invariant for v in report.counterexample.violations] == [AS_BEFORE]
        assert script(report.counterexample.run) == [
            "after record 3 (task_succeeded deploy): crash"
        ]

    def test_world_goes_on(self) -> None:
        """While the engine is down a minute passes, and what is planned happens."""
        world = World()
        world.at("30s", lambda: world.config.update(drift=True))
        seen: list[Explored] = []

        report = replay(
            lambda: switch(world),
            world=world,
            faults=[Fault("after record 1 (run_started)", "crash")],
            invariants=[seen.append],
        )

        assert report.ok
        assert seen[0].elapsed_s == 60
        assert [(change.at_s, change.what) for change in seen[0].history] == [
            (30, "config drift"),
            (60, "config mode"),
        ]

    def test_locks(self) -> None:
        """The lock is taken again, each time with a greater epoch."""
        _, seen = crashed(steps, faults=1)

        for run in seen:
            taken = [event.epoch for event in run.events if isinstance(event, ev.LockAcquired)]
            assert taken == sorted(set(taken))
            assert len(taken) == 1 + ("lock_acquired" in kinds_before_crash(run))

    @pytest.mark.parametrize(
        "point", ["before record 4 (run_unpaused)", "after record 2 (run_paused)"]
    )
    def test_pause(self, point: str) -> None:
        """A pause outlives the engine, and ends although nobody heard of its end."""
        world = World()
        faults = [Fault("after record 1 (run_started)", "pause"), Fault(point, "crash")]
        seen: list[Explored] = []

        report = replay(lambda: switch(world), world=world, faults=faults, invariants=[seen.append])

        kinds = [event.kind for event in seen[0].events]
        assert report.ok
        assert report.endings == {"succeeded": 1}
        assert (
            kinds.index("run_resumed") < kinds.index("run_unpaused") < kinds.index("task_started")
        )

    def test_condition_is_asked_again(self) -> None:
        """An answer that was lost with its engine does not count; the next one does."""
        world = World()
        world.at("30s", lambda: world.config.update(ready=True))

        def make() -> Workflow:
            return switch(world, when=lambda: "ready" in world.config)

        seen: list[Explored] = []
        report = explore(
            make, world=world, kinds=CRASH, faults=1, invariants=[seen.append], prune=False
        )

        assert report.ok
        whens = [[c.label for c in run.calls if c.role == "when"] for run in seen]
        assert ["when= of deploy#1", "when= of deploy#2"] in whens
        assert {run.state.tasks["deploy"].status for run in seen} >= {"skipped", "succeeded"}

    def test_points_of_repeated_calls(self) -> None:
        """A call that is made again after a crash has points of its own, so each can go wrong."""

        def finalized(world: World) -> Workflow:
            workflow = switch(world)
            workflow.add_finalizer("report", lambda: None, timeout="1m")
            return workflow

        report, seen = crashed(finalized, kinds=["crash", "fails"])
        scripts = [script(run) for run in seen]

        assert report.ok
        assert [
            "before record 6 (finalizer_succeeded): crash",
            "finalizer report#2 begins: fails",
        ] in scripts


def kinds_before_crash(run: Explored) -> list[str]:
    """Return the kinds of what was recorded before the run was taken up; nothing if it was not."""
    kinds = [event.kind for event in run.events]
    return kinds[: kinds.index("run_resumed")] if "run_resumed" in kinds else []
