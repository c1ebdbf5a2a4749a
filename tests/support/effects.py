"""Places where tasks have effects that outlive an engine, and what has to be true of them then."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyflow
from pyflow.define.task import Task

SOON = pyflow.Backoff("1ms", ceiling="1ms", jitter=0)


class Site:
    """A place where tasks have effects, in the order in which they had them."""

    def __init__(self, effects: Iterable[str] = ()) -> None:
        self._effects = list(effects)

    @property
    def effects(self) -> list[str]:
        """What was done, in order."""
        return list(self._effects)

    def note(self, effect: str) -> None:
        """Do something."""
        self._effects.append(effect)

    def go_back(self, effects: Iterable[str] = ()) -> None:
        """Have there what was there when *effects* was all that had been done."""
        self._effects = list(effects)

    def applied(self, name: str) -> int:
        """Return how often *name* was done and not undone."""
        done = Counter(self.effects)
        return done[f"do {name}"] - done[f"undo {name}"]

    def does(self, *, fails: int = 0) -> Callable[..., Any]:
        """Return a task that has its effect, and before that fails in its opening attempts."""

        def does(ctx: pyflow.Context) -> str:
            if ctx.attempt <= fails:
                raise OSError(f"attempt {ctx.attempt} of {ctx.task}")
            self.note(f"do {ctx.task}")
            return ctx.task

        return does

    def does_async(self) -> Callable[..., Any]:
        """Return an async task that has its effect."""

        async def does(ctx: pyflow.AsyncContext) -> str:
            self.note(f"do {ctx.task}")
            return ctx.task

        return does

    def undoes(self, *, fails: int = 0) -> Callable[..., Any]:
        """Return an undo that looks before it acts, and fails in its opening attempts."""

        def undoes(ctx: pyflow.RecoveryContext) -> None:
            if ctx.attempt <= fails:
                raise OSError(f"attempt {ctx.attempt} at undoing {ctx.task}")
            while self.applied(ctx.task) > 0:
                self.note(f"undo {ctx.task}")

        return undoes

    def looks(self, ctx: pyflow.Context) -> Any:
        """Say whether an interrupted task has had its effect, and what it would have returned."""
        return pyflow.Applied(ctx.task) if self.applied(ctx.task) else pyflow.NOT_APPLIED


class FileSite(Site):
    """A place that outlives the process: lines of a file, each written in one piece."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.path = directory / "effects.log"

    @property
    def effects(self) -> list[str]:
        """What was done, in order."""
        return self.path.read_text().splitlines() if self.path.exists() else []

    def note(self, effect: str) -> None:
        """Do something."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, f"{effect}\n".encode())
        finally:
            os.close(fd)


def in_memory_root() -> str | None:
    """Return a directory where syncs cost nothing, if there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def chain(
    wf: pyflow.Workflow, site: Site, names: Sequence[str], after: Sequence[str] = (), **options: Any
) -> None:
    """Add one task after the other, each with an undo; after a crash each looks for its effect."""
    before = list(after)
    for name in names:
        add(wf, site, name, before, **options)
        before = [name]


def add(
    wf: pyflow.Workflow, site: Site, name: str, after: Sequence[str] = (), **options: Any
) -> None:
    """Add a task with an undo that after a crash looks for its effect."""
    options = {"on_interrupt": site.looks} | options
    wf.add_task(name, options.pop("fn", site.does()), depends_on=after, **options)
    wf.add_recovery(name, site.undoes())


def locks_left(directory: Path) -> list[str]:
    """Return the resources that a journal's runs have not given back."""
    with closing(sqlite3.connect(directory / "journal.db")) as connection:
        rows = connection.execute(
            "SELECT resource FROM locks WHERE run_id IN (SELECT run_id FROM runs)"
        )
        return [resource for (resource,) in rows]


def once_each(
    effects: Sequence[str],
    tasks: Mapping[str, str],
    plan: pyflow.Plan,
    *,
    crashes: int,
    rerun: Sequence[str] = (),
) -> None:
    """Check that the effect of each of *tasks* is there as its status says, once, and in order.

    Those that are declared to be *rerun* may have had theirs once more for
    each of the *crashes*.
    """
    done = Counter(effects)
    for name, status in tasks.items():
        if name in plan.nodes and not has_effect(plan.nodes[name].task):
            continue
        does, undoes = done[f"do {name}"], done[f"undo {name}"]
        assert does <= 1 + crashes * (name in rerun), f"{name} was done {does} times: {effects}"
        if status == "succeeded":
            assert does, f"{name} is lost: {effects}"
            assert not undoes, f"{name} was undone, and counts as succeeded: {effects}"
        if status == "undone":
            assert does == undoes, f"{name} is not undone: {effects}"
        if status in ("pending", "blocked", "skipped"):
            assert not does, f"{name} was done, and counts as {status}: {effects}"
    in_order(effects, plan)


def has_effect(task: Task) -> bool:
    """Return whether *task* is one of a `Site`: no map, whose items are, and no approval."""
    return task.map is None and task.approval is None


def in_order(effects: Sequence[str], plan: pyflow.Plan) -> None:
    """Check that no task of *plan* had its effect before one that it depends on, and undos after."""
    for name, node in plan.nodes.items():
        for other in node.depends_on:
            for first, then in ((f"do {other}", f"do {name}"), (f"undo {name}", f"undo {other}")):
                if first in effects and then in effects:
                    last = len(effects) - effects[::-1].index(first)
                    assert last <= effects.index(then), f"{then} before {first}: {effects}"
