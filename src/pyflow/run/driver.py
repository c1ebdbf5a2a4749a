"""Carries out one run: records what the machine decided, then does it.

The driver decides nothing. It pumps: happenings into the machine, events into
the journal in one commit, and then the commands, each of which ends in
another happening.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError, LockError, PyflowError, RunBroken
from pyflow.record.audit import AuditTrail
from pyflow.record.batches import Batch
from pyflow.run import inputs as on
from pyflow.run.commands import asked_in
from pyflow.run.desk import RunDesk
from pyflow.run.leases import Leases
from pyflow.run.locking import MAKE_WAY
from pyflow.run.masking import redacted
from pyflow.run.promises import Promise
from pyflow.run.reopening import began
from pyflow.run.result import task_error
from pyflow.run.resuming import Past
from pyflow.run.worker import Worker
from pyflow.tracing import RUN, enter, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
    from datetime import datetime

    from pyflow.define.environment import Environment, Parameters
    from pyflow.errors import TaskError
    from pyflow.protocols import Clock, Holder, Journal, Lease, LockManager
    from pyflow.record.codec import Record
    from pyflow.record.events import Event, RunResumed, RunStarted
    from pyflow.run.calls import Caller
    from pyflow.run.commands import Message
    from pyflow.run.committing import Committer
    from pyflow.run.machine import Machine
    from pyflow.run.slots import Slots
    from pyflow.secrets import Redactor

__all__ = ["Driver"]

LOG = logging.getLogger("pyflow.locks")


class Driver:
    """The engine's hands for one run; lives on one event loop."""

    def __init__(
        self,
        machine: Machine,
        *,
        run_id: str,
        journal: Journal,
        clock: Clock,
        seed: float,
        slots: Slots,
        locks: LockManager,
        committer: Committer | None,
        claim: Lease | None,
        caller: Caller,
        parameters: Parameters,
        environment: Environment | None,
        redactor: Redactor,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[Driver], None],
        ask_other: Callable[[str, on.Asked], None],
    ) -> None:
        self.run_id = run_id
        self.machine = machine
        self.state = machine.state
        self.environment = environment
        self.loop = loop
        self.rest = Promise()  # kept while nothing will happen by itself
        self.over = Promise()
        self.listeners: list[Callable[[], None]] = []
        self.gate: Callable[[Callable[[str | None], None]], None] | None = None
        """Calls back, with None or a reason to pause, before anything is started."""
        self._is_gated = False
        self.recorded: list[Record] = []  # on disk: to read it back would cost what it cost to run
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.desk = RunDesk(
            machine.state,
            run_id=run_id,
            environment=environment,
            parameters=parameters,
            loop=loop,
            seed=seed,
            executor=caller.executor,
            post=self.post,
            post_from_afar=self.post_from_afar,
            settle=self.settle,
            redactor=redactor,
        )
        self.worker = Worker(
            machine.state,
            desk=self.desk,
            caller=caller,
            parameters=parameters,
            redactor=redactor,
            default_timeout_s=environment.task_timeout_s if environment is not None else None,
            post=self.post,
            call_over=self._call_over,
            cause=self.cause,
        )
        self._journal = journal
        self._clock = clock
        self._slots = slots
        self._leases = Leases(locks, run_id, claim)
        self._committer = committer
        self.redactor = redactor
        self._on_end = on_end
        self._ask_other = ask_other
        self._inbox: deque[on.Happening] = deque()
        self._arriving: deque[on.Happening] = deque()  # on its way there, from any thread
        self._awake = False
        self._broken: BaseException | None = None
        self._calls: dict[asyncio.Task[None], None] = {}
        self._timers: dict[on.TimerKey, asyncio.TimerHandle] = {}
        self._acquiring: dict[asyncio.Task[None], str | None] = {}
        self._abandoned: set[str] = set()
        self._slots_taken = 0
        self._seen: set[str] = set()  # messages of the inbox
        self._context = contextvars.copy_context()  # of the start, in which every call begins

    def __repr__(self) -> str:
        return f"<Driver {self.run_id} {self.state.status}>"

    @property
    def is_over(self) -> bool:
        """Whether nothing will ever happen in this run again."""
        return self.over.is_kept

    def cause(self) -> TaskError | None:
        """Return the failure that decided the run, if one did."""
        name = self.state.cause
        return self.error_of(name) if name is not None else None

    def error_of(self, name: str) -> TaskError | None:
        """Return why the task *name* failed, caused by the exception where that is known."""
        return task_error(self.state.tasks[name], self.worker.errors.get(("task", name)))

    def trail(self) -> AuditTrail:
        """Return the trail of the run, as far as it is recorded."""
        in_memory = self._committer is None
        return AuditTrail(self._journal.read(self.run_id) if in_memory else self.recorded)

    # The pump -----------------------------------------------------------------------------

    def begin(self, event: RunStarted) -> None:
        """Make the run's first records durable; nothing is started yet.

        Raises:
            JournalError: Nothing was written, and nothing will be done.
            LockError: The same, because waiting for its locks would not help.
        """
        self.machine.start(event)
        self._trace(event)
        self._first_commit()
        self.started_at = self._clock.now()

    def _trace(self, event: RunStarted) -> None:
        """Have whatever the run does belong to its span, until that begins one of its own."""
        self.desk.trace = trace_of(self.run_id, event.origin)
        self._context.run(enter, self.desk.trace, RUN)

    def resume(self, records: Sequence[Record], event: RunResumed, **options: Any) -> None:
        """Make it durable that the run is taken up where *records* end.

        Raises:
            JournalError: Nothing was written, and nothing will be done.
            LockError: The same, because waiting for its locks would not help.
        """
        events = [record.event for record in records]
        self._trace(began(records))
        now = self._clock.now()
        ages_s = [max(0.0, (now - record.at).total_seconds()) for record in records]
        self.desk.remember(events)
        self.started_at = records[0].at
        self.recorded = list(records)
        left = self._leases.left()
        self.machine.resume(Past(events, ages_s, left, self.desk.rng.random(), **options), event)
        self._first_commit()

    def show(self, records: Sequence[Record]) -> None:
        """Show a run that has ended, as it is recorded."""
        for record in records:
            self.state.apply(record.event)
        self.started_at, self.ended_at = records[0].at, records[-1].at
        self.recorded = list(records)
        self.rest.keep()
        self.over.keep()

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Give the claim to the run back if taking it on fails."""
        try:
            yield
        except BaseException:
            self._leases.give_up_claim()
            raise

    def take_in(self, messages: Iterable[Message]) -> None:
        """Take in what other processes have asked, each once."""
        for message in messages:
            if message.id not in self._seen:
                self._seen.add(message.id)
                self.ask(asked_in(message))

    def let_go(self) -> None:
        """Leave the run as it is recorded, for another engine, or this one, to take up."""
        if self.is_over:
            return
        self._broken = self._journal_error(RuntimeError("this engine has let go of the run"))
        self._inbox.clear()
        self._cancel_timers()
        self._stop_acquiring()
        self._leases.give_all(residue=True)
        self._step_out()
        self.ended_at = self._clock.now()
        if not self.rest.is_kept:
            self.rest.keep()
        self.over.keep()

    def _step_out(self) -> None:
        """Take no part any more in what runs of the loop share."""
        self._context = contextvars.Context()  # what is in it need not live as long as a result
        self._slots.forget(self)
        if self._committer is not None:
            self._committer.leave(self)
        self._on_end(self)

    def _first_commit(self) -> None:
        events, commands = self.machine.take()
        for command in commands:
            if isinstance(command, on.TakeLocks):
                self._leases.check(command)
        try:
            records = self._commit(events)
        except Exception as error:
            raise self._journal_error(error) from error
        if self._committer is not None:
            self.recorded.extend(records)
            self._committer.join(self)
        if self.gate is None:
            self.loop.call_soon(self._set_out, commands)
        else:
            self._is_gated = True
            self.gate(lambda problem: self._pass_gate(commands, problem))

    def _pass_gate(self, commands: Sequence[on.Command], problem: str | None) -> None:
        """Set out, or pause where somebody who has to know could not be told; from any thread."""

        def go() -> None:
            self._is_gated = False
            if problem is not None:
                self._inbox.appendleft(on.Asked("pause", reason=f"notification: {problem}"))
            if self.over.is_kept or self._broken is not None:
                return
            self._set_out(commands)

        with suppress(RuntimeError):  # the loop is closed: the run is left to a resume
            self.loop.call_soon_threadsafe(go)

    def _set_out(self, commands: Sequence[on.Command]) -> None:
        self._carry_out(commands)
        self.wake()

    def post(self, happening: on.Happening) -> None:
        """Tell the machine what happened, on the loop's next turn."""
        self._inbox.append(happening)
        if not self._awake:
            self._awake = True
            self.loop.call_soon(self._pump)

    def ask(self, asked: on.Asked) -> None:
        """Take in what somebody asks, from any thread; a rest is over until it is answered."""
        if self.rest.is_kept and not self.is_over:
            self.rest = Promise()
        self.post_from_afar(asked)

    def post_from_afar(self, happening: on.Happening) -> None:
        """Tell the machine what happened, from any thread; a call that ends waits for what arrives."""
        self._arriving.append(happening)
        self.loop.call_soon_threadsafe(self._arrived)

    def _arrived(self) -> None:
        self.post(self._arriving.popleft())

    def wake(self) -> None:
        """Have the pump run on the loop's next turn."""
        if not self._awake:
            self._awake = True
            self.loop.call_soon(self._pump)

    def settle(self) -> None:
        """Make durable whatever has been posted, and go on from there.

        Raises:
            JournalError: The record cannot be kept.
        """
        self._pump()
        if self._committer is not None:
            self._committer.flush()
        if self._broken is not None:
            cause = self._broken.__cause__
            raise self._broken if cause is None or isinstance(cause, Exception) else cause

    def _pump(self) -> None:
        self._awake = False
        if self.over.is_kept or self._broken is not None:
            self._inbox.clear()
            return
        if self._is_gated:
            return
        machine, inbox = self.machine, self._inbox
        try:
            while inbox:
                machine.handle(inbox.popleft())
            machine.dispatch(self._take_slots())
            if machine.wanted:  # a phase has begun that was not there before
                machine.dispatch(self._take_slots())
            events, commands = machine.take()
            if events and self._committer is not None:
                batch = Batch(
                    self.run_id, self._masked(events), self._clock.now(), self._leases.fences
                )
                self._committer.put(self, batch, commands)
            elif events:
                self._commit(events)
        except BaseException as error:  # noqa: BLE001 - nothing may start that has no record
            self.failed(error)
            return
        if not events or self._committer is None:
            self._go_on(commands)
        elif not self._committer.is_shared:
            self._committer.flush()

    def committed(self, records: Sequence[Record], commands: Sequence[on.Command]) -> None:
        """Carry out what was decided, now that it is durable."""
        if not self.over.is_kept and self._broken is None:
            self.recorded.extend(records)
            self._go_on(commands)

    def _go_on(self, commands: Sequence[on.Command]) -> None:
        self._carry_out(commands)
        if self.machine.resting is not self.rest.is_kept and not self.over.is_kept:
            self._change_rest()

    def _carry_out(self, commands: Sequence[on.Command]) -> None:
        """Do what was decided; where that cannot be done, the run stops and says so.

        What is raised in here goes no further: it would end in the log of the
        loop, with this run, and those behind it, waiting for ever.
        """
        try:
            self._tell_listeners()
            for command in commands:
                _COMMANDS[type(command)](self, command)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the run has to hear of it
            self.failed(self._not_done(error))

    def _not_done(self, error: BaseException) -> RunBroken:
        broken = RunBroken(
            f"run {self.run_id} was stopped, because what it had decided could not be carried out: "
            f"{error!r}. The decision is on record, and nothing further was started; the run can "
            "be resumed from there"
        )
        broken.__cause__ = error
        return broken

    def _commit(self, events: list[Event]) -> Sequence[Record]:
        events, at = self._masked(events), self._clock.now()
        if self._leases.fences:
            return self._journal.append(self.run_id, events, at=at, fences=self._leases.fences)
        return self._journal.append(self.run_id, events, at=at)

    def _masked(self, events: list[Event]) -> list[Event]:
        return [redacted(one, self.redactor) for one in events] if self.redactor else events

    def _tell_listeners(self) -> None:
        for listener in tuple(self.listeners):
            listener()

    def _change_rest(self) -> None:
        if self.rest.is_kept:
            self.rest = Promise()
        else:
            self.rest.keep()

    # The end ------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        """Stop at once: the record cannot be kept or followed, so nothing further may be done."""
        if self.over.is_kept:  # it was let go of while this waited to be written
            return
        self._broken = error if isinstance(error, RunBroken) else self._journal_error(error)
        self._inbox.clear()
        self._cancel_timers()
        self.desk.cut_waits()
        if not self._calls:
            self._end()

    def _journal_error(self, error: BaseException) -> JournalError:
        if isinstance(error, JournalError):
            return error
        wrapped = JournalError(f"the record of run {self.run_id} could not be kept: {error!r}")
        wrapped.__cause__ = error
        return wrapped

    def _end(self) -> None:
        self.ended_at = self._clock.now()
        try:
            self._part_with_others()
        finally:
            self._keep_promises()
        self._part()

    def _part_with_others(self) -> None:
        """Give back what other runs may wait for."""
        self._cancel_timers()
        self._stop_acquiring()
        outcome = self.state.outcome
        spoiled = self._broken is not None or bool(outcome is not None and outcome.residue)
        self._leases.give_all(residue=spoiled)
        self._give_slots(self._slots_taken)  # of what was to start and did not
        self._step_out()

    def _keep_promises(self) -> None:
        """Tell those who wait for the run that it is over."""
        if self.rest.is_kept:
            self.rest = Promise()
        if self._broken is not None:
            self.rest.keep(self._broken)
        else:
            self.rest.keep()
        self.over.keep()
        self._tell_listeners()

    def _part(self) -> None:
        """Let desk and worker of a run that is over go, once no call is under way.

        As a ring with the driver they would wait for the garbage collector.
        """
        if self._broken is None and not self._calls:
            self.desk.part()
            self.worker.part()

    def _cancel_timers(self) -> None:
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()

    # Commands -----------------------------------------------------------------------------

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        begin = self._context.copy().run  # this may be the context of the call that has just ended
        task = begin(self.loop.create_task, coroutine, name=name)
        self._calls[task] = None
        task.add_done_callback(self._call_ended)
        return task

    def _call_over(self, name: str | None, happening: on.Happening) -> None:
        """Take in what came of a call, the last thing that its task does; *name* gives its slot back.

        Where nothing else is under way that could be recorded with it, and
        nothing is arriving from other threads, the next turn of the loop is
        not waited for.
        """
        if name is not None:
            self._release(name)
        task = asyncio.current_task(self.loop)
        if task is None or task not in self._calls:  # it was over while an eager task was made
            self.post(happening)
            return
        if len(self._calls) > 1 or self._awake or self._arriving:
            self.post(happening)
        else:
            self._inbox.append(happening)
            self._pump()
        task.remove_done_callback(self._call_ended)
        self._call_ended(task)

    def _call_ended(self, task: asyncio.Task[None]) -> None:
        del self._calls[task]
        if self.over.is_kept:
            self._part()
        elif self._broken is not None:
            if not self._calls:
                self._end()
        elif task.cancelled() and task not in self._acquiring:
            self.failed(self._cut_off(task.get_name()))

    def _cut_off(self, call: str) -> RunBroken:
        """Return what is said of a call that somebody has cancelled: a loop that ends, or itself."""
        return RunBroken(
            f"run {self.run_id} was stopped, because {call} was cancelled, and not by pyflow: what "
            "became of it is not known. Nothing further was started; where its journal is on disk "
            "the run can be resumed. A function that means to fail raises an error"
        )

    def _start_attempt(self, command: on.StartAttempt) -> None:
        name = command.task
        self._spawn(self.worker.attempt(self.state.tasks[name], command.attempt), name)

    def _start_repair(self, command: on.StartRepair) -> None:
        name = command.task
        self._spawn(self.worker.repair(self.state.tasks[name], command.repair), f"repair of {name}")

    def _start_undo(self, command: on.StartUndo) -> None:
        name = command.task
        self._spawn(self.worker.undo(self.state.tasks[name], command.attempt), f"undo of {name}")

    def _start_finalizer(self, command: on.StartFinalizer) -> None:
        self._spawn(self.worker.finalize(command.name), f"finalizer {command.name}")

    def _ask_condition(self, command: on.AskCondition) -> None:
        name = command.task
        self._spawn(self.worker.ask(self.state.tasks[name]), f"when= of {name}")

    def _ask_interrupt(self, command: on.AskInterrupt) -> None:
        name = command.task
        coroutine = self.worker.ask_interrupt(self.state.tasks[name])
        self._spawn(coroutine, f"on_interrupt= of {name}")

    def _list_items(self, command: on.ListItems) -> None:
        self.worker.list_items(self.state.tasks[command.task])

    def _take_locks(self, command: on.TakeLocks) -> None:
        what = "locks" if command.task is None else f"locks of {command.task}"
        task = self._spawn(self._acquire(command), what)
        self._acquiring[task] = command.task
        task.add_done_callback(self._acquiring.pop)

    async def _acquire(self, command: on.TakeLocks) -> None:
        started, told = self.loop.time(), self._met if command.policy in MAKE_WAY else None
        try:
            leases = await self._leases.take(command, told)
        except LockError as error:
            self.post(on.LocksTaken(refusal=str(error), task=command.task))
        except Exception as error:  # noqa: BLE001 - whoever waits for the run has to hear of it
            self.failed(error)
        else:
            waited_s = round(self.loop.time() - started, 6)
            self.post(on.LocksTaken(tuple(leases), waited_s, task=command.task))

    def _met(self, holder: Holder) -> None:
        lease = holder.lease
        self.post(on.HolderMet(lease.resource, lease.epoch, lease.run_id))

    def _ask_holder(self, command: on.AskHolder) -> None:
        """Ask another run to make way; where nobody can reach it, this one waits all the same."""
        assert self.state.began is not None
        workflow, who = self.state.plan.workflow_name, self.state.began.initiator.get("id")
        reason = f"run {self.run_id} of {workflow!r} needs {command.resource!r}"
        try:
            self._ask_other(command.run_id, on.Asked(command.command, who, reason))
        except PyflowError as error:
            LOG.warning(
                "run %s could not ask run %s to %s, and waits for it: %s",
                self.run_id,
                command.run_id,
                "cancel" if command.command == "cancel" else "roll back",
                error,
            )

    def _stop_acquiring(self) -> None:
        """Leave the line; whoever waits behind goes on."""
        if not self.loop.is_closed():
            for task in self._acquiring:
                task.cancel()

    def _drop_locks(self, command: on.DropLocks) -> None:
        for task, name in self._acquiring.items():
            if name == command.task:
                task.cancel()

    def _give_locks(self, command: on.GiveLocks) -> None:
        self._leases.give(command.resources)

    def _leave(self, command: on.Leave) -> None:
        del command
        self._broken = self._leases.refusal
        self._end()

    def _abandon(self, command: on.Abandon) -> None:
        self._abandoned.add(command.task)
        self._give_slots(1)

    def _end_call(self, command: on.EndCall) -> None:
        self._abandon(on.Abandon(command.task))
        self.worker.end(command.task)

    def _release(self, name: str) -> None:
        """Give the slot of a call back, unless that was done when it was abandoned."""
        if name in self._abandoned:
            self._abandoned.remove(name)
        elif self._slots_taken:  # they were all given back if the run has ended meanwhile
            self._give_slots(1)

    def _take_slots(self) -> int:
        """Take as many slots as the machine could use, of those that are free."""
        granted = self._slots.grant(self, self.machine.wanted)
        self._slots_taken += granted
        return granted

    def _give_slots(self, number: int) -> None:
        self._slots_taken -= number
        self._slots.release(number)

    def _set_timer(self, command: on.SetTimer) -> None:
        key = command.key
        self._timers[key] = self.loop.call_later(command.delay_s, self._timer_fired, key)

    def _timer_fired(self, key: on.TimerKey) -> None:
        self._timers.pop(key, None)
        self.post(on.TimerFired(key))

    def _cut_waits(self, command: on.CutWaits) -> None:
        del command
        self.desk.cut_waits()

    def _finish(self, command: on.Finish) -> None:
        del command
        self._end()


_COMMANDS: dict[type[Any], Callable[[Driver, Any], None]] = {
    on.StartAttempt: Driver._start_attempt,
    on.StartRepair: Driver._start_repair,
    on.StartUndo: Driver._start_undo,
    on.StartFinalizer: Driver._start_finalizer,
    on.TakeLocks: Driver._take_locks,
    on.DropLocks: Driver._drop_locks,
    on.GiveLocks: Driver._give_locks,
    on.AskHolder: Driver._ask_holder,
    on.Leave: Driver._leave,
    on.AskCondition: Driver._ask_condition,
    on.AskInterrupt: Driver._ask_interrupt,
    on.ListItems: Driver._list_items,
    on.SetTimer: Driver._set_timer,
    on.CutWaits: Driver._cut_waits,
    on.Abandon: Driver._abandon,
    on.EndCall: Driver._end_call,
    on.Finish: Driver._finish,
}
