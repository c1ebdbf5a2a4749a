"""A signal during a durable run: what is under way ends, and the run is left to a resume."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import pyflow
from pyflow.run.handle import Run
from pyflow.run.signals import catching
from support.journals import environment

PROGRAM = """
import sys, pyflow
workflow = pyflow.Workflow("w")

@workflow.task(on_interrupt="rerun")
def wait(ctx: pyflow.Context) -> None:
    print("waiting", flush=True)
    ctx.sleep("1h")

with pyflow.Engine(journal=sys.argv[1], grace="10ms") as engine:
    engine.execute(workflow)
"""


def send(*names: str) -> Callable[[], Awaitable[None]]:
    """Return a task that sends signals to its own process, and ends when they have been heard."""

    async def act() -> None:
        for name in names:
            os.kill(os.getpid(), signal.Signals[name])
        for _ in range(9):
            await asyncio.sleep(0)

    return act


def sending(*names: str) -> pyflow.Workflow:
    """Return a workflow whose first task sends signals, and whose second one must not start then."""
    wf = pyflow.Workflow("w")
    wf.add_task("a", send(*names))
    wf.add_recovery("a", lambda: None)
    wf.add_task("b", lambda: None, depends_on=["a"])
    return wf


class TestSignals:
    @pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
    def test_leave_the_run(self, tmp_path: Path, name: str, code: int) -> None:
        """What is under way ends, nothing further starts, and a resume goes on from there."""
        wf = sending(name)
        with pyflow.Engine(journal=tmp_path / "j.db", environ={}) as engine:
            with pytest.raises(SystemExit) as ended:
                engine.execute(wf)
            (run_id,) = engine.journal.runs()
            kinds = [record.kind for record in engine.trail(run_id)]
            result = engine.resume(run_id, wf)

        assert ended.value.code == code
        assert kinds.count("task_started") == kinds.count("task_succeeded") == 1
        assert result.status == "succeeded"

    def test_interrupt(self, tmp_path: Path) -> None:
        """SIGINT is a KeyboardInterrupt, and handlers are what they were."""
        before = signal.getsignal(signal.SIGINT)
        with pyflow.Engine(journal=tmp_path / "j.db", environ={}) as engine:
            with pytest.raises(KeyboardInterrupt):
                engine.execute(sending("SIGINT"))

            assert engine.resume(engine.journal.runs()[0], sending()).status == "succeeded"
        assert signal.getsignal(signal.SIGINT) is before

    def test_roll_back(self, tmp_path: Path) -> None:
        """With on_cancel="rollback", what was done is undone before the program ends."""
        wf = sending("SIGTERM")
        with pyflow.Engine(journal=tmp_path / "j.db", on_cancel="rollback", environ={}) as engine:
            with pytest.raises(SystemExit):
                engine.execute(wf)

            assert engine.trail(engine.journal.runs()[0]).outcome == "rolled_back"

    def test_grace(self, tmp_path: Path) -> None:
        """What is under way may go on for the grace period, and is on record when it ends."""
        wf = pyflow.Workflow("w")

        @wf.task
        async def go_on() -> None:
            await send("SIGTERM")()
            for _ in range(500):
                await asyncio.sleep(0)

        with pyflow.Engine(journal=tmp_path / "j.db", grace="1h", environ={}) as engine:
            with pytest.raises(SystemExit):
                engine.execute(wf)

            (run_id,) = engine.journal.runs()
            assert "task_succeeded" in [record.kind for record in engine.trail(run_id)]

    @pytest.mark.leaves("what was under way when the second signal came")
    def test_second(self, tmp_path: Path) -> None:
        """The second signal does not wait for what is under way."""
        wf = pyflow.Workflow("w")

        @wf.task(on_interrupt="rerun")
        async def wait(ctx: pyflow.AsyncContext) -> None:
            await send("SIGTERM", "SIGINT")()
            await ctx.sleep("1h")

        with (
            pyflow.Engine(journal=tmp_path / "j.db", grace="1h", environ={}) as engine,
            pytest.raises(SystemExit) as ended,
        ):
            engine.execute(wf)

        assert ended.value.code == 143

    @pytest.mark.leaves("what would not be cancelled when the third signal came")
    def test_while_the_loop_is_closed(self, tmp_path: Path) -> None:
        """A further signal does not wait for what will not be cancelled."""
        wf, kept = pyflow.Workflow("w"), list[asyncio.Task[None]]()

        @wf.task(on_interrupt="rerun")
        async def stay() -> None:
            task = asyncio.current_task()
            assert task is not None
            kept.append(task)
            try:
                await send("SIGTERM", "SIGINT")()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGHUP)
                await asyncio.Event().wait()

        with (
            pyflow.Engine(journal=tmp_path / "j.db", grace="1h", environ={}) as engine,
            pytest.raises(SystemExit) as ended,
        ):
            engine.execute(wf)

        assert ended.value.code == 143
        for task in kept:  # the collector would close it under whichever loop runs then
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            task.get_coro().close()

    def test_before_it_begins(self, tmp_path: Path) -> None:
        """A signal that comes while the run is being started leaves it as one that comes later does."""

        def watch(_: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        wf = sending()
        with (
            pyflow.Engine(journal=tmp_path / "j.db", watch=watch, environ={}) as engine,
            pytest.raises(KeyboardInterrupt),
        ):
            engine.execute(wf)

        with pyflow.Engine(journal=tmp_path / "j.db", environ={}) as engine:
            assert engine.resume(engine.journal.runs()[0], wf).status == "succeeded"

    def test_at_the_very_end(self) -> None:
        """A signal that comes when nothing is left to stop ends the program all the same."""
        with pytest.raises(SystemExit) as ended, catching([signal.SIGTERM]):
            os.kill(os.getpid(), signal.SIGTERM)

        assert ended.value.code == 143

    def test_where_it_cannot_begin(self) -> None:
        """A signal is not lost to the error that keeps the run from being started."""
        with pytest.raises(SystemExit) as ended, catching([signal.SIGTERM]):
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("it cannot begin")

        assert ended.value.code == 143
        assert isinstance(ended.value.__cause__, ValueError)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def test_where_its_beginning_takes_long(self) -> None:
        """The second signal does not wait for that."""

        def start() -> Run:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it was not cut short")

        with pytest.raises(SystemExit) as ended, catching([signal.SIGTERM]) as caught:
            caught.begin(start)

        assert ended.value.code == 143
        assert len(caught.came) == 2

    def test_others_hear_of_theirs(self, tmp_path: Path) -> None:
        """What the loop was to be told of other signals, it is told."""
        heard: list[int] = []

        def watch(_: object) -> None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.append, 1)

        with pyflow.Engine(journal=tmp_path / "j.db", watch=watch, environ={}) as engine:
            assert engine.execute(sending("SIGUSR1")).status == "succeeded"

        assert heard == [1]
        assert signal.set_wakeup_fd(-1) == -1

    def test_while_it_ends(self, tmp_path: Path) -> None:
        """A signal that comes as the run ends by itself is not lost."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", lambda: None)
        wf.add_finalizer("last", send("SIGTERM"))
        with pyflow.Engine(journal=tmp_path / "j.db", environ={}) as engine:
            with pytest.raises(SystemExit) as ended:
                engine.execute(wf)

            assert engine.trail(engine.journal.runs()[0]).outcome == "succeeded"
        assert ended.value.code == 143

    @pytest.mark.parametrize(
        ("name", "code"), [("SIGTERM", 143), ("SIGINT", -signal.SIGINT), ("SIGHUP", 129)]
    )
    def test_end_a_program(self, tmp_path: Path, name: str, code: int) -> None:
        """A program ends as one does that was sent it: a shell calls SIGINT 130."""
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "j.db")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"

            process.send_signal(signal.Signals[name])
            process.communicate(timeout=60)

        assert process.returncode == code
