"""Laws of a run: what has to hold of every workflow in every world.

Each takes a `World` that has been settled, and raises AssertionError where
the law is broken. What `explore` promises of every run is a law too; the
others are about what no record tells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pyflow.record import events as ev
from pyflow.record.codec import decode_event, event_data
from pyflow.run import inputs as on
from pyflow.run.state import RunState
from pyflow.run.states import RUN_ENDS
from pyflow.testing.exploration import promises
from support.driving import World

SETTLING = (
    ev.TaskSucceeded,
    ev.TaskFailed,
    ev.TaskSkipped,
    ev.TaskBlocked,
    ev.TaskCancelled,
    ev.TaskInterrupted,
)


def settle(world: World) -> World:
    """Run *world*; let a person decide whatever is held, then end what is paused."""
    return decide(world.run())


def decide(world: World) -> World:
    """Let a person decide whatever is held, then end what is paused."""
    for _ in range(50):
        if world.finished:
            break
        if world.state.held:
            world.tell(_decision(world, next(iter(world.state.held)))).continue_()
        elif world.status in ("paused", "held"):
            world.tell(on.Asked("unpause" if world.status == "paused" else "cancel")).continue_()
        else:
            break
    return world


def _decision(world: World, task: str) -> on.Asked:
    state = world.state.tasks[task]
    commands: tuple[Any, ...] = ("retry", "skip", "cancel", "rollback")
    if state.node.task.approval is not None and state.status == "running":
        commands = ("approve", "approve", "approve", "reject")
    elif state.status == "interrupted":
        commands = ("resolve", "resolve", "cancel", "rollback")
    answers: tuple[Any, ...] = ("applied", "not_applied")
    command = commands[world.choose(4)]
    answer = answers[world.choose(2)] if command == "resolve" else None
    return on.Asked(command, "ann", None, task, answer)


def the_end_is_reached(world: World) -> None:
    """Every run ends in a state in which a run may end, unless it waits for ever."""
    stuck = any(kind == "hang" for kind, _ in world.pending)
    assert world.finished or stuck, (world.status, world.pending, world.events)
    assert world.status in RUN_ENDS or stuck


def starts_keep_to_the_limit(world: World) -> None:
    """Never more calls are under way than the limit and the slots allow, but for those in doubt."""
    in_doubt = len(world.of(ev.TaskInterrupted))
    limit = min(world.max_parallel or 1_000, world.slots)
    assert world.most_under_way <= limit + in_doubt


def intent_is_decided_with_its_cause(world: World) -> None:
    """The decision to roll back is in the commit of the failure that caused it."""
    for batch in world.batches:
        for one in batch:
            if isinstance(one, ev.IntentRaised) and one.intent == "rollback" and one.task:
                failed = [e.task for e in batch if isinstance(e, SETTLING)]
                assert failed, batch


def joins_mean_what_they_say(world: World) -> None:
    """Whether a task runs, is skipped or is blocked follows from its dependencies alone."""
    if not world.finished or world.of(ev.IntentRaised, ev.HoldReleased):
        return
    for name, task in world.state.tasks.items():
        node = task.node
        if not node.depends_on or task.parent is not None:
            continue
        deps = [world.state.tasks[d] for d in node.depends_on]
        ok = sum(d.counts_as == "ok" for d in deps)
        bad = sum(d.counts_as == "bad" for d in deps)
        may_run = {
            "success": not bad and ok > 0,
            "done": True,
            "failure": bad > 0,
            "any": ok > 0,
        }[node.task.join]
        if not may_run:
            assert task.attempt == 0
            blocked = bad > 0 and node.task.join in ("success", "any")
            assert task.status == ("blocked" if blocked else "skipped"), (name, task.status)
        else:
            assert task.status != "blocked"


def replay_gives_the_same_state(world: World) -> None:
    """The events alone, even read back from their stored form, give the state of the run."""
    stored = [decode_event(e.kind, event_data(e)) for e in world.events]
    assert RunState.replay(world.plan, stored).snapshot() == world.state.snapshot()


def calls_are_made_under_their_locks(world: World) -> None:
    """What is tried, repaired or undone has its locks, which are given back at the end, but for residue."""
    held: set[str] = set()
    nodes = {name: task.node for name, task in world.state.tasks.items()}
    for event in world.events:
        if isinstance(event, ev.RunResumed):
            held.clear()  # the process that had them is dead
        elif isinstance(event, ev.LockAcquired):
            held.add(event.resource)
        elif isinstance(event, ev.LockReleased):
            held.remove(event.resource)
        elif isinstance(event, ev.TaskStarted | ev.RepairStarted | ev.UndoStarted):
            assert held.issuperset({*world.plan.locks, *nodes[event.task].locks}), event
    if world.finished:
        residue = world.state.outcome.residue or ()
        left = {lock for name in residue for lock in nodes[name].locks}
        assert held == (left.union(world.plan.locks) if residue else set())


def tasks_give_their_locks_back(world: World) -> None:
    """A task without an undo that has settled keeps no lock, unless another one needs it or a person decides."""
    if world.finished or world.pending or world.state.held:
        return
    held = set(world.state.locks).difference(world.plan.locks)
    tasks = world.state.tasks.values()
    open_ones = [t for t in tasks if not t.settled or (t.attempt and t.node.undo is not None)]
    assert held.issubset(lock for task in open_ones for lock in task.node.locks)


def kept(promise: Callable[[Any], str | None]) -> Callable[[World], None]:
    """Return the law that *promise* is kept."""

    @functools.wraps(promise)
    def law(world: World) -> None:
        broken = promise(world)
        assert broken is None, broken

    return law


starts_stop_when_the_run_does = kept(promises.starts_stop_when_the_run_does)
rollback_goes_backwards = kept(promises.rollback_goes_backwards)

LAWS = (
    the_end_is_reached,
    *map(kept, promises.PROMISES),
    starts_keep_to_the_limit,
    intent_is_decided_with_its_cause,
    joins_mean_what_they_say,
    replay_gives_the_same_state,
    calls_are_made_under_their_locks,
    tasks_give_their_locks_back,
)
