"""Short ways to run a workflow in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyflow
from pyflow.define.workflow import Workflow
from pyflow.run.result import Result
from pyflow.testing.loop import VirtualClock, run_virtual


def run(workflow: Workflow, *, engine: pyflow.Engine | None = None, **options: Any) -> Result:
    """Run *workflow* in virtual time, and return its result."""

    async def main() -> Result:
        return await (engine or virtual_engine()).run(workflow, **options)

    return run_virtual(main())


def virtual_engine(**options: Any) -> pyflow.Engine:
    """Return an engine whose clock is the virtual loop's."""
    return pyflow.Engine(clock=VirtualClock(), seed=1, environ={}, **options)


def statuses(result: Result) -> dict[str, str]:
    """Return the status of every task."""
    return {name: task.status for name, task in result.tasks.items()}


def kinds(result: Result) -> list[str]:
    """Return the kinds of all records, in order."""
    return [record.kind for record in result.audit_trail]


def story(result: Result) -> list[str]:
    """Return kind and task of every record about a task, in order."""
    return [f"{r.kind} {r.task}" for r in result.audit_trail if r.task is not None]


class Journal:
    """Notes what functions did, in order; makes functions that note themselves."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def does(self, name: str, output: Any = None) -> Callable[[], Any]:
        """Return an async function that notes *name* and returns *output*."""

        async def act() -> Any:
            self.done.append(name)
            return output

        return act

    def fails(
        self, name: str, error: BaseException | None = None, times: int = 1_000
    ) -> Callable[[], Any]:
        """Return an async function that notes *name* and raises, *times* times."""
        left = times

        async def act() -> None:
            nonlocal left
            self.done.append(name)
            if left:
                left -= 1
                raise error or ValueError(f"{name} went wrong")

        return act
