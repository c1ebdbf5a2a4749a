"""`crash_everywhere`: kill a real process around every commit, take the run up, and compare.

A simulation kills an engine that is a value. This kills a process: with
SIGKILL, around every commit of a journal on disk, in the run and in its
recovery. What is left on the disk is what the next process finds.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import tempfile
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pyflow.define.workflow import Workflow
from pyflow.errors import nearest, shown
from pyflow.frozen import frozen
from pyflow.run.engine import Engine
from pyflow.run.states import RUN_ENDS
from pyflow.spans import Span, seconds
from pyflow.testing.errors import SimulationError
from pyflow.testing.lives import play

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pyflow.run.result import Result
    from pyflow.testing.lives import End, Story, Work

__all__ = ["Crash", "CrashReport", "Killer", "Survivor", "crash_everywhere"]

Killer: TypeAlias = Literal["SIGKILL", "SIGTERM"]
"""What a process is killed with."""

JOURNAL = "journal.db"
LIVES_MAX = 20
"""How many processes may take one run up, one after the other."""


@dataclass(frozen=True, slots=True, order=True)
class Crash:
    """Where a process is killed: around which of its commits, and in which process."""

    life: int
    """The process: 1 runs the workflow, 2 takes it up, and so on."""

    commit: int
    """The number of the commit in that process, from 1."""

    when: str
    """`before` or `after` the commit."""

    by: Killer = "SIGKILL"
    """The signal."""

    @property
    def codes(self) -> tuple[int, int]:
        """What a process ends with that was killed so: at once, or after letting go of its run."""
        number = signal.Signals[self.by]
        return -number, 128 + number

    def __str__(self) -> str:
        by = "" if self.by == "SIGKILL" else f" by {self.by}"
        return f"{self.when} commit {self.commit} of process {self.life}{by}"


@dataclass(frozen=True, slots=True)
class Survivor:
    """What came of a run that was killed and taken up."""

    directory: Path
    """Where its functions had their effects; its record is in ``journal.db`` there."""

    run_id: str
    """The run."""

    crashes: tuple[Crash, ...]
    """Where its processes were killed."""

    status: str
    """How it ended, or `held`."""

    tasks: Mapping[str, str]
    """The status of each task."""

    residue: tuple[str, ...]
    """What is still applied after a rollback."""


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What came of killing a workflow everywhere."""

    points: int
    """How many runs were killed, each at a point of its own."""

    missed: int
    """How many were not, because threads let a run commit in another way each time."""

    endings: Mapping[str, int]
    """How many runs ended in which status."""

    problems: tuple[str, ...] = field(repr=False)
    """What went wrong, a sentence each."""

    @property
    def ok(self) -> bool:
        """Whether every run came to what the run that was not killed came to, or is in doubt."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        endings = ", ".join(f"{status} {count:,}" for status, count in self.endings.items())
        missed = f"; {self.missed:,} more were not reached" if self.missed else ""
        head = f"killed at {self.points:,} points: {endings or 'none'}{missed}"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


def crash_everywhere(
    factory: Callable[[Path], Workflow],
    *,
    check: Callable[[Survivor], object] | None = None,
    operator: Callable[[Engine, Survivor], object] | None = None,
    again: int | Sequence[int] = 0,
    signals: Sequence[Killer] = ("SIGKILL",),
    points_max: int | None = None,
    seed: int = 0,
    workers: int = 2,
    root: str | os.PathLike[str] | None = None,
    timeout: Span = "1m",
) -> CrashReport:
    """Kill a workflow around every commit of its journal, take it up, and compare.

    Each run has a fresh directory and a journal on disk. Its process is killed
    right before or after a commit; another one resumes it. It has to end as
    the run that was not killed, task by task. Only where nobody can know
    whether a task took effect, and its ``on_interrupt=`` asks for a person,
    may it be held instead.

    Processes are forked, so call it where no other thread holds locks; it
    needs a POSIX system.

    Args:
        factory: Returns the workflow; its functions have their effects in the
            directory that they are given, and nowhere else.
        check: Called with each `Survivor`; broken if it returns False or a
            sentence, or fails an assertion.
        operator: Called in a process of its own whenever a run rests as held,
            with an engine on its journal, to ask something of it: `approve`,
            say. Then another process takes the run up.
        again: At how many points of each recovery its process is killed as
            well, drawn by *seed*. Several numbers go on with the recovery from that.
        signals: What to kill with, each at every point. SIGTERM leaves a
            process time to let go of the run.
        points_max: How many points to try at most, those of *again* aside,
            drawn by *seed*; all unless given.
        seed: Decides what is drawn.
        workers: How many processes are under way at a time.
        root: Where the directories are made; among temporary files unless
            given. In memory, as under ``/dev/shm``, syncs cost nothing, and
            SIGKILL leaves the same there.
        timeout: How long one process may take before it counts as stuck.

    Raises:
        SimulationError: The run that is not killed goes wrong, a signal is
            none of these, or this system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise SimulationError("crash_everywhere needs a system that can fork processes")
    for name in signals:
        if name not in get_args(Killer):
            near = nearest(str(name), get_args(Killer))
            raise SimulationError(f"signals= names {shown(name)}; did you mean {near!r}?")
    timeout_s = seconds(timeout, what="timeout")
    deeper = (again,) if isinstance(again, int) else tuple(again)
    trials = _Trials(factory, check, operator, again=deeper, seed=seed, root=root)
    _warm_up(root)
    trials.stories.append(trials.whole())
    play(trials.stories, workers=1, timeout_s=timeout_s)
    points = trials.points(signals)
    if points_max is not None and points_max < len(points):
        points = sorted(_rng(seed, "points").sample(points, points_max))
    trials.stories += [trials.trial(one) for one in points]
    play(trials.stories, workers=workers, timeout_s=timeout_s)
    return trials.report()


class _Trials:
    """Runs that are killed, and what came of them."""

    def __init__(
        self,
        factory: Callable[[Path], Workflow],
        check: Callable[[Survivor], object] | None,
        operator: Callable[[Engine, Survivor], object] | None,
        *,
        again: tuple[int, ...],
        seed: int,
        root: str | os.PathLike[str] | None,
    ) -> None:
        self.stories: deque[Story] = deque()
        self._factory = factory
        self._check = check
        self._operator = operator
        self._again = again
        self._seed = seed
        self._root = root
        self._points = 0
        self._missed = 0
        self._endings: Counter[str] = Counter()
        self._problems: list[tuple[tuple[Crash, ...], str]] = []
        self._whole: _Ended | None = None

    def report(self) -> CrashReport:
        """Return what came of all."""
        problems = [
            f"killed {' and '.join(map(str, crashes))}: {problem}"
            for crashes, problem in sorted(self._problems)
        ]
        endings = dict(sorted(self._endings.items()))
        return CrashReport(self._points, self._missed, endings, tuple(problems))

    def points(self, signals: Sequence[Killer]) -> list[Crash]:
        """Return where the run can be killed that `whole` has seen."""
        return [one for by in signals for one in self._reference.points(by)]

    @property
    def _reference(self) -> _Ended:
        assert self._whole is not None
        return self._whole

    def whole(self) -> Story:
        """See what the run comes to that is not killed."""
        with self._place() as place:
            try:
                self._whole = yield from self._live(place, ())
            except _Broken as error:
                raise SimulationError(f"the run that is not killed went wrong: {error}") from None

    def trial(self, crash: Crash) -> Story:
        """Kill a run at *crash*, take it up until it rests, and compare; then kill its recoveries."""
        with self._place() as place:
            yield from self._branch(place, (crash,))

    def _branch(self, place: _Place, crashes: tuple[Crash, ...]) -> Story:
        """Kill the run at the last of *crashes*, where the one before it has left it, and so on."""
        try:
            ended = yield from self._live(place, crashes)
        except _Broken as error:
            self._points += 1
            self._endings["broken"] += 1
            self._problems.append((crashes, str(error)))
            return
        self._endings[ended.survivor.status] += 1
        self._problems += [(crashes, problem) for problem in self._judge(ended.survivor)]
        if not ended.was_killed:
            self._missed += 1
            return
        self._points += 1
        for one in self._deeper(crashes, ended):
            place.restore(len(crashes))
            yield from self._branch(place, (*crashes, one))

    def _deeper(self, crashes: tuple[Crash, ...], ended: _Ended) -> list[Crash]:
        """Draw where the recovery that *ended* is killed as well."""
        if len(crashes) > len(self._again):
            return []
        points = ended.points(crashes[-1].by, after=crashes[-1].life)
        rng = _rng(self._seed, crashes)
        return rng.sample(points, min(self._again[len(crashes) - 1], len(points)))

    def _live(self, place: _Place, crashes: tuple[Crash, ...]) -> Generator[Work, End, _Ended]:
        """Have one process after the other take the run up, until it rests for good.

        The first of them is the one after that which the last but one of
        *crashes* has killed.

        Raises:
            _Broken: It does not.
        """
        commits: dict[int, int] = {}
        was_killed = False
        begin = crashes[-2].life if len(crashes) > 1 else 0
        for life in range(begin + 1, begin + LIVES_MAX + 1):
            crash = crashes[-1] if crashes and crashes[-1].life == life else None
            end = yield partial(_take_up, self._factory, place.directory, crash)
            if crash is not None and end.code in crash.codes:
                was_killed = True
                if len(crashes) <= len(self._again):
                    place.save(len(crashes))
                continue
            told = _told(end)
            commits[life] = told["commits"]
            survivor = _survivor(place.directory, crashes, told)
            if survivor.status != "held" or self._operator is None:
                return _Ended(survivor, commits, was_killed)
            end = yield partial(_operate, self._operator, survivor)
            if not _told(end)["asked"]:
                return _Ended(survivor, commits, was_killed)
        raise _Broken(f"it has not come to rest in {LIVES_MAX} processes")

    @contextmanager
    def _place(self) -> Generator[_Place]:
        """Have a place for one run and what is left of it, for as long as the block lasts."""
        with tempfile.TemporaryDirectory(dir=self._root) as name:
            yield _Place(Path(name))

    def _judge(self, one: Survivor) -> Iterator[str]:
        whole = self._reference.survivor
        if one.status == "held" != whole.status:
            if "interrupted" not in one.tasks.values():
                yield "it is held, though it is known of each task whether it took effect"
        elif one.status != whole.status:
            yield f"it ended as {one.status}, and the run that was not killed as {whole.status}"
        elif (one.tasks, one.residue) != (whole.tasks, whole.residue):
            yield f"its tasks are {_states(one)}, and would be {_states(whole)}"
        if self._check is None:
            return
        try:
            answer = self._check(one)
        except AssertionError as error:
            answer = str(error) or "the assertion failed"
        if answer is False or isinstance(answer, str):
            yield answer or "check said no"


@frozen
class _Ended:
    """A run that has come to rest."""

    survivor: Survivor
    commits: Mapping[int, int]  # of each of its processes that was not killed
    was_killed: bool  # or it did not come to that point

    def points(self, by: Killer, *, after: int = 0) -> list[Crash]:
        """Return where its processes, those after number *after*, can be killed."""
        return [
            Crash(life, commit, when, by)
            for life, commits in self.commits.items()
            if life > after
            for commit in range(1, commits + 1)
            for when in ("before", "after")
        ]


class _Place:
    """Where a run lives, and what its deaths have left there.

    What a death has left is kept, and put back for each crash of the recovery
    that follows, so that no process has to live through the same once more.
    """

    def __init__(self, root: Path) -> None:
        self.directory = root / "run"
        self._root = root
        self.directory.mkdir()

    def save(self, number: int) -> None:
        """Keep what is there now as what death *number* has left."""
        kept = self._root / str(number)
        if kept.exists():
            shutil.rmtree(kept)
        shutil.copytree(self.directory, kept, symlinks=True, ignore=_no_files)

    def restore(self, number: int) -> None:
        """Have there what death *number* has left, at the same path."""
        shutil.rmtree(self.directory)
        shutil.copytree(self._root / str(number), self.directory, symlinks=True)


def _no_files(directory: str, names: list[str]) -> list[str]:
    """Return those of *names* that nobody can copy: sockets and the like, whose owners are dead."""
    modes = {name: os.lstat(Path(directory) / name).st_mode for name in names}
    known = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    return [name for name, mode in modes.items() if not any(is_it(mode) for is_it in known)]


class _Broken(Exception):
    """A run did not come to rest."""


def _survivor(directory: Path, crashes: tuple[Crash, ...], told: Mapping[str, Any]) -> Survivor:
    return Survivor(
        directory,
        told["run_id"],
        crashes,
        told["status"],
        told["tasks"],
        tuple(told["residue"]),
    )


def _told(end: End) -> Mapping[str, Any]:
    if "error" in end.told:
        raise _Broken(end.told["error"])
    if not end.told:
        raise _Broken(f"a process ended with {end.code}, and nobody had killed it")
    return end.told


def _states(one: Survivor) -> str:
    residue = f" with residue {', '.join(one.residue)}" if one.residue else ""
    return ", ".join(f"{name} {status}" for name, status in one.tasks.items()) + residue


def _rng(seed: int, what: object) -> random.Random:
    """Return what draws *what*, whichever process comes to it first."""
    return random.Random(f"{seed} {what}")  # noqa: S311 - a sample, nothing secret


# In the processes -------------------------------------------------------------------------


def _warm_up(root: str | os.PathLike[str] | None) -> None:
    """Import and build once, here, what each process would otherwise import and build for itself."""
    workflow = Workflow("warm-up")
    workflow.add_task("nothing", _nothing)
    with (
        tempfile.TemporaryDirectory(dir=root) as name,
        Engine(journal=Path(name) / JOURNAL, environ={}, source=False) as engine,
    ):
        engine.execute(workflow)


async def _nothing() -> None: ...


def _take_up(
    factory: Callable[[Path], Workflow], directory: Path, crash: Crash | None
) -> Mapping[str, Any]:
    """Run the workflow, or take it up, until it rests, or until this process is killed."""
    with Engine(journal=directory / JOURNAL, environ={}, source=False, seed=1) as engine:
        counter = _Counter(engine.journal, crash)
        workflow = factory(directory)
        runs = engine.journal.runs()
        if runs:
            result = engine.resume(runs[0], workflow, initiator="crash")
        else:
            result = engine.execute(workflow, initiator="crash")
        engine.trail(result.run_id).verify(complete=result.status in RUN_ENDS)
        return _summary(result) | {"commits": counter.commits}


def _operate(operator: Callable[[Engine, Survivor], object], held: Survivor) -> Mapping[str, Any]:
    """Have *operator* ask something of a run that is held."""
    with Engine(journal=held.directory / JOURNAL, environ={}, source=False) as engine:
        operator(engine, held)
        journal: Any = engine.journal
        return {"asked": len(journal.pending(held.run_id))}


class _Counter:
    """Counts the commits of a journal, and ends the process at one of them."""

    def __init__(self, journal: Any, crash: Crash | None) -> None:
        self.commits = 0
        self._crash = crash
        journal.append = self._watched(journal.append)
        journal.append_all = self._watched(journal.append_all)

    def _watched(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            self.commits += 1
            self._come_to("before")
            done = commit(*args, **options)
            self._come_to("after")
            return done

        return watched

    def _come_to(self, when: str) -> None:
        crash = self._crash
        if crash is not None and (crash.commit, crash.when) == (self.commits, when):
            os.kill(os.getpid(), signal.Signals[crash.by])


def _summary(result: Result) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        "status": result.status,
        "tasks": {name: task.status for name, task in result.tasks.items()},
        "residue": list(result.residue),
    }
