"""Looking on: who has what, and every record as it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

import pyflow
from pyflow.clock import SystemClock
from pyflow.record.sqlite.store import Store
from pyflow.run.loops import at_once


def asking() -> pyflow.Workflow:
    """Return a workflow that is held, with a lock."""
    workflow = pyflow.Workflow("asking", locks=["service:shop"])
    workflow.add_task("a", lambda: 1)
    workflow.add_approval("go", "Ship it?", depends_on=["a"])
    return workflow


class TestHolder:
    def test_is_told(self) -> None:
        """An engine tells who has a resource, and that nobody has one that is free."""
        with pyflow.Engine() as engine:
            run = engine.start(asking())
            run.wait()
            holder = engine.holder("service:shop")

            assert holder is not None
            assert (holder.lease.run_id, holder.is_alive) == (run.id, True)
            assert engine.holder("service:cart") is None


class TestListed:
    def test_tells_how_each_stands(self, tmp_path: Path) -> None:
        """What is held, and what a run that is gone still bars, in sorted order."""
        with pyflow.Engine(journal=tmp_path / "j.db") as engine:
            run = engine.start(asking())
            run.wait()
            store = Store(tmp_path / "j.db", now=SystemClock().now)
            alive = store.locks.listed()
            run.let_go()
        left = store.locks.listed()
        store.close()

        names = [f"run:{run.id}", "service:shop"]
        assert [(h.lease.resource, h.is_alive, s) for h, s in alive] == [
            (name, True, "held") for name in names
        ]
        assert [(h.lease.resource, s) for h, s in left] == [("service:shop", "residue")]

    def test_tells_of_the_dead(self, tmp_path: Path) -> None:
        """Whoever died with a resource still bars it, and is called dead."""
        died = Store(tmp_path / "j.db", now=SystemClock().now)
        at_once(died.locks.acquire("r1", ["service:shop"], policy="fail"))
        died.close()

        store = Store(tmp_path / "j.db", now=SystemClock().now)
        found = store.locks.listed()
        store.close()

        assert [(h.lease.run_id, h.is_alive, s) for h, s in found] == [("r1", False, "dead")]


class TestFollow:
    def test_hears_every_record(self) -> None:
        """Each record is told once, in order, from the first or after one."""
        heard: list[int] = []
        later: list[int] = []
        with pyflow.Engine() as engine:
            run = engine.start(asking())
            run.follow(lambda record: heard.append(record.seq))
            run.follow(lambda record: later.append(record.seq), after=3)
            run.wait()
            run.approve("go", by="ann")
            result = run.wait()

        assert heard == list(range(1, len(result.audit_trail) + 1))
        assert later == heard[3:]


class TestWatch:
    def test_sees_every_run(self) -> None:
        """What looks on is handed each run that begins here, before anything of it starts."""
        seen: list[tuple[str, int]] = []

        def watch(run: pyflow.Run) -> None:
            kinds: list[str] = []
            run.follow(lambda record: kinds.append(record.kind))
            seen.append((run.id, kinds.count("task_started")))

        with pyflow.Engine(watch=watch) as engine:
            results = [engine.execute(simple()) for _ in range(2)]

        assert seen == [(result.run_id, 0) for result in results]

    def test_sees_a_run_that_is_taken_up(self, tmp_path: Path) -> None:
        """A run that is taken up is handed over, and one that has ended is not."""
        seen: list[str] = []
        with pyflow.Engine(journal=tmp_path / "j.db") as engine:
            held = engine.execute(asking()).run_id
            ended = engine.execute(simple()).run_id

        with pyflow.Engine(
            journal=tmp_path / "j.db", watch=lambda run: seen.append(run.id)
        ) as engine:
            engine.resume(ended, simple())
            engine.resume(held, asking())

        assert seen == [held]

    def test_never_stops_a_run(self, caplog: pytest.LogCaptureFixture) -> None:
        """What looks on and fails is logged, and the run goes on."""
        with pyflow.Engine(watch=lambda run: 1 / 0) as engine:
            assert engine.execute(simple()).status == "succeeded"

        assert [(r.name, r.levelname) for r in caplog.records] == [("pyflow.watch", "ERROR")]

    def test_hears_in_order_whatever_it_asks(self) -> None:
        """What asks something of the run while it is told hears each record once, in order."""
        heard: list[int] = []

        def told(record: pyflow.Record) -> None:
            heard.append(record.seq)
            if record.kind == "approval_requested":
                engine.approve(record.run_id, "go", by="ann")

        with pyflow.Engine(watch=lambda run: run.follow(told)) as engine:
            result = engine.execute(asking())

        assert result.status == "succeeded"
        assert heard == [record.seq for record in result.audit_trail]


def simple() -> pyflow.Workflow:
    workflow = pyflow.Workflow("simple")
    workflow.add_task("a", do)
    return workflow


def do() -> None:
    """Do nothing."""
