"""A signal at every await of a run: it ends in time, is taken up, and leaves nothing behind.

Each callback of the event loop, from the first to the last, is a point at
which something that waited goes on; at each of them a real process is sent a
signal, and at some a second one.
"""

from __future__ import annotations

import random
import signal
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import pyflow
from pyflow.testing.lives import End, Story, Work, play
from support.effects import in_memory_root, locks_left
from support.killed import FACTOR, Tell
from support.signalled import (
    GRACE_S,
    PATIENCE_S,
    Blow,
    check_effects,
    isolated,
    live,
    orphans,
    sample,
)

Make = Callable[[Path], pyflow.Workflow]

TIMEOUT_S = 60.0
FIRST = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
"""What a program ends with that was sent a signal once."""


class Trials:
    """Runs of one workflow that are sent signals."""

    def __init__(self, make: Make) -> None:
        self.endings: Counter[str] = Counter()
        self.problems: list[str] = []
        self.missed = 0
        self._make = make
        self._tasks: dict[str, str] = {}
        self.turns = self._play([self._whole()])

    def strike(self, *trials: tuple[Blow, ...]) -> None:
        """Send one run after the other the signals of a trial."""
        self._play([self._trial(blows) for blows in trials])

    def _play(self, stories: list[Story]) -> int:
        play(deque(stories), workers=2, timeout_s=TIMEOUT_S)
        return self._turns

    def _whole(self) -> Story:
        with tempfile.TemporaryDirectory(dir=in_memory_root()) as name:
            end = yield partial(live, self._make, Path(name), ())
            assert "error" not in end.told, end.told
            assert end.told["left"] == [], end.told
            self._turns, self._tasks = end.told["turns"], end.told["tasks"]

    def _trial(self, blows: tuple[Blow, ...]) -> Story:
        with tempfile.TemporaryDirectory(dir=in_memory_root()) as name:
            try:
                yield from self._struck(Path(name), blows)
            except AssertionError as error:
                self.endings["broken"] += 1
                self.problems.append(f"{' and '.join(map(str, blows))}: {error}")

    def _struck(self, directory: Path, blows: tuple[Blow, ...]) -> Generator[Work, End, None]:
        end = yield partial(live, self._make, directory, blows)
        assert "error" not in end.told, end.told["error"]
        if end.told.get("blows") == 0:
            self.missed += 1
            return
        self._check_end(end, blows)
        assert orphans(directory) == []
        self.endings[f"ended with {end.code or end.told['code']}"] += 1
        again = yield partial(live, self._make, directory, ())
        assert "error" not in again.told, again.told["error"]
        assert again.told["tasks"] == self._tasks, again.told
        assert again.told["left"] == [], again.told
        check_effects(self._make, directory, self._tasks, crashes=1)
        assert locks_left(directory) == []

    def _check_end(self, end: End, blows: tuple[Blow, ...]) -> None:
        """Check how a process ended: as its signals say, in time, and with everything let go of."""
        told = end.told
        if not told:  # the signal came before the run had begun, after it, or for the second time
            assert end.code in [-signal.Signals[blow.by] for blow in blows], end
            return
        assert told["code"] in [FIRST[blow.by] for blow in blows], told
        assert told["took_s"] < GRACE_S + PATIENCE_S, told
        if told["blows"] == 1:
            assert told["left"] == [], told


def first(turns: int, *signals: str) -> list[tuple[Blow, ...]]:
    """Return a trial for each of so many turns and each of *signals*."""
    return [(Blow(turn, by),) for by in signals for turn in range(1, turns + 1)]


def at_once(turns: int) -> list[tuple[Blow, ...]]:
    """Return trials of two signals at one turn; `make soak` has one for each turn."""
    return [(Blow(n, "SIGINT"), Blow(n, "SIGINT")) for n in range(1, turns + 1, max(1, 6 - FACTOR))]


def twice(turns: int, number: int) -> list[tuple[Blow, ...]]:
    """Return trials of two signals each, drawn at random."""
    rng = random.Random(turns)
    return [
        (
            Blow(turn := rng.randint(1, turns), rng.choice(["SIGINT", "SIGTERM"])),
            Blow(turn + rng.choice([0, 1, 2, 3, 5, 8, 13, 21]), rng.choice(["SIGINT", "SIGTERM"])),
        )
        for _ in range(number)
    ]


class TestEverySignal:
    def test_at_every_await(self, tell: Tell) -> None:
        """Whenever SIGINT or SIGTERM comes, the run is left in time, and can be taken up."""
        trials = Trials(sample)
        trials.strike(*first(trials.turns, "SIGINT", "SIGTERM"))

        tell("sample by signals at every await", sum(trials.endings.values()), trials.endings)
        assert trials.problems == []
        assert trials.endings["ended with 130"] > trials.turns // 2
        assert trials.endings["ended with 143"] > trials.turns // 2

    def test_twice(self, tell: Tell) -> None:
        """The second signal ends it at once, wherever it comes, and the run can be taken up."""
        trials = Trials(sample)
        trials.strike(*at_once(trials.turns), *twice(trials.turns, 60 * FACTOR))

        tell("sample by two signals", sum(trials.endings.values()), trials.endings)
        assert trials.problems == []

    def test_hangup(self, tell: Tell) -> None:
        """So is it when the terminal goes."""
        trials = Trials(sample)
        trials.strike(*first(trials.turns, "SIGHUP")[::7])

        tell("sample by signals at every await", sum(trials.endings.values()), trials.endings)
        assert trials.problems == []
        assert trials.endings["ended with 129"] > 3

    def test_isolated(self, tell: Tell) -> None:
        """No process of a task is left, nor what it has started, whichever signal comes when."""
        trials = Trials(isolated)
        single = first(trials.turns, "SIGTERM") + first(trials.turns, "SIGINT")[::5]
        double = at_once(trials.turns) + twice(trials.turns, 15 * FACTOR)
        trials.strike(*single, *double)

        tell("isolated by signals at every await", sum(trials.endings.values()), trials.endings)
        assert trials.problems == []
        assert trials.endings["ended with 143"] > trials.turns // 2
