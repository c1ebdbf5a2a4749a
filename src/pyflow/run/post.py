"""Everybody who is told about one run, and who may tell them.

Only one engine tells about a run at a time: it holds a lock of that run's
notices. Whoever comes later waits, reads what was told, and goes on there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from pyflow.errors import LockError, PyflowError, shown
from pyflow.record.batches import Batch
from pyflow.record.events import NotificationsClosed, NotificationsOpened, RunFinished
from pyflow.record.ledger import Ledger, ledger_of
from pyflow.record.shortcuts import forget
from pyflow.run.lane import Lane
from pyflow.run.loops import at_once
from pyflow.run.masking import redacted

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from pyflow.notices.route import Route
    from pyflow.protocols import Clock, Journal, Lease, LockManager
    from pyflow.record.events import Event
    from pyflow.run.notekeeping import Notekeeper
    from pyflow.secrets import Redactor

__all__ = ["Post"]

TURN_S = 0.25
"""How often to look whether another engine has done telling, in seconds."""


class Post:
    """Tells every route what happens in one run; lives on the loop of the deliveries."""

    def __init__(
        self,
        run_id: str,
        routes: Sequence[Route],
        *,
        journal: Journal,
        notes: Notekeeper,
        locks: LockManager,
        clock: Clock,
        rng: random.Random,
        redactor: Redactor,
        over: bool = False,
    ) -> None:
        self.run_id = run_id
        self.over = over
        """Whether this engine adds nothing more to the run's record."""
        self.finished = asyncio.Event()
        """Whether everything was told, and nothing more will come."""
        self.lanes: list[Lane] = []
        self._routes = routes
        self._journal = journal
        self._notes = notes
        self._locks = locks
        self._clock = clock
        self._rng = rng
        self._redactor = redactor
        self._leases: Sequence[Lease] = ()
        self._news: dict[Lane, asyncio.Event] = {}
        self._busy: dict[Lane, None] = {}
        self._gates: list[Callable[[str | None], None]] = []
        self._can_record = True

    @property
    def is_idle(self) -> bool:
        """Whether everything was told that there is to tell so far."""
        waiting = any(event.is_set() for event in self._news.values())
        return bool(self.lanes) and not self._busy and not waiting

    def wake(self) -> None:
        """Look into the journal again: there is news."""
        for event in self._news.values():
            event.set()

    def finish(self) -> None:
        """Tell what is left, and end: nothing more will come from here."""
        self.over = True
        self.wake()

    def when_started(self, then: Callable[[str | None], None]) -> None:
        """Call *then* once all required routes have been told of the start, or could not be."""
        self._gates.append(then)
        self._open_gates()

    async def serve(self) -> None:
        """Tell everything, until the run is over or this is cancelled."""
        try:
            if await self._take_turn():
                ledger = self._opened()
                if ledger is not None:
                    await self._tell(ledger)
        except Exception as error:  # noqa: BLE001 - whatever happens here, the run goes on
            logging.getLogger("pyflow.notices").warning(
                "nobody is told about run %s any more: %s", self.run_id, shown(error)
            )
        finally:
            for gate in self._gates:
                gate(None if self.lanes else "nobody could be told that it starts")
            self._gates.clear()
            self._release()

    async def _take_turn(self) -> bool:
        """Wait until no other engine tells; for a run that is over, leave it to that one."""
        while True:
            try:
                taking = self._locks.acquire(self.run_id, [f"notices:{self.run_id}"], policy="fail")
                self._leases = at_once(taking)
            except LockError:
                if self.over:
                    return False
                await asyncio.sleep(TURN_S)
            else:
                return True

    def _opened(self) -> Ledger | None:
        """Return how far everybody has come, or None where nothing is left to tell."""
        ledger = Ledger(self._journal.read(ledger_of(self.run_id)))
        if not ledger.is_open:
            self._note([NotificationsOpened([route.name for route in self._routes])])
            self._notes.flush()  # before anything is told: from here on, somebody will tell the rest
        records = self._journal.read(self.run_id, after=ledger.closed_at)
        return None if self.over and ledger.closed_at and not records else ledger

    async def _tell(self, ledger: Ledger) -> None:
        self.lanes = [self._lane(route, ledger) for route in self._routes]
        self._news = {lane: asyncio.Event() for lane in self.lanes}
        self.wake()
        loop = asyncio.get_running_loop()
        driving = [loop.create_task(self._drive(lane)) for lane in self.lanes]
        try:
            await self.finished.wait()
        finally:
            for task in driving:
                task.cancel()
            await asyncio.gather(*driving, return_exceptions=True)
        self._close()

    def _lane(self, route: Route, ledger: Ledger) -> Lane:
        return Lane(
            route,
            self.run_id,
            read=lambda after: self._journal.read(self.run_id, after=after),
            note=self._note,
            redactor=self._redactor,
            clock=self._clock,
            rng=self._rng,
            settled=ledger.settled.get(route.name, 0),
            receipt=ledger.receipts.get(route.name),
        )

    async def _drive(self, lane: Lane) -> None:
        """Have *lane* tell whatever there is, whenever there is news."""
        news = self._news[lane]
        while True:
            await news.wait()
            self._busy[lane] = None
            news.clear()
            try:
                while await lane.catch_up():
                    self._open_gates()
            except Exception as error:  # noqa: BLE001 - the other routes go on
                logging.getLogger("pyflow.notices").warning(
                    "%s is not told about run %s any more: %s",
                    lane.route.name,
                    self.run_id,
                    shown(error),
                )
                lane.start = lane.start or False
                self._open_gates()
            finally:
                del self._busy[lane]
            if self.over and self.is_idle:
                self.finished.set()

    def _open_gates(self) -> None:
        required = [lane for lane in self.lanes if lane.route.required]
        if not self.lanes or any(lane.start is None for lane in required):
            return
        silent = [lane.route.name for lane in required if not lane.start]
        names = ", ".join(silent)
        problem = f"{names} could not be told that it starts, and has to be" if silent else None
        for gate in self._gates:
            gate(problem)
        self._gates.clear()

    def _close(self) -> None:
        """Note that nothing is left, where the run has ended, so that nobody looks again."""
        seq = min((lane.seq for lane in self.lanes), default=0)
        last = self._journal.read(self.run_id, after=seq - 1)
        if last and last[-1].seq == seq and isinstance(last[-1].event, RunFinished):
            self._note([NotificationsClosed(seq)])

    def _note(self, events: Sequence[Event]) -> None:
        """Have *events* recorded; where that fails they may be told again, and the run goes on."""
        if self._redactor:
            events = [redacted(event, self._redactor) for event in events]
        if self._can_record:
            batch = Batch(
                ledger_of(self.run_id), list(events), self._clock.now(), tuple(self._leases)
            )
            self._notes.put(batch, self._cannot_record)

    def _cannot_record(self, error: BaseException) -> None:
        self._can_record = False
        logging.getLogger("pyflow.notices").warning(
            "what was told about run %s cannot be recorded: %s", self.run_id, shown(error)
        )

    def _release(self) -> None:
        self._notes.flush()  # whoever tells next has to find everything
        forget(self._journal, ledger_of(self.run_id))
        if self.over:  # it was read as a whole, as if it were to be gone on with
            forget(self._journal, self.run_id)
        if self._leases:
            leases, self._leases = self._leases, ()
            try:
                self._locks.release(leases)
            except PyflowError as error:
                logging.getLogger("pyflow.notices").warning(
                    "run %s could not give its notices back: %s", self.run_id, error
                )
