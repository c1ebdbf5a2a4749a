"""Whatever fails or dies under a journal: an error, and what was acknowledged is there."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.faulty import Acked, Tick, check, found, watched
from support.journals import answer, environment


def io_error(name: str) -> sqlite3.Error:
    """Return what SQLite raises when the disk fails."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    return error


def fail_at(number: int, *, after: bool) -> tuple[Tick, list[str]]:
    """Return what has the *number*-th thing fail, before or *after* it is done; and what it was."""
    names: list[str] = []
    failed: list[str] = []

    def fail(name: str) -> None:
        failed.append(name)
        if name.islower() and name != "script":
            raise OSError(5, "Input/output error")
        raise io_error("SQLITE_IOERR_WRITE")

    def tick(name: str) -> Callable[[], None]:
        names.append(name)
        is_it = len(names) == number
        if is_it and not after:
            fail(name)
        return lambda: fail(name) if is_it and after else None

    return tick, failed


class TestFailures:
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_of_everything(self, tmp_path: Path, after: bool) -> None:
        """When the n-th thing fails, for every n, what was acknowledged is there, and no more.

        Only where it was the commit itself that failed may it be there all the same.
        """
        kinds: set[str] = set()
        number, failed = 0, ["something"]
        while failed:
            number += 1
            path = tmp_path / f"{number}.db"
            tick, failed = fail_at(number, after=after)
            acks = Acked()
            with watched(tick):
                acks.work(path)
            is_in_doubt = failed == ["COMMIT"]
            check(acks.asked, acks.acked, found(path), doubt=int(is_in_doubt))
            if failed and not acks.errors:
                assert_harmless(failed, acks)
            kinds.update(failed)

        assert number > 60
        assert kinds >= {"BEGIN", "COMMIT", "INSERT", "UPDATE", "SELECT", "PRAGMA", "pwrite"}
        assert kinds >= {"fsync", "fdatasync", "link", "flock", "script", "SAVEPOINT"}

    def test_in_doubt(self, tmp_path: Path) -> None:
        """After a commit of which only the disk knows, nothing is written until it is reopened."""
        acks = Acked()
        commits = 0

        def tick(name: str) -> Callable[[], None]:
            nonlocal commits
            commits += name == "COMMIT"
            if name == "COMMIT" and commits == 3:
                raise io_error("SQLITE_IOERR_FSYNC")
            return lambda: None

        with watched(tick):
            acks.work(tmp_path / "j.db")

        first, *others = acks.errors
        assert "SQLITE_IOERR_FSYNC" in first
        assert ["only the disk knows" in error for error in others] == [True] * 3
        assert acks.acked == ["r1"]

    @pytest.mark.parametrize("code", ["SQLITE_FULL", "SQLITE_BUSY"])
    def test_no_doubt(self, tmp_path: Path, code: str) -> None:
        """After a commit that cannot have reached the disk, the next one may."""
        acks = Acked()
        commits = 0

        def tick(name: str) -> Callable[[], None]:
            nonlocal commits
            commits += name == "COMMIT"
            if name == "COMMIT" and commits == 3:
                raise io_error(code)
            return lambda: None

        with watched(tick):
            acks.work(tmp_path / "j.db")

        assert [code in error for error in acks.errors] == [True]
        assert acks.acked == found(tmp_path / "j.db") == ["r1", "r3", "s1", "s2"]


def assert_harmless(failed: list[str], acks: Acked) -> None:
    """Make sure that a failure of which nobody was told has done no harm."""
    assert failed[0] in ("pwrite", "flock", "fdatasync"), failed  # the head: made good later
    assert acks.acked == acks.asked


def child(what: str, directory: Path) -> Any:
    """Have a process of its own do something to journals in *directory*."""
    return answer(
        subprocess.run(
            [sys.executable, "-m", "support.faulty", what, str(directory)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )
    )


class TestDeaths:
    def test_at_every_moment(self, tmp_path: Path) -> None:
        """A process that is killed at any moment has lost nothing that it acknowledged."""
        points = child("kill", tmp_path)

        assert points["points"] > 120
        assert points["again"] > 5


class TestFullDisks:
    def test_at_every_size(self, tmp_path: Path) -> None:
        """A disk that is full, from whatever byte on, is told of, and has lost nothing."""
        told = child("fill", tmp_path)

        assert told["limits"] > 30
        assert any("SQLITE_IOERR" in error for error in told["errors"])
