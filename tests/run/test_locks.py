"""Whole runs that want one resource: who has it, who waits, and who has lost it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import pyflow
from pyflow.errors import LockLost, LockMoved, RunAlive

if TYPE_CHECKING:
    from pathlib import Path

GUARD_S = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "deploys.db"


class Gate:
    """A task that has begun, and goes on when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.go_on.wait(GUARD_S)


def slow(gate: Gate) -> pyflow.Workflow:
    """A workflow whose task waits at *gate*, and another that follows."""
    workflow = pyflow.Workflow("slow", locks=["shop"])
    workflow.add_task("a", gate)
    workflow.add_task("b", lambda: None, depends_on=["a"])
    return workflow


def quick() -> pyflow.Workflow:
    """A workflow that does nothing, and needs the same resource for it."""
    workflow = pyflow.Workflow("quick", locks=["shop"])
    workflow.add_task("a", lambda: None)
    return workflow


class TestOnDisk:
    @pytest.mark.parametrize("taken", [True, False], ids=["taken", "broken"])
    def test_moved(self, path: Path, taken: bool) -> None:
        """A run whose lock was broken writes nothing more, and is never taken up again."""
        gate = Gate()
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            run = one.start(slow(gate))
            assert gate.begun.wait(GUARD_S)
            two.break_lock("shop", by="ann", reason="it hangs")
            if taken:
                assert two.execute(quick()).status == "succeeded"
            gate.go_on.set()
            with pytest.raises(pyflow.JournalError) as lost:
                run.wait(GUARD_S)
            with pytest.raises(LockMoved) as moved:
                two.resume(run.id, slow(gate))
            with pytest.raises(LockMoved):
                two.rollback(run.id, slow(gate), reason="no")
            kinds = [record.kind for record in two.trail(run.id)]

        assert isinstance(lost.value.__cause__, LockLost)
        assert (moved.value.lease.epoch, moved.value.epoch) == (1, 3 if taken else 2)
        assert kinds == ["run_started", "lock_acquired", "task_started"]

    def test_alive(self, path: Path) -> None:
        """A run that is alive in another engine is refused as alive, also where it has locks."""
        gate = Gate()
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            run = one.start(slow(gate))
            assert gate.begun.wait(GUARD_S)
            with pytest.raises(RunAlive, match=f"run {run.id} is alive"):
                two.resume(run.id, slow(gate))
            gate.go_on.set()

            assert run.wait(GUARD_S).status == "succeeded"

    def test_resume_all(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Resuming all leaves alone what is alive elsewhere and what is lost, and says so."""
        gates = [Gate(), Gate()]
        with pyflow.Engine(journal=path) as one, pyflow.Engine(journal=path) as two:
            lost = one.start(slow(gates[0]))
            assert gates[0].begun.wait(GUARD_S)
            two.break_lock("shop", by="ann", reason="it hangs")
            alive = two.start(slow(gates[1]))
            assert gates[1].begun.wait(GUARD_S)
            gates[0].go_on.set()
            with pytest.raises(pyflow.JournalError):
                lost.wait(GUARD_S)
            caplog.clear()
            results = one.resume_all([slow(gates[0])])
            gates[1].go_on.set()
            alive.wait(GUARD_S)

        assert results == {}
        assert [text.partition(": ")[0] for text in caplog.messages] == [
            f"run {lost.id} is left alone",
            f"run {alive.id} is left alone",
        ]
