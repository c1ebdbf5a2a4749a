"""When a run decides: in the turn in which a lone call ends, and with nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pyflow
from pyflow.testing import simulate
from pyflow.testing.loop import VirtualLoop
from support.runs import virtual_engine


class CountingLoop(VirtualLoop):
    """A loop that counts its turns, and whatever would end in its log."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.reported: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, about: self.reported.append(about))

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()


def chain(length: int) -> pyflow.Workflow:
    """Return tasks in a row that do nothing."""

    async def nothing() -> None:
        """Do nothing."""

    workflow = pyflow.Workflow("chain")
    for number in range(length):
        workflow.add_task(f"t{number}", nothing, depends_on=[f"t{number - 1}"] if number else [])
    return workflow


def executed(workflow: pyflow.Workflow, factory: Any = None) -> tuple[pyflow.Result, CountingLoop]:
    """Run *workflow* on a loop that counts, whose tasks *factory* makes."""

    async def main() -> pyflow.Result:
        loop.set_task_factory(factory)
        async with asyncio.timeout(60):
            return await virtual_engine().start(workflow)

    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main()), loop


class TestTurns:
    def test_one_for_each_task_of_a_chain(self) -> None:
        """What follows from a lone call is decided, recorded and begun in the turn in which it ends."""
        (short, few), (long, many) = executed(chain(10)), executed(chain(30))

        assert short.status == long.status == "succeeded"
        assert many.turns - few.turns == 20

    def test_nothing_is_reported(self) -> None:
        """No call that has ended is heard of again by the loop."""
        result, loop = executed(chain(3))

        assert result.status == "succeeded"
        assert loop.reported == []

    def test_what_the_last_call_says_is_recorded(self) -> None:
        """What a plain function has noted comes on record with its end, though nothing follows."""
        workflow = pyflow.Workflow("w")

        def talk(ctx: pyflow.Context) -> None:
            ctx.log("on my way")

        workflow.add_task("talk", talk)

        trail = simulate(workflow).audit_trail

        assert [record.task for record in trail.query(kind="logged")] == ["talk"]
        assert trail[-1].kind == "run_finished"

    def test_eager_tasks(self) -> None:
        """Where tasks begin as they are made, and are over before anybody has them, runs end too."""
        result, loop = executed(chain(5), getattr(asyncio, "eager_task_factory", None))

        assert result.status == "succeeded"
        assert loop.reported == []


class TestSlots:
    def test_each_is_given_back_once(self) -> None:
        """A thread that outlives its run gives nothing back that the run has given back already."""
        release = threading.Event()
        workflow = pyflow.Workflow("w")
        workflow.add_task("stuck", lambda: release.wait(60), timeout=0.01)
        engine = pyflow.Engine(drain_timeout=0.01, max_parallel=2, environ={})

        async def main() -> str:
            run = engine.start(workflow)
            await run
            release.set()
            await asyncio.wait(list(run._driver._calls))
            return repr(engine._slots)

        assert asyncio.run(main()) == "<Slots free=2 of 2>"
