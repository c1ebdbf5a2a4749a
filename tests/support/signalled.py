"""Runs that are sent signals while they wait, and what they leave behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyflow
from support.effects import SOON, FileSite, add, once_each

GRACE_S = 0.03
PATIENCE_S = 20.0
"""How long threads and processes that are about to end may take for it on a busy machine."""

STOPPED = ("SIGINT", "SIGTERM", "SIGHUP")


def sample(directory: Path) -> pyflow.Workflow:
    """Return a workflow that waits in every way: for threads, timers, retries, steps and locks."""
    site = FileSite(directory)
    wf = pyflow.Workflow("sample", locks=["service:shop"])
    add(wf, site, "a")

    @wf.task(depends_on=["a"], on_interrupt="rerun")
    async def steps(ctx: pyflow.AsyncContext) -> None:
        for step in range(ctx.checkpoints.get("steps", 0), 4):
            ctx.checkpoint("steps", step + 1)
            await ctx.sleep("1ms")
        site.note("do steps")

    def long(ctx: pyflow.Context) -> str:
        ctx.sleep(2 * GRACE_S)  # a signal that comes at its beginning does not wait for its end
        site.note("do long")
        return "long"

    add(wf, site, "long", ["a"], fn=long)
    often = pyflow.Retry(9, backoff=SOON, after_crash=True)
    add(wf, site, "flaky", ["a"], fn=site.does(fails=1), retry=often)
    add(wf, site, "last", ["steps", "long", "flaky"])
    wf.add_finalizer("report", lambda: site.note("report"))
    return wf


def isolated(directory: Path) -> pyflow.Workflow:
    """Return a workflow with a task in a process of its own, which starts another process."""
    wf = pyflow.Workflow("isolated", params={"directory": str(directory)})
    site = FileSite(directory)
    add(wf, site, "a")
    wf.add_task("apart", apart, depends_on=["a"], isolation="process", on_interrupt="rerun")
    add(wf, site, "last", ["apart"])
    return wf


def apart(ctx: pyflow.Context, directory: str) -> None:
    """Start something that would go on for an hour, wait a moment, end it, and have an effect."""
    site = FileSite(Path(directory))
    with subprocess.Popen(["sleep", "3600"]) as started:
        for pid in (os.getpid(), started.pid):
            site.note(f"pid {pid}")
        ctx.sleep(GRACE_S)
        started.kill()
    site.note(f"do {ctx.task}")


# In a process of its own ------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Blow:
    """A signal, sent when so many callbacks of the event loop have been called."""

    turn: int
    by: str

    def __str__(self) -> str:
        return f"{self.by} at turn {self.turn}"


def live(
    make: Callable[[Path], pyflow.Workflow], directory: Path, blows: Sequence[Blow]
) -> dict[str, Any]:
    """Run a workflow, or take it up, while *blows* come; return what came of it and what is left."""
    # asyncio says that of its own coroutines, where the second signal comes while it closes.
    warnings.filterwarnings("ignore", "coroutine 'BaseEventLoop.* was never awaited")
    before, struck = traces(), Struck(blows)
    told: dict[str, Any] = {"code": 0, "status": None}
    try:
        with pyflow.Engine(journal=directory / "journal.db", grace=GRACE_S, environ={}) as engine:
            with struck.watching():
                result = take_up(engine, make(directory))
            told |= {
                "status": result.status,
                "tasks": {name: task.status for name, task in result.tasks.items()},
            }
            engine.trail(result.run_id).verify(complete=True)
    except KeyboardInterrupt:
        told["code"] = 130
    except SystemExit as ended:
        told["code"] = ended.code
    took_s = time.monotonic() - struck.at_s[0] if struck.at_s else 0
    left = sorted(traces(waiting_for=before) - before)
    return told | {"left": left, "took_s": took_s, "turns": struck.turns, "blows": len(struck.at_s)}


def take_up(engine: pyflow.Engine, workflow: pyflow.Workflow) -> pyflow.Result:
    """Start the run, or resume it."""
    runs = engine.journal.runs()
    return engine.resume(runs[0], workflow) if runs else engine.execute(workflow)


class Struck:
    """Sends this process signals at certain callbacks of its event loop."""

    def __init__(self, blows: Sequence[Blow]) -> None:
        self.turns = 0
        self.at_s: list[float] = []
        self._blows = sorted(blows)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Count callbacks for as long as the block lasts."""
        run = asyncio.Handle._run

        def watched(handle: asyncio.Handle) -> None:
            if threading.current_thread() is threading.main_thread():
                self._turn()
            run(handle)

        with mock.patch.object(asyncio.Handle, "_run", watched):
            yield

    def _turn(self) -> None:
        self.turns += 1
        while len(self.at_s) < len(self._blows):
            blow = self._blows[len(self.at_s)]
            if blow.turn > self.turns:
                return
            self.at_s.append(time.monotonic())
            os.kill(os.getpid(), signal.Signals[blow.by])


def traces(*, waiting_for: set[str] | None = None) -> set[str]:
    """Return the threads, open files, handlers and child processes of this process.

    With *waiting_for*, have those end that are about to.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        names = {f"thread {thread.name}" for thread in threading.enumerate()}
        names |= {f"file {target}" for target in open_files()}
        names |= {f"handler of {name}: {handler_of(name)}" for name in STOPPED}
        names |= {f"process {pid}" for pid in children()}
        if waiting_for is None or names <= waiting_for or time.monotonic() > deadline:
            return names
        os.sched_yield()


def handler_of(name: str) -> str:
    """Return what is called when the signal *name* comes."""
    handler = signal.getsignal(signal.Signals[name])
    return getattr(handler, "__qualname__", repr(handler))


def open_files() -> list[str]:
    """Return what this process has open."""
    found: list[str] = []
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):  # the one that lists them
            found.append(f"{entry.name} {entry.readlink()}")
    return found


def children() -> list[int]:
    """Return the processes that this one has started and that are still there."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


# Outside ----------------------------------------------------------------------------------


def orphans(directory: Path) -> list[int]:
    """Return the processes that isolated tasks have noted and that are still there in a while."""
    noted = [int(e.split()[1]) for e in FileSite(directory).effects if e.startswith("pid ")]
    deadline = time.monotonic() + PATIENCE_S
    while (left := [pid for pid in noted if lives(pid)]) and time.monotonic() < deadline:
        os.sched_yield()
    return left


def lives(pid: int) -> bool:
    """Return whether the process *pid* is there, and no mere entry that nobody has read yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def check_effects(
    make: Callable[[Path], pyflow.Workflow],
    directory: Path,
    tasks: Mapping[str, str],
    *,
    crashes: int,
) -> None:
    """Check that every task had its effect, and only those twice that may."""
    plan = make(directory).check()
    effects = FileSite(directory).effects
    once_each(effects, tasks, plan, crashes=crashes, rerun=("steps", "flaky", "apart"))
