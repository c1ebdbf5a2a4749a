"""What was decided and cannot be carried out ends the run with an error, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.errors import RunBroken
from pyflow.run import driver
from pyflow.run import inputs as on
from pyflow.run.driver import Driver
from pyflow.testing.loop import run_virtual

Starter = Callable[[Driver, on.StartAttempt], None]


def workflow(*names: str) -> pyflow.Workflow:
    """Return tasks one after the other."""

    async def nothing() -> None: ...

    wf = pyflow.Workflow("w")
    for number, name in enumerate(names):
        wf.add_task(name, nothing, depends_on=names[number - 1 : number] if number else [])
    return wf


def break_start_of(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an attempt of *task* be impossible to start."""
    start: Starter = driver._COMMANDS[on.StartAttempt]

    def broken(self: Driver, command: on.StartAttempt) -> None:
        if command.task == task:
            raise ZeroDivisionError("a defect of the engine")
        start(self, command)

    monkeypatch.setitem(driver._COMMANDS, on.StartAttempt, broken)


@pytest.fixture(params=["memory", "disk"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> pyflow.Engine:
    journal = tmp_path / "deploys.db" if request.param == "disk" else None
    return pyflow.Engine(journal=journal, environ={}, source=False, max_parallel=2)


def ended(*runs: Awaitable[pyflow.Result]) -> list[Any]:
    """Return what came of *runs* at once; one that waits for ever is an error of virtual time."""

    async def gathered() -> list[Any]:
        return await asyncio.gather(*runs, return_exceptions=True)

    return run_virtual(gathered())


class TestACommandThatFails:
    @pytest.mark.parametrize("task", ["a", "b"])
    def test_ends_the_run(
        self, engine: pyflow.Engine, monkeypatch: pytest.MonkeyPatch, task: str
    ) -> None:
        """Whoever waits is told what could not be done, and that the decision is on record."""
        break_start_of(task, monkeypatch)

        with engine:
            [error] = ended(engine.run(workflow("a", "b", "c")))
            (run_id,) = engine.journal.runs()
            started = [r.task for r in engine.trail(run_id).query(kind="task_started")]

        assert isinstance(error, RunBroken)
        assert "could not be carried out: ZeroDivisionError('a defect" in str(error)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert started[-1] == task

    def test_spares_other_runs(
        self, engine: pyflow.Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Runs that were committed together with it go on, those behind it too."""
        break_start_of("bad", monkeypatch)

        with engine:
            before, error, behind = ended(
                engine.run(workflow("a", "b")),
                engine.run(workflow("a", "bad")),
                engine.run(workflow("a", "b")),
            )

        assert isinstance(error, RunBroken)
        assert [before.status, behind.status] == ["succeeded", "succeeded"]

    def test_gives_slots_back(self, engine: pyflow.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was to start and did not takes no slot from the runs that come after."""
        with engine, monkeypatch.context() as patch:
            break_start_of("bad", patch)
            for _ in range(3):
                ended(engine.run(workflow("bad")))
            patch.undo()
            [result] = ended(engine.run(workflow("a")))

        assert result.status == "succeeded"

    def test_can_be_resumed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The run is as its record says: what was to start is in doubt, and can be run again."""
        wf = pyflow.Workflow("w")

        @wf.task(on_interrupt="rerun")
        async def a() -> str:
            return "done"

        with pyflow.Engine(journal=tmp_path / "deploys.db", environ={}, source=False) as engine:
            with monkeypatch.context() as patch:
                break_start_of("a", patch)
                ended(engine.run(wf))
            (run_id,) = engine.journal.runs()
            result = engine.resume(run_id, wf)

        assert result.tasks["a"].output == "done"

    def test_in_a_checkpoint(self, engine: pyflow.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A task whose checkpoint commits such a decision hears of it, and the run ends with it."""
        break_start_of("b", monkeypatch)
        heard: list[BaseException] = []
        wf = workflow("a", "b")

        @wf.task
        async def saver(ctx: pyflow.AsyncContext) -> None:
            try:
                ctx.checkpoint("k", 1)  # in the turn in which a has ended
            except RunBroken as error:
                heard.append(error)
                raise

        with engine:
            [error] = ended(engine.run(wf))

        assert heard == [error]


class TestACallThatIsCancelled:
    @pytest.mark.parametrize("timeout", [None, "1m"])
    def test_by_itself(self, engine: pyflow.Engine, timeout: str | None) -> None:
        """Nobody waits for ever for a function that cancels itself; the run says what happened."""

        async def cancels() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)

        made = pyflow.Workflow("made")
        made.add_task("cancels", cancels, timeout=timeout)

        with engine:
            (error,) = ended(engine.run(made))

        assert isinstance(error, RunBroken)
        assert "because cancels was cancelled, and not by pyflow" in str(error)

    def test_by_a_program_that_ends(self, tmp_path: Path) -> None:
        """One that cancels all of its tasks leaves a durable run as recorded, to be resumed."""
        calls: list[int] = []

        async def deploy() -> None:
            calls.append(len(calls))
            if len(calls) == 1:
                await asyncio.sleep(60)

        made = pyflow.Workflow("made")
        made.add_task("deploy", deploy, on_interrupt="rerun")
        made.add_recovery("deploy", lambda: None)

        async def main() -> str:
            run = engine.start(made)
            await asyncio.sleep(1)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            with pytest.raises(RunBroken, match="the run can be resumed"):
                await run
            return run.id

        with pyflow.Engine(journal=tmp_path / "j.db", environ={}, source=False) as engine:
            run_id = run_virtual(main())
            assert [record.kind for record in engine.trail(run_id)][-1] == "task_started"
            assert engine.resume(run_id, made).status == "succeeded"
        assert calls == [0, 1]
