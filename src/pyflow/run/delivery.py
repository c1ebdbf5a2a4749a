"""Tell people what happens in runs, in the background of an engine.

Everything here lives on a thread of its own, so a notifier that is slow, dead
or stuck takes no time of any run's. A run says after each commit that there is
news, and that is all that it ever does.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import random
import threading
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING

from pyflow.errors import shown
from pyflow.record.events import NotificationsClosed
from pyflow.record.ledger import Ledger, ledger_of
from pyflow.record.shortcuts import last_record, latest_runs
from pyflow.run.loops import LoopThread
from pyflow.run.notekeeping import Notekeeper
from pyflow.run.post import Post
from pyflow.secrets import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from pyflow.notices.route import Route
    from pyflow.protocols import Clock, Journal, LockManager
    from pyflow.run.driver import Driver
    from pyflow.secrets import Secret

__all__ = ["Deliverer"]

CATCH_UP_RUNS_MAX = 200
CATCH_UP_AGE = timedelta(days=1)
GATE_S = 35.0
"""How long a run waits for its required routes, at the very most, in seconds."""
LOOK_S = 0.01


class Deliverer:
    """Tells the routes of one engine about all of its runs.

    Args:
        routes: Who is told.
        journal: Where the runs' records are, and what was told.
        locks: Who keeps two engines from telling about one run at once.
        clock: For the instants of attempts.
        secrets: Masked in whatever is told, besides those of each run.
        drain_s: How long `close`, or the end of the program, waits for what is
            still to be told.
        seed: Makes jitter repeatable.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        journal: Journal,
        locks: LockManager,
        clock: Clock,
        secrets: Sequence[Secret],
        drain_s: float,
        seed: float | None = None,
    ) -> None:
        self.routes = tuple(routes)
        self.drain_s = drain_s
        self._journal = journal
        self._notes = Notekeeper(journal)
        self._locks = locks
        self._clock = clock
        self._secrets = secrets
        self._rng = random.Random(seed)  # noqa: S311 - jitter, nothing secret
        self._guard = threading.Lock()
        self._thread: LoopThread | None = None
        self._pending = 0  # calls that are on their way to the thread
        self._posts: dict[str, tuple[Post, asyncio.Task[None]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._has_caught_up = False
        self._closed = False
        self._at_exit = functools.partial(_drain, weakref.ref(self))
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        return f"<Deliverer routes={[r.name for r in self.routes]} runs={len(self._posts)}>"

    @property
    def has_required(self) -> bool:
        """Whether a run may have to wait for anybody to be told."""
        return any(route.required for route in self.routes)

    # What an engine says ------------------------------------------------------------------

    def attach(self, driver: Driver, *, then: Callable[[str | None], None] | None = None) -> None:
        """Tell about the run of *driver* from now on; call *then* once its start was told.

        Of what has been told already, nothing is told again.
        """
        run_id, redactor = driver.run_id, driver.redactor
        driver.listeners.append(lambda: self._call(lambda: self._news(run_id)))
        self._call(lambda: self._open(run_id, redactor, then))

    def detach(self, run_id: str) -> None:
        """Tell what is left about *run_id*: this engine adds nothing more to its record."""
        self._call(lambda: self._finish(run_id))

    def catch_up(self, active: Callable[[str], bool]) -> None:
        """Tell what an engine that died has left, about runs of the last day."""
        if not self._has_caught_up:
            self._has_caught_up = True
            self._call(lambda: self._start_looking_back(active))

    def wait_delivered(self, timeout_s: float) -> bool:
        """Block until nothing is left to tell; return whether that is so."""
        done = threading.Event()
        remaining = int(timeout_s / LOOK_S) + 1
        while remaining:
            if self._is_idle():
                return True
            remaining -= 1
            done.wait(LOOK_S)
        return self._is_idle()

    def close(self) -> None:
        """Wait for what is still to be told, `drain_s` at most, and end."""
        with self._guard:
            self._closed = True
        self.wait_delivered(self.drain_s)
        atexit.unregister(self._at_exit)
        with self._guard:
            thread, self._thread = self._thread, None
        if thread is not None:
            stopped: Future[None] = asyncio.run_coroutine_threadsafe(self._cancel(), thread.loop)
            stopped.result()
            thread.stop()

    # On the thread ------------------------------------------------------------------------

    def _call(self, fn: Callable[[], None]) -> None:
        """Have *fn* called on the thread, which is made if there is none."""
        with self._guard:
            if self._closed and self._thread is None:
                return
            if self._thread is None:
                self._thread = LoopThread()
            self._pending += 1
            self._thread.loop.call_soon_threadsafe(self._called, fn)

    def _called(self, fn: Callable[[], None]) -> None:
        try:
            fn()
        finally:
            with self._guard:
                self._pending -= 1
            self._retire()

    def _open(
        self, run_id: str, redactor: Redactor, then: Callable[[str | None], None] | None
    ) -> None:
        if run_id not in self._posts:
            post = self._begin(run_id, redactor)
        elif self._posts[run_id][0].finished.is_set():  # it is about to go: wait for that
            _, task = self._posts[run_id]
            task.add_done_callback(lambda _: self._open(run_id, redactor, then))
            return
        else:
            post = self._posts[run_id][0]
            post.over = False
            post.wake()
        if then is not None:
            self._gate(post, then)

    def _begin(self, run_id: str, redactor: Redactor, *, over: bool = False) -> Post:
        post = Post(
            run_id,
            self.routes,
            journal=self._journal,
            notes=self._notes,
            locks=self._locks,
            clock=self._clock,
            rng=self._rng,
            redactor=redactor,
            over=over,
        )
        loop = asyncio.get_running_loop()
        task = loop.create_task(post.serve(), name=f"notices of {run_id}")
        self._posts[run_id] = (post, task)
        task.add_done_callback(lambda task: self._ended(run_id, task))
        return post

    def _gate(self, post: Post, then: Callable[[str | None], None]) -> None:
        loop = asyncio.get_running_loop()
        answered: list[str | None] = []

        def answer(problem: str | None) -> None:
            if not answered:
                answered.append(problem)
                timer.cancel()
                then(problem)

        timer = loop.call_later(GATE_S, answer, f"nobody knows after {GATE_S:g} s who was told")
        post.when_started(answer)

    def _news(self, run_id: str) -> None:
        if run_id in self._posts:
            self._posts[run_id][0].wake()

    def _finish(self, run_id: str) -> None:
        if run_id in self._posts:
            self._posts[run_id][0].finish()

    def _ended(self, run_id: str, task: asyncio.Task[None]) -> None:
        if self._posts.get(run_id, (None, None))[1] is task:
            del self._posts[run_id]
        self._retire()

    def _start_looking_back(self, active: Callable[[str], bool]) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._look_back(active))
        self._looking.add_done_callback(self._looked_back)

    def _looked_back(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logging.getLogger("pyflow.notices").warning(
                "could not look for what is left to tell: %s", shown(error)
            )
        self._retire()

    async def _look_back(self, active: Callable[[str], bool]) -> None:
        """Open a post for each run of the last day about which something is left to tell."""
        redactor = Redactor()
        redactor.register(*self._secrets)
        oldest = self._clock.now() - CATCH_UP_AGE
        for run_id in reversed(latest_runs(self._journal, CATCH_UP_RUNS_MAX)):
            await asyncio.sleep(0)  # so that what is to be told now need not wait
            last = last_record(self._journal, run_id)
            if last is not None and last.at < oldest:
                return
            is_owed = last is not None and self._is_owed(run_id, last.seq)
            if is_owed and run_id not in self._posts and not active(run_id):
                self._begin(run_id, redactor, over=True)

    def _is_owed(self, run_id: str, seq: int) -> bool:
        """Return whether something is left to tell about a run that ends at *seq*, to anybody."""
        told = last_record(self._journal, ledger_of(run_id))
        if told is None:  # nobody was to be told
            return False
        if isinstance(told.event, NotificationsClosed):
            return seq > told.event.seq
        return seq > Ledger(self._journal.read(ledger_of(run_id))).closed_at

    def _retire(self) -> None:
        """End the thread where nothing is left for it to do."""
        with self._guard:
            if (
                self._posts
                or self._pending
                or self._looking
                or self._closed
                or self._thread is None
            ):
                return
            thread, self._thread = self._thread, None
            thread.stop()

    def _is_idle(self) -> bool:
        with self._guard:
            if self._thread is None:
                return True
            if self._pending or self._looking or not self._notes.is_done:
                return False
            return all(post.is_idle for post, _ in list(self._posts.values()))

    async def _cancel(self) -> None:
        tasks = [task for _, task in self._posts.values()]
        tasks += [self._looking] if self._looking is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _drain(reference: weakref.ref[Deliverer]) -> None:
    """Wait for what is still to be told when the program ends."""
    deliverer = reference()
    if deliverer is not None:
        deliverer.wait_delivered(deliverer.drain_s)
