"""Pairs of faults: what a part of them shows, and what pruning must not lose of all."""

from __future__ import annotations

from typing import Any

from pyflow import Backoff, Workflow
from pyflow.strategies import rolling
from pyflow.testing import Explored, FaultKind, World, always, explore
from support.pairs import explore_part
from support.rollouts import NEW, OLD

PAIRS = 5
SOME: tuple[FaultKind, ...] = ("lies", "crash", "roll_back")


def open_works() -> World:
    """Return a world with one worker."""
    world = World()
    world.service("shop", version=OLD, instances=1, routed=False)
    world.release("shop", NEW, startup="30s")
    return world


def make(world: World) -> Workflow:
    """Return an update of the one worker."""
    backoff = Backoff("30s", factor=1, jitter=0)
    return rolling("shop", NEW, platform=world.platform, instances=1, backoff=backoff)


class TestAPart:
    def test_sees_what_is_broken(self) -> None:
        """What goes wrong, without a fault or under one, is told with what it takes."""
        world = open_works()

        @always
        def is_never_gone(world: World) -> bool:
            return OLD in world.services["shop"].counts()

        def is_never_taken_back(run: Explored) -> bool:
            return run.status != "rolled_back"

        invariants = [is_never_gone, is_never_taken_back]
        part = explore_part(lambda: make(world), world, pairs=PAIRS, invariants=invariants)

        assert part.by_faults[2] == PAIRS
        assert part.broken[0].startswith("is never gone")
        assert part.broken[0].endswith("under no fault")
        assert any(one.startswith("is never taken back") for one in part.broken)

    def test_is_the_same_each_time(self) -> None:
        """A part is drawn by its seed, and by nothing else."""
        told: list[list[str]] = []

        for seed in (1, 1, 2):
            world, scripts = open_works(), list[str]()

            def note(run: Explored, scripts: list[str] = scripts) -> None:
                scripts.append(str(run.faults))

            explore_part(
                lambda world=world: make(world), world, pairs=PAIRS, seed=seed, invariants=[note]
            )
            told.append(scripts)

        assert told[0] == told[1] != told[2]


class TestPruning:
    def test_loses_no_end(self) -> None:
        """Whatever a pair of faults can lead to without pruning, some pair leads to with it."""
        whole, pruned = self.ends(prune=False), self.ends(prune=True)

        assert pruned[0] == whole[0]
        assert pruned[1] < whole[1] * 2 / 3

    def ends(self, *, prune: bool) -> tuple[set[Any], int]:
        """Return all that an update comes to under two faults, and in how many runs that was seen."""
        world, ends = open_works(), set[Any]()

        def note(run: Explored) -> None:
            tasks = {name: task.status for name, task in run.state.tasks.items()}
            ends.add((run.status, *tasks.items(), *run.after.items(), *run.residue))

        report = explore(
            lambda: make(world), world=world, kinds=SOME, invariants=[note], prune=prune
        )
        assert report.ok, report
        return ends, report.runs
