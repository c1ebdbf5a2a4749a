"""The machine's finer points, one happening at a time."""

from __future__ import annotations

from typing import Any

import pytest

import pyflow
from pyflow.record import events as ev
from pyflow.run import inputs as on
from pyflow.run.machine import Machine
from support.driving import BOOM, KINDS, STARTED, World
from support.strategies import nothing

FAILED = on.Failure(BOOM, KINDS, 0.5)


def machine_of(workflow: pyflow.Workflow) -> Machine:
    """Return a machine that has started *workflow*, with everything dispatched."""
    machine = Machine(workflow.check(), max_parallel=None, drain_s=60)
    machine.start(STARTED)
    tell(machine)
    return machine


def tell(machine: Machine, *happenings: on.Happening) -> list[Any]:
    """Tell *machine* what happened, dispatch, and return the commands."""
    commands: list[Any] = []
    for happening in happenings or (None,):
        if happening is not None:
            machine.handle(happening)
        for _ in range(2):
            machine.dispatch(machine.wanted)
        commands += machine.take()[1]
    return commands


def status(machine: Machine, name: str) -> str:
    """Return the status of a task."""
    return machine.state.tasks[name].status


def two(**options: Any) -> pyflow.Workflow:
    """Two independent tasks, the first with the given options, both with an undo."""
    workflow = pyflow.Workflow("w")
    workflow.add_task("a", nothing, **options)
    workflow.add_task("b", nothing)
    workflow.add_recovery("a", nothing)
    return workflow


class TestLateResults:
    @pytest.mark.parametrize(
        "late",
        [on.AttemptReturned("a", 1.0), on.AttemptRaised("a", 1.0, FAILED)],
        ids=["ok", "bad"],
    )
    def test_of_attempts_change_nothing(self, late: on.Happening) -> None:
        """What comes back after the drain was declared in doubt, and stays so."""
        machine = machine_of(two())
        tell(machine, on.AttemptRaised("b", 1.0, FAILED), on.TimerFired(("drain", "")))
        before = machine.state.snapshot()

        tell(machine, late)

        assert machine.state.snapshot() == before
        assert machine.state.status == "rollback_failed"

    @pytest.mark.parametrize(
        "late", [on.RepairReturned("a", 1.0), on.RepairRaised("a", 1.0, FAILED)], ids=["ok", "bad"]
    )
    def test_of_repairs_change_nothing(self, late: on.Happening) -> None:
        """So it is with a repair that outlives the drain: its task is in doubt."""
        workflow = two()
        workflow.add_recovery("a", nothing, then="retry")
        machine = machine_of(workflow)
        tell(machine, on.AttemptRaised("a", 1.0, FAILED), on.AttemptRaised("b", 1.0, FAILED))
        tell(machine, on.TimerFired(("drain", "")))

        tell(machine, late)

        assert status(machine, "a") == "interrupted"
        assert machine.state.outcome is not None
        assert machine.state.outcome.residue == ["a"]

    def test_of_conditions_and_items_change_nothing(self) -> None:
        """An answer for a task that will not run any more is not needed."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("bad", nothing)
        workflow.add_task("asked", nothing, when=lambda: True)
        workflow.add_map("mapped", nothing, over=[1])
        machine = machine_of(workflow)
        tell(machine, on.AttemptRaised("bad", 1.0, FAILED))

        commands = tell(
            machine,
            on.ConditionAnswered("asked", True),
            on.ItemsListed("mapped", ("mapped[0]",), (1,)),
        )

        assert commands == []
        assert status(machine, "asked") == status(machine, "mapped") == "cancelled"


class TestLeftovers:
    stuck = on.Failure(BOOM, KINDS, 0.5, leftover=True)

    def test_are_waited_for_before_another_attempt(self) -> None:
        """While a thread lives, its task is not tried again; once it has ended, it is."""
        machine = machine_of(two(retry=pyflow.Retry(2)))

        first = tell(machine, on.AttemptRaised("a", 1.0, self.stuck))
        then = tell(machine, on.LeftoverReturned("a"))

        assert first == [on.SetTimer(("leftover", "a"), 60)]
        assert then == [on.SetTimer(("retry", "a"), 0.75)]

    def test_are_not_waited_for_without_end(self) -> None:
        """After the time to drain, the task has failed for good."""
        machine = machine_of(two(retry=pyflow.Retry(2)))
        tell(machine, on.AttemptRaised("a", 1.0, self.stuck))

        tell(machine, on.TimerFired(("leftover", "a")))

        assert (
            machine.state.tasks["a"].reason == "not tried again: its last attempt is still running"
        )

    def test_of_a_task_that_is_not_tried_again(self) -> None:
        """Where no further attempt would follow, the task fails at once; rollback waits for the thread."""
        machine = machine_of(two())
        tell(machine, on.AttemptRaised("a", 1.0, self.stuck), on.AttemptReturned("b", 1.0))
        assert machine.state.status == "rolling_back"
        assert machine.flying == 0

        commands = tell(machine, on.LeftoverReturned("a"))

        assert commands == [on.StartUndo("a", 1)]

    def test_of_an_undo(self) -> None:
        """An undo whose thread still runs has failed: it is not tried again."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", nothing)
        workflow.add_recovery("a", nothing, retry=pyflow.Retry(3))
        machine = machine_of(workflow)
        tell(machine, on.AttemptRaised("a", 1.0, FAILED))

        tell(machine, on.UndoRaised("a", 1.0, self.stuck))

        assert status(machine, "a") == "undo_failed"
        assert machine.state.outcome is not None
        assert machine.state.outcome.residue == ["a"]

    def test_timers_of_what_is_settled(self) -> None:
        """A timer that fires for a task that has settled means nothing."""
        machine = machine_of(two(retry=pyflow.Retry(2)))
        tell(machine, on.AttemptRaised("a", 1.0, FAILED), on.Asked("cancel"))

        commands = tell(machine, on.TimerFired(("retry", "a")), on.TimerFired(("leftover", "a")))

        assert commands == []
        assert status(machine, "a") == "failed"


class TestPauseAndHold:
    def test_a_hold_outlasts_an_unpause(self) -> None:
        """Unpausing a run that is held meanwhile leaves it held; the decision lets it go on."""
        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_task("a", nothing)
        workflow.add_task("b", nothing, depends_on=["a"], join="done")
        machine = machine_of(workflow)
        tell(machine, on.Asked("pause"), on.AttemptRaised("a", 1.0, FAILED))
        assert machine.state.status == "held"

        tell(machine, on.Asked("unpause"))
        assert machine.state.status == "held"
        commands = tell(machine, on.Asked("skip", "ann", "fine", "a"))

        assert machine.state.status == "running"
        assert commands == [on.StartAttempt("b", 1)]

    def test_a_pause_outlasts_a_decision(self) -> None:
        """Deciding a hold of a paused run leaves it paused."""
        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_task("a", nothing)
        machine = machine_of(workflow)
        tell(machine, on.Asked("pause"), on.AttemptRaised("a", 1.0, FAILED))

        commands = tell(machine, on.Asked("retry", "ann", None, "a"))

        assert machine.state.status == "paused"
        assert commands == []

    def test_two_holds_need_two_decisions(self) -> None:
        """Each failed task is decided on its own; the run goes on after the last."""
        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_task("a", nothing)
        workflow.add_task("b", nothing)
        machine = machine_of(workflow)
        tell(machine, on.AttemptRaised("a", 1.0, FAILED), on.AttemptRaised("b", 1.0, FAILED))

        tell(machine, on.Asked("skip", task="a"))
        assert machine.state.status == "held"
        tell(machine, on.Asked("skip", task="b"))

        assert machine.state.status == "succeeded"


class TestTheCause:
    def test_outlives_a_persons_rollback(self) -> None:
        """A run that stopped for a failure and is then rolled back still names that failure."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("a", nothing)
        workflow.add_task("b", nothing)
        workflow.add_recovery("b", nothing)
        machine = machine_of(workflow)
        tell(machine, on.AttemptRaised("a", 1.0, FAILED), on.Asked("rollback", "ann"))

        tell(machine, on.AttemptReturned("b", 1.0), on.UndoReturned("b", 1.0))

        assert machine.state.status == "rolled_back"
        assert machine.state.cause == "a"

    def test_is_refused_after_the_end(self) -> None:
        """Once the outcome is decided, a cancel changes nothing, and is recorded."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", nothing)
        workflow.add_finalizer("f", nothing)
        machine = machine_of(workflow)
        tell(machine, on.AttemptReturned("a", 1.0))

        machine.handle(on.Asked("cancel", "ann"))
        event = machine.take()[0][0]

        assert isinstance(event, ev.CommandReceived)
        assert (event.accepted, event.note) == (False, "the run has ended as succeeded")

    def test_a_rollback_is_refused_past_the_point_of_no_return(self) -> None:
        """A person who asks for it is told why not, and the run goes on."""
        machine = machine_of(two(point_of_no_return=True))

        machine.handle(on.Asked("rollback", "ann"))
        event = machine.take()[0][0]

        assert isinstance(event, ev.CommandReceived)
        assert event.note == "point_of_no_return: a has started, and rollback was asked for"
        assert machine.state.status == "running"


class TestJoins:
    @pytest.mark.parametrize(
        ("join", "fates", "expected"),
        [
            ("success", "oo", "run"),
            ("success", "os", "run"),
            ("success", "ss", "skipped"),
            ("success", "of", "blocked"),
            ("success", "sf", "blocked"),
            ("done", "of", "run"),
            ("done", "ss", "run"),
            ("done", "ff", "run"),
            ("failure", "of", "run"),
            ("failure", "oo", "skipped"),
            ("failure", "ss", "skipped"),
            ("any", "of", "run"),
            ("any", "os", "run"),
            ("any", "ss", "skipped"),
            ("any", "ff", "blocked"),
            ("any", "sf", "blocked"),
        ],
    )
    def test_mean(self, join: Any, fates: str, expected: str) -> None:
        """What each join makes of dependencies that are ok, skipped or failed."""
        workflow = pyflow.Workflow("w", on_failure="continue")
        for number, fate in enumerate(fates):
            workflow.add_task(f"d{number}", nothing, when=(lambda: False) if fate == "s" else None)
        workflow.add_task("t", nothing, depends_on=["d0", "d1"], join=join)
        world = World(
            workflow.check(),
            choose=lambda below: 0,
            fails=lambda what, attempt: what[0] == "d" and fates[int(what[1])] == "f",
            answers=lambda task: False,
        ).run()

        found = world.statuses()["t"]

        assert found == ("succeeded" if expected == "run" else expected)

    def test_any_starts_before_the_others_settle(self) -> None:
        """`any` needs one success, and does not wait for the rest."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", nothing)
        workflow.add_task("b", nothing)
        workflow.add_task("t", nothing, depends_on=["a", "b"], join="any")
        machine = machine_of(workflow)

        commands = tell(machine, on.AttemptReturned("b", 1.0))

        assert commands == [on.StartAttempt("t", 1)]
        assert tell(machine, on.AttemptReturned("a", 1.0)) == []

    def test_an_allowed_failure_counts_as_skipped(self) -> None:
        """A failure under allow_failure is neutral to its dependents."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", nothing, allow_failure=True)
        workflow.add_task("b", nothing)
        workflow.add_task("only", nothing, depends_on=["a"])
        workflow.add_task("both", nothing, depends_on=["a", "b"])
        world = World(
            workflow.check(), choose=lambda below: 0, fails=lambda what, attempt: what == "a"
        ).run()

        assert world.statuses() == {
            "a": "failed",
            "b": "succeeded",
            "only": "skipped",
            "both": "succeeded",
        }
        assert world.status == "succeeded"


class TestLateLocks:
    def test_of_a_task_change_nothing(self) -> None:
        """A refusal for a task that has given up asking meanwhile is no failure of it."""
        machine = machine_of(two(locks=["service:shop"]))
        tell(machine, on.Asked("cancel"))
        before = machine.state.snapshot()

        tell(machine, on.LocksTaken(refusal="it is not free", task="a"))

        assert machine.state.snapshot() == before

    def test_of_a_run_change_nothing(self) -> None:
        """A refusal for a run that was cancelled while it waited changes no outcome."""
        workflow = pyflow.Workflow("w", locks=["service:shop"])
        workflow.add_task("a", nothing)
        machine = machine_of(workflow)
        tell(machine, on.Asked("cancel"))
        before = machine.state.snapshot()

        tell(machine, on.LocksTaken(refusal="it is not free"))

        assert machine.state.snapshot() == before
        assert machine.state.status == "cancelled"

    @pytest.mark.parametrize("on_locked", ["wait", "cancel_holder"])
    def test_whom_to_ask(self, on_locked: Any) -> None:
        """A holder is asked to cancel once, and only where that is the policy."""
        workflow = pyflow.Workflow("w", locks=["service:shop"], on_locked=on_locked)
        workflow.add_task("a", nothing)
        machine = machine_of(workflow)
        met = on.HolderMet("service:shop", 7, "other")

        commands = [*tell(machine, met), *tell(machine, met)]

        asked = [one for one in commands if isinstance(one, on.AskHolder)]
        assert len(asked) == (on_locked == "cancel_holder")
