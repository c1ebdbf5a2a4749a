"""Durable runs that go on at once share their commits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import pyflow
from pyflow.record.sqlite.journal import SQLiteJournal

TASKS = 5


def chain() -> pyflow.Workflow:
    wf = pyflow.Workflow("chain")
    before: list[str] = []
    for number in range(TASKS):
        wf.add_task(f"t{number}", nothing, depends_on=before)
        before = [f"t{number}"]
    return wf


async def nothing() -> None: ...


def commits(path: Path, runs: int) -> tuple[int, int]:
    """Run so many at once, and return how many commits hold their beginnings, and the rest."""

    async def all_at_once(engine: pyflow.Engine) -> list[pyflow.Result]:
        plan = chain().check()
        return await asyncio.gather(*(engine.run(plan) for _ in range(runs)))

    with pyflow.Engine(journal=path, environ={}, max_parallel=runs) as engine:
        results = asyncio.run(all_at_once(engine))
    assert [result.status for result in results] == ["succeeded"] * runs
    with SQLiteJournal(path) as journal:
        assert journal.verify() == []
        numbers = "SELECT count(DISTINCT commit_no) FROM records WHERE seq"
        ((first,),) = journal.database.reading(f"{numbers} = 1")
        ((later,),) = journal.database.reading(f"{numbers} > 2")
    return first, later


class TestGroupCommit:
    @pytest.mark.parametrize("runs", [10, 100])
    def test_is_shared(self, tmp_path: Path, runs: int) -> None:
        """However many runs there are, what they decide in one turn is one commit."""
        alone = commits(tmp_path / "one.db", 1)
        together = commits(tmp_path / "many.db", runs)

        assert alone == (1, TASKS)
        assert together[0] == runs  # each is durable before `start` returns
        assert together[1] <= TASKS + 2

    def test_alone_again(self, tmp_path: Path) -> None:
        """A run waits a turn for others only as long as there are some on its loop."""
        shared: list[bool] = []

        async def one_after_the_other(engine: pyflow.Engine) -> None:
            async def look() -> None:
                (committer,) = engine._committers.values()
                shared.append(committer.is_shared)

            wf = pyflow.Workflow("look")
            wf.add_task("look", look)
            await asyncio.gather(engine.run(wf), engine.run(wf))
            await engine.run(wf)

        with pyflow.Engine(journal=tmp_path / "deploys.db", environ={}) as engine:
            asyncio.run(one_after_the_other(engine))
        assert shared == [True, True, False]


def eventful() -> pyflow.Workflow:
    """Return a workflow that records much: a map, measurements, a repair, a hold, a rollback."""
    wf = pyflow.Workflow("eventful", on_failure="hold", params={"name": str})

    @wf.task
    def names() -> list[str]:
        return ["a", "b"]

    async def each(ctx: pyflow.AsyncContext, item: str) -> dict[str, tuple[str, ...]]:
        ctx.checkpoint("seen", item)
        ctx.log("seen", item=item)
        return {"items": (item, item)}

    async def undo_each() -> None: ...

    wf.add_map("each", each, over="names", depends_on=["names"])
    wf.add_recovery("each", undo_each)

    @wf.task(depends_on=["each"])
    async def fails(name: str) -> None:
        raise OSError(name)

    return wf


class TestTheTrailOfAResult:
    def test_is_what_is_on_disk(self, tmp_path: Path) -> None:
        """It is not read back for the result, and is the same to the byte; held, resumed and ended."""
        wf = eventful()
        with pyflow.Engine(journal=tmp_path / "deploys.db", environ={}, source=False) as engine:
            held = engine.execute(wf, params={"name": "x"})
            stored = [engine.trail(held.run_id)]
            rolled_back = engine.rollback(held.run_id, wf, reason="it is broken")
            ended = engine.resume(held.run_id, wf)
            stored += [engine.trail(held.run_id)] * 2

        assert [held.status, rolled_back.status] == ["held", "rolled_back"]
        results = (held, rolled_back, ended)
        assert [r.audit_trail.to_jsonl() for r in results] == [t.to_jsonl() for t in stored]
        assert [list(r.audit_trail) for r in results] == [list(trail) for trail in stored]
