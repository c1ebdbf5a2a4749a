"""Spread an exploration over processes: runs are made ahead, and taken in the order of the queue.

Where a run is given up depends on all that were made before it. So whoever
makes one ahead tells which states it went through, and the search, whose turn
comes later and who knows of every run before, says where it would have been
given up. What it cannot say from what it was told, and whatever broke
something, it makes again itself. So the report is that of a single process.

The processes are forked: what they run is a function of the test, which has
no name that another process could import it by. What passes between them is JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
import warnings
from collections import deque
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.frozen import frozen
from pyflow.testing.exploration.search import lies_of
from pyflow.testing.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from multiprocessing.connection import Connection

    from pyflow.testing.exploration.scout import Scout
    from pyflow.testing.exploration.search import Made, Search

__all__ = ["Crew", "can_spread", "serve", "take"]

BATCH = 8
"""How many runs a process is given at once: neighbours in the queue, which have most in common."""
AHEAD = 4
"""How many batches for each process may be under way, or made and not taken: the further
ahead, the less of what others found out is known to it."""

Script: TypeAlias = tuple[Fault, ...]
Attempt: TypeAlias = "Callable[[Script, Scout], Made]"
Prepare: TypeAlias = "Callable[[], tuple[object, Search]]"
"""Makes where runs are made, and a search that makes them there and knows nothing yet."""


def can_spread() -> bool:
    """Return whether this process can be forked, and no other thread may hold a lock meanwhile."""
    return "fork" in multiprocessing.get_all_start_methods() and threading.active_count() == 1


@frozen
class Taken:
    """A run that was made ahead, as the search takes it."""

    script: Script
    """What went wrong in it."""

    scout: Scout
    """What it brought back."""

    ended: str | None
    """In which state it ended; None if it was given up before."""

    violations: tuple[()] = ()
    """Nothing: whatever broke something is made again."""


class _Batch:
    """Neighbours of the queue that one process makes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.answers: deque[Any] | None = None  # while they are under way

    def end(self, answers: Iterable[Any]) -> None:
        """Note what is told of each."""
        self.answers = deque(answers)


class _Helper:
    """A process that makes runs ahead."""

    def __init__(self, ours: Connection, process: Any) -> None:
        self.ours = ours
        self.batch: _Batch | None = None  # what it is at
        self.told = 0  # how much of what is known it has been told
        self.is_gone = False
        self._process = process

    def ask(self, batch: _Batch, what: object) -> None:
        """Have it make a batch; it has made everything before, so it listens."""
        self.batch = batch
        try:
            self.ours.send_bytes(json.dumps(what).encode())
        except OSError:
            self._give_up()

    def listen(self) -> None:
        """Take in what it has made."""
        assert self.batch is not None
        try:
            answers = json.loads(self.ours.recv_bytes())
        except (EOFError, OSError):
            self._give_up()
            return
        self.batch.end(answers)
        self.batch = None

    def _give_up(self) -> None:
        """Leave to the search what this process was at when it ended."""
        assert self.batch is not None
        self.batch.end([None] * self.batch.size)
        self.batch = None
        self.is_gone = True
        self.end()

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.terminate()
        self._process.join()
        self.ours.close()


class Crew:
    """Processes that make runs ahead of a search."""

    def __init__(self, number: int, prepare: Prepare) -> None:
        """Fork *number* processes, each with what *prepare* makes."""
        self._helpers: list[_Helper] = []
        self._batches: deque[_Batch] = deque()
        self._handed_out = 0  # how much of the queue
        self._news: list[tuple[int, tuple[str, ...], int]] = []
        self._make: Attempt
        self._search: Search
        context = multiprocessing.get_context("fork")
        pipes = [context.Pipe() for _ in range(number)]
        every = [end for pipe in pipes for end in pipe]
        for ours, theirs in pipes:
            process = context.Process(
                target=_be_born, args=(theirs, every, prepare), daemon=True, name="pyflow-explore"
            )
            with warnings.catch_warnings():  # of threads that are none of Python's
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            self._helpers.append(_Helper(ours, process))
        for _, theirs in pipes:
            theirs.close()

    def help(self, search: Search) -> None:
        """Have *search* take what is made ahead, and make itself what is not."""
        self._search, self._make = search, search.make
        search.make = self.attempt

    def close(self) -> None:
        """End the processes, whatever they are at."""
        while self._helpers:
            self._helpers.pop().end()

    def attempt(self, script: Script, scout: Scout) -> Made:
        """Return the next run of the queue, whoever has made it."""
        answer = self._answer()
        made = take(self._search, script, scout, answer) if answer is not None else None
        if made is None:
            made = self._make(script, scout)
        lied, left = tuple(sorted(lies_of(script))), self._search.faults - len(script)
        self._news += [(mark, lied, left) for mark, _ in scout.marks]
        return made

    def _answer(self) -> Any:
        """Return what is told of the next run, once it is; None if nobody was given it."""
        was_handed_out = self._handed_out > 0
        self._handed_out -= was_handed_out
        self._hear(0)
        self._hand_out()
        if not was_handed_out:
            return None
        first = self._batches[0]
        while first.answers is None:
            self._hear(None)
            self._hand_out()
        answer = first.answers.popleft()
        if not first.answers:
            self._batches.popleft()
        return answer

    # Helpers ------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Give everybody something to do, not too far ahead."""
        queue, most = self._search.queue, AHEAD * len(self._helpers)
        for helper in self._helpers:
            first = self._handed_out
            scripts = list(islice(queue, first, first + BATCH))
            if helper.batch is None and scripts and len(self._batches) < most:
                self._batches.append(batch := _Batch(len(scripts)))
                self._handed_out += len(scripts)
                news, helper.told = self._news[helper.told :], len(self._news)
                helper.ask(batch, {"scripts": list(map(_plain, scripts)), "news": news})
        self._helpers = [helper for helper in self._helpers if not helper.is_gone]

    def _hear(self, timeout_s: float | None) -> None:
        """Take in what was made, and wait for it as long as is said."""
        busy = {helper.ours: helper for helper in self._helpers if helper.batch is not None}
        for channel in wait(list(busy), timeout_s):
            busy[channel].listen()  # type: ignore[index]
        self._helpers = [helper for helper in self._helpers if not helper.is_gone]


def take(search: Search, script: Script, scout: Scout, answer: Mapping[str, Any]) -> Taken | None:
    """Take a run that was made ahead as if it were made now; None if that cannot be said."""
    marks: list[tuple[int, int]] = [(mark, before) for mark, before in answer["marks"]]
    offered, ended, looked_back = answer["offered"], answer["ended"], answer["looked_back"]
    lied, left = lies_of(script), search.faults - len(script)
    for number, (mark, before) in enumerate(marks):
        if search.known.has(mark, lied, left):
            marks, offered, ended = marks[:number], offered[:before], None
            scout.was_pruned = True
            if looked_back is not None and looked_back > number:  # it would not have come to that
                looked_back = None
            break
    else:
        if ended is None:  # it was given up at a state that nobody has gone on from
            return None
    for mark, _ in marks:
        search.known.note(mark, lied, left)
    scout.left.clear()
    scout.looked_back = looked_back
    scout.marks += marks
    scout.offered += [(point, tuple(kinds)) for point, kinds in offered]
    return Taken(script, scout, ended)


def _be_born(theirs: Connection, every: Iterable[Connection], prepare: Prepare) -> None:
    """Be a helper, which ends when it is told to, or when whoever tells it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a keyboard, it is the parent's to act upon
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which is how the parent ends it
    for one in every:
        if one is not theirs:
            one.close()
    serve(theirs, prepare)


def serve(channel: Connection, prepare: Prepare) -> None:
    """Make the runs that are asked for on *channel*, until nobody asks any more."""
    _, search = prepare()
    with suppress(EOFError, OSError):
        while True:
            asked = json.loads(channel.recv_bytes())
            for mark, lied, left in asked["news"]:
                if not search.known.has(mark, frozenset(lied), left):
                    search.known.note(mark, frozenset(lied), left)
            answers = [_made(search, _script(plain)) for plain in asked["scripts"]]
            channel.send_bytes(json.dumps(answers).encode())


def _made(search: Search, script: Script) -> dict[str, Any] | None:
    """Make a run, and return what there is to tell of it; None if it has to be seen to be told."""
    scout = search.scout(script)
    try:
        made = search.make(script, scout)
        scout.check_used()
    except Exception:  # noqa: BLE001 - whoever makes it again will raise it
        return None
    if made.violations:
        return None
    offered = scout.offered if len(script) < search.faults else []
    return {
        "marks": scout.marks,
        "offered": offered,
        "ended": made.ended,
        "looked_back": scout.looked_back,
    }


def _plain(script: Script) -> list[tuple[str, str]]:
    return [(fault.point, fault.kind) for fault in script]


def _script(plain: Iterable[Sequence[Any]]) -> Script:
    return tuple(Fault(point, kind) for point, kind in plain)
