"""What the records of a run say by themselves, without the workflow that it was started from.

`RunState` folds records under a plan, because the engine acts on what comes
out. Whoever only looks has no plan: the outline tells how the run stands,
what became of each task, and what a person is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.record import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from pyflow.record.codec import Record

__all__ = ["Outline", "TaskOutline", "Wait", "outline_of"]

Question: TypeAlias = Literal["approval", "interrupted", "failed"]


@dataclass(slots=True)
class TaskOutline:
    """What the record says of one task."""

    status: str
    """What has become of it."""

    attempts: int = 0
    """How often it was tried."""

    detail: str = ""
    """Why it is so, or what it failed with."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that a person is asked."""

    task: str
    """The task that it is about."""

    kind: Question
    """What is to be decided: a question, an attempt in doubt, or a failure."""

    text: str
    """The question, or why there is one."""


@dataclass(slots=True)
class Outline:
    """How a run stands, by its records."""

    run_id: str
    """Id of the run."""

    start: ev.RunStarted | None = None
    """How it began; None for a part of a trail."""

    started: datetime | None = None
    """When."""

    ended: datetime | None = None
    """When it was over, if it is."""

    status: str = "pending"
    """How it stands: a status of a run, as in the reference of states."""

    reason: str = ""
    """Why it stands so."""

    records: int = 0
    """How many records it has."""

    head: str = ""
    """Hash of the last one."""

    error: str = ""
    """What the failure was that decided it."""

    residue: tuple[str, ...] = ()
    """Tasks whose effect is still applied."""

    tasks: dict[str, TaskOutline] = field(default_factory=dict[str, TaskOutline])
    """What became of each task that the record knows."""

    questions: dict[str, Wait] = field(default_factory=dict[str, Wait])
    """What a person may be asked, by task, as long as it stands."""

    @property
    def waits(self) -> tuple[Wait, ...]:
        """What a person is asked now."""
        return () if self.ended is not None else tuple(self.questions.values())

    def take(self, record: Record) -> None:
        """Take in one more record."""
        self.records, self.head = record.seq, record.hash
        event = record.event
        if isinstance(event, ev.TaskEvent):
            self._take_task(event)
        elif isinstance(event, ev.HoldReleased):
            self._take_release(event)
        else:
            self._take_run(event, record.at)

    def _take_run(self, event: ev.Event, at: datetime) -> None:
        match event:
            case ev.RunStarted():
                self.start, self.started, self.status = event, at, "running"
                self.tasks = {name: TaskOutline("pending") for name in event.plan}
            case ev.RunResumed():
                self.ended = None
                self.status = "running" if self.status != "paused" else self.status
            case ev.RunPaused():
                self.status, self.reason = "paused", event.reason
            case ev.RunUnpaused():
                self.status, self.reason = "running", ""
            case ev.IntentRaised():
                self._raise(event)
            case ev.OutcomeDecided():
                self.residue, self.reason = tuple(event.residue or ()), event.reason
            case ev.RunFinished():
                self.status, self.ended = event.status, at
            case _:
                pass

    def _raise(self, event: ev.IntentRaised) -> None:
        self.reason = event.reason
        if event.intent == "hold":
            self.status = "held"
        elif event.intent == "rollback":
            self.status = "rolling_back"
            self.questions.clear()
        if event.intent != "hold" and event.task is not None:
            self.error = f"{event.task}: {self._task(event.task).detail or event.reason}"
        if event.intent == "hold" and event.task is not None:
            failed = Wait(event.task, "failed", self._task(event.task).detail or event.reason)
            self.questions.setdefault(event.task, failed)

    def _take_release(self, event: ev.HoldReleased) -> None:
        task = self._task(event.task)
        task.status = "waiting" if event.decision == "retry" else "skipped"
        for other in self.tasks.values():  # which of them it had blocked, only the plan knows
            if other.status == "blocked":
                other.status = "pending"
        self._answered(event.task)

    def _take_task(self, event: ev.TaskEvent) -> None:
        task = self._task(event.task)
        status = STATUS_AFTER.get(type(event))
        if status is not None:
            task.status = status
        task.attempts = max(task.attempts, getattr(event, "attempt", 0) if status else 0)
        error: ev.ErrorInfo | None = getattr(event, "error", None)
        if error is not None:
            task.detail = f"{error.type}: {error.message}"
        match event:
            case ev.TaskInterrupted():
                task.detail = event.reason
                self.questions[event.task] = Wait(event.task, "interrupted", event.reason)
            case ev.ApprovalRequested():
                self.questions[event.task] = Wait(event.task, "approval", event.question)
            case ev.InterruptResolved():
                task.status = {"applied": "succeeded", "not_applied": "waiting"}.get(
                    event.answer, task.status
                )
                if event.answer != "unknown":
                    self._answered(event.task)
            case ev.TaskSucceeded() | ev.TaskSkipped() | ev.TaskCancelled():
                task.detail = getattr(event, "reason", "")
                self._answered(event.task)
            case ev.TaskFailed():
                task.detail = task.detail or event.reason
                self.error = self.error or f"{event.task}: {task.detail}"
                self._answered(event.task)
            case _:
                pass

    def _task(self, name: str) -> TaskOutline:
        return self.tasks.setdefault(name, TaskOutline("pending"))

    def _answered(self, task: str) -> None:
        """Take note that nothing is asked about *task* any more."""
        asked = self.questions.pop(task, None)
        if asked is not None and self.status == "held" and self._is_free():
            self.status, self.reason = "running", ""

    def _is_free(self) -> bool:
        """Return whether only open questions are left, for which nothing else has to wait."""
        return all(wait.kind == "approval" for wait in self.questions.values())


STATUS_AFTER: dict[type[ev.Event], str] = {
    ev.TaskStarted: "running",
    ev.TaskSucceeded: "succeeded",
    ev.AttemptFailed: "waiting",
    ev.TaskFailed: "failed",
    ev.TaskSkipped: "skipped",
    ev.TaskBlocked: "blocked",
    ev.TaskCancelled: "cancelled",
    ev.TaskInterrupted: "interrupted",
    ev.UndoStarted: "undoing",
    ev.UndoSucceeded: "undone",
    ev.UndoFailed: "undo_failed",
}


def outline_of(run_id: str, records: Iterable[Record]) -> Outline:
    """Return how the run stands whose *records* these are."""
    outline = Outline(run_id)
    for record in records:
        outline.take(record)
    return outline
