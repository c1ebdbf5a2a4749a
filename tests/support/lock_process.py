"""Processes that want locks, and how tests talk to them.

Each is told what to do on its standard input, a line at a time, and answers
each with a line on its standard output.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyflow
from pyflow.errors import LockError
from pyflow.record.events import RunPaused
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.locks import SQLiteLocks
from pyflow.record.sqlite.owners import Owner
from support.trails import STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pyflow.protocols import Lease

TESTS = str(Path(__file__).parent.parent)
PYTHONPATH = os.pathsep.join(filter(None, [TESTS, os.environ.get("PYTHONPATH")]))
GUARD_S = 30
PAUSE_S = (0.001, 0.02)
HOLD_S = 0.001


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def opened(
    path: Path | str,
    *,
    now: Callable[[], datetime] = now,
    looks: int = 20,
    locks: type[SQLiteLocks] = SQLiteLocks,
) -> Generator[SQLiteLocks]:
    """Open the database at *path*, with an owner and locks of its own."""
    with Database(path) as database, Owner(path, now=now) as owner:
        yield locks(database, owner, now=now, pause_s=PAUSE_S, looks=looks)


class Process:
    """A process that runs one of the functions below."""

    def __init__(self, task: str, *args: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, task, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self.process as process:
            process.kill()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    def hear(self) -> str:
        """Return the next line that it says."""
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], GUARD_S)
            assert ready, f"it said nothing for {GUARD_S} s"
            char = self.process.stdout.read(1)
            assert char, f"it ended with {self.process.wait(GUARD_S)}"
            line += char
        return line.decode().rstrip("\n")

    def ask(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def kill(self) -> None:
        """Kill it with SIGKILL, and see it end."""
        self.process.kill()
        self.process.wait(GUARD_S)

    def stop(self) -> None:
        """Stop it with SIGSTOP, and see it stand still."""
        self.process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def finish(self) -> int:
        """Close its standard input, and see it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(GUARD_S)


# What the processes do --------------------------------------------------------------------


def tell(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Telling(SQLiteLocks):
    """Says so when it has to wait."""

    async def _wait(self, place: Any) -> None:
        tell("waits")
        await super()._wait(place)


async def live(path: str) -> None:
    """Be an owner until standard input ends."""
    with Owner(path, now=now) as owner:
        tell(owner.id)
        sys.stdin.read()


async def hold(path: str, run_id: str, *resources: str) -> None:
    """Take *resources*, then do what each line says."""
    with Database(path) as database, Owner(path, now=now) as owner:
        locks, journal = Telling(database, owner, now=now, pause_s=PAUSE_S), SQLiteJournal(database)
        leases = await locks.acquire(run_id, resources)
        tell(" ".join(f"{lease.resource}@{lease.epoch}" for lease in leases))
        journal.append(run_id, [STARTED], at=now(), fences=leases)
        for line in sys.stdin:
            tell(_do(line.strip(), locks, journal, leases))


def _do(what: str, locks: SQLiteLocks, journal: SQLiteJournal, leases: list[Lease]) -> str:
    if what in ("release", "residue"):
        locks.release(leases, residue=what == "residue")
        return "done"
    try:
        journal.append(leases[0].run_id, [RunPaused(what)], at=now(), fences=leases)
    except LockError as error:
        return f"{type(error).__name__}: {error}"
    return "written"


async def race(path: str, log: str, total: str) -> None:
    """Take and give back one resource until all together have had it *total* times."""
    with opened(path) as locks:
        tell("ready")
        sys.stdin.readline()
        diary = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        entered = 0
        while entered < int(total):
            leases = await locks.acquire(f"r{os.getpid()}", ["a"])
            entered = _note(diary, "enter", leases[0])
            await asyncio.sleep(HOLD_S)
            _note(diary, "leave", leases[0])
            locks.release(leases)
        os.close(diary)


async def deploy(path: str) -> None:
    """Execute a workflow that needs `a`: a task that ends when it is told to, and one after it."""
    workflow = pyflow.Workflow("deploy", locks=["a"])

    def first(ctx: pyflow.Context) -> None:
        tell(ctx.run_id)
        sys.stdin.readline()
        ctx.record_change("a", before=1, after=2)

    workflow.add_task("first", first)
    workflow.add_task("second", lambda: tell("second"), depends_on=["first"])
    try:
        with pyflow.Engine(journal=path) as engine:
            tell(engine.execute(workflow).status)
    except pyflow.JournalError as error:
        tell(f"{type(error.__cause__).__name__}: {error.__cause__}")


def _note(diary: int, what: str, lease: Lease) -> int:
    """Note *what* happened, and return how often anybody has entered so far."""
    os.write(diary, f"{what} {lease.epoch} {lease.run_id}\n".encode())
    return os.pread(diary, os.fstat(diary).st_size, 0).count(b"enter")


if __name__ == "__main__":
    asyncio.run(
        {"live": live, "hold": hold, "race": race, "deploy": deploy}[sys.argv[1]](*sys.argv[2:])
    )
