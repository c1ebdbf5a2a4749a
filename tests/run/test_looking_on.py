"""Looking on: who has what, and every record as it comes."""

from __future__ import annotations

from pathlib import Path

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
