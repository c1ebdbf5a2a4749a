"""The built-in invariants of `explore`: each is broken by something faulty, named, and kept once mended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyflow import NOT_APPLIED, UNKNOWN, Applied, AsyncContext, Retry, Secret, Workflow
from pyflow.errors import JournalError
from pyflow.protocols import Lease
from pyflow.record import events as ev
from pyflow.record.locks import MemoryLocks
from pyflow.run import inputs as on
from pyflow.run.driver import Driver
from pyflow.run.worker import StillRunning, Worker
from pyflow.testing import Exploration, Explored, World, explore
from pyflow.testing.errors import SimulationError
from pyflow.testing.exploration import trial
from pyflow.testing.exploration.invariants import (
    AT_ANY_TIME,
    AT_EVERY_CHANGE,
    AT_THE_END,
    capacity_covers_traffic,
    conditions_decide,
    ends,
    facts_left,
    interruptions_decide,
    locks_are_released,
    no_secret_is_written,
    residue_is_complete,
    rolled_back_is_as_before,
    someone_is_ready,
    weights_sum_to_100,
)
from pyflow.testing.exploration.recorder import Recorder
from pyflow.testing.exploration.trial import name_of
from support.explored import FEW, Mismatch, endless, forgetful, made, switch, twofold
from support.simulated import nothing_behind
from support.worlds import shop


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


def broken(report: Exploration) -> list[str]:
    """Return the invariants that the counterexample breaks."""
    assert report.counterexample is not None
    return [violation.invariant for violation in report.counterexample.violations]


def said(report: Exploration) -> str:
    """Return what the opening violation of the counterexample says."""
    assert report.counterexample is not None
    return report.counterexample.violations[0].message


def faults(report: Exploration) -> list[str]:
    """Return the faults of the counterexample."""
    assert report.counterexample is not None
    return [str(fault) for fault in report.counterexample.faults]


class TestEach:
    @pytest.mark.parametrize(
        "invariant", [*AT_THE_END, *AT_ANY_TIME, *AT_EVERY_CHANGE], ids=lambda one: one.__name__
    )
    def test_says_what(self, invariant: Callable[..., object]) -> None:
        """Each says in a sentence what has to hold."""
        assert name_of(invariant).endswith(".")


class TestEnds:
    def test_waits_for_ever(self) -> None:
        """A run that hangs without a timeout never ends; with one it does."""
        world = World()

        report = explore(lambda: endless(world), world=world)

        assert broken(report) == [name_of(ends)]
        assert said(report).startswith(
            "it is still running after 604800 s of virtual time; deploy#1 is under way and has no "
            "timeout=; these wait:\n    deploy: "
        )
        assert explore(lambda: switch(world), world=world).ok

    def test_undo_waits_for_ever(self) -> None:
        """So does one whose undo hangs."""
        world = World()

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("deploy", lambda: None, timeout="1m")
            workflow.add_recovery("deploy", lambda: None)
            return workflow

        report = explore(make, world=world)

        assert broken(report) == [name_of(ends)]
        assert faults(report)[-1] == "undo of deploy#1 begins: hangs"
        assert said(report).startswith("it is still rolling_back after")
        assert "; undo of deploy#1 is under way and has no timeout=; these wait:" in said(report)

    def test_waits_for_longer(self) -> None:
        """Of what has a timeout, only that it is under way is said."""
        world = World()

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_map("deploy", lambda item: None, over=["eu"], timeout="2h")
            return workflow

        report = explore(make, world=world, kinds=["hangs"], within="1h")

        assert said(report).startswith(
            "it is still running after 3600 s of virtual time; deploy[eu]#1 is under way; these wait:"
        )

    @pytest.mark.parametrize("role", ["finalizer report", "when= of deploy"])
    def test_others_wait_for_ever(self, role: str) -> None:
        """A finalizer without a timeout is named so; a condition, which can have none, is named."""

        async def ask() -> bool:
            await asyncio.Event().wait()
            return True

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("deploy", lambda: None, when=ask if "when" in role else None)
            workflow.add_finalizer("report", (lambda: None) if "when" in role else ask)
            return workflow

        report = explore(make, world=World(), faults=0)

        bound = "" if "when" in role else " and has no timeout="
        assert f"; {role}#1 is under way{bound}; these wait:" in said(report)

    def test_engine_gives_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that the engine gave up has not ended, whatever it was doing."""
        append = Recorder.append

        def full(self: Recorder, run_id: str, events: Sequence[ev.Event], /, *, at: Any) -> Any:
            if any(isinstance(event, ev.TaskSucceeded) for event in events):
                raise JournalError("the disk is full")
            return append(self, run_id, events, at=at)

        monkeypatch.setattr(Recorder, "append", full)
        world = World()
        report = explore(lambda: switch(world), world=world, faults=0)

        assert broken(report)[0] == name_of(ends)
        assert said(report) == "the engine gave up while it was succeeded: the disk is full"


class TestRolledBack:
    def test_not_as_before(self) -> None:
        """A run that says it is rolled back has left everything as it was."""
        world = World()

        report = explore(lambda: forgetful(world), world=world)

        assert broken(report) == [name_of(rolled_back_is_as_before)]
        assert said(report) == (
            "config mode is 'new', and was None before; deploy counts as undone"
        )

    @pytest.mark.parametrize(
        ("change", "fact"),
        [
            (lambda w: w.platform.scale("shop", "2.0", 2), "shop instances 2.0 is 2, and was None"),
            (lambda w: w.platform.scale("shop", "1.0", 3), "shop instances 1.0 is 3, and was 2"),
            (
                lambda w: w.router.set_weights("shop", {"1.0": 90, "1.1": 10}),
                "shop weight 1.0 is 90.0, and was 100.0",
            ),
            (lambda w: asyncio.sleep(0, w.config.update(a=1)), "config a is 1, and was None"),
            (lambda w: asyncio.sleep(0, setattr(w, "schema_version", 7)), "schema version is 7"),
        ],
    )
    def test_facts(self, change: Callable[[World], Any], fact: str) -> None:
        """It is about instances, weights, configuration and the schema alike."""
        world = shop(instances=2)
        world.apply_scale("shop", "1.1", 1)

        async def deploy(ctx: AsyncContext) -> None:
            await ctx.sleep("1m")  # so that what is there has become ready
            await change(world)

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("deploy", deploy, timeout="5m")
            workflow.add_recovery("deploy", lambda: None, timeout="1m")
            return workflow

        report = explore(make, world=world, faults=1)

        assert broken(report) == [name_of(rolled_back_is_as_before)]
        assert said(report).startswith(fact)

    def test_not_by_a_task(self) -> None:
        """What the world changed, or a task that has no undo, is not the rollback's to put back."""
        world = World()
        world.at("5s", lambda: world.config.update(drift=True))

        async def note(ctx: AsyncContext) -> None:
            world.config["note"] = True
            await ctx.sleep("1m")

        def make() -> Workflow:
            workflow = switch(world)
            workflow.add_task("note", note, depends_on="deploy", timeout="5m")
            return workflow

        left: list[dict[str, Any]] = []

        def look(run: Explored) -> None:
            if run.status == "rolled_back":
                left.append(facts_left(run))

        report = explore(make, world=world, faults=1, invariants=[look])

        assert report.ok
        assert {"config drift": (None, True), "config note": (None, True)} in left

    def test_not_by_a_task_alone(self) -> None:
        """What a task put back, and the world changed after that, is not the rollback's either."""
        world = World()
        world.at("5s", lambda: world.config.update(mode="odd"))
        left: list[dict[str, Any]] = []

        def look(run: Explored) -> None:
            if run.status == "rolled_back":
                left.append(facts_left(run))

        async def rest(ctx: AsyncContext) -> None:
            await ctx.sleep("10s")

        def make() -> Workflow:
            workflow = switch(world)
            workflow.add_finalizer("rest", rest)
            return workflow

        report = explore(make, world=world, faults=1, kinds=["roll_back"], invariants=[look])

        assert report.ok
        assert {"config mode": (None, "odd")} in left

    def test_nobody_could_know(self) -> None:
        """Where who wrote was lied to, and who looked as well, the run cannot know better."""
        world = shop()
        world.apply_scale("shop", "2.0", 1)

        async def shift() -> None:
            await world.router.set_weights("shop", {"1.0": 90, "2.0": 10})

        async def shift_back() -> None:
            await world.router.set_weights("shop", {"1.0": 100})
            if len(await world.router.weights("shop")) > 1:
                raise Mismatch

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("wait", lambda ctx: ctx.sleep("1m"), timeout="5m")
            workflow.add_task("shift", shift, timeout="1m", depends_on="wait")
            workflow.add_recovery("shift", shift_back, timeout="1m", retry=FEW)
            return workflow

        wrong: list[set[str]] = []

        def look(run: Explored) -> None:
            if run.status == "rolled_back" and facts_left(run):
                wrong.append({fault.kind for fault in run.faults})

        def lie(run: Explored) -> bool:
            return not wrong

        kinds: Any = ["roll_back", "lies", "stale"]
        report = explore(make, world=world, faults=3, invariants=[look], kinds=kinds)

        assert report.ok
        assert wrong
        assert all(found == {"roll_back", "lies", "stale"} for found in wrong)
        assert not explore(make, world=world, faults=3, invariants=[look, lie], kinds=kinds).ok


class TestResidue:
    def test_incomplete(self) -> None:
        """A rollback that failed names everything that is still applied."""
        world = World()

        def make(*, mended: bool) -> Workflow:
            async def put_back() -> None:
                if mended:
                    world.config["mode"] = None

            async def fail() -> None:
                raise Mismatch

            workflow = Workflow("w")
            workflow.add_task("deploy", lambda: world.config.update(mode="new"), timeout="1m")
            workflow.add_task("note", lambda: world.config.update(note=1), timeout="1m")
            workflow.add_recovery("deploy", put_back, timeout="1m")
            workflow.add_recovery("note", fail, timeout="1m")
            return workflow

        report = explore(lambda: make(mended=False), world=world, kinds=["roll_back"])

        assert broken(report) == [name_of(residue_is_complete)]
        assert said(report) == (
            "config mode is 'new', and was None before; deploy counts as undone"
        )
        assert report.counterexample is not None
        assert report.counterexample.run.residue == ("note",)
        assert explore(lambda: make(mended=True), world=world, kinds=["roll_back"]).ok


class Faulty(MemoryLocks):
    """Locks of which some operation does not do what it says."""

    fault = ""

    def copy(self) -> MemoryLocks:
        copied = type(self)()
        vars(copied).update(vars(super().copy()))
        return copied

    def release(self, leases: Sequence[Lease], /, *, residue: bool = False) -> None:
        if self.fault != "keeps":
            bars = {"bars": True, "frees": False}.get(self.fault, residue)
            super().release(leases, residue=bars)


class TestLocks:
    def explored(self, fault: str) -> Exploration:
        """Explore a run that ends in every way, with locks that have *fault*."""
        world = World()
        world.locks = type("Locks", (Faulty,), {"fault": fault})()

        async def put_back() -> None:
            world.config["mode"] = None  # once only, so that it may leave residue
            if world.config["mode"] is not None:
                raise Mismatch

        def make() -> Workflow:
            workflow = Workflow("w", locks=["shop"])
            workflow.add_task("deploy", lambda: world.config.update(mode="new"), timeout="1m")
            workflow.add_recovery("deploy", put_back, timeout="1m")
            return workflow

        return explore(make, world=world)

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("keeps", "the run has ended as succeeded and still holds 'shop'"),
            ("bars", "'shop' is barred, and what the run left is: nothing"),
            ("frees", "'shop' is free, and what the run left is: deploy"),
        ],
    )
    def test_at_the_end(self, fault: str, message: str) -> None:
        """A lock that is kept, barred for nothing, or given away over residue, is named."""
        report = self.explored(fault)

        assert broken(report) == [name_of(locks_are_released)]
        assert said(report) == message

    def test_kept(self) -> None:
        """Locks that do as they say keep it, whichever way the run ends."""
        report = self.explored("")

        assert report.ok
        assert report.endings["rollback_failed"] > 0

    def test_held(self) -> None:
        """A run that waits for a person keeps its locks."""
        world = World()

        def make(*, breaks: bool) -> Workflow:
            def deploy() -> None:
                if breaks:
                    world.locks.break_lock("shop")
                raise Mismatch

            workflow = Workflow("w", on_failure="hold", locks=["shop"])
            workflow.add_task("deploy", deploy, timeout="1m")
            return workflow

        report = explore(lambda: make(breaks=True), world=world, faults=0)

        assert broken(report) == [name_of(locks_are_released)]
        assert said(report) == "the run is held and no longer holds 'shop'"
        assert explore(lambda: make(breaks=False), world=world, faults=0).ok

    def test_functions_run_under_locks(self) -> None:
        """A function that runs once the lock is gone is named."""
        world = World()

        def make(*, breaks: bool) -> Workflow:
            workflow = switch(world, locks=("shop",))
            workflow.add_task(
                *("check", lambda: breaks and world.locks.break_lock("shop")),
                depends_on="deploy",
                timeout="1m",
            )
            workflow.add_finalizer("report", lambda: None)
            return workflow

        report = explore(lambda: make(breaks=True), world=world, faults=0)

        assert trial.LOCKED in broken(report)
        assert said(report) == "nobody holds 'shop' as finalizer report#1 begins"
        assert explore(lambda: make(breaks=False), world=world, faults=0).ok


class TestSecrets:
    def test_in_a_record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret in a record is named by its place; redaction is what keeps it out."""
        world = World()

        async def deploy(ctx: AsyncContext, token: Secret) -> None:
            ctx.log("logging in", token=token.reveal())

        def make() -> Workflow:
            workflow = Workflow("w", params={"token": Secret})
            workflow.add_task("deploy", deploy, timeout="1m")
            return workflow

        params = {"token": Secret("hunter2hunter2", name="token")}
        mended = explore(make, world=world, params=params)
        monkeypatch.setattr("pyflow.run.driver.redacted", lambda event, redactor: event)
        monkeypatch.setattr(
            "pyflow.run.desk.redacted", lambda event, redactor: event, raising=False
        )
        report = explore(make, world=world, params=params)

        assert mended.ok
        assert broken(report) == [name_of(no_secret_is_written)]
        assert said(report).startswith("record 3 holds a secret, at logged.data")


class TestRecords:
    def test_effect_without_a_record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A function that is called although nothing says so is named."""
        commit = Driver._commit

        def forget(self: Driver, events: list[ev.Event]) -> None:
            kept = [one for one in events if not isinstance(one, ev.TaskStarted)]
            if kept:
                commit(self, kept)

        world = World()
        mended = explore(lambda: switch(world), world=world, faults=0)
        monkeypatch.setattr(Driver, "_commit", forget)
        report = explore(lambda: switch(world), world=world, faults=0)

        assert mended.ok
        assert trial.RECORDED_FIRST in broken(report)
        assert said(report) == "deploy#1 has no task_started record of its own"

    def test_call_beside_an_earlier_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A try that begins while an earlier one still runs on its thread is named."""

        async def leave(self: Worker, state: Any, still: StillRunning, started: float) -> None:
            failed = self._failed("task", state.name, TimeoutError("it took too long"))
            self._call_over(state.name, on.AttemptRaised(state.name, self._since(started), failed))

        world = World()

        def make() -> Workflow:
            workflow = Workflow("w", on_failure="stop")
            workflow.add_task("deploy", lambda: None, timeout="1m", retry=Retry(2, backoff="1s"))
            return workflow

        mended = explore(make, world=world, kinds=["hangs"])
        monkeypatch.setattr(Worker, "_leave_behind", leave)
        report = explore(make, world=world, kinds=["hangs"])

        assert mended.ok
        assert broken(report) == [trial.ALONE]
        assert said(report) == "deploy#2 begins while deploy#1 is under way"


class TestConditions:
    @pytest.mark.parametrize(
        ("outcome", "answer", "became", "message"),
        [
            ("returned", True, ev.TaskStarted("a", 1, ""), None),
            ("returned", False, ev.TaskSkipped("a", ""), None),
            ("raised", None, ev.TaskFailed("a", ""), None),
            ("raised", None, ev.TaskCancelled("a", ""), None),
            ("under way", None, ev.TaskSkipped("a", ""), None),
            ("returned", False, ev.TaskStarted("b", 1, ""), None),
            ("raised", None, ev.TaskSkipped("a", ""), "when= of a#1 raised, and what followed is"),
            ("returned", False, ev.TaskStarted("a", 1, ""), "when= of a#1 answered False, and"),
            ("returned", True, ev.TaskSkipped("a", ""), "when= of a#1 answered True, and a was"),
        ],
    )
    def test_answers(
        self, outcome: str, answer: object, became: ev.Event, message: str | None
    ) -> None:
        """What a condition answered is what becomes of its task."""
        call = SimpleNamespace(
            role="when", task="a", label="when= of a#1", outcome=outcome, answer=answer
        )
        other = SimpleNamespace(role="task", task="a", label="a#1", outcome="raised", answer=None)
        found = conditions_decide(
            cast("Explored", SimpleNamespace(calls=[other, call], events=[became]))
        )

        assert found is None if message is None else str(found).startswith(message)

    def test_asked_again(self) -> None:
        """An answer that was lost in a crash does not count, only the last one does."""
        calls = [
            SimpleNamespace(role="when", task="a", label="", outcome=outcome, answer=answer)
            for outcome, answer in [("raised", None), ("returned", False), ("returned", True)]
        ]
        events = [ev.RunResumed({}, {}), ev.TaskStarted("a", 1, "")]

        assert (
            conditions_decide(cast("Explored", SimpleNamespace(calls=calls, events=events))) is None
        )

    def test_kept(self) -> None:
        """Conditions of every kind are obeyed under every fault."""
        world = World()

        def make() -> Workflow:
            workflow = switch(world, when=lambda: True)
            workflow.add_task("never", lambda: None, when=lambda: False, timeout="1m")
            workflow.add_task("check", lambda: None, when=lambda: 1 / 0, timeout="1m")
            return workflow

        assert explore(make, world=world, faults=1).ok


class TestInterruptions:
    @pytest.mark.parametrize(
        ("outcome", "answer", "counted", "message"),
        [
            ("returned", Applied(3), ("applied", "look"), None),
            ("returned", NOT_APPLIED, ("not_applied", "look"), None),
            ("returned", UNKNOWN, ("unknown", "look"), None),
            ("returned", "yes", ("unknown", "look"), None),
            ("raised", None, ("unknown", "look"), None),
            ("under way", None, ("applied", "look"), None),
            ("returned", Applied(3), ("not_applied", "person"), None),
            (
                "returned",
                Applied(3),
                ("not_applied", "look"),
                "found applied, and what counted is not",
            ),
            (
                "returned",
                NOT_APPLIED,
                ("applied", "look"),
                "found not_applied, and what counted is a",
            ),
            (
                "raised",
                None,
                ("not_applied", "look"),
                "found unknown, and what counted is not_applied",
            ),
        ],
    )
    def test_answers(
        self, outcome: str, answer: object, counted: tuple[Any, str], message: str | None
    ) -> None:
        """What an ``on_interrupt=`` found out is what counts, unless a person said otherwise."""
        call = self.call(1, outcome, answer)
        events = [ev.TaskInterrupted("a", 1, ""), ev.InterruptResolved("a", *counted)]

        found = self.seen([call], events)

        assert found is None if message is None else str(found).startswith(f"a#1 {message}")

    def test_other_interruptions(self) -> None:
        """A call is held against the interruption that it looked into; some were never recorded."""
        calls = [self.call(1, "returned", Applied()), self.call(2, "returned", NOT_APPLIED)]
        events = [
            *(ev.TaskInterrupted("a", 1, ""), ev.TaskInterrupted("b", 2, "")),
            ev.InterruptResolved("b", "applied", "look"),
            *(ev.TaskInterrupted("a", 2, ""), ev.InterruptResolved("a", "not_applied", "look")),
        ]

        assert self.seen(calls, events) is None
        assert self.seen(calls, events[:3]) is None

    def test_said_why(self) -> None:
        """An answer that cannot be used is no answer, and the record says why."""
        resolved = ev.InterruptResolved("a", "unknown", "look", reason="CodecError: output")
        events = [ev.TaskInterrupted("a", 1, ""), resolved]

        assert self.seen([self.call(1, "returned", Applied(object()))], events) is None

    def call(self, attempt: int, outcome: str, answer: object) -> Any:
        """Return a call of the ``on_interrupt=`` of the task a."""
        return SimpleNamespace(
            role="interrupt", task="a", attempt=attempt, label="a#1", outcome=outcome, answer=answer
        )

    def seen(self, calls: list[Any], events: list[Any]) -> str | None:
        """Return what the invariant says of a run with these *calls* and *events*."""
        return interruptions_decide(cast("Explored", SimpleNamespace(calls=calls, events=events)))


class TestTraffic:
    def explored(self, *steps: Callable[[World], Any], rps: float = 150) -> Exploration:
        """Explore what awaits *steps*, one after another, in a shop of two busy instances."""
        world = shop(instances=2, rps=rps)

        async def deploy() -> None:
            for step in steps:
                await step(world)

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("deploy", deploy, timeout="1h")
            return workflow

        return explore(make, world=world, faults=0)

    def test_nothing_ready(self) -> None:
        """Traffic on a version that is not ready yet is named; once it is ready, it may come."""
        up = (lambda w: w.platform.scale("shop", "2.0", 2),)
        shift = (lambda w: w.router.set_weights("shop", {"2.0": 100}),)

        report = self.explored(*up, *shift)

        assert broken(report) == [name_of(someone_is_ready)]
        assert said(report) == ("shop 2.0 has weight 100 and nothing ready, since deploy#1")
        assert self.explored(*up, lambda w: asyncio.sleep(30), *shift).ok

    def test_too_little(self) -> None:
        """A version that gets more requests than it can serve is named; with enough, it is not."""
        down = (lambda w: w.platform.scale("shop", "1.0", 1),)

        report = self.explored(*down)

        assert broken(report) == [name_of(capacity_covers_traffic)]
        assert said(report) == (
            "shop 1.0 gets 150.0 requests a second, and what is ready can serve 100.0, since deploy#1"
        )
        assert self.explored(*down, rps=100).ok

    def test_weights(self) -> None:
        """Weights that do not sum to 100, which no router here would take, are named."""
        world = shop()
        service = world.find("shop")

        assert list(weights_sum_to_100(world)) == []
        service.segments.append(service.now._replace(weights={"1.0": 60.0}))
        assert list(weights_sum_to_100(world)) == [("shop", "the weights of shop sum to 60")]

    def test_broken_before(self) -> None:
        """What is broken already is not blamed on the run; what it breaks besides is."""
        world = shop(instances=2, rps=350)
        world.apply_scale("shop", "1.0", 1)

        async def harmless() -> None:
            world.config["mode"] = "new"

        async def harmful() -> None:
            await world.platform.scale("shop", "1.0", 0)

        def make(deploy: Callable[..., Any]) -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("deploy", deploy, timeout="1h")
            return workflow

        report = explore(lambda: make(harmful), world=world, faults=0)

        assert explore(lambda: make(harmless), world=world, faults=0).ok
        assert broken(report) == [name_of(someone_is_ready)]

    def test_broken_by_the_world(self) -> None:
        """What the world breaks by itself is not blamed on the run."""
        world = shop(instances=2, rps=150)
        world.at("1m", lambda: world.kill("shop", "1.0"))

        async def deploy(ctx: AsyncContext) -> None:
            await ctx.sleep("5m")
            world.config["mode"] = "new"

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("deploy", deploy, timeout="1h")
            return workflow

        assert explore(make, world=world, faults=1).ok


class TestAll:
    def test_of_a_safe_workflow(self) -> None:
        """A workflow that looks, and tries again, keeps all of them under every pair of faults."""
        world = World()

        assert explore(made(twofold, world), world=world).ok


def flags(world: World, change: Callable[[], object], **options: Any) -> Workflow:
    """Return a workflow that changes something, takes nothing back, and fails then."""

    def verify() -> None:
        raise RuntimeError("on purpose")

    made = Workflow("flags")
    made.add_task("change", change, timeout="1m", **options)
    made.add_recovery("change", lambda: None, timeout="1m")
    made.add_task("verify", verify, depends_on="change", effect=False, timeout="1m")
    return made


class TestWhoHasChangedIt:
    def test_a_pool(self) -> None:
        """What a thread of a pool changes is the doing of the one call under way."""
        world = World()
        world.config["mode"] = "old"

        def change() -> None:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda mode: world.config.update(mode=mode), ["new", "newer"]))

        report = explore(lambda: flags(world, change), world=world, faults=0)

        assert broken(report) == [name_of(rolled_back_is_as_before)]
        assert said(report).endswith("; change counts as undone")

    def test_what_was_planned(self) -> None:
        """What the test has planned is nobody's, even while a call is under way."""
        world = World()
        world.config["mode"] = "old"
        world.at("5s", lambda: world.config.update(mode="new"))

        async def wait() -> None:
            await asyncio.sleep(10)

        assert explore(lambda: flags(world, wait), world=world, faults=0).ok

    def test_effect_false(self) -> None:
        """A task that only reads, as it says, and changes something is found out."""
        world = World()
        world.config["mode"] = "old"

        report = explore(
            lambda: flags(world, lambda: world.config.update(mode="new"), effect=False),
            world=world,
            faults=0,
        )

        assert broken(report)[0] == trial.READS_ONLY
        assert said(report) == "change#1 has changed config mode"

    def test_nan(self) -> None:
        """A setting that is not a number, and stays so, has not changed."""
        world = World()
        world.config["ratio"] = math.nan

        def change() -> None:
            world.config["mode"] = "new"
            del world.config["mode"]

        assert explore(lambda: flags(world, change), world=world, faults=0).ok


class TestWhatIsAskedFor:
    @staticmethod
    def scaling(world: World, instances: Callable[[int], int]) -> Workflow:
        """Return a workflow that adds an instance, and takes back what is there by then."""

        async def add() -> None:
            await world.platform.scale("shop", "2.0", 1)

        async def remove() -> None:
            state = await world.platform.observe("shop")
            there = sum(one.version == "2.0" for one in state.instances)
            await world.platform.scale("shop", "2.0", instances(there))

        made = Workflow("scaling")
        made.add_task("add", add, timeout="1m")
        made.add_recovery("add", remove, timeout="1m")
        return made

    def test_under_a_fault(self) -> None:
        """What the world refuses is a counterexample, where it takes a fault to ask for it."""
        world = World()
        world.service("shop", version="1.0", instances=2)

        report = explore(
            lambda: self.scaling(world, lambda there: there - 1), world=world, kinds=["fails"]
        )

        assert broken(report)[0] == trial.GIVEN
        assert "cannot be -1" in said(report)
        assert faults(report) == ["add#1 begins: fails"]

    def test_under_none(self) -> None:
        """Where it takes none, it is a mistake of the test."""
        world = World()
        world.service("shop", version="1.0", instances=2)
        made = Workflow("asks")
        made.add_task("asks", lambda: world.apply_scale("shop", "1.0", -1), timeout="1m")

        with pytest.raises(SimulationError, match="cannot be -1"):
            explore(lambda: made, world=world)


class TestYourOwn:
    def test_something_to_await(self) -> None:
        """One that returns something to await does not pass, and says why."""
        world = World()

        async def later() -> None: ...

        report = explore(
            lambda: switch(world), world=world, faults=0, invariants=[lambda run: later()]
        )

        assert "it returned something to await" in said(report)
