"""Progress that a task has saved: durable when the call returns, wherever it is called from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.record.memory import MemoryJournal
from pyflow.testing import fails, simulate
from support.isolated_tasks import save_and_go_on, save_and_look

Saved = Callable[[pyflow.Context | pyflow.AsyncContext], None]


def saved(path: Path) -> list[Any]:
    """Return what another process would find saved in the journal at *path*."""
    with pyflow.Engine(journal=path) as engine:
        (run_id,) = engine.journal.runs()
        return [record.data["value"] for record in engine.journal.read(run_id) if is_one(record)]


def is_one(record: Any) -> bool:
    """Return whether *record* is of a checkpoint."""
    return record.kind == "checkpoint_saved"


def plain(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function that saves on an engine's thread."""

    def task(ctx: pyflow.Context) -> list[Any]:
        ctx.checkpoint("at", 7)
        return saved(path)

    return task, {}


def inline(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a plain function that saves on the loop itself."""
    return plain(path)[0], {"isolation": "inline"}


def asynchronous(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return an async function that saves."""

    async def task(ctx: pyflow.AsyncContext) -> list[Any]:
        ctx.checkpoint("at", 7)
        return saved(path)

    return task, {}


def beside(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a plain function that saves on a thread of its own making."""

    def task(ctx: pyflow.Context) -> list[Any]:
        thread = threading.Thread(target=ctx.checkpoint, args=("at", 7))
        thread.start()
        thread.join()
        return saved(path)

    return task, {}


class Full(MemoryJournal):
    """A journal that takes no checkpoint."""

    def append(self, run_id: str, events: Any, /, **options: Any) -> Any:
        """Refuse what holds a checkpoint."""
        if any(event.kind == "checkpoint_saved" for event in events):
            raise pyflow.JournalError("the disk is full")
        return super().append(run_id, events, **options)


class TestCheckpoint:
    @pytest.mark.parametrize("make", [plain, inline, asynchronous, beside])
    def test_is_durable(self, make: Callable[[Path], Any], tmp_path: Path) -> None:
        """What was saved is in the journal on disk as soon as the call returns."""
        path = tmp_path / "deploys.db"
        fn, options = make(path)
        wf = pyflow.Workflow("release")
        wf.add_task("deploy", fn, **options)

        with pyflow.Engine(journal=path) as engine:
            result = engine.execute(wf)

        assert result.tasks["deploy"].output == [7]

    def test_is_durable_from_a_process(self, tmp_path: Path) -> None:
        """So it is where the task has a process of its own."""
        path = tmp_path / "deploys.db"
        wf = pyflow.Workflow("release", params={"path": str})
        wf.add_task("deploy", save_and_look, isolation="process")

        with pyflow.Engine(journal=path) as engine:
            result = engine.execute(wf, params={"path": str(path)})

        assert result.tasks["deploy"].output == [7]

    @pytest.mark.parametrize("isolation", [None, "inline", "process"])
    def test_cannot_be_kept(self, isolation: Any) -> None:
        """One that could not be recorded raises where it was made, and the run stops there."""
        reached: list[str] = []

        def deploy(ctx: pyflow.Context) -> None:
            ctx.checkpoint("at", 7)
            reached.append("further")

        wf = pyflow.Workflow("release")
        fn = save_and_go_on if isolation == "process" else deploy
        wf.add_task("deploy", fn, isolation=isolation)

        with pyflow.Engine(journal=Full()) as engine:
            with pytest.raises(pyflow.JournalError, match="the disk is full"):
                engine.execute(wf)
            records = engine.journal.read(engine.journal.runs()[0])

        assert reached == []
        assert records[-1].kind == "task_started"

    def test_waits_in_simulations(self) -> None:
        """In virtual time, plain functions save in their turn, and find it in the next attempt."""
        seen: list[Any] = []

        def deploy(ctx: pyflow.Context) -> None:
            seen.append(dict(ctx.checkpoints))
            ctx.checkpoint("tries", ctx.attempt)
            ctx.sleep("1h")

        wf = pyflow.Workflow("release")
        wf.add_task("deploy", deploy)
        wf.add_task("check", lambda: None, depends_on=["deploy"], retry=pyflow.Retry(attempts=2))

        result = simulate(wf, fakes={"check": fails(OSError)})

        assert seen == [{}]
        assert [record.data["value"] for record in result.audit_trail if is_one(record)] == [1]
