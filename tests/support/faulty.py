"""Have the n-th thing that a journal asks of SQLite or the system go wrong.

What is asked is counted, SQL statements and system calls together, so that
any of them can fail, or can be the last thing that the process ever does.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from pyflow.errors import JournalError
from pyflow.record import events as ev
from pyflow.record.sqlite import head
from pyflow.record.sqlite.journal import Batch, SQLiteJournal
from support.trails import AT

CALLS = ("pwrite", "fsync", "link", "fchmod")
Tick = Callable[[str], Callable[[], None]]
"""Is called before each thing with its name, and returns what is called after it."""


@contextmanager
def watched(tick: Tick) -> Generator[None]:
    """Have *tick* called around everything that a journal asks of SQLite or the system."""

    def around(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            after = tick(name)
            result = fn(*args, **options)
            after()
            return result

        return call

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *args: Any) -> Any:
            return around(sql.split(maxsplit=1)[0], super().execute)(sql, *args)

        def executemany(self, sql: str, *args: Any) -> Any:
            return around(sql.split(maxsplit=1)[0], super().executemany)(sql, *args)

        def executescript(self, sql: str) -> Any:
            return around("script", super().executescript)(sql)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, *args: Any) -> Any:
            return self.cursor().execute(sql, *args)

        def executemany(self, sql: str, *args: Any) -> Any:
            return self.cursor().executemany(sql, *args)

        def executescript(self, sql: str) -> Any:
            return self.cursor().executescript(sql)

    def connect(*args: Any, **options: Any) -> Any:
        return real(*args, factory=Connection, **options)

    real = sqlite3.connect
    places = [(os, name, name) for name in CALLS]
    places += [(head, "SYNC", "fdatasync"), (fcntl, "flock", "flock")]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(sqlite3, "connect", connect))
        for module, name, label in places:
            call = around(label, getattr(module, name))
            stack.enter_context(mock.patch.object(module, name, call))
        yield


class Acked:
    """What was asked of a journal, and what it has acknowledged."""

    def __init__(self, tell: Callable[[str], object] = lambda _: None, *, mark: str = "") -> None:
        self.asked: list[str] = []
        self.acked: list[str] = []
        self.errors: list[str] = []
        self._tell = tell
        self._mark = mark

    def attempt(self, names: list[str], fn: Callable[[], Any]) -> None:
        """Do something that records *names*, and note what comes of it."""
        self.asked += names
        try:
            fn()
        except JournalError as error:
            self.errors.append(str(error))
            return
        self.acked += names
        for name in names:
            self._tell(name)

    def work(self, path: Path) -> None:
        """Open a journal, and record what a few runs do; go on whatever fails."""
        try:
            journal = SQLiteJournal(path)
        except JournalError as error:
            self.errors.append(str(error))
            return
        r1, r2, r3, s1, s2 = names(self._mark)
        self.attempt([r1], lambda: journal.append("r", said(r1), at=AT))
        self.attempt([r2], lambda: journal.append("r", said(r2), at=AT))
        pair = [Batch("r", said(r3), AT), Batch("s", said(s1), AT)]
        self.attempt([r3, s1], lambda: journal.append_all(pair))
        self.attempt([], lambda: journal.put("s", "pause", at=AT))
        self.attempt([s2], lambda: journal.append("s", said(s2), at=AT))
        self.attempt([], journal.close)


def names(mark: str = "") -> list[str]:
    """Return what is recorded, in order: two commits, one of two runs, and another one."""
    return [f"{mark}{name}" for name in ("r1", "r2", "r3", "s1", "s2")]


def said(text: str) -> list[ev.Event]:
    """Return the events of a small commit."""
    return [ev.Logged("a", text), ev.Logged("a", f"{text}, too")]


def found(path: Path) -> list[str]:
    """Return what the journal at *path* holds, after making sure that it is whole."""
    with SQLiteJournal(path) as journal:
        assert journal.notes == (), journal.notes
        assert journal.verify() == [], journal.verify()
        texts = [
            str(record.data["message"]).removesuffix(", too")
            for run_id in journal.runs()
            for record in journal.read(run_id)
        ]
    once = list(dict.fromkeys(texts))
    assert texts == [text for text in once for _ in range(2)], texts
    return once


def check(asked: list[str], acked: list[str], there: list[str], *, doubt: int) -> None:
    """Make sure that what was acknowledged is there, and of the rest *doubt* commits at most."""
    lost = set(acked) - set(there)
    more = set(there) - set(acked)
    assert not lost, f"acknowledged and lost: {lost}"
    assert more <= set(asked), f"never asked for: {more}"
    commits = {name.replace("s1", "r3") for name in more}
    assert len(commits) <= doubt, f"there, though nobody was told: {more}"


# Processes that die -----------------------------------------------------------------------


def die_at(number: int) -> Tick:
    """Return what kills this process at the *number*-th moment: before or after something."""
    count = 0

    def moment() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def tick(_: str) -> Callable[[], None]:
        moment()
        return moment

    return tick


def killed(path: Path, number: int, mark: str = "") -> tuple[bool, list[str]]:
    """Work in a process that is killed at its *number*-th moment; return whether it was, and acks."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        acks = Acked(lambda name: os.write(into, f"{name} ".encode()), mark=mark)
        with watched(die_at(number)):
            acks.work(path)
        os._exit(0)
    os.close(into)
    _, status = os.waitpid(child, 0)
    with os.fdopen(out) as pipe:
        return os.WIFSIGNALED(status), pipe.read().split()


def kill_everywhere(directory: Path) -> dict[str, int]:
    """Kill a process at each moment, and make sure of what it leaves; then once more on top."""
    number = again = 0
    died = True
    while died:
        number += 1
        path = directory / f"{number}.db"
        died, acked = killed(path, number)
        if died and number % 9 == 0:  # and once more, while what was left is taken up
            died_again, more = killed(path, number // 3 + 1, "again-")
            again += died_again
            acked += more
        asked = names() + names("again-")
        check(asked, acked, found(path), doubt=2 if number % 9 == 0 else 1)
    return {"points": number - 1, "again": again}


# A disk that is full ----------------------------------------------------------------------


def fill_disk(directory: Path) -> dict[str, Any]:
    """Work with every limit on the size of a file, and make sure of what is left."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    errors: list[str] = []
    limits = [0, 1, 100, 511, 512, 4095, 4096, *range(8192, 130_000, 4096)]
    for limit in limits:
        path = directory / f"{limit}.db"
        acks = Acked()
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            acks.work(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        errors += acks.errors
        assert acks.errors or acks.acked == acks.asked != []
        check(acks.asked, acks.acked, found(path), doubt=1)
    return {"limits": len(limits), "errors": errors}


if __name__ == "__main__":
    what = {"kill": kill_everywhere, "fill": fill_disk}[sys.argv[1]]
    print(json.dumps(what(Path(sys.argv[2]))))  # noqa: T201 - whoever started this reads it
