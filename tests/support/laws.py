"""Laws of a run: what has to hold of every workflow in every world.

Each takes a `World` that has been settled, and raises AssertionError where
the law is broken.
"""

from __future__ import annotations

from typing import Any

from pyflow.record import events as ev
from pyflow.record.codec import decode_event, event_data
from pyflow.run import inputs as on
from pyflow.run.state import RunState
from pyflow.run.states import INTENTS, RUN_ENDS
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
    world.run()
    for _ in range(50):
        if world.finished:
            break
        if world.state.held:
            task = next(iter(world.state.held))
            command: Any = ["retry", "skip", "cancel", "rollback"][world.choose(4)]
            world.tell(on.Asked(command, "ann", None, task)).continue_()
        elif world.status in ("paused", "held"):
            world.tell(on.Asked("unpause" if world.status == "paused" else "cancel")).continue_()
        else:
            break
    return world


def the_end_is_reached(world: World) -> None:
    """Every run ends in a state in which a run may end, unless it waits for ever."""
    stuck = any(kind == "hang" for kind, _ in world.pending)
    assert world.finished or stuck, (world.status, world.pending, world.events)
    assert world.status in RUN_ENDS or stuck


def the_end_leaves_nothing_open(world: World) -> None:
    """In a run that has ended, no task is still to run."""
    if world.finished:
        left = [
            s
            for s in world.statuses().values()
            if s in ("pending", "waiting", "running", "undoing")
        ]
        assert left == []


def the_end_says_how_many_records_there_are(world: World) -> None:
    """The last record names the number of records, and is the last."""
    if world.finished:
        assert isinstance(world.events[-1], ev.RunFinished)
        assert world.events[-1].records == len(world.events)


def the_end_runs_every_finalizer_once(world: World) -> None:
    """Finalizers run once each, in order, after the outcome and before the end."""
    if world.finished:
        names = [e.name for e in world.of(ev.FinalizerStarted)]
        assert names == [f.name for f, _ in world.plan.finalizers]
        decided = next(n for n, e in enumerate(world.events) if isinstance(e, ev.OutcomeDecided))
        assert all(
            n > decided for n, e in enumerate(world.events) if isinstance(e, ev.FinalizerStarted)
        )


def a_start_waits_for_dependencies(world: World) -> None:
    """A task starts after its dependencies settled, but for ``any``, which needs one success."""
    settled: dict[str, str] = {}
    for one in world.events:
        if isinstance(one, ev.TaskStarted) and one.attempt == 1:
            node = world.state.tasks[one.task].node
            if node.task.join == "any":
                assert any(settled.get(d) == "task_succeeded" for d in node.depends_on)
            else:
                assert all(d in settled for d in node.depends_on), (one, settled)
        elif isinstance(one, SETTLING):
            settled[one.task] = one.kind


def a_start_happens_once_an_attempt(world: World) -> None:
    """No attempt of a task, and no try of an undo, is started twice."""
    starts = [(e.kind, e.task, e.attempt) for e in world.of(ev.TaskStarted, ev.UndoStarted)]
    assert len(starts) == len(set(starts))


def starts_keep_to_the_limit(world: World) -> None:
    """Never more calls are under way than the limit and the slots allow, but for those in doubt."""
    in_doubt = len(world.of(ev.TaskInterrupted))
    limit = min(world.max_parallel or 1_000, world.slots)
    assert world.most_under_way <= limit + in_doubt


def starts_stop_when_the_run_does(world: World) -> None:
    """Once the intent is cancel or rollback, no attempt and no repair starts."""
    stopping = False
    for one in world.events:
        if isinstance(one, ev.IntentRaised) and one.intent != "hold":
            stopping = True
        assert not (
            stopping and isinstance(one, (ev.TaskStarted, ev.RepairStarted, ev.RetryScheduled))
        )


def intent_never_falls(world: World) -> None:
    """Intent only rises, but for a recorded decision of a person that ends a hold."""
    level, held = 0, set[str]()
    for one in world.events:
        if isinstance(one, ev.IntentRaised):
            assert INTENTS.index(one.intent) >= level
            level = INTENTS.index(one.intent)
            if one.intent == "hold":
                held.add(one.task or "")
        elif isinstance(one, ev.HoldReleased):
            assert level == INTENTS.index("hold")
            held.remove(one.task)
            level = level if held else 0


def intent_is_decided_with_its_cause(world: World) -> None:
    """The decision to roll back is in the commit of the failure that caused it."""
    for batch in world.batches:
        for one in batch:
            if isinstance(one, ev.IntentRaised) and one.intent == "rollback" and one.task:
                failed = [e.task for e in batch if isinstance(e, SETTLING)]
                assert failed, batch


def rollback_leaves_nothing_unsaid(world: World) -> None:
    """Every started task that has an undo is undone, or is in the residue."""
    if world.status in ("rolled_back", "rollback_failed"):
        residue = world.state.outcome.residue
        for name, task in world.state.tasks.items():
            if task.attempt and task.node.undo is not None and task.items is None:
                assert (task.status == "undone") != (name in residue), name
        assert (world.status == "rolled_back") == (not residue)


def rollback_goes_backwards(world: World) -> None:
    """No undo starts before everything applied that depends on its task is undone."""
    undone: set[str] = set()
    for one in world.events:
        if isinstance(one, ev.UndoStarted):
            for name in after(world, one.task):
                task = world.state.tasks[name]
                if task.attempt and task.node.undo is not None and task.items is None:
                    assert name in undone, (one.task, name)
        elif isinstance(one, ev.UndoSucceeded):
            undone.add(one.task)


def rollback_begins_when_all_is_still(world: World) -> None:
    """No undo starts while an attempt is under way that has not been declared in doubt."""
    running: set[str] = set()
    for one in world.events:
        if isinstance(one, ev.TaskStarted):
            running.add(one.task)
        elif isinstance(one, (*SETTLING, ev.AttemptFailed)):
            running.discard(one.task)
        elif isinstance(one, ev.UndoStarted):
            assert not running


def rollback_is_refused_after_the_point_of_no_return(world: World) -> None:
    """Nothing is undone once a point of no return has started."""
    passed = False
    for one in world.events:
        if isinstance(one, ev.TaskStarted):
            passed = passed or world.state.tasks[one.task].node.task.point_of_no_return
        assert not (passed and isinstance(one, ev.UndoStarted))


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


def after(world: World, name: str) -> set[str]:
    """Return everything that depends on *name*, items included."""
    tasks = world.state.tasks
    found: set[str] = set()
    stack = [tasks[name].parent or tasks[name]]
    while stack:
        for dependent in stack.pop().dependents:
            if dependent.name not in found:
                found.add(dependent.name)
                found.update(item.name for item in dependent.items or ())
                stack.append(dependent)
    return found


LAWS = (
    the_end_is_reached,
    the_end_leaves_nothing_open,
    the_end_says_how_many_records_there_are,
    the_end_runs_every_finalizer_once,
    a_start_waits_for_dependencies,
    a_start_happens_once_an_attempt,
    starts_keep_to_the_limit,
    starts_stop_when_the_run_does,
    intent_never_falls,
    intent_is_decided_with_its_cause,
    rollback_leaves_nothing_unsaid,
    rollback_goes_backwards,
    rollback_begins_when_all_is_still,
    rollback_is_refused_after_the_point_of_no_return,
    joins_mean_what_they_say,
    replay_gives_the_same_state,
)
