"""What has to be checked before a recorded run is taken up again: is it there, is it this plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pyflow.define.environment import Environment, described
from pyflow.errors import CodecError, EngineError, PlanChanged, shown
from pyflow.frozen import frozen
from pyflow.record import events as ev
from pyflow.record.shortcuts import unknown_text
from pyflow.record.values import SECRET_KEY, decoder, encode
from pyflow.run.state import RunState
from pyflow.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyflow.define.plan import Plan
    from pyflow.protocols import Journal
    from pyflow.record.codec import Record

__all__ = [
    "Reopening",
    "began",
    "check_plan",
    "environment_of",
    "params_of",
    "recorded_run",
    "why_no_rollback",
]


@frozen
class Reopening:
    """An order to take a run up again."""

    run_id: str
    plan: Plan
    params: Mapping[str, Any]
    environment: Environment | None
    accept_changes: bool
    initiator: str | None
    roll_back: str | None


def began(records: Sequence[Record]) -> ev.RunStarted:
    """Return how the run began."""
    start = records[0].event
    assert isinstance(start, ev.RunStarted)
    return start


def recorded_run(journal: Journal, run_id: str) -> Sequence[Record]:
    """Return the records of a run.

    Raises:
        EngineError: The journal has no such run; the error names the nearest.
    """
    records = journal.read(run_id)
    if not records or not isinstance(records[0].event, ev.RunStarted):
        raise EngineError(unknown_text(journal, run_id))
    return records


# Is it this plan --------------------------------------------------------------------------


def plan_changes(records: Sequence[Record], plan: Plan) -> dict[str, str]:
    """Return what differs between the recorded plan and *plan*, by task.

    Each is `added`, or `changed` or `removed` and how far it has come. The
    order of declaration is no difference.
    """
    old, new = began(records).plan, plan.digests
    come = _come(records)
    changes: dict[str, str] = {}
    for name in {**old, **new}:
        far = come.get(name, "is still to run")
        if name not in new:
            changes[name] = f"removed, and {far}"
        elif name not in old:
            changes[name] = "added"
        elif old[name] != new[name]:
            changes[name] = f"changed, and {far}"
    return changes


def _come(records: Sequence[Record]) -> dict[str, str]:
    """Return how far each task has come that the record knows of."""
    come: dict[str, str] = {}
    for record in records:
        event = record.event
        if isinstance(event, ev.TaskStarted | ev.MapExpanded):
            come[event.task] = "has been started"
        elif isinstance(event, ev.TaskEvent):
            come.setdefault(event.task, "has been settled")
    return come


def check_plan(records: Sequence[Record], plan: Plan, *, accept_changes: bool) -> dict[str, str]:
    """Return the accepted changes between the recorded plan and *plan*.

    Raises:
        PlanChanged: There are some and they were not accepted, or one that
            cannot be: another workflow, or a task that the record knows and
            that is gone, or is something else now.
    """
    run_id, workflow = records[0].run_id, began(records).workflow
    if workflow != plan.workflow_name:
        raise PlanChanged(
            f"run {run_id} is one of the workflow {workflow!r}, not of {plan.workflow_name!r}", {}
        )
    changes = plan_changes(records, plan)
    lines = "".join(f"\n  {name}: {what}" for name, what in changes.items())
    if changes and not _fits(records, plan):
        raise PlanChanged(
            f"what run {run_id} has done does not fit the plan, which has changed since{lines}\n"
            "Take the run up with the code that started it.",
            changes,
        )
    if changes and not accept_changes:
        raise PlanChanged(
            f"the plan of run {run_id} has changed since it was recorded{lines}\n"
            "Take the run up with the code that started it, or accept the changes with "
            "accept_changes=True.",
            changes,
        )
    return changes


def _fits(records: Sequence[Record], plan: Plan) -> bool:
    """Return whether what is recorded could have happened under *plan*."""
    try:
        state = RunState.replay(plan, [record.event for record in records])
    except (KeyError, IndexError, AssertionError):  # a task, an item or a repair that is not there
        return False
    return all(
        task.items is None or task.node.task.map is not None for task in state.tasks.values()
    )


# With what, and where ---------------------------------------------------------------------


def params_of(
    records: Sequence[Record],
    plan: Plan,
    given: Mapping[str, Any],
    environment: Environment | None,
    secrets: Iterable[Secret] = (),
) -> dict[str, Any]:
    """Return the parameters that the run was started with, as far as they are recorded.

    What no record can hold is *given* again, or is in the *environment*, or
    is the workflow's own default, or is the one of *secrets* with the recorded
    reference.

    Raises:
        EngineError: Something has to be given again, or was given and differs
            from what is recorded; the error lists all of it.
    """
    params = dict(given)
    problems: list[str] = []
    place: Mapping[str, Any] = environment.params if environment is not None else {}
    known = {secret.reference: secret for secret in secrets if secret.reference is not None}
    for name, value in began(records).params.items():
        param = plan.params.get(name)
        if param is None or param.bound is not None:
            continue
        if not _is_gone(value):
            if name in given and not _is_same(given[name], value):
                problems.append(f"{name} was {shown(value)}, and stays that; leave it out")
            params.setdefault(name, _again(value, name))
        elif name in params or name in place or described(param.default) == value:
            continue
        elif value.get(SECRET_KEY) in known:
            params[name] = known[value[SECRET_KEY]]
        else:
            problems.append(f"{name} was {_gone(value)}; give it again, in params=")
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise EngineError(f"run {records[0].run_id} keeps its parameters{lines}")
    return params


def environment_of(records: Sequence[Record], given: Environment | None) -> Environment | None:
    """Return the environment that the run was started in, its parameters being recorded apart.

    Raises:
        EngineError: Another one was given.
    """
    data = began(records).environment
    if given is None:
        if data is None:
            return None
        return Environment(data["name"], tier=data.get("tier"), limits=data.get("limits") or {})
    if data is None or data["name"] != given.name:
        there = "no environment" if data is None else f"the environment {data['name']!r}"
        raise EngineError(
            f"run {records[0].run_id} was started in {there}, and stays there, not in {given.name!r}"
        )
    return given


def _is_gone(value: Any) -> bool:
    """Return whether *value* only tells of something that no record can hold."""
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) != 1:
        return False
    data = cast("dict[str, Any]", value)
    reference = data.get(SECRET_KEY, "env:")
    return "$object" in data or not str(reference).startswith(("env:", "file:"))


def _again(value: Any, name: str) -> Any:
    """Return *value* as it was given: a secret itself, which asks its provider again."""
    if isinstance(value, dict) and [*cast("dict[str, Any]", value)] == [SECRET_KEY]:
        return decoder(Secret)(value, name)
    return cast("Any", value)


def _gone(value: dict[str, Any]) -> str:
    """Return what *value* tells of."""
    if "$object" in value:
        return f"the object {value['$object']}"
    return "a secret that cannot be fetched again"


def _is_same(given: Any, value: Any) -> bool:
    """Return whether *given* is what was recorded as *value*; a secret may have been renewed."""
    if isinstance(given, Secret):
        return isinstance(value, dict) and SECRET_KEY in value
    try:
        return encode(given) == value
    except CodecError:
        return False


# May it go back ---------------------------------------------------------------------------


def why_no_rollback(plan: Plan, records: Sequence[Record]) -> str | None:
    """Return why the run cannot be rolled back, or None."""
    state = RunState.replay(plan, [record.event for record in records])
    end = state.outcome.status if state.outcome is not None else None
    if end in ("succeeded", "rolled_back"):
        return f"run {records[0].run_id} has ended as {end}"
    for task in state.tasks.values():
        if task.attempt and task.node.task.point_of_no_return:
            return f"{task.name} is a point of no return, and has been started"
    return None
