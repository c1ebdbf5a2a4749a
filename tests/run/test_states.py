"""The transition tables, walked."""

from __future__ import annotations

import random
from typing import get_args

import pytest

import pyflow
from pyflow.run.state import RunState, TaskState
from pyflow.run.states import (
    INTENTS,
    RUN_ENDS,
    RUN_TRANSITIONS,
    TASK_SETTLED,
    TASK_TRANSITIONS,
    RunStatus,
    TaskStatus,
)
from support.laws import settle
from support.strategies import nothing, random_workflow, random_world


def plan() -> pyflow.Plan:
    """The plan of one task."""
    workflow = pyflow.Workflow("w")
    workflow.add_task("a", nothing)
    return workflow.check()


class TestTaskState:
    def test_shows_name_and_status(self) -> None:
        """A task's state is short to read."""
        assert repr(RunState(plan()).tasks["a"]) == "<TaskState a pending>"


class TestTables:
    def test_cover_every_state(self) -> None:
        """Each state has its row, and leads only to states there are."""
        assert set(RUN_TRANSITIONS) == set(get_args(RunStatus))
        assert set(TASK_TRANSITIONS) == set(get_args(TaskStatus))
        assert set().union(*RUN_TRANSITIONS.values()) <= set(RUN_TRANSITIONS)
        assert set().union(*TASK_TRANSITIONS.values()) <= set(TASK_TRANSITIONS)

    def test_every_state_can_be_reached(self) -> None:
        """From pending, every state can be reached, and from every state an end."""
        for table, ends in ((RUN_TRANSITIONS, RUN_ENDS), (TASK_TRANSITIONS, TASK_SETTLED)):
            reached, todo = {"pending"}, ["pending"]
            while todo:
                for state in table[todo.pop()]:  # pyright: ignore[reportArgumentType]
                    if state not in reached:
                        reached.add(state)
                        todo.append(state)
            assert reached == set(table)
            assert ends <= reached

    def test_ends_are_ends(self) -> None:
        """A run that has ended changes no more, but for a rollback that is tried again."""
        left = {state: RUN_TRANSITIONS[state] for state in RUN_ENDS if RUN_TRANSITIONS[state]}
        assert left == {end: {"rolling_back"} for end in ("failed", "cancelled", "rollback_failed")}

    def test_intents_rise(self) -> None:
        """The intents are in rising order."""
        assert INTENTS == ("proceed", "hold", "cancel", "rollback")

    @pytest.mark.parametrize("old", TASK_TRANSITIONS)
    def test_tasks_keep_to_theirs(self, old: TaskStatus) -> None:
        """A task refuses every transition that its table lacks, and takes every one it has."""
        for new in TASK_TRANSITIONS:
            state = TaskState("a", plan().nodes["a"], 0)
            state.status = old
            if new in TASK_TRANSITIONS[old]:
                state.move(new)
                assert state.status == new
            else:
                with pytest.raises(AssertionError, match=f"a: {old} -> {new}"):
                    state.move(new)

    @pytest.mark.parametrize("old", RUN_TRANSITIONS)
    def test_runs_keep_to_theirs(self, old: RunStatus) -> None:
        """So does a run; staying where it is is no transition."""
        for new in RUN_TRANSITIONS:
            state = RunState(plan())
            state.status = old
            if new == old or new in RUN_TRANSITIONS[old]:
                state.move(new)
                assert state.status == new
            else:
                with pytest.raises(AssertionError, match=f"run: {old} -> {new}"):
                    state.move(new)

    def test_are_walked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whole runs take the transitions of tasks and runs that forward runs and rollbacks have."""
        walked: set[tuple[str, str]] = set()
        move, run_move = TaskState.move, RunState.move

        def note(self: TaskState, status: TaskStatus) -> None:
            walked.add((self.status, status))
            move(self, status)

        def note_run(self: RunState, status: RunStatus) -> None:
            if self.status != status:
                walked.add((f"run {self.status}", f"run {status}"))
            run_move(self, status)

        monkeypatch.setattr(TaskState, "move", note)
        monkeypatch.setattr(RunState, "move", note_run)
        for seed in range(4_000):
            rng = random.Random(seed)
            settle(random_world(random_workflow(rng), rng))

        tasks = {(old, new) for old, row in TASK_TRANSITIONS.items() for new in row}
        runs = {(f"run {old}", f"run {new}") for old, row in RUN_TRANSITIONS.items() for new in row}
        assert (tasks | runs) - walked == AFTER_A_CRASH


AFTER_A_CRASH = {
    ("interrupted", "undoing"),
    ("interrupted", "waiting"),
    ("interrupted", "succeeded"),
    ("interrupted", "failed"),
    ("undo_failed", "undoing"),
    ("run rollback_failed", "run rolling_back"),
    ("run failed", "run rolling_back"),
    ("run cancelled", "run rolling_back"),
    ("run held", "run failed"),
}
"""Transitions of runs that are taken up again or ask people; tests/run/test_resume.py and
test_approvals.py take them."""
