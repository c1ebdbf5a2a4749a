"""Runs leave a journal for an archive: nothing is lost, nothing is left unproven, and not too much goes."""

from __future__ import annotations

import gzip
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.errors import DefinitionError, JournalError, JournalIntegrityError
from pyflow.record import events as ev
from pyflow.record.archive import Archive, Moved, archive_runs, verify_archive
from pyflow.record.archive.files import Writer
from pyflow.record.evidence import Anchor, anchor_journal, anchor_trail, verify_journal
from pyflow.record.ledger import ledger_of
from pyflow.record.sqlite.head import PLACES, SLOT_BYTES, decode_slot
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.opening import head_path
from support.journals import image_of, tamper

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEGAN + timedelta(days=400)


def events_of(
    *,
    end: str | None = "succeeded",
    service: str = "",
    place: str | None = "production",
    workflow: str = "release",
    lock: str = "",
    residue: Sequence[str] = (),
) -> list[ev.Event]:
    """Return what happens in a run."""
    events: list[ev.Event] = [
        ev.RunStarted(
            workflow,
            "f1",
            {"service": service} if service else {},
            {"id": "ada", "source": "given"},
            {"host": "ci-7"},
            {"deploy": "d"},
            environment={"name": place} if place else None,
        ),
    ]
    if lock:
        events.append(ev.LockAcquired(lock, 1))
    events.append(ev.TaskStarted("deploy", 1, "no dependencies"))
    if end is not None:
        events.append(ev.OutcomeDecided(end, "because", residue=list(residue) or None))
        events.append(ev.RunFinished(end, len(events) + 1))
    return events


def add(path: Path, **runs: dict[str, Any]) -> None:
    """Add *runs* to the journal at *path*, each so many ``days`` after the first."""
    with SQLiteJournal(path) as journal:
        for run_id, about in runs.items():
            at = BEGAN + timedelta(days=about.get("days", 0))
            options = {name: value for name, value in about.items() if name != "days"}
            journal.append(run_id, events_of(**options), at=at)


END: dict[str, Any] = {"days": 399.9}
"""A run of today, with which the journal ends."""


def move(path: Path, **options: Any) -> Moved:
    """Archive what *options* say, beside the journal."""
    options = {"older_than": "1d"} | options
    return archive_runs(path, path.parent / "archives", at=NOW, by="ada", **options)


def ids(path: Path) -> list[str]:
    """Return the runs that are in the journal at *path*."""
    with SQLiteJournal(path) as journal:
        return list(journal.runs())


def content(path: Path) -> list[Any]:
    """Return everything that the journal at *path* holds."""
    with closing(sqlite3.connect(path)) as connection:
        tables = ("records", "runs", "inbox")
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of five runs, of which three may leave it, that nobody changes."""
    path = tmp_path_factory.mktemp("archive") / "deploys.db"
    add(path, **{f"r{number}": {"days": number} for number in range(4)})
    add(path, now={"days": 399.5, "end": "failed"})
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return image_of(template, tmp_path / "here")


class TestMoving:
    def test_leaves_what_is_not_meant(self, path: Path) -> None:
        """Old runs are in the archive, all others in the journal, and each is in one place."""
        moved = move(path)

        assert ids(path) == ["r3", "now"]
        assert Archive(moved.paths[0]).runs() == ["r0", "r1", "r2"]
        assert [kept.why for kept in moved.kept] == ["last_good"]
        assert moved.cuts[0].runs == {"r0", "r1", "r2"}

    def test_keeps_trails_as_they_were(self, path: Path) -> None:
        """The trail of a run is the same in the archive, with a chain that holds."""
        with SQLiteJournal(path) as journal:
            before = pyflow.AuditTrail(journal.read("r1"))

        moved = move(path)

        trail = Archive(moved.paths[0]).trail("r1")
        trail.verify()
        assert trail == before
        with pytest.raises(JournalError, match="did you mean 'r1'"):
            Archive(moved.paths[0]).trail("r1x")

    def test_is_recorded(self, path: Path) -> None:
        """The journal says who archived what, why, where, and under which digest."""
        moved = move(path, keep_last=1)

        with SQLiteJournal(path) as journal:
            assert journal.cuts() == list(moved.cuts)
        cut = moved.cuts[0]
        assert (cut.by, cut.records, cut.archive) == ("ada", 12, moved.paths[0].name)
        assert "ended before 2027-02-04" in cut.reason
        assert "last 1 of" in cut.reason

    def test_takes_what_was_told_along(self, path: Path) -> None:
        """The chain of a run's notices goes with the run."""
        with SQLiteJournal(path) as journal:
            journal.append(ledger_of("r0"), [ev.NotificationsOpened(["mail"])], at=BEGAN)
        add(path, later=END)

        moved = move(path)

        with SQLiteJournal(path) as journal:
            assert journal.read(ledger_of("r0")) == []
        assert verify_archive(moved.paths[0]).ok
        assert moved.cuts[0].records == 17

    def test_goes_on(self, path: Path) -> None:
        """After a cut, runs are added, others leave, and what remains is one chain."""
        move(path)
        workflow = pyflow.Workflow("release")
        workflow.add_task("deploy", lambda: None)
        with pyflow.Engine(journal=path) as engine:
            assert engine.execute(workflow).status == "succeeded"
        add(path, r9={"days": 30}, end=END)

        again = move(path)

        assert again.cuts[0].runs == {"r3", "r9"}
        found = verify_journal(path)
        assert found.ok
        assert [cut.archive for cut in found.archived] == [
            file.name for file in sorted((path.parent / "archives").iterdir())
        ]

    def test_of_nothing(self, path: Path) -> None:
        """Where no run is meant, nothing is written."""
        moved = move(path, older_than="500d")

        assert not moved
        assert moved.paths == ()
        assert list((path.parent / "archives").iterdir()) == []

    def test_is_in_parts(self, path: Path) -> None:
        """No archive has more records than it may, unless one run has."""
        moved = move(path, records_max=5)

        assert [cut.records for cut in moved.cuts] == [4, 4, 4]
        assert verify_journal(path, archives=moved.paths).ok

    def test_gives_room_back(self, path: Path) -> None:
        """With compact, the file shrinks."""
        with SQLiteJournal(path) as journal:
            long = [ev.Logged("deploy", "x" * 5000) for _ in range(100)]
            journal.append("big", [*long, ev.RunFinished("failed", 101)], at=BEGAN)
        add(path, end=END)
        before = path.stat().st_size

        moved = move(path, compact=True)

        assert moved.cuts
        assert path.stat().st_size < before / 2
        assert verify_journal(path).ok

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"older_than": None}, "nothing says what to archive"),
            ({"keep_last": -1}, "keep_last=-1"),
            ({"keep_last": True}, "keep_last=True"),
        ],
    )
    def test_refuses(self, path: Path, options: dict[str, Any], words: str) -> None:
        """What is no condition is refused before anything is read."""
        with pytest.raises(JournalError, match=words):
            move(path, **options)

    def test_refuses_places(self, path: Path, tmp_path: Path) -> None:
        """No journal, no directory and no instant are told apart."""
        with pytest.raises(JournalError, match="there is no journal"):
            move(tmp_path / "other.db")
        with pytest.raises(JournalError, match="cannot be a directory"):
            archive_runs(path, path, at=NOW, by="ada", keep_last=0)
        with pytest.raises(JournalError, match="no time zone"):
            archive_runs(path, tmp_path, at=NOW.replace(tzinfo=None), by="ada", keep_last=0)
        with pytest.raises(DefinitionError, match="not a span"):
            move(path, older_than="a year")


class TestKept:
    @pytest.mark.parametrize(
        ("run", "why"),
        [
            ({"end": None}, "unfinished"),
            ({"end": "rollback_failed", "residue": ["deploy"]}, "residue"),
            ({"end": "rollback_failed"}, "residue"),
            ({"end": "failed", "lock": "service:cart"}, "last_of_a_lock"),
            ({"service": "cart"}, "last_good"),
            ({"place": "staging"}, "last_good"),
            ({"workflow": "other"}, "last_good"),
            ({"end": "failed", "service": "cart"}, None),
        ],
    )
    def test_whatever_their_age(self, path: Path, run: dict[str, Any], why: str | None) -> None:
        """A run that somebody may need stays, and the reason is told; any other goes."""
        add(path, old={"days": -100} | run, end=END)

        moved = move(path)

        assert ("old" in ids(path)) is (why is not None)
        assert {kept.run_id: kept.why for kept in moved.kept}.get("old") == why

    def test_while_another_had_the_lock_since(self, path: Path) -> None:
        """Of those that had a lock, the last one stays."""
        old = {"days": -100, "end": "failed", "lock": "db"}
        add(path, old1=old, old2=old, end=END)

        move(path)

        assert [run for run in ids(path) if run.startswith("old")] == ["old2"]

    def test_while_a_lock_names_it(self, path: Path) -> None:
        """A run that a lock names is not touched."""
        tamper(
            path, "INSERT INTO locks VALUES ('run:r1', 1, 'r1', NULL, '2026-01-01', 'ci-7', 4711)"
        )

        moved = move(path)

        assert {kept.run_id: kept.why for kept in moved.kept} == {"r1": "held", "r3": "last_good"}

    def test_after_it_was_taken_up_again(self, path: Path) -> None:
        """A run that had ended and goes on is unfinished."""
        with SQLiteJournal(path) as journal:
            journal.append("r0", [ev.RunResumed({"id": "ada"}, {})], at=BEGAN)
        add(path, end=END)

        assert {kept.run_id: kept.why for kept in move(path).kept}["r0"] == "unfinished"

    def test_at_the_end(self, path: Path) -> None:
        """The run that the journal ends with stays: the head names its record."""
        moved = move(path, older_than="0s", keep_last=0)

        assert {kept.run_id: kept.why for kept in moved.kept} == {"r3": "last_good", "now": "end"}

    def test_where_it_cannot_be_read(self, path: Path) -> None:
        """A run whose record is damaged stays for whoever looks into it."""
        tamper(path, "UPDATE records SET line = replace(line, '\"workflow\"', 'x') WHERE n = 5")

        assert {kept.run_id: kept.why for kept in move(path).kept}["r1"] == "unreadable"

    @pytest.mark.parametrize(
        ("keep_last", "left"), [(0, ["r3"]), (1, ["r3"]), (3, ["r1", "r2", "r3"])]
    )
    def test_of_the_newest(self, path: Path, keep_last: int, left: list[str]) -> None:
        """So many of each workflow in each environment stay, counted from the newest."""
        add(path, now2=END | {"place": "staging"})

        move(path, older_than=None, keep_last=keep_last + 1 if keep_last else 0)

        assert [run for run in ids(path) if run.startswith("r")] == left


class TestCrashes:
    def test_before_the_archive_is_whole(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An archive that cannot be written leaves no file, and a journal that has everything."""
        before = content(path)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(JournalError, match="No space left"):
            move(path)
        monkeypatch.undo()

        assert content(path) == before
        assert list((path.parent / "archives").iterdir()) == []

    def test_between_archive_and_cut(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By the time of the cut the archive is whole and verified; without the cut nothing is gone."""
        before, seen = content(path), list[bool]()

        def cut(*_: Any, **__: Any) -> None:
            files = list((path.parent / "archives").iterdir())
            seen.extend(verify_archive(file).ok for file in files)
            raise KeyboardInterrupt

        monkeypatch.setattr(SQLiteJournal, "cut", cut)
        with pytest.raises(KeyboardInterrupt):
            move(path)
        monkeypatch.undo()

        assert seen == [True]
        assert content(path) == before
        assert move(path).cuts
        assert len(list((path.parent / "archives").iterdir())) == 1  # the same bytes, the same name

    @pytest.mark.parametrize("table", ["records", "runs"])
    def test_inside_the_cut(self, path: Path, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
        """What ends the cut half-way leaves all of it undone."""
        before = content(path)
        tamper(
            path,
            "CREATE TRIGGER broken BEFORE DELETE ON "
            f"{table} BEGIN SELECT RAISE(ABORT, 'pulled the plug'); END",
        )

        with pytest.raises(JournalError, match="pulled the plug"):
            move(path)

        assert content(path) == before
        assert verify_journal(path).ok

    def test_that_tear_the_head(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By the time of a cut both slots of the head name a record that stays, so one may tear."""
        add(path, s1={"end": "failed"}, s2={"end": "failed"}, end=END)
        cut, seen = SQLiteJournal.cut, list[int]()

        def noted(journal: SQLiteJournal, *args: Any, **options: Any) -> Any:
            with head_path(path).open("rb") as head:
                found = [decode_slot(_slot(head, place)) for place in PLACES]
            seen.extend(slot[1].n if slot is not None else 0 for slot in found)
            return cut(journal, *args, **options)

        monkeypatch.setattr(SQLiteJournal, "cut", noted)
        with SQLiteJournal(path) as journal:  # has one slot ahead of the other
            journal.append("s3", events_of(end="failed"), at=NOW)
            assert move(path).cuts

        assert seen == [36, 36]


def _slot(file: Any, place: int) -> bytes:
    file.seek(place)
    return file.read(SLOT_BYTES)


class TestMeanwhile:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda p: add_to(p, "r1", ev.RunResumed({"id": "ada"}, {})), "'r1' has gone on"),
            (lambda p: add_to(p, ledger_of("r1"), ev.NotificationsOpened(["m"])), "has gone on"),
            (
                lambda p: tamper(
                    p, "INSERT INTO locks VALUES ('run:r1', 1, 'r1', 'x', '2026', 'ci-7', 4711)"
                ),
                "has the lock 'run:r1'",
            ),
            (lambda p: tamper(p, "DELETE FROM records WHERE n = 6"), "not all there any more"),
        ],
        ids=["resumed", "told", "locked", "removed"],
    )
    def test_a_run_goes_on(
        self,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        change: Callable[[Path], None],
        words: str,
    ) -> None:
        """A run that somebody takes up while it is being archived stays, and all others too."""
        finish = Writer.finish

        def changed(writer: Writer) -> tuple[Path, str]:
            change(path)
            return finish(writer)

        monkeypatch.setattr(Writer, "finish", changed)
        with pytest.raises(JournalError, match=words):
            move(path)

        assert ids(path) == ["r0", "r1", "r2", "r3", "now"]


def add_to(path: Path, run_id: str, event: ev.Event) -> None:
    """Add *event* to a chain of the journal at *path*."""
    with SQLiteJournal(path) as journal:
        journal.append(run_id, [event], at=NOW)


class TestVerify:
    def test_says_what_is_archived(self, path: Path) -> None:
        """Without the archive the journal is sound, and it says up to where, in which archive."""
        moved = move(path)

        found = verify_journal(path)

        assert (found.verdict, found.records, found.archived) == ("ok", 9, moved.cuts)
        assert found.text.endswith("and 12 up to record 12 are in 1 archives")
        assert moved.cuts[0].digest in str(found)
        assert "12 records that are archived" in found.unseen[0]

    def test_reads_archives_in_place(self, path: Path) -> None:
        """With its archive the whole chain is verified, and nothing is left to say of it."""
        anchors = [anchor_journal(path, at=NOW)]
        moved = move(path)

        found = verify_journal(path, archives=moved.paths, anchors=anchors)

        assert (found.verdict, found.records) == ("ok", 21)
        assert not any("archived" in text for text in found.unseen)

    @pytest.mark.parametrize("records", [*range(1, 16)])
    def test_holds_against_anchors(self, path: Path, records: int) -> None:
        """An anchor of whatever record counts with the archive; in a gap, it cannot without."""
        with closing(sqlite3.connect(path)) as connection:
            (chain,) = connection.execute(
                "SELECT chain FROM records WHERE n = ?", (records,)
            ).fetchone()
            (name,) = connection.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
        good, bad = Anchor(name, records, chain, "then"), Anchor(name, records, "0" * 64, "then")
        moved = move(path)

        assert verify_journal(path, archives=moved.paths, anchors=[good]).ok
        found = verify_journal(path, archives=moved.paths, anchors=[bad])
        assert found.verdict == "differs_from_anchor"
        blind = verify_journal(path, anchors=[bad])
        assert blind.ok is (records < 12)
        assert any(f"anchor at record {records} says" in text for text in blind.unseen) is (
            records < 12
        )

    def test_knows_each_cut(self, path: Path) -> None:
        """With one of two archives, the other gap is passed over, and told."""
        first = move(path)
        add(path, r8={"days": 50}, end=END)
        second = move(path)

        for moved in (first, second):
            found = verify_journal(path, archives=moved.paths)
            assert found.ok
            left = sum(cut.records for cut in (*first.cuts, *second.cuts)) - moved.cuts[0].records
            assert f"{left} records that are archived" in found.unseen[0]
        assert verify_journal(path, archives=[*first.paths, *second.paths]).records == 30

    @pytest.mark.parametrize(
        ("sql", "verdict"),
        [
            ("DELETE FROM records WHERE n = 13", "missing"),
            ("UPDATE records SET line = replace(line, 'ada', 'eve') WHERE n = 13", "modified"),
            ("UPDATE records SET line = replace(line, 'ada', 'eve') WHERE n = 21", "modified"),
            ("DELETE FROM records WHERE n = 21", "missing"),
            ("DELETE FROM runs WHERE run_id = 'r3'", "index"),
        ],
    )
    def test_still_tells_what_is_wrong(self, path: Path, sql: str, verdict: str) -> None:
        """A cut excuses what it names, and nothing else; without its record nothing is excused."""
        move(path)

        tamper(path, sql)

        assert verify_journal(path).verdict == verdict

    def test_refuses_other_archives(self, path: Path, tmp_path: Path) -> None:
        """An archive of another journal, and one that is damaged, are no evidence."""
        other = tmp_path / "other.db"
        add(other, x1={}, x2={}, end={})
        moved, foreign = move(path), move(other)
        damaged = tmp_path / "damaged.jsonl.gz"
        damaged.write_bytes(moved.paths[0].read_bytes()[:-30])

        assert verify_journal(path, archives=foreign.paths).verdict == "wrong_archive"
        assert verify_journal(path, archives=[damaged]).verdict == "wrong_archive"

    def test_of_runs(self, path: Path, tmp_path: Path) -> None:
        """An anchor of a run is held against it, wherever the run is; one that is gone is missed."""
        with SQLiteJournal(path) as journal:
            trails = {run: pyflow.AuditTrail(journal.read(run)) for run in ("r1", "r3")}
        archived, there = (anchor_trail(trails[run]) for run in ("r1", "r3"))
        gone = Anchor("r7", 3, "0" * 64, "then")
        moved = move(path)

        assert verify_journal(path, anchors=[there]).ok
        forged = Anchor("r3", there.records, "0" * 64, there.at)
        assert verify_journal(path, anchors=[forged]).verdict == "differs_from_anchor"
        longer = Anchor("r3", 9, "0" * 64, there.at)
        assert verify_journal(path, anchors=[longer]).verdict == "shorter_than_anchor"
        assert verify_journal(path, anchors=[gone]).verdict == "shorter_than_anchor"
        blind = verify_journal(path, anchors=[archived])
        assert blind.ok
        assert any("anchor of run r1 says, which is archived" in text for text in blind.unseen)
        assert verify_journal(path, anchors=[archived], archives=moved.paths).ok
        forged = Anchor("r1", archived.records, "0" * 64, archived.at)
        found = verify_journal(path, anchors=[forged], archives=moved.paths)
        assert found.verdict == "differs_from_anchor"

    def test_does_not_launder(self, path: Path) -> None:
        """Records that are not what was written are not archived: they stay, as evidence."""
        tamper(path, "UPDATE records SET line = replace(line, 'because', 'not so') WHERE n = 7")
        before = content(path)

        with pytest.raises(JournalIntegrityError, match="are not what was written"):
            move(path)

        assert content(path) == before
        assert list((path.parent / "archives").iterdir()) == []

    def test_does_not_bridge_what_is_missing(self, path: Path) -> None:
        """A hole that no cut explains is not made part of one."""
        tamper(path, "DELETE FROM records WHERE run_id = 'r0'")
        tamper(path, "DELETE FROM runs WHERE run_id = 'r0'")

        with pytest.raises(JournalError, match="record 4 of the journal is missing"):
            move(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two small runs, in two stretches, that nobody changes."""
    path = tmp_path_factory.mktemp("alone") / "deploys.db"
    add(path, r0={"end": "failed"}, r1={"end": None}, r2={"end": "failed"}, end=END)
    return move(path).paths[0]


class TestAnArchive:
    def test_is_sound_alone(self, file: Path) -> None:
        """Without its journal it verifies, and says what that does not cover."""
        found = verify_archive(file)

        assert (found.verdict, found.records) == ("ok", 8)
        assert found.unseen == ("an archive made anew as a whole: give its digest",)
        digest = gzip.decompress(file.read_bytes()).splitlines()[-1].decode()
        assert verify_archive(file, digest=digest.split('"')[-2]).unseen == ()

    def test_has_one_digest(self, file: Path, tmp_path: Path) -> None:
        """Another digest than its own is told."""
        found = verify_archive(file, digest="0" * 64)

        assert found.verdict == "wrong_archive"
        with pytest.raises(JournalError, match="there is no archive"):
            verify_archive(tmp_path / "none")

    def test_every_byte_counts(self, file: Path, tmp_path: Path) -> None:
        """A bit that is flipped, in whichever byte of each kind of line, is noticed."""
        data = gzip.decompress(file.read_bytes())
        lines = data.splitlines(keepends=True)
        kinds = len(b"".join(lines[:3]))  # the first, the beginning of a stretch, a record
        copy, missed = tmp_path / "copy.jsonl.gz", list[int]()
        for place in (*range(kinds), *range(len(data) - len(lines[-1]), len(data))):
            flipped = bytearray(data)
            flipped[place] ^= 1 << (place % 8)
            copy.write_bytes(gzip.compress(bytes(flipped), 0))
            if verify_archive(copy).ok:
                missed.append(place)
        assert missed == []

    def test_every_cut_counts(self, file: Path, tmp_path: Path) -> None:
        """A file that is cut, wherever, is noticed."""
        data = file.read_bytes()
        copy = tmp_path / "copy.jsonl.gz"
        for length in (*range(0, len(data), 9), *range(len(data) - 40, len(data))):
            copy.write_bytes(data[:length])
            assert not verify_archive(copy).ok, length

    def test_every_line_counts(self, file: Path, tmp_path: Path) -> None:
        """A line that is taken out, said twice or moved is noticed, whatever the checksum says."""
        lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
        copy = tmp_path / "copy.jsonl.gz"
        for n in range(len(lines)):
            others = [*lines[:n], *lines[n + 1 :]]
            twice = [*lines[: n + 1], *lines[n:]]
            swapped = [*lines[:n], *lines[n + 1 : n + 2], lines[n], *lines[n + 2 :]]
            for changed in (others, twice, *([swapped] if n < len(lines) - 1 else [])):
                copy.write_bytes(gzip.compress(b"".join(changed)))
                assert not verify_archive(copy).ok

    def test_holds_against_anchors(self, tmp_path: Path, path: Path) -> None:
        """Anchors of its journal and of its runs count; others are told."""
        with SQLiteJournal(path) as journal:
            of_run = anchor_trail(pyflow.AuditTrail(journal.read("r1")))
            name = journal.database.id
        with closing(sqlite3.connect(path)) as connection:
            (chain,) = connection.execute("SELECT chain FROM records WHERE n = 7").fetchone()
        of_journal, other = Anchor(name, 7, chain, "then"), Anchor("f" * 32, 7, chain, "then")
        file = move(path).paths[0]

        found = verify_archive(file, anchors=[of_run, of_journal, other])

        assert (found.verdict, found.anchored) == ("ok", 7)
        assert "1 anchors are of records that are not in it" in found.unseen
        forged = [Anchor(name, 7, "0" * 64, "then")]
        assert verify_archive(file, anchors=forged).verdict == "differs_from_anchor"
        forged = [Anchor("r1", 4, "0" * 64, "then")]
        assert verify_archive(file, anchors=forged).verdict == "differs_from_anchor"

    def test_that_is_none(self, tmp_path: Path) -> None:
        """A file that is no archive is neither verified nor read."""
        file = tmp_path / "notes.txt"
        file.write_text("hello")

        assert verify_archive(file).verdict == "torn_tail"
        with pytest.raises(JournalError, match="put it back from a copy"):
            Archive(file).runs()


class TestHistory:
    def test_forgets_what_is_archived(self, path: Path) -> None:
        """Runs that left the journal are not found, whether the index is old or new."""
        with pyflow.history(path) as history:
            assert history.count() == 5

            move(path)

            history.refresh()
            assert [run.run_id for run in history.runs()] == ["now", "r3"]
            assert history.count(workflow="release") == 2
            assert history.count(text="release") == 2
        with pyflow.history(path) as history:
            assert [run.run_id for run in history.runs()] == ["now", "r3"]


def test_others_may_commit_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that has the journal open goes on before, during and after a cut."""
    workflow = pyflow.Workflow("release")
    workflow.add_task("deploy", lambda: None)
    finish = Writer.finish
    with pyflow.Engine(journal=path) as engine:
        engine.execute(workflow)

        def busy(writer: Writer) -> tuple[Path, str]:
            engine.execute(workflow)
            return finish(writer)

        monkeypatch.setattr(Writer, "finish", busy)
        moved = move(path)
        engine.execute(workflow)

        assert moved.cuts
        assert len(engine.journal.runs()) == 5
    assert verify_journal(path, archives=moved.paths).ok
