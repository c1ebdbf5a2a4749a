"""The trace of a run: a span for the run, each task, each attempt, and each thing that takes back.

It is a fold over the records, and every id follows from the run's, so the
trace of a run is the same trace whenever and wherever it is made. A run that
was started in a span of somebody else's is a child of that one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pyflow.exports.runs import start_of
from pyflow.exports.semconv import (
    SCHEMA_URL,
    Value,
    clean,
    exception_of,
    facts_of,
    run_of,
)
from pyflow.exports.semconv import resource_of as of_start
from pyflow.frozen import frozen
from pyflow.record import events as ev
from pyflow.tracing import RUN, Parent, Part, parent_of, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.record.audit import AuditTrail
    from pyflow.record.codec import Record

__all__ = ["SCHEMA_URL", "Span", "SpanEvent", "Value", "resource_of", "spans_of"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENTS_MAX = 128
"""How many events a span has, at most; the limit of OpenTelemetry's SDKs."""
OTHER = "_OTHER"
ROLLBACK: Part = ("rollback",)


@frozen
class SpanEvent:
    """Something that happened while a span was open."""

    name: str
    """What, such as ``exception`` or a kind of record."""

    at_ns: int
    """When, in nanoseconds since 1970."""

    attributes: dict[str, Value]
    """More about it."""


@frozen
class Span:
    """A stretch of work in a trace."""

    name: str
    """What it is called."""

    trace_id: str
    """32 hexadecimal digits."""

    span_id: str
    """16 hexadecimal digits."""

    parent_id: str | None
    """The span that it is part of, in 16 hexadecimal digits; None for the root."""

    is_parent_remote: bool
    """Whether that is somebody else's."""

    kind: Literal["server", "internal"]
    """``server`` for the run, ``internal`` for all else."""

    flags: int
    """Whether it is sampled: the last bit."""

    trace_state: str | None
    """The ``tracestate`` that the run was started with."""

    start_ns: int
    """When it began, in nanoseconds since 1970."""

    end_ns: int
    """When it ended; never before it began."""

    attributes: dict[str, Value]
    """What it was, by OpenTelemetry's semantic conventions."""

    events: tuple[SpanEvent, ...]
    """What happened meanwhile; the earliest 128."""

    dropped_events: int
    """How many more there were."""

    error: str | None
    """What went wrong, in words; None where nothing did."""

    links: tuple[Parent, ...]
    """Spans in which the run was resumed."""


def spans_of(trail: AuditTrail) -> tuple[Span, ...]:
    """Return the spans of a run, the run's own ahead, in the order in which they began.

    What has no end in the records ends with the last of them.

    Raises:
        JournalError: The trail does not begin with the run's first record.
    """
    folded = _Fold(trail)
    for record in trail:
        folded.take(record)
    return folded.spans()


def resource_of(trail: AuditTrail) -> dict[str, Value]:
    """Return the attributes of what sent the trace.

    Raises:
        JournalError: The trail does not begin with the run's first record.
    """
    return of_start(start_of(trail))


class _Open:
    """A span that is being put together."""

    def __init__(self, name: str, part: Part, parent: Part | None, at: int) -> None:
        self.name, self.part, self.parent = name, part, parent
        self.start, self.end = at, 0
        self.attributes: dict[str, Value] = {}
        self.events: list[SpanEvent] = []
        self.dropped = 0
        self.error: str | None = None

    def happen(self, name: str, at: int, attributes: dict[str, Value]) -> None:
        if len(self.events) < EVENTS_MAX:
            self.events.append(SpanEvent(name, at, attributes))
        else:
            self.dropped += 1

    def fail(self, error: ev.ErrorInfo, at: int) -> None:
        self.happen("exception", at, exception_of(error))
        self.error = clean(_words(error))
        self.attributes["error.type"] = clean(error.type)


class _Fold:
    """Puts spans together as records come by."""

    def __init__(self, trail: AuditTrail) -> None:
        self.start = start_of(trail)
        self.run_id = trail[0].run_id
        self.trace = trace_of(self.run_id, self.start.origin)
        self.at = _ns(trail[0])
        self.all: dict[Part, _Open] = {}
        self.run = self.open(f"RUN {self.start.workflow}", RUN, None)
        self.status = ""
        self.links: dict[str, Parent] = {}
        self.work: dict[str, _Open] = {}
        """What is under way for each task: an attempt, a repair or an undo."""
        self.maps: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.errors: dict[str, ev.ErrorInfo] = {}
        self.cause: str | None = None
        """The task whose failure decided the run, or may have."""

    def take(self, record: Record) -> None:
        """Take in one more record."""
        self.at = _ns(record)
        event = record.event
        _TAKE.get(type(event), _Fold.happened)(self, event)

    def spans(self) -> tuple[Span, ...]:
        """Return what came of it."""
        run = self.run
        run.end = run.end or self.at
        run.attributes = {**run_of(self.run_id, self.start, self.status), **run.attributes}
        if self.status in ("failed", "rolled_back", "rollback_failed"):
            error = self.errors.get(self.cause or "")
            run.error = clean(f"{self.cause}: {_words(error)}") if error else self.status
            run.attributes["error.type"] = clean(error.type) if error else OTHER
        return tuple(self.finished(one) for one in self.all.values())

    def finished(self, one: _Open) -> Span:
        parent = self.trace.parent if one.parent is None else None
        own = self.trace.span_id(one.parent) if one.parent is not None else None
        return Span(
            name=clean(one.name),
            trace_id=self.trace.trace_id,
            span_id=self.trace.span_id(one.part),
            parent_id=parent.span_id if parent is not None else own,
            is_parent_remote=parent is not None,
            kind="server" if one.parent is None else "internal",
            flags=self.trace.flags,
            trace_state=self.trace.state,
            start_ns=one.start,
            end_ns=max(one.end or self.run.end, one.start),
            attributes=one.attributes,
            events=tuple(one.events),
            dropped_events=one.dropped,
            error=one.error,
            links=tuple(self.links.values()) if one is self.run else (),
        )

    # Parts of it --------------------------------------------------------------------------

    def open(self, name: str, part: Part, parent: Part | None) -> _Open:
        """Begin a span; where one of that name was there, as after a crash, the next of it."""
        own, number = part, 1
        while own in self.all:
            number += 1
            own = (*part, number)
        self.all[own] = one = _Open(name, own, parent, self.at)
        return one

    def close(self, task: str, error: ev.ErrorInfo | None = None) -> None:
        """End what is under way for *task*."""
        one = self.work.pop(task, None)
        if one is not None:
            one.end = self.at
            if error is not None:
                one.fail(error, self.at)

    def task(self, name: str) -> _Open:
        """Return the span of a task, which begins with its first attempt and ends with its last."""
        part: Part = ("task", name)
        if part not in self.all:
            whole = self.maps.get(name)
            one = self.open(name, part, ("task", whole) if whole is not None else RUN)
            one.attributes = {
                "cicd.pipeline.task.name": clean(name),
                "cicd.pipeline.task.run.id": clean(f"{self.run_id}/{name}"),
                "cicd.pipeline.task.run.result": "error",  # until the record says otherwise
            }
            ci: dict[str, Any] = self.start.origin.get("ci") or {}
            if (url := ci.get("run_url")) is not None:
                one.attributes["cicd.pipeline.task.run.url.full"] = clean(url)
        return self.all[part]

    def settle(self, task: str, result: str, error: ev.ErrorInfo | None = None) -> None:
        """End the task, if it was begun; it may begin again."""
        self.close(task)
        one = self.all.get(("task", task))
        if one is None:
            return
        one.end, one.error = self.at, None
        one.attributes.pop("error.type", None)
        one.attributes["cicd.pipeline.task.run.result"] = result
        if result in ("failure", "timeout", "error"):
            one.error = clean(_words(error)) if error is not None else result
            one.attributes["error.type"] = clean(error.type) if error is not None else OTHER

    # What each event changes --------------------------------------------------------------

    def happened(self, event: ev.Event) -> None:
        """Note what is no work: on what is under way for its task, or on the run."""
        task = getattr(event, "task", None)
        one = self.work.get(task or "") or self.all.get(("task", task or "")) or self.run
        if one is self.run:
            self.on_run(event)
        else:
            one.happen(event.kind, self.at, facts_of(event))

    def on_run(self, event: Any, one: _Open | None = None) -> None:
        """Note on the run, or on *one*, what is about more than its task."""
        task = getattr(event, "task", None)
        more: dict[str, Value] = {"pyflow.task": clean(task)} if task is not None else {}
        (one or self.run).happen(event.kind, self.at, facts_of(event) | more)

    def resumed(self, event: ev.RunResumed) -> None:
        self.run.end = 0
        self.happened(event)
        given = event.origin.get("traceparent")
        link = parent_of(given)
        if link is not None and link != self.trace.parent:
            self.links[str(given)] = link

    def finished_run(self, event: ev.RunFinished) -> None:
        self.status, self.run.end = event.status, self.at

    def raised(self, event: ev.IntentRaised) -> None:
        self.on_run(event)
        if event.intent != "hold":
            self.cause = event.task or self.cause
        if event.intent == "rollback" and ROLLBACK not in self.all:
            self.open("rollback", ROLLBACK, RUN).attributes["pyflow.reason"] = clean(event.reason)

    def decided(self, event: ev.OutcomeDecided) -> None:
        self.happened(event)
        if event.residue:
            self.run.attributes["pyflow.residue"] = tuple(map(clean, event.residue))
        back = self.all.get(ROLLBACK)
        if back is not None:
            back.end = self.at
            back.error = "not everything could be taken back" if event.residue else None

    def expanded(self, event: ev.MapExpanded) -> None:
        self.task(event.task).attributes["pyflow.items"] = len(event.names)
        self.maps |= dict.fromkeys(event.names, event.task)

    def started(self, event: ev.TaskStarted) -> None:
        self.task(event.task).end = 0
        part: Part = ("attempt", event.task, event.attempt)
        one = self.open(f"attempt {event.attempt}", part, ("task", event.task))
        one.attributes = {"pyflow.attempt": event.attempt, "pyflow.reason": clean(event.reason)}
        self.work[event.task] = one
        self.attempts[event.task] = event.attempt

    def succeeded(self, event: ev.TaskSucceeded) -> None:
        self.settle(event.task, "success")
        if event.repaired:
            self.task(event.task).attributes["pyflow.repaired"] = True

    def attempt_failed(self, event: ev.AttemptFailed) -> None:
        self.errors[event.task] = event.error
        self.close(event.task, event.error)

    def failed(self, event: ev.TaskFailed) -> None:
        error = event.error or self.errors.get(event.task)
        if error is not None:
            self.errors[event.task] = error
        is_late = error is not None and error.type == "TaskTimeout"
        self.settle(event.task, "timeout" if is_late else "failure", error)
        if not event.allowed:
            self.cause = self.cause or event.task

    def interrupted(self, event: ev.TaskInterrupted) -> None:
        error = ev.ErrorInfo("Interrupted", event.reason)
        self.close(event.task, error)
        self.settle(event.task, "error", error)

    def resolved(self, event: ev.InterruptResolved) -> None:
        self.happened(event)
        if event.answer == "applied":
            self.settle(event.task, "success")

    def left_out(self, event: Any) -> None:
        self.happened(event)
        is_cut = isinstance(event, ev.TaskCancelled)
        self.settle(event.task, "cancellation" if is_cut else "skip")

    def repair_started(self, event: ev.RepairStarted) -> None:
        part: Part = ("repair", event.task, self.attempts.get(event.task, 1))
        self.work[event.task] = self.open(f"repair {event.name}", part, ("task", event.task))

    def undo_started(self, event: ev.UndoStarted) -> None:
        part: Part = ("undo", event.task, event.attempt)
        parent = ROLLBACK if ROLLBACK in self.all else RUN
        one = self.open(f"undo {event.task}", part, parent)
        one.attributes = {"pyflow.task": clean(event.task), "pyflow.attempt": event.attempt}
        self.work[event.task] = one
        if ROLLBACK in self.all:
            self.all[ROLLBACK].end = 0

    def ended(self, event: Any) -> None:
        self.close(event.task, getattr(event, "error", None))

    def stays(self, event: Any) -> None:
        self.on_run(event, self.all.get(ROLLBACK))

    def finalizer_started(self, event: ev.FinalizerStarted) -> None:
        one = self.open(f"finalizer {event.name}", ("finalizer", event.name), RUN)
        self.work[f"finalizer {event.name}"] = one

    def finalizer_ended(self, event: Any) -> None:
        self.close(f"finalizer {event.name}", getattr(event, "error", None))

    def ignored(self, event: ev.Event) -> None:
        """Leave out what the spans say themselves."""


def _words(error: ev.ErrorInfo) -> str:
    return f"{error.type}: {error.message}"


def _ns(record: Record) -> int:
    return (record.at - EPOCH) // timedelta(microseconds=1) * 1_000


_TAKE: dict[type[ev.Event], Callable[[_Fold, Any], None]] = {
    ev.RunStarted: _Fold.ignored,
    ev.RunResumed: _Fold.resumed,
    ev.RunFinished: _Fold.finished_run,
    ev.IntentRaised: _Fold.raised,
    ev.HoldReleased: _Fold.on_run,
    ev.OutcomeDecided: _Fold.decided,
    ev.MapExpanded: _Fold.expanded,
    ev.TaskStarted: _Fold.started,
    ev.TaskSucceeded: _Fold.succeeded,
    ev.AttemptFailed: _Fold.attempt_failed,
    ev.TaskFailed: _Fold.failed,
    ev.TaskInterrupted: _Fold.interrupted,
    ev.InterruptResolved: _Fold.resolved,
    ev.TaskSkipped: _Fold.left_out,
    ev.TaskBlocked: _Fold.left_out,
    ev.TaskCancelled: _Fold.left_out,
    ev.RepairStarted: _Fold.repair_started,
    ev.RepairSucceeded: _Fold.ended,
    ev.RepairFailed: _Fold.ended,
    ev.UndoStarted: _Fold.undo_started,
    ev.UndoSucceeded: _Fold.ended,
    ev.UndoAttemptFailed: _Fold.ended,
    ev.UndoFailed: _Fold.stays,
    ev.UndoBlocked: _Fold.stays,
    ev.FinalizerStarted: _Fold.finalizer_started,
    ev.FinalizerSucceeded: _Fold.finalizer_ended,
    ev.FinalizerFailed: _Fold.finalizer_ended,
}
