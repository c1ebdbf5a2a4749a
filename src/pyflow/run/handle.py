"""`Run`: one execution of a plan, while it goes on."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Literal

from pyflow.errors import EngineError
from pyflow.run import inputs as on
from pyflow.run.commands import asked
from pyflow.run.result import make_result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from pyflow.record.codec import Record
    from pyflow.run.driver import Driver
    from pyflow.run.promises import Promise
    from pyflow.run.result import Result
    from pyflow.run.states import RunStatus

__all__ = ["Run"]


class Run:
    """One execution of a plan. May be used from any thread and any event loop.

    ``run.wait()`` blocks, ``await run`` does not. Both return when the run
    has ended, and also when it is held: its result then says so, and after a
    decision (`retry`, `skip`, `roll_back`) one waits again.
    """

    def __init__(self, driver: Driver, read: Callable[[int], Any]) -> None:
        self._driver = driver
        self._read = read

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.status}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return what a notebook shows: how far it has got."""
        from pyflow.reports.notebook import run_bundle  # noqa: PLC0415 - only notebooks ask for it

        return run_bundle(self, self._driver.trail())

    def _ipython_display_(self) -> None:
        """Show how far it has got, and keep that up to date in its place."""
        from pyflow.reports.notebook import show_live  # noqa: PLC0415 - only notebooks ask for it

        show_live(self, self._repr_mimebundle_)

    @property
    def id(self) -> str:
        """Id of the run."""
        return self._driver.run_id

    @property
    def status(self) -> RunStatus:
        """What the run is doing now."""
        return self._driver.state.status

    # Waiting ------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Result:
        """Block until the run has ended or is held, and return its result.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            EngineError: This is the run's own event loop, which would block
                for ever; use ``await run`` there.
            TimeoutError: It goes on still.
            JournalError: The record could not be kept, so the run was stopped.
        """
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._driver.loop:
            raise EngineError(
                "run.wait() would block the loop that the run lives on; use `await run`"
            )
        while True:
            rest = self._rest()
            rest.wait(timeout)
            if rest is self._rest():  # it has not gone on meanwhile
                return self._result()

    def __await__(self) -> Generator[Any, None, Result]:
        while True:
            rest = self._rest()
            yield from rest.__await__()
            if rest is self._rest():
                return self._result()

    async def events(self) -> AsyncIterator[Record]:
        """Yield every record of the run, from its first, each once it is durable.

        Ends with the run; while the run is held it waits for what comes next.
        """
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def notify() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

        self._driver.listeners.append(notify)
        seen = 0
        try:
            while True:
                over = self._driver.is_over
                for record in self._read(seen):
                    seen = record.seq
                    yield record
                if over:
                    return
                await changed.wait()
                changed.clear()
        finally:
            self._driver.listeners.remove(notify)

    def follow(self, told: Callable[[Record], None], *, after: int = 0) -> None:
        """Have *told* hear of every record of the run, in order, each once it is durable.

        Contrast `events`: this waits for nothing, and ends with whoever runs
        the run. What is on record already is told at once, the rest on the loop
        of the run; one at a time, and *told* must not raise.

        Args:
            told: Hears of each record.
            after: Only of those whose number is above this.
        """
        seen = after
        guard = threading.RLock()  # whoever asks to follow may be on another thread than the run

        def tell() -> None:
            nonlocal seen
            with guard:
                for record in self._read(seen):
                    if record.seq > seen:  # *told* may have asked something of the run
                        seen = record.seq
                        told(record)

        self._driver.listeners.append(tell)
        tell()

    def _rest(self) -> Promise:
        return self._driver.rest

    def _result(self) -> Result:
        return make_result(self._driver, self._driver.trail())

    # Asking -------------------------------------------------------------------------------

    def pause(self, *, by: str | None = None, reason: str | None = None) -> None:
        """Start nothing further until `unpause`; what is under way goes on."""
        self._ask(on.Asked("pause", by, reason))

    def unpause(self, *, by: str | None = None, reason: str | None = None) -> None:
        """Go on after `pause`."""
        self._ask(on.Asked("unpause", by, reason))

    def cancel(self, *, by: str | None = None, reason: str | None = None) -> None:
        """Start nothing further, let what is under way end, and end as `cancelled`.

        What was done stays done; `roll_back` undoes it.
        """
        self._ask(on.Asked("cancel", by, reason))

    def roll_back(self, *, by: str | None = None, reason: str | None = None) -> None:
        """Undo everything that was started; refused after a point of no return."""
        self._ask(on.Asked("rollback", by, reason))

    def retry(self, task: str, *, by: str | None = None, reason: str | None = None) -> None:
        """Decide a hold: try the failed *task* once more."""
        self._ask(on.Asked("retry", by, reason, task))

    def skip(self, task: str, *, by: str | None = None, reason: str | None = None) -> None:
        """Go on without *task*: the failed one that the run is held for, or one that waits or runs.

        What is declared as `skippable=` counts as passed, and *task* may also
        be the name of a step: all that is under way of it ends, and all that
        is to follow in it is left out. That needs *by*. What cannot be skipped
        now is refused, and the record says why.
        """
        self._ask(on.Asked("skip", by, reason, task))

    def promote(self, *, by: str, reason: str | None = None) -> None:
        """Go on without anything that is declared as `skip_on_promotion=`, as if it had passed.

        Refused where nothing is left of that, and where the run cancels, rolls
        back, or is held for something else; the record says why.
        """
        self._ask(on.Asked("promote", by, reason))

    def resolve(
        self,
        task: str,
        answer: Literal["applied", "not_applied"],
        *,
        output: Any = None,
        by: str,
        reason: str | None = None,
    ) -> None:
        """Decide a hold: say whether the interrupted attempt of *task* took effect.

        Args:
            task: The task.
            answer: `applied` counts it as succeeded, with *output*;
                `not_applied` has it run again.
            output: What the task would have returned, as JSON data.
            by: Who says so.
            reason: How they know.
        """
        said = asked("resolve", task=task, answer=answer, output=output, by=by, reason=reason)
        self._ask(said)

    def approve(
        self, name: str, *, by: str, comment: str | None = None, digest: str | None = None
    ) -> None:
        """Answer the question *name* with yes; *digest* binds the answer to what was seen."""
        self._ask(on.Asked("approve", by, comment, name, digest=digest))

    def reject(
        self, name: str, *, by: str, comment: str | None = None, digest: str | None = None
    ) -> None:
        """Answer the question *name* with no."""
        self._ask(on.Asked("reject", by, comment, name, digest=digest))

    def let_go(self) -> None:
        """Leave the run as it is recorded, for `Engine.resume` to take up; nothing more is done here.

        What is under way is in doubt from now on. Without a durable journal
        the run is lost with its engine.
        """
        self._driver.let_go()

    def _ask(self, asked: on.Asked) -> None:
        if self._driver.is_over:
            raise EngineError(
                f"run {self.id} has ended as {self.status}; nothing can be asked of it"
            )
        self._driver.ask(asked)
