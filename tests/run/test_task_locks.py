"""Locks of single tasks: taken before the task starts, kept for its undo, given back after that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pyflow
from pyflow.record.locks import MemoryLocks
from pyflow.testing import run_virtual
from pyflow.testing.simulation import SimulatedEngine
from support.crashes import Disk
from support.shop import Shop

if TYPE_CHECKING:
    from pathlib import Path


def kinds(result: pyflow.Result, *, of: tuple[str, ...] = ()) -> list[str]:
    """Return the kinds of the records of a run, or those among *of*."""
    return [r.kind for r in result.audit_trail if not of or r.kind in of]


def steps(shop: Shop, *, undo: bool = False, **options: Any) -> pyflow.Workflow:
    """A workflow of three tasks of a minute each, of which the middle one needs a lock."""
    wf = pyflow.Workflow("steps")
    wf.add_task("a", shop.act("a", takes=60), **options)
    wf.add_task("b", shop.act("b", takes=60), depends_on=["a"], locks=["db"], **options)
    wf.add_task("c", shop.act("c", takes=60), depends_on=["b"], **options)
    if undo:
        wf.add_recovery("b", shop.act("undo b"))
    return wf


def seconds_of(result: pyflow.Result, kind: str) -> list[float]:
    """Return when records of *kind* were made, in seconds after the run began."""
    began = result.audit_trail[0].at
    return [(r.at - began).total_seconds() for r in result.audit_trail.query(kind=kind)]


class TestTurns:
    def test_without_an_undo(self) -> None:
        """Only the task itself keeps others away, and its record says for what it has the lock."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            return [await run for run in [engine.start(steps(Shop())) for _ in range(2)]]

        first, second = run_virtual(main())

        assert (first.metrics.wall_s, second.metrics.wall_s) == (180, 240)
        (taken,) = first.audit_trail.query(kind="lock_acquired")
        assert dict(taken.data) == {
            "resource": "db",
            "epoch": 1,
            "waited_s": 0.0,
            "task": "b",
        }
        of = ("lock_acquired", "lock_released", "task_started", "task_succeeded")
        b = [
            ("task_started", "a"),
            ("task_succeeded", "a"),
            ("lock_acquired", "b"),
            ("task_started", "b"),
            ("task_succeeded", "b"),
            ("lock_released", None),
            ("task_started", "c"),
            ("task_succeeded", "c"),
        ]
        assert [(r.kind, r.task) for r in first.audit_trail if r.kind in of] == b
        assert seconds_of(second, "lock_acquired") == [120]

    def test_with_an_undo(self) -> None:
        """A task with an undo keeps its lock to the end of the run: nobody gets in between."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            return [await run for run in [engine.start(steps(Shop(), undo=True)) for _ in range(2)]]

        first, second = run_virtual(main())

        assert (first.metrics.wall_s, second.metrics.wall_s) == (180, 180 + 120)
        assert kinds(first)[-2:] == ["lock_released", "run_finished"]

    def test_the_undo_runs_under_the_same_lock(self) -> None:
        """An undo is told the epoch that its task was told."""
        seen: list[int] = []
        wf = pyflow.Workflow("w")

        @wf.task(locks=["db"])
        async def b(ctx: pyflow.AsyncContext) -> None:
            seen.append(ctx.fencing_token)

        @wf.recovery(b)
        async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
            seen.append(ctx.fencing_token)

        wf.add_task("c", Shop().act("c", fails=9), depends_on=["b"])

        assert pyflow.Engine().execute(wf).status == "rolled_back"
        assert seen == [1, 1]

    def test_a_map_takes_it_once(self) -> None:
        """The items of a map share its lock, which is given back after the last of them."""
        wf = pyflow.Workflow("w")
        wf.add_map("m", lambda item: item, over=[1, 2, 3], max_parallel=1, locks=["db"])
        wf.add_task("after", lambda: None, depends_on=["m"])

        result = pyflow.Engine().execute(wf)

        assert result.tasks["m"].output == [1, 2, 3]
        assert kinds(result, of=("lock_acquired", "lock_released")) == [
            "lock_acquired",
            "lock_released",
        ]

    def test_two_tasks_of_one_run(self) -> None:
        """Tasks of one run share what it has, and do not ask for it twice."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", Shop().act("a", takes=60), locks=["db"])
        wf.add_task("b", Shop().act("b", takes=90), locks=["db", "web"])

        async def main() -> pyflow.Result:
            return await SimulatedEngine().start(wf)

        result = run_virtual(main())

        assert result.metrics.wall_s == 90
        assert [r.data["resource"] for r in result.audit_trail.query(kind="lock_acquired")] == [
            "db",
            "web",
        ]

    def test_over_processes(self, tmp_path: Path) -> None:
        """On disk it is the same: the lock is free for others as soon as the task has settled."""
        path, held = tmp_path / "deploys.db", list[bool]()
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            inner = pyflow.Workflow("inner", locks=["db"])
            inner.add_task("a", lambda: held.append(True))
            wf = pyflow.Workflow("w")
            wf.add_task("b", lambda: None, locks=["db"])
            wf.add_task("pause", lambda ctx: ctx.sleep(0.1), depends_on=["b"])
            wf.add_task("c", lambda: two.execute(inner).status, depends_on=["pause"])

            result = one.execute(wf)

        assert (result.tasks["c"].output, held) == ("succeeded", [True])


class TestRefused:
    def test_the_task_fails(self) -> None:
        """A task whose lock cannot be had fails without having been tried, and what was done is undone."""
        locks, shop = MemoryLocks(), Shop()
        locks.release(run_virtual(locks.acquire("r", ["db"])), residue=True)
        wf = steps(shop)
        wf.add_recovery("a", shop.act("undo a"))

        async def main() -> pyflow.Result:
            return await SimulatedEngine(locks=locks).start(wf)

        result = run_virtual(main())

        assert result.status == "rolled_back"
        assert result.error is not None
        assert (result.error.type, result.tasks["b"].attempts) == ("LockError", 0)
        assert "run r left residue there" in result.error.message
        assert shop.did == ["a 1", "undo a 1"]

    def test_while_another_has_it(self) -> None:
        """A workflow that does not want to wait fails where its task's lock is held."""
        locks = MemoryLocks()
        wf = pyflow.Workflow("w", on_locked="fail")
        wf.add_task("b", lambda: None, locks=["db"])

        async def main() -> pyflow.Result:
            await locks.acquire("r", ["db"])
            return await SimulatedEngine(locks=locks).start(wf)

        result = run_virtual(main())

        assert result.error is not None
        assert "'db' is held by run r" in result.error.message

    def test_cancelled_while_it_waits(self) -> None:
        """A run that is cancelled asks for nothing any more."""
        locks = MemoryLocks()

        async def main() -> tuple[str, str]:
            await locks.acquire("r", ["db"])
            run = SimulatedEngine(locks=locks).start(steps(Shop()))
            await asyncio.sleep(90)
            run.cancel()
            return (await run).status, repr(locks)

        assert run_virtual(main()) == ("cancelled", "<MemoryLocks held=1 waiting=0>")

    def test_paused(self) -> None:
        """A run that is paused asks for no lock until it goes on."""
        locks = MemoryLocks()

        async def main() -> tuple[str, str]:
            run = SimulatedEngine(locks=locks).start(steps(Shop()))
            await asyncio.sleep(30)
            run.pause()
            await asyncio.sleep(90)
            during = repr(locks)
            run.unpause()
            return during, (await run).status

        assert run_virtual(main()) == ("<MemoryLocks held=0 waiting=0>", "succeeded")


class TestResidue:
    def test_keeps_its_own_locks(self) -> None:
        """Only what is still applied bars its resources."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", Shop().act("a"), locks=["a"])
        wf.add_recovery("a", Shop().act("undo a", fails=9))
        wf.add_task("b", Shop().act("b"), depends_on=["a"], locks=["b"])
        wf.add_recovery("b", Shop().act("undo b"))
        wf.add_task("c", Shop().act("c", fails=9), depends_on=["b"])
        locks = MemoryLocks()

        async def main() -> pyflow.Result:
            return await SimulatedEngine(locks=locks).start(wf)

        result = run_virtual(main())

        assert result.residue == ("a",)
        assert (locks.left(result.run_id), locks.refusal(["b"])) == (["a"], None)


class TestAfterACrash:
    @pytest.mark.parametrize("undo", [True, False])
    def test_is_taken_again(self, undo: bool) -> None:
        """A run that died in the middle of the task takes its lock again before anything else."""
        wf = steps(Shop(), undo=undo, on_interrupt="rerun")
        disk = Disk().crash(wf, 90)

        assert disk.locks.refusal(["db"]) is not None
        assert disk.resume(steps(Shop(), undo=undo, on_interrupt="rerun")).status == "succeeded"
        assert [lock["epoch"] for lock in disk.data("lock_acquired")] == [1, 2]
        assert disk.kinds()[disk.kinds().index("run_resumed") + 1] == "lock_acquired"
        assert disk.locks.refusal(["db"]) is None

    def test_is_not_taken_for_what_is_done(self) -> None:
        """What was given back before the crash is not asked for again."""
        disk = Disk().crash(steps(Shop(), on_interrupt="rerun"), 150)

        assert disk.locks.refusal(["db"]) is None
        disk.resume(steps(Shop(), on_interrupt="rerun"))
        assert len(disk.data("lock_acquired")) == 1

    @pytest.mark.parametrize("undo", [True, False])
    def test_anywhere(self, undo: bool) -> None:
        """Wherever a run is cut off, and whether it goes on or back, nothing is barred at its end."""
        whole = Disk()
        whole.resume(steps(Shop(), undo=undo))
        for commits in range(1, whole.commits):
            for way in (None, "it was wrong"):
                disk = Disk().cut(steps(Shop(), undo=undo, on_interrupt="rerun"), commits)
                wf = steps(Shop(), undo=undo, on_interrupt="rerun")
                status = disk.resume(wf, roll_back=way).status
                assert status == ("succeeded" if way is None else "rolled_back"), commits
                assert disk.locks.left(disk.run_id) == []
                assert disk.locks.refusal(["db"]) is None

    def test_taken_and_not_recorded(self) -> None:
        """A lock that was taken just before the crash, and is on no record, is given back as well."""
        disk = Disk().crash(steps(Shop(), undo=True), 30)
        run_virtual(disk.locks.acquire(disk.run_id, ["db"]))
        disk.locks.orphan()

        assert disk.rollback(steps(Shop(), undo=True), "no").status == "rolled_back"
        assert disk.locks.refusal(["db"]) is None
        assert disk.kinds().count("lock_released") == 1

    def test_rolled_back_after_its_end(self) -> None:
        """A run that has ended takes the locks of what it undoes, and only those."""

        def stopped() -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="stop")
            wf.add_task("a", Shop().act("a"), locks=["a"])
            wf.add_task("b", Shop().act("b"), depends_on=["a"], locks=["b"])
            wf.add_recovery("b", Shop().act("undo b"))
            wf.add_task("c", Shop().act("c", fails=9), depends_on=["b"])
            return wf

        disk = Disk()
        disk.resume(stopped())
        count = len(disk.records)

        assert disk.rollback(stopped(), "no").status == "rolled_back"
        later = [r.data["resource"] for r in disk.records[count:] if r.kind == "lock_acquired"]
        assert later == ["b"]
