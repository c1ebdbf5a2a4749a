"""Failures that are questions to a person, whatever `on_failure=` says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pyflow
from pyflow.errors import AnalysisHeld, ForeignChange, NeedsDecision, Unconfirmed
from pyflow.record import events as ev
from pyflow.run import inputs as on
from pyflow.run.machine import Machine
from pyflow.testing import run_virtual
from support import isolated_tasks
from support.driving import BOOM, KINDS, STARTED
from support.runs import Journal, kinds, run, statuses, virtual_engine

QUESTIONS = [
    NeedsDecision("who knows"),
    AnalysisHeld("unsure", verdict="no_data", result={}),
    ForeignChange("shop", what="the weights", seen={"1.0": 60.0}, expected={"1.0": 100.0}),
    Unconfirmed("after 7 tries there are not the weights"),
    type("Mine", (NeedsDecision, ValueError), {})("an error of my own"),
]


def asking(did: Journal, error: Exception, *, times: int = 1_000, **options: Any) -> Any:
    """Return a workflow whose second of three tasks raises *error*, and which can be undone."""
    workflow = pyflow.Workflow("w", **options)
    workflow.add_task("a", did.does("a"))
    workflow.add_recovery("a", did.does("undo a"))
    workflow.add_task("b", did.fails("b", error, times), depends_on=["a"])
    workflow.add_recovery("b", did.does("undo b"))
    workflow.add_task("c", did.does("c"), depends_on=["b"])
    return workflow


class TestHold:
    @pytest.mark.parametrize("policy", ["rollback", "stop", "continue", "hold"])
    @pytest.mark.parametrize("error", QUESTIONS, ids=lambda error: type(error).__name__)
    def test_whatever_the_policy(self, error: Exception, policy: Any) -> None:
        """The run is held as it is, nothing is undone, and the reason is on record."""
        did = Journal()

        result = run(asking(did, error, on_failure=policy))

        assert result.status == "held"
        assert did.done == ["a", "b"]
        assert [r.data["reason"] for r in result.audit_trail.query(kind="intent_raised")] == [
            "needs_decision: b failed"
        ]

    def test_says_what_is_there(self) -> None:
        """Printed, the held result says what the error says, and which calls decide."""
        lines = str(run(asking(Journal(), QUESTIONS[2]))).splitlines()

        assert (
            "  because b: pyflow.errors.ForeignChange: shop: the weights are {'1.0': 60.0}, and this "
            "run left {'1.0': 100.0}; somebody else changed them, and nothing was overwritten"
        ) in lines
        assert "    b has failed: run.retry('b', by=...) or run.skip('b', by=...)" in lines

    def test_not_other_errors(self) -> None:
        """Any other error has the workflow do what its policy says."""
        did = Journal()

        result = run(asking(did, ValueError("why")))

        assert (result.status, did.done) == ("rolled_back", ["a", "b", "undo b", "undo a"])

    def test_after_the_last_try(self) -> None:
        """It is tried again like any other failure, and only the last one counts."""
        did, workflow = Journal(), pyflow.Workflow("w")
        workflow.add_task("a", did.fails("a", QUESTIONS[0], 1), retry=pyflow.Retry(2, backoff="1s"))

        result = run(workflow)

        assert (result.status, did.done) == ("succeeded", ["a", "a"])

    def test_the_last_error_decides(self) -> None:
        """A question that another try answers with a plain failure is none any more."""
        did, workflow = Journal(), pyflow.Workflow("w")

        async def act(ctx: pyflow.AsyncContext) -> None:
            raise QUESTIONS[0] if ctx.attempt == 1 else ValueError("plain")

        workflow.add_task("a", act, retry=pyflow.Retry(2, backoff="1s"))
        workflow.add_recovery("a", did.does("undo a"))

        result = run(workflow)

        assert (result.status, did.done) == ("rolled_back", ["undo a"])

    def test_nothing_that_is_handled(self) -> None:
        """A task that handles failures handles this one too, and an allowed failure asks nobody."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().fails("a", QUESTIONS[0]), allow_failure=True)
        workflow.add_task("b", Journal().fails("b", QUESTIONS[0]))
        workflow.add_task("c", Journal().does("c"), depends_on=["b"], join="failure")

        result = run(workflow)

        assert result.status == "succeeded"
        assert statuses(result) == {"a": "failed", "b": "failed", "c": "succeeded"}

    def test_for_an_item_of_a_map(self) -> None:
        """An item of a map that asks has its map ask."""
        workflow = pyflow.Workflow("w")

        async def act(item: str) -> None:
            if item == "b":
                raise QUESTIONS[0]

        workflow.add_map("a", act, over=["a", "b", "c"])

        result = run(workflow)

        assert result.status == "held"

    def test_of_an_isolated_task(self) -> None:
        """It is the same where the exception stays in another process."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", isolated_tasks.raise_question, isolation="process")

        result = pyflow.Engine().execute(workflow)

        assert result.status == "held"


class TestDecision:
    @pytest.mark.parametrize(
        ("decision", "status", "then"),
        [
            ("retry", "succeeded", ["b", "c"]),
            ("roll_back", "rolled_back", ["undo b", "undo a"]),
            ("cancel", "cancelled", []),
        ],
    )
    def test_is_a_persons(self, decision: str, status: str, then: list[str]) -> None:
        """A person has it tried again, taken back, or left as it is."""
        did = Journal()

        async def main() -> pyflow.Result:
            engine = virtual_engine()
            held = engine.start(asking(did, QUESTIONS[0], times=1))
            assert (await held).status == "held"
            getattr(held, decision)(*(["b"] if decision == "retry" else []), by="ann")
            return await held

        result = run_virtual(main())

        assert result.status == status
        assert did.done == ["a", "b", *then]

    def test_is_not_asked_for_while_stopping(self) -> None:
        """A question that comes while the run rolls back does not stop that."""
        did, workflow = Journal(), pyflow.Workflow("w")

        async def act() -> None:
            try:
                await asyncio.sleep(5)
            finally:
                raise QUESTIONS[0]

        workflow.add_task("a", act)
        workflow.add_recovery("a", did.does("undo a"))

        async def main() -> pyflow.Result:
            started = virtual_engine().start(workflow)
            await asyncio.sleep(1)
            started.roll_back(by="ann")
            return await started

        result = run_virtual(main())

        assert (result.status, did.done) == ("rolled_back", ["undo a"])

    def test_is_not_asked_for_by_an_undo(self) -> None:
        """An undo that asks has failed, and what it is for is left and named."""
        did, workflow = Journal(), pyflow.Workflow("w")
        workflow.add_task("a", did.does("a"))
        workflow.add_recovery("a", did.fails("undo a", QUESTIONS[2]))
        workflow.add_task("b", did.fails("b"), depends_on=["a"])

        result = run(workflow)

        assert (result.status, result.residue) == ("rollback_failed", ("a",))
        assert "hold" not in [
            r.data["intent"] for r in result.audit_trail if r.kind == "intent_raised"
        ]
        assert "undo_failed" in kinds(result)


class TestRecord:
    def test_outlives_the_process(self) -> None:
        """Another engine that takes up the record decides as the first one would have."""
        workflow = asking(Journal(), QUESTIONS[0])
        machine = Machine(workflow.check(), max_parallel=None, drain_s=60)
        machine.start(STARTED)
        machine.dispatch(1)
        asks = on.Failure(BOOM, KINDS, 0.5, asks=True)

        machine.handle(on.AttemptRaised("a", 1.0, asks))

        events, _ = machine.take()
        failed = [e for e in events if isinstance(e, ev.AttemptFailed)]
        assert [event.asks for event in failed] == [True]
        assert machine.state.tasks["a"].needs_decision
        assert machine.state.intent == "hold"
        machine.state.apply(ev.HoldReleased("retry", "a", "ann"))
        machine.state.apply(ev.TaskStarted("a", 2, "tried again"))
        assert not machine.state.tasks["a"].needs_decision
