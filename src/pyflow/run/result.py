"""What came of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from pyflow.errors import CodecError, RecoveryError, RunFailed, TaskError, TaskTimeout
from pyflow.frozen import frozen
from pyflow.run.holding import to_decide
from pyflow.run.state import no_task

if TYPE_CHECKING:
    from datetime import datetime

    from pyflow.define.environment import Environment
    from pyflow.record.audit import AuditTrail
    from pyflow.record.events import ErrorInfo
    from pyflow.run.driver import Driver
    from pyflow.run.state import RunState, TaskState
    from pyflow.run.states import RunStatus, TaskStatus

__all__ = ["Metrics", "Result", "TaskResult", "Tasks"]


@frozen
class TaskResult:
    """What came of one task."""

    name: str
    """Its name."""

    status: TaskStatus
    """What has become of it."""

    output: Any
    """What it returned, as the type that its function declares; None where it gave nothing."""

    attempts: int
    """How often it was tried."""

    duration_s: float
    """How long its attempts took together, in seconds."""

    error: TaskError | None
    """Why it failed; its cause is the exception itself, in the process that saw it."""

    reason: str | None
    """Why it ran, or why it did not."""

    repaired: bool = False
    """Whether a repair supplied the output."""

    still_running: bool = False
    """Whether a thread goes on with what has timed out."""


@frozen
class Metrics:
    """How the time was spent."""

    wall_s: float
    """From the first record to the last, in seconds."""

    critical_path: tuple[str, ...]
    """The chain of tasks that took longest, one waiting for the next."""

    critical_path_s: float
    """How long that chain worked, in seconds."""

    overhead_s: float
    """The wall time that is not work on the critical path: waits for retries, for
    slots and for people, rollback, and pyflow itself."""

    retries: int
    """How many attempts were made beyond each task's opening one."""


class Tasks(Mapping[str, TaskResult]):
    """The results of all tasks by name, items of maps included; each is made when asked for."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._states = driver.state.tasks

    def __getitem__(self, name: str) -> TaskResult:
        state = self._states.get(name)
        if state is None:
            raise KeyError(no_task(name, self._states))
        return TaskResult(
            name=name,
            status=state.status,
            output=_output(state),
            attempts=state.attempt,
            duration_s=round(state.duration_s, 6),
            error=self._driver.error_of(name),
            reason=state.reason,
            repaired=state.repaired,
            still_running=state.leftover,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name}: {s.status}' for name, s in self._states.items())}}}"


@dataclass(frozen=True)
class Result:
    """What came of a run. `status` says it in a word, `audit_trail` in full."""

    run_id: str
    """Id of the run."""

    workflow: str
    """Name of the workflow."""

    status: RunStatus
    """How the run ended, or `held` where it waits for a person."""

    environment: Environment | None
    """Where it ran."""

    error: TaskError | None
    """The root cause: the failure that decided the run."""

    tasks: Tasks = field(repr=False)
    """What came of each task."""

    residue: tuple[str, ...] = field(repr=False)
    """Tasks whose effect is still applied after a rollback, in the order of undo."""

    not_undone: tuple[str, ...] = field(repr=False)
    """Tasks that were started and have no undo, after a rollback."""

    recovery_errors: Mapping[str, RecoveryError] = field(repr=False)
    """Why undos failed, by task."""

    finalizer_errors: Mapping[str, RecoveryError] = field(repr=False)
    """Why finalizers failed, by name."""

    to_decide: tuple[str, ...] = field(repr=False)
    """What a held run waits for, in words, with the calls that decide it."""

    audit_trail: AuditTrail = field(repr=False)
    """Everything that happened, in order."""

    metrics: Metrics = field(repr=False)
    """How the time was spent."""

    def raise_for_status(self) -> Result:
        """Return this result if the run succeeded.

        Raises:
            RunFailed: It did not; the error holds this result, and its cause
                is the failure that decided the run.
        """
        if self.status == "succeeded":
            return self
        why = f": {self.error}" if self.error is not None else ""
        left = f"; still applied: {', '.join(self.residue)}" if self.residue else ""
        raise RunFailed(
            f"run {self.run_id} of {self.workflow!r} ended as {self.status}{why}{left}", self
        ) from self.error

    def __str__(self) -> str:
        lines = [f"{self.workflow}: {self.status} (run {self.run_id}, {self.metrics.wall_s:.3f} s)"]
        lines += [f"  {name}: {state.status}" for name, state in self.tasks.items()]
        if self.error is not None:
            lines.append(f"  because {self.error}")
        if self.residue:
            lines.append(f"  still applied: {', '.join(self.residue)}")
        if self.to_decide:
            lines.append(
                "  it waits for a person, who decides with the run of engine.start(), or of "
                f"engine.reopen({self.run_id!r}, workflow):"
            )
            lines += [f"    {line}" for line in self.to_decide]
        if self.status == "paused":
            lines.append(f"  it is paused; engine.resume({self.run_id!r}, workflow) goes on")
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return what a notebook shows: how it ended, why, and when what happened."""
        from pyflow.reports.notebook import result_bundle  # noqa: PLC0415 - only notebooks ask for it

        return result_bundle(self)


def make_result(driver: Driver, trail: AuditTrail) -> Result:
    """Return what came of the run that *driver* carries out."""
    state = driver.state
    outcome, errors = state.outcome, driver.worker.errors
    return Result(
        run_id=driver.run_id,
        workflow=state.plan.workflow_name,
        status=state.status,
        environment=driver.environment,
        error=_root_cause(driver, state),
        tasks=Tasks(driver),
        residue=tuple(outcome.residue or ()) if outcome else (),
        not_undone=tuple(outcome.not_undone or ()) if outcome else (),
        recovery_errors={
            name: recovery_error(name, s.undo_error, errors.get(("undo", name)))
            for name, s in state.tasks.items()
            if s.undo_error is not None and s.status == "undo_failed"
        },
        finalizer_errors={
            name: recovery_error(name, info, errors.get(("finalizer", name)))
            for name, info in state.finalizer_errors.items()
        },
        to_decide=to_decide(state),
        audit_trail=trail,
        metrics=_metrics(state, driver.started_at, driver.ended_at),
    )


def task_error(state: TaskState, cause: BaseException | None) -> TaskError | None:
    """Return why a task failed, with the exception as its cause where it is known."""
    info = state.error
    if info is None:
        return None
    kind = TaskTimeout if info.type == "TaskTimeout" else TaskError
    error = kind(state.name, info.type, info.message, info.traceback)
    error.__cause__ = cause
    return error


def recovery_error(name: str, info: ErrorInfo, cause: BaseException | None) -> RecoveryError:
    """Return why an undo or a finalizer failed."""
    error = RecoveryError(name, info.type, info.message, info.traceback)
    error.__cause__ = cause
    return error


def _root_cause(driver: Driver, state: RunState) -> TaskError | None:
    name = state.cause or next(iter(state.held), None) or next(iter(state.failures), None)
    return driver.error_of(name) if name is not None else None


def _output(state: TaskState) -> Any:
    if state.output is None:
        return None
    if state.items is not None:
        return [_output(item) for item in state.items]
    try:
        return state.node.returns(state.output, state.name)
    except CodecError:  # it returned something else than it declares
        return state.output


def _metrics(state: RunState, started: datetime | None, ended: datetime | None) -> Metrics:
    wall_s = (ended - started).total_seconds() if started and ended else 0.0
    done: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name in chain.from_iterable(state.plan.stages):
        one = state.tasks[name]
        before[name] = longest = max(one.node.depends_on, key=done.__getitem__, default=None)
        done[name] = one.duration_s + (done[longest] if longest is not None else 0.0)
    last = max(done, key=done.__getitem__, default=None)
    path: list[str] = []
    at = last
    while at is not None:
        path.append(at)
        at = before[at]
    path_s = done[last] if last is not None else 0.0
    return Metrics(
        wall_s=round(wall_s, 6),
        critical_path=tuple(reversed(path)),
        critical_path_s=round(path_s, 6),
        overhead_s=round(max(0.0, wall_s - path_s), 6),
        retries=sum(
            s.attempt - 1 for s in state.tasks.values() if s.attempt > 1 and s.items is None
        ),
    )
