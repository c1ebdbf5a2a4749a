"""What an exploration forgets of a run that rolls back, and what it may not forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyflow import AsyncContext, RecoveryContext, Workflow
from pyflow.errors import RunStopping
from pyflow.record.events import Event, TaskFailed
from pyflow.testing import Exploration, Explored, World, explore, returns
from pyflow.testing.faults import FaultKind
from support.explored import break_down, made, remembering, switch
from support.simulated import nothing_behind

AS_BEFORE = "After `rolled_back`, versions, capacity, weights and configuration are as before."


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


def checked(world: World, undo: Callable[..., Any] | None = None) -> Workflow:
    """Return a switch after which there is a check, which changes nothing."""

    async def check() -> str:
        """Find nothing wrong."""
        return "fine"

    workflow = switch(world, undo=undo)
    workflow.add_task("check", check, depends_on="deploy", effect=False, timeout="1m")
    return workflow


def by_status(world: World) -> Workflow:
    """Return one that takes nothing back where the check has failed."""

    async def put_back(ctx: RecoveryContext) -> None:
        if ctx.outcome("check") != "failed":
            world.config["mode"] = None

    return checked(world, put_back)


def by_cause(world: World) -> Workflow:
    """Return one that takes nothing back where the check is what has failed."""

    async def put_back(ctx: RecoveryContext) -> None:
        if ctx.cause is None or ctx.cause.task != "check":
            world.config["mode"] = None

    return checked(world, put_back)


def found(make: Callable[[World], Workflow], **options: Any) -> Exploration:
    """Explore it where a person may ask for a rollback before anything fails."""
    world = World()
    return explore(made(make, world), world=world, kinds=["roll_back", "fails"], **options)


def is_failure(event: Event) -> bool:
    return isinstance(event, TaskFailed) and event.task == "check"


class TestRollback:
    def test_why_is_forgotten(self) -> None:
        """A run that rolls back is given up where another did, whatever either rolls back for."""
        report, whole = found(checked, faults=1), found(checked, faults=1, prune=False)

        assert report.ok
        assert whole.ok
        # The check is failed by a fault at its beginning, and cut short by three requests; the
        # second of them finds a state that the others are taken for.
        assert report.endings["rolled_back"] < whole.endings["rolled_back"]
        assert report.pruned > 0

    @pytest.mark.parametrize("processes", [1, 2])
    @pytest.mark.parametrize("make", [by_status, by_cause])
    def test_a_function_looks_back(self, make: Callable[[World], Workflow], processes: int) -> None:
        """Where an undo asks what failed, that is not forgotten."""
        report = found(make, faults=1, find_all=True, processes=processes)
        whole = found(make, faults=1, find_all=True, prune=False)

        scripts = [list(map(str, one.faults)) for one in report.counterexamples]
        assert scripts == [["check#1 begins: fails"]]
        assert scripts == [list(map(str, one.faults)) for one in whole.counterexamples]
        assert (
            str(report).partition(" in ")[0]
            == str(found(make, faults=1, find_all=True)).partition(" in ")[0]
        )

    @pytest.mark.parametrize(
        "failed",
        [
            lambda run: run.state.tasks["check"].status == "failed",
            lambda run: run.result.tasks["check"].status == "failed",
            lambda run: any(is_failure(event) for event in run.events),
            lambda run: any(is_failure(one.event) for one in run.audit_trail),
            lambda run: any(one.task == "check" and one.outcome == "raised" for one in run.calls),
        ],
        ids=["state", "result", "events", "audit_trail", "calls"],
    )
    def test_an_invariant_looks_back(self, failed: Callable[[Explored], bool]) -> None:
        """Where an invariant asks what failed, that is not forgotten."""

        def is_sound(run: Explored) -> bool:
            """The check does not fail."""
            return run.status != "rolled_back" or not failed(run)

        report = found(checked, faults=1, invariants=[is_sound])

        assert report.counterexample is not None
        assert list(map(str, report.counterexample.faults)) == ["check#1 begins: fails"]

    @pytest.mark.parametrize("by_argument", [True, False])
    def test_what_was_heard_before(self, *, by_argument: bool) -> None:
        """A task that is under way as the run turns back knows what it was told on the way."""

        def make(world: World) -> Workflow:
            async def put(ctx: AsyncContext, check: str | None = "none") -> None:
                was = check == "none" if by_argument else ctx.outcome("check") == "failed"
                try:
                    await ctx.sleep("10s")
                except RunStopping:
                    world.config["mode"] = "left" if was else None
                    raise

            async def nothing() -> None:
                """Do nothing."""

            async def check() -> None:
                """Find nothing wrong."""

            workflow = Workflow("w")
            workflow.add_task("check", check, allow_failure=True, timeout="1m")
            workflow.add_task("put", put, depends_on="check", join="done", timeout="1m")
            workflow.add_recovery("put", nothing, timeout="1m")
            return workflow

        report = found(make)

        assert report.counterexample is not None
        assert [one.invariant for one in report.counterexample.violations] == [AS_BEFORE]

    def test_what_was_called(self) -> None:
        """Whether a function was called is not forgotten, for it may have kept that in a variable."""

        def make(world: World) -> Workflow:
            seen: list[int] = []

            async def put_back() -> None:
                if not seen:
                    world.config["mode"] = None

            async def look() -> None:
                seen.append(1)

            workflow = switch(world, undo=put_back)
            workflow.add_task("look", look, depends_on="deploy", effect=False, timeout="1m")
            return workflow

        world = World()
        kinds: list[FaultKind] = ["roll_back", "applied_then_fails"]
        report = explore(made(make, world), world=world, kinds=kinds, faults=1)

        assert report.counterexample is not None
        assert [one.invariant for one in report.counterexample.violations] == [AS_BEFORE]

    def test_what_is_allowed_to_invariants(self) -> None:
        """How a run ends, what it left and who counts as undone may be asked at no cost."""

        def is_sound(run: Explored) -> bool:
            return run.status != "rolled_back" or not run.residue or run.is_undone("deploy")

        assert found(checked).runs == found(checked, invariants=[is_sound]).runs

    def test_fakes_look_back(self) -> None:
        """A function that stands in may ask for anything, so nothing is forgotten; a behaviour does not."""

        async def put_back() -> None:
            """Do nothing."""

        nothing = {"deploy": returns(None), "undo of deploy": returns(None)}
        fakes = {"deploy": returns(None), "undo of deploy": put_back}

        assert found(checked, fakes=fakes).pruned < found(checked, fakes=nothing).pruned

    def test_arguments(self) -> None:
        """What an undo asks for is not forgotten."""

        def make(world: World) -> Workflow:
            async def put_back(check: str | None = None) -> None:
                if check is None:
                    world.config["mode"] = None

            async def late() -> None:
                """Do nothing."""

            workflow = checked(world, put_back)
            workflow.add_task("late", late, depends_on="check", effect=False, timeout="1m")
            return workflow

        report = found(make, faults=1)

        assert report.counterexample is not None
        assert [one.invariant for one in report.counterexample.violations] == [AS_BEFORE]


class TestCrash:
    def test_variables(self) -> None:
        """Whether a process has called a function itself, and so kept something, is not forgotten."""

        def make(world: World) -> Workflow:
            async def nothing() -> None:
                """Do nothing."""

            workflow = remembering(world)
            workflow.add_task("step", nothing, depends_on="deploy", on_interrupt="rerun")
            workflow.add_task("last", break_down, depends_on="step", on_interrupt="rerun")
            return workflow

        world = World()
        report = explore(made(make, world), world=world, faults=1, kinds=["crash"], find_all=True)

        scripts = {str(fault) for one in report.counterexamples for fault in one.faults}
        assert scripts == {"after record 3 (task_succeeded deploy): crash"}
