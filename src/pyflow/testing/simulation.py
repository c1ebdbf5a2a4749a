"""`simulate`: run a workflow in virtual time, and look at everything that happened."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from pyflow.define.plan import Plan
from pyflow.define.workflow import Workflow
from pyflow.errors import shown
from pyflow.run.engine import Engine
from pyflow.run.origins import Origins
from pyflow.run.result import Result
from pyflow.run.state import RunState, no_task
from pyflow.testing.arguments import (
    AS_FAKES,
    check_operator,
    check_script,
    check_world,
    mapping,
)
from pyflow.testing.clock import VirtualClock, running_loop
from pyflow.testing.drafts import DraftJournal
from pyflow.testing.errors import SimulationError
from pyflow.testing.faults import NO_FAULTS, OF_THE_RUN, Fault, ScriptedFaults
from pyflow.testing.loop import VirtualLoop
from pyflow.testing.stage import Fake, Stage
from pyflow.testing.strands import SimulatedExecutor
from pyflow.testing.where import name_of
from pyflow.testing.world.given import check_seed
from pyflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping

    from pyflow.ci.context import Initiator
    from pyflow.define.environment import Environment
    from pyflow.protocols import Executor, Journal, LockManager
    from pyflow.record.events import Event
    from pyflow.run.handle import Run
    from pyflow.secrets import Secret
    from pyflow.spans import Span
    from pyflow.testing.faults import Faults
    from pyflow.testing.world import Change, World

__all__ = ["Operator", "SimulatedEngine", "Simulation", "simulate"]

T = TypeVar("T")
Operator: TypeAlias = "Callable[[Run], Awaitable[object]]"
"""Somebody who watches a run and asks things of it."""


@dataclass(frozen=True, init=False)
class Simulation(Result):
    """What came of a simulated run: its `Result`, and what only a simulation knows."""

    order: tuple[str, ...]
    """Every call of a function in the order in which it was made: ``"deploy"``,
    ``"undo of deploy"``, ``"repair of deploy"``, ``"when= of deploy"``,
    ``"finalizer report"``."""

    elapsed: timedelta
    """How much virtual time passed, to the microsecond."""

    seed: int
    """The seed; the same seed gives the same run."""

    faults: tuple[Fault, ...] = field(repr=False)
    """What was made to go wrong."""

    plan: Plan = field(repr=False)
    """What was run."""

    world: World | None = field(repr=False)
    """The world that it ran in."""

    history: tuple[Change, ...] = field(repr=False)
    """What changed in that world meanwhile, in order, and by whose hand."""

    def __init__(
        self,
        result: Result,
        *,
        order: tuple[str, ...],
        elapsed: timedelta,
        seed: int,
        faults: tuple[Fault, ...],
        plan: Plan,
        world: World | None,
        history: tuple[Change, ...],
    ) -> None:
        # At once: a frozen dataclass would set one of the twenty after the other, which shows.
        vars(self).update(
            vars(result),
            order=order,
            elapsed=elapsed,
            seed=seed,
            faults=faults,
            plan=plan,
            world=world,
            history=history,
        )

    @property
    def events(self) -> tuple[Event, ...]:
        """What was recorded, in order."""
        return tuple(record.event for record in self.audit_trail)

    def states(self, task: str | None = None) -> list[str]:
        """Return every status that *task* has had, in order; without *task*, the run itself.

        Raises:
            KeyError: The workflow has no such task.
        """
        state = RunState(self.plan)
        seen: list[str] = []
        for event in (None, *self.events):
            if event is not None:
                state.apply(event)
            status = state.status if task is None else _status(state, task)
            if status is not None and status not in seen[-1:]:
                seen.append(status)
        if task is not None and task not in state.tasks:
            raise KeyError(no_task(task, state.tasks))
        return seen

    def __str__(self) -> str:
        head = (
            f"simulated in virtual time, seed {self.seed}: {' > '.join(self.order) or 'no calls'}"
        )
        went_wrong = [f"  made to go wrong: {fault}" for fault in self.faults]
        return "\n".join([head, *went_wrong, super().__str__()])


class SimulatedEngine(Engine):
    """An engine for virtual time: its clock, its threads and its ids are simulated."""

    def __init__(
        self,
        *,
        seed: int = 0,
        journal: Journal | None = None,
        locks: LockManager | None = None,
        executor: Executor | None = None,
        max_parallel: int = 64,
        drain_timeout: Span = "10m",
        secrets: Iterable[Secret] = (),
        stage: Stage | None = None,
    ) -> None:
        """Make an engine that calls functions on *stage*; for the other arguments see `pyflow.Engine`."""
        check_seed(seed)
        if executor is None:
            executor = stage.executor if stage is not None else SimulatedExecutor()
        super().__init__(
            journal=journal if journal is not None else DraftJournal(),
            locks=locks,
            executor=executor,
            max_parallel=max_parallel,
            drain_timeout=drain_timeout,
            secrets=secrets,
            environ={},
            clock=VirtualClock(),
            seed=seed,
        )
        self._origins = SimulatedOrigins(seed)
        self._caller.stage = stage.staged if stage is not None else None

    def execute(
        self,
        workflow: Workflow | Plan,
        *,
        params: Mapping[str, Any] | None = None,
        environment: Environment | None = None,
        initiator: str | None = None,
    ) -> Result:
        """Run *workflow* to its end in virtual time; see `pyflow.Engine.execute`."""

        async def main() -> Result:
            return await self.run(
                workflow, params=params, environment=environment, initiator=initiator
            )

        return aside(lambda: in_virtual_time(main))


class SimulatedOrigins(Origins):
    """Never this machine and its user: equal seeds give equal records everywhere."""

    def __init__(self, seed: int) -> None:
        super().__init__({}, source=False)
        self._seed = seed

    def initiator(self, given: str | None) -> Initiator:
        """Return *given*, or the simulation."""
        return super().initiator("simulation" if given is None else given)

    def of(self, plan: Plan) -> dict[str, Any]:  # noqa: ARG002 - whatever runs
        """Return that it is simulated, and how to see it again."""
        return {"simulated": True, "seed": self._seed, "pyflow": __version__}


def simulate(
    workflow: Workflow | Plan,
    *,
    fakes: Mapping[str, Fake] | None = None,
    world: World | None = None,
    params: Mapping[str, Any] | None = None,
    environment: Environment | None = None,
    initiator: str = "simulation",
    seed: int = 0,
    faults: Iterable[Fault] = (),
    operator: Operator | None = None,
    max_parallel: int = 64,
    drain_timeout: Span = "10m",
    secrets: Iterable[Secret] = (),
) -> Simulation:
    """Run *workflow* in virtual time, and return what came of it.

    The engine is the real one. A day of waiting takes milliseconds, nothing
    outside is touched unless a function touches it, and the same seed gives
    the same records, to the byte.

    Args:
        workflow: What to run.
        fakes: What stands in for functions, by name: a task's own name,
            ``"undo of <task>"``, ``"repair of <task>"``, ``"when= of <task>"`` or
            ``"finalizer <name>"``. A behaviour such as `returns`, `fails`,
            `takes` or `hangs`, or a function, which is wired as the one that
            it stands for.
        world: The infrastructure that it runs in. The run holds the world's
            locks, faults reach the world's ports, and what changes is in
            `Simulation.history`. It is left as the run left it.
        params: Values for the workflow's parameters.
        environment: Where it runs.
        initiator: Who asks for it.
        seed: Decides everything that is drawn: jitter, ids, traffic.
        faults: What goes wrong, and at which points; see `Fault`. A crash, and
            what an operator does, are for `replay`.
        operator: Called with the `Run` once it has begun, to watch it and to
            ask things of it: ``run.cancel()``, ``run.retry("deploy")``. Where the
            run is held and the operator is done, the simulation ends.
        max_parallel: As for `pyflow.Engine`.
        drain_timeout: As for `pyflow.Engine`.
        secrets: As for `pyflow.Engine`.

    Raises:
        DefinitionError: The workflow or a parameter is wrong.
        SimulationError: An argument makes no sense, a fake or a fault does not
            fit the workflow, or the workflow asks for what a simulation cannot
            give.
        SimulationStalled: A function neither returned nor waited.
        SimulationDeadlock: Everything waits, and nothing will ever happen;
            it lists who waits for what.
    """
    script, given = ScriptedFaults(_script(faults)), mapping("fakes", fakes, example=AS_FAKES)
    if world is not None:
        check_world(world)
    if operator is not None:
        check_operator(operator)
    stage = Stage(SimulatedExecutor(), fakes=given, faults=script if script.faults else NO_FAULTS)
    engine = SimulatedEngine(
        stage=stage,
        locks=world.locks if world is not None else None,
        seed=seed,
        max_parallel=max_parallel,
        drain_timeout=drain_timeout,
        secrets=secrets,
    )
    plan = _plan_of(workflow)
    known = len(world.history) if world is not None else 0

    async def main() -> tuple[Result, float]:
        with inside(world, script if script.faults else NO_FAULTS):
            stage.prepare(plan)
            run = engine.start(plan, params=params, environment=environment, initiator=initiator)
            result = await attend(run, operator)
            check_given(run)
            return result, asyncio.get_running_loop().time()

    with engine:
        result, elapsed_s = aside(lambda: in_virtual_time(main))
    script.check_used()
    return Simulation(
        result,
        order=tuple(call.name for call in stage.calls),
        elapsed=timedelta(seconds=round(elapsed_s, 6)),
        seed=seed,
        faults=script.faults,
        plan=plan,
        world=world,
        history=tuple(world.history[known:]) if world is not None else (),
    )


@contextmanager
def inside(world: World | None, faults: Faults) -> Generator[None]:
    """Have what happens in *world* meet *faults*, and what is planned there happen."""
    if world is None:
        yield
        return
    before, world.faults = world.faults, faults
    timers = world.begin()
    try:
        yield
    finally:
        world.faults = before
        world.end(timers)


async def attend(run: Run, operator: Operator | None) -> Result:
    """Wait until *run* has ended, or is held, and the operator is done with it.

    Raises:
        SimulationError: The operator returned nothing to await.
    """
    if operator is None:
        return await run
    asked = cast("object", operator(run))
    if not inspect.isawaitable(asked):
        raise SimulationError(
            f"operator= has to be awaited, and {name_of(operator)} returned {shown(asked)}; "
            "write it with async def"
        )
    watching = asyncio.ensure_future(asked)
    await run
    await watching
    return await run


def check_given(run: Run) -> None:
    """Check that the simulation could give whatever was asked of it.

    Raises:
        SimulationError: It could not. A task failed of that, but the mistake
            is the test's.
    """
    for error in run._driver.worker.errors.values():  # noqa: SLF001 - where failures are exceptions
        if isinstance(error, SimulationError):
            raise error


def in_virtual_time(main: Callable[[], Any]) -> Any:
    """Run *main* on a loop in virtual time; what it leaves behind is cancelled.

    A thread that hangs, and a run that is held, go on where they are real.
    Here they end with the simulation.
    """
    loop = VirtualLoop()

    async def clean_up() -> None:
        await loop.cancel_leftovers()
        await loop.shutdown_asyncgens()

    async def whole() -> Any:
        outcome = await main()
        await clean_up()
        return outcome

    try:
        return loop.run_until_complete(whole())
    except BaseException:
        loop.run_until_complete(clean_up())
        raise
    finally:
        loop.close()


def aside(work: Callable[[], T]) -> T:
    """Call *work*, on a thread of its own where a loop runs already, such as a notebook's."""
    if running_loop() is None:
        return work()
    outcome: Future[T] = Future()

    def call() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            outcome.set_exception(error)

    here = contextvars.copy_context().run
    thread = threading.Thread(target=here, args=(call,), name="pyflow-simulation", daemon=True)
    thread.start()
    thread.join()
    return outcome.result()


def _status(state: RunState, task: str) -> str | None:
    found = state.tasks.get(task)
    return found.status if found is not None else None


def _script(faults: object) -> tuple[Fault, ...]:
    """Return *faults*, which have to be such as a simulation can make."""
    script = check_script(faults)
    for fault in script:
        if fault.kind in OF_THE_RUN:
            raise SimulationError(
                f"simulate() cannot make {fault.kind!r} happen at {fault.point!r}: a crash, and what "
                f"an operator does ({', '.join(OF_THE_RUN[1:])}), happen in explore() and replay() "
                "alone; call replay() with these faults"
            )
    return script


def _plan_of(workflow: object) -> Plan:
    if isinstance(workflow, Plan):
        return workflow
    if isinstance(workflow, Workflow):
        return workflow.check()
    raise SimulationError(f"{shown(workflow)} is neither a Workflow nor a Plan")
