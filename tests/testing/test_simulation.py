"""`simulate`: whole runs in virtual time, what is seen of them, and who asks things of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import pyflow
from pyflow.record.memory import MemoryJournal
from pyflow.testing import (
    Fault,
    SimulatedEngine,
    SimulatedExecutor,
    Simulation,
    SimulationDeadlock,
    SimulationError,
    SimulationStalled,
    World,
    fails,
    hangs,
    original,
    returns,
    run_virtual,
    simulate,
    takes,
)
from pyflow.testing.simulation import Operator
from support.runs import Journal, kinds, story
from support.simulated import (
    SURE,
    Flips,
    Image,
    message,
    nap_isolated,
    nothing_behind,
    rollout,
    single,
    waits,
)
from support.virtual import DAY_S, HOUR_S, Stuck

STALL_S = 0.1


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


class TestResult:
    def test_of_a_success(self) -> None:
        """A simulation is a result, with the order of calls and the virtual time besides."""
        did = Journal()
        workflow = rollout(did)

        result = simulate(workflow, fakes={"check": takes("90s")})

        assert isinstance(result, pyflow.Result)
        assert result.status == "succeeded"
        assert result.order == ("build", "deploy", "check", "finalizer report")
        assert result.elapsed == timedelta(seconds=90)
        assert result.metrics.wall_s == 90.0
        assert result.seed == 0
        assert result.faults == ()
        assert result.plan == workflow.check()
        assert (result.world, result.history) == (None, ())

    def test_runs_real_functions(self) -> None:
        """What has no fake is called itself, and its output flows on."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("build", lambda: Image("shop"))

        @workflow.task
        async def deploy(build: Image) -> str:
            return build.name

        result = simulate(workflow)

        assert result.tasks["deploy"].output == "shop"

    def test_events(self) -> None:
        """The events are those of the audit trail, which verifies."""
        result = simulate(rollout())

        result.audit_trail.verify()
        assert [event.kind for event in result.events] == kinds(result)
        assert kinds(result)[0] == "run_started"
        assert kinds(result)[-1] == "run_finished"

    def test_order_of_a_rollback(self) -> None:
        """Every call of a function is listed: retries, repairs, conditions, undos, finalizers."""
        workflow = rollout()
        workflow.add_recovery("check", lambda: None, then="retry")
        workflow.add_task("maybe", lambda: None, when=lambda build: True, depends_on=["build"])

        result = simulate(workflow, fakes={"deploy": fails(times=1), "check": fails(times=2)})

        assert result.order == (
            *["build", "when= of maybe", "deploy", "maybe", "deploy", "check", "repair of check"],
            *["check", "undo of deploy", "finalizer report"],
        )

    def test_str(self) -> None:
        """As text it says the seed, the order and what was made to go wrong, and then the result."""
        fault = Fault("check#1 begins", "fails")

        lines = str(simulate(rollout(), seed=7, faults=[fault])).splitlines()

        assert lines[0] == (
            "simulated in virtual time, seed 7: "
            "build > deploy > check > undo of deploy > finalizer report"
        )
        assert lines[1] == "  made to go wrong: check#1 begins: fails"
        assert lines[2].startswith("rollout: rolled_back (run ")

    def test_str_without_calls(self) -> None:
        """A run that called nothing says so."""
        workflow = pyflow.Workflow("w")
        workflow.add_map("each", lambda item: item, over=[])

        assert "seed 0: no calls" in str(simulate(workflow))

    def test_of_a_plan(self) -> None:
        """A plan is run as it is."""
        assert simulate(rollout().check()).status == "succeeded"

    def test_changes_nothing(self) -> None:
        """Workflow and plan are the same after a simulation, and run again without its fakes."""
        did = Journal()
        workflow = rollout(did)
        before = workflow.check().fingerprint

        simulate(workflow, fakes={"deploy": fails()})
        done = [*did.done]
        result = simulate(workflow)

        assert done == ["build", "undo", "report"]
        assert result.status == "succeeded"
        assert workflow.check().fingerprint == before


class TestStates:
    def test_of_the_run(self) -> None:
        """Without a task, the states are the run's own."""
        assert simulate(rollout()).states() == ["pending", "running", "succeeded"]
        assert simulate(rollout(), fakes={"check": fails()}).states() == [
            *["pending", "running", "rolling_back", "rolled_back"],
        ]

    def test_of_a_success(self) -> None:
        """A task that went well was pending, running and succeeded."""
        assert simulate(rollout()).states("deploy") == ["pending", "running", "succeeded"]

    def test_of_retries(self) -> None:
        """A task waits between its tries."""
        result = simulate(rollout(), fakes={"deploy": fails(times=2)})

        assert result.states("deploy") == [
            *["pending", "running", "waiting", "running", "waiting", "running", "succeeded"],
        ]

    def test_of_a_rollback(self) -> None:
        """What was done is taken back; what failed and what cannot be taken back stay as they are."""
        result = simulate(rollout(), fakes={"check": fails()})

        assert result.states("deploy")[-3:] == ["succeeded", "undoing", "undone"]
        assert result.states("check") == ["pending", "running", "waiting", "failed"]
        assert result.states("build")[-1] == "succeeded"

    def test_of_a_failed_undo(self) -> None:
        """An undo that failed is a state of its task."""
        result = simulate(rollout(), fakes={"check": fails(), "undo of deploy": fails()})

        assert result.states("deploy")[-2:] == ["undoing", "undo_failed"]
        assert result.states()[-1] == "rollback_failed"

    def test_of_what_did_not_run(self) -> None:
        """What is skipped or blocked never ran."""
        workflow = pyflow.Workflow("w", on_failure="continue")
        workflow.add_task("a", lambda: None)
        workflow.add_task("b", lambda: None, depends_on=["a"])
        workflow.add_task("c", lambda: None, when=lambda: False)

        result = simulate(workflow, fakes={"a": fails()})

        assert result.states("b") == ["pending", "blocked"]
        assert result.states("c") == ["pending", "skipped"]

    def test_of_map_items(self) -> None:
        """Each item of a map has states of its own."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_map("deploy", lambda item: item, over=["eu", "us"], retry=SURE)

        result = simulate(workflow, fakes={"deploy": fails(times=1)})

        running = ["pending", "running", "waiting", "running", "succeeded"]
        assert result.states("deploy[eu]") == running
        assert result.states("deploy[us]") == running
        assert result.states("deploy") == ["pending", "running", "succeeded"]
        assert result.order == ("deploy[eu]", "deploy[us]") * 2

    def test_of_no_task(self) -> None:
        """An unknown task is an error that has the nearest name."""
        with pytest.raises(KeyError, match=r"'deplyo'.*'deploy'"):
            simulate(rollout()).states("deplyo")


class TestTime:
    @pytest.mark.parametrize("span_s", [DAY_S, 400 * DAY_S], ids=["24 h", "400 days"])
    def test_long(self, span_s: float) -> None:
        """A day or a year of waiting is exact, whichever way it is waited, and takes no time."""

        async def by_asyncio() -> None:
            await asyncio.sleep(span_s)

        async def by_context(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep(span_s)

        def plain(ctx: pyflow.Context) -> None:
            ctx.sleep(span_s)

        for fn in (by_asyncio, by_context, plain):
            assert simulate(single(fn)).elapsed == timedelta(seconds=span_s)
        assert simulate(single(), fakes={"deploy": takes(span_s)}).metrics.wall_s == span_s

    @pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
    def test_poll(self, asynchronous: bool) -> None:
        """``ctx.poll`` looks again and again in virtual time, and notes what it saw."""

        def plain(ctx: pyflow.Context, probe: Any) -> int:
            return ctx.poll(probe, backoff=pyflow.Backoff("10s", factor=1, jitter=0)).calls

        async def later(ctx: pyflow.AsyncContext, probe: Any) -> int:
            polled = await ctx.poll(probe, backoff=pyflow.Backoff("10s", factor=1, jitter=0))
            return polled.calls

        workflow = pyflow.Workflow("w", params={"probe": Any})
        workflow.add_task("wait", later if asynchronous else plain)

        result = simulate(workflow, params={"probe": Flips()})

        assert result.tasks["wait"].output == 3
        assert result.elapsed == timedelta(seconds=20)
        assert "reading_taken wait" in story(result)

    def test_read(self) -> None:
        """``ctx.read`` of a plain function looks once."""

        def look(ctx: pyflow.Context, probe: Any) -> str:
            return ctx.read(probe).health

        workflow = pyflow.Workflow("w", params={"probe": Any})
        workflow.add_task("look", look)

        assert simulate(workflow, params={"probe": Flips()}).tasks["look"].output == "unhealthy"

    def test_at_once(self) -> None:
        """Plain functions that wait take turns as their waits end, on as many tasks as there are."""
        workflow = pyflow.Workflow("w")
        trace: list[str] = []

        def walk(ctx: pyflow.Context) -> None:
            for step in range(3):
                trace.append(f"{ctx.task}{step}")
                ctx.sleep(2 if ctx.task == "a" else 3)

        workflow.add_task("a", walk)
        workflow.add_task("b", walk)

        result = simulate(workflow)

        assert trace == ["a0", "b0", "a1", "b1", "a2", "b2"]
        assert result.elapsed == timedelta(seconds=9)

    def test_timeout_of_an_async_function(self) -> None:
        """A fake that takes longer than the timeout is cut off there, and tried again."""
        workflow = single(timeout="1m", retry=SURE)

        result = simulate(workflow, fakes={"deploy": takes("2m")})
        quick = simulate(workflow, fakes={"deploy": takes("59s")})

        assert message(result) == "took longer than its timeout of 60 s"
        assert result.tasks["deploy"].attempts == 3
        assert result.elapsed == timedelta(seconds=60 + 1 + 60 + 2 + 60)
        assert quick.status == "succeeded"

    def test_hang_of_an_async_function(self) -> None:
        """A fake that hangs is ended by the timeout, and a retry may do better."""
        workflow = single(timeout="1m", retry=SURE)
        slow_once = fails(times=1, then=hangs())

        assert simulate(workflow, fakes={"deploy": hangs()}).tasks["deploy"].attempts == 3
        assert simulate(workflow, fakes={"deploy": slow_once}).elapsed == timedelta(seconds=123)

    @pytest.mark.parametrize(
        "fake", [takes("2m"), lambda ctx: ctx.sleep("2m")], ids=["takes", "function"]
    )
    def test_timeout_of_a_plain_function(self, fake: Any) -> None:
        """A plain function that takes too long is still running then, as on a real thread."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("deploy", lambda: None, timeout="1m", retry=SURE)
        workflow.add_recovery("deploy", lambda: None)

        result = simulate(workflow, fakes={"deploy": fake})

        assert "is still running on its thread" in message(result)
        failed = [r for r in result.audit_trail if r.kind == "attempt_failed"]
        assert failed[0].data["leftover"] is True
        assert "leftover_ended" in kinds(result)
        assert result.status == "rolled_back"

    def test_takes_goes_on_after_its_timeout(self) -> None:
        """A thread cannot be stopped: a fake that only takes time takes all of it, try after try."""
        workflow = single(lambda: None, timeout="1m", retry=pyflow.Retry(2, backoff=0))

        result = simulate(workflow, fakes={"deploy": takes("2m")})

        assert result.tasks["deploy"].attempts == 2
        assert story(result)[:5] == [
            *["task_started deploy", "attempt_failed deploy", "leftover_ended deploy"],
            *["retry_scheduled deploy", "task_started deploy"],
        ]
        assert result.elapsed >= timedelta(minutes=3)

    def test_hang_of_a_plain_function(self) -> None:
        """A plain function that hangs is never tried again, and leaves residue, as a real one does."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("deploy", lambda: None, timeout="1m", retry=SURE)
        workflow.add_recovery("deploy", lambda: None)

        result = simulate(workflow, fakes={"deploy": hangs()}, drain_timeout="5m")

        assert result.status == "rollback_failed"
        assert result.residue == ("deploy",)
        assert result.tasks["deploy"].still_running
        assert result.order == ("deploy",)

    def test_waits_are_cut_once(self) -> None:
        """A timed-out function that waits is cut off, and what else hangs is still drained in time."""
        workflow = pyflow.Workflow("w")

        async def stubborn() -> None:
            while True:
                try:
                    await asyncio.sleep(DAY_S)
                except asyncio.CancelledError:
                    return

        workflow.add_task("stubborn", stubborn)
        workflow.add_task("deploy", lambda ctx: ctx.sleep("2m"), timeout="1m")
        workflow.add_recovery("deploy", lambda: None)

        result = simulate(workflow, drain_timeout="5m")

        assert result.tasks["stubborn"].status == "interrupted"
        assert result.elapsed == timedelta(minutes=6)

    @pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
    def test_waits_for_ever(self, asynchronous: bool) -> None:
        """A hang without a timeout ends the simulation, and names the task and who waits for it."""
        workflow = single(None if asynchronous else lambda: None)

        with pytest.raises(SimulationDeadlock) as caught:
            simulate(workflow, fakes={"deploy": hangs()})

        assert "deploy" in [waiting.task for waiting in caught.value.waiting]
        assert "take_time (stage.py:" in str(caught.value)

    def test_waits_for_ever_on_its_own(self) -> None:
        """A function of one's own that waits for ever is found as well; its clean-up runs."""
        cleaned: list[str] = []

        async def never() -> None:
            await asyncio.Event().wait()

        def deploy(ctx: pyflow.Context, probe: Any) -> None:
            try:
                ctx.read(probe)
            finally:
                cleaned.append("plain")

        class Never:
            async def read(self) -> pyflow.Reading:
                await never()
                raise AssertionError

        workflow = pyflow.Workflow("w", params={"probe": Any})
        workflow.add_task("deploy", deploy)

        with pytest.raises(SimulationDeadlock, match=r"never .*Event\.wait "):
            simulate(workflow, params={"probe": Never()})

        assert cleaned == ["plain"]

    def test_stall(self) -> None:
        """A plain function that blocks for real is named."""
        with Stuck() as stuck:

            def deploy(ctx: pyflow.Context) -> None:
                stuck.wait()

            engine = SimulatedEngine(executor=SimulatedExecutor(stall_s=STALL_S))
            result = run_virtual(engine.run(single(deploy)))

        assert result.error is not None
        assert isinstance(result.error.__cause__, SimulationStalled)
        assert "test_stall.<locals>.deploy neither returned nor waited" in result.error.message


class TestOperator:
    def test_cancels(self) -> None:
        """An operator may cancel in the middle of a wait."""

        async def operator(run: pyflow.Run) -> None:
            await asyncio.sleep(60)
            run.cancel(by="ann", reason="lunch")

        async def deploy(ctx: pyflow.AsyncContext) -> None:
            await ctx.sleep("1h")

        result = simulate(single(deploy), operator=operator)

        assert result.status == "cancelled"
        assert result.elapsed == timedelta(minutes=1)
        assert result.audit_trail.query(kind="intent_raised")[0].data["by"] == "ann"

    @pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
    def test_cuts_waits(self, asynchronous: bool) -> None:
        """A wait in the context is cut short, plain or async, and clean-up runs."""
        cleaned: list[str] = []

        def plain(ctx: pyflow.Context) -> None:
            try:
                ctx.sleep("1h")
            finally:
                cleaned.append("plain")

        async def later(ctx: pyflow.AsyncContext) -> None:
            try:
                await ctx.sleep("1h")
            finally:
                cleaned.append("async")

        async def operator(run: pyflow.Run) -> None:
            await asyncio.sleep(60)
            run.cancel()

        result = simulate(single(later if asynchronous else plain), operator=operator)

        assert result.states("deploy")[-1] == "cancelled"
        assert cleaned == ["async" if asynchronous else "plain"]

    def test_pauses(self) -> None:
        """A paused run starts nothing until it is unpaused."""

        async def operator(run: pyflow.Run) -> None:
            await asyncio.sleep(30)
            run.pause(by="ann")
            await asyncio.sleep(HOUR_S)
            run.unpause(by="ann")

        result = simulate(rollout(), fakes={"build": takes("1m")}, operator=operator)

        assert result.states() == ["pending", "running", "paused", "running", "succeeded"]
        assert result.elapsed == timedelta(hours=1, seconds=30)

    def test_rolls_back(self) -> None:
        """An operator may have everything undone."""

        async def operator(run: pyflow.Run) -> None:
            async for record in run.events():
                if record.kind == "task_succeeded" and record.task == "deploy":
                    run.roll_back(by="ann")

        result = simulate(rollout(), fakes={"check": takes("1h")}, operator=operator)

        assert result.status == "rolled_back"
        assert result.states("deploy")[-1] == "undone"

    def test_retries_what_is_held(self) -> None:
        """An operator may decide a hold, again and again, until the run goes on."""

        async def operator(run: pyflow.Run) -> None:
            while (await run).status == "held":
                await asyncio.sleep(60)
                run.retry("deploy", by="ann")

        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_task("deploy", lambda: None)

        result = simulate(workflow, fakes={"deploy": fails(times=3)}, operator=operator)

        assert result.status == "succeeded"
        assert result.order == ("deploy",) * 4
        assert result.elapsed == timedelta(minutes=3)

    def test_skips_what_is_held(self) -> None:
        """An operator may have a failed task passed over."""

        async def operator(run: pyflow.Run) -> None:
            await run
            run.skip("deploy", by="ann")

        result = simulate(rollout(on_failure="hold"), fakes={"deploy": fails()}, operator=operator)

        assert result.states("deploy")[-2:] == ["failed", "skipped"]
        assert result.states()[-2:] == ["running", "succeeded"]

    def test_absent(self) -> None:
        """Without an operator a run that is held stays so, and the simulation ends."""
        result = simulate(rollout(on_failure="hold"), fakes={"deploy": fails()})

        assert result.status == "held"
        assert result.states()[-1] == "held"
        assert "it waits for a person" in str(result)

    def test_gone(self) -> None:
        """An operator who is done leaves a held run to nobody."""

        async def operator(run: pyflow.Run) -> None:
            await run
            run.retry("deploy")

        result = simulate(rollout(on_failure="hold"), fakes={"deploy": fails()}, operator=operator)

        assert result.status == "held"
        assert result.tasks["deploy"].attempts == 4

    def test_is_waited_for(self) -> None:
        """An operator may go on after the run has ended, and time goes on with him."""
        done: list[str] = []

        async def operator(run: pyflow.Run) -> None:
            result = await run
            await asyncio.sleep(60)
            done.append(result.status)

        result = simulate(rollout(), operator=operator)

        assert done == ["succeeded"]
        assert result.elapsed == timedelta(minutes=1)

    def test_errors(self) -> None:
        """What an operator raises comes out of the simulation, also where the run is held."""

        async def early(run: pyflow.Run) -> None:
            raise LookupError("early")

        async def late(run: pyflow.Run) -> None:
            await run
            raise LookupError("late")

        held = rollout(on_failure="hold")
        cases: list[tuple[pyflow.Workflow, Operator, str]] = [
            (rollout(), early, "early"),
            (rollout(), late, "late"),
            (held, early, "early"),
            (held, late, "late"),
        ]
        for workflow, operator, text in cases:
            with pytest.raises(LookupError, match=text):
                simulate(workflow, fakes={"deploy": fails()}, operator=operator)

    def test_who_waits_for_ever(self) -> None:
        """An operator who waits for what never comes ends the simulation."""

        async def operator(run: pyflow.Run) -> None:
            await asyncio.Event().wait()

        with pytest.raises(SimulationDeadlock, match="operator"):
            simulate(rollout(), operator=operator)


class TestSameRun:
    def trail(self, seed: int) -> str:
        """Simulate retries with jitter, races, plain and async, and return the audit trail."""
        workflow = pyflow.Workflow("w", on_failure="stop")

        async def later(ctx: pyflow.AsyncContext) -> None:
            ctx.log("begins")
            await ctx.sleep("1s")

        def plain(ctx: pyflow.Context) -> None:
            ctx.log("begins")
            ctx.sleep("1s")
            ctx.checkpoint("slept", ctx.attempt)

        for name in "abcdef":
            workflow.add_task(name, plain if name in "ace" else later, retry=pyflow.Retry(4))
        fakes = {name: fails(times=2, then=original()) for name in "abcd"}
        return simulate(workflow, fakes=fakes, seed=seed).audit_trail.to_jsonl()

    def test_repeats(self) -> None:
        """Equal seeds give equal audit trails, to the byte."""
        assert len({self.trail(7) for _ in range(50)}) == 1

    def test_seed_matters(self) -> None:
        """Other seeds draw other waits."""
        workflow = single(retry=pyflow.Retry(4))
        runs = [
            simulate(workflow, fakes={"deploy": fails(times=3)}, seed=seed) for seed in range(20)
        ]

        assert len({tuple(waits(run)) for run in runs}) == 20
        assert len({run.elapsed for run in runs}) == 20
        assert len({run.run_id for run in runs}) == 20
        assert [run.seed for run in runs] == [*range(20)]

    def test_origin(self) -> None:
        """The record says that it was simulated, and with which seed; it names no host."""
        started = simulate(rollout(), seed=7).audit_trail[0].data

        assert started["origin"] == {
            "simulated": True,
            "seed": 7,
            "pyflow": pyflow.__version__,
        }
        assert started["initiator"]["id"] == "simulation"


class TestWhatIsPassedOn:
    def test_parameters(self) -> None:
        """Parameters, the environment and the initiator reach the run."""
        workflow = pyflow.Workflow("w", params={"version": str, "replicas": 1})

        @workflow.task
        async def deploy(ctx: pyflow.AsyncContext, version: str, replicas: int) -> list[Any]:
            assert ctx.environment is not None
            return [version, replicas, ctx.environment.name]

        staging = pyflow.Environment("staging", params={"replicas": 3})

        result = simulate(workflow, params={"version": "2"}, environment=staging, initiator="ann")

        assert result.tasks["deploy"].output == ["2", 3, "staging"]
        assert result.environment == staging
        assert result.audit_trail[0].data["initiator"]["id"] == "ann"

    def test_secrets(self) -> None:
        """Secret values are nowhere in the trail, neither the parameters' nor the engine's."""
        workflow = pyflow.Workflow("w", params={"token": pyflow.Secret}, on_failure="stop")
        other = pyflow.Secret("correct-horse-battery")

        @workflow.task
        async def deploy(ctx: pyflow.AsyncContext, token: pyflow.Secret) -> None:
            ctx.log(f"with {token.reveal()} and {other.reveal()}")
            raise ValueError(token.reveal())

        result = simulate(
            workflow, params={"token": pyflow.Secret("staple-and-paperclip")}, secrets=[other]
        )

        text = result.audit_trail.to_jsonl()
        assert "with *** and ***" in text
        assert "staple" not in text + str(result)
        assert "battery" not in text

    def test_limits(self) -> None:
        """`max_parallel` bounds how many tasks are under way."""
        workflow = pyflow.Workflow("w")
        for name in "abcd":
            workflow.add_task(name, lambda ctx: ctx.sleep("1m"))

        assert simulate(workflow).elapsed == timedelta(minutes=1)
        assert simulate(workflow, max_parallel=2).elapsed == timedelta(minutes=2)

    def test_drain(self) -> None:
        """`drain_timeout` bounds how long a stopping run waits."""

        async def operator(run: pyflow.Run) -> None:
            run.cancel()

        workflow = single(lambda: None)

        result = simulate(
            workflow, fakes={"deploy": takes("1h")}, operator=operator, drain_timeout="2m"
        )

        assert result.tasks["deploy"].status == "interrupted"
        assert result.elapsed == timedelta(minutes=2)

    def test_ci_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A simulation in a CI job is the same as anywhere else."""
        here = simulate(rollout()).audit_trail.to_jsonl()
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_ACTOR", "octocat")

        assert simulate(rollout()).audit_trail.to_jsonl() == here


class TestWhereItRuns:
    def test_inside_a_running_loop(self) -> None:
        """Where a loop runs already, as in a notebook, the simulation has a thread of its own."""

        async def main() -> Simulation:
            return simulate(rollout(), fakes={"deploy": takes("1h")})

        result = asyncio.run(main())

        assert result.elapsed == timedelta(hours=1)
        assert (
            result.audit_trail.to_jsonl()
            == simulate(rollout(), fakes={"deploy": takes("1h")}).audit_trail.to_jsonl()
        )

    def test_inside_a_virtual_loop(self) -> None:
        """A simulation inside of virtual time has a time of its own."""

        async def main() -> tuple[timedelta, float]:
            result = simulate(single(nap_isolated))
            return result.elapsed, asyncio.get_running_loop().time()

        assert run_virtual(main()) == (timedelta(minutes=1), 0.0)

    def test_errors_inside_a_running_loop(self) -> None:
        """What goes wrong comes out there as well."""

        async def main() -> None:
            simulate(rollout(), fakes={"deplyo": returns(1)})

        with pytest.raises(SimulationError, match="did you mean 'deploy'"):
            asyncio.run(main())

    def test_leaves_no_thread(self) -> None:
        """However a simulation ends, its threads end with it."""
        plain = single(nap_isolated)
        before = threading.enumerate()

        simulate(plain)
        simulate(plain, fakes={"deploy": lambda ctx: ctx.sleep("1h")})
        with pytest.raises(SimulationDeadlock):
            simulate(plain, fakes={"deploy": hangs()})
        simulate(single(nap_isolated, timeout="1s"), fakes={"deploy": hangs()}, drain_timeout=0)

        assert threading.enumerate() == before


class TestBadWorkflow:
    def test_wrong(self) -> None:
        """A workflow that cannot be run is refused as it is elsewhere."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("deploy", lambda: None, depends_on=["biuld"])

        with pytest.raises(pyflow.DefinitionError, match="biuld"):
            simulate(workflow)

    @pytest.mark.parametrize("thing", [None, "rollout", rollout], ids=["None", "text", "function"])
    def test_none(self, thing: Any) -> None:
        """What is no workflow is refused."""
        with pytest.raises(SimulationError, match="is neither a Workflow nor a Plan"):
            simulate(thing)

    def test_parameters(self) -> None:
        """A parameter that is missing or wrong is refused."""
        workflow = rollout(params={"version": str})

        for params in ({}, {"version": 2}, {"version": "2", "verison": "3"}):
            with pytest.raises(pyflow.DefinitionError, match="version"):
                simulate(workflow, params=params)


class TestWorld:
    def test_holds_the_locks(self) -> None:
        """The world's locks are the run's, and are free again after it."""
        world = World()

        simulate(rollout(locks=["shop"]), world=world)

        assert simulate(rollout(locks=["shop"]), world=world).status == "succeeded"

    def test_mistakes_come_out(self) -> None:
        """What the world cannot give is a mistake of the test, and no failure of the task."""
        world = World()

        async def deploy() -> None:
            await world.platform.scale("shop", "2.0", 1)

        with pytest.raises(SimulationError, match="shop"):
            simulate(single(deploy, retry=SURE), world=world)

    def test_plain_waits_have_their_call(self) -> None:
        """What a plain function reads of the world is on behalf of its call, so a fault meets it there."""
        world = World()
        world.service("shop", version="1.0")

        def check(ctx: pyflow.Context) -> str:
            return ctx.read(world.probe("shop")).health

        fault = Fault("deploy#1 probe.read#1", "flipped")
        result = simulate(single(check), world=world, faults=[fault])

        assert result.tasks["deploy"].output == "unhealthy"


class TestSimulatedEngine:
    def test_executes(self) -> None:
        """An engine for virtual time runs a workflow there, also inside of a running loop."""

        async def main() -> pyflow.Result:
            return engine.execute(single(nap_isolated), initiator="ann")

        with SimulatedEngine(seed=3) as engine:
            results = [engine.execute(single(nap_isolated)), asyncio.run(main())]

        assert [result.status for result in results] == ["succeeded", "succeeded"]
        assert [result.metrics.wall_s for result in results] == [60.0, 60.0]
        assert results[0].audit_trail[0].data["origin"]["seed"] == 3

    def test_starts(self) -> None:
        """It serves any code that starts runs of its own."""
        journal = MemoryJournal()

        async def main() -> list[str]:
            with SimulatedEngine(journal=journal, executor=SimulatedExecutor()) as engine:
                runs = [engine.start(single(nap_isolated)) for _ in range(2)]
                return [(await run).status for run in runs]

        assert run_virtual(main()) == ["succeeded", "succeeded"]
        assert len(journal.runs()) == 2

    def test_repeats(self) -> None:
        """Equal seeds give equal records; the ids are drawn from the seed."""

        def trail(seed: int) -> str:
            with SimulatedEngine(seed=seed) as engine:
                return engine.execute(single(nap_isolated)).audit_trail.to_jsonl()

        assert trail(1) == trail(1) != trail(2)

    def test_knows_no_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who runs it, and in which CI job, is not in its records, unless that is said."""
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_ACTOR", "octocat")

        async def main(initiator: str | None) -> Any:
            with SimulatedEngine() as engine:
                result = await engine.run(single(), initiator=initiator)
                return result.audit_trail[0].data["initiator"]["id"]

        assert run_virtual(main(None)) == "simulation"
        assert run_virtual(main("ann")) == "ann"

    def test_in_real_time(self) -> None:
        """It refuses a loop whose time is real."""
        engine = SimulatedEngine()

        with engine, pytest.raises(SimulationError, match="whose time is real"):
            asyncio.run(engine.run(single()))
