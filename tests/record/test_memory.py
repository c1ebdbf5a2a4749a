"""The journal in memory."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pyflow.errors import JournalError
from pyflow.record.codec import GENESIS, verify_chain
from pyflow.record.events import Logged, TaskStarted
from pyflow.record.memory import MemoryJournal
from support.trails import AT, EVENTS

HOPELESS = Logged("a", "no", {"thing": object()})


class TestAppend:
    def test_numbers(self) -> None:
        """Records are numbered from 1 and chained, over any number of commits."""
        journal = MemoryJournal()

        records = [*journal.append("r", EVENTS[:2], at=AT), *journal.append("r", EVENTS[2:], at=AT)]

        assert [record.seq for record in records] == list(range(1, len(EVENTS) + 1))
        assert records[0].prev == GENESIS
        verify_chain(journal.read("r"), complete=True)

    def test_all_or_nothing(self) -> None:
        """A commit with an event that cannot be written adds none of its events."""
        journal = MemoryJournal()
        written = journal.append("r", EVENTS[:2], at=AT)

        with pytest.raises(JournalError, match=r"record 4 of run 'r' cannot be written: Logged"):
            journal.append("r", [EVENTS[2], HOPELESS], at=AT)

        assert journal.read("r") == written

    def test_nothing_began(self) -> None:
        """A run whose opening commit failed, or was empty, does not exist."""
        journal = MemoryJournal()

        with pytest.raises(JournalError):
            journal.append("r", [HOPELESS], at=AT)
        assert journal.append("s", [], at=AT) == []

        assert journal.runs() == []

    def test_no_time_zone(self) -> None:
        """An instant that says no time zone is refused."""
        with pytest.raises(JournalError, match="no time zone"):
            MemoryJournal().append("r", EVENTS[:1], at=AT.replace(tzinfo=None))

    def test_clock_goes_back(self) -> None:
        """Records keep their order where the clock does not."""
        journal = MemoryJournal()
        journal.append("r", EVENTS[:1], at=AT)

        journal.append("r", EVENTS[1:2], at=AT - timedelta(hours=1))

        verify_chain(journal.read("r"))


class TestRead:
    def test_after(self) -> None:
        """Records up to the number given are left out; a number below zero leaves out none."""
        journal = MemoryJournal()
        records = journal.append("r", EVENTS, at=AT)

        assert journal.read("r", after=19) == records[19:]
        assert journal.read("r", after=len(EVENTS)) == []
        assert journal.read("r", after=-1) == records

    def test_unknown(self) -> None:
        """A run that nobody wrote has no records."""
        assert MemoryJournal().read("r") == []

    def test_own_list(self) -> None:
        """What a reader does with the list is no concern of the journal."""
        journal = MemoryJournal()
        journal.append("r", EVENTS[:1], at=AT).clear()
        journal.read("r").clear()

        assert len(journal.read("r")) == 1


class TestRuns:
    def test_order(self) -> None:
        """Runs are listed in the order in which they began."""
        journal = MemoryJournal()
        for run_id in ("b", "a", "b"):
            journal.append(run_id, [TaskStarted("x", 1, "why")], at=AT)

        assert journal.runs() == ["b", "a"]
        assert repr(journal) == "<MemoryJournal runs=2>"
