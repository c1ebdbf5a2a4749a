"""What has to hold in every run, whatever goes wrong.

An invariant looks at a finished run, or at every change of the world, and says
in a sentence what is broken, or None. These are the ones that every rollout
has to keep; users add their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.define.interrupts import NOT_APPLIED, Applied
from pyflow.record.events import InterruptResolved, TaskInterrupted
from pyflow.run.states import RUN_ENDS
from pyflow.testing.world.world import differ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from pyflow.testing.exploration.explored import Explored
    from pyflow.testing.stage import StagedCall
    from pyflow.testing.world import World

__all__ = ["AT_ANY_TIME", "AT_EVERY_CHANGE", "AT_THE_END", "facts_left"]

LYING_WRITES = frozenset({"lies"})
LYING_READS = frozenset({"stale", "flipped"})


# At the end of a run ----------------------------------------------------------------------


def ends(run: Explored) -> str | None:
    """Every run ends in a defined state, within bounded virtual time."""
    if run.engine_error is not None:
        return f"the engine gave up while it was {run.status}: {run.engine_error}"
    if run.status in RUN_ENDS or run.status in ("held", "crashed"):
        return None
    waits = "".join(f"\n    {one}" for one in run.waiting)
    return (
        f"it is still {run.status} after {run.elapsed_s:g} s of virtual time; "
        f"{_under_way(run)}these wait:{waits}"
    )


def _under_way(run: Explored) -> str:
    """Return which calls have not come back, and which of them nothing would end."""
    last = {call.name: call for call in run.calls}
    said = [
        f"{call.label} is under way{'' if _is_bound(run, call) else ' and has no timeout='}; "
        for call in last.values()
        if call.outcome == "under way"
    ]
    return "".join(said)


def _is_bound(run: Explored, call: StagedCall) -> bool:
    """Return whether *call* has a timeout, or is such that it cannot be given one."""
    if call.role == "finalizer":
        return all(one.timeout_s for one, _ in run.plan.finalizers if one.name == call.task)
    task = run.state.tasks[call.task].node.task
    if call.role == "undo":
        return task.undo is None or task.undo.timeout_s is not None
    return call.role not in ("task", "interrupt") or task.timeout_s is not None


def rolled_back_is_as_before(run: Explored) -> str | None:
    """After `rolled_back`, versions, capacity, weights and configuration are as before."""
    if run.status != "rolled_back":
        return None
    return _claimed(run)


def residue_is_complete(run: Explored) -> str | None:
    """Nothing that is still applied is missing from the residue."""
    if run.status != "rollback_failed":
        return None
    return _claimed(run)


def _claimed(run: Explored) -> str | None:
    """Return what differs from before although everyone who touched it claims to be undone."""
    kinds = {fault.kind for fault in run.faults}
    if kinds & LYING_WRITES and kinds & LYING_READS:
        return None  # one who wrote lied, and one who looked lied: nobody could know
    for what, (before, after) in facts_left(run).items():
        authors: AbstractSet[str | None] = run.authors.get(what) or set()
        if authors and None not in authors and all(map(run.is_undone, authors)):
            who = ", ".join(sorted(map(str, authors)))
            return f"{what} is {after!r}, and was {before!r} before; {who} counts as undone"
    return None


def locks_are_released(run: Explored) -> str | None:
    """Locks are released if and only if the run has ended without residue."""
    if run.status == "crashed":
        return None
    over = run.status in RUN_ENDS
    for resource in run.plan.locks:
        holder = run.locks.holder(resource)
        held = holder is not None and holder.lease.run_id == run.id
        others_are_barred = run.locks.refusal([resource]) is not None
        barred = others_are_barred and run.locks.refusal([resource], run_id=run.id) is None
        if over and held:
            return f"the run has ended as {run.status} and still holds {resource!r}"
        if over and barred is not bool(run.residue):
            left = ", ".join(run.residue) or "nothing"
            free = "barred" if barred else "free"
            return f"{resource!r} is {free}, and what the run left is: {left}"
        if run.status == "held" and not held:
            return f"the run is held and no longer holds {resource!r}"
    return None


def no_secret_is_written(run: Explored) -> str | None:
    """No secret is in any record, nor in any notification."""
    if not run.redactor:
        return None
    for number, event in enumerate(run.events, start=1):
        path = run.redactor.find(_plain(event), root=event.kind)
        if path is not None:
            return f"record {number} holds a secret, at {path}"
    return None


def conditions_decide(run: Explored) -> str | None:
    """A task whose `when=` is false is skipped, and one whose `when=` raises has failed."""
    for call in _last_calls(run, "when"):
        became = next((e.kind for e in run.events if getattr(e, "task", None) == call.task), None)
        if became is None or became == "task_cancelled":
            continue
        if call.outcome == "raised" and became != "task_failed":
            return f"{call.label} raised, and what followed is {became}"
        if call.answer is False and became != "task_skipped":
            return f"{call.label} answered False, and what followed is {became}"
        if call.answer is True and became == "task_skipped":
            return f"{call.label} answered True, and {call.task} was skipped"
    return None


def interruptions_decide(run: Explored) -> str | None:
    """What the `on_interrupt=` of a task finds out is what counts."""
    for call in _last_calls(run, "interrupt"):
        found = _found(call.answer) if call.outcome == "returned" else "unknown"
        counted = _counted(run, call)
        if counted is not None and counted.answer != found and counted.reason is None:
            return f"{call.label} found {found}, and what counted is {counted.answer}"
    return None


def _counted(run: Explored, call: StagedCall) -> InterruptResolved | None:
    """Return what is recorded as found of the attempt that *call* looked into."""
    attempt, counted = 0, None
    for one in run.events:
        if isinstance(one, TaskInterrupted) and one.task == call.task:
            attempt = one.attempt
        elif (
            isinstance(one, InterruptResolved)
            and (one.task, attempt) == (call.task, call.attempt)
            and one.source not in ("person", "rerun")
        ):
            counted = one
    return counted


def _found(answer: object) -> str:
    """Return what an answer of an `on_interrupt=` says."""
    if isinstance(answer, Applied):
        return "applied"
    return "not_applied" if answer is NOT_APPLIED else "unknown"


def _last_calls(run: Explored, role: str) -> Iterable[StagedCall]:
    """Return the last call of each function of *role*, where it has ended.

    One before it was lost with its engine, which did not come to record it.
    """
    last = {call.task: call for call in run.calls if call.role == role}
    return [call for call in last.values() if call.outcome != "under way"]


# At every change of the world -------------------------------------------------------------


def someone_is_ready(world: World) -> Iterator[tuple[str, str]]:
    """No traffic reaches a version with nothing ready."""
    now_s = world.now_s
    for service in world.services.values():
        yield from service.unserved(now_s).items()


def capacity_covers_traffic(world: World) -> Iterator[tuple[str, str]]:
    """Ready capacity covers the traffic of every version."""
    now_s = world.now_s
    for service in world.services.values():
        yield from service.overloaded(now_s).items()


def weights_sum_to_100(world: World) -> Iterator[tuple[str, str]]:
    """The weights of every service sum to 100."""
    for service in world.services.values():
        total = sum(service.now.weights.values())
        if service.routed and abs(total - 100) > 1e-6:
            yield service.name, f"the weights of {service.name} sum to {total:g}"


AT_THE_END: tuple[Callable[[Explored], str | None], ...] = (
    ends,
    rolled_back_is_as_before,
    residue_is_complete,
    locks_are_released,
)
AT_ANY_TIME: tuple[Callable[[Explored], str | None], ...] = (
    no_secret_is_written,
    conditions_decide,
    interruptions_decide,
)
AT_EVERY_CHANGE: tuple[Callable[[World], Iterator[tuple[str, str]]], ...] = (
    someone_is_ready,
    capacity_covers_traffic,
    weights_sum_to_100,
)


def facts_left(run: Explored) -> dict[str, tuple[Any, Any]]:
    """Return every fact that is not as it was before the run, with both values."""
    before, after = run.before, run.after
    return {
        what: (before.get(what), after.get(what))
        for what in {**before, **after}
        if differ(before.get(what), after.get(what))
    }


def _plain(event: Any) -> dict[str, Any]:
    from pyflow.record.codec import event_data  # noqa: PLC0415 - only where there are secrets

    return event_data(event)
