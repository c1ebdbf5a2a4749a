"""The head beside a journal: what it says, what it survives, what it notices."""

from __future__ import annotations

import fcntl
import gc
import os
import re
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import JournalError, JournalIntegrityError
from pyflow.record.batches import Batch
from pyflow.record.sqlite import head as heads
from pyflow.record.sqlite.head import SYNC_EVERY, HeadFile, read_head, write_head
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.schema import make_journal
from pyflow.record.sqlite.tip import START, Tip
from pyflow.record.sqlite.verify import findings_of
from support.journals import content_of, fill, image_of, logged, records_of, tamper
from support.trails import AT, EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ID = "0123456789abcdef" * 2


def tip(n: int) -> Tip:
    """Return an end like no other."""
    return Tip(n, n, f"{n:064x}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where there is a head that says nothing yet."""
    write_head(tmp_path / "j.db.head", ID, START)
    return tmp_path / "j.db.head"


@pytest.fixture
def head(path: Path) -> Iterator[HeadFile]:
    """Return a head that is open."""
    file = HeadFile(path, ID)
    yield file
    file.abandon()


def said(path: Path) -> tuple[int, int]:
    """Return how far a head says that its journal goes, and how many slots are torn."""
    found = read_head(path)
    assert found is not None
    return found.tip.n, found.torn


class TestHeadFile:
    def test_says(self, path: Path, head: HeadFile) -> None:
        """What was written last is what it says, to whoever reads it."""
        for n in (1, 2, 7):
            head.write(tip(n))

            assert read_head(path) == heads.Head(ID, tip(n))
        assert repr(head) == "<HeadFile j.db.head n=7>"

    def test_only_forward(self, path: Path, head: HeadFile) -> None:
        """One who comes late does not take back what another one said."""
        with closing(HeadFile(path, ID)) as late:
            late.write(tip(3))
            head.write(tip(9))
            before = path.read_bytes()
            late.write(tip(4))
            assert path.read_bytes() == before

            late.write(tip(12))
            assert said(path) == (12, 0)
        head.write(tip(13))
        assert said(path) == (13, 0)

    def test_every_bit(self, path: Path, head: HeadFile) -> None:
        """A slot with a flipped bit is not believed; the other one is."""
        for n in range(1, SYNC_EVERY + 2):
            head.write(tip(n))
        whole = path.read_bytes()
        place = whole.index(f"{SYNC_EVERY + 1:020d}".encode()) // heads.PITCH * heads.PITCH
        found = set()
        for bit in range(heads.SLOT_BYTES * 8):
            data = bytearray(whole)
            data[place + bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            found.add(said(path))

        assert found == {(SYNC_EVERY, 1)}

    def test_every_length(self, path: Path, head: HeadFile) -> None:
        """A head that was cut says what is left of it, or that nothing is."""
        for n in range(1, SYNC_EVERY + 2):
            head.write(tip(n))
        whole = path.read_bytes()
        found = set()
        for size in (*range(heads.SLOT_BYTES + 1), *range(heads.PITCH - 1, len(whole))):
            path.write_bytes(whole[:size])
            try:
                found.add(said(path))
            except JournalIntegrityError as error:
                found.add(error.problem)

        assert found == {"unreadable_head", (SYNC_EVERY + 1, 1)}

    def test_tears(self, path: Path, head: HeadFile) -> None:
        """Between two syncs only one slot is written, so whatever tears leaves the other whole."""
        for n in range(1, 3 * SYNC_EVERY):
            before = path.read_bytes()
            head.write(tip(n))
            after = path.read_bytes()
            changed = {
                place // heads.PITCH
                for place in range(len(after))
                if before[place : place + 1] != after[place : place + 1]
            }
            assert changed == {1 - (n - 1) // SYNC_EVERY % 2}

    def test_syncs_now_and_then(
        self, path: Path, head: HeadFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A sync comes with every so many writes, before the other slot is written."""
        synced: list[int] = []
        monkeypatch.setattr(heads, "SYNC", lambda _: synced.append(said(path)[0]))
        for n in range(1, 3 * SYNC_EVERY + 1):
            head.write(tip(n))

        assert synced == [0, SYNC_EVERY, 2 * SYNC_EVERY, 3 * SYNC_EVERY]

    def test_close_levels(self, path: Path) -> None:
        """When it is closed, both slots say the same."""
        head = HeadFile(path, ID)
        head.write(tip(5))
        head.close()

        data = path.read_bytes()
        assert data[: heads.SLOT_BYTES] == data[heads.PITCH :]
        head.close()

    def test_mends(self, path: Path) -> None:
        """A torn slot is written anew, even by one who has nothing to say."""
        with path.open("r+b") as file:
            file.write(b"torn")
        assert said(path) == (0, 1)

        head = HeadFile(path, ID)
        head.write(tip(1))
        assert said(path) == (1, 0)
        head.close()

        assert said(path) == (1, 0)

    def test_owes(self, path: Path, head: HeadFile, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write that fails is no error, since the commit has not failed; it is made good later."""
        head.write(tip(1))
        with monkeypatch.context() as broken:
            broken.setattr(os, "pwrite", fails)
            head.write(tip(2))
            with pytest.raises(JournalError, match=r"writing the head failed with EIO"):
                head.settle()
        assert said(path) == (1, 0)

        head.settle()
        assert said(path) == (2, 0)
        head.settle()

    def test_a_part(self, head: HeadFile, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write that comes to less than asked for has failed."""
        monkeypatch.setattr(os, "pwrite", lambda *_: 3)
        head.write(tip(1))

        with pytest.raises(JournalError, match="only a part was written"):
            head.settle()

    def test_never_waits(self, path: Path, head: HeadFile) -> None:
        """One who was stopped while writing holds nobody up; what is owed is written later."""
        with path.open("rb") as stopped:
            fcntl.flock(stopped, fcntl.LOCK_EX)
            head.write(tip(1))
            head.settle()
            assert said(path) == (0, 0)
        head.write(tip(2))
        with path.open("rb") as stopped:
            fcntl.flock(stopped, fcntl.LOCK_EX)
            head.close()

        assert said(path) == (2, 0)

    def test_exchanged_while_open(self, path: Path, head: HeadFile) -> None:
        """A head that became another journal's is not written over."""
        head.write(tip(1))
        write_head(path, "f" * 32, tip(5))
        head.write(tip(2))

        with pytest.raises(JournalIntegrityError, match="the head of another journal"):
            head.settle()

    def test_nobody_closes(self, path: Path) -> None:
        """A head that nobody closes lets go of its file once nothing refers to it."""
        head = HeadFile(path, ID)
        fd = head._fd

        del head
        gc.collect()

        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    def test_lets_go_once(self, path: Path) -> None:
        """What has the number of the file after it was closed is left alone."""
        head = HeadFile(path, ID)
        fd = head._fd
        head.close()
        other = os.open(path.parent, os.O_RDONLY)
        os.dup2(other, fd)

        del head
        gc.collect()

        os.fstat(fd)
        for left in {other, fd}:
            os.close(left)

    def test_forked_off(self, path: Path) -> None:
        """A process that closed all that it inherited, and has opened other files since, keeps those."""
        head = HeadFile(path, ID)
        fd, other = head._fd, os.open(path.parent, os.O_RDONLY)
        os.dup2(other, fd)

        head.abandon()
        head.abandon()

        os.fstat(fd)
        os.close(other)
        os.close(fd)

    def test_none(self, tmp_path: Path) -> None:
        """Where there is no file, there is nothing to read."""
        assert read_head(tmp_path / "none") is None

    def test_no_link(self, tmp_path: Path, path: Path) -> None:
        """A link in the place of a head is not followed."""
        (tmp_path / "link").symlink_to(path)

        with pytest.raises(OSError, match="symbolic links"):
            read_head(tmp_path / "link")


def fails(*_: Any) -> int:
    """Fail as a disk does."""
    raise OSError(5, "Input/output error")


def remove_wal(path: Path) -> None:
    """Lose the -wal, as a copy of the database alone does."""
    Path(f"{path}-wal").unlink()


def put_back(path: Path) -> None:
    """Put back an older copy of the journal, without its head."""
    for side in ("", "-wal"):
        shutil.copy(f"{path.parent.parent / 'old' / path.name}{side}", f"{path}{side}")


def swap_head(path: Path) -> None:
    """Put the head of another journal beside it."""
    fill(path.parent / "other.db", 10)
    (path.parent / "other.db.head").rename(f"{path}.head")


def garble_head(path: Path) -> None:
    """Spoil both slots of the head."""
    head = Path(f"{path}.head")
    head.write_bytes(head.read_bytes().replace(b"pyflow", b"pyfl0w"))


def rewrite(path: Path) -> None:
    """Write the last record anew, as if it had always been another."""
    tamper(path, "UPDATE records SET chain = ? WHERE n = 60", ["0" * 64])


def forget(path: Path) -> None:
    """Take out the last record."""
    tamper(path, "DELETE FROM records WHERE n = 60")


def forget_all(path: Path) -> None:
    """Take out every record."""
    tamper(path, "DELETE FROM records")


REFUSED: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no -wal": (remove_wal, "emptied", "holds no record at all, but its head says that it had 60"),
    "an old copy": (put_back, "behind", r"ends at record 30, but its head says .* had 60: 30 rec"),
    "no end": (forget, "behind", "ends at record 59, but its head says that it had 60"),
    "no records": (forget_all, "emptied", "holds no record at all"),
    "another past": (rewrite, "rewritten", "holds another record 60 than its head says"),
    "no head": (
        lambda path: Path(f"{path}.head").unlink(),
        "no_head",
        "has 60 records, but its head file is missing",
    ),
    "another's head": (swap_head, "foreign_head", "is the head of another journal"),
    "no readable head": (garble_head, "unreadable_head", "neither of its two slots"),
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a journal as a crash leaves it, its records still in the -wal."""
    (tmp_path / "live").mkdir()
    with SQLiteJournal(tmp_path / "live" / "j.db") as journal:
        for n in range(60):
            journal.append("r", [logged(n)], at=AT)
            if n == 29:
                image_of(journal.database.path, tmp_path / "old")
        return image_of(journal.database.path, tmp_path / "image")


class TestOpening:
    def test_as_it_was(self, image: Path) -> None:
        """A journal that a crash left is opened without a word."""
        with SQLiteJournal(image) as journal:
            assert (journal.notes, len(journal.read("r"))) == ((), 60)
            assert journal.verify() == []

    @pytest.mark.parametrize("kind", REFUSED)
    def test_refuses(self, image: Path, kind: str) -> None:
        """A journal that is not what its head says is refused, and every byte of it stays."""
        spoil, problem, message = REFUSED[kind]
        spoil(image)
        before = content_of(image.parent)

        with pytest.raises(JournalIntegrityError, match=message) as caught:
            SQLiteJournal(image)

        assert (caught.value.problem, caught.value.path.startswith(str(image))) == (problem, True)
        after = content_of(image.parent)
        assert {name: after[name] for name in before} == before
        assert [name for name in after if after[name] and name not in before] == []

    @pytest.mark.parametrize("kind", REFUSED)
    def test_accepts(self, image: Path, kind: str) -> None:
        """What is lost can be accepted, once and in so many words."""
        spoil, _, message = REFUSED[kind]
        spoil(image)

        with SQLiteJournal(image, accept_loss=True) as journal:
            assert re.search(f"^accepted: .*{message}", journal.notes[0])
            journal.append("new", EVENTS[:1], at=AT)

        with SQLiteJournal(image) as journal:
            assert journal.notes == ()
            assert journal.runs()[-1] == "new"

    def test_accepts_nothing_else(self, image: Path) -> None:
        """Where nothing is lost, there is nothing to accept."""
        with SQLiteJournal(image, accept_loss=True) as journal:
            assert journal.notes == ()

    @pytest.mark.parametrize(("lag", "notes"), [(0, 0), (1, 0), (2, 1), (30, 1)])
    def test_lag(self, image: Path, lag: int, notes: int) -> None:
        """A head that lags by one commit is what a crash leaves; one that lags more is noted."""
        found = read_head(Path(f"{image}.head"))
        assert found is not None
        with SQLiteJournal(image) as journal:
            rows = journal.database.reading(
                "SELECT n, commit_no, chain FROM records WHERE n = ?", (60 - lag,)
            )
        write_head(Path(f"{image}.head"), found.database_id, Tip(*rows[0]))

        with SQLiteJournal(image) as journal:
            assert len(journal.notes) == notes
            assert all(f"was {lag} commits behind" in note for note in journal.notes)
            assert said(Path(f"{image}.head")) == (60, 0)

    def test_counts_commits(self, tmp_path: Path) -> None:
        """However many records a commit has, it is one."""
        path = tmp_path / "j.db"
        with SQLiteJournal(path) as journal:
            write_head(tmp_path / "before.head", journal.database.id, START)
            journal.append("r", EVENTS, at=AT)
        (tmp_path / "before.head").rename(f"{path}.head")

        with SQLiteJournal(path) as journal:
            assert journal.notes == ()

    @pytest.mark.parametrize(("slot", "lag"), [(0, 0), (1, 60)])
    def test_torn(self, image: Path, slot: int, lag: int) -> None:
        """A torn slot is noted, and mended; where it was the newer one, the older one lags."""
        with Path(f"{image}.head").open("r+b") as file:
            file.seek(heads.PLACES[slot])
            file.write(b"torn")

        with SQLiteJournal(image) as journal:
            assert "one of the two slots" in journal.notes[0]
            assert ["60 commits behind" in note for note in journal.notes[1:]] == [True] * bool(lag)
        with SQLiteJournal(image) as journal:
            assert journal.notes == ()

    def test_never_without(self, tmp_path: Path) -> None:
        """A journal whose maker died before it had a head is given one; a later one is not."""
        path = tmp_path / "j.db"
        make_journal(path)
        image_of(path, tmp_path / "new")
        assert not Path(f"{path}.head").exists()

        with SQLiteJournal(path) as journal:
            image_of(path, tmp_path / "opened")
            assert journal.runs() == []
        Path(f"{path}.head").unlink()

        for lost in (path, tmp_path / "opened" / "j.db"):
            Path(f"{lost}.head").unlink(missing_ok=True)
            Path(f"{lost}-wal").unlink(missing_ok=True)
            with pytest.raises(JournalIntegrityError, match="its head file is missing"):
                SQLiteJournal(lost)

    def test_half_a_head(self, tmp_path: Path) -> None:
        """A journal whose maker died while writing the head is given a whole one."""
        make_journal(tmp_path / "j.db")
        (tmp_path / "j.db.head").write_bytes(b"pyflow-he")

        with SQLiteJournal(tmp_path / "j.db") as journal:
            assert journal.notes == ()
        assert said(tmp_path / "j.db.head") == (0, 0)

    def test_two_writers(self, tmp_path: Path) -> None:
        """Where two processes write in turn, the head follows both, and nobody is told of a lag."""
        path = tmp_path / "j.db"
        with SQLiteJournal(path) as one, SQLiteJournal(path) as other:
            for n in range(3 * SYNC_EVERY // 2):
                one.append("one", [logged(n)], at=AT)
                assert said(Path(f"{path}.head")) == (2 * n + 1, 0)
                other.append("other", [logged(n)], at=AT)
                assert said(Path(f"{path}.head")) == (2 * n + 2, 0)
            crashed = image_of(path, tmp_path / "image")

        with SQLiteJournal(crashed) as journal:
            assert (journal.notes, journal.verify()) == ((), [])

    def test_refuses_to_go_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """While the head cannot be written, one commit is made and no second one."""
        path = tmp_path / "j.db"
        with SQLiteJournal(path) as journal:
            with monkeypatch.context() as broken:
                broken.setattr(os, "pwrite", fails)
                journal.append("r", [logged(1)], at=AT)
                for _ in range(3):
                    with pytest.raises(JournalError, match="writing the head failed with EIO"):
                        journal.append("r", [logged(2)], at=AT)
                    with pytest.raises(JournalError, match="writing the head failed with EIO"):
                        journal.append_all([Batch("r", [logged(2)], AT)])
            crashed = image_of(path, tmp_path / "image")
            journal.append("r", [logged(3)], at=AT)

        assert len(records_of(crashed)["r"]) == 1
        assert [record.data["message"] for record in records_of(path)["r"]] == ["line 1", "line 3"]


class Commits:
    """A journal that is written, and copies of its files as they would be found afterwards."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.journal = SQLiteJournal(tmp_path / "j.db")
        self._where = tmp_path
        self._synced = b""
        self._patch = monkeypatch
        self._count = 0
        self._sync = heads.SYNC
        monkeypatch.setattr(heads, "SYNC", self._note)

    def _note(self, fd: int) -> None:
        self._sync(fd)
        if fd == self.journal.database.head._fd:  # and not that of a copy that is looked at
            self._synced = Path(f"{self.journal.database.path}.head").read_bytes()

    def make(self, number: int) -> None:
        """Make so many commits of one record each."""
        for _ in range(number):
            self.journal.append("r", [logged(self._count)], at=AT)
            self._count += 1

    def make_without_head(self) -> None:
        """Make one whose head is not written, as when the process dies in between."""
        with self._patch.context() as patch:
            patch.setattr(self.journal.database.head, "write", lambda tip: None)
            self.make(1)

    def killed(self, name: str) -> Path:
        """Return what `kill -9` leaves now: all that was written, synced or not."""
        return image_of(self.journal.database.path, self._where / name)

    def powerless(self, name: str) -> Path:
        """Return the worst that a power cut leaves now: of the head only what was synced."""
        path = self.killed(name)
        Path(f"{path}.head").write_bytes(self._synced)
        return path


@pytest.fixture
def commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commits]:
    commits = Commits(tmp_path, monkeypatch)
    yield commits
    commits.journal.close()


def looked_at(path: Path) -> tuple[int, int, list[str]]:
    """Return how many records a journal has, by how many its head lags, and what verify finds."""
    found = [str(finding) for finding in findings_of(path)]
    lag = -said(Path(f"{path}.head"))[0]
    with SQLiteJournal(path) as journal:
        count = len(journal.read("r"))
    return count, count + lag, found


class TestTheWindow:
    """By how much a head may lag, which the guarantees promise."""

    def test_killed(self, commits: Commits) -> None:
        """A process that dies leaves a head that lags by no commit, or by the one under way."""
        for number in range(1, SYNC_EVERY + 3):
            commits.make(1)
            if number not in range(3, SYNC_EVERY - 1):
                assert looked_at(commits.killed(f"at {number}")) == (number, 0, [])

        commits.make_without_head()

        assert looked_at(commits.killed("in between")) == (SYNC_EVERY + 3, 1, [])

    def test_power_cut(self, commits: Commits) -> None:
        """No commit is lost to a power cut; the head lags by what was not synced, and no more."""
        lags: dict[int, int] = {}
        for number in range(1, 2 * SYNC_EVERY + 1):
            commits.make(1)
            if number % SYNC_EVERY in (0, 1, 2, SYNC_EVERY - 1):
                count, lags[number], found = looked_at(commits.powerless(f"at {number}"))
                assert (count, found) == (number, [])
        commits.make(SYNC_EVERY - 1)
        commits.make_without_head()

        assert lags == {1: 1, 2: 2, 63: 63, 64: 0, 65: 1, 66: 2, 127: 63, 128: 0}
        assert looked_at(commits.powerless("the worst"))[1:] == (SYNC_EVERY, [])

    def test_what_it_misses(self, commits: Commits) -> None:
        """A journal that lost just what its head lacks is not told from one that never had it."""
        commits.make(SYNC_EVERY)
        short, earlier = commits.killed("short"), commits.killed("earlier")
        commits.make(SYNC_EVERY - 1)
        late = commits.powerless("late")
        for side in ("", "-wal", "-shm"):
            if Path(f"{late}{side}").exists():
                shutil.copy(f"{short}{side}", f"{late}{side}")

        assert looked_at(late) == (SYNC_EVERY, 0, [])
        shutil.copy(commits.killed("now").with_name("j.db.head"), earlier.with_name("j.db.head"))
        assert "had 127 by its head" in str(findings_of(earlier))
        with pytest.raises(JournalIntegrityError, match="63 records are lost"):
            SQLiteJournal(earlier)
