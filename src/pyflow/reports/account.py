"""What people ask after a run, taken from its records: what failed, what was taken back, who decided what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyflow.frozen import frozen
from pyflow.record import events as ev
from pyflow.record.outline import Outline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from pyflow.record.codec import Record

__all__ = ["Account", "Deed", "Left", "Said", "Trouble", "account_of"]


@frozen
class Trouble:
    """Something that went wrong."""

    at: datetime
    """When it was known."""

    name: str
    """The task, or the finalizer."""

    kind: str
    """The kind of record that says so."""

    what: str
    """Which try of what it was."""

    error: str
    """Type and message."""

    traceback: str
    """Where it came from; empty where nobody knows."""


@frozen
class Deed:
    """Something that was taken back."""

    at: datetime
    """When that was done."""

    task: str
    """Whose effect it was."""

    tries: int
    """How many it took."""

    duration_s: float
    """How long the last took, in seconds."""


@frozen
class Left:
    """Something that is still applied."""

    task: str
    """Whose effect it is."""

    why: str
    """Why it was not taken back."""


@frozen
class Said:
    """Something that a person decided, or that was decided for want of one."""

    at: datetime
    """When it was on record."""

    who: str
    """Who; empty where nobody did."""

    what: str
    """What they said."""

    task: str
    """What it is about; empty for the whole run."""

    why: str
    """The reason that they gave, or why it was refused."""


@dataclass(slots=True)
class Account:
    """How a run stands, and the answers to what people ask of it."""

    outline: Outline
    """How it stands."""

    troubles: list[Trouble] = field(default_factory=list[Trouble])
    """Every try that went wrong, in order."""

    mended: list[Trouble] = field(default_factory=list[Trouble])
    """Those of them that a later try made good."""

    undone: list[Deed] = field(default_factory=list[Deed])
    """What was taken back, in order."""

    decisions: list[Said] = field(default_factory=list[Said])
    """What people decided, in order."""

    changes: list[Record] = field(default_factory=list["Record"])
    """What tasks changed in the world, in order."""

    not_undone: tuple[str, ...] = ()
    """Tasks that were started and have no undo, after a rollback."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """How long each task was worked on, its undo included."""

    _whys: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def left(self) -> tuple[Left, ...]:
        """What is still applied, and why."""
        return tuple(
            Left(name, self._whys.get(name, self.outline.reason)) for name in self.outline.residue
        )

    @property
    def root(self) -> Trouble | None:
        """What decided the run."""
        told = (one for one in self.troubles if f"{one.name}: {one.error}" == self.outline.error)
        return next(told, None)

    def take(self, record: Record) -> None:
        """Take in one more record."""
        self.outline.take(record)
        event = record.event
        spent_s = getattr(event, "duration_s", None)
        if record.task is not None and isinstance(spent_s, int | float):
            self.seconds[record.task] = self.seconds.get(record.task, 0.0) + spent_s
        take = TAKES.get(type(event))
        if take is not None:
            take(self, event, record)

    def _trouble(self, event: Any, record: Record) -> None:
        what = WHAT[type(event)].format(getattr(event, "attempt", ""))
        error: ev.ErrorInfo | None = getattr(event, "error", None)
        words = f"{error.type}: {error.message}" if error else event.reason
        name = record.task or event.name
        self.troubles.append(
            Trouble(record.at, name, record.kind, what, words, error.traceback if error else "")
        )
        if isinstance(event, ev.UndoAttemptFailed):
            self._whys[name] = words

    def _failed(self, event: ev.TaskFailed, record: Record) -> None:
        if event.error is not None:
            self._trouble(event, record)

    def _done(self, event: ev.TaskSucceeded, _: Record) -> None:
        self._mend(event.task, ev.AttemptFailed)

    def _undone(self, event: ev.UndoSucceeded, record: Record) -> None:
        self._mend(event.task, ev.UndoAttemptFailed)
        self.undone.append(Deed(record.at, event.task, event.attempt, event.duration_s))

    def _mend(self, name: str, kind: type[ev.Event]) -> None:
        self.mended += [one for one in self.troubles if (one.name, one.kind) == (name, kind.kind)]

    def _kept(self, event: ev.UndoFailed | ev.UndoBlocked, _: Record) -> None:
        self._whys.setdefault(event.task, event.reason)

    def _change(self, _: ev.ChangeRecorded, record: Record) -> None:
        self.changes.append(record)

    def _command(self, event: ev.CommandReceived, record: Record) -> None:
        refused = "" if event.accepted else f"refused, because {event.note or 'it came too late'}"
        why = "; ".join(part for part in (event.reason, refused) if part)
        said = Said(record.at, event.by or "", event.command, event.task or "", why)
        self.decisions.append(said)

    def _resumed(self, event: ev.RunResumed, record: Record) -> None:
        self.decisions.append(Said(record.at, event.initiator.get("id", ""), "resume", "", ""))

    def _answered(self, event: ev.ApprovalAnswered, record: Record) -> None:
        if event.answer == "expire":  # what people answer, they ask of the run as well
            self.decisions.append(Said(record.at, "", "nobody answered", event.task, ""))

    def _decided(self, event: ev.OutcomeDecided, _: Record) -> None:
        self.not_undone = tuple(event.not_undone or ())


WHAT: dict[type[ev.Event], str] = {
    ev.AttemptFailed: "attempt {}",
    ev.TaskFailed: "task",
    ev.TaskInterrupted: "attempt {}, of which nobody knows whether it took effect",
    ev.RepairFailed: "repair",
    ev.UndoAttemptFailed: "undo, try {}",
    ev.FinalizerFailed: "finalizer",
}
"""What went wrong, in words."""

TAKES: dict[type[ev.Event], Callable[[Account, Any, Record], None]] = {
    **dict.fromkeys(WHAT, Account._trouble),  # noqa: SLF001 - a table of its own methods
    ev.TaskFailed: Account._failed,  # noqa: SLF001
    ev.TaskSucceeded: Account._done,  # noqa: SLF001
    ev.UndoSucceeded: Account._undone,  # noqa: SLF001
    ev.UndoFailed: Account._kept,  # noqa: SLF001
    ev.UndoBlocked: Account._kept,  # noqa: SLF001
    ev.ChangeRecorded: Account._change,  # noqa: SLF001
    ev.CommandReceived: Account._command,  # noqa: SLF001
    ev.RunResumed: Account._resumed,  # noqa: SLF001
    ev.ApprovalAnswered: Account._answered,  # noqa: SLF001
    ev.OutcomeDecided: Account._decided,  # noqa: SLF001
}


def account_of(records: Iterable[Record]) -> Account:
    """Return the account of the run whose *records* these are."""
    account: Account | None = None
    for record in records:
        account = account or Account(Outline(record.run_id))
        account.take(record)
    return account or Account(Outline(""))
