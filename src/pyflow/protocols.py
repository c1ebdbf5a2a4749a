"""The ports: what pyflow asks of the world, one small protocol each.

`Clock Executor Journal LockManager MetricSource Notifier Platform Probe
Router`. Everything here is implemented by adapters and by users; each
protocol has a fake in `pyflow.testing` and a ``check_<protocol>()`` suite
that a plug-in author runs on their own implementation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    runtime_checkable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from pyflow.errors import LockError
    from pyflow.messages import Attempt, Delivery, Message
    from pyflow.record.codec import Record
    from pyflow.record.events import Event

__all__ = [
    "JSON",
    "Clock",
    "Executor",
    "Health",
    "Holder",
    "Instance",
    "Journal",
    "Lease",
    "LockManager",
    "LockPolicy",
    "MetricSource",
    "Notifier",
    "Platform",
    "Probe",
    "Reading",
    "Router",
    "Sample",
    "Samples",
    "ServiceState",
]

T = TypeVar("T")

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""Data that the record can hold as it is."""

Health: TypeAlias = Literal["healthy", "unhealthy", "unknown"]
"""What a probe can say. Conflicting or missing evidence is `unknown`, never healthy."""

LockPolicy: TypeAlias = Literal["wait", "fail"]
"""What to do where another run has a lock: wait for it, or fail and say who that is."""


class Clock(Protocol):
    """**Protocol:** tells the wall time that records carry.

    Spans and sleeps come from the event loop; nothing else in pyflow reads a
    clock. Called from the loop's thread only.
    """

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC. It may go backwards."""
        ...


class Executor(Protocol):
    """**Protocol:** runs a plain function somewhere that may block.

    Called from the loop's thread, at most once for each attempt that holds a
    slot. A cancelled call must not pretend that the function has stopped.
    """

    async def run(self, fn: Callable[[], Any], /, *, waits: bool = False) -> Any:
        """Run *fn* and return what it returned, or raise what it raised.

        With *waits*, *fn* may call `wait`.
        """
        ...

    def wait(self, make: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Block the function that calls this until the loop has carried the coroutine out.

        Called from inside a function that `run` was given with ``waits=True``,
        and nowhere else. Returns what the coroutine that *make* makes
        returned, or raises what it raised.
        """
        ...

    def close(self) -> None:
        """Let go of idle resources. Calls that are under way go on."""
        ...


class Journal(Protocol):
    """**Protocol:** keeps the append-only, hash-chained record of every run.

    `append` is the commit: when it returns, all of its events are durable;
    when it raises, none of them is. It is called from the loop's thread, for
    one run by one engine at a time, in the order in which things happened.
    """

    def append(
        self,
        run_id: str,
        events: Sequence[Event],
        /,
        *,
        at: datetime,
        fences: Sequence[Lease] = (),
    ) -> Sequence[Record]:
        """Add *events* to the record of *run_id* in one commit and return their records.

        *fences* are the locks that the run believes it holds. A journal that
        is shared between processes checks them in that very commit, so a run
        that has lost one writes nothing more. One that lives in a single
        process, beside its locks, need not look at them.

        Raises:
            JournalError: Nothing was written.
            LockLost: One of *fences* is not held any more. Nothing was written.
        """
        ...

    def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        """Return the records of *run_id* whose number is above *after*, in order.

        An unknown run has no records.
        """
        ...

    def runs(self) -> Sequence[str]:
        """Return the ids of all runs, in the order in which they began."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock that is held."""

    resource: str
    """The name of what is locked, such as ``service:shop/production``."""

    run_id: str
    """The run that holds it."""

    epoch: int
    """The fencing token: it grows with every holder and never comes back."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock."""

    lease: Lease
    """What they hold."""

    is_alive: bool
    """Whether the process that took it still runs; where it does not, the run is unfinished."""

    host: str
    """The machine that process is on."""

    pid: int
    """Its number there."""

    since: datetime | None = None
    """The instant at which it was taken; None where the manager has no clock."""


class LockManager(Protocol):
    """**Protocol:** lets one run at a time touch a resource.

    Resources are taken all or none, in sorted order, so two runs never wait
    for each other in a ring. A resource whose last run is unfinished (its
    holder died) or left residue is not free: that run alone may take it,
    until somebody breaks the lock.
    """

    async def acquire(
        self,
        run_id: str,
        resources: Sequence[str],
        /,
        *,
        policy: LockPolicy = "wait",
        had: Sequence[Lease] = (),
        told: Callable[[Holder], None] | None = None,
    ) -> Sequence[Lease]:
        """Wait until every one of *resources* is free, and take them all.

        Those who wait are served in the order in which they came. A cancelled
        wait takes nothing. *had* is what the run says that it has had of them;
        whether that is still its own is decided together with the taking.
        *told* hears, while this waits, of everybody who has one of them, once
        for each lease, on the thread of the loop.

        Raises:
            LockHeld: Another run has one of them, and *policy* is ``fail``.
            LockMoved: Somebody broke or took one that it has had.
            RunAlive: This very run has one of them, and its holder is alive.
            LockError: The last run of one of them is unfinished, or left
                residue there.
        """
        ...

    def release(self, leases: Sequence[Lease], /, *, residue: bool = False) -> None:
        """Give *leases* back; with *residue*, so that nobody takes them unawares.

        Giving one back twice changes nothing.
        """
        ...

    def holder(self, resource: str, /) -> Holder | None:
        """Return who holds *resource*, dead or alive, or None where nobody does."""
        ...

    def refusal(
        self,
        resources: Sequence[str],
        /,
        *,
        run_id: str | None = None,
        policy: LockPolicy = "wait",
        had: Sequence[Lease] = (),
    ) -> LockError | None:
        """Return what `acquire` would raise as things are, or None where it would take or wait."""
        ...

    def left(self, run_id: str, /) -> Sequence[str]:
        """Return, in sorted order, what only *run_id* may take: it died there, or left residue."""
        ...

    def break_lock(self, resource: str, /) -> int:
        """Free *resource*, whoever holds it and whatever is left there; return its new epoch."""
        ...


class Notifier(Protocol):
    """**Protocol:** tells somebody what happened.

    Called for one message of a run at a time, in the order in which things
    happened, once the record is durable; and again with the same `Message.id`
    where a try may have failed, or a crash leaves that in doubt. Off the
    critical path: whatever it does, the run goes on unchanged.
    """

    async def notify(self, message: Message, attempt: Attempt = ..., /) -> Delivery:
        """Give *message* to the service, within *attempt*'s timeout, and return what came of it.

        Trouble with the service is a `Delivery`, never an exception. A notifier
        that also has ``async keep(records, message, attempt)`` gets the end of a
        run through that instead, with the run's records up to it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a probe saw."""

    health: Health
    """`healthy`, `unhealthy`, or `unknown` where the evidence does not tell."""

    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the answer rests on, as JSON data, for the audit trail."""

    @property
    def is_healthy(self) -> bool:
        """Whether the reading is `healthy`; `unknown` is not."""
        return self.health == "healthy"

    @property
    def is_unhealthy(self) -> bool:
        """Whether the reading is `unhealthy`; `unknown` is not."""
        return self.health == "unhealthy"


@runtime_checkable
class Probe(Protocol):
    """**Protocol:** asks the infrastructure one question.

    A probe only looks: reading it twice changes nothing. It never raises for
    what it finds; what it cannot find out is `unknown`, with the reason as
    evidence. It ends within its own timeout.
    """

    async def read(self) -> Reading:
        """Look once, and say what was seen."""
        ...


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a version."""

    id: str
    """The platform's name for it."""

    version: str
    """The version that it runs."""

    ready: bool
    """Whether it can take traffic now."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a platform observes of a service."""

    service: str
    """The service's name."""

    instances: tuple[Instance, ...]
    """Every instance, of every version, in a stable order."""

    generation: str
    """Changes whenever anybody changes the service; compares equal otherwise."""


class Platform(Protocol):
    """**Protocol:** creates, scales and removes versions of a service.

    Every call is safe to make again: asking for what already is changes
    nothing. A call returns once the platform has accepted it; `observe` says
    what has become true.
    """

    async def observe(self, service: str, /) -> ServiceState:
        """Return what runs now, never what was asked for."""
        ...

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Ask for *instances* copies of *version*; zero removes it.

        The newest go first. One that goes finishes what it has begun, and is
        sent nothing more: its version may still have traffic.
        """
        ...


class Router(Protocol):
    """**Protocol:** shifts traffic between versions of a service.

    Weights are percentages that sum to 100. Setting the present weights again
    changes nothing.
    """

    async def weights(self, service: str, /) -> Mapping[str, float]:
        """Return the weights that are in force now, read back, by version."""
        ...

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Put *weights* in force, all together, and leave the mapping as it was."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement."""

    at: datetime
    """The instant that it speaks for."""

    value: float
    """What was measured. A source never gives NaN or an infinity: that is no sample."""


class Samples(tuple[Sample, ...]):
    """An answer that may come with words: what a source says beside its samples.

    It is a plain tuple of samples in every other way.
    """

    notes: tuple[str, ...]
    """Warnings of the source, and what was left out; for the audit trail."""

    def __new__(cls, samples: Iterable[Sample] = (), notes: Iterable[str] = ()) -> Self:
        """Make an answer of *samples*, in order of time, and *notes*."""
        made = super().__new__(cls, samples)
        made.notes = tuple(notes)
        return made


class MetricSource(Protocol):
    """**Protocol:** answers questions about what the service does under load."""

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Sequence[Sample]:
        """Return the samples of *query* in the *window* that ends at *at* (now).

        An empty answer means that there is no data; it is never zero. One
        that has to be explained, by warnings or by values that were left out,
        is `Samples` with notes.

        Raises:
            MetricError: The source cannot be reached, refuses the query, or
                answers what makes no sense.
        """
        ...
