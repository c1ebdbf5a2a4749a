"""The engine's side of every context of one run: noting, waiting, looking up."""

from __future__ import annotations

import asyncio
import inspect
import random
from typing import TYPE_CHECKING, Any, TypeVar

from pyflow.errors import CodecError, OutsideExecutor, RunStopping
from pyflow.record.events import CheckpointSaved
from pyflow.record.values import copied
from pyflow.run.executors import wait_from_thread
from pyflow.run.inputs import Noted
from pyflow.run.state import no_task
from pyflow.tracing import Trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    from pyflow.define.environment import Environment, Parameters
    from pyflow.errors import TaskError
    from pyflow.protocols import Executor
    from pyflow.record.events import Event, MeasurementTaken
    from pyflow.run.context import Call
    from pyflow.run.inputs import Happening
    from pyflow.run.state import RunState
    from pyflow.secrets import Redactor

__all__ = ["RunDesk"]

T = TypeVar("T")


class RunDesk:
    """Serves the contexts of one run; a `pyflow.run.context.Desk`."""

    def __init__(
        self,
        state: RunState,
        *,
        run_id: str,
        environment: Environment | None,
        parameters: Parameters,
        loop: asyncio.AbstractEventLoop,
        seed: float,
        executor: Executor,
        post: Callable[[Happening], None],
        post_from_afar: Callable[[Happening], None],
        settle: Callable[[], None],
        redactor: Redactor,
    ) -> None:
        self.run_id = run_id
        self.workflow = state.plan.workflow_name
        self.environment = environment
        self.loop = loop
        self._seed = seed
        self._rng: random.Random | None = None
        self.trace = Trace(run_id)
        """The run's; another one where it was started in a span."""
        self._state = state
        self._parameters = parameters
        self._executor = executor
        self._post = post
        self._post_from_afar = post_from_afar
        self._settle = settle
        self._redactor = redactor
        self._waits: dict[Callable[[], object], Call] = {}
        """What cuts each wait short, and the call that is in it."""
        self._checkpoints: dict[str, dict[str, Any]] = {}
        self._stopped = False
        self.on_look_back: Callable[[], object] | None = None
        """Called as somebody asks how the run got here, which simulations forget otherwise."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters as tasks see them: data, and objects as they are."""
        return {**copied(self._parameters.data), **self._parameters.objects}

    @property
    def rng(self) -> random.Random:
        """What draws jitter, made for the first draw: that takes a while, and most runs never draw."""
        if self._rng is None:
            self._rng = random.Random(self._seed)  # noqa: S311 - jitter, nothing secret
        return self._rng

    def remember(self, events: Iterable[Event]) -> None:
        """Take in what a run that is taken up again has saved."""
        for event in events:
            if isinstance(event, CheckpointSaved):
                self._checkpoints.setdefault(event.task, {})[event.key] = event.value

    def note(self, event: Event) -> None:
        """Record *event* in its turn; from any thread."""
        if _running_loop() is self.loop:
            self._post(Noted(event))
        else:
            self._post_from_afar(Noted(event))

    def save(self, event: CheckpointSaved) -> None:
        """Record *event*, and return once it is durable; from any thread.

        Raises:
            CodecError: It holds a secret in plain text, which a resume could not give back.
            JournalError: It could not be recorded.
        """
        path = self._redactor.find({event.key: event.value}, root="checkpoint")
        if path is not None:
            raise CodecError(path, "holds a secret in plain text; save the Secret itself")
        if _running_loop() is not self.loop:
            self.block(lambda: self._saved(event))
            return
        self._post(Noted(event))
        self._settle()
        self.remember([event])

    async def _saved(self, event: CheckpointSaved) -> None:
        self.save(event)

    def outcome(self, name: str) -> str:
        """Return the status of the task *name*.

        Raises:
            KeyError: The workflow has no such task; the error has the nearest name.
        """
        if name not in self._state.tasks:
            raise KeyError(no_task(name, self._state.tasks))
        if self.on_look_back is not None:
            self.on_look_back()
        return self._state.tasks[name].status

    def cause(self, call: Call) -> TaskError | None:
        """Return the failure that led to *call*."""
        if self.on_look_back is not None:
            self.on_look_back()
        return call.cause

    def checkpoints(self, task: str) -> Mapping[str, Any]:
        """Return what attempts of *task* have saved."""
        return dict(self._checkpoints.get(task, {}))

    def fencing_tokens(self) -> Mapping[str, int]:
        """Return the epochs of the locks that the run has, by resource."""
        return dict(sorted(self._state.locks.copy().items()))

    def measurements(self, task: str) -> Sequence[MeasurementTaken]:
        """Return what attempts of *task* that did not fail have measured."""
        state = self._state.tasks.get(task)
        return state.measured if state is not None else ()

    async def sleep(self, call: Call, delay_s: float) -> None:
        """Wait for *delay_s* seconds, unless the run stops or the call is over first.

        Raises:
            RunStopping: It was cut short.
        """
        if delay_s <= 0 or self._is_cut(call):
            await self.wait(call, asyncio.sleep(delay_s))
            return
        loop = asyncio.get_running_loop()
        alarm = loop.create_future()
        timer = loop.call_at(loop.time() + delay_s, _ring, alarm)
        is_cut = False

        def cut() -> None:
            nonlocal is_cut
            is_cut = True
            loop.call_soon(_ring, alarm)

        self._waits[cut] = call
        try:
            await alarm
        except BaseException:
            timer.cancel()
            raise
        finally:
            self._waits.pop(cut, None)
        if is_cut:
            timer.cancel()
            raise _cut_short(call)

    async def wait(self, call: Call, waiting: Awaitable[T]) -> T:
        """Wait, unless the run stops or the call is over first.

        Raises:
            RunStopping: It was cut short.
        """
        if self._is_cut(call):
            if inspect.iscoroutine(waiting):
                waiting.close()
            raise _cut_short(call)
        scope = asyncio.timeout(None)

        def cut() -> None:
            scope.reschedule(self.loop.time())

        try:
            async with scope:
                self._waits[cut] = call
                try:
                    return await waiting
                finally:
                    self._waits.pop(cut, None)
        except TimeoutError:
            if scope.expired():
                raise _cut_short(call) from None
            raise

    def block(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Block the plain function that calls until the loop has carried the coroutine out.

        Raises:
            RuntimeError: It runs on the loop itself.
        """
        if _running_loop() is self.loop:
            raise RuntimeError(
                'a wait of a plain function with isolation="inline" would block the whole run; '
                "make the function async, or leave isolation= out"
            )
        try:
            return self._executor.wait(make)
        except OutsideExecutor:  # a thread that the function has started itself
            return wait_from_thread(self.loop, make)

    def cut_waits(self, only: Call | None = None) -> None:
        """Cut short every wait that is not shielded, or those of one call alone."""
        if only is None:
            self._stopped = True
        if not self._waits:
            return
        for cut, call in list(self._waits.items()):
            if call is only or (only is None and not call.shielded):
                del self._waits[cut]  # it cannot be cut twice
                cut()

    def part(self) -> None:
        """Serve nobody any more: the run has ended."""
        self._post = self._post_from_afar = _unheard
        self._settle = _nothing

    def _is_cut(self, call: Call) -> bool:
        return call.is_over or (self._stopped and not call.shielded)


def _unheard(happening: Happening) -> None:
    """Take no notice of what is told after the end of the run."""


def _nothing() -> None:
    """Do nothing: nothing more will be recorded."""


def _ring(alarm: asyncio.Future[None]) -> None:
    if not alarm.done():
        alarm.set_result(None)


def _cut_short(call: Call) -> RunStopping:
    return RunStopping(f"the wait of {call.task} was cut short")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
