"""Approvals: questions that people answer before a run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import pyflow
from pyflow.define.fingerprint import approval_digest
from pyflow.record.events import ApprovalRequested, RunStarted
from pyflow.testing import Simulation, simulate

Operator = Callable[[pyflow.Run], Awaitable[None]]


def release(**options: Any) -> pyflow.Workflow:
    """Return a workflow that asks between building and shipping."""
    wf = pyflow.Workflow("release", params={"version": "2.0"})

    @wf.task
    async def build(version: str) -> str:
        return version

    @wf.recovery(build)
    async def unbuild() -> None: ...

    wf.add_approval("go", "Ship it?", depends_on=[build], **options)

    @wf.task
    async def ship(build: str, go: dict[str, Any]) -> list[str]:
        return [build, *go["approved_by"]]

    return wf


def says(*answers: tuple[str, str], every: float = 60, **more: Any) -> Operator:
    """Return an operator who has people answer, one after the other."""

    async def operator(run: pyflow.Run) -> None:
        for answer, by in answers:
            await asyncio.sleep(every)
            (run.approve if answer == "approve" else run.reject)("go", by=by, **more)

    return operator


def notes(simulation: Simulation) -> list[str | None]:
    """Return why commands were refused, None for those that were not."""
    return [r.data.get("note") for r in simulation.audit_trail if r.kind == "command_received"]


class TestAnswers:
    def test_approve(self) -> None:
        """What depends on a question runs once it is approved, and learns by whom."""
        simulation = simulate(release(), operator=says(("approve", "ann")))

        assert simulation.status == "succeeded"
        assert simulation.tasks["ship"].output == ["2.0", "ann"]
        assert simulation.states() == ["pending", "running", "held", "running", "succeeded"]
        assert simulation.order == ("build", "ship")

    def test_reject(self) -> None:
        """A rejection is a failure, with its reason, and rolls the run back."""
        simulation = simulate(release(), operator=says(("reject", "ann"), comment="too late"))

        assert simulation.status == "rolled_back"
        assert simulation.tasks["go"].reason == "rejected by ann: too late"
        assert simulation.order == ("build", "undo of build")

    def test_quorum(self) -> None:
        """As many different people as the quorum says have to approve."""
        answers = says(("approve", "ann"), ("approve", "ann"), ("approve", "bob"))
        simulation = simulate(release(quorum=2), operator=answers)

        assert simulation.status == "succeeded"
        assert notes(simulation) == [None, "ann has approved already", None]

    def test_approvers(self) -> None:
        """Only those who are named may answer."""
        answers = says(("approve", "eve"), ("reject", "eve"), ("approve", "bob"))
        simulation = simulate(release(approvers=["ann", "bob"]), operator=answers)

        assert simulation.status == "succeeded"
        assert notes(simulation)[:2] == ["eve is not among the approvers: ann, bob"] * 2

    def test_not_by_the_initiator(self) -> None:
        """Whoever started the run may be kept from answering."""
        answers = says(("approve", "ann"), ("approve", "bob"))
        simulation = simulate(release(not_initiator=True), operator=answers, initiator="ann")

        assert notes(simulation) == ["ann started the run, and somebody else has to answer", None]

    def test_bound_to_what_was_seen(self) -> None:
        """An answer to another digest than the question's does not count."""
        answers = says(("approve", "ann"), digest="0" * 64)
        simulation = simulate(release(), operator=answers)

        assert simulation.status == "held"
        assert "bound to another plan" in str(notes(simulation)[0])

    def test_of_somebody(self) -> None:
        """An answer needs somebody who gives it."""
        simulation = simulate(release(), operator=says(("approve", "")))

        assert notes(simulation) == ["an answer needs by=: who gives it"]

    def test_too_late(self) -> None:
        """A question that is answered takes no further answer; one that is none never does."""

        async def operator(run: pyflow.Run) -> None:
            await asyncio.sleep(1)
            run.approve("build", by="ann")
            run.approve("go", by="ann")
            run.reject("go", by="bob")

        simulation = simulate(release(), operator=operator)

        assert notes(simulation) == [
            "'build' is no approval of this run",
            None,
            "go does not wait for an answer; it is succeeded",
        ]

    def test_is_no_failure_to_retry_or_skip(self) -> None:
        """A question is answered, and by nothing else."""

        async def operator(run: pyflow.Run) -> None:
            assert (await run).status == "held"
            run.skip("go", by="ann")
            run.retry("go", by="ann")
            run.resolve("go", "applied", by="ann")
            run.approve("go", by="ann")

        simulation = simulate(release(), operator=operator)

        assert simulation.status == "succeeded"
        assert notes(simulation) == [
            "go waits for an answer; approve or reject it",
            "go waits for an answer; approve or reject it",
            "'go' is running, so there is nothing to resolve",
            None,
        ]

    def test_rejected_and_asked_again(self) -> None:
        """Where failures hold the run, a person may have the question put once more."""
        wf = pyflow.Workflow("w", on_failure="hold")
        wf.add_approval("go", "Ship it?", quorum=2)

        async def operator(run: pyflow.Run) -> None:
            run.approve("go", by="ann")
            run.reject("go", by="bob")
            assert (await run).tasks["go"].status == "failed"
            run.retry("go", by="cy", reason="they have talked")
            assert (await run).tasks["go"].status == "running"
            run.approve("go", by="bob")
            run.approve("go", by="ann")

        simulation = simulate(wf, operator=operator)

        assert simulation.status == "succeeded"
        assert simulation.tasks["go"].output == {"approved_by": ["bob", "ann"]}
        assert simulation.tasks["go"].attempts == 2
        assert len(simulation.audit_trail.query(kind="approval_requested")) == 2
        assert simulation.order == ()


class TestSeveral:
    def two(self, on_failure: Any = "rollback", **options: Any) -> pyflow.Workflow:
        """Return a workflow with two questions, each with what follows from it."""
        wf = pyflow.Workflow("w", on_failure=on_failure)
        for name in ("one", "two"):
            wf.add_approval(name, f"{name}?", **options)
            wf.add_task(f"after_{name}", lambda: None, depends_on=[name])
        return wf

    def test_go_on_by_themselves(self) -> None:
        """What follows from an answer does not wait for the other one."""

        async def operator(run: pyflow.Run) -> None:
            run.approve("one", by="ann")
            result = await run
            assert result.status == "held"
            assert result.tasks["after_one"].status == "succeeded"
            run.approve("two", by="ann")

        simulation = simulate(self.two(), operator=operator)

        assert simulation.status == "succeeded"

    def test_wait_for_a_decision(self) -> None:
        """A failure that holds the run does so whatever becomes of the questions."""
        wf = self.two("hold")
        wf.add_task("bad", lambda: 1 / 0)

        async def operator(run: pyflow.Run) -> None:
            assert (await run).status == "held"
            run.approve("one", by="ann")
            result = await run
            assert result.tasks["after_one"].status == "pending"
            run.skip("bad", by="ann")
            result = await run
            assert result.tasks["after_one"].status == "succeeded"

        simulation = simulate(wf, operator=operator)

        assert simulation.status == "held"
        assert [line.split()[0] for line in simulation.to_decide] == ["two", "or"]

    def test_may_fail_the_run_while_it_is_held(self) -> None:
        """A question that expires ends a run that is held for another one."""
        wf = pyflow.Workflow("w", on_failure="stop")
        wf.add_approval("one", "One?", expires="1h")
        wf.add_approval("two", "Two?")

        async def watch(run: pyflow.Run) -> None:
            await asyncio.sleep(7200)

        simulation = simulate(wf, operator=watch)

        assert simulation.status == "failed"
        assert simulation.tasks["two"].status == "cancelled"


class TestRest:
    def test_comes_after_whatever_is_under_way(self) -> None:
        """A condition that was answered, and a map that has its items, do not keep a run awake."""
        wf = pyflow.Workflow("w")
        wf.add_task("no", lambda: None, when=lambda: False)
        wf.add_task("bad", lambda: None, when=lambda: 1 / 0, allow_failure=True)
        wf.add_map("each", lambda item: item, over=[1, 2])
        wf.add_approval("go", "Ship it?", depends_on=["each"])

        assert simulate(wf).status == "held"

    def test_ends_with_the_finalizers(self) -> None:
        """A held run that is cancelled is over once its finalizers are."""
        wf = release()

        @wf.task(depends_on=["go"])
        async def more() -> None: ...

        async def last(ctx: pyflow.AsyncRecoveryContext) -> None:
            await ctx.sleep("1h")

        wf.add_finalizer("last", last)

        async def operator(run: pyflow.Run) -> None:
            await run
            run.cancel(by="ann")
            assert (await run).status == "cancelled"

        assert simulate(wf, operator=operator).status == "cancelled"

    def test_is_not_put_while_paused(self) -> None:
        """A paused run asks nothing, and so no question expires that nobody has seen."""

        async def operator(run: pyflow.Run) -> None:
            run.pause(by="ann")
            await asyncio.sleep(7200)
            run.unpause(by="ann")
            await asyncio.sleep(60)
            run.approve("go", by="bob")

        simulation = simulate(release(expires="1h"), operator=operator)

        assert simulation.status == "succeeded"
        asked = simulation.audit_trail.query(kind="approval_requested")
        assert (asked[0].at - simulation.audit_trail[0].at).total_seconds() == 7200


class TestTime:
    @pytest.mark.parametrize(
        ("on_expiry", "status"),
        [("reject", "rolled_back"), ("approve", "succeeded"), ("hold", "held")],
    )
    def test_expires(self, on_expiry: Any, status: str) -> None:
        """A question that nobody answers in time counts as its definition says."""

        async def watch(run: pyflow.Run) -> None:
            await asyncio.sleep(7200)

        simulation = simulate(release(expires="1h", on_expiry=on_expiry), operator=watch)

        assert simulation.status == status
        answered = simulation.audit_trail.query(kind="approval_answered")
        assert [(r.data["answer"], r.data.get("by")) for r in answered] == [("expire", None)]
        assert (answered[0].at - simulation.audit_trail[0].at).total_seconds() == 3600

    def test_does_not_hold_others_up(self) -> None:
        """Branches that do not wait for the answer go on; the run is held when they are done."""
        wf = release()

        @wf.task
        async def other(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep("1h")

        simulation = simulate(wf)

        assert simulation.status == "held"
        assert simulation.tasks["other"].status == "succeeded"

    def test_cancelled(self) -> None:
        """A run that waits for an answer can be cancelled."""

        async def operator(run: pyflow.Run) -> None:
            await asyncio.sleep(60)
            run.cancel(by="ann")

        simulation = simulate(release(), operator=operator)

        assert simulation.status == "cancelled"
        assert simulation.tasks["go"].status == "cancelled"


class TestDigest:
    def test_is_of_plan_parameters_and_question(self) -> None:
        """The digest tells plans, parameters and questions apart."""
        simulation = simulate(release())
        asked = next(e for e in simulation.events if isinstance(e, ApprovalRequested))
        began = simulation.events[0]
        assert isinstance(began, RunStarted)

        assert asked.digest == approval_digest(began.fingerprint, began.params, "go", "Ship it?")
        others = {
            approval_digest("other", began.params, "go", "Ship it?"),
            approval_digest(began.fingerprint, {"version": "3"}, "go", "Ship it?"),
            approval_digest(began.fingerprint, began.params, "went", "Ship it?"),
            approval_digest(began.fingerprint, began.params, "go", "Ship that?"),
        }
        assert len(others) == 4
        assert asked.digest not in others


class TestDefinition:
    def test_is_part_of_the_plan(self) -> None:
        """A changed question changes the fingerprint."""
        assert release().check() == release().check()
        assert release().check() != release(quorum=2).check()

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"approvers": "ann"}, "give a list of different names"),
            ({"approvers": []}, "give a list of different names"),
            ({"approvers": ["ann", "ann"]}, "give a list of different names"),
            ({"approvers": ["ann"], "quorum": 2}, "there are 1 approvers; ask for no more"),
            ({"quorum": 0}, "give a whole number from 1"),
            ({"expires": "soon"}, "expires='soon' is not possible"),
            ({"on_expiry": "maybe"}, "choose from reject, approve, hold"),
            ({"not_initiator": 1}, "give True or False"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], expected: str) -> None:
        """Each bad option gives one clear problem."""
        with pytest.raises(pyflow.DefinitionError) as caught:
            release(**options).check()

        assert len(caught.value.problems) == 1
        assert expected in str(caught.value)

    def test_refuses_no_question(self) -> None:
        """A question has words."""
        wf = pyflow.Workflow("w")
        wf.add_approval("go", " ")

        with pytest.raises(pyflow.DefinitionError, match="ask in words"):
            wf.check()
