"""One machine drives the journal in memory and the one on disk, and they agree."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyflow.errors import JournalError, PyflowError
from pyflow.record import events as ev
from pyflow.record.codec import verify_chain
from pyflow.record.memory import MemoryJournal
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.journal import Batch, SQLiteJournal
from support.trails import AT

RUNS = st.sampled_from(["r", "s", "é漢😀\0"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DATA = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
GOOD = st.one_of(
    st.builds(ev.Logged, st.just("a"), TEXT, st.none() | st.dictionaries(TEXT, DATA, max_size=2)),
    st.builds(ev.TaskStarted, TEXT, st.integers(1, 9), st.just("why")),
    st.builds(ev.RunStarted, *map(st.just, ("shop", "f", {}, {"id": "ada"}, {}, {}))),
    st.builds(ev.RunFinished, st.sampled_from(["succeeded", "failed"]), st.integers(1, 99)),
)
BAD = st.sampled_from(
    [ev.Logged("a", "no", {"thing": object()}), ev.Logged("a", "no", {"number": float("nan")})]
)
EVENTS = st.lists(GOOD, max_size=4)
UNWRITABLE = st.tuples(EVENTS, BAD, EVENTS).map(lambda t: [*t[0], t[1], *t[2]])
LATER = st.integers(-5, 5).map(lambda hours: AT + timedelta(hours=hours))


class Journals(RuleBasedStateMachine):
    """Does the same to both, and compares what they say."""

    @initialize()
    def open(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "j.db"
        self.memory = MemoryJournal()
        self.disk = SQLiteJournal(self.path)
        self.commits = 0

    @rule(run_id=RUNS, events=EVENTS, at=LATER)
    def append(self, run_id: str, events: list[Any], at: Any) -> None:
        expected = self.memory.append(run_id, events, at=at)

        assert self.disk.append(run_id, events, at=at) == expected
        self.commits += bool(events)

    @rule(run_id=RUNS, events=UNWRITABLE, at=LATER)
    def append_unwritable(self, run_id: str, events: list[Any], at: Any) -> None:
        said: list[str] = []
        for journal in (self.memory, self.disk):
            try:
                journal.append(run_id, events, at=at)
            except JournalError as error:
                said.append(str(error))

        assert len(said) == 2
        assert said[0] == said[1]

    @rule(batches=st.lists(st.tuples(RUNS, EVENTS | UNWRITABLE, LATER), max_size=4))
    def append_all(self, batches: list[tuple[str, list[Any], Any]]) -> None:
        failed: set[str] = set()
        expected: list[Any] = []
        for run_id, events, at in batches:
            try:
                assert run_id not in failed
                expected.append(self.memory.append(run_id, events, at=at))
            except (AssertionError, JournalError):
                failed.add(run_id)
                expected.append(None)

        answers = self.disk.append_all([Batch(*batch) for batch in batches])

        assert [None if isinstance(a, PyflowError) else a for a in answers] == expected
        self.commits += any(expected)

    @rule(run_id=RUNS | st.just("nobody"), after=st.integers(-1, 12))
    def read(self, run_id: str, after: int) -> None:
        assert self.disk.read(run_id, after=after) == self.memory.read(run_id, after=after)

    @rule(run_id=RUNS | st.just("nobody"))
    def last(self, run_id: str) -> None:
        assert self.disk.last(run_id) == next(iter(self.memory.read(run_id)[-1:]), None)

    @rule()
    def reopen(self) -> None:
        self.disk.close()
        self.disk = SQLiteJournal(self.path)

        assert self.disk.notes == ()

    @rule()
    def crash(self) -> None:
        """Open it anew while it is still open, as somebody does who finds it after a crash."""
        left, self.disk = self.disk, SQLiteJournal(self.path)
        left.close()

        assert self.disk.notes == ()

    @rule(run_id=RUNS, events=EVENTS.filter(bool))
    def another_process(self, run_id: str, events: list[Any]) -> None:
        with SQLiteJournal(Database(self.path)) as other:
            expected = self.memory.append(run_id, events, at=AT)
            assert other.append(run_id, events, at=AT) == expected
            other.database.close()
        self.commits += 1
        self.disk.read(run_id)

    @invariant()
    def agree(self) -> None:
        assert self.disk.runs() == self.memory.runs()

    def teardown(self) -> None:
        if not hasattr(self, "disk"):
            return
        for run_id in self.memory.runs():
            assert self.disk.read(run_id) == self.memory.read(run_id)
            verify_chain(self.disk.read(run_id))
        count = self.disk.database.reading("SELECT count(DISTINCT commit_no) FROM records")
        assert count == [(self.commits,)]
        assert self.disk.verify() == []
        self.disk.close()
        self.directory.cleanup()


TestJournals = Journals.TestCase
TestJournals.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
