"""What the machine is told, and what it asks for.

Happenings go in, commands come out. Everything that is random or depends on
a clock is in a happening: the machine has neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from pyflow.define.policies import OnLocked
    from pyflow.protocols import Lease
    from pyflow.record.events import ErrorInfo, Event

__all__ = ["Asking", "Command", "Failure", "Happening", "TimerKey"]

Asking: TypeAlias = Literal[
    "pause",
    "unpause",
    "cancel",
    "rollback",
    "retry",
    "skip",
    "promote",
    "resolve",
    "approve",
    "reject",
]
"""What people can ask of a run."""

TimerKey: TypeAlias = tuple[Literal["retry", "undo", "leftover", "drain", "approval"], str]
"""What a timer is for, and the task that it is about."""


@frozen
class Failure:
    """How a call went wrong."""

    error: ErrorInfo
    """What is recorded of it."""

    kinds: tuple[str, ...] = ()
    """Qualified names of the exception's class and of all its bases."""

    chance: float = 0.0
    """A random number in [0, 1), for the jitter of a wait."""

    final: bool = False
    """Whether another attempt would be pointless, as for an output that cannot be stored."""

    stopped: bool = False
    """Whether a wait was cut short because the run is stopping."""

    leftover: bool = False
    """Whether a thread is still running what timed out."""

    asks: bool = False
    """Whether a person is asked to decide, by an error that is a `NeedsDecision`."""


# Happenings -------------------------------------------------------------------------------


@frozen
class AttemptReturned:
    """An attempt succeeded."""

    task: str
    duration_s: float
    output: Any = None


@frozen
class AttemptRaised:
    """An attempt failed."""

    task: str
    duration_s: float
    failure: Failure


@frozen
class LeftoverReturned:
    """A thread that outlived its attempt has ended."""

    task: str


@frozen
class ConditionAnswered:
    """``when=`` answered, or raised."""

    task: str
    answer: bool
    error: ErrorInfo | None = None


@frozen
class ItemsListed:
    """The items of a map are known, or could not be found out."""

    task: str
    names: tuple[str, ...] = ()
    items: tuple[Any, ...] = ()
    error: ErrorInfo | None = None


@frozen
class RepairReturned:
    """A repair succeeded."""

    task: str
    duration_s: float
    output: Any = None


@frozen
class RepairRaised:
    """A repair failed."""

    task: str
    duration_s: float
    failure: Failure


@frozen
class UndoReturned:
    """An undo succeeded."""

    task: str
    duration_s: float


@frozen
class UndoRaised:
    """An undo failed."""

    task: str
    duration_s: float
    failure: Failure


@frozen
class FinalizerReturned:
    """A finalizer ended, well or not."""

    name: str
    duration_s: float
    error: ErrorInfo | None = None


@frozen
class TimerFired:
    """A wait is over."""

    key: TimerKey


@frozen
class Asked:
    """Somebody asked something of the run."""

    command: Asking
    by: str | None = None
    reason: str | None = None
    task: str | None = None
    answer: Literal["applied", "not_applied"] | None = None
    output: Any = None
    digest: str | None = None
    inbox_id: str | None = None


@frozen
class LocksTaken:
    """The run holds the locks that it asked for, or cannot get them."""

    leases: tuple[Lease, ...] = ()
    waited_s: float = 0.0
    refusal: str | None = None
    task: str | None = None
    """The task that they are for; the whole run where None."""


@frozen
class HolderMet:
    """Another run has a resource that this one waits for."""

    resource: str
    epoch: int
    run_id: str


@frozen
class InterruptAnswered:
    """A task's ``on_interrupt=`` function said whether the interrupted attempt took effect."""

    task: str
    answer: Literal["applied", "not_applied", "unknown"]
    source: str
    output: Any = None
    reason: str | None = None


@frozen
class Noted:
    """A task told something that is to be recorded as it is."""

    event: Event


Happening: TypeAlias = (
    AttemptReturned
    | AttemptRaised
    | LeftoverReturned
    | ConditionAnswered
    | ItemsListed
    | RepairReturned
    | RepairRaised
    | UndoReturned
    | UndoRaised
    | FinalizerReturned
    | TimerFired
    | Asked
    | LocksTaken
    | HolderMet
    | InterruptAnswered
    | Noted
)


# Commands ---------------------------------------------------------------------------------


@frozen
class StartAttempt:
    """Make an attempt of a task."""

    task: str
    attempt: int


@frozen
class StartRepair:
    """Run a repair."""

    task: str
    repair: int


@frozen
class StartUndo:
    """Run an undo."""

    task: str
    attempt: int


@frozen
class StartFinalizer:
    """Run a finalizer."""

    name: str


@frozen
class TakeLocks:
    """Wait for locks."""

    resources: tuple[str, ...]
    policy: OnLocked = "wait"
    had: tuple[tuple[str, int], ...] = ()
    """Those that the run has had before it is taken up, and the last epoch of each."""
    task: str | None = None
    """The task that they are for; the whole run where None."""


@frozen
class DropLocks:
    """Wait no longer for the locks of a task."""

    task: str


@frozen
class GiveLocks:
    """Give locks back."""

    resources: tuple[str, ...]


@frozen
class AskCondition:
    """Ask a task's ``when=``."""

    task: str


@frozen
class ListItems:
    """Find the items of a map."""

    task: str


@frozen
class AskInterrupt:
    """Call a task's ``on_interrupt=`` function."""

    task: str


@frozen
class SetTimer:
    """Report back after a while."""

    key: TimerKey
    delay_s: float


@frozen
class CutWaits:
    """Cut short whatever tasks wait for with ctx.sleep and ctx.poll."""


@frozen
class Abandon:
    """Wait for a call no longer: it is in doubt, and its slot is free again."""

    task: str


@frozen
class EndCall:
    """Wait no longer for the attempt of a task that was passed over, and cut its waits short."""

    task: str


@frozen
class AskHolder:
    """Ask another run, which has a resource that this one waits for, to make way."""

    resource: str
    run_id: str
    command: Literal["cancel", "rollback"] = "cancel"


@frozen
class Leave:
    """Leave the run as it is recorded, for a later resume: it cannot have its locks now."""


@frozen
class Finish:
    """The run is over."""


Command: TypeAlias = (
    StartAttempt
    | StartRepair
    | StartUndo
    | StartFinalizer
    | TakeLocks
    | DropLocks
    | GiveLocks
    | AskHolder
    | Leave
    | AskCondition
    | AskInterrupt
    | ListItems
    | SetTimer
    | CutWaits
    | Abandon
    | EndCall
    | Finish
)
