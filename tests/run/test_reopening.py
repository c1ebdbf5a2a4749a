"""Recorded runs: which may be taken up, with what, and to go which way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.errors import LockMoved, PlanChanged, RunAlive
from pyflow.protocols import Lease
from pyflow.record.locks import MemoryLocks
from pyflow.record.memory import MemoryJournal
from pyflow.testing import run_virtual
from pyflow.testing.simulation import SimulatedEngine
from support.crashes import Disk
from support.shop import Image, Shop, assert_sound, cut_off, says, shipping


class TestARunThatHasEnded:
    def test_gives_its_recorded_result(self) -> None:
        """Nothing is done and nothing is recorded; outputs come in the types of their functions."""
        disk, shop = Disk(), Shop()
        first = disk.resume(shipping(Shop()))
        count = len(disk.records)

        again = disk.resume(shipping(shop))

        assert shop.did == []
        assert len(disk.records) == count
        assert again.status == first.status == "succeeded"
        assert again.tasks["ship"].output == Image("shop")
        assert again.metrics == first.metrics
        assert str(again) == str(first)

    def test_gives_its_errors(self) -> None:
        """Why it failed, what is left and why reads as it did in the process that saw it."""

        def bad(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            wf.add_task("a", shop.act("a", fails=9))
            wf.add_recovery("a", shop.act("undo a", fails=9))
            wf.add_finalizer("f", shop.act("f", fails=9))
            return wf

        disk = Disk()
        first = disk.resume(bad(Shop()))

        again = disk.resume(bad(Shop()))

        assert again.status == "rollback_failed"
        assert (str(again.error), again.residue) == (str(first.error), ("a",))
        assert str(again.recovery_errors["a"]) == str(first.recovery_errors["a"])
        assert str(again.finalizer_errors["f"]) == str(first.finalizer_errors["f"])

    def test_cannot_be_asked(self) -> None:
        """Its Run says that it is over."""
        disk = Disk()
        disk.resume(shipping(Shop()))

        def ask(run: pyflow.Run) -> None:
            with pytest.raises(pyflow.EngineError, match="has ended as succeeded"):
                run.cancel()

        disk.resume(shipping(Shop()), says(ask))


class TestChangedPlans:
    def plan(self, shop: Shop, *names: str, **changed: Any) -> pyflow.Workflow:
        """A chain of tasks, of which the second is slow."""
        wf = pyflow.Workflow("w")
        before: list[str] = []
        for name in names or ("a", "b", "c"):
            act = shop.act(name, takes=10 if name == "b" else 0)
            options: dict[str, Any] = {"on_interrupt": "rerun", **changed.get(name, {})}
            wf.add_task(name, act, depends_on=before, **options)
            wf.add_recovery(name, shop.quick(f"undo {name}"))
            before = [name]
        return wf

    def refused(self, changed: pyflow.Workflow, **options: Any) -> PlanChanged:
        disk = Disk().crash(self.plan(Shop()), 5)
        count = len(disk.records)
        with pytest.raises(PlanChanged) as caught:
            disk.resume(changed, **options)
        assert len(disk.records) == count
        assert isinstance(caught.value, pyflow.EngineError)
        return caught.value

    def test_are_refused_unless_accepted(self) -> None:
        """Every difference is named, with how far the task has come; nothing is recorded."""
        wf = self.plan(Shop(), "a", "b", "c", a={"timeout": "1m"}, c={"timeout": "1m"})
        wf.add_task("d", Shop().quick("d"))

        error = self.refused(wf)

        assert error.changes == {
            "a": "changed, and has been started",
            "c": "changed, and is still to run",
            "d": "added",
        }
        assert "\n  a: changed, and has been started\n" in str(error)
        assert "accept_changes=True" in str(error)

    def test_may_be_accepted(self) -> None:
        """Accepted changes are recorded, and the run goes on under the new plan."""
        disk, shop = Disk().crash(self.plan(Shop()), 5), Shop()
        changed = self.plan(shop, "a", "b", "d", "c")

        result = disk.resume(changed, accept_changes=True)

        assert result.status == "succeeded"
        assert shop.did == ["b 2", "d 1", "c 1"]
        assert disk.data("run_resumed")[0]["changes"] == {
            "d": "added",
            "c": "changed, and is still to run",
        }
        assert_sound(disk, changed, result)

    def test_may_drop_what_has_not_run(self) -> None:
        """A task that the record does not know of may be gone."""
        disk = Disk().crash(self.plan(Shop()), 5)

        result = disk.resume(self.plan(Shop(), "a", "b"), accept_changes=True)

        assert result.status == "succeeded"
        assert list(result.tasks) == ["a", "b"]

    def test_may_not_drop_what_has_run(self) -> None:
        """A task that was started cannot be gone, accepted or not."""
        error = self.refused(self.plan(Shop(), "b", "c"), accept_changes=True)

        assert error.changes["a"] == "removed, and has been started"
        assert "Take the run up with the code that started it." in str(error)

    def test_may_not_drop_what_is_settled(self) -> None:
        """Nor can one that was skipped, of which the record speaks as well."""

        def skipping(*names: str) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            for name in names:
                wf.add_task(name, Shop().act(name), when=(lambda: False) if name == "no" else None)
            return wf

        disk = Disk().crash(skipping("a", "no"), 5)

        with pytest.raises(PlanChanged) as caught:
            disk.resume(skipping("a"), accept_changes=True)

        assert caught.value.changes == {"no": "removed, and has been settled"}

    def test_may_not_make_something_else_of_what_has_run(self) -> None:
        """A map that has its items cannot become a task, nor one with other repairs lose them."""

        def mapped(*, is_map: bool) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            if is_map:
                wf.add_map("a", Shop().act("a"), over=[1, 2])
            else:
                wf.add_task("a", Shop().act("a"))
            return wf

        disk = Disk().crash(mapped(is_map=True), 5)

        with pytest.raises(PlanChanged, match="does not fit the plan") as caught:
            disk.resume(mapped(is_map=False), accept_changes=True)

        assert caught.value.changes == {"a": "changed, and has been started"}

    def test_are_none_in_another_order(self) -> None:
        """The order in which tasks are declared makes no difference."""

        def ordered(*names: str) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            for name in names:
                wf.add_task(name, Shop().act(name), on_interrupt="rerun")
            return wf

        disk = Disk().crash(ordered("a", "b"), 5)

        result = disk.resume(ordered("b", "a"))

        assert result.status == "succeeded"
        assert "changes" not in disk.data("run_resumed")[0]

    def test_to_another_workflow_are_refused(self) -> None:
        """A run belongs to the workflow of its name."""
        other = pyflow.Workflow("other")
        other.add_task("a", Shop().quick("a"))

        error = self.refused(other, accept_changes=True)

        assert "is one of the workflow 'w', not of 'other'" in str(error)
        assert error.changes == {}


class Probe:
    """Something that no record can hold."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Probe({self.name!r})"


class TestParameters:
    def handing(self, seen: list[Any], **params: Any) -> pyflow.Workflow:
        """Hand the parameters to a task that is cut off and runs again."""
        wf = pyflow.Workflow("w", params=params)

        @wf.task(on_interrupt="rerun")
        async def ship(ctx: pyflow.AsyncContext) -> None:
            seen.append(dict(ctx.params))
            await ctx.sleep(10)

        return wf

    def test_are_kept(self) -> None:
        """Data is what it was, whatever the defaults say by now."""
        seen: list[Any] = []
        disk = Disk().crash(
            self.handing([], version="1", path=Path("/a")), 5, params={"version": "2"}
        )

        disk.resume(self.handing(seen, version="3", path=Path("/b")), accept_changes=True)

        assert seen == [{"version": "2", "path": "/a"}]

    def test_may_be_repeated_but_not_changed(self) -> None:
        """A value that is given again has to be the same one."""
        disk = Disk().crash(self.handing([], version="1"), 5)

        with pytest.raises(
            pyflow.EngineError, match="version was '1', and stays that; leave it out"
        ):
            disk.resume(self.handing([], version="1"), params={"version": "2"})
        result = disk.resume(self.handing([], version="1"), params={"version": "1"})

        assert result.status == "succeeded"

    def test_that_are_objects_have_to_be_given_again(self) -> None:
        """No record can hold an object, so the error says which was given, and it is given anew."""
        seen: list[Any] = []
        disk = Disk().crash(self.handing([], probe=Probe), 5, params={"probe": Probe("one")})

        with pytest.raises(
            pyflow.EngineError,
            match=r"probe was the object Probe\('one'\); give it again, in params=",
        ):
            disk.resume(self.handing([], probe=Probe))
        two = Probe("two")
        disk.resume(self.handing(seen, probe=Probe), params={"probe": two})

        assert seen == [{"probe": two}]

    def test_that_are_objects_may_come_with_the_environment(self) -> None:
        """Or the environment holds it, as it did at the start."""
        seen: list[Any] = []
        probe = Probe("one")
        place = pyflow.Environment("production", {"probe": probe, "version": "1"})
        workflow = {"probe": Probe, "version": str}
        disk = Disk().crash(self.handing([], **workflow), 5, environment=place)

        disk.resume(self.handing(seen, **workflow), environment=place)

        assert seen == [{"probe": probe, "version": "1"}]

    def test_that_are_defaults_are_there(self) -> None:
        """An object that is the workflow's own default need not be given, unless another one was."""
        seen: list[Any] = []
        disk = Disk().crash(self.handing([], probe=Probe("one")), 5)
        result = disk.resume(self.handing(seen, probe=Probe("one")))
        other = Disk().crash(
            self.handing([], probe=Probe("one")), 5, params={"probe": Probe("two")}
        )

        assert result.status == "succeeded"
        assert repr(seen[0]["probe"]) == "Probe('one')"
        with pytest.raises(pyflow.EngineError, match=r"probe was the object Probe\('two'\)"):
            other.resume(self.handing([], probe=Probe("one")))

    def test_that_are_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret with a reference is fetched again; another one has to be given again."""
        monkeypatch.setenv("SHOP_TOKEN", "hunter2hunter2")
        seen: list[Any] = []
        declared = {"one": pyflow.Secret, "two": pyflow.Secret, "three": pyflow.Secret}
        given = {
            "one": pyflow.Secret.from_env("SHOP_TOKEN"),
            "two": pyflow.Secret("swordfish-42"),
            "three": pyflow.Secret("correct-horse", name="api"),
        }
        disk = Disk().crash(self.handing([], **declared), 5, params=given)

        with pytest.raises(pyflow.EngineError) as caught:
            disk.resume(self.handing([], **declared))
        del given["one"]

        def reveals() -> pyflow.Workflow:
            wf = pyflow.Workflow("w", params=declared)

            @wf.task(on_interrupt="rerun")
            async def ship(one: pyflow.Secret, two: pyflow.Secret, three: pyflow.Secret) -> None:
                seen.extend(secret.reveal() for secret in (one, two, three))

            return wf

        disk.resume(reveals(), params=given, accept_changes=True)

        assert str(caught.value).splitlines()[1:] == [
            "  two was a secret that cannot be fetched again; give it again, in params=",
            "  three was a secret that cannot be fetched again; give it again, in params=",
        ]
        assert seen == ["hunter2hunter2", "swordfish-42", "correct-horse"]
        assert "hunter2" not in "".join(map(str, disk.records))

    def test_may_be_added_with_the_plan(self) -> None:
        """A parameter that is new has its default, or is given; a misspelt one is an error."""
        seen: list[Any] = []
        disk = Disk().crash(self.handing([], version="1"), 5)
        changed = self.handing(seen, version="1", replicas=int)

        with pytest.raises(pyflow.DefinitionError, match="replicas"):
            disk.resume(changed, accept_changes=True)
        with pytest.raises(pyflow.DefinitionError, match="did you mean 'replicas'"):
            disk.resume(changed, accept_changes=True, params={"replica": 2})
        disk.resume(changed, accept_changes=True, params={"replicas": 2})

        assert seen == [{"version": "1", "replicas": 2}]


class TestEnvironments:
    def place(self) -> pyflow.Environment:
        limits = {"max_parallel": 1, "task_timeout": timedelta(minutes=5)}
        return pyflow.Environment("production", {"version": "2"}, tier="gold", limits=limits)

    def test_are_kept(self) -> None:
        """A run stays where it was started, with its parameters and limits."""
        seen: list[Any] = []

        def shipping() -> pyflow.Workflow:
            wf = pyflow.Workflow("w", params={"version": str})
            for name in "ab":

                @wf.task(name=name, on_interrupt="rerun")
                async def ship(ctx: pyflow.AsyncContext, version: str) -> None:
                    assert ctx.environment is not None
                    seen.append((ctx.task, version, ctx.environment.name, ctx.environment.tier))
                    await ctx.sleep(10)

            return wf

        disk = Disk().crash(shipping(), 5, environment=self.place())
        seen.clear()

        result = disk.resume(shipping())

        assert seen == [("a", "2", "production", "gold"), ("b", "2", "production", "gold")]
        assert result.environment is not None
        assert result.environment.task_timeout_s == 300
        assert disk.seconds("task_started", "b") == [15]

    def test_cannot_be_exchanged(self) -> None:
        """What was begun in one place is not carried on in another."""
        disk = Disk().crash(shipping(Shop()), 5, environment=pyflow.Environment("production"))
        plain = cut_off()

        with pytest.raises(
            pyflow.EngineError,
            match="in the environment 'production', and stays there, not in 'lab'",
        ):
            disk.resume(shipping(Shop()), environment=pyflow.Environment("lab"))
        with pytest.raises(pyflow.EngineError, match="in no environment"):
            plain.resume(shipping(Shop()), environment=pyflow.Environment("lab"))


class TestWhatCannotBeResumed:
    def test_an_unknown_run(self) -> None:
        """A run that is not there is answered with the nearest, or with how many there are."""
        disk = cut_off()
        engine = SimulatedEngine(journal=disk.journal)

        async def main() -> None:
            with pytest.raises(pyflow.EngineError, match=f"did you mean '{disk.run_id}'"):
                engine.reopen(disk.run_id[:-1], shipping(Shop()))
            with pytest.raises(
                pyflow.EngineError, match="no run 'x' is in the journal, which has 1 run"
            ):
                engine.reopen("x", shipping(Shop()))
            with pytest.raises(pyflow.EngineError, match="which has none"):
                SimulatedEngine().reopen("x", shipping(Shop()))

        run_virtual(main())

    def test_a_run_that_is_under_way(self) -> None:
        """One engine has a run once."""

        async def main() -> str:
            engine = SimulatedEngine()
            run = engine.start(shipping(Shop()))
            with pytest.raises(pyflow.EngineError, match="is under way in this engine"):
                engine.reopen(run.id, shipping(Shop()))
            with pytest.raises(pyflow.EngineError, match="is under way in this engine"):
                engine.reopen(run.id, shipping(Shop()), roll_back="no")
            return (await run).status

        assert run_virtual(main()) == "succeeded"

    def test_by_a_closed_engine(self) -> None:
        """An engine that is closed takes nothing up."""
        engine = pyflow.Engine()
        engine.close()

        with pytest.raises(pyflow.EngineError, match="closed"):
            engine.reopen("x", shipping(Shop()))

    def test_what_is_no_workflow(self) -> None:
        """Only workflows and plans have runs."""
        with pytest.raises(pyflow.EngineError, match="neither a Workflow nor a Plan"):
            pyflow.Engine().reopen("x", "release")  # pyright: ignore[reportArgumentType]


class TestRollingBackLater:
    def failing(self, shop: Shop, on_failure: Any = "stop", fails: int = 0) -> pyflow.Workflow:
        """Ships, and fails after it."""
        wf = pyflow.Workflow("w", on_failure=on_failure)
        wf.add_task("a", shop.quick("a"))
        wf.add_recovery("a", shop.quick("undo a"))
        wf.add_task("b", shop.quick("b"), depends_on=["a"])
        wf.add_recovery(
            "b", shop.act("undo b", takes=0, fails=fails), retry=pyflow.Retry(2, backoff=0)
        )
        wf.add_task("bad", shop.act("bad", fails=9), depends_on=["b"])
        return wf

    def test_of_a_run_that_was_cut_off(self) -> None:
        """What was started is taken back, what was under way too, and nobody is asked."""
        disk, shop = cut_off(), Shop()

        result = disk.rollback(shipping(shop), "the customer called", initiator="ann")

        assert result.status == "rolled_back"
        assert shop.did == ["unship 1", "unbuild 1"]
        assert disk.data("intent_raised") == [
            {"intent": "rollback", "reason": "the customer called", "by": "ann"}
        ]
        assert_sound(disk, shipping(shop), result)

    @pytest.mark.parametrize("end", ["failed", "cancelled"])
    def test_of_a_run_that_has_ended(self, end: str) -> None:
        """A run that ended without taking anything back can be rolled back afterwards."""

        async def cancels(run: pyflow.Run) -> None:
            await asyncio.sleep(5)
            run.cancel(by="ann")

        disk, shop = Disk(), Shop()
        operator = cancels if end == "cancelled" else None
        assert disk.resume(self.failing(Shop()), operator).status == end

        result = disk.rollback(self.failing(shop), "on second thoughts")

        assert result.status == "rolled_back"
        assert shop.did == ["undo b 1", "undo a 1"]
        assert result.residue == ()
        assert_sound(disk, self.failing(shop), result)

    def test_tries_failed_undos_once_more(self) -> None:
        """Undos that had failed are tried once more, and what they blocked is undone after them."""
        disk, shop = Disk(), Shop()
        assert disk.resume(self.failing(Shop(), "rollback", fails=2)).residue == ("b", "a")

        result = disk.rollback(self.failing(shop, "rollback", fails=2), "the token is renewed")

        assert result.status == "rolled_back"
        assert shop.did == ["undo b 3", "undo a 1"]
        assert str(result.error) == "bad: OSError: bad"
        assert_sound(disk, self.failing(shop, "rollback", fails=2), result)

    def test_may_fail_again(self) -> None:
        """An undo that fails once more leaves its residue, for another time."""
        disk, shop = Disk(), Shop()
        disk.resume(self.failing(Shop(), "rollback", fails=3))

        again = disk.rollback(self.failing(shop, "rollback", fails=3), "once")
        third = disk.rollback(self.failing(shop, "rollback", fails=3), "twice")

        assert (again.status, again.residue) == ("rollback_failed", ("b", "a"))
        assert third.status == "rolled_back"
        assert shop.did == ["undo b 3", "undo b 4", "undo a 1"]

    def test_of_a_rollback_that_was_cut_off(self) -> None:
        """A rollback that was under way goes on, and failed undos are tried once more as well."""

        def two(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            wf.add_task("a", shop.quick("a"))
            wf.add_recovery("a", shop.act("undo a", takes=0, fails=1))
            wf.add_task("b", shop.quick("b"))
            wf.add_recovery("b", shop.act("undo b", takes=60))
            wf.add_task("bad", shop.act("bad", takes=1, fails=9))
            return wf

        disk, shop = Disk().crash(two(Shop()), 30), Shop()
        left = Disk()
        left.journal, left.now_s = disk.journal, disk.now_s

        result = disk.rollback(two(shop), "once more")
        resumed = left.resume(two(Shop()))

        assert result.status == "rolled_back"
        assert sorted(shop.did) == ["undo a 2", "undo b 2"]
        assert resumed.residue == ("a",)

    def test_during_the_finalizers(self) -> None:
        """A run that was about to end as failed is rolled back, and its finalizers run again."""

        def closing(shop: Shop, fails: int) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="stop")
            wf.add_task("a", shop.act("a", takes=0, fails=fails))
            wf.add_recovery("a", shop.quick("undo a"))
            wf.add_finalizer("f", shop.act("f"))
            return wf

        disk, shop = Disk().crash(closing(Shop(), 9), 5), Shop()
        good = Disk().crash(closing(Shop(), 0), 5)

        result = disk.rollback(closing(shop, 9), "no use")

        assert result.status == "rolled_back"
        assert shop.did == ["undo a 1", "f 1"]
        assert_sound(disk, closing(shop, 9), result)
        with pytest.raises(
            pyflow.EngineError, match="ended as succeeded, so it cannot be rolled back"
        ):
            good.rollback(closing(Shop(), 0), "no use")

    def test_is_refused(self) -> None:
        """What succeeded or is rolled back cannot be rolled back, nor what is past its point of no return."""
        good, back = Disk(), Disk()
        good.resume(shipping(Shop()))
        back.resume(self.failing(Shop(), "rollback"))
        past = cut_off(point_of_no_return=True)

        with pytest.raises(
            pyflow.EngineError, match="has ended as succeeded, so it cannot be rolled back"
        ):
            good.rollback(shipping(Shop()), "why not")
        with pytest.raises(pyflow.EngineError, match="has ended as rolled_back, so"):
            back.rollback(self.failing(Shop(), "rollback"), "why not")
        with pytest.raises(pyflow.EngineError, match="ship is a point of no return"):
            past.rollback(shipping(Shop(), point_of_no_return=True), "why not")

    def test_needs_a_reason(self) -> None:
        """Somebody will ask why it was done."""
        with pytest.raises(pyflow.EngineError, match="rollback needs reason="):
            pyflow.Engine().rollback("x", shipping(Shop()), reason="")


def instantly(name: str = "w", **options: Any) -> pyflow.Workflow:
    """Return a workflow that takes no time when it is not cut off."""
    wf = pyflow.Workflow(name)

    @wf.task(**options)
    async def a(ctx: pyflow.AsyncContext) -> str:
        if ctx.attempt == 1:
            await ctx.sleep("1h")
        return f"{ctx.run_id} {ctx.attempt}"

    @wf.recovery(a)
    async def undo() -> None: ...

    return wf


class TestTheFormsThatWait:
    def test_resume(self) -> None:
        """`Engine.resume` waits for the run, inside of a running loop as well."""
        disk = Disk().crash(instantly(on_interrupt="rerun"), 5)
        journal = disk.journal

        async def in_a_notebook() -> str:
            return (
                pyflow.Engine(journal=journal)
                .resume(disk.run_id, instantly(on_interrupt="rerun"))
                .status
            )

        result = pyflow.Engine(journal=journal).resume(disk.run_id, instantly(on_interrupt="rerun"))

        assert result.status == "succeeded"
        assert asyncio.run(in_a_notebook()) == "succeeded"

    def test_rollback(self) -> None:
        """`Engine.rollback` does too."""
        disk = Disk().crash(instantly(), 5)

        result = pyflow.Engine(journal=disk.journal).rollback(disk.run_id, instantly(), reason="no")

        assert result.status == "rolled_back"

    def test_what_execute_left_held(self) -> None:
        """A held run that nobody waits for any more can be taken up by the same engine."""
        wf = pyflow.Workflow("w", on_failure="hold")
        calls: list[int] = []

        @wf.task
        async def a(ctx: pyflow.AsyncContext) -> None:
            calls.append(ctx.attempt)
            if ctx.attempt == 1:
                raise OSError("no")

        with pyflow.Engine() as engine:
            held = engine.execute(wf)
            assert held.status == "held"
            run = engine.reopen(held.run_id, wf)
            run.retry("a", by="ann")
            result = run.wait()

        assert result.status == "succeeded"
        assert calls == [1, 2]


class TestResumeAll:
    def test_takes_up_what_was_cut_off(self) -> None:
        """Unfinished runs of the workflows that are given are resumed, oldest first; no others."""
        journal = MemoryJournal()
        started: list[str] = []

        async def leave(name: str, **options: Any) -> None:
            engine = SimulatedEngine(journal=journal, seed=len(started))
            started.append(engine.start(instantly(name, **options)).id)
            await asyncio.sleep(1)

        for name in ("mine", "other", "mine", "asks"):
            how: Any = {} if name == "asks" else {"on_interrupt": "rerun"}
            disk = Disk()
            disk.journal = journal
            disk.live(
                lambda engine, name=name, how=how: engine.start(instantly(name, **how)), dies_s=5
            )
            journal = disk.journal
        runs = journal.runs()
        done = pyflow.Engine(journal=journal).resume(
            runs[0], instantly("mine", on_interrupt="rerun")
        )
        again = pyflow.Engine(journal=journal)

        results = again.resume_all([instantly("mine", on_interrupt="rerun"), instantly("asks")])

        assert done.status == "succeeded"
        assert {run_id: result.status for run_id, result in results.items()} == {
            runs[2]: "succeeded",
            runs[3]: "held",
        }
        assert list(results) == [runs[2], runs[3]]
        assert again.trail(runs[1]).outcome is None


class TestLocks:
    def locked(self, shop: Shop, *, extra: bool = False, **options: Any) -> pyflow.Workflow:
        wf = pyflow.Workflow("w", locks=["service:shop", *["extra"][: int(extra)]])
        wf.add_task("a", shop.act("a"), **options)
        wf.add_recovery("a", shop.quick("undo a"))
        return wf

    def test_are_taken_again(self) -> None:
        """A resumed run takes its locks again, with a higher epoch, before it does anything."""
        disk = Disk().crash(self.locked(Shop(), on_interrupt="rerun"), 5)

        result = disk.resume(self.locked(Shop(), on_interrupt="rerun"))

        assert result.status == "succeeded"
        assert [lock["epoch"] for lock in disk.data("lock_acquired")] == [1, 2]
        resumed = disk.kinds().index("run_resumed")
        assert disk.kinds()[resumed + 1] == "lock_acquired"

    def test_bar_others_meanwhile(self) -> None:
        """While a run is unfinished its resource is nobody else's, though its holder is dead."""
        disk = Disk().crash(self.locked(Shop(), on_interrupt="rerun"), 5)
        engine = SimulatedEngine(journal=disk.journal, locks=disk.locks)

        async def other() -> str:
            with pytest.raises(pyflow.LockError, match=disk.run_id):
                engine.start(self.locked(Shop()))
            await engine.reopen(disk.run_id, self.locked(Shop(), on_interrupt="rerun"))
            return (await engine.start(self.locked(Shop()))).status

        assert run_virtual(other()) == "succeeded"

    def test_that_somebody_broke(self) -> None:
        """A run whose lock was broken stays as it was recorded, and the error says what became of it."""
        disk = Disk().crash(self.locked(Shop()), 5)
        count = len(disk.records)
        engine = SimulatedEngine(journal=disk.journal, locks=disk.locks)

        async def main() -> None:
            engine.break_lock("service:shop", by="ann", reason="it is urgent")
            with pytest.raises(LockMoved, match="at epoch 1, and it is at epoch 2 now") as caught:
                engine.reopen(disk.run_id, self.locked(Shop()))
            assert caught.value.lease == Lease("service:shop", disk.run_id, 1)
            assert caught.value.epoch == 2

        run_virtual(main())
        assert len(disk.records) == count

    @pytest.mark.parametrize("roll_back", [None, "it was wrong"])
    def test_that_another_run_has_had(self, roll_back: str | None) -> None:
        """A run whose resource another one has had is neither resumed nor rolled back, and that one is named."""
        disk, shop = Disk().crash(self.locked(Shop()), 5), Shop()
        count = len(disk.records)
        engine = SimulatedEngine(journal=disk.journal, locks=disk.locks)

        async def main() -> None:
            engine.break_lock("service:shop", by="ann", reason="it is urgent")
            other = engine.start(self.locked(Shop()))
            for _ in range(2):  # while it has it, and afterwards
                with pytest.raises(LockMoved, match="so what the run left there may have"):
                    engine.reopen(disk.run_id, self.locked(shop), roll_back=roll_back)
                await other

        run_virtual(main())
        assert (len(disk.records), shop.did) == (count, [])

    def test_that_another_run_has_had_since_the_end(self) -> None:
        """A run that ended as failed can be rolled back until another one has had its resource."""

        def broken() -> pyflow.Workflow:
            wf = pyflow.Workflow("w", locks=["service:shop"], on_failure="stop")
            wf.add_task("a", Shop().act("a"))
            wf.add_recovery("a", Shop().quick("undo a"))
            wf.add_task("b", Shop().act("b", fails=9), depends_on=["a"])
            return wf

        async def main(*, taken: bool) -> str:
            engine = SimulatedEngine()
            first = await engine.start(broken())
            if taken:
                await engine.start(self.locked(Shop()))
            return (await engine.reopen(first.run_id, broken(), roll_back="it was wrong")).status

        assert run_virtual(main(taken=False)) == "rolled_back"
        with pytest.raises(LockMoved):
            run_virtual(main(taken=True))

    def test_of_a_plan_that_has_dropped_them(self) -> None:
        """What a run had is taken again and given back, also where the plan does not name it any more."""
        disk = Disk().crash(self.locked(Shop(), on_interrupt="rerun"), 5)
        free = pyflow.Workflow("w")
        free.add_task("a", Shop().act("a"), on_interrupt="rerun")
        free.add_recovery("a", Shop().quick("undo a"))

        assert disk.resume(free, accept_changes=True).status == "succeeded"
        assert disk.kinds()[-2:] == ["lock_released", "run_finished"]
        assert disk.locks.refusal(["service:shop"]) is None

    def test_refused_while_it_waits(self) -> None:
        """A run that waits for one lock more stays as it is recorded when that is refused."""
        disk = Disk().crash(self.locked(Shop()), 5)
        stuck = pyflow.Workflow("stuck", locks=["extra"])
        stuck.add_task("a", Shop().act("a", fails=9))
        stuck.add_recovery("a", Shop().act("undo a", fails=9))
        engine = SimulatedEngine(journal=disk.journal, locks=disk.locks)

        async def main() -> None:
            other = engine.start(stuck)
            await asyncio.sleep(1)
            run = engine.reopen(disk.run_id, self.locked(Shop(), extra=True))
            run.resolve("a", "applied", by="ann")
            with pytest.raises(pyflow.LockError, match=f"run {other.id} left residue"):
                await run
            assert (await other).status == "rollback_failed"
            assert disk.kinds()[-2:] == ["task_started", "run_resumed"]
            assert engine.trail(disk.run_id).outcome is None
            with pytest.raises(pyflow.LockError, match="left residue"):
                engine.reopen(disk.run_id, self.locked(Shop(), extra=True))
            again = engine.reopen(disk.run_id, self.locked(Shop()))
            assert (await again).status == "held"
            again.resolve("a", "applied", by="ann")
            assert (await again).status == "succeeded"

        run_virtual(main())

    def test_that_cannot_be_asked_for(self) -> None:
        """Where the locks fail in a way that nobody foresaw, whoever waits for the run hears of it."""

        class Odd(MemoryLocks):
            async def acquire(self, *args: Any, **options: Any) -> list[Lease]:
                raise OSError("the line is dead")

        async def main() -> None:
            engine = SimulatedEngine(locks=Odd())
            with pytest.raises(pyflow.JournalError, match="the line is dead"):
                await engine.start(self.locked(Shop()))

        run_virtual(main())

    def test_of_a_run_that_is_alive(self) -> None:
        """A run that another engine has is refused as alive, not as locked."""
        journal, locks = MemoryJournal(), MemoryLocks()

        async def main() -> None:
            one, two = (SimulatedEngine(journal=journal, locks=locks) for _ in range(2))
            run = one.start(self.locked(Shop()))
            await asyncio.sleep(1)
            with pytest.raises(RunAlive, match=f"run {run.id} is alive"):
                two.reopen(run.id, self.locked(Shop()))
            await run

        run_virtual(main())

    def test_cancelled_while_it_waits(self) -> None:
        """A run that was cancelled while it waited is out of the line at once."""
        locks = MemoryLocks()

        async def main() -> str:
            engine = SimulatedEngine(locks=locks)
            first, second = (engine.start(self.locked(Shop())) for _ in range(2))
            await asyncio.sleep(1)
            second.cancel(by="ann")
            await second
            await asyncio.sleep(1)
            waiting = repr(locks)
            await first
            return waiting

        assert run_virtual(main()) == "<MemoryLocks held=1 waiting=0>"

    def test_come_before_answers(self) -> None:
        """What people say while a resumed run waits for its locks is answered once it has them."""
        disk = Disk().crash(self.locked(Shop()), 5)
        engine = SimulatedEngine(journal=disk.journal, locks=disk.locks)
        other = pyflow.Workflow("other", locks=["extra"])
        other.add_task("a", Shop().act("a", takes=60))

        async def main() -> pyflow.Result:
            first = engine.start(other)
            run = engine.reopen(disk.run_id, self.locked(Shop(), extra=True))
            run.resolve("a", "not_applied", by="ann")
            await asyncio.sleep(30)
            assert run.status == "running"
            await first
            return await run

        result = run_virtual(main())

        assert result.status == "succeeded"
        started = result.audit_trail.query(kind="task_started")
        assert (started[1].at - started[0].at).total_seconds() == 60

    def test_of_a_held_run_are_taken_first(self) -> None:
        """A held run comes to rest once it has its locks, and not before."""
        disk = Disk().crash(self.locked(Shop()), 5)
        disk.resume(self.locked(Shop()))

        disk.resume(self.locked(Shop()))

        assert len(disk.data("lock_acquired")) == 3

    def test_are_freed_for_a_run_that_ended_unheard(self) -> None:
        """A run that had ended when its engine died still bars its resource; looking at it frees that."""
        wf = self.locked(Shop())
        locks = MemoryLocks()
        disk = Disk()
        disk.locks = locks
        whole = Disk()
        whole.resume(self.locked(Shop()))
        disk.cut(wf, whole.commits)
        assert disk.kinds()[-1] == "run_finished"
        assert locks.refusal(["service:shop"]) is not None

        assert disk.resume(self.locked(Shop())).status == "succeeded"
        assert locks.refusal(["service:shop"]) is None
