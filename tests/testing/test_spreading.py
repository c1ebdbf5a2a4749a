"""An exploration on several processes: the report is that of one, whoever made the runs."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, cast

import pytest

from pyflow.testing import Fault, SimulationError, World, explore
from pyflow.testing.exploration.laboratory import Laboratory
from pyflow.testing.exploration.scout import Scout
from pyflow.testing.exploration.search import Search
from pyflow.testing.exploration.spreading import Crew, can_spread, serve, take
from pyflow.testing.exploration.template import Template
from pyflow.testing.exploration.trial import Options
from pyflow.testing.faults import KINDS
from support.explored import careless, made, switch, told
from support.repeatable import run_python

SearchOf = Callable[..., tuple[object, Search]]

WATCHDOG_S = 60.0
"""How long anything here may take, on the busiest machine."""
ALONE = """
import multiprocessing, os
from support.explored import *

parent = os.getpid()
{more}
world = World()
try:
    report = explore({factory}, world=world, processes={processes})
    print(told(report))
except Exception as error:
    print(type(error).__name__, error)
assert not multiprocessing.active_children()
"""
DIES = """
def factory():
    if os.getpid() != parent and next(count) > 20:
        os._exit(3)
    return switch(world)

import itertools
count = itertools.count()
"""
BREAKS = """
def factory():
    if os.getpid() != parent:
        raise OSError("not here")
    return switch(world)
"""
IS_WRONG = """
def factory():
    workflow = switch(world)
    workflow.add_task("check", lambda: None, depends_on="deplyo")
    return workflow
"""


def alone(processes: int, *, more: str = "", factory: str = "factory") -> str:
    """Return what an exploration on *processes* says, in an interpreter without other threads."""
    code = ALONE.format(processes=processes, more=more, factory=factory)
    done = run_python(["-c", code])
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.fixture
def search_of() -> Iterator[SearchOf]:
    """Makes a search of a workflow in a world of its own."""
    laboratories: list[Laboratory] = []

    def prepare(make: Any = switch, faults: int = 1) -> tuple[object, Search]:
        world = World()
        laboratory = Laboratory(Template(made(make, world)), world, Options())
        laboratories.append(laboratory)
        kinds = frozenset(KINDS)
        return laboratory, Search(laboratory.run, faults=faults, kinds=kinds, prune=True)

    yield prepare
    for laboratory in laboratories:
        laboratory.close()


class TestReport:
    def test_is_that_of_one_process(self) -> None:
        """Every count and every counterexample is the same on one process and on three."""
        done = run_python(["-c", "from support.explored import spread; spread()"])

        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout == "".join(
            told(explore(made(make, world), world=world, prune=prune, invariants=[lambda _: None]))
            for make, prune in ((switch, True), (switch, False), (careless, True))
            for world in [World()]
        )

    @pytest.mark.parametrize("more", [DIES, BREAKS], ids=["dies", "breaks"])
    def test_needs_nobody(self, more: str) -> None:
        """Where a process dies, or cannot do it, the runs that it was given are made all the same."""
        world = World()

        assert alone(2, more=more) == told(explore(made(switch, world), world=world)) + "\n"

    def test_says_what_is_wrong(self) -> None:
        """A workflow that is wrong is refused in the words of one process."""
        said = alone(2, more=IS_WRONG)

        assert said.startswith("DefinitionError ")
        assert "did you mean 'deploy'" in said


class TestWhoMakesThem:
    def test_alone_beside_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beside other threads, which may hold locks, nothing is forked, and the report is the same."""
        monkeypatch.setattr(Crew, "__init__", None)
        world, over = World(), threading.Event()
        thread = threading.Thread(target=over.wait, args=(WATCHDOG_S,))
        thread.start()
        try:
            assert not can_spread()
            report = explore(made(switch, world), world=world, processes=4)
        finally:
            over.set()
            thread.join()

        assert told(report) == told(explore(made(switch, world), world=world))

    def test_alone_without_fork(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a system cannot fork, the present process makes all runs."""
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])

        assert not can_spread()

    @pytest.mark.parametrize("processes", [0, -1, True, "2", 1.5, 257])
    def test_refused(self, processes: Any) -> None:
        """What is no number of processes is refused."""
        with pytest.raises(SimulationError, match=r"^processes=.*: give a whole number from 1"):
            explore(lambda: switch(World()), world=World(), processes=processes)


class TestServe:
    @contextmanager
    def served(self, prepare: Any) -> Generator[Connection]:
        """Serve on a thread of this process."""
        ours, theirs = multiprocessing.Pipe()
        thread = threading.Thread(target=serve, args=(theirs, prepare))
        thread.start()
        try:
            yield ours
        finally:
            ours.close()
            thread.join(WATCHDOG_S)
        assert not thread.is_alive()

    def ask(self, channel: Connection, scripts: list[Any], news: list[Any]) -> list[Any]:
        channel.send_bytes(json.dumps({"scripts": scripts, "news": news}).encode())
        assert channel.poll(WATCHDOG_S)
        return cast("list[Any]", json.loads(channel.recv_bytes()))

    def test_tells_of_runs(self, search_of: SearchOf) -> None:
        """What a run went through and what was offered is told; what has to be seen, is not."""
        with self.served(search_of) as channel:
            whole, never, lie = self.ask(
                channel,
                [[], [["nowhere", "crash"]], [["deploy#1 config.set#1", "lies"]]],
                [],
            )

        assert whole["ended"] == "succeeded"
        assert whole["offered"][0] == ["before record 1 (run_started)", ["crash"]]
        assert [before for _, before in whole["marks"]] == sorted(b for _, b in whole["marks"])
        assert never is None  # a run that did not get to its fault is for the search to refuse
        assert lie["offered"] == []  # nothing is left to go wrong
        assert lie["ended"] == "succeeded"

    def test_leaves_what_is_broken(self, search_of: SearchOf) -> None:
        """A run that broke an invariant has to be seen."""
        world = World()
        report = explore(made(careless, world), world=world)
        assert report.counterexample is not None
        script = [[fault.point, fault.kind] for fault in report.counterexample.faults]

        with self.served(partial(search_of, careless, 2)) as channel:
            assert self.ask(channel, [script], []) == [None]

    def test_hears_what_others_found(self, search_of: SearchOf) -> None:
        """At a state that another process has gone on from, a run is given up."""
        with self.served(search_of) as channel:
            [whole] = self.ask(channel, [[]], [])
        (mark, before), *_ = whole["marks"]

        with self.served(search_of) as channel:
            [cut] = self.ask(channel, [[]], [[mark, [], 1], [mark, [], 1]])

        assert (cut["ended"], cut["marks"]) == (None, [[mark, before]])
        assert cut["offered"] == whole["offered"][:before]


class TestTake:
    def taken(
        self, search: Search, known: list[tuple[int, frozenset[str], int]], **answer: Any
    ) -> tuple[Any, Scout]:
        """Take a run in which something lied, and of which one fault more is to come."""
        for one in known:
            search.known.note(*one)
        script = (Fault("p", "lies"),)
        scout = search.scout(script)
        given = {
            "marks": [[11, 0], [12, 2]],
            "ended": "succeeded",
            "looked_back": None,
            **answer,
        }
        offered = [["a", ["crash"]], ["b", ["lies", "fails"]], ["c", ["crash"]]]
        return take(search, script, scout, {"offered": offered, **given}), scout

    def test_whole(self, search_of: SearchOf) -> None:
        """A run through states that nobody knows is taken as it was made, and they are known then."""
        _, search = search_of(faults=2)
        made, scout = self.taken(search, [])

        assert (made.ended, scout.was_pruned) == ("succeeded", False)
        assert scout.offered == [("a", ("crash",)), ("b", ("lies", "fails")), ("c", ("crash",))]
        assert search.known.has(12, {"lies"}, 1)
        assert not search.known.has(12, frozenset(), 1)
        scout.check_used()

    def test_cut(self, search_of: SearchOf) -> None:
        """At a state that is known by now it would have been given up, so no more of it counts."""
        _, search = search_of(faults=2)
        made, scout = self.taken(search, [(12, frozenset(), 1), (13, frozenset(), 2)])

        assert (made.ended, scout.was_pruned) == (None, True)
        assert [point for point, _ in scout.offered] == ["a", "b"]
        assert search.known.has(11, {"lies"}, 1)
        assert made.violations == ()

    @pytest.mark.parametrize(("looked_back", "counts"), [(1, True), (2, False), (None, False)])
    def test_looked_back(
        self, search_of: SearchOf, looked_back: int | None, *, counts: bool
    ) -> None:
        """Whoever looked back after the state at which the run would have been given up did not."""
        _, search = search_of(faults=2)
        known = [(12, frozenset[str](), 1)]

        whole, _ = self.taken(search, [], looked_back=looked_back)
        assert whole.scout.looked_back == looked_back

        _, search = search_of(faults=2)
        cut, _ = self.taken(search, known, looked_back=looked_back)
        assert cut.scout.looked_back == (looked_back if counts else None)

    @pytest.mark.parametrize(
        "known", [(12, frozenset({"stale"}), 1), (12, frozenset[str](), 0)], ids=["lied", "left"]
    )
    def test_not_cut(self, search_of: SearchOf, known: tuple[int, frozenset[str], int]) -> None:
        """A state from which was gone on after other lies, or with less to come, is no such state."""
        _, search = search_of(faults=2)
        made, scout = self.taken(search, [known])

        assert (made.ended, scout.was_pruned) == ("succeeded", False)

    def test_given_up_for_nothing(self, search_of: SearchOf) -> None:
        """A run that was given up at a state that the search does not know has to be made again."""
        _, search = search_of(faults=2)
        made, scout = self.taken(search, [], ended=None)

        assert made is None
        assert (scout.offered, scout.marks) == ([], [])
        assert not search.known.has(11, {"lies"}, 1)
