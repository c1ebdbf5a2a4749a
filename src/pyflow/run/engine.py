"""`Engine`: runs plans, any number of them at once."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, cast
from weakref import WeakKeyDictionary

from pyflow.clock import SystemClock
from pyflow.define.compiler import not_isolatable
from pyflow.define.environment import Parameters, bind_params
from pyflow.define.plan import Plan
from pyflow.define.policies import ISOLATIONS
from pyflow.define.problems import BadOption
from pyflow.define.workflow import Workflow
from pyflow.errors import (
    DefinitionError,
    EngineError,
    JournalError,
    LockError,
    LockMoved,
    RunAlive,
    shown,
)
from pyflow.record.audit import AuditTrail
from pyflow.record.events import LockBroken, RunFinished, RunResumed, RunStarted
from pyflow.record.ledger import BROKEN, ledger_of
from pyflow.record.locks import MemoryLocks
from pyflow.record.memory import MemoryJournal
from pyflow.record.shortcuts import forget, unfinished_runs, unknown_text
from pyflow.run.asking import Asking
from pyflow.run.calls import Caller
from pyflow.run.commands import data_of
from pyflow.run.committing import Committer
from pyflow.run.driver import Driver
from pyflow.run.executors import ThreadExecutor
from pyflow.run.handle import Run
from pyflow.run.inboxes import Inboxes
from pyflow.run.inputs import Asked
from pyflow.run.loops import LoopThread, at_once, call_in, run_aside, run_here
from pyflow.run.machine import Machine
from pyflow.run.masking import redacted
from pyflow.run.origins import Origins
from pyflow.run.reopening import (
    Reopening,
    began,
    check_plan,
    environment_of,
    params_of,
    recorded_run,
    why_no_rollback,
)
from pyflow.run.signals import attended, catching, free_signals
from pyflow.run.slots import Slots
from pyflow.secrets import Redactor, Secret
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pyflow.define.environment import Environment
    from pyflow.define.policies import Isolation
    from pyflow.notices.route import Route
    from pyflow.protocols import (
        Clock,
        Executor,
        Holder,
        Journal,
        Lease,
        LockManager,
        Notifier,
    )
    from pyflow.record.sqlite.store import Store
    from pyflow.run.delivery import Deliverer
    from pyflow.run.result import Result
    from pyflow.run.signals import Caught, OnCancel
    from pyflow.source import Source

__all__ = ["Engine", "SystemClock"]

LOG = logging.getLogger("pyflow.locks")
WATCHING = logging.getLogger("pyflow.watch")
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR")


class Engine(Asking):
    """Runs workflows and keeps their record.

    One engine serves any number of runs at once, from any thread; two engines
    in one process share nothing. Each call of a run that is not isolated begins
    with the context variables of where the run was started or taken up; what
    it sets there, no other call sees.

    Args:
        journal: Where the record is kept; in memory unless given. A path makes
            it durable: one SQLite file for all runs of a workspace, which any
            number of processes of one host may share.
        locks: Who keeps runs apart that need one resource; the engine itself
            unless given, and then only its own runs.
        max_parallel: How many tasks run at once, over all runs.
        isolation: Where tasks run that do not say: on the loop and on threads
            (None), or each in a fresh ``process``.
        drain_timeout: How long what is under way may take to end once a run
            is stopping; what still runs then is in doubt.
        grace: With a durable journal, how long what is under way may take to
            end after the first SIGINT, SIGTERM or SIGHUP during `execute`,
            `resume` or `rollback`. The second signal ends it at once.
        on_cancel: What such a signal leads to: `pause` leaves the run to a
            resume, `rollback` takes it back before the process ends.
        notifiers: Who is told what happens in runs: routes, or bare notifiers.
            They are told in the background, and nothing that they do changes a
            run, but for a route that is `required`.
        drain: How long `close`, or the end of the program, waits for what is
            still to be told.
        watch: Is handed each `Run` that is started or taken up here, once that is
            durable and before anything of it starts, such as
            ``pyflow.reports.progress()``, which has `Run.follow` tell it the
            rest. What it raises is logged, and changes nothing.
        secrets: Secrets besides those among the parameters, for redaction, and to fetch again
            those that a resumed run was started with, by their references.
        pass_env: Environment variables that isolated tasks see, as they are when
            the task starts, besides PATH, LANG, LC_ALL, TZ, HOME and TMPDIR, and
            ``TRACEPARENT``, which names their own span.
        environ: The environment to read the CI context from, and the span
            that runs are part of (``TRACEPARENT``); the process's own unless
            given.
        executor: Where plain functions run; on threads of the engine's own
            unless given.
        clock: What the records' instants come from.
        source: What is recorded of where definitions come from: their file, its
            digest, their commit, and whether anything differs from that.
            True has git asked once for each file, for two seconds at most;
            False records nothing; a `Source` is recorded as it is. True where
            *journal* is a path, False elsewhere, unless given.
        seed: Makes run ids and jitter repeatable.
    """

    def __init__(
        self,
        *,
        journal: Journal | str | os.PathLike[str] | None = None,
        locks: LockManager | None = None,
        max_parallel: int = 64,
        isolation: Isolation | None = None,
        drain_timeout: Span = "10m",
        grace: Span = "5s",
        on_cancel: OnCancel = "pause",
        notifiers: Iterable[Route | Notifier] = (),
        drain: Span = "5s",
        watch: Callable[[Run], object] | None = None,
        secrets: Iterable[Secret] = (),
        pass_env: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        clock: Clock | None = None,
        source: bool | Source | None = None,
        seed: int | None = None,
    ) -> None:
        if type(max_parallel) is not int or not 1 <= max_parallel <= 10_000:
            raise DefinitionError(
                "Engine",
                [
                    BadOption(
                        "engine",
                        "max_parallel",
                        max_parallel,
                        "give a whole number from 1 to 10000",
                    )
                ],
            )
        if isolation not in (None, *ISOLATIONS):
            raise DefinitionError(
                "Engine",
                [BadOption("engine", "isolation", isolation, 'leave it out, or "process"')],
            )
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._store = _opened(journal, self._clock)
        if self._store is not None:
            journal, locks = self._store.journal, locks or self._store.locks
        self.journal: Journal = cast("Journal", journal) if journal is not None else MemoryJournal()
        self.max_parallel = max_parallel
        self.isolation: Isolation | None = isolation
        if on_cancel not in ("pause", "rollback"):
            expected = 'choose "pause" or "rollback"'
            raise DefinitionError("Engine", [BadOption("engine", "on_cancel", on_cancel, expected)])
        self._drain_s = seconds(drain_timeout, what="drain_timeout", zero=True)
        self._grace_s = seconds(grace, what="grace", zero=True)
        self._on_cancel: OnCancel = on_cancel
        self._watch = watch
        self._secrets = tuple(secrets)
        self._masked = Redactor()
        source = (self._store is not None) if source is None else source
        self._origins = Origins(dict(os.environ if environ is None else environ), source)
        self._executor: Executor = executor if executor is not None else ThreadExecutor()
        self._caller = Caller(self._executor, isolation, (*KEPT_VARIABLES, *pass_env))
        self._rng = random.Random(seed)  # noqa: S311 - jitter and ids, nothing secret
        self._slots = Slots(max_parallel)
        self._locks: LockManager = locks or MemoryLocks(now=self._clock.now)
        drain_s = seconds(drain, what="drain", zero=True)
        self._deliverer = self._made_deliverer(notifiers, drain_s)
        self._guard = threading.Lock()
        self._active: dict[str, Driver] = {}
        self._committers: WeakKeyDictionary[asyncio.AbstractEventLoop, Committer]
        self._committers = WeakKeyDictionary()
        self._inboxes: Inboxes | None = None
        if self._store is not None:
            self._inboxes = Inboxes(self._store.journal.pending, self._active)
        self._thread: LoopThread | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Engine journal={self.journal!r} max_parallel={self.max_parallel} active={len(self._active)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Running ------------------------------------------------------------------------------

    def execute(
        self,
        workflow: Workflow | Plan,
        *,
        params: Mapping[str, Any] | None = None,
        environment: Environment | None = None,
        initiator: str | None = None,
    ) -> Result:
        """Run *workflow* to its end, and return what came of it.

        Blocks. Inside a running event loop, such as a notebook's, the run gets
        a thread of its own.

        Args:
            workflow: What to run. A plan is run as it is; a workflow is
                checked before anything else happens.
            params: Values for its parameters; they outrank the environment's.
            environment: Where it runs.
            initiator: Who asks for it; else what the CI system says, else the
                operating system's user.

        Raises:
            DefinitionError: The workflow or a parameter is wrong. Nothing was
                recorded, and nothing was done.
            JournalError: The record could not be kept, so the run was stopped.
            LockHeld: Another run has a resource, and ``on_locked="fail"``.
            LockError: Residue of an earlier run is in the way.
        """
        if self._store is not None:
            return self._wait_for(
                lambda: self.start(
                    workflow, params=params, environment=environment, initiator=initiator
                )
            )
        coroutine = self.run(workflow, params=params, environment=environment, initiator=initiator)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run_here(coroutine)
        return run_aside(coroutine)

    async def run(
        self,
        workflow: Workflow | Plan,
        *,
        params: Mapping[str, Any] | None = None,
        environment: Environment | None = None,
        initiator: str | None = None,
    ) -> Result:
        """Run *workflow* to its end; the async form of `execute`.

        Cancelling the wait cancels the run: what is under way ends first.
        """
        run = self.start(workflow, params=params, environment=environment, initiator=initiator)
        try:
            return await run
        except asyncio.CancelledError:
            driver = self._active.get(run.id)
            if driver is not None:
                run.cancel(reason="the wait for it was cancelled")
                await driver.over
            raise

    def start(
        self,
        workflow: Workflow | Plan,
        *,
        params: Mapping[str, Any] | None = None,
        environment: Environment | None = None,
        initiator: str | None = None,
    ) -> Run:
        """Start *workflow*, and return its `Run` once its first record is durable.

        Inside a running event loop the run lives there; elsewhere on a thread
        of the engine's own.
        """
        if self._closed:
            raise EngineError("this engine is closed; make another one")
        try:
            loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        except RuntimeError:
            loop = self._loop_thread().loop
            return call_in(
                loop, lambda: self._start_on(loop, workflow, params, environment, initiator)
            )
        return self._start_on(loop, workflow, params, environment, initiator)

    # Runs that are recorded ---------------------------------------------------------------

    def resume(
        self,
        run_id: str,
        workflow: Workflow | Plan,
        *,
        params: Mapping[str, Any] | None = None,
        environment: Environment | None = None,
        accept_changes: bool = False,
        initiator: str | None = None,
    ) -> Result:
        """Carry on with a run from its record, to its end, and return what came of it.

        Tasks that have finished are not run again. One that was under way may or
        may not have taken effect: its ``on_interrupt=`` finds out, or the run is
        held until `resolve` says so. Waits go on for what is left of them. A
        run that has ended is not touched; its recorded result is returned.

        Args:
            run_id: The run.
            workflow: What it was started from.
            params: Values for parameters that no record can hold: objects, and
                secrets without a reference. The others are as they were.
            environment: Where it runs, if that holds such values.
            accept_changes: Whether to carry on although tasks have changed.
            initiator: Who asks for it; found out as for `execute`.

        Raises:
            EngineError: There is no such run, it is under way already, or a
                parameter has to be given again.
            PlanChanged: The workflow is another one, and that was not accepted.
            RunAlive: It is under way in another process.
            LockMoved: Somebody broke one of its locks, or has had it since.
            LockError: Its resources are held by somebody else.
            JournalError: The record is broken, or could not be kept.
        """
        return self._wait_for(
            lambda: self.reopen(
                run_id,
                workflow,
                params=params,
                environment=environment,
                accept_changes=accept_changes,
                initiator=initiator,
            )
        )

    def rollback(
        self,
        run_id: str,
        workflow: Workflow | Plan,
        *,
        reason: str,
        params: Mapping[str, Any] | None = None,
        environment: Environment | None = None,
        accept_changes: bool = False,
        initiator: str | None = None,
    ) -> Result:
        """Take back everything that a recorded run has started, and return what came of it.

        Works on a run that was cut off, and on one that ended as failed,
        cancelled or rollback_failed; there, undos that failed are tried once
        more. For the arguments see `resume`.

        Raises:
            EngineError: There is nothing to roll back, or a point of no return
                has been passed; else as for `resume`.
        """
        if not reason:
            raise EngineError("rollback needs reason=: somebody will ask why it was done")
        return self._wait_for(
            lambda: self.reopen(
                run_id,
                workflow,
                params=params,
                environment=environment,
                accept_changes=accept_changes,
                initiator=initiator,
                roll_back=reason,
            )
        )

    def resume_all(self, workflows: Iterable[Workflow | Plan], **options: Any) -> dict[str, Result]:
        """Resume every run of *workflows* that was cut off, one after the other, oldest first.

        Runs that wait for a person are taken up too, and come back as held.
        Runs of other workflows are left alone; so are those that are alive in
        another process, and those whose locks somebody broke or has had since,
        of which the log ``pyflow.locks`` tells.

        Args:
            workflows: What the runs were started from, found by name.
            options: As for `resume`.
        """
        plans = {plan.workflow_name: plan for plan in map(_plan_of, workflows)}
        results: dict[str, Result] = {}
        for run_id in unfinished_runs(self.journal):
            records = recorded_run(self.journal, run_id)
            plan = plans.get(began(records).workflow)
            ended = isinstance(records[-1].event, RunFinished)
            if plan is not None and not ended and run_id not in self._active:
                try:
                    results[run_id] = self.resume(run_id, plan, **options)
                except (LockMoved, RunAlive) as error:
                    LOG.warning("run %s is left alone: %s", run_id, error)
        return results

    def reopen(
        self,
        run_id: str,
        workflow: Workflow | Plan,
        *,
        params: Mapping[str, Any] | None = None,
        environment: Environment | None = None,
        accept_changes: bool = False,
        initiator: str | None = None,
        roll_back: str | None = None,
    ) -> Run:
        """Take a recorded run up, and return its `Run` once that is durable.

        The form of `resume`, and with *roll_back* of `rollback`, that does not wait.
        """
        if self._closed:
            raise EngineError("this engine is closed; make another one")
        order = Reopening(
            run_id,
            _plan_of(workflow),
            params or {},
            environment,
            accept_changes,
            initiator,
            roll_back,
        )
        try:
            loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        except RuntimeError:
            loop = self._loop_thread().loop
            return call_in(loop, lambda: self._reopen_on(loop, order))
        return self._reopen_on(loop, order)

    def _reopen_on(self, loop: asyncio.AbstractEventLoop, order: Reopening) -> Run:
        run_id, plan = order.run_id, order.plan
        self._let_go_of_stranded(run_id)
        if run_id in self._active:
            raise EngineError(f"run {run_id} is under way in this engine; nothing to take up")
        records = recorded_run(self.journal, run_id)
        changes = check_plan(records, plan, accept_changes=order.accept_changes)
        environment = environment_of(records, order.environment)
        ended = isinstance(records[-1].event, RunFinished)
        refusal = why_no_rollback(plan, records) if order.roll_back is not None else None
        if refusal is not None:
            raise EngineError(f"{refusal}, so it cannot be rolled back")
        if ended and order.roll_back is None:
            driver = self._driver(plan, run_id, Parameters({}, {}, {}, ()), environment, loop)
            driver.show(records)
            self._free_locks(driver)
            return self._run(driver)
        params = params_of(records, plan, order.params, environment, self._secrets)
        parameters = bind_params(plan, environment, params)
        self._check_isolation(plan)
        who = self._origins.initiator(order.initiator)
        driver = self._driver(
            plan, run_id, parameters, environment, loop, claim=self._claim(run_id)
        )
        event = RunResumed(who.to_data(), self._origins.of(plan), changes or None)
        with driver.claimed():
            if self._inboxes is not None:
                self._inboxes.check(run_id)
            driver.resume(records, event, roll_back=order.roll_back, by=who.id)
        return self._set_out(driver)

    def _ask(self, run_id: str, asked: Asked) -> None:
        driver = self._active.get(run_id)
        if driver is not None and not driver.loop.is_closed():
            driver.ask(asked)
            return
        records = recorded_run(self.journal, run_id)
        if isinstance(records[-1].event, RunFinished):
            raise EngineError(f"run {run_id} has ended; nothing can be asked of it")
        if self._store is None:
            raise EngineError(
                f"run {run_id} is not under way in this engine, whose journal is in memory; take "
                "the run up with engine.reopen(), and ask its Run"
            )
        self._store.journal.put(
            run_id,
            asked.command,
            at=self._clock.now(),
            task=asked.task,
            by=asked.by,
            reason=asked.reason,
            data=data_of(asked),
        )

    def _let_go_of_stranded(self, run_id: str) -> None:
        """Let go of a run that rests on a loop which is closed, so that it can be taken up."""
        driver = self._active.get(run_id)
        if driver is not None and driver.loop.is_closed():
            driver.let_go()

    def _free_locks(self, driver: Driver) -> None:
        """Free what a run still bars that has ended, and whose engine died before it let go."""
        kept = driver.state.locks  # those of its residue, on the record of a run that has ended
        for resource in self._locks.left(driver.run_id):
            if resource not in kept:
                with suppress(LockError):  # another run has it by now
                    taking = self._locks.acquire(driver.run_id, [resource], policy="fail")
                    self._locks.release(at_once(taking))

    def _wait_for(self, start: Callable[[], Run]) -> Result:
        async def wait(caught: Caught | None = None) -> Result:
            run = start() if caught is None else caught.begin(start)
            result = (
                await attended(run, caught, on_cancel=self._on_cancel, grace_s=self._grace_s)
                if caught is not None
                else await run
            )
            if self._store is not None:
                run.let_go()  # where it is held, for whoever takes it up, here or elsewhere
            return result

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            signals = free_signals() if self._store is not None else []
            if not signals:
                return run_here(wait())
            with catching(signals) as caught:
                return run_here(wait(caught), on_closing=caught.close)
        return run_aside(wait())

    def break_lock(self, resource: str, *, by: str, reason: str) -> int:
        """Free *resource*, whoever holds it and whatever is left there; return its new epoch.

        *by* and *reason* go to the log ``pyflow.locks``, as a warning, and on
        record: see `broken_locks`.

        Raises:
            EngineError: *by* or *reason* is missing.
            JournalError: It could not be recorded; a note says so. The resource is free all the same.
        """
        if not (by and reason):
            raise EngineError(
                "break_lock needs by= and reason=: somebody will ask who it was, and why"
            )
        LOG.warning("%s broke the lock %r: %s", by, resource, reason)
        self.journal.read(BROKEN)  # other processes write there as well: go on from where they are
        epoch = self._locks.break_lock(resource)
        event = redacted(LockBroken(resource, epoch, by, reason), self._redactor())
        try:
            self.journal.append(BROKEN, [event], at=self._clock.now())
        except JournalError as error:
            error.add_note(
                f"{resource!r} is free all the same, and need not be broken again: its epoch is "
                f"{epoch} now. Who broke it, and why, is in the log pyflow.locks alone; keep that"
            )
            raise
        return epoch

    def broken_locks(self) -> AuditTrail:
        """Return the trail of the locks that people have broken: which, when, by whom and why.

        It is a chain of records of its own, because the runs that a resource
        is taken from have ended, or are another engine's to record.
        """
        return AuditTrail(self.journal.read(BROKEN))

    def holder(self, resource: str) -> Holder | None:
        """Return who has *resource*, dead or alive, or None; ``run:<id>`` names a run itself."""
        return self._locks.holder(resource)

    def trail(self, run_id: str) -> AuditTrail:
        """Return the audit trail of a run, as far as it is recorded.

        Raises:
            EngineError: No such run is in the journal; the error names the nearest.
        """
        records = self.journal.read(run_id)
        if not records:
            raise EngineError(unknown_text(self.journal, run_id))
        return AuditTrail(records)

    def notices(self, run_id: str) -> AuditTrail:
        """Return the trail of what was told about a run, to whom, and what came of it.

        It is a chain of records of its own, because telling goes on after the
        run has ended. It is empty where nobody was to be told.
        """
        return AuditTrail(self.journal.read(ledger_of(run_id)))

    def wait_delivered(self, timeout: Span = "30s") -> bool:
        """Block until everything is told and on record that there is to tell; return whether it is.

        Args:
            timeout: How long to wait for it, at most.
        """
        timeout_s = seconds(timeout, what="timeout", zero=True)
        return self._deliverer is None or self._deliverer.wait_delivered(timeout_s)

    def close(self) -> None:
        """Cancel what still runs, wait for it, and let go of threads.

        Closing again changes nothing.
        """
        with self._guard:
            self._closed = True
            active = list(self._active.values())
            thread, self._thread = self._thread, None
        if thread is not None:
            for driver in active:
                if driver.loop is thread.loop and not self._left(driver):
                    driver.ask(Asked("cancel", reason="the engine is closed"))
                    driver.over.wait()
            thread.stop()
        if self._inboxes is not None:
            self._inboxes.close()
        self._executor.close()
        if self._deliverer is not None:
            self._deliverer.close()
        if self._store is not None:
            self._store.close()

    def _left(self, driver: Driver) -> bool:
        """Leave a run that rests to whoever takes it up, where its record outlasts the engine."""
        if self._store is None or not driver.rest.is_kept:
            return False
        call_in(driver.loop, driver.let_go)
        return True

    # Inside -------------------------------------------------------------------------------

    def _start_on(
        self,
        loop: asyncio.AbstractEventLoop,
        workflow: Workflow | Plan,
        params: Mapping[str, Any] | None,
        environment: Environment | None,
        initiator: str | None,
    ) -> Run:
        plan = _plan_of(workflow)
        self._check_isolation(plan)
        parameters = bind_params(plan, environment, params or {})
        who = self._origins.initiator(initiator)
        run_id = self._new_id()
        driver = self._driver(
            plan, run_id, parameters, environment, loop, claim=self._claim(run_id)
        )
        with driver.claimed():
            driver.begin(
                RunStarted(
                    workflow=plan.workflow_name,
                    fingerprint=plan.fingerprint,
                    params=parameters.recorded,
                    initiator=who.to_data(),
                    origin=self._origins.of(plan),
                    plan=plan.digests,
                    environment=environment.to_data() if environment is not None else None,
                )
            )
        return self._set_out(driver)

    def _set_out(self, driver: Driver) -> Run:
        with self._guard:
            self._active[driver.run_id] = driver
        if self._deliverer is not None:
            if driver.gate is None:
                self._deliverer.attach(driver)
            if self._store is not None:
                self._deliverer.catch_up(self._active.__contains__)
        if self._inboxes is not None:
            self._inboxes.attend(driver)
        run = self._run(driver)
        self._show(run)
        return run

    def _show(self, run: Run) -> None:
        if self._watch is None:
            return
        try:
            self._watch(run)
        except Exception:  # noqa: BLE001 - whoever looks on never stops a run
            WATCHING.exception("watch= does not see run %s, because it raised", run.id)

    def _claim(self, run_id: str) -> Lease | None:
        """Make sure that no other process has the run, and return what says so.

        Raises:
            RunAlive: Another process has it.
        """
        if self._store is None:
            return None
        return at_once(self._locks.acquire(run_id, [f"run:{run_id}"], policy="fail"))[0]

    def _committer(self, loop: asyncio.AbstractEventLoop) -> Committer | None:
        if self._store is None:
            return None
        if loop not in self._committers:
            self._committers[loop] = Committer(self._store.journal)
        return self._committers[loop]

    def _driver(
        self,
        plan: Plan,
        run_id: str,
        parameters: Parameters,
        environment: Environment | None,
        loop: asyncio.AbstractEventLoop,
        *,
        claim: Lease | None = None,
    ) -> Driver:
        driver = Driver(
            Machine(plan, max_parallel=_least(plan, environment), drain_s=self._drain_s),
            run_id=run_id,
            journal=self.journal,
            clock=self._clock,
            seed=self._rng.random(),
            slots=self._slots,
            locks=self._locks,
            committer=self._committer(loop),
            claim=claim,
            caller=self._caller,
            parameters=parameters,
            environment=environment,
            redactor=self._redactor(*parameters.secrets),
            loop=loop,
            on_end=self._ended,
            ask_other=self._ask,
        )
        deliverer = self._deliverer
        if deliverer is not None and deliverer.has_required:
            driver.gate = lambda then: deliverer.attach(driver, then=then)
        return driver

    def _redactor(self, *more: Secret) -> Redactor:
        """Return what masks the secrets of the engine, and *more*."""
        self._masked.register(*self._secrets)  # of those that it knows, only the value is asked
        redactor = Redactor(self._masked)
        redactor.register(*more)
        return redactor

    def _made_deliverer(self, notifiers: object, drain_s: float) -> Deliverer | None:
        if notifiers == ():
            return None
        # Few engines tell anybody, and importing pyflow is to be quick.
        from pyflow.notices.route import checked_routes  # noqa: PLC0415
        from pyflow.run.delivery import Deliverer  # noqa: PLC0415

        routes = checked_routes(notifiers)
        if not routes:
            return None
        return Deliverer(
            routes,
            journal=self.journal,
            locks=self._locks,
            clock=self._clock,
            secrets=self._secrets,
            drain_s=drain_s,
            seed=self._rng.random(),
        )

    def _run(self, driver: Driver) -> Run:
        return Run(driver, lambda after: self.journal.read(driver.run_id, after=after))

    def _ended(self, driver: Driver) -> None:
        forget(self.journal, driver.run_id)  # before somebody may take it up again
        with self._guard:
            self._active.pop(driver.run_id, None)
            idle = not self._active
            is_last = all(other.loop is not driver.loop for other in self._active.values())
        if self._deliverer is not None:
            self._deliverer.detach(driver.run_id)
        if self._inboxes is not None:
            self._inboxes.leave(driver, last=is_last)
        if idle:
            self._executor.close()

    def _check_isolation(self, plan: Plan) -> None:
        if self.isolation != "process":
            return
        problems = [
            problem
            for node in plan.nodes.values()
            if node.task.isolation is None
            for problem in not_isolatable(node.task)
        ]
        if problems:
            raise DefinitionError(f"workflow {plan.workflow_name!r}", problems)

    def _new_id(self) -> str:
        while True:
            at = self._clock.now().isoformat()[:19].replace("-", "").replace(":", "")
            run_id = f"{at.replace('T', '-')}-{self._rng.getrandbits(32):08x}"
            if not self.journal.read(run_id):
                return run_id

    def _loop_thread(self) -> LoopThread:
        with self._guard:
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread


def _opened(journal: object, clock: Clock) -> Store | None:
    """Return the store at the path *journal*, if it is one."""
    if not isinstance(journal, (str, os.PathLike)):
        return None
    from pyflow.record.sqlite.store import Store  # noqa: PLC0415 - only where it is used

    return Store(cast("os.PathLike[str]", journal), now=clock.now)


def _plan_of(workflow: object) -> Plan:
    if isinstance(workflow, Plan):
        return workflow
    if isinstance(workflow, Workflow):
        return workflow.check()
    raise EngineError(f"{shown(workflow)} is neither a Workflow nor a Plan")


def _least(plan: Plan, environment: Environment | None) -> int | None:
    limits = [plan.max_parallel, environment.max_parallel if environment is not None else None]
    return min((limit for limit in limits if limit is not None), default=None)


assert sys.version_info >= (3, 11), "pyflow needs Python 3.11 or newer"
