"""The outline says of a run what the engine's own fold says, without the plan."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

import pyflow
from pyflow.record import events as ev
from pyflow.record.outline import Outline, outline_of
from pyflow.run.state import RunState
from pyflow.testing import simulate


def shop(**options: object) -> pyflow.Workflow:
    """Return a workflow with a question, a retry, an undo and a skip."""
    workflow = pyflow.Workflow("shop", **options)  # type: ignore[arg-type]
    workflow.add_task("build", lambda: 1, retry=pyflow.Retry(attempts=2, backoff="1s"))
    workflow.add_task("deploy", lambda: 2, depends_on=["build"])
    workflow.add_recovery("deploy", lambda: None)
    workflow.add_approval("go", "Ship it?", depends_on=["deploy"])
    workflow.add_task("skipped", lambda: 3, depends_on=["deploy"], when=lambda: False)
    workflow.add_task("announce", lambda: 4, depends_on=["go"])
    return workflow


def fail() -> None:
    raise ConnectionError("reset by peer")


async def approve(run: pyflow.Run) -> None:
    await run
    with suppress(pyflow.EngineError):  # it has ended, and asks nothing
        run.approve("go", by="ann")


async def retry(run: pyflow.Run) -> None:
    await approve(run)
    await run
    for task in ("build", "deploy", "announce"):
        with suppress(pyflow.EngineError):
            run.retry(task, by="ann")


async def skip(run: pyflow.Run) -> None:
    for task in ("build", "deploy"):
        await run
        with suppress(pyflow.EngineError):
            run.skip(task, by="ann")


async def pause(run: pyflow.Run) -> None:
    run.pause(by="ann", reason="lunch")
    await asyncio.sleep(60)
    run.unpause(by="ann")


async def cancel(run: pyflow.Run) -> None:
    run.cancel(by="ann")


class TestOutline:
    @pytest.mark.parametrize("on_failure", ["rollback", "stop", "hold", "continue"])
    @pytest.mark.parametrize("broken", [None, "build", "deploy", "announce"])
    @pytest.mark.parametrize("operator", [None, approve, retry, skip, pause, cancel])
    def test_agrees_with_the_engine(
        self, on_failure: str, broken: str | None, operator: object
    ) -> None:
        """At every record, run and tasks stand as the engine's state has them."""
        fakes = {broken: fail} if broken else {}
        run = simulate(shop(on_failure=on_failure), fakes=fakes, operator=operator)  # type: ignore[arg-type]
        state, outline = RunState(run.plan), Outline(run.run_id)

        for record in run.audit_trail:
            state.apply(record.event)
            outline.take(record)
            expected = {name: task.status for name, task in state.tasks.items()}
            assert {name: task.status for name, task in outline.tasks.items()} == expected
            assert outline.status == state.status, record
        assert {wait.task for wait in outline.waits} >= set(state.held)

    def test_says_what_is_asked(self) -> None:
        """What a person is asked is named with its kind."""
        run = simulate(shop())

        outline = outline_of(run.run_id, run.audit_trail)

        assert [(wait.task, wait.kind, wait.text) for wait in outline.waits] == [
            ("go", "approval", "Ship it?")
        ]

    def test_says_what_went_wrong(self) -> None:
        """The error is that of the failure that decided the run."""
        run = simulate(shop(), fakes={"deploy": fail})

        outline = outline_of(run.run_id, run.audit_trail)

        assert outline.error == "deploy: ConnectionError: reset by peer"
        assert (outline.status, outline.waits) == ("rolled_back", ())

    def test_takes_a_part_of_a_trail(self) -> None:
        """A trail without its start is told of as far as it goes."""
        run = simulate(shop(), operator=approve)

        outline = outline_of(run.run_id, run.audit_trail[1:3])

        assert outline.start is None
        assert outline.tasks["build"].status == "succeeded"

    def test_ends_a_doubt(self) -> None:
        """An attempt in doubt is asked about until somebody says what became of it."""
        outline = Outline("r")
        start = ev.RunStarted("w", "f", {}, {"id": "ada"}, {}, {"a": "d"})
        events: list[ev.Event] = [
            start,
            ev.TaskStarted("a", 1, "now"),
            ev.TaskInterrupted("a", 1, "the process died"),
            ev.InterruptResolved("a", "unknown", "look"),
        ]
        outline_take(outline, events)
        assert [wait.kind for wait in outline.waits] == ["interrupted"]

        outline_take(outline, [ev.InterruptResolved("a", "applied", "person", by="ann")])

        assert outline.waits == ()
        assert outline.tasks["a"].status == "succeeded"


def outline_take(outline: Outline, events: list[ev.Event]) -> None:
    from pyflow.record.codec import seal
    from support.trails import AT

    for record in seal("r", events, at=AT, seq=outline.records, prev="0" * 64):
        outline.take(record)
