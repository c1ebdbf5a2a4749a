"""One run of an exploration: what happens in it, and what it breaks."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import PlanChanged
from pyflow.run.state import RunState
from pyflow.testing.errors import SimulationError
from pyflow.testing.exploration.explored import Explored
from pyflow.testing.exploration.invariants import AT_ANY_TIME, AT_EVERY_CHANGE, AT_THE_END
from pyflow.testing.exploration.promises import PROMISES, may_break
from pyflow.testing.exploration.recorder import ASKED, EngineDied, Recorder
from pyflow.testing.exploration.template import unequal
from pyflow.testing.loop import VirtualLoop
from pyflow.testing.simulation import SimulatedEngine, check_given
from pyflow.testing.stage import CURRENT, Stage, StagedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pyflow.define.environment import Environment
    from pyflow.run.handle import Run
    from pyflow.run.state import TaskState
    from pyflow.testing.errors import Waiting
    from pyflow.testing.exploration.memory import Memory
    from pyflow.testing.exploration.scout import Scout
    from pyflow.testing.faults import Fault, FaultKind
    from pyflow.testing.stage import Fake
    from pyflow.testing.world import World

__all__ = ["Options", "Trial", "Violation"]

DOWN_S = 60.0
"""How long after an engine died the next one takes the run up, in seconds of virtual time."""
PAUSE_S = 600.0
"""How long an operator's pause lasts, in seconds of virtual time."""
STARTED = {
    "task": "task_started",
    "undo": "undo_started",
    "repair": "repair_started",
    "finalizer": "finalizer_started",
}
GOES_ON = ("proceed", "hold")
RECORDED_FIRST = "No effect comes before its record."
LOCKED = "Functions run while the run holds its locks."
ALONE = "Nothing is tried or undone while an earlier call of it is still under way."
READS_ONLY = "A task with effect=False changes nothing."
GIVEN = "What functions ask for is there."
AtTheEnd: TypeAlias = "Callable[[Explored], object]"


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that a run broke."""

    invariant: str
    """What had to hold, in a sentence."""

    message: str
    """What was seen instead."""

    at_s: float
    """When, in seconds of virtual time."""

    after_record: int
    """The number of the last record before it."""

    def __str__(self) -> str:
        return f"{self.invariant}\n    {self.message} (at {self.at_s:.3f} s)"


@dataclass(frozen=True, slots=True)
class Options:
    """How every run of an exploration is made."""

    fakes: Mapping[str, Fake] = field(default_factory=dict[str, "Fake"])
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    environment: Environment | None = None
    seed: int = 0
    within_s: float = 7 * 86_400.0
    max_parallel: int = 64
    drain_timeout_s: float = 600.0
    at_the_end: tuple[AtTheEnd, ...] = ()
    always: tuple[Callable[[World], object], ...] = ()
    looks_back: bool = True
    """Whether a function or an invariant may look at why a run rolls back."""


class Trial:
    """One run of an exploration, while it goes on."""

    def __init__(
        self,
        script: tuple[Fault, ...],
        scout: Scout,
        *,
        world: World,
        plan: Any,
        memory: Memory,
        renew: Callable[[], Any],
        stage: Stage,
        options: Options,
    ) -> None:
        self.script = script
        self.scout = scout
        self.violations: list[Violation] = []
        self.explored: Explored | None = None
        self._world = world
        self._plan = plan
        self._memory = memory
        self._renew = renew
        self._stage = stage
        self._options = options
        self._recorder = Recorder(scout, die=self._die, ask=self._ask, askable=self._askable)
        self._may_pass = [
            name
            for name, node in plan.nodes.items()
            if node.task.skippable or node.task.skip_on_promotion
        ]
        self._run: Run | None = None
        self._over: asyncio.Future[str]
        self._asking = 0
        self._asked: list[str] = []  # the last of them may not be taken in yet
        self._pauses = 0
        self._broken: set[tuple[str, str]] = set()
        self._authors: dict[str, set[str | None]] = {}
        self._seen_changes = len(world.history)
        self._placed: list[int] = []
        self._waiting: list[Waiting] = []
        self._before: Mapping[str, Any] = {}
        self._loop: VirtualLoop
        scout.fingerprint = self._fingerprint

    @property
    def ended(self) -> str | None:
        """In which state the run ended; None if it was given up before."""
        return self.explored.status if self.explored is not None else None

    async def main(self) -> None:
        """Run the workflow until it has ended, is held, is dead, or is of no more interest."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop, self._over = loop, loop.create_future()
        self._before = self._world.facts()
        self._broken = {(name, key) for name, key, _ in self._look()}
        loop.call_at(self._options.within_s, self._end, "unfinished")
        timers = self._world.begin()
        self._set_out(self._start)
        status = await self._over
        while status == "crashed" and self._recorder.events and not self.scout.was_pruned:
            self._over = loop.create_future()
            await self._bury()
            if not self._over.done():
                self._set_out(self._take_up)
            status = await self._over
        self.scout.is_dead = True
        self._world.end(timers)
        self._check_given()
        self._judge(status)

    # Engines, one after the other ---------------------------------------------------------

    def _engine(self) -> SimulatedEngine:
        return SimulatedEngine(
            seed=self._options.seed,
            journal=self._recorder,
            locks=self._world.locks,
            stage=self._stage,
            max_parallel=self._options.max_parallel,
            drain_timeout=self._options.drain_timeout_s,
        )

    def _start(self) -> Run:
        return self._engine().start(
            self._plan,
            params=self._options.params,
            environment=self._options.environment,
            initiator="exploration",
        )

    def _take_up(self) -> Run:
        self._plan = self._renew()  # another process, which knows what is recorded and no more
        try:
            run = self._engine().reopen(
                self._recorder.run_id,
                self._plan,
                params=self._options.params,
                environment=self._options.environment,
                initiator="exploration",
            )
        except PlanChanged as error:
            raise unequal(error) from None
        if run.status == "paused" and not self._pauses:  # nobody heard that the pause was over
            self._unpause_later()
        return run

    def _set_out(self, begin: Callable[[], Run]) -> None:
        try:
            self._run = begin()
        except EngineDied:
            self._end("crashed")
        else:
            self._run._driver.desk.on_look_back = self._look_back  # noqa: SLF001
            self._watch()

    async def _bury(self) -> None:
        """Have the dead engine's calls end, which nobody hears of, and let some time pass.

        Its locks it has given back as those of a run that is not over.
        """
        self._recorder.started.clear()  # what it recorded and did not call, nobody will
        self._asked = ["lost"] * self._recorder.commands
        tasks = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=hash)
        for task in tasks:
            task.cancel()
        left_s = self._options.within_s - self._loop.time()
        if tasks and (await asyncio.wait(tasks, timeout=left_s))[1]:
            self._end("unfinished")
            return
        await asyncio.sleep(DOWN_S)
        self.scout.is_dead = False

    # What the run comes to ----------------------------------------------------------------

    def _watch(self) -> None:
        assert self._run is not None
        driver = self._run._driver  # noqa: SLF001 - without a task of its own, which would cost more than the run
        driver.rest.then(self._rested)

    def _rested(self) -> None:
        died = self.scout.is_dead and not self.scout.was_pruned
        if not (died or self._asking or self._run is None):
            self._end(self._run.status)

    def _end(self, status: str) -> None:
        if not self._over.done():
            if status == "unfinished":
                self._waiting = [one for one in self._loop.waiting() if not _own(one)]
                status = self._run.status if self._run is not None else status
            self._over.set_result(status)

    def _die(self) -> None:
        self.scout.is_dead = True
        self._end("crashed")

    def _check_given(self) -> None:
        """Take what a function asked for, and cannot be, for a mistake of its own under a fault.

        Raises:
            SimulationError: Nothing went wrong before, so the mistake is the test's.
        """
        if self._run is None:
            return
        try:
            check_given(self._run)
        except SimulationError as error:
            if not self.script:
                raise
            self.violate(GIVEN, str(error))

    def _judge(self, status: str) -> None:
        """Check the run; of one that was given up, what it has behind it, which no other run has."""
        run = self._seen(status)
        kinds = set(map(type, run.events))
        held = (*AT_ANY_TIME, *(one for one in PROMISES if may_break(one, kinds)))
        if not self.scout.was_pruned:
            self.explored = run
            held = (*AT_THE_END, *held)
        for invariant in held if run.has_begun else ():
            self._hold(invariant, run)
        run.on_look_back = self._look_back
        for invariant in self._options.at_the_end if self.explored and run.has_begun else ():
            self._hold(invariant, run)

    def stall(self, message: str) -> None:
        """Note that the run never ends, because time stands still."""
        self.violate("Virtual time moves on.", message)
        self.explored = self._seen(self._run.status if self._run is not None else "unfinished")

    def _seen(self, status: str) -> Explored:
        return Explored(
            faults=self.script,
            status=status,
            plan=self._plan,
            world=self._world,
            before=self._before,
            calls=tuple(self._stage.calls),
            authors=self._authors,
            placed=tuple(self._placed),
            recorder=self._recorder,
            run=self._run,
            elapsed_s=self._loop.time(),
            waiting=self._waiting,
        )

    def _hold(self, invariant: Callable[[Any], object], about: object) -> None:
        message: object
        try:
            message = invariant(about)
        except AssertionError as error:
            message = str(error) or "the assertion failed"
        except Exception as error:  # noqa: BLE001 - inside a call it would pass for the call's own
            message = f"it raised {type(error).__name__}: {error}"
        if inspect.iscoroutine(message):
            message.close()
            message = "it returned something to await, and nobody would; make it a plain function"
        if message is False or (message is not None and message is not True):
            self.violate(name_of(invariant), str(message) if message else "it does not hold")

    def violate(self, invariant: str, message: str) -> None:
        """Note that an invariant does not hold, unless that is known."""
        if any((one.invariant, one.message) == (invariant, message) for one in self.violations):
            return
        at_s, record = round(self._loop.time(), 6), len(self._recorder.events)
        self.violations.append(Violation(invariant, message, at_s, record))

    # What happens on the way --------------------------------------------------------------

    def on_enter(self, call: StagedCall) -> None:
        """Check that a function is called once for each record of it, under locks, and alone."""
        kind = STARTED.get(call.role)
        if kind is None:
            return
        start = (kind, call.task, call.attempt if call.role != "repair" else 0)
        self._recorder.started[start] -= 1
        if self._recorder.started[start] < 0:
            self.violate(RECORDED_FIRST, f"{call.label} has no {kind} record of its own")
        for resource in self._plan.locks:
            if self._world.locks.holder(resource) is None:
                self.violate(LOCKED, f"nobody holds {resource!r} as {call.label} begins")
        for other in self._stage.calls if call.role != "finalizer" else ():
            if other.task == call.task and other is not call and other.outcome == "under way":
                self.violate(ALONE, f"{call.label} begins while {other.label} is under way")

    def on_change(self) -> None:
        """Check what has to hold at every change of the world."""
        call = CURRENT.get() or self._lone_call()
        author = call.task if call is not None else None
        for change in self._world.history[self._seen_changes :]:
            self._authors.setdefault(change.what, set()).add(author)
            self._placed.append(len(self._recorder.events))
            if call is not None and self._only_reads(call):
                self.violate(READS_ONLY, f"{call.label} has changed {change.what}")
        self._seen_changes = len(self._world.history)
        found = list(self._look())
        for name, key, message in found:
            if call is not None and (name, key) not in self._broken:
                self.violate(name, f"{message}, since {call.label}")
        self._broken = {(name, key) for name, key, _ in found}
        for invariant in self._options.always:
            self._hold(invariant, self._world)

    def _lone_call(self) -> StagedCall | None:
        """Return the one call under way, for whom a thread of a pool works that knows of no call."""
        if self._world.is_planned:
            return None
        under_way = [call for call in self._stage.calls if call.outcome == "under way"]
        return under_way[0] if len(under_way) == 1 else None

    def _only_reads(self, call: StagedCall) -> bool:
        node = self._plan.nodes.get(call.task.partition("[")[0])
        return call.role == "task" and node is not None and not node.task.effect

    def _look(self) -> Iterable[tuple[str, str, str]]:
        for invariant in AT_EVERY_CHANGE:
            for key, message in invariant(self._world):
                yield name_of(invariant), key, message

    def on_jump(self, when: float) -> None:
        """Let an operator act in the middle of a wait."""
        if self._over.done() or when >= self._options.within_s or self._run is None:
            return
        if self._run._driver.is_over:  # noqa: SLF001
            return
        now = self._loop.time()
        point = f"in the wait from {now:.3f} s until {when:.3f} s"
        kind = self.scout.between(point, self._askable())
        if self.scout.was_pruned:
            self._end(self._run.status)
        elif kind is not None:
            self._asking += 1
            self._loop.call_at(now + (when - now) / 2, self._put, kind)

    def _askable(self) -> tuple[FaultKind, ...]:
        """Return what an operator can ask for now, but for what would be refused whatever is so."""
        if not self._may_pass or self._run is None or self._known().intent not in GOES_ON:
            return ASKED
        state = self._known()
        tasks = [state.tasks[name] for name in self._may_pass]
        more: list[FaultKind] = ["skip"] if any(map(_is_under_way, tasks)) else []
        if any(t.node.task.skip_on_promotion and _is_open(state, t) for t in tasks):
            more.append("promote")
        return (*ASKED, *more)

    def _present_step(self) -> str:
        """Return what is skipped now: the step, or the task, that is under way."""
        state = self._known()
        tasks = [state.tasks[name] for name in self._may_pass]
        names = [t.node.task.skippable for t in tasks if _is_under_way(t)]
        steps = [name for name in names if isinstance(name, str)]
        alone = [t.name for t in tasks if _is_under_way(t)]
        return next(iter((*steps, *alone, "nothing")))

    def _ask(self, kind: FaultKind) -> None:
        self._asking += 1
        self._loop.call_soon(self._put, kind)

    def _put(self, kind: FaultKind) -> None:
        self._asking -= 1
        run = self._run
        if run is None or run._driver.is_over:  # noqa: SLF001 - it has ended in the meantime
            self._rested()
            return
        self._asked.append(kind)
        if kind == "pause":
            run.pause(by="operator", reason="explored")
            self._unpause_later()
        elif kind == "cancel":
            run.cancel(by="operator", reason="explored")
        elif kind == "skip":
            run.skip(self._present_step(), by="operator", reason="explored")
        elif kind == "promote":
            run.promote(by="operator", reason="explored")
        else:
            run.roll_back(by="operator", reason="explored")
        self._watch()

    def _unpause_later(self) -> None:
        self._pauses += 1
        self._loop.call_later(PAUSE_S, self._unpause)

    def _unpause(self) -> None:
        self._pauses -= 1
        run = self._run
        if run is not None and run.status == "paused" and not self.scout.is_dead:
            self._asked.append("unpause")
            run.unpause(by="operator", reason="explored")
            self._watch()

    def _fingerprint(self) -> object:
        """Return what is the same where the run is in the same state, but for the time."""
        state, recorder = self._known(), self._recorder
        calls = tuple(c.progress() for c in self._stage.calls if c.outcome == "under way")
        touched = self._touched(state)
        asked = tuple(self._asked[recorder.commands :])
        run = (state.status, state.intent, state.paused, self._asking, asked)
        remembered = self._memory.of(state, recorder)
        return run, recorder.is_fresh, calls, touched, remembered, self._world.fingerprint()

    def _look_back(self) -> None:
        """Note that somebody wants to know what is forgotten of a run that rolls back."""
        if self._known().intent == "rollback":
            self.scout.look_back()

    def _touched(self, state: RunState) -> object:
        """Return what was changed and by whom, but for what has been taken back and is as before."""
        left = {
            what: tuple(sorted(str(by) for by in authors if not _is_undone(state, by)))
            for what, authors in self._authors.items()
        }
        gone = [what for what, authors in left.items() if not authors]
        if gone:
            now = self._world.facts()
            for what in gone:
                if now.get(what) == self._before.get(what):
                    del left[what]
        return frozenset(left.items())

    def _known(self) -> RunState:
        """Return what the engine knows of the run, or, while there is none, what is recorded."""
        driver = self._run._driver if self._run is not None else None  # noqa: SLF001
        if driver is None or driver._broken is not None:  # noqa: SLF001
            return RunState.replay(self._plan, self._recorder.events)
        return driver.state


def name_of(invariant: Callable[..., object]) -> str:
    """Return what *invariant* says of itself: the opening line of its docstring, or its name."""
    invariant = getattr(invariant, "func", invariant)  # a partial only speaks of partials
    text = (invariant.__doc__ or "").strip().partition("\n")[0]
    return text or getattr(invariant, "__name__", "invariant").replace("_", " ")


def _is_under_way(state: TaskState) -> bool:
    return bool(state.node.task.skippable) and state.status in ("running", "waiting")


def _is_open(run: RunState, state: TaskState) -> bool:
    """Return whether *state* has not settled, and nobody has passed it over."""
    return not state.settled and state.name not in run.passing


def _is_undone(state: RunState, author: str | None) -> bool:
    return author is not None and author in state.tasks and state.tasks[author].status == "undone"


def _own(one: Waiting) -> bool:
    return "Trial.main" in one.where
