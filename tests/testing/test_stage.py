"""The stage: fakes in the place of functions, by behaviour and by function, and where they run."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

import pyflow
from pyflow.testing import (
    SimulatedEngine,
    SimulatedExecutor,
    Simulation,
    SimulationError,
    applied_then_fails,
    fails,
    flaps,
    hangs,
    lies,
    missing,
    nan,
    original,
    returns,
    simulate,
    stale,
    takes,
)
from pyflow.testing.faults import NO_FAULTS
from pyflow.testing.stage import CURRENT, Stage
from support.runs import Journal
from support.simulated import (
    SURE,
    Flips,
    Image,
    message,
    nap_isolated,
    nap_isolated_async,
    nothing_behind,
    promise_isolated,
    rollout,
    single,
    undo_isolated,
    waits,
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


class TestStage:
    def test_reports_calls(self) -> None:
        """Each call is reported as it begins, knows what became of it, and a new run counts anew."""
        entered: list[str] = []
        stage = Stage(SimulatedExecutor(), fakes={"deploy": fails(times=1)})
        plan = rollout().check()
        stage.prepare(plan)
        stage.bind(NO_FAULTS, lambda call: entered.append(f"{call.label} {call.outcome}"))
        runs: list[list[tuple[str, str]]] = []

        with SimulatedEngine(stage=stage) as engine:
            for _ in range(2):
                engine.execute(plan)
                runs.append([(repr(call), call.outcome) for call in stage.calls])
                stage.clear()

        assert runs[0] == runs[1]
        assert runs[0][:3] == [
            ("<StagedCall build#1>", "returned"),
            ("<StagedCall deploy#1>", "raised"),
            ("<StagedCall deploy#2>", "returned"),
        ]
        assert entered[:2] == ["build#1 under way", "deploy#1 under way"]
        assert len(entered) == 10

    def test_numbers(self) -> None:
        """A call has the number of its attempt, and one that is made again has the next one."""
        stage = Stage(SimulatedExecutor())
        workflow = single(lambda: 1 / 0, retry=pyflow.Retry(2, backoff="1s"))
        task = workflow.tasks[0].name
        for fn in (lambda: 1 / 0, lambda: None):
            workflow.add_recovery(task, fn, then="retry")

        with SimulatedEngine(stage=stage) as engine:
            engine.execute(workflow)

        assert [call.label for call in stage.calls] == [
            *(f"{task}#1", f"{task}#2", f"repair of {task}#2", f"repair of {task}#3"),
            f"{task}#3",
        ]

    def test_knows_the_present_call(self) -> None:
        """Code that runs for a call finds it, and how far it has got, plain or async, and only then."""
        seen: list[object] = []

        async def later() -> None:
            seen.append(CURRENT.get())

        def plain(ctx: pyflow.Context) -> None:
            ctx.sleep("1m")
            call = CURRENT.get()
            assert call is not None
            before = call.progress()
            seen.extend([call, call.point("look"), call.point("look"), before != call.progress()])

        workflow = pyflow.Workflow("w")
        workflow.add_task("a", later)
        workflow.add_task("b", plain)
        workflow.add_task("c", lambda: seen.append(CURRENT.get()), depends_on=["b"])

        simulate(workflow)

        assert [*map(str, seen)] == [
            *["<StagedCall a#1>", "<StagedCall b#1>", "b#1 look#1", "b#1 look#2", "True"],
            "<StagedCall c#1>",
        ]
        assert CURRENT.get() is None


class TestBehaviours:
    def test_returns(self) -> None:
        """A fake's value is the task's output, and the task's own function is not called."""
        did = Journal()
        workflow = rollout(did)

        result = simulate(workflow, fakes={"build": returns("shop:3")})

        assert result.tasks["build"].output == "shop:3"
        assert "build" not in did.done

    def test_returns_what_is_no_data(self) -> None:
        """What could not be recorded of the task cannot be recorded of its fake either."""
        result = simulate(single(), fakes={"deploy": returns(object())})

        assert result.status == "failed"
        assert "object" in message(result)

    def test_fails(self) -> None:
        """A fake may fail, with the exception that was given, and be tried again."""
        result = simulate(rollout(), fakes={"deploy": fails(ConnectionError("refused"))})

        assert result.status == "rolled_back"
        assert result.tasks["deploy"].attempts == 3
        assert (message(result), waits(result)) == ("refused", [1.0, 2.0])
        assert isinstance(result.error.__cause__ if result.error else None, ConnectionError)

    def test_fails_at_first(self) -> None:
        """After *times* failures the fake does nothing, and returns None."""
        did = Journal()

        result = simulate(rollout(did), fakes={"deploy": fails(OSError, times=2)})

        assert result.status == "succeeded"
        assert result.tasks["deploy"].output is None
        assert "deploy" not in did.done

    def test_fails_then_does(self) -> None:
        """What follows may be the function itself."""
        did = Journal()

        result = simulate(rollout(did), fakes={"deploy": fails(OSError, times=2, then=original())})

        assert result.order.count("deploy") == 3
        assert did.done.count("deploy") == 1

    def test_applied_then_fails(self) -> None:
        """The function is called, and its call fails all the same."""
        did = Journal()

        result = simulate(rollout(did), fakes={"deploy": applied_then_fails(times=1)})

        assert did.done.count("deploy") == 1
        assert result.tasks["deploy"].attempts == 2

    def test_lies(self) -> None:
        """The fake says that it is done, and nothing was."""
        did = Journal()

        assert simulate(rollout(did), fakes={"deploy": lies()}).status == "succeeded"
        assert "deploy" not in did.done

    @pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
    def test_takes(self, asynchronous: bool) -> None:
        """A fake may take its time before it does what follows, plain or async."""
        plain = pyflow.Workflow("w")
        plain.add_task("deploy", (lambda: 1) if not asynchronous else Journal().does("deploy", 1))

        took = simulate(plain, fakes={"deploy": takes("10m")})
        did = simulate(plain, fakes={"deploy": takes("10m", then=original())})

        assert (took.elapsed, took.tasks["deploy"].output) == (timedelta(minutes=10), None)
        assert (did.elapsed, did.tasks["deploy"].output) == (timedelta(minutes=10), 1)

    def test_count_by_function(self) -> None:
        """Each function counts its own calls, though one behaviour serves several."""
        broken = fails(OSError, times=1)

        result = simulate(
            rollout(), fakes={"deploy": broken, "check": broken, "undo of deploy": broken}
        )

        assert result.status == "rollback_failed"
        assert (result.tasks["deploy"].attempts, result.residue) == (2, ("deploy",))

    def test_promise_of_a_plain_function(self) -> None:
        """A plain function that returns something to await fails clearly behind a delay, too."""
        workflow = single(lambda: Flips().read())

        for fakes in ({}, {"deploy": takes("1m", then=original())}):
            assert "make it async" in message(simulate(workflow, fakes=fakes))


class TestFakeFunctions:
    def test_are_wired(self) -> None:
        """A function in a task's place gets what the task could ask for, by parameter name."""
        workflow = pyflow.Workflow("w", params={"version": str, "replicas": 2})
        workflow.add_task("build", lambda: Image("shop"))
        workflow.add_task("deploy", lambda: None, depends_on=["build"])
        seen: list[Any] = []

        def deploy(ctx: pyflow.Context, build: Image, replicas: int, missing: int = 7) -> str:
            seen.append((build, replicas, missing, ctx.task, ctx.attempt, ctx.params["version"]))
            ctx.sleep("1m")
            return "plain"

        async def deploy_async(ctx: pyflow.AsyncContext, build: Image) -> str:
            seen.append((build, ctx.task))
            await ctx.sleep("2m")
            return "async"

        plain = simulate(workflow, fakes={"deploy": deploy}, params={"version": "2"})
        asynchronous = simulate(workflow, fakes={"deploy": deploy_async}, params={"version": "2"})

        assert seen == [
            (Image("shop"), 2, 7, "deploy", 1, "2"),
            (Image("shop"), "deploy"),
        ]
        assert (plain.tasks["deploy"].output, plain.elapsed) == ("plain", timedelta(minutes=1))
        assert asynchronous.tasks["deploy"].output == "async"
        assert asynchronous.elapsed == timedelta(minutes=2)

    def test_follow_the_sources_types(self) -> None:
        """A parameter without annotation is of the type that its source returns, as in the original."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def build() -> Image:
            return Image("shop")

        workflow.add_task("deploy", lambda build: build.name)
        workflow.add_map("each", lambda item, build: item, over=["eu"], depends_on=["deploy"])
        workflow.add_task("last", lambda each: each)
        seen: list[Any] = []
        fakes = {
            "deploy": lambda build: seen.append(build),
            "each": lambda item, build: seen.append((item, build)),
            "last": lambda each: seen.append(each),
        }

        assert simulate(workflow).status == "succeeded"
        assert simulate(workflow, fakes=fakes).status == "succeeded"
        assert seen == [Image("shop"), ("eu", Image("shop")), [None]]

    def test_keep_dependencies(self) -> None:
        """What the original depends on by its parameters, its fake waits for without asking."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("deploy", lambda build: build)
        workflow.add_task("build", lambda: 1)

        result = simulate(workflow, fakes={"deploy": lambda: None})

        assert result.order == ("build", "deploy")

    def test_of_a_map(self) -> None:
        """The fake of a map gets each item, and names follow the items."""
        workflow = pyflow.Workflow("w", params={"regions": list[str]})
        workflow.add_map("deploy", lambda item: item, over="regions")

        result = simulate(
            workflow,
            fakes={"deploy": lambda item, ctx: f"{item} {ctx.task}"},
            params={"regions": ["eu", "us"]},
        )

        assert result.tasks["deploy"].output == ["eu deploy[eu]", "us deploy[us]"]

    def test_with_inputs(self) -> None:
        """A renamed input keeps its name for the fake."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("build", lambda: 7)
        workflow.add_task("deploy", lambda image: image, inputs={"image": "build"})

        result = simulate(workflow, fakes={"deploy": lambda image: image + 1})

        assert result.tasks["deploy"].output == 8

    def test_of_what_is_included(self) -> None:
        """Names inside an include resolve as they do for the original, finalizers' too."""
        inner = pyflow.Workflow("inner", params={"version": "1"})
        inner.add_task("build", lambda version: version)
        inner.add_task("deploy", lambda build: build)
        inner.add_finalizer("report", lambda deploy, version: None)
        workflow = pyflow.Workflow("w")
        workflow.include(inner, prefix="shop", params={"version": "2"})
        seen: list[Any] = []

        simulate(
            workflow,
            fakes={
                "shop.deploy": lambda build, version: seen.append((build, version)),
                "finalizer shop.report": lambda build, version: seen.append((build, version)),
            },
        )

        assert seen == [("2", "2"), ("2", "2")]

    def test_may_be_objects(self) -> None:
        """Whatever can be called may stand in: an object, a bound method."""

        class Deployer:
            def __init__(self) -> None:
                self.calls = 0

            def __call__(self) -> None:
                self.calls += 1

            async def deploy(self) -> None:
                self.calls += 10

        deployer = Deployer()

        simulate(single(), fakes={"deploy": deployer})
        simulate(single(), fakes={"deploy": deployer.deploy})

        assert deployer.calls == 11

    @pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
    def test_may_fail(self, asynchronous: bool) -> None:
        """What a fake raises is the task's failure."""

        def plain() -> None:
            raise ConnectionError("refused")

        async def later() -> None:
            raise ConnectionError("refused")

        result = simulate(single(), fakes={"deploy": later if asynchronous else plain})

        assert message(result) == "refused"


class TestRecoveries:
    @pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
    def test_undo(self, asynchronous: bool) -> None:
        """The fake of an undo gets the output that is taken back, any other one, and the cause."""
        seen: list[Any] = []
        workflow = rollout()
        workflow.add_task("last", lambda: None, depends_on=["check"])

        def undo(ctx: pyflow.RecoveryContext, deploy: Any, build: str) -> None:
            seen.append((deploy, build, ctx.cause.message if ctx.cause else None))
            ctx.sleep("1m")

        async def undo_async(ctx: pyflow.AsyncRecoveryContext, deploy: Any, build: str) -> None:
            seen.append((deploy, build, ctx.cause.message if ctx.cause else None))
            await ctx.sleep("1m")

        result = simulate(
            workflow,
            fakes={
                "deploy": returns(3),
                "last": fails(ValueError("bad")),
                "undo of deploy": undo_async if asynchronous else undo,
            },
        )

        assert result.status == "rolled_back"
        assert seen == [(3, "shop:2", "bad")]
        assert result.elapsed == timedelta(minutes=1)

    def test_undo_of_an_item(self) -> None:
        """The fake of a map's undo gets the item and the item's own output."""
        workflow = pyflow.Workflow("w")
        workflow.add_map("deploy", lambda item: item.upper(), over=["eu", "us"])
        workflow.add_recovery("deploy", lambda item: None)
        workflow.add_task("check", lambda: None, depends_on=["deploy"])
        seen: list[Any] = []

        simulate(
            workflow,
            fakes={
                "check": fails(),
                "undo of deploy": lambda item, deploy: seen.append((item, deploy)),
            },
        )

        assert seen == [("eu", "EU"), ("us", "US")]

    def test_undo_by_behaviour(self) -> None:
        """An undo may fail and be tried again, take its time, or hang until its timeout."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("deploy", lambda: None)
        workflow.add_recovery("deploy", lambda: None, retry=SURE, timeout="5m")
        workflow.add_task("check", lambda: None, depends_on=["deploy"])

        def with_undo(behaviour: Any) -> Simulation:
            return simulate(workflow, fakes={"check": fails(), "undo of deploy": behaviour})

        assert with_undo(fails(times=2)).status == "rolled_back"
        assert with_undo(takes("4m")).elapsed == timedelta(minutes=4)
        assert with_undo(hangs()).status == "rollback_failed"

    @pytest.mark.parametrize("then", ["retry", "continue"])
    def test_repair(self, then: Any) -> None:
        """The fake of a repair stands in for it; what it gives is taken where the run goes on."""
        workflow = single()
        workflow.add_recovery("deploy", lambda: "repaired", then=then)
        fakes = {"deploy": fails(times=1), "repair of deploy": returns("fake")}

        result = simulate(workflow, fakes=fakes)

        assert result.status == "succeeded"
        assert result.order[:2] == ("deploy", "repair of deploy")
        assert result.tasks["deploy"].output == ("fake" if then == "continue" else None)

    def test_repairs_are_recorded_by_name(self) -> None:
        """The record names the repair's function as it does in a real run, faked or not."""
        workflow = single()
        workflow.add_recovery("deploy", undo_isolated, then="retry")
        workflow.add_recovery("deploy", partial(undo_isolated), then="retry", on=OSError)

        def names(**fakes: Any) -> list[str]:
            result = simulate(workflow, fakes={"deploy": fails(OSError, times=2), **fakes})
            return [r.data["name"] for r in result.audit_trail if r.kind == "repair_started"]

        assert (
            names() == names(**{"repair of deploy": lambda: None}) == ["undo_isolated", "partial"]
        )

    def test_when(self) -> None:
        """The fake of a condition decides, by behaviour or by function; one that fails is a failure."""
        workflow = pyflow.Workflow("w", on_failure="continue")
        workflow.add_task("build", lambda: 1)
        workflow.add_task("deploy", lambda: None, when=lambda build: False)

        async def later(build: int) -> bool:
            return build == 1

        def status(when: Any) -> str:
            return simulate(workflow, fakes={"when= of deploy": when}).tasks["deploy"].status

        assert status(original()) == "skipped"
        assert status(returns(True)) == "succeeded"
        assert status(lambda build: build == 1) == "succeeded"
        assert status(later) == "succeeded"
        assert status(fails()) == "failed"
        assert status(applied_then_fails()) == "failed"

    def test_when_of_a_map(self) -> None:
        """A map's condition is asked once, for the whole of it."""
        workflow = pyflow.Workflow("w")
        workflow.add_map("deploy", lambda item: item, over=["eu", "us"], when=lambda: True)

        result = simulate(workflow, fakes={"when= of deploy": returns(False)})

        assert result.order == ("when= of deploy",)

    def test_finalizer(self) -> None:
        """The fake of a finalizer gets the outcome, and any output; its failure is reported."""
        seen: list[Any] = []

        def report(ctx: pyflow.RecoveryContext, build: str) -> None:
            seen.append((ctx.status, build))
            ctx.sleep("1m")

        result = simulate(rollout(), fakes={"finalizer report": report})
        failed = simulate(rollout(), fakes={"finalizer report": fails(OSError("no mail"))})

        assert seen == [("succeeded", "shop:2")]
        assert result.elapsed == timedelta(minutes=1)
        assert failed.status == "succeeded"
        assert failed.finalizer_errors["report"].message == "no mail"


class TestUnfitFakes:
    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("deplyo", "deploy"),
            ("undo of deplyo", "undo of deploy"),
            ("undo deploy", "undo of deploy"),
            ("finalizer reprot", "finalizer report"),
            ("deploy[eu]", "deploy"),
        ],
    )
    def test_unknown(self, name: str, near: str) -> None:
        """A fake for what is not there is refused, with the nearest name and all that there is."""
        with pytest.raises(SimulationError) as caught:
            simulate(rollout(), fakes={name: returns(1)})

        assert str(caught.value) == (
            f"fakes= has {name!r}, and the workflow has no such function; did you mean {near!r}? "
            "It has: build, deploy, undo of deploy, check, finalizer report"
        )

    def test_unknown_and_unlike(self) -> None:
        """Where no name is near, the error still says what there is."""
        with pytest.raises(SimulationError, match=r"has no such function\. It has: build, deploy"):
            simulate(rollout(), fakes={"xyz": returns(1)})

    @pytest.mark.parametrize("name", ["undo of build", "repair of deploy", "when= of deploy"])
    def test_of_what_a_task_lacks(self, name: str) -> None:
        """An undo, a repair or a condition that is not there cannot be faked."""
        with pytest.raises(SimulationError, match="has no such function"):
            simulate(rollout(), fakes={name: returns(None)})

    @pytest.mark.parametrize("fake", [7, None, "shop:2", {"image": 1}], ids=repr)
    def test_no_function(self, fake: Any) -> None:
        """What is neither a behaviour nor a function is refused, with what to write instead."""
        with pytest.raises(SimulationError) as caught:
            simulate(rollout(), fakes={"build": fake})

        assert str(caught.value) == (
            f"fakes['build'] is {fake!r}; give a behaviour, such as returns(...), fails(...), "
            "takes(...) or hangs(), or a function"
        )

    @pytest.mark.parametrize(
        ("fake", "text"),
        [
            (hangs, "is the function hangs; write hangs() with the parentheses"),
            (fails, "is the function fails; write fails() with the parentheses"),
            (takes, "is the function takes; write takes(...)"),
            (RuntimeError, "is <class 'RuntimeError'>; write fails(RuntimeError), which raises it"),
            (OSError("no"), "is OSError('no'); write fails(OSError('no')), which raises it"),
        ],
        ids=["hangs", "fails", "takes", "class", "exception"],
    )
    def test_nearly_a_behaviour(self, fake: Any, text: str) -> None:
        """What was meant for a behaviour is refused, with the behaviour that was meant."""
        with pytest.raises(SimulationError) as caught:
            simulate(rollout(), fakes={"build": fake})

        assert str(caught.value) == f"fakes['build'] {text}"

    @pytest.mark.parametrize(
        "fake",
        [
            *(nan(), stale(), stale("1m"), missing(), flaps()),
            *(takes("1m", then=nan()), fails(times=1, then=takes("1m", then=flaps()))),
        ],
        ids=repr,
    )
    def test_of_ports(self, fake: Any) -> None:
        """What only a port of the world can answer is refused, also where it comes later."""
        did = Journal()

        with pytest.raises(SimulationError) as caught:
            simulate(rollout(did), fakes={"build": fake})

        assert str(caught.value).startswith(
            f"fakes['build'] is {fake!r}, which is about what a port"
        )
        assert str(caught.value).endswith(f'world.metrics.on("query", {fake!r})')
        assert did.done == []

    def test_coroutine(self) -> None:
        """A coroutine is refused and closed: it was called where it should be handed over."""
        with pytest.raises(SimulationError, match="pass the function itself"):
            simulate(rollout(), fakes={"build": cast("Any", Flips().read())})

    def test_generator(self) -> None:
        """A generator function would do nothing."""

        async def build() -> AsyncIterator[int]:
            yield 1

        with pytest.raises(SimulationError, match="return instead of yield"):
            simulate(rollout(), fakes={"build": build})

    def test_unreadable(self) -> None:
        """A function without a signature cannot be wired."""
        with pytest.raises(SimulationError, match=r"fakes\['build'\].*signature cannot be read"):
            simulate(rollout(), fakes={"build": max})

    @pytest.mark.parametrize(
        ("name", "fake", "known"),
        [
            ("deploy", lambda image: image, "build, version, ctx"),
            ("deploy", lambda check: check, "build, version, ctx"),
            ("deploy", lambda item: item, "build, version, ctx"),
            ("undo of deploy", lambda image: image, "build, deploy, check, version, ctx"),
            ("finalizer report", lambda image: image, "build, deploy, check, version, ctx"),
        ],
        ids=["unknown", "later task", "no map", "undo", "finalizer"],
    )
    def test_asks_too_much(self, name: str, fake: Any, known: str) -> None:
        """A fake that asks for what its original would not get is refused, with what it can have."""
        workflow = rollout(params={"version": "1"})

        with pytest.raises(SimulationError) as caught:
            simulate(workflow, fakes={name: fake})

        assert str(caught.value).startswith(f"fakes[{name!r}]: it asks for ")
        assert str(caught.value).endswith(f"does not get; it can have {known}")

    @pytest.mark.parametrize("fake", [lambda ctx: True, lambda item: True], ids=["ctx", "item"])
    def test_condition_asks_too_much(self, fake: Any) -> None:
        """A condition gets neither a context nor an item, and so does its fake."""
        workflow = pyflow.Workflow("w")
        workflow.add_map("deploy", lambda item: item, over=["eu"], when=lambda: True)

        with pytest.raises(SimulationError, match=r"fakes\['when= of deploy'\]: "):
            simulate(workflow, fakes={"when= of deploy": fake})

    def test_by_position(self) -> None:
        """Arguments are given by name, so a fake that takes them by position only cannot be wired."""

        def deploy(build: str, /) -> None:
            pass

        with pytest.raises(SimulationError, match="by position only"):
            simulate(rollout(), fakes={"deploy": deploy})


class TestIsolation:
    @pytest.mark.parametrize("fn", [nap_isolated, nap_isolated_async])
    def test_process(self, fn: Any) -> None:
        """A task with a process of its own runs here and now, in virtual time."""
        result = simulate(single(fn, isolation="process"))

        assert result.tasks["deploy"].output == os.getpid()
        assert result.elapsed == timedelta(minutes=1)

    @pytest.mark.parametrize("fn", [nap_isolated, nap_isolated_async])
    def test_timeout_of_a_process(self, fn: Any) -> None:
        """A timeout really stops it, as it stops a process: nothing is still running."""
        workflow = single(fn, isolation="process", timeout="10s", retry=SURE)

        result = simulate(workflow)

        assert message(result) == "took longer than its timeout of 10 s"
        assert result.tasks["deploy"].attempts == 3
        assert not result.tasks["deploy"].still_running
        assert result.elapsed == timedelta(seconds=33)

    @pytest.mark.parametrize(
        "fake",
        [takes("1h"), hangs(), lambda ctx: ctx.sleep("1h"), lambda: None],
        ids=["takes", "hangs", "waits", "returns"],
    )
    def test_fake_of_a_process(self, fake: Any) -> None:
        """A fake in its place is stopped as well; none needs a process to be importable from."""
        workflow = single(nap_isolated, isolation="process", timeout="10s")

        result = simulate(workflow, fakes={"deploy": fake})

        assert result.elapsed == timedelta(seconds=10 if result.status == "failed" else 0)
        assert (result.status == "succeeded") == (result.elapsed == timedelta(0))

    def test_undo_of_a_process(self) -> None:
        """Its undo is run the same way, and its condition on the loop."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("deploy", nap_isolated, isolation="process", when=lambda: True)
        workflow.add_recovery("deploy", undo_isolated)
        workflow.add_task("check", lambda: None, depends_on=["deploy"])

        result = simulate(workflow, fakes={"check": fails()})

        assert result.status == "rolled_back"
        assert result.order == ("when= of deploy", "deploy", "check", "undo of deploy")
        assert result.elapsed == timedelta(minutes=2)

    def test_promise_of_a_process(self) -> None:
        """A plain function that returns something to await fails clearly there, too."""
        result = simulate(single(promise_isolated, isolation="process"))

        assert "make it async" in message(result)

    def test_inline(self) -> None:
        """A task on the loop itself is run there."""
        result = simulate(single(lambda: threading.current_thread().name, isolation="inline"))

        assert result.tasks["deploy"].output == "MainThread"

    @pytest.mark.parametrize("fake", [takes("1m"), hangs(), takes("1m", then=fails())], ids=repr)
    @pytest.mark.parametrize("part", ["task", "undo"])
    def test_inline_cannot_wait(self, fake: Any, part: str) -> None:
        """What runs on the loop itself cannot take time; a fake that would is refused."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("deploy", lambda: None, isolation="inline")
        workflow.add_recovery("deploy", lambda: None)
        fakes = {"deploy": fake} if part == "task" else {"deploy": fails(), "undo of deploy": fake}

        with pytest.raises(SimulationError, match=r"deploy runs on the loop itself, so it cannot"):
            simulate(workflow, fakes=fakes)

    def test_condition_cannot_wait(self) -> None:
        """A plain condition is asked on the loop itself."""
        workflow = single(when=lambda: True)

        with pytest.raises(SimulationError, match="when= of deploy runs on the loop itself"):
            simulate(workflow, fakes={"when= of deploy": takes("1m")})

    def test_inline_may_fail(self) -> None:
        """What takes no time is as good there as anywhere."""
        workflow = single(lambda: 1, isolation="inline", retry=SURE)

        result = simulate(workflow, fakes={"deploy": fails(times=2, then=original())})

        assert result.tasks["deploy"].output == 1

    def test_inline_async(self) -> None:
        """An async function may take time wherever it runs."""
        workflow = single(isolation="inline")

        assert simulate(workflow, fakes={"deploy": takes("1m")}).elapsed == timedelta(minutes=1)
