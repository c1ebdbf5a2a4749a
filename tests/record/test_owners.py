"""Who is alive on this host."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from pyflow.errors import LockError
from pyflow.record.sqlite import owners
from pyflow.record.sqlite.owners import Owner
from support.lock_process import Process
from support.trails import AT

if TYPE_CHECKING:
    from collections.abc import Callable


def owner_of(tmp_path: Path) -> Owner:
    return Owner(tmp_path / "deploys.db", now=lambda: AT)


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "deploys.db.owners").iterdir())


def fork_and_tell(code: str, tmp_path: Path) -> str:
    """Return what a process says that forks, since one with threads had better not."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{FORK}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=tmp_path,
    )
    assert done.stderr == ""
    return done.stdout


FORK = """
import os, signal, sys
from datetime import datetime, UTC
from pyflow.errors import LockError
from pyflow.record.sqlite.owners import Owner
now = lambda: datetime(2026, 1, 2, tzinfo=UTC)
owner = Owner("deploys.db", now=now)
"""


class TestIsAlive:
    def test_while_open(self, tmp_path: Path) -> None:
        """An owner is alive until it is closed, to itself and to another one of its process."""
        with owner_of(tmp_path) as one, owner_of(tmp_path) as two:
            open_ = [one.is_alive(one.id), two.is_alive(one.id), one.is_alive(two.id)]
            one.close()
            closed = [one.is_alive(one.id), two.is_alive(one.id), one.is_alive(two.id)]

        assert (open_, closed) == ([True, True, True], [False, False, True])

    def test_asking_changes_nothing(self, tmp_path: Path) -> None:
        """Asking about the living, however often, leaves their file where it is."""
        with owner_of(tmp_path) as one, owner_of(tmp_path) as two:
            before = (one.directory / one.id).stat().st_ino
            alive = {two.is_alive(one.id) for _ in range(100)}

            assert (alive, (one.directory / one.id).stat().st_ino) == ({True}, before)

    def test_elsewhere(self, tmp_path: Path) -> None:
        """An owner in another process is alive until that is killed, and leaves no file."""
        with owner_of(tmp_path) as mine, Process("live", tmp_path / "deploys.db") as other:
            theirs = other.hear()
            before = mine.is_alive(theirs)
            other.kill()
            left = files(tmp_path)
            after = mine.is_alive(theirs)

            assert (before, after) == (True, False)
            assert left == sorted([mine.id, theirs])
            assert files(tmp_path) == [mine.id]

    def test_stopped(self, tmp_path: Path) -> None:
        """A process that stands still is alive."""
        with owner_of(tmp_path) as mine, Process("live", tmp_path / "deploys.db") as other:
            theirs = other.hear()
            other.stop()

            assert mine.is_alive(theirs)

    @pytest.mark.parametrize("name", ["", "0" * 32, "../deploys.db", "/etc/passwd", "é" * 32])
    def test_unknown(self, tmp_path: Path, name: str) -> None:
        """A name that no owner has, or could have, is nobody alive, and nothing is removed."""
        (tmp_path / "deploys.db").touch()
        with owner_of(tmp_path) as owner:
            assert not owner.is_alive(name)

        assert (tmp_path / "deploys.db").exists()

    def test_cannot_tell(self, tmp_path: Path) -> None:
        """Where that cannot be found out, nobody is declared dead."""
        with owner_of(tmp_path) as owner:
            (owner.directory / ("a" * 32)).symlink_to("/dev/null")

            with pytest.raises(LockError, match=r"a{32} is alive cannot be told.*symbolic links"):
                owner.is_alive("a" * 32)

    def test_cannot_remove(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The dead are dead although their file cannot be removed."""
        with owner_of(tmp_path) as owner:
            (owner.directory / ("a" * 32)).touch()
            monkeypatch.setattr(Path, "unlink", fails(errno.EROFS))

            assert not owner.is_alive("a" * 32)
            monkeypatch.undo()

    def test_two_who_ask(self, tmp_path: Path) -> None:
        """Somebody else who is asking just now is not taken for the owner."""
        import fcntl

        with owner_of(tmp_path) as owner:
            path = owner.directory / ("a" * 32)
            path.touch()
            other = os.open(path, os.O_RDONLY)
            fcntl.flock(other, fcntl.LOCK_SH)

            assert not owner.is_alive(path.name)
            os.close(other)

    def test_two_who_remove(self, tmp_path: Path) -> None:
        """Somebody else who is removing just now is left to it."""
        import fcntl

        with owner_of(tmp_path) as owner:
            (owner.directory / ("a" * 32)).touch()
            directory = os.open(owner.directory, os.O_RDONLY)
            fcntl.flock(directory, fcntl.LOCK_EX)

            seen = [owner.is_alive("a" * 32), "a" * 32 in files(tmp_path)]
            os.close(directory)
            seen += [owner.is_alive("a" * 32), "a" * 32 in files(tmp_path)]

        assert seen == [False, True, False, False]

    def test_exchanged(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that has come to the place of a dead owner's while that was looked at stays."""
        with owner_of(tmp_path) as owner:
            path = owner.directory / ("a" * 32)
            path.touch()
            real = os.open

            def exchanged(name: Any, flags: int, *mode: int) -> int:
                file = real(name, flags, *mode)
                if name == path:
                    path.unlink()
                    path.write_text("new")
                return file

            monkeypatch.setattr(os, "open", exchanged)
            alive = owner.is_alive("a" * 32)
            monkeypatch.undo()

            assert (alive, path.read_text()) == (False, "new")

    def test_crowd(self, tmp_path: Path) -> None:
        """While many come, go and look round, nobody who is there is ever found dead."""
        wrong: list[str] = []
        with owner_of(tmp_path) as witness:

            def come_and_go() -> None:
                for _ in range(60):
                    with owner_of(tmp_path) as mine:
                        if not (witness.is_alive(mine.id) and mine.is_alive(witness.id)):
                            wrong.append(mine.id)

            threads = [threading.Thread(target=come_and_go) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)

            assert (wrong, files(tmp_path)) == ([], [witness.id])


class TestOwner:
    def test_file(self, tmp_path: Path) -> None:
        """The file says who it is, and is nobody else's business."""
        with owner_of(tmp_path) as owner:
            path = owner.directory / owner.id
            about = json.loads(path.read_text())
            modes = [stat.S_IMODE(p.stat().st_mode) for p in (owner.directory, path)]

        assert modes == [0o700, 0o600]
        assert (about["pid"], about["host"]) == (os.getpid(), os.uname().nodename)
        assert about["started"] == AT.isoformat()
        assert "boot_id" in about

    def test_repr(self, tmp_path: Path) -> None:
        """A repr is short, and says whether it is open."""
        with owner_of(tmp_path) as owner:
            shown = repr(owner)

        assert shown == f"<Owner {owner.id[:8]} of deploys.db open>"
        assert repr(owner).endswith("closed>")

    def test_closed(self, tmp_path: Path) -> None:
        """A closed owner leaves no file, may be closed again, and may not act."""
        owner = owner_of(tmp_path)
        owner.check_open()
        owner.close()
        owner.close()

        assert (files(tmp_path), owner.is_open) == ([], False)
        with pytest.raises(LockError, match="the database is closed"):
            owner.check_open()

    def test_one_place(self, tmp_path: Path) -> None:
        """Whatever links lead to the database, its owners are in one place."""
        (tmp_path / "link").symlink_to("deploys.db")
        with owner_of(tmp_path) as one, Owner(tmp_path / "link", now=lambda: AT) as two:
            assert two.is_alive(one.id)
            assert two.directory == one.directory

    def test_sweeps(self, tmp_path: Path) -> None:
        """Whoever comes removes what the dead have left, and nothing else."""
        with Process("live", tmp_path / "deploys.db") as other:
            other.hear()
            other.kill()
        (tmp_path / "deploys.db.owners" / "notes.txt").touch()
        (tmp_path / "deploys.db.owners" / ("f" * 32)).symlink_to("/dev/null")
        with owner_of(tmp_path) as mine:
            assert files(tmp_path) == sorted([mine.id, "f" * 32, "notes.txt"])

    def test_dropped(self, tmp_path: Path) -> None:
        """An owner that is forgotten without being closed is dead, with a warning."""
        owner = owner_of(tmp_path)
        name = owner.id
        with pytest.warns(ResourceWarning, match=name):
            del owner

        with owner_of(tmp_path) as other:
            assert not other.is_alive(name)

    @pytest.mark.parametrize("when", ["locked", "removed"])
    def test_found_too_early(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        """A file that somebody found, or removed, before it was locked is given up for another."""
        import fcntl

        real: Callable[..., int] = owners._open_private
        early: list[str] = []
        others: list[int] = []

        def opened(path: str, flags: int) -> int:
            file = real(path, flags)
            if not early:
                early.append(Path(path).name)
                others.append(os.open(path, os.O_RDONLY))
                if when == "removed":
                    Path(path).unlink()
                else:
                    fcntl.flock(others[0], fcntl.LOCK_SH)
            return file

        monkeypatch.setattr(owners, "_open_private", opened)
        with owner_of(tmp_path) as owner:
            os.close(others[0])

            assert owner.id not in early
            assert owner.is_alive(owner.id)

    def test_never_left_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where every new file is removed at once, there is an end to it."""
        real: Callable[..., int] = owners._open_private

        def opened(path: str, flags: int) -> int:
            file = real(path, flags)
            Path(path).unlink()
            return file

        monkeypatch.setattr(owners, "_open_private", opened)
        with pytest.raises(LockError, match="16 new files were removed at once"):
            owner_of(tmp_path)

    def test_no_directory(self, tmp_path: Path) -> None:
        """What stands where the directory has to be is named."""
        (tmp_path / "deploys.db.owners").touch()

        with pytest.raises(LockError, match=r"deploys\.db\.owners.*make it a directory"):
            owner_of(tmp_path)

    def test_no_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file system without such locks is refused."""
        monkeypatch.setattr("fcntl.flock", fails(errno.ENOLCK))

        with pytest.raises(LockError, match=r"No locks available.*local disk"):
            owner_of(tmp_path)
        assert files(tmp_path) == []


def fails(number: int) -> Callable[..., Any]:
    def fail(*args: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


class TestFork:
    def test_child_is_not_the_owner(self, tmp_path: Path) -> None:
        """In a process that is forked off the owner is closed; closing it there ends nothing."""
        told = fork_and_tell(
            """
if os.fork() == 0:
    print(owner.is_open, owner.is_alive(owner.id), flush=True)
    try:
        owner.check_open()
    except LockError as error:
        print(error, flush=True)
    owner.close()
    os._exit(0)
os.wait()
print(owner.is_open, owner.is_alive(owner.id), (owner.directory / owner.id).exists())
owner.close()
""",
            tmp_path,
        )

        first, second, third = told.splitlines()
        assert (first, third) == ("False True", "True True True")
        assert "was forked off the one that has the database open" in second

    def test_in_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What happens in a child, seen in this process: another pid, a closed file, no unlinking."""
        with owner_of(tmp_path) as owner, owner_of(tmp_path) as other:
            monkeypatch.setattr(os, "getpid", lambda: -1)
            with pytest.raises(LockError, match="make an engine of its own in here"):
                owner.check_open()
            owner.close()
            alive = other.is_alive(owner.id)
            owners._disown(weakref.ref(owner))
            owners._disown(cast("Any", lambda: None))  # one that is gone
            monkeypatch.undo()

            assert alive
            assert not owner.is_open

    def test_child_does_not_keep_it_alive(self, tmp_path: Path) -> None:
        """An owner that is killed is dead although a process that it forked off lives on."""
        told = fork_and_tell(
            """
asks, answers = os.pipe(), os.pipe()
middle = os.fork()
if middle == 0:
    mine = Owner("deploys.db", now=now)
    if os.fork() == 0:
        os.write(answers[1], mine.id.encode())
        os.close(asks[1])
        os.read(asks[0], 1)  # until the one who asks has finished
        os._exit(0)
    signal.pause()
name = os.read(answers[0], 32).decode()
before = owner.is_alive(name)
os.kill(middle, signal.SIGKILL)
os.waitpid(middle, 0)
print(before, owner.is_alive(name))
owner.close()
""",
            tmp_path,
        )

        assert told == "True False\n"
