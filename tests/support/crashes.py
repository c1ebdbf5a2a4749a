"""Engines that die, and the runs that the next engine takes up where the record ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pyflow
from pyflow.record.codec import Record
from pyflow.record.locks import MemoryLocks
from pyflow.record.memory import MemoryJournal
from pyflow.testing.loop import VirtualLoop
from pyflow.testing.simulation import SimulatedEngine, attend

Operator = Callable[[pyflow.Run], Awaitable[object]]
Begin = Callable[[SimulatedEngine], pyflow.Run]


class Died(BaseException):
    """The engine has been killed."""


class Mortal(MemoryJournal):
    """A journal whose engine dies right after so many commits; None lets it live.

    What was committed is there, and what should have followed never happens.
    """

    def __init__(self, kept: MemoryJournal, commits: int | None = None) -> None:
        super().__init__()
        for run_id in kept.runs():
            for record in kept.read(run_id):
                super().append(run_id, [record.event], at=record.at)
        self.left = commits
        self.made = 0
        self.death: asyncio.Future[None] | None = None

    def append(self, run_id: str, events: Sequence[Any], /, **options: Any) -> list[Record]:
        """Commit, if the engine lives, and have it die if it was the last time."""
        if self.left == 0:
            raise Died
        records = super().append(run_id, events, **options)
        self.made += 1
        if self.left is not None:
            self.left -= 1
        if self.left == 0:
            if self.death is not None and not self.death.done():
                self.death.set_result(None)
            raise Died
        return records


class Disk:
    """What outlives an engine: the records of one run, and its locks. Time goes on between engines."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.locks = MemoryLocks()
        self.now_s = 0.0
        self.commits = 0  # of the last engine

    @property
    def run_id(self) -> str:
        """The run."""
        return self.journal.runs()[0]

    @property
    def records(self) -> list[Record]:
        """What is recorded of it."""
        return self.journal.read(self.run_id)

    def kinds(self, *, after: int = 0) -> list[str]:
        """Return the kinds of its records, in order."""
        return [record.kind for record in self.journal.read(self.run_id, after=after)]

    def data(self, kind: str) -> list[dict[str, Any]]:
        """Return what the records of *kind* hold, without the task that they are about."""
        found = [dict(record.data) for record in self.records if record.kind == kind]
        return [{key: one[key] for key in one if key != "task"} for one in found]

    def seconds(self, kind: str, task: str | None = None) -> list[float]:
        """Return when records of *kind* were made, in seconds after the run began."""
        began = self.records[0].at
        found = [r for r in self.records if r.kind == kind and task in (None, r.task)]
        return [(record.at - began).total_seconds() for record in found]

    def notes(self) -> list[str | None]:
        """Return why commands were refused, None for those that were not."""
        return [command.get("note") for command in self.data("command_received")]

    def crash(
        self,
        workflow: pyflow.Workflow,
        at_s: float,
        operator: Operator | None = None,
        **options: Any,
    ) -> Disk:
        """Start the run, or resume it, and have the engine die after *at_s* seconds."""
        self.live(self._begin(workflow, options), dies_s=at_s, operator=operator)
        return self

    def cut(self, workflow: pyflow.Workflow, commits: int, **options: Any) -> Disk:
        """Start the run, or resume it, and have the engine die after so many commits."""
        self.live(self._begin(workflow, options), commits=commits)
        return self

    def resume(
        self, workflow: pyflow.Workflow, operator: Operator | None = None, **options: Any
    ) -> pyflow.Result:
        """Start the run, or resume it, until it has ended or is held and *operator* is done."""
        result = self.live(self._begin(workflow, options), operator=operator)
        assert result is not None
        return result

    def rollback(self, workflow: pyflow.Workflow, reason: str, **options: Any) -> pyflow.Result:
        """Roll the run back, whether it was cut off or has ended."""
        return self.resume(workflow, roll_back=reason, **options)

    def _begin(self, workflow: pyflow.Workflow, options: dict[str, Any]) -> Begin:
        runs = self.journal.runs()
        if not runs:
            return lambda engine: engine.start(workflow, **options)
        return lambda engine: engine.reopen(runs[0], workflow, **options)

    def live(
        self,
        begin: Begin,
        *,
        dies_s: float | None = None,
        commits: int | None = None,
        operator: Operator | None = None,
    ) -> pyflow.Result | None:
        """Have an engine live, and return what it came to; None if it died before."""
        journal = Mortal(self.journal, commits)
        engine = SimulatedEngine(journal=journal, locks=self.locks)
        loop = VirtualLoop(start_s=self.now_s)
        if commits is not None:  # that its record could not be kept, nobody is there to hear
            loop.set_exception_handler(lambda _loop, _context: None)
        try:
            return loop.run_until_complete(_live(engine, journal, begin, dies_s, operator))
        finally:
            self.now_s, self.commits = loop.time(), journal.made
            self.journal = Mortal(journal)  # whatever else the dead engine writes is lost
            self.locks.orphan()
            loop.run_until_complete(loop.cancel_leftovers())
            loop.close()
            engine.close()


async def _live(
    engine: SimulatedEngine,
    journal: Mortal,
    begin: Begin,
    dies_s: float | None,
    operator: Operator | None,
) -> pyflow.Result | None:
    loop = asyncio.get_running_loop()
    journal.death = death = loop.create_future()
    if dies_s is not None:
        loop.call_later(dies_s, death.set_result, None)
    try:
        run = begin(engine)
    except Died:
        return None
    except pyflow.JournalError:
        if death.done():
            return None
        raise
    living = asyncio.ensure_future(attend(run, operator))
    if dies_s is None:
        await asyncio.wait([living, death], return_when=asyncio.FIRST_COMPLETED)
    else:  # also a run that rests does so until the engine dies
        await death
    if living.done() and not death.done():
        return living.result()
    living.cancel()
    (came,) = await asyncio.gather(living, return_exceptions=True)
    if isinstance(came, AssertionError | TypeError):
        raise came
    return None
