"""What people pass over: a task or a step that is under way, or all that a promotion leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import pyflow
from pyflow.errors import DefinitionError, EngineError
from pyflow.run import inputs as on
from pyflow.run.commands import asked
from pyflow.testing import Simulation, run_virtual, simulate
from support.driving import BOOM, KINDS, World
from support.runs import virtual_engine

Operator = Callable[[pyflow.Run], Awaitable[None]]
STEP: dict[str, Any] = {"effect": False, "skippable": "step", "skip_on_promotion": True}


async def act() -> None: ...


async def wait(ctx: pyflow.AsyncContext) -> None:
    await ctx.sleep("1h")


async def fail() -> None:
    raise ValueError("why not")


def rollout(check: Any = act, **options: Any) -> pyflow.Workflow:
    """Return a workflow that changes something, waits, looks, asks, and changes more."""
    wf = pyflow.Workflow("rollout", **options)
    wf.add_task("shift", act)
    wf.add_recovery("shift", act)
    wf.add_task("bake", wait, depends_on="shift", **STEP)
    wf.add_task("check", check, depends_on="bake", **STEP)
    passing = {key: STEP[key] for key in ("skippable", "skip_on_promotion")}
    wf.add_approval("approve", "Go on?", depends_on="check", **passing)
    wf.add_task("half", act, depends_on="approve", skip_on_promotion=True)
    wf.add_recovery("half", act)
    wf.add_task("full", act, depends_on="half", on_interrupt="rerun")
    wf.add_task("keep", wait, depends_on="full", effect=False, skippable=True)
    return wf


def at(*asks: tuple[float, Callable[[pyflow.Run], object]]) -> Operator:
    """Return an operator who does something, each so many seconds after the one before."""

    async def operator(run: pyflow.Run) -> None:
        for span_s, do in asks:
            await asyncio.sleep(span_s)
            do(run)

    return operator


def skip(name: str, by: str | None = "ann") -> Callable[[pyflow.Run], object]:
    return lambda run: run.skip(name, by=by, reason="it is fine")


def promote(run: pyflow.Run) -> None:
    run.promote(by="ann", reason="it is fine")


def promoted_by(by: str) -> Callable[[pyflow.Run], object]:
    return lambda run: run.promote(by=by)


def pause(run: pyflow.Run) -> None:
    run.pause()


def unpause(run: pyflow.Run) -> None:
    run.unpause()


def roll_back(run: pyflow.Run) -> None:
    run.roll_back(by="bob")


def statuses(simulation: Simulation) -> dict[str, str]:
    return {name: task.status for name, task in simulation.tasks.items()}


def notes(simulation: Simulation) -> list[str | None]:
    """Return why commands were refused, None for those that were not."""
    records = simulation.audit_trail.query(kind="command_received")
    return [record.data.get("note") for record in records]


class TestSkip:
    def test_a_task(self) -> None:
        """What waits ends at once, and what depends on it goes on as if it had passed."""
        world = at((60, skip("bake")), (60, lambda run: run.approve("approve", by="ann")))

        simulation = simulate(rollout(), operator=world)

        assert simulation.status == "succeeded"
        assert simulation.elapsed.total_seconds() == 120 + 3600
        assert statuses(simulation)["bake"] == "skipped"
        assert statuses(simulation)["check"] == "succeeded"
        assert notes(simulation) == [None, None]

    def test_a_step(self) -> None:
        """All of a step is passed over: what is under way now, what follows in it in its turn."""
        simulation = simulate(rollout(fail), operator=at((60, skip("step"))))

        assert simulation.status == "succeeded"
        assert simulation.order == ("shift", "bake", "half", "full", "keep")
        assert [n for n, s in statuses(simulation).items() if s == "skipped"] == [
            *("bake", "check", "approve"),
        ]

    def test_is_on_record(self) -> None:
        """The trail says who passed what over, and why what followed could start."""
        simulation = simulate(rollout(), operator=at((60, skip("step"))))

        (passed,) = simulation.audit_trail.query(kind="passed_over")
        assert dict(passed.data) == {
            "command": "skip",
            "tasks": ["bake", "check", "approve"],
            "by": "ann",
            "reason": "it is fine",
        }
        skipped = [r.data for r in simulation.audit_trail.query(kind="task_skipped")]
        assert {data["reason"] for data in skipped} == {"skipped by ann"}
        assert all(data["passed"] for data in skipped)
        assert simulation.tasks["half"].reason == "approve was passed over"

    def test_several_dependencies(self) -> None:
        """A task that waits for several says that some of them were passed over."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", act)
        wf.add_task("b", wait, skippable=True, effect=False)
        wf.add_task("c", act, depends_on=["a", "b"])

        simulation = simulate(wf, operator=at((60, skip("b"))))

        reason = "2 of 2 dependencies succeeded or were passed over"
        assert simulation.tasks["c"].reason == reason

    def test_a_question(self) -> None:
        """A question that the run is held for may be passed over by whoever may answer it."""
        simulation = simulate(rollout(), operator=at((3700, skip("approve"))))

        assert simulation.status == "succeeded"
        assert simulation.states()[:4] == ["pending", "running", "held", "running"]

    def test_what_has_failed(self) -> None:
        """A check that has failed, and that the run is held for, is passed over as well."""
        for name in ("check", "step"):
            simulation = simulate(
                rollout(fail, on_failure="hold"),
                operator=at((3700, skip(name)), (60, lambda run: run.approve("approve", by="ann"))),
            )

            assert simulation.status == "succeeded", name
            assert statuses(simulation)["check"] == "skipped"
            assert statuses(simulation)["half"] == "succeeded"

    def test_what_waits_for_another_try(self) -> None:
        """A check between two tries is passed over, and not tried again."""
        wf = pyflow.Workflow("w")
        wf.add_task("check", fail, retry=pyflow.Retry(3, backoff="1h"), **STEP)
        wf.add_task("go", act, depends_on="check")

        simulation = simulate(wf, operator=at((60, skip("check"))))

        assert simulation.status == "succeeded"
        assert simulation.elapsed.total_seconds() == 60

    def test_what_asks_its_condition(self) -> None:
        """A task whose when= is being asked is passed over, and the answer means nothing."""
        wf = pyflow.Workflow("w")

        async def never() -> bool:
            await asyncio.sleep(3600)
            return False

        wf.add_task("check", fail, when=never, **STEP)
        wf.add_task("go", act, depends_on="check")

        simulation = simulate(wf, operator=at((60, skip("check"))))

        assert simulation.status == "succeeded"
        assert statuses(simulation) == {"check": "skipped", "go": "succeeded"}

    def test_what_waits_in_line(self) -> None:
        """A task that waits for a slot, or while the run is paused, is passed over at once."""
        wf = pyflow.Workflow("w", max_parallel=1)
        wf.add_task("first", wait)
        wf.add_task("check", fail, **STEP)

        for asks in ([(60, skip("check"))], [(60, pause), (60, skip("check")), (60, pause)]):
            simulation = simulate(wf, operator=at(*asks, (60, unpause)))
            assert simulation.status == "succeeded"
            assert statuses(simulation) == {"first": "succeeded", "check": "skipped"}

    def test_a_repair(self) -> None:
        """What mends a check that is passed over counts no more."""
        wf = pyflow.Workflow("w")
        wf.add_task("check", fail, **STEP)
        wf.add_recovery("check", wait, then="retry")
        wf.add_task("go", act, depends_on="check")

        simulation = simulate(wf, operator=at((60, skip("check"))))

        assert simulation.status == "succeeded"
        assert statuses(simulation) == {"check": "skipped", "go": "succeeded"}

    def test_what_does_not_wait(self) -> None:
        """A function that goes on all the same holds nothing up, and what it returns is not heard."""
        wf = pyflow.Workflow("w", max_parallel=1)

        async def stubborn() -> str:
            await asyncio.sleep(3600)
            return "late"

        wf.add_task("check", stubborn, **STEP)
        wf.add_task("go", wait, depends_on="check")
        wf.add_task("last", wait, depends_on="go")

        simulation = simulate(wf, operator=at((60, skip("check"))))

        assert simulation.status == "succeeded"
        assert simulation.tasks["check"].output is None
        assert simulation.elapsed.total_seconds() == 60 + 7200

    @pytest.mark.parametrize(
        ("name", "after_s", "by", "note"),
        [
            ("shift", 60, "ann", "'shift' does not wait for a decision; nothing does"),
            ("stepp", 60, "ann", "'stepp' does not wait for a decision; nothing does"),
            ("keep", 60, "ann", "keep has not begun"),
            ("check", 60, "ann", "check has not begun"),
            ("bake", 3700, "ann", "bake is over already"),
            ("bake", 60, None, "skip needs by=: who says so"),
        ],
    )
    def test_refuses(self, name: str, after_s: float, by: str | None, note: str) -> None:
        """What cannot be passed over, has not begun or is over, is refused with the reason."""
        simulation = simulate(rollout(), operator=at((after_s, skip(name, by)), (10, roll_back)))

        assert notes(simulation)[0] == note

    def test_refuses_those_who_may_not_answer(self) -> None:
        """Nobody passes over a question that they could not have answered, nor a quorum."""
        cases: list[tuple[dict[str, Any], str, str]] = [
            ({"approvers": ["bob"]}, "ann", "go is a question, and ann is not among the approvers"),
            ({"quorum": 2}, "ann", "go is a question, and 2 people have to approve it"),
            (
                {"not_initiator": True},
                "simulation",
                "go is a question, and simulation started the run",
            ),
        ]
        for options, by, note in cases:
            wf = pyflow.Workflow("w")
            wf.add_approval("go", "Go?", skippable=True, skip_on_promotion=True, **options)
            for do in (skip("go", by), promoted_by(by)):
                simulation = simulate(wf, operator=at((60, do), (60, roll_back)))
                assert str(notes(simulation)[0]).startswith(note)

    def test_in_an_included_workflow(self) -> None:
        """A step of an included workflow carries its prefix."""
        wf = pyflow.Workflow("w")
        wf.include(rollout(), prefix="shop")

        simulation = simulate(wf, operator=at((60, skip("shop.step"))))

        assert simulation.status == "succeeded"
        assert statuses(simulation)["shop.check"] == "skipped"


class TestPromote:
    def test_leaves_out(self) -> None:
        """What a promotion leaves out ends, or never starts; everything else goes on as it is."""
        simulation = simulate(rollout(fail), operator=at((60, promote)))

        assert simulation.status == "succeeded"
        assert simulation.order == ("shift", "bake", "full", "keep")
        reasons = {t.reason for t in simulation.tasks.values() if t.status == "skipped"}
        assert reasons == {"left out of a promotion by ann"}
        assert notes(simulation) == [None]

    def test_from_a_hold(self) -> None:
        """A run that is held for a question, or for a check that has failed, can be promoted."""
        for check in (act, fail):
            simulation = simulate(rollout(check, on_failure="hold"), operator=at((3700, promote)))
            assert simulation.status == "succeeded"
            assert "held" in simulation.states()
            assert statuses(simulation)["half"] == "skipped"

    def test_keeps_what_has_begun(self) -> None:
        """A change that has begun goes on, and is not left out half-way."""
        wf = pyflow.Workflow("w")
        wf.add_task("half", wait, skip_on_promotion=True)
        wf.add_task("check", fail, depends_on="half", skip_on_promotion=True, effect=False)

        simulation = simulate(wf, operator=at((60, promote)))

        assert statuses(simulation) == {"half": "succeeded", "check": "skipped"}

    def test_before_the_run_has_its_locks(self) -> None:
        """A promotion that comes while the run waits for its locks counts, and starts nothing."""
        wf = rollout(fail, locks=["shop"])
        world = World(wf.check(), choose=lambda below: 0).run(0)
        world.tell(on.Asked("promote", "ann"))

        assert [e.kind for e in world.events] == ["run_started", "passed_over", "command_received"]
        assert world.continue_().status == "succeeded"

    def test_survives_a_crash(self) -> None:
        """A run that is taken up again leaves out what it was told to before."""
        wf = rollout(fail)
        dead = World(wf.check(), choose=lambda below: 0).run(0)
        dead.tell(on.AttemptReturned("shift", 1.0)).tell(on.Asked("promote", "ann"))

        world = World(wf.check(), choose=lambda below: 0).resume(dead, len(dead.batches))

        assert world.status == "succeeded"
        assert {t for t, s in world.state.tasks.items() if s.status == "skipped"} == {
            *("bake", "check", "approve", "half"),
        }

    @pytest.mark.parametrize(
        ("asks", "note"),
        [
            ([(60, promote), (0, promote)], "nothing is left that a promotion would leave out"),
            ([(60, roll_back), (0, promote)], "the run already aims at rollback"),
        ],
    )
    def test_refuses(self, asks: Any, note: str) -> None:
        """A second promotion, and one after an abort, are refused with the reason."""
        wf = rollout()
        wf.add_recovery("full", wait)

        simulation = simulate(wf, operator=at(*asks))

        assert notes(simulation) == [None, note]

    def test_an_abort_outranks_it(self) -> None:
        """Whichever comes first, a run that was aborted and promoted is rolled back."""
        for asks in ([promote, roll_back], [roll_back, promote]):
            simulation = simulate(rollout(), operator=at((60, asks[0]), (0, asks[1])))
            assert simulation.status == "rolled_back"

    def test_refuses_where_there_is_nothing(self) -> None:
        """A workflow of which a promotion leaves nothing out cannot be promoted."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", wait)

        simulation = simulate(wf, operator=at((60, promote)))

        assert notes(simulation) == ["nothing in this workflow is declared skip_on_promotion="]

    def test_refuses_what_it_is_held_for(self) -> None:
        """A run that is held for a change that failed needs a decision on that before."""
        wf = pyflow.Workflow("w", on_failure="hold")
        wf.add_task("shift", fail)
        wf.add_task("check", act, depends_on="shift", **STEP)

        simulation = simulate(wf, operator=at((60, promote)))

        assert notes(simulation) == ["the run is held for shift; decide on that before"]

    def test_refuses_after_the_end(self) -> None:
        """Once the outcome is decided, only finalizers are left, and nothing to pass over."""
        wf = pyflow.Workflow("w", on_failure="continue")
        wf.add_task("check", fail, **STEP)
        wf.add_finalizer("last", wait)
        world = World(wf.check(), choose=lambda below: 0).run(0)
        world.tell(on.AttemptRaised("check", 1.0, on.Failure(BOOM, KINDS)))
        world.tell(on.Asked("promote", "ann"))

        assert world.events[-1].note == "the run has ended as failed"  # type: ignore[attr-defined]


class TestAsking:
    def test_promote_needs_a_name(self) -> None:
        """Nobody promotes without saying who they are."""
        with pytest.raises(EngineError, match="promote needs by="):
            asked("promote")

    def test_by_the_engine(self) -> None:
        """A run is promoted through its engine too, by its id."""

        async def main() -> pyflow.Result:
            engine = virtual_engine()
            run = engine.start(rollout())
            await asyncio.sleep(60)
            engine.promote(run.id, by="ann", reason="it is fine")
            return await run

        result = run_virtual(main())

        assert result.status == "succeeded"
        assert result.tasks["half"].status == "skipped"


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"skippable": 5}, "skippable=5"),
            ({"skippable": "no step"}, "the name of a step"),
            ({"skip_on_promotion": "yes"}, "skip_on_promotion="),
            ({"background": 1}, "background=1"),
        ],
    )
    def test_are_checked(self, options: dict[str, Any], said: str) -> None:
        """What says neither yes nor no, nor the name of a step, is refused with all else."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", act, **options)

        with pytest.raises(DefinitionError, match=said):
            wf.check()
