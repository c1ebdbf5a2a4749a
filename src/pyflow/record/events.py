"""The one vocabulary of a run: every kind of event that a journal can hold.

Events are facts, in the past tense. The state of a run is a fold over them
(`pyflow.run.state`), the audit trail is their rendering
(`pyflow.record.audit`), and there is no other record, so these can never
disagree. Fields hold JSON data; a field that is None is left out of the
stored form, so a field may be added later without touching old records.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pyflow.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVENTS", "FREE_TEXT", "ErrorInfo", "Event", "TaskEvent"]


@frozen
class ErrorInfo:
    """An exception, in the form in which it is recorded."""

    type: str
    """The name of its class."""

    message: str
    """Its text, redacted and at most 4,000 characters long."""

    traceback: str = ""
    """Where it came from, redacted; the innermost frames are kept."""


class Event(Frozen):
    """Something that happened in a run."""

    __slots__ = ()
    kind: ClassVar[str] = ""


class TaskEvent(Event):
    """Something that happened to one task."""

    __slots__ = ()

    task: str
    """The task that it is about."""


# The run as a whole -----------------------------------------------------------------------


@frozen
class RunStarted(Event):
    """A run began: who wanted what, where."""

    kind: ClassVar[str] = "run_started"
    workflow: str
    """Name of the workflow."""
    fingerprint: str
    """Fingerprint of the plan that runs."""
    params: dict[str, Any]
    """The parameters, after defaults and the environment's values."""
    initiator: dict[str, str]
    """Who asked for the run, and how that is known."""
    origin: dict[str, Any]
    """Host, process, versions and CI context."""
    plan: dict[str, str]
    """Digest of every task's definition, to tell later what has changed."""
    environment: dict[str, Any] | None = None
    """Name, tier and limits of the environment."""
    parent: str | None = None
    """Id of the run that started this one."""


@frozen
class RunResumed(Event):
    """Another engine took the run up where the journal ends."""

    kind: ClassVar[str] = "run_resumed"
    initiator: dict[str, str]
    """Who asked for it."""
    origin: dict[str, Any]
    """Host, process, versions and CI context."""
    changes: dict[str, str] | None = None
    """What differs in the plan, by task, where a changed plan was accepted."""


@frozen
class RunPaused(Event):
    """Nothing further starts until the run is unpaused."""

    kind: ClassVar[str] = "run_paused"
    reason: str
    """Why."""
    by: str | None = None
    """Who asked for it."""


@frozen
class RunUnpaused(Event):
    """The run goes on."""

    kind: ClassVar[str] = "run_unpaused"
    reason: str | None = None
    """Why."""
    by: str | None = None
    """Who asked for it."""


@frozen
class IntentRaised(Event):
    """What the run aims at rose: proceed < hold < cancel < rollback."""

    kind: ClassVar[str] = "intent_raised"
    intent: Literal["hold", "cancel", "rollback"]
    """The new aim."""
    reason: str
    """Why."""
    task: str | None = None
    """The task whose failure caused it."""
    by: str | None = None
    """Who asked for it, where a person did."""


@frozen
class HoldReleased(Event):
    """A person decided, and a held run goes on. Only this lowers an intent."""

    kind: ClassVar[str] = "hold_released"
    decision: Literal["retry", "skip"]
    """What is to become of the task that failed."""
    task: str
    """That task."""
    by: str | None = None
    """Who decided."""
    reason: str | None = None
    """Why."""
    passed: bool | None = None
    """Whether what depends on a task that is skipped takes it for one that has succeeded."""


@frozen
class PassedOver(Event):
    """A person has tasks left out, as if they had passed: at once, or when their turn comes."""

    kind: ClassVar[str] = "passed_over"
    command: Literal["skip", "promote"]
    """What was asked."""
    tasks: list[str]
    """The tasks that are left out."""
    by: str
    """Who decided."""
    reason: str | None = None
    """Why."""


@frozen
class CommandReceived(Event):
    """Somebody asked something of the run: pause, cancel, skip and the like."""

    kind: ClassVar[str] = "command_received"
    command: str
    """What was asked."""
    accepted: bool
    """Whether it changed anything; what came too late is recorded all the same."""
    by: str | None = None
    """Who asked."""
    reason: str | None = None
    """Why."""
    task: str | None = None
    """The task that it is about."""
    note: str | None = None
    """Why it was not accepted."""
    inbox_id: str | None = None
    """Its number in the inbox, where another process left it there."""


@frozen
class OutcomeDecided(Event):
    """How the run will end is settled; finalizers follow."""

    kind: ClassVar[str] = "outcome_decided"
    status: str
    """The status that the run will end with."""
    reason: str
    """Why."""
    residue: list[str] | None = None
    """Effects that are still applied, in the order in which they would be undone."""
    not_undone: list[str] | None = None
    """Started tasks that have no undo."""


@frozen
class RunFinished(Event):
    """The run is over. Nothing follows."""

    kind: ClassVar[str] = "run_finished"
    status: str
    """How it ended."""
    records: int
    """Number of records in this run, this one included."""


# Tasks ------------------------------------------------------------------------------------


@frozen
class TaskStarted(TaskEvent):
    """An attempt is about to be made; its outcome is not known yet."""

    kind: ClassVar[str] = "task_started"
    task: str
    """Name of the task."""
    attempt: int
    """Number of the attempt, from 1."""
    reason: str
    """Why it may run now."""


@frozen
class TaskSucceeded(TaskEvent):
    """The task is done."""

    kind: ClassVar[str] = "task_succeeded"
    task: str
    """Name of the task."""
    attempt: int
    """The attempt that succeeded, or that a repair made good."""
    duration_s: float
    """How long that attempt took, in seconds."""
    output: Any = None
    """What it returned, as JSON data."""
    repaired: bool | None = None
    """True where a repair supplied the output."""


@frozen
class AttemptFailed(TaskEvent):
    """An attempt went wrong; what becomes of the task follows."""

    kind: ClassVar[str] = "attempt_failed"
    task: str
    """Name of the task."""
    attempt: int
    """Number of the attempt."""
    error: ErrorInfo
    """What it raised."""
    duration_s: float
    """How long it took, in seconds."""
    leftover: bool | None = None
    """True where it timed out on a thread that still runs."""
    kinds: list[str] | None = None
    """Qualified names of the exception's classes, where another try may follow."""
    asks: bool | None = None
    """True where a person is asked to decide, whatever `on_failure` says."""


@frozen
class LeftoverEnded(TaskEvent):
    """A thread that outlived its attempt has ended."""

    kind: ClassVar[str] = "leftover_ended"
    task: str
    """Name of the task."""


@frozen
class RetryScheduled(TaskEvent):
    """The task will be tried again."""

    kind: ClassVar[str] = "retry_scheduled"
    task: str
    """Name of the task."""
    attempt: int
    """Number of the coming attempt."""
    delay_s: float
    """How long to wait before it, in seconds."""


@frozen
class TaskFailed(TaskEvent):
    """The task has failed; no attempt and no repair is left."""

    kind: ClassVar[str] = "task_failed"
    task: str
    """Name of the task."""
    reason: str
    """Why no further attempt was made."""
    error: ErrorInfo | None = None
    """What was raised, where no attempt has recorded it."""
    allowed: bool | None = None
    """True under `allow_failure`: dependents take it for skipped."""


@frozen
class FailureDeferred(TaskEvent):
    """A failure waits for the tasks that may handle it."""

    kind: ClassVar[str] = "failure_deferred"
    task: str
    """The task that failed."""
    handlers: list[str]
    """Tasks with ``join="failure"`` that can still run."""


@frozen
class FailureHandled(TaskEvent):
    """A handler succeeded, so the failure decides nothing."""

    kind: ClassVar[str] = "failure_handled"
    task: str
    """The task that failed."""
    handler: str
    """The task that handled it."""


@frozen
class TaskSkipped(TaskEvent):
    """The task is not needed; that is neither success nor failure."""

    kind: ClassVar[str] = "task_skipped"
    task: str
    """Name of the task."""
    reason: str
    """Why."""
    by: str | None = None
    """Who decided, where a person did."""
    passed: bool | None = None
    """Whether what depends on it takes it for one that has succeeded."""


@frozen
class TaskBlocked(TaskEvent):
    """The task can no longer run."""

    kind: ClassVar[str] = "task_blocked"
    task: str
    """Name of the task."""
    reason: str
    """Why."""


@frozen
class TaskCancelled(TaskEvent):
    """The task will not run, or was cut short, because the run is stopping."""

    kind: ClassVar[str] = "task_cancelled"
    task: str
    """Name of the task."""
    reason: str
    """Why."""


@frozen
class TaskInterrupted(TaskEvent):
    """An attempt was started and its outcome is not known: it is in doubt."""

    kind: ClassVar[str] = "task_interrupted"
    task: str
    """Name of the task."""
    attempt: int
    """The attempt in doubt."""
    reason: str
    """Why its outcome is not known."""
    leftover: bool | None = None
    """True where it is still running, so that it cannot be undone now."""


@frozen
class InterruptResolved(TaskEvent):
    """It was found out, or decided, whether an interrupted attempt took effect."""

    kind: ClassVar[str] = "interrupt_resolved"
    task: str
    """Name of the task."""
    answer: Literal["applied", "not_applied", "unknown"]
    """What was found."""
    source: str
    """The function that looked, `rerun` where it may simply run again, or `person`."""
    output: Any = None
    """The output, where the effect was found applied."""
    by: str | None = None
    """Who decided, where a person did."""
    reason: str | None = None
    """Why."""


@frozen
class MapExpanded(TaskEvent):
    """A map learned its items."""

    kind: ClassVar[str] = "map_expanded"
    task: str
    """Name of the map."""
    names: list[str]
    """Names of the item tasks, in item order."""
    items: list[Any]
    """The items, as JSON data."""


@frozen
class RepairStarted(TaskEvent):
    """A repair is about to run."""

    kind: ClassVar[str] = "repair_started"
    task: str
    """The task that it repairs."""
    repair: int
    """Which of the task's repairs, from 0, in the order of registration."""
    name: str
    """Qualified name of its function."""


@frozen
class RepairSucceeded(TaskEvent):
    """A repair did its work."""

    kind: ClassVar[str] = "repair_succeeded"
    task: str
    """The task that it repaired."""
    repair: int
    """Which of the task's repairs."""
    duration_s: float
    """How long it took, in seconds."""
    then: Literal["retry", "continue"]
    """What happens next: another attempt, or on with its output."""


@frozen
class RepairFailed(TaskEvent):
    """A repair went wrong; the failure stands, unless another repair helps."""

    kind: ClassVar[str] = "repair_failed"
    task: str
    """The task that it was to repair."""
    repair: int
    """Which of the task's repairs."""
    error: ErrorInfo
    """What it raised."""
    duration_s: float
    """How long it took, in seconds."""


# Rollback ---------------------------------------------------------------------------------


@frozen
class UndoStarted(TaskEvent):
    """An undo is about to be tried."""

    kind: ClassVar[str] = "undo_started"
    task: str
    """The task that it takes back."""
    attempt: int
    """Number of the try, from 1."""


@frozen
class UndoSucceeded(TaskEvent):
    """The task's effect is taken back."""

    kind: ClassVar[str] = "undo_succeeded"
    task: str
    """The task that was undone."""
    attempt: int
    """The try that succeeded."""
    duration_s: float
    """How long it took, in seconds."""


@frozen
class UndoAttemptFailed(TaskEvent):
    """A try of an undo went wrong."""

    kind: ClassVar[str] = "undo_attempt_failed"
    task: str
    """The task that it was to take back."""
    attempt: int
    """Number of the try."""
    error: ErrorInfo
    """What it raised."""
    duration_s: float
    """How long it took, in seconds."""


@frozen
class UndoRetryScheduled(TaskEvent):
    """The undo will be tried again."""

    kind: ClassVar[str] = "undo_retry_scheduled"
    task: str
    """The task that it takes back."""
    attempt: int
    """Number of the coming try."""
    delay_s: float
    """How long to wait before it, in seconds."""


@frozen
class UndoFailed(TaskEvent):
    """The effect is still applied: the undo failed for good."""

    kind: ClassVar[str] = "undo_failed"
    task: str
    """The task that is not undone."""
    reason: str
    """Why no further try was made."""


@frozen
class UndoBlocked(TaskEvent):
    """The effect is still applied: something that depends on it is not undone."""

    kind: ClassVar[str] = "undo_blocked"
    task: str
    """The task that is not undone."""
    by: list[str]
    """The tasks whose effects stand in the way."""
    reason: str
    """Why."""


# Finalizers -------------------------------------------------------------------------------


@frozen
class FinalizerStarted(Event):
    """A finalizer is about to run."""

    kind: ClassVar[str] = "finalizer_started"
    name: str
    """Its name."""


@frozen
class FinalizerSucceeded(Event):
    """A finalizer did its work."""

    kind: ClassVar[str] = "finalizer_succeeded"
    name: str
    """Its name."""
    duration_s: float
    """How long it took, in seconds."""


@frozen
class FinalizerFailed(Event):
    """A finalizer went wrong; the run's outcome stands."""

    kind: ClassVar[str] = "finalizer_failed"
    name: str
    """Its name."""
    error: ErrorInfo
    """What it raised."""
    duration_s: float
    """How long it took, in seconds."""


# What tasks tell --------------------------------------------------------------------------


@frozen
class ChangeRecorded(TaskEvent):
    """A task changed something in the world."""

    kind: ClassVar[str] = "change_recorded"
    task: str
    """The task that did."""
    resource: str
    """What was changed."""
    before: Any = None
    """How it was, as JSON data."""
    after: Any = None
    """How it is, as JSON data."""


@frozen
class ReadingTaken(TaskEvent):
    """A task looked at the world."""

    kind: ClassVar[str] = "reading_taken"
    task: str
    """The task that looked."""
    probe: str
    """What was asked."""
    health: str
    """What was seen."""
    evidence: dict[str, Any] | None = None
    """What that rests on."""
    calls: int | None = None
    """How many looks it took, where the task polled."""


@frozen
class MeasurementTaken(TaskEvent):
    """A check of an analysis measured what the service does, and judged it."""

    kind: ClassVar[str] = "measurement_taken"
    task: str
    """The task that the analysis is."""
    check: str
    """Name of the check."""
    number: int
    """Which of its measurements, from 1; 0 where a comparison begins to count."""
    verdict: str
    """`pass`, `fail`, `inconclusive`, `no_data` or `error`."""
    then: str
    """What follows for the check: `go_on`, `again`, or how it ends."""
    values: Any = None
    """What was measured, as JSON data; a comparison rests on those of earlier looks too."""
    judgement: dict[str, Any] | None = None
    """The judgement of these values, with its reason."""
    notes: list[str] | None = None
    """What the source said besides."""
    settings: dict[str, Any] | None = None
    """How the check was made, with its opening measurement alone."""


@frozen
class Logged(TaskEvent):
    """A task said something."""

    kind: ClassVar[str] = "logged"
    task: str
    """The task that spoke."""
    message: str
    """What it said."""
    data: dict[str, Any] | None = None
    """What it said besides, as JSON data."""


@frozen
class CheckpointSaved(TaskEvent):
    """A task saved its progress, for a later attempt to go on from."""

    kind: ClassVar[str] = "checkpoint_saved"
    task: str
    """The task."""
    key: str
    """What was saved."""
    value: Any = None
    """Its value, as JSON data."""


# People, locks, notifications -------------------------------------------------------------


@frozen
class ApprovalRequested(TaskEvent):
    """A question waits for people."""

    kind: ClassVar[str] = "approval_requested"
    task: str
    """Name of the approval."""
    question: str
    """What is asked."""
    digest: str
    """Digest of the plan and parameters that an answer is bound to."""
    quorum: int = 1
    """How many have to say yes."""
    approvers: list[str] | None = None
    """Who may answer; everybody where None."""
    expires_s: float | None = None
    """How long the question stands, in seconds."""
    on_expiry: str | None = None
    """What an expired question counts as."""


@frozen
class ApprovalAnswered(TaskEvent):
    """Somebody answered."""

    kind: ClassVar[str] = "approval_answered"
    task: str
    """Name of the approval."""
    answer: Literal["approve", "reject", "expire"]
    """What they said."""
    digest: str
    """Digest of the plan and parameters that they saw."""
    by: str | None = None
    """Who."""
    comment: str | None = None
    """What they said besides."""


@frozen
class LockAcquired(Event):
    """The run holds a resource."""

    kind: ClassVar[str] = "lock_acquired"
    resource: str
    """Name of the resource."""
    epoch: int
    """Its fencing token."""
    waited_s: float = 0.0
    """How long the run waited for it, in seconds."""
    task: str | None = None
    """The task that it is for; the whole run where None."""


@frozen
class HolderAsked(Event):
    """The run asked another one, which has a resource that it needs, to make way."""

    kind: ClassVar[str] = "holder_asked"
    resource: str
    """Name of the resource."""
    epoch: int
    """The fencing token of the one that has it."""
    holder: str
    """Id of that run."""
    command: str | None = None
    """What it was asked; to cancel, unless this says otherwise."""


@frozen
class LockReleased(Event):
    """The run gave a resource back."""

    kind: ClassVar[str] = "lock_released"
    resource: str
    """Name of the resource."""
    epoch: int
    """Its fencing token."""


@frozen
class LockBroken(Event):
    """A person freed a resource, whoever held it and whatever was left there.

    It is kept beside the runs: the record of whoever had the resource is closed,
    or is another engine's to write.
    """

    kind: ClassVar[str] = "lock_broken"
    resource: str
    """Name of the resource."""
    epoch: int
    """Its fencing token from now on; whoever has a lower one has lost it."""
    by: str
    """Who."""
    reason: str
    """Why."""


@frozen
class NotificationsOpened(Event):
    """What happens in a run is to be told; the record of that begins. It is kept beside the run's own."""

    kind: ClassVar[str] = "notifications_opened"
    routes: list[str]
    """The routes that lead to somebody."""


@frozen
class Notified(Event):
    """Somebody was told, or could not be; the run goes on either way."""

    kind: ClassVar[str] = "notified"
    route: str
    """The route that it went."""
    seq: int
    """Number of the run's record that it was about."""
    message: str
    """Id of the message, the same at every try."""
    event: str
    """What it told, such as ``rolled_back``."""
    result: Literal["delivered", "rejected", "retrying", "unknown"]
    """What came of it; after ``retrying`` another result follows."""
    tries: int
    """How many tries that took."""
    detail: str | None = None
    """What the service said, or what went wrong."""
    receipt: dict[str, Any] | None = None
    """What later messages of the run need to know, such as a thread, as JSON data."""


@frozen
class NotificationsClosed(Event):
    """Everything was told that there was to tell, or given up."""

    kind: ClassVar[str] = "notifications_closed"
    seq: int
    """Number of the run's record up to which that is so."""


@frozen
class RecordsArchived(Event):
    """Records of finished runs were removed from the journal, and are in an archive. It is kept in a chain of the journal's own."""

    kind: ClassVar[str] = "records_archived"
    archive: str
    """Name of the file that they are in."""
    digest: str
    """SHA-256 of what it holds, in hexadecimal."""
    records: int
    """How many records are in it."""
    upto: int
    """The journal's number of the last of them."""
    runs: list[str]
    """Ids of the runs that they are of."""
    parts: list[list[Any]]
    """For each gap: the numbers of its ends, and commit and link of the chain at its end."""
    reason: str
    """What was to be archived."""
    by: str
    """Who did it."""


FREE_TEXT = frozenset(
    {
        "after",
        "before",
        "by",
        "comment",
        "data",
        "detail",
        "error",
        "evidence",
        "initiator",
        "items",
        "judgement",
        "message",
        "note",
        "notes",
        "origin",
        "output",
        "params",
        "probe",
        "question",
        "reason",
        "receipt",
        "resource",
        "settings",
        "value",
        "values",
    }
)
"""The fields that hold words and data from outside, in which a secret may hide.
The others are pyflow's own words and the names that a definition gave."""

ALL: tuple[type[Event], ...] = (
    RunStarted,
    RunResumed,
    RunPaused,
    RunUnpaused,
    IntentRaised,
    HoldReleased,
    PassedOver,
    CommandReceived,
    OutcomeDecided,
    RunFinished,
    TaskStarted,
    TaskSucceeded,
    AttemptFailed,
    LeftoverEnded,
    RetryScheduled,
    TaskFailed,
    FailureDeferred,
    FailureHandled,
    TaskSkipped,
    TaskBlocked,
    TaskCancelled,
    TaskInterrupted,
    InterruptResolved,
    MapExpanded,
    RepairStarted,
    RepairSucceeded,
    RepairFailed,
    UndoStarted,
    UndoSucceeded,
    UndoAttemptFailed,
    UndoRetryScheduled,
    UndoFailed,
    UndoBlocked,
    FinalizerStarted,
    FinalizerSucceeded,
    FinalizerFailed,
    ChangeRecorded,
    ReadingTaken,
    MeasurementTaken,
    Logged,
    CheckpointSaved,
    ApprovalRequested,
    ApprovalAnswered,
    LockAcquired,
    HolderAsked,
    LockReleased,
    LockBroken,
    NotificationsOpened,
    Notified,
    NotificationsClosed,
    RecordsArchived,
)

EVENTS: Mapping[str, type[Event]] = MappingProxyType({event.kind: event for event in ALL})
"""Every kind of event, by the name that it has in a record."""
