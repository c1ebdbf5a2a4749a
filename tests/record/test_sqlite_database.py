"""The database file: what is opened, what is refused, what a transaction promises."""

from __future__ import annotations

import ctypes
import os
import re
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import JournalError, JournalIntegrityError
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.filesystems import NETWORK, filesystem_of
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.schema import APPLICATION_ID, VERSION, make_journal
from support.journals import (
    answer,
    content_of,
    environment,
    fill,
    names_in,
    python,
    records_of,
    tamper,
)
from support.trails import AT, EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

ADD = "INSERT INTO meta (key, value) VALUES (?, ?)"


def pragma(database: Database, name: str) -> Any:
    """Return the value of a setting of the connection."""
    return database.reading(f"PRAGMA {name}")[0][0]


def values(database: Database) -> list[Any]:
    """Return what the tests have written."""
    return [v for (v,) in database.reading("SELECT value FROM meta WHERE key LIKE 'k%'")]


class TestOpening:
    def test_settings(self, tmp_path: Path) -> None:
        """A new journal says whose it is and of which version, and every commit is synced."""
        with Database(tmp_path / "j.db", busy_timeout_s=1.5) as database:
            names = ("application_id", "user_version", "journal_mode", "synchronous")
            found = {name: pragma(database, name) for name in (*names, "busy_timeout")}

        assert found == {
            "application_id": APPLICATION_ID,
            "user_version": VERSION,
            "journal_mode": "wal",
            "synchronous": 2,
            "busy_timeout": 1500,
        }

    def test_again(self, tmp_path: Path) -> None:
        """A journal that is opened again is the same one."""
        with Database(tmp_path / "j.db") as database:
            name = database.id
            with database.writing() as cursor:
                cursor.execute(ADD, ("k", "v"))

        with Database(tmp_path / "j.db") as database:
            assert (database.id, values(database), database.notes) == (name, ["v"], ())
            assert repr(database) == f"<Database '{tmp_path}/j.db' open>"
        assert repr(database).endswith("closed>")

    @pytest.mark.parametrize("umask", [0, 0o777], ids=oct)
    def test_is_private(self, tmp_path: Path, umask: int) -> None:
        """Every file of a journal is for its owner alone, whatever the umask."""
        before = os.umask(umask)
        try:
            with SQLiteJournal(tmp_path / "j.db") as journal:
                journal.append("r", EVENTS, at=AT)
                modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        finally:
            os.umask(before)

        assert modes == dict.fromkeys(("j.db", "j.db-wal", "j.db-shm", "j.db.head"), 0o600)

    def test_leaves_no_drafts(self, tmp_path: Path) -> None:
        """What a new journal was made of is gone, and so is its -wal once it is closed."""
        Database(tmp_path / "j.db").close()

        assert names_in(tmp_path) == ["j.db", "j.db.head"]

    def test_outlasts_a_power_cut(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The names of a new journal and of its head are synced, and so is what they name."""
        synced: list[str] = []
        real = os.fsync

        def fsync(fd: int) -> None:
            there = stat.S_ISDIR(os.fstat(fd).st_mode)
            synced.append("names" if there else str(Path(f"/proc/self/fd/{fd}").readlink()))
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        Database(tmp_path / "j.db").close()

        assert synced == ["names", str(tmp_path / "j.db.head"), "names"]

    def test_whole_from_the_start(self, tmp_path: Path) -> None:
        """A new journal says all that it has to in its file, so nobody has to change the mode."""
        make_journal(tmp_path / "j.db")
        header = (tmp_path / "j.db").read_bytes()[:100]

        assert header[18:20] == b"\2\2"  # WAL, for who reads and who writes
        assert header[68:72] == APPLICATION_ID.to_bytes(4, "big")
        assert header[60:64] == VERSION.to_bytes(4, "big")
        assert names_in(tmp_path) == ["j.db"]

    def test_by_many_at_once(self, tmp_path: Path) -> None:
        """Where many want to make one journal, they end up with the same one."""
        ready = threading.Barrier(8)
        found: list[Any] = []

        def open_it() -> None:
            ready.wait()
            try:
                with Database(tmp_path / "j.db", busy_timeout_s=30) as database:
                    found.append(database.id)
            except JournalError as error:
                found.append(error)

        threads = [threading.Thread(target=open_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(found) == 8
        assert len(set(found)) == 1, found

    def test_made_meanwhile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A journal that somebody makes between two looks is not taken for one that is gone."""
        path = tmp_path / "j.db"
        real, looks = os.path.lexists, list[Path]()

        def lexists(other: Path) -> bool:
            if not looks:
                with monkeypatch.context() as undisturbed:
                    undisturbed.setattr(os.path, "lexists", real)
                    Database(path).close()
            looks.append(other)
            return real(other)

        monkeypatch.setattr(os.path, "lexists", lexists)
        with Database(path) as database:
            assert database.notes == ()
        assert looks == [tmp_path / "j.db.head"]

    @pytest.mark.parametrize(
        "name", ["a b?c#d%20.db", "é漢😀.db", "file:x?mode=memory", "-wal", os.fsdecode(b"\xff.db")]
    )
    def test_names(self, tmp_path: Path, name: str) -> None:
        """A journal may be called whatever a file may."""
        with SQLiteJournal(tmp_path / name) as journal:
            journal.append("r", EVENTS, at=AT)

        assert names_in(tmp_path) == sorted([name, f"{name}.head"])
        assert len(records_of(tmp_path / name)["r"]) == len(EVENTS)

    @pytest.mark.parametrize("exists", [True, False])
    def test_follows_links(self, tmp_path: Path, exists: bool) -> None:
        """A journal behind a link has one head and one -wal, where it really is."""
        (tmp_path / "data").mkdir()
        (tmp_path / "current").symlink_to("data")
        (tmp_path / "data" / "link.db").symlink_to("j.db")
        if exists:
            Database(tmp_path / "data" / "j.db").close()

        with Database(tmp_path / "current" / "link.db") as database:
            assert database.path == tmp_path / "data" / "j.db"
            names = names_in(tmp_path / "data")

        assert names == ["j.db", "j.db-shm", "j.db-wal", "j.db.head", "link.db"]

    def test_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative path is understood once; going elsewhere changes nothing."""
        monkeypatch.chdir(tmp_path)
        with Database("j.db") as database:
            monkeypatch.chdir("/")
            with database.writing() as cursor:
                cursor.execute(ADD, ("k", "v"))

        assert names_in(tmp_path) == ["j.db", "j.db.head"]

    def test_half_checkpointed(self, tmp_path: Path) -> None:
        """A journal that a crash left in the middle of a checkpoint is whole with its -wal."""
        path = tmp_path / "j.db"
        with SQLiteJournal(path) as journal:
            journal.database.reading("PRAGMA wal_autocheckpoint = 0")
            for _ in range(40):
                journal.append("r", EVENTS[:2], at=AT)
            files = content_of(tmp_path)
            journal.database.reading("PRAGMA wal_checkpoint(PASSIVE)")
            after = path.read_bytes()
        assert len(after) > len(files["j.db"]) + 4096
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)

        # The header says how long it is to be, and the rest of it is still to come.
        path.write_bytes(after[:4096] + files["j.db"][4096:])

        assert len(records_of(path)["r"]) == 80

    def test_not_with_pyflow(self) -> None:
        """Whoever imports pyflow does not import SQLite."""
        code = "import sys, pyflow; print('sqlite3' in sys.modules, 'fcntl' in sys.modules)"

        assert python(code).stdout.startswith("False ")


def make_foreign(path: Path, application_id: int = 0x1234, version: int = 0) -> None:
    """Make a database that is somebody else's."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (x)")


def make_broken(path: Path) -> None:
    """Make a journal whose pages are garbage, and only the header is not."""
    fill(path, 10)
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes(byte ^ 0xA5 for byte in data[100:]))


def make_illegible(path: Path) -> None:
    """Make a journal whose schema is damaged, and quoted in what SQLite says of it."""
    fill(path, 10)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"tablerecords", b"table\xc2ecords"))


def make_emptied(path: Path) -> None:
    """Make a journal and empty its file."""
    fill(path, 10)
    os.truncate(path, 0)


def make_socket(path: Path) -> None:
    """Make a socket."""
    with closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(str(path))


def make_orphan(path: Path, suffix: str = ".head") -> None:
    """Make something that a journal leaves behind."""
    path.with_name(path.name + suffix).write_bytes(b"left")


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a directory": (Path.mkdir, "is a directory, not a journal"),
    "a FIFO": (os.mkfifo, "is a FIFO"),
    "a socket": (make_socket, "is a socket"),
    "/dev/null": (lambda path: path.symlink_to("/dev/null"), "is a character device"),
    "a loop": (lambda path: path.symlink_to(path.name), "opening failed with ELOOP"),
    "0 bytes": (Path.touch, "has 0 bytes, fewer than any journal"),
    "0 bytes, with a head": (make_emptied, "has 0 bytes, but its head file is there"),
    "a text": (lambda path: path.write_text("deploy " * 99), "SQLITE_NOTADB"),
    "a short text": (lambda path: path.write_text("x" * 511), "has 511 bytes, fewer"),
    "another application's": (make_foreign, "its application id is 0x1234, not 0x7079666c"),
    "nobody's": (lambda path: make_foreign(path, 0), "its application id is 0x0, not 0x7079666c"),
    "a newer version": (
        lambda path: make_foreign(path, APPLICATION_ID, VERSION + 1),
        "has version 2, and this pyflow knows journals up to version 1: a newer one wrote it",
    ),
    "no version": (lambda path: make_foreign(path, APPLICATION_ID, 0), "has version 0, which no"),
    "broken": (make_broken, r"failed with SQLITE_(CORRUPT|NOTADB).*none of it is trusted"),
    "illegible": (make_illegible, r"failed with UNREADABLE.*none of it is trusted"),
    "a head alone": (make_orphan, r"is gone, but j\.db\.head is still there"),
    "a -wal alone": (lambda path: make_orphan(path, "-wal"), r"is gone, but j\.db-wal is"),
}


class TestRefusals:
    @pytest.mark.parametrize("kind", REFUSED)
    def test_touches_nothing(self, tmp_path: Path, kind: str) -> None:
        """What is not a sound journal is refused with its own message, and stays as it was."""
        make, message = REFUSED[kind]
        make(tmp_path / "j.db")
        before, names = content_of(tmp_path), names_in(tmp_path)

        with pytest.raises(JournalError, match=message) as caught:
            Database(tmp_path / "j.db")

        assert os.path.realpath(tmp_path / "j.db") in str(caught.value)
        if kind in ("broken", "illegible"):  # which SQLite finds out only while it has a lock
            names, before = [*names, "j.db-shm", "j.db-wal"], {**before, "j.db-wal": b""}
        assert content_of(tmp_path) == before
        assert names_in(tmp_path) == sorted(names)

    def test_says_what_was_there(self, tmp_path: Path) -> None:
        """A journal that is not what it was is another matter than a file that never was one."""
        for kind in ("0 bytes, with a head", "a head alone", "a -wal alone"):
            directory = tmp_path / kind
            directory.mkdir()
            REFUSED[kind][0](directory / "j.db")

            with pytest.raises(JournalIntegrityError) as caught:
                Database(directory / "j.db", accept_loss=True)

            assert caught.value.problem in ("emptied", "gone")
            assert caught.value.path == str(directory / "j.db")

    def test_every_message_is_its_own(self) -> None:
        """No two refusals read the same."""
        messages = [message for _, message in REFUSED.values()]

        assert len(set(messages)) == len(messages)

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("", "the journal '' is no file"),
            (":memory:", "use MemoryJournal"),
            ("a\0b", "has a NUL in it"),
            ("no/such/j.db", r"the directory of .* does not exist \(ENOENT\)"),
            ("file/j.db", r"is not a directory \(ENOTDIR\)"),
            ("x" * 300, "ENAMETOOLONG"),
        ],
        ids=["empty", "memory", "NUL", "no parent", "a file for a parent", "too long"],
    )
    def test_paths(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
    ) -> None:
        """A path at which no file can be is refused before anything is made."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()

        with pytest.raises(JournalError, match=message):
            Database(path)

        assert names_in(tmp_path) == ["file"]

    def test_nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a directory that is gone, a relative path leads nowhere."""
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()

        with pytest.raises(JournalError, match="ENOENT"):
            Database("j.db")
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize("kind", sorted(NETWORK))
    def test_network(self, tmp_path: Path, kind: str) -> None:
        """On a file system that is not on this machine, no journal is opened or made."""
        with pytest.raises(JournalError, match=rf"network file system \({re.escape(kind)}\)"):
            Database(tmp_path / "j.db", filesystem_of=lambda _: kind)

        assert names_in(tmp_path) == []

    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_permission(self, tmp_path: Path, what: str) -> None:
        """Where the user may not write, that is said, with the system's own word for it."""
        path = tmp_path / "d" / "j.db"
        path.parent.mkdir()
        fill(path, 10)
        target = path if what == "file" else path.parent
        target.chmod(0o400 if what == "file" else 0o500)
        code = """if True:
            import json, sys
            from pyflow.errors import JournalError
            from pyflow.record.sqlite.database import Database
            try:
                Database(sys.argv[1])
            except JournalError as error:
                print(json.dumps(str(error)))
        """

        said = answer(python(code, str(path), preexec_fn=without_privileges))
        target.chmod(0o700)

        assert "EACCES: permission denied" in said
        assert said.startswith(str(target))
        assert len(records_of(path)) == 3

    def test_read_only_file_system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the whole file system is read-only, it says that instead."""
        real = os.statvfs(tmp_path)
        monkeypatch.setattr(os, "access", lambda *_: False)
        monkeypatch.setattr(
            os,
            "statvfs",
            lambda _: os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax)),
        )

        with pytest.raises(JournalError, match="EROFS: the file system is read-only"):
            Database(tmp_path / "j.db")


def without_privileges() -> None:
    """Have what is executed next respect permissions, even where root executes it."""
    drop_from_bounding_set, override, read_search = 24, 1, 2
    libc = ctypes.CDLL(None)
    for capability in (override, read_search):
        libc.prctl(drop_from_bounding_set, capability, 0, 0, 0)


class TestFilesystems:
    MOUNTS = (
        "22 27 0:21 / /proc rw - proc proc rw\n"
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "28 27 0:30 / /mnt/a\\040b rw shared:1 master:2 - nfs4 host:/x rw\n"
        "29 28 0:31 / /mnt/a\\040b/local rw - xfs /dev/vdb rw\n"
        "30 27 0:32 / /srv rw - ext4 /dev/vdc rw\n"
        "31 30 0:33 / /srv rw - fuse.sshfs host:/y rw\n"
        "no mount at all\n"
    )

    @pytest.mark.parametrize(
        ("directory", "kind"),
        [
            ("/", "ext4"),
            ("/home/ada", "ext4"),
            ("/mnt/a", "ext4"),
            ("/mnt/a b", "nfs4"),
            ("/mnt/a b/x/y", "nfs4"),
            ("/mnt/a bc", "ext4"),
            ("/mnt/a b/local/x", "xfs"),
            ("/srv/x", "fuse.sshfs"),
        ],
    )
    def test_finds_the_mount(self, tmp_path: Path, directory: str, kind: str) -> None:
        """The innermost mount counts, and of two on one place the later."""
        (tmp_path / "mounts").write_text(self.MOUNTS)

        assert filesystem_of(Path(directory), mounts=str(tmp_path / "mounts")) == kind

    def test_cannot_tell(self, tmp_path: Path) -> None:
        """Where there is no list of mounts, or an empty one, nothing is said."""
        (tmp_path / "mounts").touch()

        assert filesystem_of(tmp_path, mounts=str(tmp_path / "none")) is None
        assert filesystem_of(tmp_path, mounts=str(tmp_path / "mounts")) is None

    def test_here(self, tmp_path: Path) -> None:
        """The directory of the tests is on a file system of this machine."""
        assert filesystem_of(tmp_path) not in NETWORK


class TestTransactions:
    def test_all_or_nothing(self, tmp_path: Path) -> None:
        """Whatever a block raises, nothing of it stays; the next one is as good as new."""
        with Database(tmp_path / "j.db") as database:
            for error in (ValueError("no"), KeyboardInterrupt(), sqlite3.OperationalError("no")):
                with (
                    pytest.raises((ValueError, KeyboardInterrupt, JournalError)),
                    database.writing() as cursor,
                ):
                    cursor.execute(ADD, ("k", "lost"))
                    raise error
            with database.writing() as cursor:
                cursor.execute(ADD, ("k", "kept"))

            assert values(database) == ["kept"]

    def test_not_inside_another(self, tmp_path: Path) -> None:
        """A transaction inside another is refused, and the outer one goes on."""
        with Database(tmp_path / "j.db") as database:
            with database.writing() as cursor:
                cursor.execute(ADD, ("k", "outer"))
                with (
                    pytest.raises(JournalError, match="under way in this thread"),
                    database.writing(),
                ):
                    pass

            assert values(database) == ["outer"]

    def test_snapshot(self, tmp_path: Path) -> None:
        """Readings from one snapshot show one state, whatever is written meanwhile."""
        with Database(tmp_path / "j.db") as reader, Database(tmp_path / "j.db") as writer:
            with reader.snapshot() as cursor:
                cursor.execute("SELECT * FROM meta").fetchall()
                with writer.writing() as other:
                    other.execute(ADD, ("k", "new"))
                found = cursor.execute("SELECT * FROM meta WHERE key = 'k'").fetchall()

            assert found == []
            assert values(reader) == ["new"]

    def test_threads(self, tmp_path: Path) -> None:
        """Threads share a database, and take turns."""
        with Database(tmp_path / "j.db") as database:

            def write(name: str) -> None:
                for number in range(20):
                    with database.writing() as cursor:
                        (count,) = cursor.execute("SELECT count(*) FROM meta").fetchone()
                        cursor.execute(ADD, (f"k{name}{number}", count))

            threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert sorted(map(int, values(database))) == list(range(2, 82))

    def test_waits_shortly(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who waits looks again after each short pause, so that a busy writer cannot starve it."""
        pauses: list[float] = []

        def pause(span_s: float) -> None:
            pauses.append(span_s)
            if len(pauses) == 40:
                other.execute("ROLLBACK")

        monkeypatch.setattr("pyflow.record.sqlite.database.time", SimpleNamespace(sleep=pause))
        with (
            Database(tmp_path / "j.db") as database,
            closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            with database.writing() as cursor:
                cursor.execute(ADD, ("k", "then"))

            assert values(database) == ["then"]
        assert pauses == [0.001, 0.001, 0.002, 0.004, *[0.008] * 36]

    def test_is_not_starved(self, tmp_path: Path) -> None:
        """Beside a process that commits again and again, another one gets its turns."""
        code = """if True:
            import sys
            from pyflow.record.sqlite.database import Database
            with Database(sys.argv[1]) as database:
                print("open", flush=True)
                for line in sys.stdin:
                    if line == "end\\n":
                        break
                    for _ in range(200):
                        with database.writing() as cursor:
                            cursor.execute("UPDATE meta SET value = value WHERE key = 'id'")
        """
        with Database(tmp_path / "j.db") as database:
            with subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path / "j.db")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
            ) as other:
                assert other.stdout is not None
                assert other.stdin is not None
                assert other.stdout.readline() == b"open\n"
                other.stdin.write(b"go\n" * 3)
                other.stdin.flush()
                for number in range(100):
                    with database.writing() as cursor:
                        cursor.execute(ADD, (str(number), "mine"))
                other.communicate(b"end\n")

            assert other.returncode == 0
            mine = database.reading("SELECT count(*) FROM meta WHERE value = 'mine'")
            assert mine == [(100,)]

    def test_busy(self, tmp_path: Path) -> None:
        """Where another process keeps the journal locked, the wait has an end, and says why."""
        code = """if True:
            import sqlite3, sys
            connection = sqlite3.connect(sys.argv[1], isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            print("locked", flush=True)
            sys.stdin.read()
        """
        with Database(tmp_path / "j.db", busy_timeout_s=0.05) as database:
            with subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path / "j.db")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
            ) as other:
                assert other.stdout is not None
                assert other.stdout.readline() == b"locked\n"
                with (
                    pytest.raises(JournalError, match=r"SQLITE_BUSY.*another process kept it"),
                    database.writing(),
                ):
                    pass
                assert values(database) == []
                other.communicate()
            with database.writing() as cursor:
                cursor.execute(ADD, ("k", "then"))

            assert values(database) == ["then"]

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("max_page_count = 1", "SQLITE_FULL.*there is no room"),
            ("query_only = ON", "SQLITE_READONLY.*cannot be written by this user"),
        ],
        ids=["full", "read-only"],
    )
    def test_says_what_failed(self, tmp_path: Path, setting: str, message: str) -> None:
        """Each kind of failure has its own advice, and leaves what was there."""
        with Database(tmp_path / "j.db") as database:
            database.reading(f"PRAGMA {setting}")
            with pytest.raises(JournalError, match=message), database.writing() as cursor:
                cursor.execute(ADD, ("k", "x" * 100_000))

            assert values(database) == []

    def test_not_unicode(self, tmp_path: Path) -> None:
        """Text that is no Unicode is an error of ours."""
        refused = pytest.raises(JournalError, match="lone surrogates")
        with Database(tmp_path / "j.db") as database, refused, database.writing() as cursor:
            cursor.execute(ADD, ("k", "\ud800"))


class TestClosing:
    def test_twice(self, tmp_path: Path) -> None:
        """A database that is closed stays closed, and says so."""
        database = Database(tmp_path / "j.db")
        database.close()
        database.close()

        with pytest.raises(JournalError, match="is closed; open it again"):
            database.reading("SELECT 1")
        with pytest.raises(JournalError, match="is closed; open it again"), database.writing():
            pass

    def test_not_the_last(self, tmp_path: Path) -> None:
        """What one lets go of, another may still use."""
        first, second = Database(tmp_path / "j.db"), Database(tmp_path / "j.db")
        with first.writing() as cursor:
            cursor.execute(ADD, ("k", "v"))
        first.close()

        assert values(second) == ["v"]
        second.close()
        assert names_in(tmp_path) == ["j.db", "j.db.head"]

    def test_forked_off(self, tmp_path: Path) -> None:
        """A process that was forked off is refused, and closes nothing of its parent's."""
        code = """if True:
            import json, os, sys
            from pyflow.errors import JournalError
            from pyflow.record.sqlite.journal import SQLiteJournal
            from support.trails import AT, EVENTS
            journal = SQLiteJournal(sys.argv[1])
            journal.append("r", EVENTS[:1], at=AT)
            out, into = os.pipe()
            child = os.fork()
            if child == 0:
                said = []
                for use in (journal.runs, lambda: journal.append("r", EVENTS[1:2], at=AT)):
                    try:
                        use()
                    except JournalError as error:
                        said.append(str(error))
                journal.close()
                journal.close()
                said.append(repr(journal.database))
                with SQLiteJournal(sys.argv[1]) as own:
                    said.append(own.runs())
                os.write(into, json.dumps(said).encode())
                os._exit(0)
            os.waitpid(child, 0)
            said = json.loads(os.read(out, 9999))
            journal.append("r", EVENTS[1:2], at=AT)
            journal.close()
            print(json.dumps([*said, os.getpid(), child]))
        """

        *refusals, state, runs, parent, child = answer(python(code, str(tmp_path / "j.db")))

        assert len(refusals) == 2
        assert all(
            f"opened by process {parent}, from which this one (pid {child})" in r for r in refusals
        )
        assert (state.endswith(" open>"), runs) == (True, ["r"])
        assert len(records_of(tmp_path / "j.db")["r"]) == 2

    def test_exchanged(self, tmp_path: Path) -> None:
        """A version that grew while the file was open is noticed when it is next opened."""
        Database(tmp_path / "j.db").close()
        tamper(tmp_path / "j.db", f"PRAGMA user_version = {VERSION + 1}")

        with pytest.raises(JournalError, match="a newer one wrote it"):
            Database(tmp_path / "j.db")
