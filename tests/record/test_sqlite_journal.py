"""The journal on disk: what it adds to the contract of a journal."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import JournalError, LockLost, TamperedJournal
from pyflow.protocols import Lease
from pyflow.record import events as ev
from pyflow.record.codec import encode_line, verify_chain
from pyflow.record.ledger import ledger_of
from pyflow.record.memory import MemoryJournal
from pyflow.record.shortcuts import latest_runs
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.head import read_head
from pyflow.record.sqlite.journal import LATEST, Batch, SQLiteJournal
from pyflow.record.sqlite.tip import START
from support.journals import environment, fill, logged, records_of, started, tamper
from support.trails import AT, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

HOPELESS = ev.Logged("a", "no", {"thing": object()})
RESOURCE = "service:shop"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where there is no journal yet."""
    return tmp_path / "j.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SQLiteJournal]:
    """Return a journal that is empty."""
    with SQLiteJournal(path) as journal:
        yield journal


def messages(journal: SQLiteJournal, run_id: str) -> list[Any]:
    """Return what was logged in a run."""
    return [record.data.get("message") for record in journal.read(run_id)]


def commits(journal: SQLiteJournal) -> list[int]:
    """Return which commit wrote each record."""
    return [number for (number,) in journal.database.reading("SELECT commit_no FROM records")]


class TestAppend:
    def test_same_as_in_memory(self, path: Path, journal: SQLiteJournal) -> None:
        """Records are those that a journal in memory makes, to the byte."""
        memory = MemoryJournal()
        for n in range(0, len(EVENTS), 3):
            journal.append("r1", EVENTS[n : n + 3], at=AT + timedelta(seconds=n))
            memory.append("r1", EVENTS[n : n + 3], at=AT + timedelta(seconds=n))
        journal.close()

        lines = [encode_line(record) for record in records_of(path)["r1"]]
        assert lines == [encode_line(record) for record in memory.read("r1")]

    def test_goes_on(self, path: Path, journal: SQLiteJournal) -> None:
        """A run goes on where another process has left it."""
        journal.append("r1", EVENTS[:3], at=AT)
        journal.close()

        with SQLiteJournal(path) as later:
            later.append("r1", EVENTS[3:], at=AT)
            verify_chain(later.read("r1"), complete=True)

    def test_one_commit(self, journal: SQLiteJournal) -> None:
        """The events of one call are in one commit, and those of two in two."""
        journal.append("r", EVENTS[:3], at=AT)
        journal.append("r", [], at=AT)
        journal.append("r", EVENTS[3:5], at=AT)

        assert commits(journal) == [1, 1, 1, 2, 2]

    def test_nothing_to_add(self, journal: SQLiteJournal) -> None:
        """A commit of no events is none, and makes no run."""
        assert journal.append("r", [], at=AT) == []
        assert journal.append_all([]) == []
        assert (journal.runs(), journal.read("r"), journal.last("r")) == ([], [], None)

    def test_run_ids(self, journal: SQLiteJournal) -> None:
        """A run may be called whatever Unicode can say, and nothing else."""
        names = ["é漢😀", "a'b\"c", "x\0y", "", "%", "R", "r"]
        for name in names:
            journal.append(name, [started("eu")], at=AT)

        assert journal.runs() == names
        assert [journal.read(name)[0].run_id for name in names] == names
        with pytest.raises(JournalError, match="lone surrogates"):
            journal.append("\ud800", [started("eu")], at=AT)

    def test_large(self, journal: SQLiteJournal) -> None:
        """A record may be larger than many pages, and a commit than the cache."""
        big = [ev.Logged("a", "x" * 300_000) for _ in range(12)]
        journal.append("r", big, at=AT)

        assert [record.event for record in journal.read("r")] == big
        assert journal.verify() == []

    def test_index_of_runs(self, journal: SQLiteJournal) -> None:
        """Beside the records stands what can be known of a run without reading them."""
        journal.append("r1", EVENTS, at=AT)
        journal.append("r2", [started("eu"), logged(1)], at=AT)
        journal.append("r3", [logged(1)], at=AT)
        journal.append("r1", [logged(2)], at=AT)

        assert journal.database.reading("SELECT * FROM runs ORDER BY began") == [
            ("r1", 1, 22, "shop", "unfinished"),
            ("r2", 22, 2, "shop-eu", "unfinished"),
            ("r3", 24, 1, None, "unfinished"),
        ]
        assert journal.verify() == []

    def test_forgets_the_finished(self, journal: SQLiteJournal) -> None:
        """What is kept in memory of a run is little, and nothing once it has ended."""
        for n in range(50):
            journal.append(f"r{n}", EVENTS, at=AT)
        assert (journal._believed, journal._sure) == ({}, set())

        for n in range(50):
            journal.read(f"r{n}")
        assert (journal._believed, journal._sure) == ({}, set())

    def test_forgets_what_was_told(self, journal: SQLiteJournal) -> None:
        """Nothing is kept of what was told about a run once nothing is left to tell; it can go on."""
        ledger = ledger_of("r")
        opened, closed = ev.NotificationsOpened(["x"]), ev.NotificationsClosed(1)
        journal.append(ledger, [opened, closed], at=AT)
        assert (journal._believed, journal._sure) == ({}, set())
        journal.read(ledger)
        assert (journal._believed, journal._sure) == ({}, set())
        journal.append_all([Batch(ledger, [closed], AT), Batch(ledger, [opened], AT)])
        assert {*journal._believed} == journal._sure == {ledger}

        assert [record.seq for record in journal.read(ledger)] == [1, 2, 3, 4]
        assert journal.verify() == []

    def test_forgets_what_it_is_told_to(self, path: Path, journal: SQLiteJournal) -> None:
        """A run that was let go of is read back; who has read it since is held to what was read."""
        journal.append("r", [started("r")], at=AT)
        journal.forget("r")
        assert (journal._believed, journal._sure) == ({}, set())
        journal.read("r")
        with SQLiteJournal(path) as other:
            other.append("r", [logged(1)], at=AT)

        with pytest.raises(JournalError, match="was continued by another process"):
            journal.append("r", [logged(2)], at=AT)
        journal.forget("nobody")

    def test_interrupted(self, journal: SQLiteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
        """A commit that is broken off leaves nothing, here or on disk."""
        journal.append("r", [logged(1)], at=AT)
        with monkeypatch.context() as broken:

            def interrupt(*_: Any) -> None:
                raise KeyboardInterrupt

            broken.setattr("pyflow.record.sqlite.commit.Commit._index", interrupt)
            with pytest.raises(KeyboardInterrupt):
                journal.append("r", [logged(2)], at=AT)
        journal.append("r", [logged(3)], at=AT)

        assert messages(journal, "r") == ["line 1", "line 3"]
        assert journal.verify() == []


class TestAppendAll:
    def test_shares_a_commit(self, journal: SQLiteJournal) -> None:
        """What many runs have to record is one commit, each with its own chain."""
        batches = [Batch(f"r{n}", [started("eu"), logged(n)], AT) for n in range(5)]

        answers = journal.append_all(batches)

        assert commits(journal) == [1] * 10
        for n, answer in enumerate(answers):
            assert answer == journal.read(f"r{n}")
            verify_chain(journal.read(f"r{n}"))

    def test_fails_alone(self, journal: SQLiteJournal) -> None:
        """A batch that cannot be written leaves no trace; the others do not notice."""
        batches = [
            Batch("a", [logged(1)], AT),
            Batch("b", [logged(1), HOPELESS], AT),
            Batch("c", [logged(1)], AT),
            Batch("d", [logged(1)], AT.replace(tzinfo=None)),
            Batch("e", [logged(1)], AT, [Lease(RESOURCE, "e", 1)]),
            Batch("f", [], AT),
            Batch("g", [logged(1)], AT),
        ]

        answers = journal.append_all(batches)

        assert [type(answer) for answer in answers] == [
            list, JournalError, list, JournalError, LockLost, list, list,
        ]  # fmt: skip
        assert journal.runs() == ["a", "c", "g"]
        assert journal.verify() == []

    def test_order_within_a_run(self, journal: SQLiteJournal) -> None:
        """Batches of one run follow one another; after one that fails, none is written."""
        answers = journal.append_all(
            [
                Batch("a", [logged(1)], AT),
                Batch("b", [logged(1)], AT),
                Batch("a", [HOPELESS], AT),
                Batch("b", [logged(2)], AT),
                Batch("a", [logged(3)], AT),
            ]
        )

        assert [isinstance(answer, JournalError) for answer in answers] == [0, 0, 1, 0, 1]
        assert answers[2] is answers[4]
        assert (messages(journal, "a"), messages(journal, "b")) == (
            ["line 1"],
            ["line 1", "line 2"],
        )
        journal.append("a", [logged(4)], at=AT)
        assert messages(journal, "a") == ["line 1", "line 4"]

    def test_none_can_be_written(self, journal: SQLiteJournal) -> None:
        """Where every batch fails, there is no commit."""
        (answer,) = journal.append_all([Batch("a", [HOPELESS], AT)])

        assert isinstance(answer, JournalError)
        assert read_head(Path(f"{journal.database.path}.head")).tip == START  # type: ignore[union-attr]

    def test_the_commit_fails(self, journal: SQLiteJournal) -> None:
        """Where the commit itself fails, nothing of any batch is there."""
        journal.append("a", [logged(1)], at=AT)
        journal.database.reading("PRAGMA max_page_count = 1")
        big = ev.Logged("a", "x" * 100_000)

        with pytest.raises(JournalError, match="SQLITE_FULL"):
            journal.append_all([Batch("a", [logged(2)], AT), Batch("b", [big], AT)])

        journal.database.reading("PRAGMA max_page_count = 1000000")
        journal.append("a", [logged(3)], at=AT)
        assert messages(journal, "a") == ["line 1", "line 3"]
        assert journal.verify() == []


class TestTwoProcesses:
    def test_each_its_own_run(self, path: Path, journal: SQLiteJournal) -> None:
        """Two may write runs of their own in turn, and the whole is one chain."""
        with SQLiteJournal(path) as other:
            for n in range(5):
                journal.append("mine", [logged(n)], at=AT)
                other.append("theirs", [logged(n)], at=AT)

            assert journal.runs() == other.runs() == ["mine", "theirs"]
            assert messages(journal, "theirs") == messages(other, "mine")
        assert journal.verify() == []

    def test_continued_elsewhere(self, path: Path, journal: SQLiteJournal) -> None:
        """Who has not seen what another process added to a run adds nothing, until it has."""
        journal.append("r", [logged(1)], at=AT)
        journal.append("s", [logged(1)], at=AT)
        with SQLiteJournal(path) as other:
            other.append("r", [logged(2)], at=AT)

        refused = pytest.raises(
            JournalError,
            match=r"run 'r' was continued by another process: it ends at record 2 now, and this one "
            "knows it up to record 1",
        )
        with refused:
            journal.append("r", [logged(3)], at=AT)
        journal.append("s", [logged(2)], at=AT)
        with refused:
            journal.append("r", [logged(3)], at=AT)
        journal.read("r", after=1)
        journal.last("r")
        with refused:
            journal.append("r", [logged(3)], at=AT)

        assert messages(journal, "r") == ["line 1", "line 2"]
        journal.append("r", [logged(3)], at=AT)
        assert messages(journal, "r") == ["line 1", "line 2", "line 3"]
        assert journal.verify() == []

    def test_continues_what_it_read(self, path: Path, journal: SQLiteJournal) -> None:
        """Of two who have read a run, the one who writes first goes on with it."""
        journal.append("r", [logged(1)], at=AT)
        with SQLiteJournal(path) as one, SQLiteJournal(path) as other:
            one.read("r")
            other.read("r")
            one.append("r", [logged(2)], at=AT)

            with pytest.raises(JournalError, match="was continued by another process"):
                other.append("r", [logged(3)], at=AT)

    def test_at_once(self, path: Path) -> None:
        """Processes that write at the same time lose nothing and break nothing."""
        code = """if True:
            import sys
            from pyflow.record.sqlite.journal import SQLiteJournal
            from support.journals import logged
            from support.trails import AT
            sys.stdin.readline()
            with SQLiteJournal(sys.argv[1]) as journal:
                for n in range(40):
                    journal.append(sys.argv[2], [logged(n)], at=AT)
        """
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(path), name],
                stdin=subprocess.PIPE,
                env=environment(),
            )
            for name in ("a", "b", "c")
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.close()

        assert [process.wait() for process in processes] == [0, 0, 0]
        with SQLiteJournal(path) as journal:
            assert {name: len(journal.read(name)) for name in journal.runs()} == {
                "a": 40,
                "b": 40,
                "c": 40,
            }
            assert (journal.notes, journal.verify()) == ((), [])

    def test_changed(self, path: Path, journal: SQLiteJournal) -> None:
        """Whoever asks learns once that somebody else has written, and nothing of their own."""
        journal.append("r", [logged(1)], at=AT)
        assert not journal.changed()
        with SQLiteJournal(path) as other:
            other.put("r", "pause", at=AT)

            assert journal.changed()
            assert not journal.changed()

    def test_exchanged(self, path: Path, journal: SQLiteJournal) -> None:
        """A journal that lost its end while it was open is not written to."""
        for n in range(3):
            journal.append("r", [logged(n)], at=AT)
        tamper(path, "DELETE FROM records WHERE n = 3")

        with pytest.raises(JournalError, match="ends at record 2, and had 3 when this process"):
            journal.append("r", [logged(4)], at=AT)


def take(database: Database, run_id: str, epoch: int, owner: str | None = "me") -> Lease:
    """Have *run_id* hold the lock, as whoever takes locks would."""
    with database.writing() as cursor:
        cursor.execute(
            "REPLACE INTO locks (resource, epoch, run_id, owner, since, host, pid) "
            "VALUES (?, ?, ?, ?, ?, 'h', 1)",
            (RESOURCE, epoch, run_id, owner, AT.isoformat()),
        )
    return Lease(RESOURCE, run_id, epoch)


class TestFences:
    def test_held(self, journal: SQLiteJournal) -> None:
        """Whoever holds its locks may write."""
        lease = take(journal.database, "r", 1)

        journal.append("r", [logged(1)], at=AT, fences=[lease])

        assert messages(journal, "r") == ["line 1"]

    def test_lost(self, path: Path, journal: SQLiteJournal) -> None:
        """Whoever has lost one writes nothing, however it was lost."""
        lease = take(journal.database, "r", 1)
        journal.append("r", [logged(1)], at=AT, fences=[lease])
        with Database(path) as other:
            for run_id, epoch, owner in (("s", 2, "me"), ("r", 3, "me"), ("r", 1, None)):
                take(other, run_id, epoch, owner)
                with pytest.raises(LockLost, match="nothing was written"):
                    journal.append("r", [logged(2)], at=AT, fences=[lease])
                (answer,) = journal.append_all([Batch("r", [logged(2)], AT, [lease])])
                assert isinstance(answer, LockLost)

        assert messages(journal, "r") == ["line 1"]
        assert journal.verify() == []

    def test_more_than_one_statement_can_ask_for(self, journal: SQLiteJournal) -> None:
        """However many there are, all are asked for, with each commit."""
        lease = take(journal.database, "r", 1)
        many = [lease] * 1_100
        journal.append("r", [logged(1)], at=AT, fences=many)

        journal.append("r", [logged(2)], at=AT, fences=many)

        assert messages(journal, "r") == ["line 1", "line 2"]
        with pytest.raises(LockLost, match="nothing was written"):
            journal.append("r", [logged(3)], at=AT, fences=[*many, Lease(RESOURCE, "r", 2)])


class TestRead:
    def test_after(self, journal: SQLiteJournal) -> None:
        """What is left out is checked all the same, as far as it is needed."""
        journal.append("r", EVENTS[:5], at=AT)
        journal.append("s", EVENTS[:2], at=AT)

        for after in range(-1, 8):
            assert [record.seq for record in journal.read("r", after=after)] == list(
                range(max(after, 0) + 1, 6)
            )

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("UPDATE records SET line = replace(line, 'line 2', 'line 7')", "record 2 .* changed"),
            ("UPDATE records SET line = substr(line, 2)", "not a record"),
            ("DELETE FROM records WHERE seq = 2", "record 2 .* has number 3: records are missing"),
            ("DELETE FROM records WHERE seq = 4", "has 4 records by the index .* ends at number 3"),
            ("DELETE FROM records", "has 4 records by the index of runs, but .* ends at number 0"),
            ("DELETE FROM runs", "has records, but is not in the index of runs"),
            ("UPDATE runs SET records = 3", "has 3 records by the index .* ends at number 4"),
            (
                "UPDATE records SET seq = CASE seq WHEN 2 THEN 9 ELSE seq END",
                "has number 3: records are missing",
            ),
        ],
    )
    def test_damaged(self, path: Path, journal: SQLiteJournal, sql: str, message: str) -> None:
        """A run that is not whole and as it was written is not handed out."""
        for n in range(4):
            journal.append("r", [logged(n + 1)], at=AT)
        tamper(path, sql)

        with pytest.raises(JournalError, match=message):
            journal.read("r")

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE records SET line = replace(line, 'line 4', 'line 7')",
            "UPDATE records SET line = CAST(x'7bff7d' AS TEXT)",
            "DELETE FROM records WHERE seq = 4",
            "DELETE FROM runs",
            "UPDATE records SET run_id = 's' WHERE seq = 4",
        ],
    )
    def test_last(self, path: Path, journal: SQLiteJournal, sql: str) -> None:
        """The last record is checked before anything is chained to it."""
        for n in range(4):
            journal.append("r", [logged(n + 1)], at=AT)
        assert journal.last("r") == journal.read("r")[-1]
        tamper(path, sql)

        with pytest.raises(JournalError):
            journal.last("r")
        with SQLiteJournal(path, accept_loss=True) as other, pytest.raises(JournalError):
            other.append("r", [logged(5)], at=AT)

    @pytest.mark.parametrize("count", ["'many'", "7.5", "-1", "x'ff'"])
    def test_a_count_that_is_none(self, path: Path, journal: SQLiteJournal, count: str) -> None:
        """Where damage has made something else of a number, that is said, and nothing is raised."""
        journal.append("r", EVENTS, at=AT)
        tamper(path, f"UPDATE runs SET records = {count}")

        for after in (0, 1):
            with pytest.raises(TamperedJournal, match="index of runs"):
                journal.read("r", after=after)
        with pytest.raises(TamperedJournal, match="index of runs"):
            journal.last("r")

    def test_names_the_record(self, path: Path, journal: SQLiteJournal) -> None:
        """The error says which record of which run it is about."""
        journal.append("r", [logged(1), logged(2)], at=AT)
        tamper(path, "UPDATE records SET line = replace(line, 'line 2', 'line 7')")

        for use in (journal.read, journal.last):
            with pytest.raises(TamperedJournal) as caught:
                use("r")
            assert (caught.value.run_id, caught.value.seq) == ("r", 2)

    def test_no_entry(self, path: Path, journal: SQLiteJournal) -> None:
        """A run that has gone from the index of runs is not written to."""
        journal.append("r", [logged(1)], at=AT)
        tamper(path, "DELETE FROM runs")

        with pytest.raises(TamperedJournal, match="is not in the index of runs"):
            journal.append("r", [logged(2)], at=AT)

    def test_in_the_way(self, path: Path, journal: SQLiteJournal) -> None:
        """Where something stands in the place of a new record, it is not written over."""
        journal.append("r", [logged(1)], at=AT)
        tamper(path, "INSERT INTO records VALUES (0, 'r', 2, 1, 'x', 'y')")

        with pytest.raises(JournalError, match="stand where new ones belong"):
            journal.append("r", [logged(2)], at=AT)
        (answer,) = journal.append_all([Batch("r", [logged(2)], AT)])
        assert isinstance(answer, JournalError)


class TestLatest:
    def fill(self, journal: SQLiteJournal) -> list[str]:
        """Have five runs with ledgers and gaps among them; return their ids in order."""
        runs = ["e", "d", "a", "c", "b"]
        for run_id in runs:
            journal.append(run_id, [started(run_id)], at=AT)
            journal.append(ledger_of(run_id), [ev.NotificationsOpened(["x"])], at=AT)
        journal.append("e", [logged(1)], at=AT)
        return runs

    @pytest.mark.parametrize("count", range(7))
    def test_in_order(self, journal: SQLiteJournal, count: int) -> None:
        """Those that began last come in the order in which they began, ledgers left out."""
        runs = self.fill(journal)

        assert journal.latest(count) == runs[max(0, len(runs) - count) :]
        assert latest_runs(MemoryJournal(), count) == []

    def test_after_a_cut(self, path: Path, journal: SQLiteJournal) -> None:
        """Runs that are gone, and numbers of rows that changed, put nothing out of order."""
        self.fill(journal)
        tamper(path, "DELETE FROM runs WHERE run_id IN ('b', 'b.notices', 'd')")
        journal.compact()
        journal.append("0", [started("0")], at=AT)

        assert journal.latest(3) == ["a", "c", "0"]
        assert journal.latest(9) == journal.runs() == ["e", "a", "c", "0"]

    def test_walks_from_the_end(self, journal: SQLiteJournal) -> None:
        """The rows of the index are not sorted to find the last ones."""
        plan = journal.database.reading(f"EXPLAIN QUERY PLAN {LATEST}")

        assert [step for *_, step in plan] == ["SCAN runs"]

    def test_unfinished(self, journal: SQLiteJournal) -> None:
        """Those that have ended are left out, and so are ledgers."""
        self.fill(journal)
        for run_id in ("d", "c"):
            journal.append(run_id, [ev.RunFinished("cancelled", 2)], at=AT)

        assert journal.unfinished() == ["e", "a", "b"]

    @pytest.mark.parametrize("status", ["x'00'", "'x'", "''"])
    def test_damaged_status(self, path: Path, journal: SQLiteJournal, status: str) -> None:
        """A run whose status cannot be true counts as one that may not have ended."""
        self.fill(journal)
        journal.append("a", [ev.RunFinished("cancelled", 2)], at=AT)
        tamper(path, f"UPDATE runs SET status = {status} WHERE run_id = 'a'")

        assert journal.unfinished() == ["e", "d", "a", "c", "b"]


class TestInbox:
    def test_taken_up(self, path: Path, journal: SQLiteJournal) -> None:
        """What another process asks is pending until an event that names it is in the record."""
        journal.append("r", [started("eu")], at=AT)
        with SQLiteJournal(path) as other:
            first = other.put("r", "skip", at=AT, task="a", by="ann", reason="why not")
            second = other.put("r", "cancel", at=AT + timedelta(seconds=1))
        message, later = journal.pending("r")
        assert (message.id, message.command, message.task, message.by, message.reason) == (
            first, "skip", "a", "ann", "why not",
        )  # fmt: skip
        assert (later.id, later.task, later.at) == (second, None, AT + timedelta(seconds=1))

        journal.append("r", [logged(1), received(first)], at=AT)

        assert [message.id for message in journal.pending("r")] == [second]
        taken = journal.database.reading("SELECT id, taken FROM inbox ORDER BY id")
        assert taken == [(int(first), 3), (int(second), None)]

    def test_once(self, journal: SQLiteJournal) -> None:
        """A message is taken up once, by the run that it is for; otherwise nothing is written."""
        journal.append("r", [started("eu")], at=AT)
        journal.append("s", [started("us")], at=AT)
        inbox_id = journal.put("r", "cancel", at=AT)
        for run_id, named in (("s", inbox_id), ("r", "99"), ("r", "x"), ("r", "²"), ("r", "")):
            with pytest.raises(JournalError, match="is not pending for run"):
                journal.append(run_id, [received(named)], at=AT)
        journal.append("r", [received(inbox_id)], at=AT)

        with pytest.raises(JournalError, match="it was taken up before"):
            journal.append("r", [received(inbox_id)], at=AT)
        assert (len(journal.read("r")), len(journal.read("s"))) == (2, 1)

    def test_fails_with_its_batch(self, journal: SQLiteJournal) -> None:
        """A message whose event is not written stays pending."""
        journal.append("r", [started("eu")], at=AT)
        inbox_id = journal.put("r", "cancel", at=AT)

        answers = journal.append_all(
            [Batch("r", [received(inbox_id), received(inbox_id)], AT), Batch("s", [logged(1)], AT)]
        )

        assert isinstance(answers[0], JournalError)
        assert [message.id for message in journal.pending()] == [inbox_id]
        assert journal.runs() == ["r", "s"]

    def test_of_all_runs(self, journal: SQLiteJournal) -> None:
        """What is pending can be asked for one run or for all, in the order of asking."""
        for run_id in ("r", "s"):
            journal.append(run_id, [started("eu")], at=AT)
        asked = [journal.put(run_id, "pause", at=AT) for run_id in ("s", "r", "s")]

        assert [message.id for message in journal.pending()] == asked
        assert [message.id for message in journal.pending("s")] == [asked[0], asked[2]]
        assert journal.pending("t") == []

    def test_data(self, journal: SQLiteJournal) -> None:
        """What there is to say besides comes out as it was put in."""
        journal.append("r", [started("eu")], at=AT)
        data: Any = {"answer": "approve", "n": [1, None, "é"]}
        journal.put("r", "answer", at=AT, data=data)

        assert journal.pending("r")[0].data == data

    def test_refuses(self, journal: SQLiteJournal) -> None:
        """A message for nobody, or without a time zone, is not taken in."""
        journal.append("r", [started("eu")], at=AT)

        with pytest.raises(JournalError, match="no run 't' is in this journal"):
            journal.put("t", "cancel", at=AT)
        with pytest.raises(JournalError, match="has no time zone"):
            journal.put("r", "cancel", at=datetime(2026, 1, 2))  # noqa: DTZ001
        for data in (object(), float("nan"), {1: {2}}):
            with pytest.raises(JournalError, match="is not JSON data"):
                journal.put("r", "cancel", at=AT, data=data)  # type: ignore[arg-type]
        assert journal.pending() == []


def received(inbox_id: str) -> ev.Event:
    """Return the event that takes a message up."""
    return ev.CommandReceived("cancel", True, inbox_id=inbox_id)


class TestClosing:
    def test_its_own(self, path: Path) -> None:
        """A journal closes what it has opened, and leaves open what it was given."""
        with Database(path) as database:
            SQLiteJournal(database).close()
            with SQLiteJournal(database) as journal:
                journal.append("r", [logged(1)], at=AT)
            assert database.reading("SELECT count(*) FROM records") == [(1,)]
        with SQLiteJournal(path) as journal:
            assert repr(journal) == f"<SQLiteJournal '{path}'>"

        with pytest.raises(JournalError, match="is closed"):
            journal.runs()
        with pytest.raises(JournalError, match="is closed"):
            journal.append("r", [logged(2)], at=AT)

    def test_a_copy(self, path: Path, tmp_path: Path) -> None:
        """A closed journal is two files, and a copy of both is the same journal."""
        fill(path)
        (tmp_path / "copy").mkdir()
        for name in ("j.db", "j.db.head"):
            (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())

        assert records_of(tmp_path / "copy" / "j.db") == records_of(path)

    def test_settings_of_others(self, path: Path) -> None:
        """One who reads with SQLite's own tools disturbs nobody."""
        with SQLiteJournal(path) as journal:
            journal.append("r", [logged(1)], at=AT)
            connection = sqlite3.connect(path)
            connection.execute("SELECT * FROM records").fetchall()
            journal.append("r", [logged(2)], at=AT)
            connection.close()
            journal.append("r", [logged(3)], at=AT)

        assert len(records_of(path)["r"]) == 3
