"""Running workflows: where, how many at once, and what may be asked of a run meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import pyflow
from pyflow.errors import EngineError
from pyflow.protocols import Lease
from pyflow.record.codec import Record
from pyflow.record.events import Event
from pyflow.record.memory import MemoryJournal
from pyflow.testing import simulate
from pyflow.testing.loop import run_virtual
from support.runs import Journal, kinds, run, statuses, virtual_engine


@dataclass
class Image:
    """What a build makes."""

    name: str
    tags: list[str]


class TestData:
    def test_flows_by_name(self) -> None:
        """Outputs, parameters and the context arrive by parameter name, as their annotated types."""
        workflow = pyflow.Workflow("w", params={"version": str, "replicas": 2})
        seen: list[Any] = []

        @workflow.task
        async def build(version: str) -> Image:
            return Image("shop", [version])

        @workflow.task
        async def deploy(ctx: pyflow.AsyncContext, build: Image, replicas: int) -> int:
            seen.append((build, replicas, ctx.task, ctx.attempt, ctx.params["version"]))
            return replicas

        result = run(workflow, params={"version": "2.3.1"})

        assert seen == [(Image("shop", ["2.3.1"]), 2, "deploy", 1, "2.3.1")]
        assert result.tasks["build"].output == Image("shop", ["2.3.1"])
        assert result.tasks["deploy"].output == 2

    def test_is_never_shared(self) -> None:
        """A task that changes its input changes it for nobody else."""
        workflow = pyflow.Workflow("w")
        seen: list[Any] = []

        @workflow.task
        async def make() -> dict[str, list[int]]:
            return {"a": [1]}

        @workflow.task
        async def one(make: dict[str, list[int]]) -> None:
            make["a"].append(2)

        @workflow.task(depends_on=[one])
        async def two(make: dict[str, list[int]]) -> None:
            seen.append(make)

        run(workflow)

        assert seen == [{"a": [1]}]

    def test_of_a_skipped_task_is_the_default(self) -> None:
        """From a task that gave nothing, the input is the parameter's default, else None."""
        workflow = pyflow.Workflow("w")
        seen: list[Any] = []

        @workflow.task
        async def start() -> int:
            return 1

        @workflow.task(when=lambda start: start > 1)
        async def maybe(start: int) -> int:
            return start

        @workflow.task
        async def end(
            ctx: pyflow.AsyncContext, start: int, maybe: int = 7, *, other: str | None = None
        ) -> None:
            seen.append((start, maybe, other, ctx.outcome("maybe")))

        run(workflow)

        assert seen == [(1, 7, None, "skipped")]

    def test_that_does_not_fit_fails_the_task(self) -> None:
        """An output of another type than the consumer asks for is a clear failure, not tried again."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", Journal().does("a", "text"))

        @workflow.task(retry=pyflow.Retry(3))
        async def b(a: int) -> None:
            pass

        result = run(workflow)

        assert result.error is not None
        assert result.error.message == "a: expected int, found 'text'"
        assert result.tasks["b"].attempts == 1

    def test_conditions_see_it(self) -> None:
        """``when=`` is asked with the same arguments; one that raises is a failure, never a skip."""
        workflow = pyflow.Workflow("w", on_failure="continue")
        workflow.add_task("a", Journal().does("a", 3))
        workflow.add_task("yes", Journal().does("yes"), when=lambda a: a == 3)
        workflow.add_task("no", Journal().does("no"), when=lambda a: a == 4)
        workflow.add_task("bad", Journal().does("bad"), when=lambda a: a.nothing)

        async def later(a: int) -> bool:
            return a == 3

        workflow.add_task("asynchronous", Journal().does("x"), when=later)

        result = run(workflow)

        assert statuses(result) == {
            "a": "succeeded",
            "yes": "succeeded",
            "no": "skipped",
            "bad": "failed",
            "asynchronous": "succeeded",
        }
        assert result.tasks["bad"].reason == "when= raised"


class TestPlainFunctions:
    def test_run_on_threads(self) -> None:
        """A plain function may block: it runs on a daemon thread of the engine's own."""
        names: list[tuple[str, bool]] = []
        both = threading.Barrier(2)

        def task() -> None:
            both.wait(timeout=5)
            thread = threading.current_thread()
            names.append((thread.name.split("-")[0], thread.daemon))

        workflow = pyflow.Workflow("w")
        workflow.add_task("a", task)
        workflow.add_task("b", task)

        result = pyflow.Engine().execute(workflow)

        assert result.status == "succeeded"
        assert names == [("pyflow", True)] * 2

    def test_wait_in_their_context(self) -> None:
        """``ctx.sleep`` blocks the thread and nothing else, in virtual time too."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        def nap(ctx: pyflow.Context) -> str:
            ctx.log("good night", pillows=2)
            ctx.sleep("8h")
            ctx.record_change("bed", before="made", after={"made": False})
            ctx.checkpoint("slept", 8)
            return f"{ctx.workflow} {ctx.task} {ctx.attempt} {ctx.checkpoints['slept']}"

        result = run(workflow)

        assert result.tasks["nap"].output == "w nap 1 8"
        assert result.metrics.wall_s == pytest.approx(8 * 3600)
        assert kinds(result)[2:5] == ["logged", "change_recorded", "checkpoint_saved"]

    def test_that_outlive_their_timeout(self) -> None:
        """A timed-out thread is reported as still running; it is not tried again while it lives."""
        release = threading.Event()
        calls: list[int] = []

        def stuck(ctx: pyflow.Context) -> None:
            calls.append(ctx.attempt)
            if ctx.attempt == 1:
                release.wait(60)

        async def watch(ctx: pyflow.AsyncContext) -> None:
            async for record in handle[0].events():
                if record.kind == "attempt_failed":
                    assert record.data["leftover"] is True
                    assert calls == [1]
                    release.set()
                    return

        workflow = pyflow.Workflow("w")
        workflow.add_task("stuck", stuck, timeout=0.5, retry=pyflow.Retry(2, backoff=0.001))
        workflow.add_task("watch", watch)
        handle: list[pyflow.Run] = []

        async def main() -> pyflow.Result:
            handle.append(pyflow.Engine().start(workflow))
            return await handle[0]

        result = asyncio.run(main())

        assert result.status == "succeeded"
        assert calls == [1, 2]
        assert "leftover_ended" in kinds(result)

    @pytest.mark.leaves("what waits for a thread that is given up is cancelled with the loop")
    def test_that_never_end(self) -> None:
        """A thread that outlives the drain is residue, never undone."""
        release = threading.Event()
        undone: list[int] = []

        def stuck() -> None:
            release.wait(5)

        def undo() -> None:
            undone.append(1)

        workflow = pyflow.Workflow("w")
        workflow.add_task("stuck", stuck, timeout=0.02)
        workflow.add_recovery("stuck", undo)

        result = pyflow.Engine(drain_timeout=0.05).execute(workflow)
        release.set()

        assert result.status == "rollback_failed"
        assert result.residue == ("stuck",)
        assert result.tasks["stuck"].still_running
        assert result.error is not None
        assert (
            result.error.message
            == "took longer than its timeout of 0.02 s and is still running on its thread"
        )
        assert undone == []

    def test_leave_no_thread_behind(self) -> None:
        """Once an engine has nothing to do, its threads end; it makes new ones when needed."""
        threads: list[threading.Thread] = []
        workflow = pyflow.Workflow("w")
        for name in "abc":
            workflow.add_task(name, lambda: threads.append(threading.current_thread()))
        engine = pyflow.Engine()

        for _ in range(2):
            engine.execute(workflow)

        for thread in threads:
            thread.join(timeout=10)
        assert [t for t in threads if t.is_alive()] == []
        assert len(threads) == 6

    def test_inline(self) -> None:
        """``isolation="inline"`` runs a plain function on the loop, where it must not wait."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        names: list[str] = []

        @workflow.task(isolation="inline")
        def here() -> None:
            names.append(threading.current_thread().name)

        @workflow.task(isolation="inline", depends_on=[here])
        def waits(ctx: pyflow.Context) -> None:
            ctx.sleep(1)

        result = run(workflow)

        assert names == ["MainThread"]
        assert result.error is not None
        assert "would block the whole run" in result.error.message

    def test_that_return_something_to_await(self) -> None:
        """Nobody would await it, so it is a failure that says so, and no warning."""
        workflow = pyflow.Workflow("w", on_failure="stop")

        async def work() -> None:
            pass

        workflow.add_task("a", lambda: work())

        result = run(workflow)

        assert result.error is not None
        assert "make it async" in result.error.message


class TestFailuresOfEveryKind:
    @pytest.mark.parametrize(
        "error",
        [
            KeyboardInterrupt(),
            SystemExit(3),
            GeneratorExit(),
            asyncio.CancelledError(),
            ExceptionGroup("g", [ValueError()]),
        ],
        ids=lambda e: type(e).__name__,
    )
    def test_are_the_tasks_own(self, error: BaseException) -> None:
        """Whatever a task raises is its failure; the engine survives, and rolls back."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.does("a"))
        workflow.add_recovery("a", did.does("undo a"))
        workflow.add_task("b", did.fails("b", error), depends_on=["a"])

        result = run(workflow)

        assert result.status == "rolled_back"
        assert did.done == ["a", "b", "undo a"]
        result.audit_trail.verify()

    @pytest.mark.parametrize("timeout", [None, "1m"])
    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt(), SystemExit(3)], ids=lambda e: type(e).__name__
    )
    def test_on_a_thread_too(self, error: BaseException, timeout: str | None) -> None:
        """A plain function may raise anything as well, and so may what takes it back and what ends."""

        def bad() -> None:
            raise error

        workflow = pyflow.Workflow("w")
        workflow.add_task("bad", bad, timeout=timeout)
        workflow.add_recovery("bad", bad, timeout=timeout)
        workflow.add_finalizer("end", bad, timeout=timeout)

        for result in (pyflow.Engine(environ={}).execute(workflow), simulate(workflow)):
            assert result.status == "rollback_failed"
            assert result.residue == ("bad",)
            assert result.error is not None
            assert result.error.type == type(error).__name__
            assert set(result.finalizer_errors) == {"end"}

    def test_with_a_broken_text(self) -> None:
        """An exception whose text cannot be made is recorded all the same, and a long one is cut."""

        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        workflow = pyflow.Workflow("w", on_failure="continue")
        workflow.add_task("a", Journal().fails("a", Broken()))
        workflow.add_task("b", Journal().fails("b", ValueError("x" * 5_000_000)))

        result = run(workflow)

        assert result.tasks["a"].error is not None
        assert "could not be made" in result.tasks["a"].error.message
        assert result.tasks["b"].error is not None
        assert len(result.tasks["b"].error.message) == 4_000

    def test_timeouts_of_async_functions(self) -> None:
        """An async function that takes too long is cancelled, and fails as a timeout."""
        workflow = pyflow.Workflow("w", on_failure="stop")

        @workflow.task(timeout="1m", retry=pyflow.Retry(2, on=TimeoutError, backoff=0))
        async def slow() -> None:
            await asyncio.sleep(3_600)

        result = run(workflow)

        assert isinstance(result.error, pyflow.TaskTimeout)
        assert result.error.message == "took longer than its timeout of 60 s"
        assert result.tasks["slow"].attempts == 2

    def test_a_cancel_that_is_swallowed(self) -> None:
        """A function that goes on after its timeout has still taken too long."""
        workflow = pyflow.Workflow("w", on_failure="stop")

        @workflow.task(timeout="1m")
        async def stubborn() -> str:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                await asyncio.sleep(60)
            return "done"

        result = run(workflow)

        assert isinstance(result.error, pyflow.TaskTimeout)
        assert "went on all the same" in result.error.message

    def test_groups_in_groups(self) -> None:
        """An exception group nested a hundred deep is recorded in short."""
        error: Any = ValueError("innermost")
        for _ in range(100):
            error = ExceptionGroup[Exception]("g", [error])
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", Journal().fails("a", error))

        result = run(workflow)

        assert result.error is not None
        assert result.error.message == "g (1 sub-exception)"

    def test_its_own_timeout_error_is_not_ours(self) -> None:
        """A TimeoutError of the function's own stays what it is."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", Journal().fails("a", TimeoutError("the database")), timeout="1m")

        result = run(workflow)

        assert result.error is not None
        assert (result.error.type, result.error.message) == ("TimeoutError", "the database")


class TestConcurrency:
    def peak(
        self, workflow: pyflow.Workflow, engine: pyflow.Engine, names: Sequence[str], runs: int = 1
    ) -> int:
        """Return how many tasks were under way at once."""
        now, most = 0, 0

        async def work(ctx: pyflow.AsyncContext) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await ctx.sleep("1s")
            now -= 1

        for name in names:
            workflow.add_task(name, work)

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(runs):
                    group.create_task(engine.run(workflow))

        run_virtual(main())
        return most

    def test_branches_run_in_parallel(self) -> None:
        """Tasks that do not depend on one another run at the same time."""
        assert self.peak(pyflow.Workflow("w"), virtual_engine(), "abc") == 3

    def test_workflow_limit(self) -> None:
        """A workflow's own limit holds for each of its runs."""
        assert self.peak(pyflow.Workflow("w", max_parallel=2), virtual_engine(), "abcde") == 2

    def test_engine_limit(self) -> None:
        """The engine's limit holds over all its runs, and none of them starves."""
        assert self.peak(pyflow.Workflow("w"), virtual_engine(max_parallel=3), "abcde", runs=4) == 3

    def test_environment_limit(self) -> None:
        """An environment's limits hold for what runs there."""
        workflow = pyflow.Workflow("w")
        place = pyflow.Environment("staging", limits={"max_parallel": 1, "task_timeout": "5s"})
        order: list[str] = []

        async def work(ctx: pyflow.AsyncContext) -> None:
            order.append("in")
            await ctx.sleep("1s")
            order.append("out")

        async def stuck() -> None:
            await asyncio.sleep(60)

        workflow.add_task("a", work)
        workflow.add_task("b", work)
        workflow.add_task("c", stuck)

        result = run(workflow, environment=place)

        assert order == ["in", "out", "in", "out"]
        assert result.tasks["c"].error is not None
        assert result.tasks["c"].error.type == "TaskTimeout"

    def test_hundred_runs_at_once(self) -> None:
        """Any number of runs go on at once in one engine, each with its own record."""
        workflow = pyflow.Workflow("w", params={"n": int})

        @workflow.task
        async def echo(n: int) -> int:
            return n

        async def main() -> list[pyflow.Result]:
            engine = virtual_engine()
            return await asyncio.gather(
                *(engine.run(workflow, params={"n": n}) for n in range(100))
            )

        results = run_virtual(main())

        assert [r.tasks["echo"].output for r in results] == list(range(100))
        assert len({r.run_id for r in results}) == 100

    def test_from_many_threads(self) -> None:
        """One engine may be used by many threads at the same time."""
        engine = pyflow.Engine(max_parallel=2)
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: threading.get_ident())
        workflow.add_task("b", Journal().does("b"), depends_on=["a"])
        statuses_seen: list[str] = []

        def work() -> None:
            statuses_seen.extend(engine.execute(workflow.check()).status for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)

        assert statuses_seen == ["succeeded"] * 40
        assert len(engine.journal.runs()) == 40

    def test_half_a_million_edges(self) -> None:
        """A graph in which each task waits for all before it compiles and runs."""
        workflow = pyflow.Workflow("w")
        names: list[str] = []
        for number in range(1_000):
            workflow.add_task(f"t{number}", Journal().does("x"), depends_on=names)
            names.append(f"t{number}")

        assert run(workflow).status == "succeeded"

    def test_ten_thousand_in_a_chain(self) -> None:
        """A long chain needs no recursion."""
        workflow = pyflow.Workflow("w")
        last: list[str] = []
        for number in range(10_000):
            workflow.add_task(f"t{number}", Journal().does("x"), depends_on=last)
            last = [f"t{number}"]

        assert run(workflow).status == "succeeded"

    def test_ten_thousand_in_a_chain_undone(self) -> None:
        """Neither does undoing it."""
        workflow = pyflow.Workflow("w")
        last: list[str] = []
        did = Journal()
        for number in range(10_000):
            workflow.add_task(f"t{number}", did.does("x"), depends_on=last)
            workflow.add_recovery(f"t{number}", did.does("undo"))
            last = [f"t{number}"]
        workflow.add_task("end", did.fails("end"), depends_on=last)

        result = run(workflow)

        assert result.status == "rolled_back"
        assert did.done.count("undo") == 10_000


class TestStart:
    def test_returns_once_recorded(self) -> None:
        """A run is there, with its first record durable, before anything is started."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.does("a"))

        async def main() -> None:
            engine = virtual_engine()
            handle = engine.start(workflow)
            assert kinds_of(engine.journal.read(handle.id)) == ["run_started"]
            assert did.done == []
            result = await handle
            assert result.run_id == handle.id
            assert handle.status == "succeeded"
            assert repr(handle) == f"<Run {handle.id} succeeded>"

        run_virtual(main())

    def test_outside_of_a_loop(self) -> None:
        """Without a running loop, the run lives on a thread of the engine's own."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a", 1))

        with pyflow.Engine() as engine:
            result = engine.start(workflow).wait(timeout=10)

        assert result.status == "succeeded"
        assert [t.name for t in threading.enumerate() if t.name == "pyflow-loop"] == []

    def test_awaited_from_another_loop(self) -> None:
        """A run may be awaited on another loop than its own."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a", 1))

        with pyflow.Engine() as engine:
            handle = engine.start(workflow)

            async def main() -> pyflow.Result:
                return await handle

            assert asyncio.run(main()).status == "succeeded"

    def test_wait_on_its_own_loop_is_refused(self) -> None:
        """Waiting there would block for ever."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a"))

        async def main() -> None:
            handle = virtual_engine().start(workflow)
            with pytest.raises(EngineError, match="await run"):
                handle.wait()
            await handle

        run_virtual(main())

    def test_execute_inside_a_running_loop(self) -> None:
        """`execute` works inside a running loop, such as a notebook's."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a"))

        async def main() -> str:
            return pyflow.Engine().execute(workflow).status

        assert asyncio.run(main()) == "succeeded"

    def test_events_from_the_first_on(self) -> None:
        """`events` yields every record, in order, and ends with the run."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def a(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep("1m")

        async def main() -> tuple[list[str], list[str]]:
            handle = virtual_engine().start(workflow)
            seen = [record.kind async for record in handle.events()]
            return seen, kinds(await handle)

        seen, recorded = run_virtual(main())

        assert seen == recorded
        assert seen[-1] == "run_finished"

    def test_a_closed_engine_is_refused(self) -> None:
        """A closed engine starts nothing; closing twice changes nothing."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a"))
        engine = pyflow.Engine()
        engine.close()
        engine.close()

        with pytest.raises(EngineError, match="closed"):
            engine.execute(workflow)

    def test_close_cancels(self) -> None:
        """Closing an engine cancels what still runs on its thread, and waits for it."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def a(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep("1h")

        engine = pyflow.Engine()
        handle = engine.start(workflow)
        engine.close()

        assert handle.status == "cancelled"

    @pytest.mark.parametrize(
        "options", [{"max_parallel": 0}, {"max_parallel": True}, {"isolation": "moon"}]
    )
    def test_bad_options(self, options: Any) -> None:
        """An engine is refused when it is made, not when it runs."""
        with pytest.raises(pyflow.DefinitionError):
            pyflow.Engine(**options)

    def test_something_else_than_a_workflow(self) -> None:
        """Only a workflow or a plan can be run."""
        with pytest.raises(EngineError, match="neither a Workflow nor a Plan"):
            pyflow.Engine().execute("deploy")  # pyright: ignore[reportArgumentType]


class BackwardsClock:
    """A clock that somebody sets back by years at every look, from beyond 2038 to before 1970."""

    def __init__(self) -> None:
        self.at = datetime(2038, 1, 20, tzinfo=UTC)

    def now(self) -> datetime:
        self.at -= timedelta(days=5_000)
        return self.at


class TestTheClock:
    def test_may_go_backwards(self) -> None:
        """A wall clock that jumps changes no run, and the chain still verifies."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a"), timeout="1m")
        workflow.add_task("b", Journal().does("b"), depends_on=["a"])

        result = pyflow.Engine(clock=BackwardsClock(), environ={}).execute(workflow)

        assert result.status == "succeeded"
        result.audit_trail.verify()
        assert "succeeded" in str(result.audit_trail)


class TestAsking:
    def paused(self, did: Journal) -> pyflow.Workflow:
        """Two tasks, one after the other."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def a(ctx: pyflow.AsyncContext) -> None:
            await asyncio.sleep(10)
            did.done.append("a")

        workflow.add_task("b", did.does("b"), depends_on=["a"])
        return workflow

    def test_pause_and_unpause(self) -> None:
        """A paused run starts nothing further; what is under way goes on."""
        did = Journal()

        async def main() -> pyflow.Result:
            handle = virtual_engine().start(self.paused(did))
            await asyncio.sleep(1)
            handle.pause(by="ann", reason="lunch")
            await asyncio.sleep(60)
            assert did.done == ["a"]
            assert handle.status == "paused"
            handle.unpause(by="ann")
            return await handle

        result = run_virtual(main())

        assert result.status == "succeeded"
        assert did.done == ["a", "b"]
        paused = result.audit_trail.query(kind="run_paused")[0].data
        assert paused == {"by": "ann", "reason": "lunch"}

    def test_cancel(self) -> None:
        """A cancelled run lets what is under way end, undoes nothing, and runs its finalizers."""
        did = Journal()
        workflow = self.paused(did)
        workflow.add_recovery("a", did.does("undo a"))
        workflow.add_finalizer("f", did.does("f"))

        async def main() -> pyflow.Result:
            handle = virtual_engine().start(workflow)
            await asyncio.sleep(1)
            handle.cancel(by="ann")
            return await handle

        result = run_virtual(main())

        assert result.status == "cancelled"
        assert did.done == ["a", "f"]
        assert result.tasks["b"].status == "cancelled"

    def test_at_the_very_end_of_a_call(self) -> None:
        """What was asked before a call returned is taken in before the run can end."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def a() -> None:
            handle[0].cancel(by="ann")

        handle: list[pyflow.Run] = []

        async def main() -> pyflow.Result:
            handle.append(virtual_engine().start(workflow))
            return await handle[0]

        result = run_virtual(main())

        assert result.status == "cancelled"
        assert result.tasks["a"].status == "succeeded"

    def test_cancel_cuts_waits_short(self) -> None:
        """A wait in ``ctx.sleep`` ends at once; a task cannot take that for a failure."""
        workflow = pyflow.Workflow("w")

        @workflow.task(retry=pyflow.Retry(3))
        async def a(ctx: pyflow.AsyncContext) -> None:
            while True:
                try:
                    await ctx.sleep("1h")
                except Exception:
                    pytest.fail("it must not be caught by accident")

        async def main() -> pyflow.Result:
            handle = virtual_engine().start(workflow)
            await asyncio.sleep(1)
            handle.cancel()
            return await handle

        result = run_virtual(main())

        assert result.status == "cancelled"
        assert result.tasks["a"].status == "cancelled"
        assert result.metrics.wall_s == pytest.approx(1)

    def test_roll_back(self) -> None:
        """A person may turn a run back that has not failed."""
        did = Journal()
        workflow = self.paused(did)
        workflow.add_recovery("a", did.does("undo a"))

        async def main() -> pyflow.Result:
            handle = virtual_engine().start(workflow)
            await asyncio.sleep(1)
            handle.roll_back(by="ann", reason="wrong version")
            return await handle

        result = run_virtual(main())

        assert result.status == "rolled_back"
        assert did.done == ["a", "undo a"]
        assert result.error is None

    def test_what_makes_no_sense_is_recorded_as_refused(self) -> None:
        """Nothing that is asked is dropped: what came too late is in the trail, with the reason."""
        did = Journal()

        async def main() -> pyflow.Result:
            handle = virtual_engine().start(self.paused(did))
            handle.unpause()
            handle.retry("a", by="ann")
            result = await handle
            with pytest.raises(EngineError, match="has ended as succeeded"):
                handle.cancel()
            return result

        result = run_virtual(main())

        notes = [r.data["note"] for r in result.audit_trail.query(kind="command_received")]
        assert notes == [
            "the run is running, not paused",
            "'a' does not wait for a decision; nothing does",
        ]

    def test_cancelling_the_wait_cancels_the_run(self) -> None:
        """`await engine.run` that is cancelled cancels the run, which drains first."""
        did = Journal()
        engine = virtual_engine()

        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await engine.run(self.paused(did))

        run_virtual(main())

        run_id = engine.journal.runs()[0]
        assert engine.trail(run_id).outcome == "cancelled"
        assert did.done == ["a"]


class Broken(MemoryJournal):
    """Fails the n-th commit, and every one after it."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def append(
        self, run_id: str, events: Sequence[Event], /, *, at: datetime, fences: Sequence[Lease] = ()
    ) -> list[Record]:
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return super().append(run_id, events, at=at)


class TestAJournalThatFails:
    @pytest.mark.parametrize("at", range(6))
    def test_stops_the_run(self, at: int) -> None:
        """When the n-th commit fails, nothing is done that has no record, and the error says why."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        for name, after in (("a", []), ("b", ["a"]), ("c", ["b"])):
            workflow.add_task(name, did.does(name), depends_on=after)
        workflow.add_finalizer("f", did.does("f"))
        journal = Broken(at)

        with pytest.raises(pyflow.JournalError, match="No space left"):
            run(workflow, engine=virtual_engine(journal=journal))

        recorded = [
            r.task or r.data.get("name")
            for i in journal.runs()
            for r in journal.read(i)
            if r.kind.endswith("started")
        ]
        assert did.done == [name for name in recorded if name]

    def test_lets_what_is_under_way_end(self) -> None:
        """Calls under way are not torn down; the error comes after them."""
        ended: list[str] = []
        workflow = pyflow.Workflow("w")
        workflow.add_task("quick", Journal().does("quick"))

        @workflow.task
        async def slow() -> None:
            await asyncio.sleep(60)
            ended.append("slow")

        with pytest.raises(pyflow.JournalError, match="No space left"):
            run(workflow, engine=virtual_engine(journal=Broken(2)))

        assert ended == ["slow"]


class TestLocks:
    def test_one_run_at_a_time(self) -> None:
        """Runs that need one resource take it in turns, and the trail says so."""
        order: list[str] = []
        workflow = pyflow.Workflow("w", locks=["service:shop/production"], params={"n": str})

        @workflow.task
        async def deploy(ctx: pyflow.AsyncContext, n: str) -> None:
            order.append(f"{n} in")
            await ctx.sleep("1m")
            order.append(f"{n} out")

        async def main() -> list[pyflow.Result]:
            engine = virtual_engine()
            return await asyncio.gather(*(engine.run(workflow, params={"n": n}) for n in "ab"))

        results = run_virtual(main())

        assert order == ["a in", "a out", "b in", "b out"]
        epochs = [r.audit_trail.query(kind="lock_acquired")[0].data["epoch"] for r in results]
        assert epochs == [1, 2]
        assert "lock_released" in kinds(results[0])

    def test_residue_keeps_them(self) -> None:
        """A resource whose last run left residue is not free until somebody breaks the lock."""
        did = Journal()
        workflow = pyflow.Workflow("w", locks=["shop"])
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.fails("undo a"))
        good = pyflow.Workflow("good", locks=["shop"])
        good.add_task("b", did.does("b"))

        async def main() -> None:
            engine = virtual_engine()
            bad = await engine.run(workflow)
            assert bad.residue == ("a",)
            assert "lock_released" not in kinds(bad)
            with pytest.raises(pyflow.LockError, match=f"run {bad.run_id} left residue"):
                await engine.run(good)
            with pytest.raises(EngineError, match="by= and reason="):
                engine.break_lock("shop", by="", reason="")
            assert engine.break_lock("shop", by="ann", reason="cleaned by hand") == 2
            assert (await engine.run(good)).status == "succeeded"

        run_virtual(main())

    def test_breaking_is_recorded(self, tmp_path: Path) -> None:
        """Which lock was broken, by whom and why, is on record beside the runs, secrets masked."""
        secret = pyflow.Secret("hunter2-and-more", name="password")
        path = tmp_path / "deploys.db"
        with (
            pyflow.Engine(journal=path, environ={}, secrets=[secret]) as engine,
            pyflow.Engine(journal=path, environ={}) as other,
        ):
            engine.break_lock("shop", by="ann", reason="it hangs")
            other.break_lock("shop", by="bob", reason="so does this")
            engine.break_lock("cart", by="ann", reason="hunter2-and-more is of no use")
            trail = other.broken_locks()
            runs = engine.journal.runs()
            found = cast("Any", engine.journal).verify()

        assert [(r.kind, *r.data.values()) for r in trail] == [
            ("lock_broken", "ann", 1, "it hangs", "shop"),
            ("lock_broken", "bob", 2, "so does this", "shop"),
            ("lock_broken", "ann", 1, "*** is of no use", "cart"),
        ]
        assert (runs, found) == ([], [])
        assert "shop, by ann: it hangs" in str(trail)

    def test_breaking_that_is_not_recorded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the record fails, the error says that the lock is free, and what is left of who and why."""

        def full(*_: Any, **__: Any) -> Any:
            raise pyflow.JournalError("No space left on device")

        with pyflow.Engine() as engine:
            monkeypatch.setattr(engine.journal, "append", full)
            with pytest.raises(pyflow.JournalError, match="No space left") as caught:
                engine.break_lock("shop", by="ann", reason="it hangs")

        [note] = caught.value.__notes__
        assert "'shop' is free all the same" in note
        assert "its epoch is 1 now" in note

    def test_residue_left_while_waiting(self) -> None:
        """A run that waits for a resource ends as failed when the holder leaves residue there."""
        did = Journal()
        workflow = pyflow.Workflow("w", locks=["shop"])

        @workflow.task
        async def a(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep("1m")
            raise ValueError("no")

        workflow.add_recovery("a", did.fails("undo a"))

        async def main() -> tuple[pyflow.Result, pyflow.Result]:
            engine = virtual_engine()
            return await asyncio.gather(engine.run(workflow), engine.run(workflow))

        first, second = run_virtual(main())

        assert first.status == "rollback_failed"
        assert second.status == "failed"
        assert second.tasks["a"].status == "cancelled"

    def test_cancelled_while_waiting(self) -> None:
        """A run that is cancelled while it waits takes nothing."""
        workflow = pyflow.Workflow("w", locks=["shop"])

        @workflow.task
        async def a(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep("1m")

        async def main() -> list[str]:
            engine = virtual_engine()
            runs = [engine.start(workflow) for _ in range(3)]
            await asyncio.sleep(1)
            runs[1].cancel()
            return [(await one).status for one in runs]

        assert run_virtual(main()) == ["succeeded", "cancelled", "succeeded"]


def kinds_of(records: Sequence[Record]) -> list[str]:
    """Return the kinds of *records*."""
    return [record.kind for record in records]


class TestWhatIsNotThere:
    def test_names_the_nearest_task(self) -> None:
        """A misspelt task is answered with the nearest name, in results and in contexts."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("deploy", Journal().does("deploy"))

        @workflow.task(depends_on=["deploy"])
        async def report(ctx: pyflow.AsyncContext) -> None:
            ctx.outcome("deplyo")

        result = run(workflow)

        assert result.error is not None
        assert "no task 'deplyo'; did you mean 'deploy'?" in result.error.message
        with pytest.raises(KeyError, match="did you mean 'report'"):
            result.tasks["reprot"]

    def test_a_timeout_that_could_not_be_kept(self) -> None:
        """A plain function on the loop cannot be ended, so a timeout for it is refused."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: None, isolation="inline", timeout=1)

        with pytest.raises(pyflow.DefinitionError, match="would mean nothing"):
            workflow.check()


class TestTheResult:
    def test_raises_for_status(self) -> None:
        """A run that did not succeed raises, with the result and the cause; one that did returns itself."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a", ValueError("why")))
        workflow.add_recovery("a", did.fails("undo a"))
        good = pyflow.Workflow("good")
        good.add_task("b", did.does("b"))

        bad_result, good_result = run(workflow), run(good)

        assert good_result.raise_for_status() is good_result
        with pytest.raises(
            pyflow.RunFailed, match="ended as rollback_failed: a: ValueError: why; still applied: a"
        ) as info:
            bad_result.raise_for_status()
        assert info.value.result is bad_result
        assert info.value.__cause__ is not None

    def test_prints_what_matters(self) -> None:
        """Printed, a result says how it ended, why, what is left, and what a held run waits for."""
        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_task("a", did.fails("a", ValueError("why")))

        result = run(workflow)

        lines = str(result).splitlines()
        assert lines[0].startswith("w: held (run ")
        assert lines[1:3] == ["  a: failed", "  because a: ValueError: why"]
        assert lines[3].startswith("  it waits for a person")
        assert lines[4:] == [
            "    a has failed: run.retry('a', by=...) or run.skip('a', by=...)",
            "    or end it: run.roll_back(by=...) or run.cancel(by=...)",
        ]
        assert repr(result.tasks) == "{a: failed}"
        assert len(result.tasks) == 1
        assert repr(result).startswith("Result(run_id=")

    def test_of_a_wrong_return_type_is_the_data(self) -> None:
        """A task that returns something else than it declares gives the plain data."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def a() -> int:
            return "text"  # pyright: ignore[reportReturnType]

        assert run(workflow).tasks["a"].output == "text"

    def test_measures_the_critical_path(self) -> None:
        """The longest chain of work, and what was not work on it."""
        workflow = pyflow.Workflow("w")

        def work(span: int) -> Any:
            async def act(ctx: pyflow.AsyncContext) -> None:
                await ctx.sleep(span)

            return act

        workflow.add_task("a", work(10))
        workflow.add_task("b", work(1), depends_on=["a"])
        workflow.add_task("c", work(5), depends_on=["a"])

        metrics = run(workflow).metrics

        assert metrics.critical_path == ("a", "c")
        assert (metrics.critical_path_s, metrics.wall_s, metrics.overhead_s) == (15, 15, 0)

    def test_unknown_runs_have_no_trail(self) -> None:
        """Asking for the trail of a run that is not there says so."""
        engine = virtual_engine()

        with pytest.raises(EngineError, match="no run 'nope' is in the journal, which has none"):
            engine.trail("nope")

    def test_unknown_runs_among_many(self) -> None:
        """However many runs there are, the error is short, and names the nearest."""
        engine = virtual_engine()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: None)
        ids = [run(workflow, engine=engine).run_id for _ in range(3)]

        with pytest.raises(EngineError, match=f"did you mean '{ids[1]}'") as caught:
            engine.trail(ids[1] + "x")

        assert ids[0] not in str(caught.value)
