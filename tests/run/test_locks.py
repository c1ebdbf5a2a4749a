"""Whole runs that want one resource: who has it, who waits, and who has lost it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

import pyflow
from pyflow.errors import LockHeld, LockLost, LockMoved, RunAlive
from pyflow.notifiers import Log
from pyflow.protocols import Lease
from pyflow.record.locks import MemoryLocks
from pyflow.testing import run_virtual
from pyflow.testing.simulation import SimulatedEngine
from support import isolated_tasks
from support.crashes import Disk
from support.journals import note_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyflow.record.codec import Record
    from pyflow.record.sqlite.journal import SQLiteJournal

GUARD_S = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "deploys.db"


class Gate:
    """A task that has begun, and goes on when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.go_on.wait(GUARD_S)


def slow(gate: Gate) -> pyflow.Workflow:
    """A workflow whose task waits at *gate*, and another that follows."""
    workflow = pyflow.Workflow("slow", locks=["shop"])
    workflow.add_task("a", gate)
    workflow.add_task("b", lambda: None, depends_on=["a"])
    return workflow


def quick() -> pyflow.Workflow:
    """A workflow that does nothing, and needs the same resource for it."""
    workflow = pyflow.Workflow("quick", locks=["shop"])
    workflow.add_task("a", lambda: None)
    return workflow


class TestOnDisk:
    @pytest.mark.parametrize("taken", [True, False], ids=["taken", "broken"])
    def test_moved(self, path: Path, taken: bool) -> None:
        """A run whose lock was broken writes nothing more, and is never taken up again."""
        gate = Gate()
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            run = one.start(slow(gate))
            assert gate.begun.wait(GUARD_S)
            two.break_lock("shop", by="ann", reason="it hangs")
            if taken:
                assert two.execute(quick()).status == "succeeded"
            gate.go_on.set()
            with pytest.raises(pyflow.JournalError) as lost:
                run.wait(GUARD_S)
            with pytest.raises(LockMoved) as moved:
                two.resume(run.id, slow(gate))
            with pytest.raises(LockMoved):
                two.rollback(run.id, slow(gate), reason="no")
            kinds = [record.kind for record in two.trail(run.id)]

        assert isinstance(lost.value.__cause__, LockLost)
        assert (moved.value.lease.epoch, moved.value.epoch) == (1, 3 if taken else 2)
        assert kinds == ["run_started", "lock_acquired", "task_started"]

    def test_alive(self, path: Path) -> None:
        """A run that is alive in another engine is refused as alive, also where it has locks."""
        gate = Gate()
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            run = one.start(slow(gate))
            assert gate.begun.wait(GUARD_S)
            with pytest.raises(RunAlive, match=f"run {run.id} is alive"):
                two.resume(run.id, slow(gate))
            gate.go_on.set()

            assert run.wait(GUARD_S).status == "succeeded"

    def test_resume_all_reads_what_has_not_ended(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Resuming all reads the runs that have not ended, and no others, however many those are."""
        asking = pyflow.Workflow("asking")
        asking.add_approval("go", "Shall it go on?")
        quick = pyflow.Workflow("quick")
        quick.add_task("a", lambda: None)
        with pyflow.Engine(journal=path) as engine:
            held = [engine.execute(wf).run_id for wf in (quick, asking, quick, asking)][1::2]
        with pyflow.Engine(journal=path) as engine:
            reads = note_reads(engine.journal, monkeypatch)
            results = engine.resume_all([asking, quick])

        assert list(results) == held
        assert set(reads) == {*held}

    def test_keeps_nothing_of_what_it_let_go(self, path: Path) -> None:
        """An engine keeps nothing of a run that it has let go of, and can take it up again."""
        asking = pyflow.Workflow("asking")
        asking.add_approval("go", "Shall it go on?")
        with pyflow.Engine(journal=path, notifiers=[Log()]) as engine:
            journal = cast("SQLiteJournal", engine.journal)
            held = [engine.execute(asking) for _ in range(2)]
            assert engine.wait_delivered()
            run = engine.reopen(held[0].run_id, asking)
            run.approve("go", by="ann")
            ended = run.wait(GUARD_S)

        assert [run.status for run in (*held, ended)] == ["held", "held", "succeeded"]
        assert (journal._believed, journal._sure) == ({}, set())

    def test_resume_all(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Resuming all leaves alone what is alive elsewhere and what is lost, and says so."""
        gates = [Gate(), Gate()]
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            lost = one.start(slow(gates[0]))
            assert gates[0].begun.wait(GUARD_S)
            two.break_lock("shop", by="ann", reason="it hangs")
            alive = two.start(slow(gates[1]))
            assert gates[1].begun.wait(GUARD_S)
            gates[0].go_on.set()
            with pytest.raises(pyflow.JournalError):
                lost.wait(GUARD_S)
            caplog.clear()
            results = one.resume_all([slow(gates[0])])
            gates[1].go_on.set()
            alive.wait(GUARD_S)

        assert results == {}
        assert [text.partition(": ")[0] for text in caplog.messages] == [
            f"run {lost.id} is left alone",
            f"run {alive.id} is left alone",
        ]


def sleepy(name: str = "sleepy", **options: Any) -> pyflow.Workflow:
    """A workflow that has the resource for ten minutes."""
    workflow = pyflow.Workflow(name, locks=["shop"], **options)

    @workflow.task
    async def deploy(ctx: pyflow.AsyncContext) -> None:
        await ctx.sleep("10m")

    return workflow


def failing() -> pyflow.Workflow:
    """A workflow that fails at once, and needs ten minutes for its undo."""
    workflow = pyflow.Workflow("failing", locks=["shop"])

    @workflow.task
    async def deploy() -> None:
        raise ValueError("no")

    @workflow.recovery(deploy)
    async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
        await ctx.sleep("10m")

    return workflow


def asked(result: pyflow.Result) -> list[dict[str, Any]]:
    """Return what was asked of a run."""
    return [dict(record.data) for record in result.audit_trail.query(kind="command_received")]


class TestFail:
    def test_nothing_is_recorded(self) -> None:
        """Who does not want to wait hears who has the resource and since when, and leaves no record."""

        async def main() -> None:
            engine = SimulatedEngine()
            holder = engine.start(sleepy())
            await asyncio.sleep(120)
            with pytest.raises(LockHeld, match=f"held by run {holder.id} since .*, 2 min ago") as e:
                engine.start(sleepy(on_locked="fail"))
            assert e.value.holder is not None
            assert e.value.holder.lease == Lease("shop", holder.id, 1)
            assert list(engine.journal.runs()) == [holder.id]
            await holder

        run_virtual(main())

    def test_in_a_race(self) -> None:
        """Of two that begin together one gets it; the other ends as failed before it has begun."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            both = [engine.start(sleepy(on_locked="fail")) for _ in range(2)]
            return [await run for run in both]

        first, second = run_virtual(main())

        assert [first.status, second.status] == ["succeeded", "failed"]
        assert second.tasks["deploy"].status == "cancelled"
        assert f"held by run {first.run_id}" in (second.tasks["deploy"].reason or "")

    def test_on_disk(self, path: Path) -> None:
        """Over processes it is the same."""
        gate = Gate()
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            run = one.start(slow(gate))
            assert gate.begun.wait(GUARD_S)
            with pytest.raises(LockHeld, match=f"held by run {run.id} since"):
                two.execute(sleepy(on_locked="fail"))
            gate.go_on.set()
            run.wait(GUARD_S)

            assert list(two.journal.runs()) == [run.id]


class TestCancelHolder:
    def test_cancels(self) -> None:
        """The holder ends as cancelled, and both records say by whom and why."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            old = engine.start(sleepy("old"))
            await asyncio.sleep(60)
            new = engine.start(sleepy("new", on_locked="cancel_holder"), initiator="ann")
            return [await old, await new]

        old, new = run_virtual(main())

        assert (old.status, new.status) == ("cancelled", "succeeded")
        assert (old.metrics.wall_s, new.metrics.wall_s) == (60, 600)
        (command,) = asked(old)
        assert (command["command"], command["accepted"], command["by"]) == ("cancel", True, "ann")
        assert command["reason"] == f"run {new.run_id} of 'new' needs 'shop'"
        (told,) = new.audit_trail.query(kind="holder_asked")
        assert dict(told.data) == {"resource": "shop", "epoch": 1, "holder": old.run_id}

    def test_rolls_back(self) -> None:
        """A run that supersedes has the holder roll back, and begins once nothing is left of it."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            workflow = sleepy("old")
            workflow.add_recovery(workflow.tasks[0].name, lambda: None)
            old = engine.start(workflow)
            await asyncio.sleep(60)
            new = engine.start(sleepy("new", on_locked="roll_back_holder"), initiator="ann")
            return [await old, await new]

        old, new = run_virtual(main())

        assert (old.status, new.status) == ("rolled_back", "succeeded")
        (command,) = asked(old)
        assert (command["command"], command["accepted"], command["by"]) == ("rollback", True, "ann")
        (told,) = new.audit_trail.query(kind="holder_asked")
        assert told.data["command"] == "rollback"

    def test_cancels_who_comes_between(self) -> None:
        """Those who waited longer are served in their turn, and asked to cancel then."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            runs = [engine.start(sleepy()) for _ in range(3)]
            await asyncio.sleep(60)
            runs.append(engine.start(sleepy(on_locked="cancel_holder")))
            return [await run for run in runs]

        results = run_virtual(main())

        assert [result.status for result in results] == [*["cancelled"] * 3, "succeeded"]
        told = results[-1].audit_trail.query(kind="holder_asked")
        assert [record.data["holder"] for record in told] == [r.run_id for r in results[:3]]

    def test_the_newest_wins(self) -> None:
        """Of several that cancel whoever has it, the last one gets through."""

        async def main() -> list[str]:
            engine = SimulatedEngine()
            runs: list[pyflow.Run] = []
            for _ in range(4):
                runs.append(engine.start(sleepy(on_locked="cancel_holder")))
                await asyncio.sleep(60)
            return [(await run).status for run in runs]

        assert run_virtual(main()) == [*["cancelled"] * 3, "succeeded"]

    def test_waits_for_a_rollback(self) -> None:
        """A holder that is rolling back goes on with that, and the new run waits for its end."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            old = engine.start(failing())
            await asyncio.sleep(60)
            new = engine.start(sleepy(on_locked="cancel_holder"))
            return [await old, await new]

        old, new = run_virtual(main())

        assert (old.status, new.status) == ("rolled_back", "succeeded")
        assert new.metrics.wall_s == 540 + 600
        (command,) = asked(old)
        assert (command["accepted"], command["note"]) == (False, "the run already aims at rollback")

    def test_a_dead_holder(self) -> None:
        """Who is dead cannot be cancelled: that one is resumed or rolled back first."""
        locks = MemoryLocks()

        async def main() -> None:
            await locks.acquire("r", ["shop"])
            locks.orphan()
            with pytest.raises(pyflow.LockError, match="run r has had it and is unfinished"):
                SimulatedEngine(locks=locks).start(sleepy(on_locked="cancel_holder"))

        run_virtual(main())

    def test_out_of_reach(self, caplog: pytest.LogCaptureFixture) -> None:
        """A holder that this engine cannot reach is waited for, and the log says so."""
        locks = MemoryLocks()

        async def main() -> str:
            leases = await locks.acquire("r", ["shop"])
            run = SimulatedEngine(locks=locks).start(sleepy(on_locked="cancel_holder"))
            await asyncio.sleep(60)
            locks.release(leases)
            return (await run).status

        assert run_virtual(main()) == "succeeded"
        assert "could not ask run r to cancel, and waits for it: no run 'r'" in caplog.text

    def test_cancelled_itself(self) -> None:
        """A run that is to end by then asks nobody."""

        async def main() -> list[pyflow.Result]:
            engine = SimulatedEngine()
            old = engine.start(sleepy())
            await asyncio.sleep(60)
            new = engine.start(sleepy(on_locked="cancel_holder"))
            new.cancel()
            return [await old, await new]

        assert [r.status for r in run_virtual(main())] == ["succeeded", "cancelled"]

    def test_over_processes(self, path: Path) -> None:
        """A holder of another engine is asked by the inbox, and takes it up."""
        gate = Gate()
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            old = one.start(slow(gate))
            assert gate.begun.wait(GUARD_S)
            workflow = pyflow.Workflow("new", locks=["shop"], on_locked="cancel_holder")
            workflow.add_task("a", lambda: None)
            new = two.start(workflow, initiator="ann")
            for record in followed(old):
                if record.kind == "command_received":
                    break
            gate.go_on.set()
            results = [old.wait(GUARD_S), new.wait(GUARD_S)]

        assert [result.status for result in results] == ["cancelled", "succeeded"]
        (command,) = asked(results[0])
        assert (command["by"], command["inbox_id"]) == ("ann", "1")
        assert results[0].tasks["b"].status == "cancelled"


def followed(run: pyflow.Run) -> Iterator[Record]:
    """Yield the records of *run* as they are made."""
    with asyncio.Runner() as runner:
        events = run.events()
        while True:
            yield runner.run(asyncio.wait_for(anext(events), GUARD_S))


class TestFencingTokens:
    def test_one(self) -> None:
        """A task and its undo are told the epoch of the lock, plain or async; a later run gets a higher one."""
        seen: list[object] = []
        workflow = pyflow.Workflow("w", locks=["shop"])

        @workflow.task
        def plain(ctx: pyflow.Context) -> None:
            seen.append(ctx.fencing_token)

        @workflow.task(depends_on=[plain])
        async def deploy(ctx: pyflow.AsyncContext) -> None:
            seen.append(dict(ctx.fencing_tokens))
            raise ValueError("no")

        @workflow.recovery(deploy)
        async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
            seen.append(ctx.fencing_token)

        engine = pyflow.Engine()
        engine.execute(workflow)
        engine.execute(workflow)

        assert seen == [1, {"shop": 1}, 1, 2, {"shop": 2}, 2]

    def test_after_a_resume(self) -> None:
        """A run that is taken up has a new epoch."""

        def workflow(seen: list[int]) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", locks=["shop"])

            @wf.task(on_interrupt="rerun")
            async def deploy(ctx: pyflow.AsyncContext) -> None:
                seen.append(ctx.fencing_token)
                await ctx.sleep("1m")

            return wf

        seen: list[int] = []
        Disk().crash(workflow(seen), 5).resume(workflow(seen))

        assert seen == [1, 2]

    def test_several(self) -> None:
        """Where there are several locks, or none, the text says what to do."""
        said: list[str] = []

        def ask(ctx: pyflow.Context) -> dict[str, int]:
            with pytest.raises(pyflow.LockError) as caught:
                _ = ctx.fencing_token
            said.append(str(caught.value))
            return dict(ctx.fencing_tokens)

        def tokens(*locks: str) -> dict[str, int]:
            workflow = pyflow.Workflow("w", locks=locks)
            workflow.add_task("ask", ask)
            return pyflow.Engine().execute(workflow).tasks["ask"].output

        assert [tokens("b", "a"), tokens()] == [{"a": 1, "b": 1}, {}]
        assert [text.partition(", and this has ")[2] for text in said] == [
            "2 locks, a, b; take one from ctx.fencing_tokens",
            "no lock; name the resource in locks=",
        ]

    @pytest.mark.parametrize(
        ("fn", "output"),
        [(isolated_tasks.fences, {"shop": 1}), (isolated_tasks.fences_async, [1, 1])],
    )
    def test_isolated(self, fn: Callable[..., Any], output: object) -> None:
        """A task in a process of its own is told as well."""
        workflow = pyflow.Workflow("w", locks=["shop"])
        workflow.add_task("a", fn, isolation="process")

        assert pyflow.Engine().execute(workflow).tasks["a"].output == output
