"""`Engine`: runs plans, any number of them at once."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import sys
import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from pyflow.ci import detect_ci, detect_initiator
from pyflow.define.compiler import not_isolatable
from pyflow.define.environment import bind_params
from pyflow.define.plan import Plan
from pyflow.define.policies import ISOLATIONS
from pyflow.define.problems import BadOption
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError, EngineError, LockError, shown
from pyflow.record.audit import AuditTrail
from pyflow.record.events import RunStarted
from pyflow.record.locks import MemoryLocks
from pyflow.record.memory import MemoryJournal
from pyflow.run.calls import Caller
from pyflow.run.driver import Driver
from pyflow.run.executors import ThreadExecutor
from pyflow.run.handle import Run
from pyflow.run.inputs import Asked
from pyflow.run.machine import Machine
from pyflow.run.slots import Slots
from pyflow.secrets import Redactor, Secret
from pyflow.spans import Span, seconds
from pyflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from pyflow.define.environment import Environment
    from pyflow.define.policies import Isolation
    from pyflow.protocols import Clock, Executor, Journal, LockManager
    from pyflow.run.result import Result

__all__ = ["Engine", "SystemClock"]

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR")


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        return datetime.now(UTC)


class Engine:
    """Runs workflows and keeps their record.

    One engine serves any number of runs at once, from any thread; two engines
    in one process share nothing.

    Args:
        journal: Where the record is kept; in memory unless given.
        locks: Who keeps runs apart that need one resource; the engine itself
            unless given, and then only its own runs.
        max_parallel: How many tasks run at once, over all runs.
        isolation: Where tasks run that do not say: on the loop and on threads
            (None), or each in a fresh ``process``.
        drain_timeout: How long what is under way may take to end once a run
            is stopping; what still runs then is in doubt.
        secrets: Secrets besides those among the parameters, for redaction.
        pass_env: Environment variables that isolated tasks see, besides PATH,
            LANG, LC_ALL, TZ, HOME and TMPDIR.
        environ: The environment to read the CI context from; the process's
            own unless given.
        executor: Where plain functions run; on threads of the engine's own
            unless given.
        clock: What the records' instants come from.
        seed: Makes run ids and jitter repeatable.
    """

    def __init__(
        self,
        *,
        journal: Journal | None = None,
        locks: LockManager | None = None,
        max_parallel: int = 64,
        isolation: Isolation | None = None,
        drain_timeout: Span = "10m",
        secrets: Iterable[Secret] = (),
        pass_env: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        clock: Clock | None = None,
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
        self.journal: Journal = journal if journal is not None else MemoryJournal()
        self.max_parallel = max_parallel
        self.isolation: Isolation | None = isolation
        self._drain_s = seconds(drain_timeout, what="drain_timeout", zero=True)
        self._secrets = tuple(secrets)
        self._environ = dict(os.environ if environ is None else environ)
        kept = (*KEPT_VARIABLES, *pass_env)
        self._executor: Executor = executor if executor is not None else ThreadExecutor()
        self._caller = Caller(
            self._executor, isolation, {k: os.environ[k] for k in kept if k in os.environ}
        )
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._rng = random.Random(seed)  # noqa: S311 - jitter and ids, nothing secret
        self._slots = Slots(max_parallel)
        self._locks: LockManager = locks if locks is not None else MemoryLocks()
        self._guard = threading.Lock()
        self._active: dict[str, Driver] = {}
        self._thread: _LoopThread | None = None
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
            LockError: Residue of an earlier run is in the way.
        """
        coroutine = self.run(workflow, params=params, environment=environment, initiator=initiator)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return _run_here(coroutine)
        return _run_aside(coroutine)

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
                await asyncio.shield(asyncio.wrap_future(driver.over))
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
            return _call_in(
                loop, lambda: self._start_on(loop, workflow, params, environment, initiator)
            )
        return self._start_on(loop, workflow, params, environment, initiator)

    def break_lock(self, resource: str, *, by: str, reason: str) -> int:
        """Free *resource*, whoever holds it and whatever is left there; return its new epoch.

        *by* and *reason* go to the log ``pyflow.locks``, as a warning: the runs
        that the resource is taken from have ended, and their records with them.

        Raises:
            EngineError: *by* or *reason* is missing.
        """
        if not (by and reason):
            raise EngineError(
                "break_lock needs by= and reason=: somebody will ask who it was, and why"
            )
        logging.getLogger("pyflow.locks").warning("%s broke the lock %r: %s", by, resource, reason)
        return self._locks.break_lock(resource)

    def trail(self, run_id: str) -> AuditTrail:
        """Return the audit trail of a run, as far as it is recorded.

        Raises:
            EngineError: No such run is in the journal.
        """
        records = self.journal.read(run_id)
        if not records:
            known = ", ".join(self.journal.runs()) or "none"
            raise EngineError(f"no run {run_id!r} is in the journal; there are: {known}")
        return AuditTrail(records)

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
                if driver.loop is thread.loop:
                    driver.ask(Asked("cancel", reason="the engine is closed"))
                    driver.over.result()
            thread.stop()
        self._executor.close()

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
        who = detect_initiator(initiator, self._environ)
        redactor = Redactor()
        for secret in (*self._secrets, *parameters.secrets):
            redactor.register(secret)
        self._check_locks(plan)
        run_id = self._new_id()
        driver = Driver(
            Machine(plan, max_parallel=_least(plan, environment), drain_s=self._drain_s),
            run_id=run_id,
            journal=self.journal,
            clock=self._clock,
            rng=random.Random(self._rng.random()),  # noqa: S311 - jitter, nothing secret
            slots=self._slots,
            locks=self._locks,
            caller=self._caller,
            parameters=parameters,
            environment=environment,
            redactor=redactor,
            loop=loop,
            on_end=self._ended,
        )
        driver.begin(
            RunStarted(
                workflow=plan.workflow_name,
                fingerprint=plan.fingerprint,
                params=parameters.recorded,
                initiator=who.to_data(),
                origin=self._origin(),
                plan=plan.digests,
                environment=environment.to_data() if environment is not None else None,
            )
        )
        with self._guard:
            self._active[run_id] = driver
        return Run(
            driver,
            lambda: AuditTrail(self.journal.read(run_id)),
            lambda after: self.journal.read(run_id, after=after),
        )

    def _ended(self, driver: Driver) -> None:
        with self._guard:
            self._active.pop(driver.run_id, None)
            idle = not self._active
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

    def _check_locks(self, plan: Plan) -> None:
        refusal = self._locks.refusal(plan.locks)
        if refusal is not None:
            raise LockError(refusal)

    def _new_id(self) -> str:
        known = set(self.journal.runs())
        while True:
            at = self._clock.now().strftime("%Y%m%d-%H%M%S")
            run_id = f"{at}-{self._rng.getrandbits(32):08x}"
            if run_id not in known:
                return run_id

    def _origin(self) -> dict[str, Any]:
        origin: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "pyflow": __version__,
        }
        ci = detect_ci(self._environ)
        if ci is not None:
            origin["ci"] = ci.to_data()
        return origin

    def _loop_thread(self) -> _LoopThread:
        with self._guard:
            if self._thread is None:
                self._thread = _LoopThread()
            return self._thread


class _LoopThread:
    """An event loop on a daemon thread, for runs that are started outside of any loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="pyflow-loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def stop(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _plan_of(workflow: object) -> Plan:
    if isinstance(workflow, Plan):
        return workflow
    if isinstance(workflow, Workflow):
        return workflow.check()
    raise EngineError(f"{shown(workflow)} is neither a Workflow nor a Plan")


def _least(plan: Plan, environment: Environment | None) -> int | None:
    limits = [plan.max_parallel, environment.max_parallel if environment is not None else None]
    return min((limit for limit in limits if limit is not None), default=None)


def _run_here(coroutine: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner() as runner:
        return runner.run(coroutine)


def _run_aside(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run *coroutine* on a loop of its own, on a thread of its own, and wait.

    Interrupting the wait cancels the run, which drains before this returns.
    """
    outcome: Future[Result] = Future()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def note_and_run() -> Result:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await coroutine

    def work() -> None:
        try:
            outcome.set_result(_run_here(note_and_run()))
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            outcome.set_exception(error)

    thread = threading.Thread(target=work, name="pyflow-execute", daemon=True)
    thread.start()
    try:
        return outcome.result()
    except KeyboardInterrupt:
        loop, task = started.result()
        if not outcome.done():
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()


def _call_in(loop: asyncio.AbstractEventLoop, fn: Any) -> Any:
    """Call *fn* on *loop*'s thread, and return what it returned."""
    outcome: Future[Any] = Future()

    def call() -> None:
        try:
            outcome.set_result(fn())
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            outcome.set_exception(error)

    loop.call_soon_threadsafe(call)
    return outcome.result()


assert sys.version_info >= (3, 11), "pyflow needs Python 3.11 or newer"
