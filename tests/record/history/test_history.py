"""Runs are found by everything that can be asked of them, and what is found is what the records say."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.errors import JournalError, JournalIntegrityError, TamperedJournal
from pyflow.record import events as ev
from pyflow.record.history.index import index_path
from pyflow.record.history.lookup import History
from pyflow.record.sqlite.journal import SQLiteJournal
from support.journals import tamper

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
WORKFLOWS = ("release", "rollout")
PLACES = ("production", "staging", None)
ENDS = ("succeeded", "rolled_back", None)


def events_of(number: int) -> list[ev.Event]:
    """Return what happens in run *number*."""
    place, end = PLACES[number % 3], ENDS[number // 3 % 3]
    events: list[ev.Event] = [
        ev.RunStarted(
            WORKFLOWS[number % 2],
            "f1",
            {"version": f"2.{number}", "service": "shop" if number % 4 else "cart"},
            {"id": "ada" if number % 5 else "bob", "source": "given"},
            {"host": "ci-7", "ci": {"commit": f"c{number}"}},
            {"deploy": "d"},
            environment={"name": place} if place else None,
        ),
        ev.TaskStarted("deploy", 1, "no dependencies"),
        ev.ChangeRecorded("deploy", f"lb/{number % 2}", number, number + 1),
        ev.Logged("deploy", f"number {number} was_here", {"colour": "blue"}),
    ]
    if number % 7 == 0:
        events.append(ev.ApprovalAnswered("go", "approve", "x", by="grace"))
    if end == "rolled_back":
        events.append(ev.AttemptFailed("deploy", 1, ev.ErrorInfo("OSError", "reset by peer"), 1.0))
    if end is not None:
        events.append(ev.RunFinished(end, len(events) + 1))
    else:
        events.append(ev.RunPaused("lunch"))
    return events


def fill(path: Path, runs: range) -> None:
    """Write *runs*, an hour apart."""
    with SQLiteJournal(path) as journal:
        for number in runs:
            at = BEGAN + timedelta(hours=number)
            journal.append(f"r{number}", events_of(number), at=at)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of forty runs that nobody changes."""
    path = tmp_path_factory.mktemp("history") / "j.db"
    fill(path, range(40))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small journal to change."""
    fill(tmp_path / "j.db", range(3))
    return tmp_path / "j.db"


def ids(history: History, **conditions: Any) -> list[str]:
    """Return the ids of the runs that fit."""
    return [run.run_id for run in history.runs(**conditions)]


FACTS: dict[str, tuple[Any, Any]] = {
    "workflow": ("rollout", lambda n: n % 2 == 1),
    "environment": ("production", lambda n: n % 3 == 0),
    "service": ("cart", lambda n: n % 4 == 0),
    "version": ("2.12", lambda n: n == 12),
    "task": ("deploy", lambda n: True),
    "initiator": ("bob", lambda n: n % 5 == 0),
    "approver": ("grace", lambda n: n % 7 == 0),
    "status": ("rolled_back", lambda n: n // 3 % 3 == 1),
    "change": ("lb/1", lambda n: n % 2 == 1),
    "commit": ("c9", lambda n: n == 9),
    "text": ("reset peer", lambda n: n // 3 % 3 == 1),
    "since": (BEGAN + timedelta(hours=10), lambda n: n >= 10),
    "until": (BEGAN + timedelta(hours=30), lambda n: n < 30),
}


class TestRuns:
    @pytest.mark.parametrize(("one", "other"), [*product(FACTS, FACTS)])
    def test_fit_every_condition(self, journal: Path, one: str, other: str) -> None:
        """Any two conditions find just the runs that fit both, the newest first."""
        conditions = {name: FACTS[name][0] for name in (one, other)}
        expected = [n for n in range(39, -1, -1) if FACTS[one][1](n) and FACTS[other][1](n)]

        with pyflow.history(journal) as history:
            assert ids(history, **conditions) == [f"r{n}" for n in expected]
            assert history.count(**conditions) == len(expected)
            assert ids(history, **conditions, limit=2) == [f"r{n}" for n in expected[:2]]

    def test_come_in_pages(self, journal: Path) -> None:
        """The next page begins after the last run of the one before."""
        with pyflow.history(journal) as history:
            pages: list[list[str]] = []
            before = None
            while page := list(history.runs(limit=15, before=before)):
                pages.append([run.run_id for run in page])
                before = page[-1].number

        assert [len(page) for page in pages] == [15, 15, 10]
        assert [run for page in pages for run in page] == [f"r{n}" for n in range(39, -1, -1)]

    @pytest.mark.parametrize(
        "conditions",
        [{}, {"environment": "production", "initiator": "ada"}, {"text": "reset"}, {"limit": 3}],
    )
    def test_come_in_either_order(self, journal: Path, conditions: dict[str, Any]) -> None:
        """Asked for the oldest first, the same runs come the other way round, and so do trails."""
        with pyflow.history(journal) as history:
            newest = ids(history, **conditions)
            oldest = ids(history, oldest_first=True, **conditions)
            trails = [trail[0].run_id for trail in history.trails(**conditions)]

        assert oldest == trails
        if "limit" in conditions:
            assert oldest == ["r0", "r1", "r2"]
        else:
            assert oldest == newest[::-1] != []

    def test_are_told_as_they_stand(self, journal: Path) -> None:
        """A run says where it ran, how it stands, and what went wrong."""
        with pyflow.history(journal) as history:
            over, open_ = history.run("r4"), history.run("r6")

        assert (over.status, over.error, over.environment) == (
            "rolled_back",
            "deploy: OSError: reset by peer",
            "staging",
        )
        assert over.duration_s == 0.0
        assert "rolled_back" in str(over)
        assert (open_.status, open_.ended, open_.duration_s) == ("paused", None, None)
        assert "  -" in str(open_)

    @pytest.mark.parametrize("text", ["blu*", "blu", "NUMBER 17", "was", "HER*", "héllo"])
    def test_are_found_by_words(self, journal: Path, text: str) -> None:
        """Words are found in any case, whole or begun; what nobody said is not."""
        with pyflow.history(journal) as history:
            found = history.count(text=text)

        assert found == {"NUMBER 17": 2, "héllo": 0, "blu": 0}.get(text, 40)

    @pytest.mark.parametrize(
        ("conditions", "sentence"),
        [
            ({"enviroment": "x"}, "did you mean 'environment'?"),
            ({"since": BEGAN.replace(tzinfo=None)}, "has no time zone"),
            ({"text": "*"}, "has no word in it"),
        ],
    )
    def test_refuse(self, journal: Path, conditions: dict[str, Any], sentence: str) -> None:
        """A condition that makes no sense is refused, not taken for one that nothing fits."""
        with (
            pyflow.history(journal) as history,
            pytest.raises(JournalError, match=sentence.replace("?", "\\?")),
        ):
            list(history.runs(**conditions))

    def test_name_the_nearest(self, journal: Path) -> None:
        """A run that is not there is refused, with the nearest."""
        with pyflow.history(journal) as history:
            assert history.has("r7")
            for ask in (history.run, history.trail, history.compliance):
                with pytest.raises(
                    JournalError, match="no run 'r77' is in the journal; did you mean"
                ):
                    ask("r77")


class TestAsking:
    def test_last_good(self, journal: Path) -> None:
        """The last run that succeeded with a service in an environment."""
        with pyflow.history(journal) as history:
            good = history.last_good("shop", "production")
            assert good is not None
            assert good.run_id == "r27"
            assert history.last_good("shop", "moon") is None

    def test_changes(self, journal: Path) -> None:
        """What was changed in an environment between two instants, oldest first."""
        since, until = BEGAN + timedelta(hours=3), BEGAN + timedelta(hours=9)
        with pyflow.history(journal) as history:
            some = list(history.changes("production", since, until))
            every = list(history.changes())

        assert [(c.run_id, c.resource, c.before, c.after) for c in some] == [
            ("r3", "lb/1", 3, 4),
            ("r6", "lb/0", 6, 7),
        ]
        assert len(every) == 40
        assert "lb/1: 3 -> 4" in str(some[0])

    def test_diff(self, journal: Path) -> None:
        """What differs between two runs, and that nothing does between one and itself."""
        with pyflow.history(journal) as history:
            diff = history.diff("r3", "r1")
            same = history.diff("r3", "r3")

        names = [one.what for one in diff.differences]
        assert names[:3] == ["environment", "commit", "params.version"]
        assert "task deploy" in names
        assert "environment: production -> staging" in str(diff)
        assert not same
        assert "nothing differs" in str(same)

    def test_trail(self, journal: Path) -> None:
        """The trail is read from the journal, and checked."""
        with pyflow.history(journal) as history:
            assert history.trail("r0").outcome == "succeeded"


class TestIndex:
    def test_is_brought_up_to_date(self, path: Path) -> None:
        """What has happened since is taken in, a run that goes on too."""
        with pyflow.history(path) as history:
            assert ids(history) == ["r2", "r1", "r0"]
            with SQLiteJournal(path) as journal:
                journal.append("r9", events_of(6), at=BEGAN)
                journal.append("r9", [ev.RunUnpaused()], at=BEGAN)
                journal.append("r9", [ev.RunFinished("failed", 7)], at=BEGAN)
            history.refresh()
            assert ids(history, status="failed") == ["r9"]
            assert ids(history, status="paused") == []
            assert history.run("r9").records == 7

    def test_follows_a_run_from_one_look_to_the_next(self, path: Path) -> None:
        """The status that a run had is forgotten when it has another."""
        with SQLiteJournal(path) as journal, pyflow.history(path) as history:
            journal.append("r9", events_of(6), at=BEGAN)
            history.refresh()
            assert ids(history, status="paused") == ["r9"]
            journal.append("r9", [ev.RunUnpaused()], at=BEGAN)
            history.refresh()
            assert ids(history, status="running") == ["r9"]
            journal.append("r9", [ev.RunFinished("succeeded", 7)], at=BEGAN)
            history.refresh()
            assert (ids(history, status="running"), history.run("r9").status) == ([], "succeeded")

    def test_is_made_in_batches(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Few records at a time give the same, and tell how far they are."""
        from pyflow.record.history import index

        monkeypatch.setattr(index, "BATCH", 4)
        told: list[tuple[int, int]] = []
        with pyflow.history(path, told=lambda n, end: told.append((n, end))) as history:
            assert [(run.run_id, run.records, run.status) for run in history.runs()] == [
                ("r2", 5, "succeeded"),
                ("r1", 5, "succeeded"),
                ("r0", 6, "succeeded"),
            ]
        assert told == [(4, 16), (8, 16), (12, 16), (16, 16)]

    def test_is_thrown_away_where_it_is_damaged(self, path: Path) -> None:
        """An index that cannot be read is made anew."""
        with pyflow.history(path):
            pass
        index_path(path).write_bytes(b"not a database, whatever it says" * 100)

        with pyflow.history(path) as history:
            assert history.count() == 3

    def test_of_another_journal_is_made_anew(self, path: Path, tmp_path: Path) -> None:
        """An index that belongs to another journal, or another past, is not believed."""
        (tmp_path / "other").mkdir()
        other = tmp_path / "other" / "j.db"
        fill(other, range(5, 7))
        with pyflow.history(other):
            pass
        with pyflow.history(path):
            pass
        index_path(other).replace(index_path(path))

        with pyflow.history(path) as history:
            assert ids(history) == ["r2", "r1", "r0"]
            assert history.count(text="number") == 3

    def test_is_needed_nowhere_beside_the_journal(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where no file can be written, the index goes with the process."""
        (path.parent / "j.db.index").mkdir()

        with pyflow.history(path) as history:
            assert history.count(service="cart") == 1

    def test_without_full_text(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An SQLite without FTS5 finds by everything else, and says what it cannot."""
        from pyflow.record.history import index

        monkeypatch.setattr(index, "WORDS", "CREATE VIRTUAL TABLE words USING no_such_module (a)")

        with pyflow.history(path) as history:
            assert history.count(service="cart") == 1
            with pytest.raises(JournalError, match="was built without FTS5"):
                history.runs(text="number")
            with pytest.raises(JournalError, match="was built without FTS5"):
                history.count(text="number")

    def test_is_for_its_owner_alone(self, path: Path) -> None:
        """What it holds is as private as the journal: others may not read it."""
        with pyflow.history(path) as history:
            history.count()
            modes = {p.name: p.stat().st_mode & 0o777 for p in path.parent.glob("j.db.index*")}

        assert set(modes.values()) == {0o600}
        assert "j.db.index" in modes

    def test_leaves_notices_out(self, path: Path) -> None:
        """What was told about a run is a chain of its own, and no run."""
        with SQLiteJournal(path) as journal:
            journal.append("r0.notices", [ev.NotificationsOpened(["chat"])], at=BEGAN)

        with pyflow.history(path) as history:
            assert history.count() == 3

    def test_passes_over_what_is_damaged(self, path: Path) -> None:
        """A record that cannot be read is passed over, and its trail is refused."""
        tamper(path, "UPDATE records SET line = replace(line, '{\"at\"', '[\"at\"') WHERE n = 3")

        with pyflow.history(path) as history:
            assert history.count() == 3
            with pytest.raises(JournalError):
                history.trail("r0")


class TestOpening:
    def test_needs_a_journal(self, tmp_path: Path) -> None:
        """There has to be one, and nothing is made."""
        with pytest.raises(JournalError, match="there is no journal"):
            pyflow.history(tmp_path / "j.db")
        (tmp_path / "x.db").write_bytes(b"x" * 4096)
        with pytest.raises(JournalError):
            pyflow.history(tmp_path / "x.db")

        assert [path.name for path in tmp_path.iterdir()] == ["x.db"]

    def test_refuses_what_is_not_what_it_was(self, path: Path) -> None:
        """A journal that is behind its head is refused."""
        tamper(path, "DELETE FROM records WHERE n > 10")

        with pytest.raises(JournalIntegrityError, match="ends at record 10"):
            pyflow.history(path)

    def test_changes_nothing(self, path: Path) -> None:
        """The journal is the same, byte for byte."""
        before = path.read_bytes()
        with pyflow.history(path) as history:
            list(history.runs())
            assert "j.db" in repr(history)

        assert path.read_bytes() == before

    def test_tells_of_a_changed_record(self, path: Path) -> None:
        """A trail that was tampered with is not given out."""
        tamper(path, "UPDATE records SET line = replace(line, 'was_here', 'was_hera') WHERE n = 4")

        with pyflow.history(path) as history, pytest.raises(TamperedJournal):
            history.trail("r0")

    def test_tells_of_a_broken_file(self, path: Path) -> None:
        """Tables that are gone are an error that says so."""
        with pyflow.history(path) as history:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("DROP TABLE records")
            with pytest.raises(JournalError, match="indexing"):
                history.refresh()
            with pytest.raises(JournalError, match="reading"):
                history.trail("r0")
