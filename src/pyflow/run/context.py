"""What a task function may ask of its run: the contexts.

An async function gets an `AsyncContext`, a plain one a `Context` whose waits
block its thread; recoveries get the same with the cause and the output
besides. Everything goes through the `Desk`, the engine's side of the
conversation.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pyflow.errors import LockError, ProbeError
from pyflow.frozen import replace
from pyflow.polling import Polled, poll
from pyflow.record import events as ev
from pyflow.record.values import encode
from pyflow.spans import Backoff, Span, seconds
from pyflow.tracing import part_of_call

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from pyflow.define.environment import Environment
    from pyflow.errors import TaskError
    from pyflow.polling import OnUnknown
    from pyflow.protocols import Probe, Reading
    from pyflow.tracing import Part, Trace

__all__ = ["AsyncContext", "AsyncRecoveryContext", "Call", "Context", "Desk", "RecoveryContext"]

T = TypeVar("T")
DEFAULT_BACKOFF = Backoff("1s", ceiling="30s")


class Desk(Protocol):
    """The engine's side of a context: it notes, waits and looks things up."""

    run_id: str
    workflow: str
    environment: Environment | None
    loop: asyncio.AbstractEventLoop
    trace: Trace

    @property
    def rng(self) -> random.Random:
        """What draws jitter."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters as tasks see them."""
        ...

    def note(self, event: ev.Event) -> None:
        """Record *event*, in order."""
        ...

    def save(self, event: ev.CheckpointSaved) -> None:
        """Record *event*, and return once it is durable."""
        ...

    def outcome(self, name: str) -> str:
        """Return the status of a task."""
        ...

    def cause(self, call: Call) -> TaskError | None:
        """Return the failure that led to *call*."""
        ...

    def checkpoints(self, task: str) -> Mapping[str, Any]:
        """Return what earlier attempts of *task* saved."""
        ...

    def fencing_tokens(self) -> Mapping[str, int]:
        """Return the epochs of the locks that the run has, by resource."""
        ...

    def measurements(self, task: str) -> Sequence[ev.MeasurementTaken]:
        """Return what attempts of *task* that did not fail have measured."""
        ...

    async def sleep(self, call: Call, delay_s: float) -> None:
        """Wait for *delay_s* seconds, unless the run stops or the call is over first."""
        ...

    async def wait(self, call: Call, waiting: Awaitable[T]) -> T:
        """Wait, unless the run stops or the call is over first."""
        ...

    def block(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Block the plain function that calls until the loop has carried the coroutine out."""
        ...


class Call:
    """One call of a user's function: which, for what, and whether it still counts."""

    __slots__ = (
        "attempt",
        "cause",
        "deadline",
        "is_over",
        "item",
        "outcome",
        "role",
        "shielded",
        "task",
    )

    def __init__(
        self,
        task: str,
        attempt: int,
        *,
        role: str = "task",
        item: Any = None,
        cause: TaskError | None = None,
        outcome: str | None = None,
        shielded: bool = False,
    ) -> None:
        self.task = task
        self.attempt = attempt
        self.role = role
        self.item = item
        self.cause = cause
        self.outcome = outcome
        self.shielded = shielded
        self.is_over = False
        self.deadline: float | None = None

    @property
    def part(self) -> Part:
        """The span that it is part of."""
        return part_of_call(self.role, self.task, self.attempt)


class Facts:
    """What every context knows and can tell, whether its waits block or not."""

    __slots__ = ("_call", "_desk")

    def __init__(self, desk: Desk, call: Call) -> None:
        self._desk = desk
        self._call = call

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task} attempt={self.attempt}>"

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._desk.run_id

    @property
    def workflow(self) -> str:
        """Name of the workflow."""
        return self._desk.workflow

    @property
    def environment(self) -> Environment | None:
        """Where the run takes place, if that was said."""
        return self._desk.environment

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the run, as JSON data; objects as they are."""
        return self._desk.params

    @property
    def task(self) -> str:
        """Name of the task."""
        return self._call.task

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return self._call.attempt

    @property
    def item(self) -> Any:
        """The item of a map, as JSON data."""
        return self._call.item

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this task in this run, and for no other; an undo's differs.

        SHA-256 of run id, task and role, the opening 32 hexadecimal digits.
        """
        parts = "\0".join((self.run_id, self.task, self._call.role))
        return hashlib.sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:32]

    @property
    def traceparent(self) -> str:
        """This attempt's span, for what it calls: ``00-<trace>-<span>-01``, by W3C Trace Context.

        The trace is that of the ``TRACEPARENT`` which the run was started with,
        else one that follows from the run's id. Programs that pyflow's adapters
        call, and isolated tasks, have it in ``TRACEPARENT`` already.
        """
        return self._desk.trace.traceparent(self._call.part)

    @property
    def fencing_tokens(self) -> Mapping[str, int]:
        """The epochs of the locks that the run has, by resource.

        An epoch only grows. A resource that remembers the highest it has seen,
        and refuses a lower one, keeps out a run that has lost its lock and
        does not know it yet.
        """
        return self._desk.fencing_tokens()

    @property
    def fencing_token(self) -> int:
        """The epoch of the one lock that the run has; see `fencing_tokens`.

        Raises:
            LockError: It has none, or several, each of which has its own.
        """
        tokens = self.fencing_tokens
        if len(tokens) == 1:
            return next(iter(tokens.values()))
        has = f"{len(tokens)} locks, {', '.join(tokens)}" if tokens else "no lock"
        advice = "take one from ctx.fencing_tokens" if tokens else "name the resource in locks="
        raise LockError(
            f"ctx.fencing_token is for a run with one lock, and this has {has}; {advice}"
        )

    def outcome(self, name: str) -> str:
        """Return what has become of the task *name*, such as ``succeeded`` or ``skipped``.

        Raises:
            KeyError: The workflow has no such task.
        """
        return self._desk.outcome(name)

    def log(self, message: str, **data: Any) -> None:
        """Put *message* in the audit trail, with JSON data besides."""
        encoded = {key: encode(value, key) for key, value in data.items()}
        self._desk.note(ev.Logged(self.task, str(message), encoded or None))

    def record_change(self, resource: str, *, before: Any = None, after: Any = None) -> None:
        """Put a change of the world in the audit trail: what it was, and what it is now."""
        self._desk.note(
            ev.ChangeRecorded(
                self.task, str(resource), encode(before, "before"), encode(after, "after")
            )
        )

    def checkpoint(self, key: str, value: Any) -> None:
        """Save progress, as JSON data, for a later attempt to find in `checkpoints`.

        It is durable when this returns: a crash right after does not lose it.

        Raises:
            CodecError: *value* cannot be stored.
            JournalError: It could not be recorded, and the run stops.
        """
        self._desk.save(ev.CheckpointSaved(self.task, str(key), encode(value, key)))

    @property
    def checkpoints(self) -> Mapping[str, Any]:
        """What this and earlier attempts of this task have saved."""
        return self._desk.checkpoints(self.task)

    def record_measurement(self, measurement: ev.MeasurementTaken) -> None:
        """Put a measurement in the audit trail, for a later attempt to find in `measurements`.

        An analysis does it; see `pyflow.analysis`.
        """
        self._desk.note(replace(measurement, task=self.task))

    @property
    def measurements(self) -> Sequence[ev.MeasurementTaken]:
        """What this attempt and interrupted ones have measured; an attempt that failed counts no more."""
        return self._desk.measurements(self.task)


class RecoveryFacts(Facts):
    """What a recovery and a finalizer know besides."""

    __slots__ = ()

    @property
    def cause(self) -> TaskError | None:
        """The failure that led here; None where a person asked for the rollback."""
        return self._desk.cause(self._call)

    @property
    def status(self) -> str | None:
        """For a finalizer, how the run will end."""
        return self._call.outcome


class AsyncContext(Facts):
    """The run, seen from inside one attempt of an async function."""

    __slots__ = ()

    @property
    def deadline(self) -> float | None:
        """When this attempt is cut off by its timeout, by the clock of the running loop.

        None where it has no timeout. A function that is cancelled earlier is
        torn down with its engine, and a later resume takes up what it left.
        """
        return self._call.deadline

    async def sleep(self, span: Span) -> None:
        """Wait for *span*.

        Raises:
            RunStopping: The run is stopping; let it pass.
        """
        await self._desk.sleep(self._call, seconds(span, what="ctx.sleep", zero=True))

    async def read(self, probe: Probe) -> Reading:
        """Look once through *probe*; the reading is in the audit trail."""
        reading = await probe.read()
        self._note_reading(probe, reading, None)
        return reading

    async def poll(
        self,
        probe: Probe,
        *,
        until: Literal["healthy", "unhealthy"] = "healthy",
        backoff: Backoff | Span = DEFAULT_BACKOFF,
        timeout: Span = "5m",
        on_unknown: OnUnknown = "wait",
    ) -> Polled:
        """Look through *probe* until it says *until*, as `pyflow.poll` does.

        Raises:
            PollTimeout: Time ran out.
            ProbeError: It was unknown and *on_unknown* is ``fail``.
            RunStopping: The run is stopping; let it pass.
        """
        polling = poll(
            probe,
            until=until,
            backoff=backoff,
            timeout=timeout,
            on_unknown=on_unknown,
            rng=self._desk.rng,
        )
        try:
            polled = await self._desk.wait(self._call, polling)
        except ProbeError as error:
            if error.reading is not None:
                self._note_reading(probe, error.reading, error.calls)
            raise
        self._note_reading(probe, polled.reading, polled.calls)
        return polled

    def _note_reading(self, probe: Probe, reading: Reading, calls: int | None) -> None:
        evidence = encode(reading.evidence, "evidence") or None
        self._desk.note(ev.ReadingTaken(self.task, repr(probe), reading.health, evidence, calls))


class AsyncRecoveryContext(RecoveryFacts, AsyncContext):
    """The run, seen from inside an undo, a repair or a finalizer that is async."""

    __slots__ = ()


class Context(Facts):
    """The run, seen from inside one attempt of a plain function. Its waits block its thread."""

    __slots__ = ()

    @property
    def _async(self) -> AsyncContext:
        return AsyncContext(self._desk, self._call)

    def sleep(self, span: Span) -> None:
        """Block for *span*; see `AsyncContext.sleep`."""
        self._block(lambda: self._async.sleep(span))

    def read(self, probe: Probe) -> Reading:
        """Look once through *probe*; the reading is in the audit trail."""
        return self._block(lambda: self._async.read(probe))

    def poll(
        self,
        probe: Probe,
        *,
        until: Literal["healthy", "unhealthy"] = "healthy",
        backoff: Backoff | Span = DEFAULT_BACKOFF,
        timeout: Span = "5m",
        on_unknown: OnUnknown = "wait",
    ) -> Polled:
        """Block until *probe* says *until*; see `AsyncContext.poll`."""
        return self._block(
            lambda: self._async.poll(
                probe, until=until, backoff=backoff, timeout=timeout, on_unknown=on_unknown
            )
        )

    def _block(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self._desk.block(make)


class RecoveryContext(RecoveryFacts, Context):
    """The run, seen from inside an undo, a repair or a finalizer that is plain."""

    __slots__ = ()
