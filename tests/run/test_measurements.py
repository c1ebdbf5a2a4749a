"""Measurements: recorded as said by their task, and found again by what goes on after a crash."""

from __future__ import annotations

import pytest

import pyflow
from pyflow.record.events import MeasurementTaken
from support import isolated_tasks as tasks
from support.crashes import Disk
from support.runs import run


def measured(number: int) -> MeasurementTaken:
    return MeasurementTaken("?", "p99", number, "pass", "go_on")


class TestMeasurements:
    @pytest.mark.parametrize("isolation", [None, "process"])
    def test_recorded(self, isolation: str | None) -> None:
        """A measurement is recorded as its task's own, wherever that runs."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", tasks.measure, isolation=isolation)  # pyright: ignore[reportArgumentType]

        result = pyflow.Engine().execute(workflow).raise_for_status()

        records = result.audit_trail.query(kind="measurement_taken")
        assert [(r.task, r.data["number"], r.data["values"]) for r in records] == [
            ("a", 1, {"v": 0.1}),
            ("a", 2, {"v": 0.1}),
        ]
        assert result.tasks["a"].output == []

    def test_after_failure(self) -> None:
        """An attempt after one that failed finds nothing, one after an interrupted one finds all."""
        seen: list[list[int]] = []

        async def measure(ctx: pyflow.AsyncContext) -> None:
            seen.append([one.number for one in ctx.measurements])
            ctx.record_measurement(measured(len(seen)))
            await ctx.sleep("1m")
            if len(seen) == 2:
                raise ValueError("once")

        workflow = pyflow.Workflow("w")
        workflow.add_task(
            "a", measure, effect=False, retry=pyflow.Retry(3, after_crash=True, backoff=0)
        )

        result = Disk().crash(workflow, at_s=30).resume(workflow)

        assert result.status == "succeeded"
        assert seen == [[], [1], []]

    def test_finalizer(self) -> None:
        """A finalizer may measure too; nothing goes on from there."""
        seen: list[int] = []

        async def last(ctx: pyflow.AsyncContext) -> None:
            ctx.record_measurement(measured(1))
            await ctx.sleep(1)
            seen.append(len(ctx.measurements))

        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: None)
        workflow.add_finalizer("last", last)

        result = run(workflow)

        assert [r.task for r in result.audit_trail.query(kind="measurement_taken")] == ["last"]
        assert seen == [0]

    def test_isolated_after_a_crash(self) -> None:
        """An isolated task is told what an interrupted attempt had measured."""
        from pyflow.record.codec import event_data
        from pyflow.run.child import ChildDesk

        class Line:
            def ask(self, what: str, name: str) -> list[dict[str, object]]:
                assert (what, name) == ("measurements", "a")
                return [event_data(measured(7))]

        desk = ChildDesk.__new__(ChildDesk)
        desk._link = Line()  # pyright: ignore[reportAttributeAccessIssue]

        assert desk.measurements("a") == [measured(7)]
