"""What a later engine does with a pipeline that an earlier one had started."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import pyflow
from pyflow.record.events import CheckpointSaved
from pyflow.record.memory import MemoryJournal
from pyflow.triggers import Pipeline
from support.pipelines import KITS, START, Fixed, Kit, brief, kit, one_task, quick


@pytest.fixture(params=KITS)
def at(request: pytest.FixtureRequest) -> Iterator[Kit]:
    with kit(request.param) as made:
        yield made


def run_through(workflow: pyflow.Workflow) -> tuple[MemoryJournal, str]:
    """Run *workflow*, and return its record."""
    journal = MemoryJournal()
    result = pyflow.Engine(journal=journal).execute(workflow)
    return journal, result.run_id


def cut(journal: MemoryJournal, run_id: str, count: int) -> MemoryJournal:
    """Return the journal as it was when it had *count* records."""
    kept = MemoryJournal()
    for record in journal.read(run_id)[:count]:
        kept.append(run_id, [record.event], at=record.at)
    return kept


def up_to(journal: MemoryJournal, run_id: str, stage: str) -> MemoryJournal:
    """Return the journal as it was when the task had saved *stage*."""
    events = [record.event for record in journal.read(run_id)]
    [count, *_] = [
        number
        for number, event in enumerate(events, start=1)
        if isinstance(event, CheckpointSaved) and event.value["stage"] == stage
    ]
    return cut(journal, run_id, count)


class TestResume:
    def test_every_cut(self, at: Kit) -> None:
        """Wherever its engine died, a run that is taken up starts no second pipeline."""
        workflow = one_task(at.trigger())
        journal, run_id = run_through(workflow)
        count = len(journal.read(run_id))
        sent = next(
            number
            for number, record in enumerate(journal.read(run_id), start=1)
            if isinstance(record.event, CheckpointSaved)
        )

        for records in range(sent, count + 1):
            result = pyflow.Engine(journal=cut(journal, run_id, records)).resume(run_id, workflow)

            assert result.status == "succeeded", records
            out: Pipeline = result.tasks["deploy"].output
            assert out.key in str(at.started()[0])
            assert (at.starts, len(at.started())) == (1, 1), records

    def test_every_cut_of_a_failure(self, at: Kit) -> None:
        """A pipeline that had failed before the engine died is not started anew by the resume."""
        at.server.conclusion = at.bad
        workflow = one_task(at.trigger())
        journal, run_id = run_through(workflow)

        started = up_to(journal, run_id, "started")
        result = pyflow.Engine(journal=started).resume(run_id, workflow)

        assert result.status == "failed"
        assert at.starts == 1

    def test_nothing_there(self, at: Kit) -> None:
        """A start that was never sent is a question, until it is old enough to be none."""
        clock = Fixed()
        workflow = one_task(at.trigger(clock=clock, watch=brief()))
        journal, run_id = run_through(workflow)
        before = up_to(journal, run_id, "sent")
        at.started().clear()
        getattr(at.server, "builds", []).clear()

        with pyflow.Engine(journal=before) as engine:
            held = engine.resume(run_id, workflow)
            assert (held.status, at.starts) == ("held", 1)
            assert "from" not in str(held.tasks["deploy"].error).partition("nobody")[0]

        clock.at = START + timedelta(minutes=15)
        with pyflow.Engine(journal=up_to(journal, run_id, "sent")) as engine:
            result = engine.resume(run_id, workflow)

        assert (result.status, at.starts) == ("succeeded", 2)

    def test_rolled_back(self, at: Kit) -> None:
        """A rollback needs no answer: what was started is for the undo of the user to take back."""
        undone: list[str] = []
        workflow = one_task(at.trigger())
        workflow.add_recovery("deploy", lambda: undone.append("deploy"))
        journal, run_id = run_through(workflow)

        early = up_to(journal, run_id, "started")
        result = pyflow.Engine(journal=early).rollback(run_id, workflow, reason="wrong version")

        assert result.status == "rolled_back"
        assert (undone, at.starts) == (["deploy"], 1)


class Torn:
    """A context whose task is torn down with its engine."""

    idempotency_key = "0" * 32
    deadline: float | None = None

    def __init__(self) -> None:
        self.checkpoints: dict[str, Any] = {}

    def checkpoint(self, key: str, value: Any) -> None:
        self.checkpoints[key] = value

    def log(self, message: str, **data: Any) -> None: ...

    def record_change(self, resource: str, *, before: Any = None, after: Any = None) -> None: ...

    async def sleep(self, span: Any) -> None:
        await asyncio.sleep(span)


class TestTearDown:
    @pytest.mark.parametrize("is_late", [False, True])
    def test_leaves_it(self, at: Kit, is_late: bool) -> None:
        """Torn down, a task leaves its pipeline to a resume; cut off by its timeout, it cancels it."""
        if hasattr(at.server, "course"):
            at.server.course = ("running",) * 10_000
        else:
            at.server.runs = 10**9

        async def tear() -> None:
            ctx = Torn()
            running = asyncio.ensure_future(at.trigger(watch=quick())(ctx))
            await asyncio.to_thread(at.server.wait, 4)
            if is_late:
                ctx.deadline = asyncio.get_running_loop().time()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert ctx.checkpoints["pipeline"]["stage"] == "started"

        asyncio.run(tear())

        stops = [r for r in at.server.received if "cancel" in r.path or r.path.endswith("/stop")]
        assert bool(stops) == is_late
