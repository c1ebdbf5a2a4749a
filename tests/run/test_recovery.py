"""Retry, repair, rollback, residue and finalizers, through the engine."""

from __future__ import annotations

from typing import Any

import pytest

import pyflow
from support.runs import Journal, kinds, run, statuses, story, virtual_engine


class TestTheCaseThatOthersGetWrong:
    def test_a_failing_undo(self) -> None:
        """A -> b -> c, c fails, b's undo fails: c is the cause, b and a the residue, d is undone."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.does("a"))
        workflow.add_task("d", did.does("d"))
        workflow.add_task("b", did.does("b"), depends_on=["a"])
        workflow.add_task("c", did.fails("c", ValueError("the root cause")), depends_on=["b", "d"])
        workflow.add_recovery("a", did.does("undo a"))
        workflow.add_recovery("b", did.fails("undo b", OSError("undo of b is broken")))
        workflow.add_recovery("d", did.does("undo d"))

        result = run(workflow)

        assert result.status == "rollback_failed"
        assert result.error is not None
        assert (result.error.task, result.error.message) == ("c", "the root cause")
        assert isinstance(result.error.__cause__, ValueError)
        assert list(result.recovery_errors) == ["b"]
        assert result.recovery_errors["b"].message == "undo of b is broken"
        assert result.residue == ("b", "a")
        assert result.tasks["d"].status == "undone"
        assert "undo a" not in did.done
        assert "undo d" in did.done
        blocked = result.audit_trail.query(kind="undo_blocked")
        assert [(r.task, r.data["by"]) for r in blocked] == [("a", ["b"])]
        result.audit_trail.verify()


class TestRetry:
    def test_tries_again(self) -> None:
        """A task is tried as often as its policy says, after growing waits."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        retry = pyflow.Retry(3, backoff=pyflow.Backoff("10s", factor=3, jitter=0))
        workflow.add_task("a", did.fails("a", times=2), retry=retry)

        result = run(workflow)

        assert result.status == "succeeded"
        assert did.done == ["a", "a", "a"]
        assert result.tasks["a"].attempts == 3
        waits = [r.data["delay_s"] for r in result.audit_trail.query(kind="retry_scheduled")]
        assert waits == [10.0, 30.0]
        assert result.metrics.wall_s == pytest.approx(40.0)
        assert result.metrics.retries == 2

    def test_gives_up(self) -> None:
        """After the last attempt the task has failed."""
        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", did.fails("a"), retry=pyflow.Retry(2))

        result = run(workflow)

        assert result.status == "failed"
        assert did.done == ["a", "a"]
        assert result.tasks["a"].reason == "tried 2 of 2 times"

    def test_only_what_is_worth_it(self) -> None:
        """An exception that the policy does not name fails the task at once."""
        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", did.fails("a"), retry=pyflow.Retry(3, on=ConnectionError))

        result = run(workflow)

        assert did.done == ["a"]
        assert result.tasks["a"].reason == "ValueError is not worth another attempt"

    def test_subclasses_count(self) -> None:
        """A subclass of a named exception is worth another attempt."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task(
            "a",
            did.fails("a", ConnectionResetError("gone"), times=1),
            retry=pyflow.Retry(2, on=(ConnectionError,)),
        )

        assert run(workflow).status == "succeeded"

    def test_not_of_an_output_that_cannot_be_stored(self) -> None:
        """A value that the record cannot hold fails the task without another attempt."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.does("a", {"bad": {1, 2}}), retry=pyflow.Retry(3))
        undone: list[Any] = []

        @workflow.recovery("a")
        async def undo(a: Any) -> None:
            undone.append(a)

        result = run(workflow)

        assert did.done == ["a"]
        assert result.error is not None
        assert "output.bad" in result.error.message
        assert undone == [None]
        assert result.status == "rolled_back"


class TestRepair:
    def test_then_retry(self) -> None:
        """A repair runs before the failure counts, and the task is tried once more."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a", times=1))
        workflow.add_recovery("a", did.does("mend"), then="retry")

        result = run(workflow)

        assert result.status == "succeeded"
        assert did.done == ["a", "mend", "a"]
        assert result.tasks["a"].repaired is False

    def test_then_continue(self) -> None:
        """What the repair returns is the output, and the task has succeeded."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.does("mend", "from the cache"), then="continue")
        seen: list[Any] = []

        @workflow.task
        async def b(a: str) -> None:
            seen.append(a)

        result = run(workflow)

        assert result.status == "succeeded"
        assert seen == ["from the cache"]
        assert (result.tasks["a"].status, result.tasks["a"].repaired) == ("succeeded", True)

    def test_runs_a_limited_number_of_times(self) -> None:
        """A repair that does not help is not run for ever."""
        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.does("mend"), then="retry", times=2)

        result = run(workflow)

        assert did.done == ["a", "mend", "a", "mend", "a"]
        assert result.status == "failed"

    def test_is_for_some_failures(self) -> None:
        """A repair that is not for this failure is passed over."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.does("wrong"), then="continue", on=OSError)
        workflow.add_recovery("a", did.does("right"), then="continue", on=ValueError)

        run(workflow)

        assert did.done == ["a", "right"]

    def test_that_fails_hands_on(self) -> None:
        """The next repair is tried where one fails; after the last the failure counts."""
        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.fails("one"), then="retry")
        workflow.add_recovery("a", did.fails("two"), then="continue")

        result = run(workflow)

        assert did.done == ["a", "one", "two"]
        assert result.tasks["a"].reason == "its repair failed"

    def test_comes_after_the_retries(self) -> None:
        """Retry comes first; a repair is for a task that has used up its attempts."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a", times=2), retry=pyflow.Retry(2))
        workflow.add_recovery("a", did.does("mend"), then="retry")

        run(workflow)

        assert did.done == ["a", "a", "mend", "a"]

    def test_is_told_the_cause(self) -> None:
        """A repair sees the failure that it is to mend."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().fails("a", ValueError("why")))
        seen: list[Any] = []

        @workflow.recovery("a", then="continue")
        async def mend(ctx: pyflow.AsyncRecoveryContext) -> None:
            seen.append((ctx.cause.message if ctx.cause else None, ctx.task, ctx.attempt))

        run(workflow)

        assert seen == [("why", "a", 1)]


class TestUndo:
    def test_gets_the_output(self) -> None:
        """An undo receives the task's output, the cause, and the parameters."""
        workflow = pyflow.Workflow("w", params={"version": "1"})
        workflow.add_task("a", Journal().does("a", {"id": 7}))
        workflow.add_task("b", Journal().fails("b", ValueError("why")), depends_on=["a"])
        seen: list[Any] = []

        @workflow.recovery("a")
        async def undo(ctx: pyflow.AsyncRecoveryContext, a: dict[str, int], version: str) -> None:
            seen.append((a, version, ctx.cause.task if ctx.cause else None, ctx.attempt))

        run(workflow)

        assert seen == [({"id": 7}, "1", "b", 1)]

    def test_has_its_own_retry(self) -> None:
        """An undo is tried as often as its own policy says."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.fails("undo", times=2), retry=pyflow.Retry(3))

        result = run(workflow)

        assert did.done == ["a", "undo", "undo", "undo"]
        assert result.status == "rolled_back"
        assert result.recovery_errors == {}

    def test_retries_only_what_is_worth_it(self) -> None:
        """An undo that fails otherwise has failed at once."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.fails("undo"), retry=pyflow.Retry(3, on=OSError))

        result = run(workflow)

        assert did.done == ["a", "undo"]
        assert result.residue == ("a",)

    def test_has_its_own_timeout(self) -> None:
        """An undo that takes too long has failed."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().fails("a"))

        @workflow.recovery("a", timeout="5s")
        async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
            await ctx.sleep("1h")

        result = run(workflow)

        assert result.status == "rollback_failed"
        assert result.recovery_errors["a"].type == "TaskTimeout"

    def test_is_shielded(self) -> None:
        """A cancel during a rollback is recorded, and cuts no undo short."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().fails("a"))
        slept: list[str] = []
        runs: list[pyflow.Run] = []

        @workflow.recovery("a")
        async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
            runs[0].cancel(by="ann")
            await ctx.sleep("1h")
            slept.append(ctx.task)

        async def main() -> Any:
            runs.append(virtual_engine().start(workflow))
            return await runs[0]

        from pyflow.testing.loop import run_virtual

        result = run_virtual(main())

        assert slept == ["a"]
        assert result.status == "rolled_back"
        command = result.audit_trail.query(kind="command_received")[0].data
        assert (command["command"], command["accepted"]) == ("cancel", False)
        assert command["note"] == "the run already aims at rollback"

    def test_of_what_was_allowed_to_fail(self) -> None:
        """A tolerated failure stays started, so a later rollback undoes it."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"), allow_failure=True)
        workflow.add_task("b", did.fails("b"), depends_on=["a"], join="done")
        workflow.add_recovery("a", did.does("undo a"))

        result = run(workflow)

        assert did.done == ["a", "b", "undo a"]
        assert result.not_undone == ("b",)

    def test_waits_for_what_is_in_flight(self) -> None:
        """In-flight tasks drain; their waits are cut short; then the undos begin."""
        did = Journal()
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def slow(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep("1h")
            did.done.append("never")

        workflow.add_task("quick", did.fails("quick"))
        workflow.add_recovery("slow", did.does("undo slow"))

        result = run(workflow)

        assert did.done == ["quick", "undo slow"]
        assert statuses(result) == {"slow": "undone", "quick": "failed"}
        assert result.metrics.wall_s < 600

    def test_in_parallel(self) -> None:
        """Undos of tasks that do not depend on one another run at the same time."""
        workflow = pyflow.Workflow("w")
        for name in ("a", "b", "c"):
            workflow.add_task(name, Journal().does(name))

            async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
                await ctx.sleep("10s")

            workflow.add_recovery(name, undo)
        workflow.add_task("end", Journal().fails("end"), depends_on=["a", "b", "c"])

        result = run(workflow)

        assert result.status == "rolled_back"
        assert result.metrics.wall_s == pytest.approx(10)


class TestDrain:
    def test_has_an_end(self) -> None:
        """What still runs when the time to drain is over is in doubt: residue, never undone."""
        import asyncio

        did = Journal()
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def base() -> None:
            pass

        @workflow.task(depends_on=["base"])
        async def deaf() -> None:
            await asyncio.sleep(3_600)

        workflow.add_task("quick", did.fails("quick"), depends_on=["base"])
        workflow.add_recovery("deaf", did.does("undo deaf"))
        workflow.add_recovery("base", did.does("undo base"))

        from pyflow.testing.loop import run_virtual

        async def main() -> Any:
            result = await virtual_engine(drain_timeout="1m").run(workflow)
            await asyncio.sleep(3_600)
            return result

        result = run_virtual(main())

        assert did.done == ["quick"]
        assert result.status == "rollback_failed"
        assert result.residue == ("deaf", "base")
        assert result.tasks["deaf"].status == "interrupted"
        assert result.tasks["deaf"].still_running
        assert result.metrics.wall_s == pytest.approx(60)


class TestPolicies:
    def workflow(self, did: Journal, on_failure: Any) -> pyflow.Workflow:
        """Two branches, one of which fails."""
        workflow = pyflow.Workflow("w", on_failure=on_failure)
        workflow.add_task("a", did.does("a"))
        workflow.add_recovery("a", did.does("undo a"))
        workflow.add_task("bad", did.fails("bad"), depends_on=["a"])
        workflow.add_task("after_bad", did.does("after_bad"), depends_on=["bad"])
        workflow.add_task("b", did.does("b"), depends_on=["a"])
        workflow.add_task("c", did.does("c"), depends_on=["b"])
        return workflow

    def test_stop(self) -> None:
        """`stop` starts nothing further and undoes nothing."""
        did = Journal()

        result = run(self.workflow(did, "stop"))

        assert result.status == "failed"
        assert "c" not in did.done
        assert "undo a" not in did.done
        assert result.tasks["c"].status == "cancelled"

    def test_continue(self) -> None:
        """`continue` lets independent branches go on."""
        did = Journal()

        result = run(self.workflow(did, "continue"))

        assert result.status == "failed"
        assert did.done == ["a", "bad", "b", "c"]
        assert result.tasks["after_bad"].status == "blocked"
        assert result.error is not None
        assert result.error.task == "bad"

    def test_hold(self) -> None:
        """`hold` waits for a person, and says so."""
        did = Journal()

        result = run(self.workflow(did, "hold"))

        assert result.status == "held"
        assert result.error is not None
        assert result.error.task == "bad"
        assert "undo a" not in did.done

    @pytest.mark.parametrize(
        ("decision", "status", "last"),
        [
            ("retry", "succeeded", "after_bad"),
            ("skip", "succeeded", "c"),
            ("roll_back", "rolled_back", "undo a"),
        ],
    )
    def test_a_person_decides(self, decision: str, status: str, last: str) -> None:
        """A held run goes on as a person says, and the decision is in the trail."""
        from pyflow.testing.loop import run_virtual

        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_task("a", did.does("a"))
        workflow.add_recovery("a", did.does("undo a"))
        workflow.add_task("bad", did.fails("bad", times=1), depends_on=["a"])
        workflow.add_task("after_bad", did.does("after_bad"), depends_on=["bad"])
        workflow.add_task("c", did.does("c"), depends_on=["bad"], join="done")

        async def main() -> Any:
            handle = virtual_engine().start(workflow)
            held = await handle
            assert held.status == "held"
            if decision == "roll_back":
                handle.roll_back(by="ann", reason="too risky")
            else:
                getattr(handle, decision)("bad", by="ann", reason="looked at it")
            return await handle

        result = run_virtual(main())

        assert result.status == status
        assert last in did.done
        assert result.audit_trail.query(kind="command_received")[0].data["by"] == "ann"
        if decision == "skip":
            assert result.tasks["after_bad"].status == "skipped"

    def test_point_of_no_return(self) -> None:
        """After a point of no return nothing is rolled back; the run holds for a person."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.does("a"))
        workflow.add_recovery("a", did.does("undo a"))
        workflow.add_task("migrate", did.does("migrate"), depends_on=["a"], point_of_no_return=True)
        workflow.add_task("bad", did.fails("bad"), depends_on=["migrate"])

        result = run(workflow)

        assert result.status == "held"
        assert "undo a" not in did.done
        reason = result.audit_trail.query(kind="intent_raised")[0].data["reason"]
        assert reason == "point_of_no_return: migrate has started, and bad failed"


class TestHandlers:
    def test_handle_a_failure(self) -> None:
        """A failure join that succeeds has handled the failure, and the run goes on."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_task("b", did.does("b"), depends_on=["a"])
        workflow.add_task("handler", did.does("handler"), depends_on=["a"], join="failure")
        workflow.add_task("c", did.does("c"), depends_on=["handler"])

        result = run(workflow)

        assert result.status == "succeeded"
        assert did.done == ["a", "handler", "c"]
        assert "failure_deferred a" in story(result)
        assert "failure_handled a" in story(result)

    def test_behind_what_is_blocked(self) -> None:
        """A handler further down the line handles it too, because blocked counts as failed."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_task("b", did.does("b"), depends_on=["a"])
        workflow.add_task("handler", did.does("handler"), depends_on=["b"], join="failure")

        result = run(workflow)

        assert result.status == "succeeded"
        assert did.done == ["a", "handler"]

    def test_that_fail_do_not(self) -> None:
        """A handler that fails leaves the failure unhandled, and is one itself."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.does("undo a"))
        workflow.add_task("handler", did.fails("handler"), depends_on=["a"], join="failure")

        result = run(workflow)

        assert result.status == "rolled_back"
        assert did.done == ["a", "handler", "undo a"]
        assert result.error is not None
        assert result.error.task == "a"


class TestFinalizers:
    def test_run_whatever_happens(self) -> None:
        """Finalizers run in order, told the outcome, also after a rollback."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a"))
        workflow.add_recovery("a", did.does("undo a"))
        seen: list[Any] = []

        async def close(ctx: pyflow.AsyncRecoveryContext) -> None:
            did.done.append("close")
            seen.append((ctx.status, ctx.cause.task if ctx.cause else None))

        workflow.add_finalizer("close", close)
        workflow.add_finalizer("report", did.does("report"))

        result = run(workflow)

        assert did.done == ["a", "undo a", "close", "report"]
        assert seen == [("rolled_back", "a")]
        assert kinds(result)[-1] == "run_finished"

    def test_failures_change_nothing(self) -> None:
        """A finalizer that fails is reported, and the others still run."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.does("a"))
        workflow.add_finalizer("bad", did.fails("bad"))
        workflow.add_finalizer("good", did.does("good"))

        result = run(workflow)

        assert result.status == "succeeded"
        assert list(result.finalizer_errors) == ["bad"]
        assert did.done == ["a", "bad", "good"]

    def test_not_while_held(self) -> None:
        """A run that is held has not ended, so its finalizers wait."""
        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_task("a", did.fails("a"))
        workflow.add_finalizer("f", did.does("f"))

        result = run(workflow)

        assert result.status == "held"
        assert did.done == ["a"]


class TestAbandonedCalls:
    def test_free_their_slot(self) -> None:
        """A call that is in doubt holds up no undo, even where it held the last slot."""
        import asyncio

        from pyflow.testing.loop import run_virtual

        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", did.does("a"))
        workflow.add_recovery("a", did.does("undo a"))

        @workflow.task(depends_on=["a"])
        async def deaf() -> None:
            await asyncio.sleep(7_200)

        async def main() -> Any:
            engine = virtual_engine(max_parallel=1, drain_timeout="1m")
            handle = engine.start(workflow)
            await asyncio.sleep(1)
            handle.roll_back()
            result = await handle
            await asyncio.sleep(7_200)
            again = await engine.run(workflow.check())
            return result, again

        result, again = run_virtual(main())

        assert result.status == "rolled_back"
        assert did.done == ["a", "undo a", "a"]
        assert again.status == "succeeded"
