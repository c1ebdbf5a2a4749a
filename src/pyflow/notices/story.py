"""The story of a run so far: a fold over its records, in the words of people who were told it.

It needs no plan and no engine, so that whoever has the journal can tell it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.record import events as ev
from pyflow.record.rendering import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from pyflow.record.codec import Record

__all__ = ["Story"]

DONE = ("succeeded", "skipped")


class Story:
    """Where a run stands. `tell` takes its records in, in order."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.workflow = ""
        self.status = "pending"
        self.environment: str | None = None
        self.tier: str | None = None
        self.initiator = ""
        self.host = ""
        self.ci: dict[str, str] = {}
        self.params: dict[str, str] = {}
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.tasks: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.undo_errors: dict[str, str] = {}
        self.undone: dict[str, None] = {}
        self.applied: dict[str, None] = {}
        self.questions: dict[str, str] = {}
        self.in_doubt: dict[str, None] = {}
        self.failed: dict[str, None] = {}
        self.cause: str | None = None
        self.reason = ""
        self.residue: tuple[str, ...] = ()
        self.not_undone: tuple[str, ...] = ()

    def tell(self, records: Iterable[Record]) -> Story:
        """Take *records* in, and return the story itself."""
        for record in records:
            event = record.event
            if isinstance(event, ev.RunStarted):
                self.started_at = record.at
            elif isinstance(event, ev.RunFinished):
                self.ended_at = record.at
            tell = _TELL.get(type(event))
            if tell is not None:
                tell(self, event)
        return self

    @property
    def done(self) -> int:
        """How many tasks have succeeded, or were not needed."""
        return sum(status in DONE for status in self.tasks.values())

    @property
    def still_applied(self) -> tuple[str, ...]:
        """Tasks whose effect is known to be there, though it was to be taken back."""
        return self.residue or tuple(name for name in self.applied if name not in self.undone)

    def failure(self, task: str | None = None) -> str:
        """Return what went wrong with *task*, or with what decided the run, in a line."""
        name = task or self.cause or next(iter(self.failed), None)
        error = self.errors.get(name, "") if name is not None else ""
        return f"{name}: {error}" if name and error else name or ""

    # What each event changes --------------------------------------------------------------

    def _began(self, event: ev.RunStarted) -> None:
        environment = event.environment or {}
        self.workflow, self.status = event.workflow, "running"
        self.environment, self.tier = environment.get("name"), environment.get("tier")
        self.initiator = str(event.initiator.get("id", ""))
        self.host = str(event.origin.get("host", ""))
        ci: dict[str, Any] = event.origin.get("ci") or {}
        self.ci = {name: str(value) for name, value in ci.items()}
        self.params = {name: text_of(value) for name, value in event.params.items()}
        self.tasks = dict.fromkeys(event.plan, "pending")

    def _resumed(self, event: ev.RunResumed) -> None:
        self.status, self.ended_at = "running", None
        self.initiator = self.initiator or str(event.initiator.get("id", ""))

    def _paused(self, event: ev.RunPaused) -> None:
        self.status, self.reason = "paused", event.reason

    def _unpaused(self, _: ev.RunUnpaused) -> None:
        self.status, self.reason = "running", ""

    def _aims(self, event: ev.IntentRaised) -> None:
        self.reason = event.reason
        self.cause = event.task or self.cause
        self.status = {"hold": "held", "rollback": "rolling_back"}.get(event.intent, self.status)

    def _released(self, event: ev.HoldReleased) -> None:
        self.status, self.reason = "running", event.reason or ""
        self.failed.pop(event.task, None)

    def _started(self, event: ev.TaskStarted) -> None:
        self.tasks[event.task] = "running"

    def _succeeded(self, event: ev.TaskSucceeded) -> None:
        self.tasks[event.task] = "succeeded"
        self.failed.pop(event.task, None)

    def _attempt_failed(self, event: ev.AttemptFailed) -> None:
        self.errors[event.task] = _words(event.error)

    def _failed(self, event: ev.TaskFailed) -> None:
        self.tasks[event.task] = "failed"
        if event.error is not None:
            self.errors[event.task] = _words(event.error)
        if not event.allowed:
            self.failed[event.task] = None

    def _handled(self, event: ev.FailureHandled) -> None:
        self.failed.pop(event.task, None)

    def _skipped(self, event: ev.TaskSkipped) -> None:
        self.tasks[event.task] = "skipped"

    def _blocked(self, event: ev.TaskBlocked) -> None:
        self.tasks[event.task] = "blocked"

    def _cancelled(self, event: ev.TaskCancelled) -> None:
        self.tasks[event.task] = "cancelled"

    def _interrupted(self, event: ev.TaskInterrupted) -> None:
        self.tasks[event.task] = "interrupted"
        self.in_doubt[event.task] = None
        self.errors.setdefault(event.task, event.reason)

    def _resolved(self, event: ev.InterruptResolved) -> None:
        if event.answer != "unknown":
            self.in_doubt.pop(event.task, None)

    def _undone(self, event: ev.UndoSucceeded) -> None:
        self.undone[event.task] = None
        self.undo_errors.pop(event.task, None)

    def _undo_erred(self, event: ev.UndoAttemptFailed) -> None:
        self.undo_errors[event.task] = _words(event.error)

    def _undo_failed(self, event: ev.UndoFailed) -> None:
        self.applied[event.task] = None

    def _undo_blocked(self, event: ev.UndoBlocked) -> None:
        self.applied[event.task] = None

    def _asked(self, event: ev.ApprovalRequested) -> None:
        self.questions[event.task] = event.question

    def _answered(self, event: ev.ApprovalAnswered) -> None:
        if event.answer != "approve":
            self.questions.pop(event.task, None)

    def _decided(self, event: ev.OutcomeDecided) -> None:
        self.reason = event.reason
        self.residue, self.not_undone = tuple(event.residue or ()), tuple(event.not_undone or ())

    def _ended(self, event: ev.RunFinished) -> None:
        self.status = event.status


def _words(error: ev.ErrorInfo) -> str:
    return f"{error.type}: {error.message}" if error.message else error.type


_TELL: dict[type[ev.Event], Callable[[Story, Any], None]] = {
    ev.RunStarted: Story._began,
    ev.RunResumed: Story._resumed,
    ev.RunPaused: Story._paused,
    ev.RunUnpaused: Story._unpaused,
    ev.IntentRaised: Story._aims,
    ev.HoldReleased: Story._released,
    ev.TaskStarted: Story._started,
    ev.TaskSucceeded: Story._succeeded,
    ev.AttemptFailed: Story._attempt_failed,
    ev.TaskFailed: Story._failed,
    ev.FailureHandled: Story._handled,
    ev.TaskSkipped: Story._skipped,
    ev.TaskBlocked: Story._blocked,
    ev.TaskCancelled: Story._cancelled,
    ev.TaskInterrupted: Story._interrupted,
    ev.InterruptResolved: Story._resolved,
    ev.UndoSucceeded: Story._undone,
    ev.UndoAttemptFailed: Story._undo_erred,
    ev.UndoFailed: Story._undo_failed,
    ev.UndoBlocked: Story._undo_blocked,
    ev.ApprovalRequested: Story._asked,
    ev.ApprovalAnswered: Story._answered,
    ev.OutcomeDecided: Story._decided,
    ev.RunFinished: Story._ended,
}
