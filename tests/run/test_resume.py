"""Runs that were cut off: what the next engine finds, asks and does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pyflow
from pyflow.errors import CodecError
from support.crashes import Disk
from support.runs import statuses
from support.shop import MINUTE, Image, Shop, assert_sound, cut_off, nobody, says, shipping


class TestAnInterruptedAttempt:
    def test_holds_the_run(self) -> None:
        """Unless a task says otherwise, a person is asked whether what was under way took effect."""
        disk, shop = cut_off(), Shop()

        result = disk.resume(shipping(shop))

        assert result.status == "held"
        assert statuses(result) == {"build": "succeeded", "ship": "interrupted", "tell": "pending"}
        assert result.tasks["ship"].reason == "the engine ended while it was under way"
        assert shop.did == []
        assert_sound(disk, shipping(shop), result)

    def test_took_effect(self) -> None:
        """Resolved as applied, it counts as succeeded, with the output that the person gives."""
        disk, shop = cut_off(), Shop()
        resolve = says(
            lambda run: run.resolve(
                "ship", "applied", output={"name": "by hand"}, by="ann", reason="I looked"
            )
        )

        result = disk.resume(shipping(shop), resolve)

        assert result.status == "succeeded"
        assert shop.did == ["tell"]
        assert result.tasks["ship"].output == Image("by hand")
        assert result.tasks["tell"].output == "by hand"
        assert disk.data("interrupt_resolved") == [
            {
                "answer": "applied",
                "source": "person",
                "output": {"name": "by hand"},
                "by": "ann",
                "reason": "I looked",
            }
        ]
        assert_sound(disk, shipping(shop), result)

    def test_took_none(self) -> None:
        """Resolved as not applied, it runs again, as the next attempt."""
        disk, shop = cut_off(), Shop()

        result = disk.resume(
            shipping(shop), says(lambda run: run.resolve("ship", "not_applied", by="ann"))
        )

        assert result.status == "succeeded"
        assert shop.did == ["ship 2", "tell"]
        assert result.tasks["tell"].output == "shop"
        assert_sound(disk, shipping(shop), result)

    @pytest.mark.parametrize(
        "options",
        [
            {"on_interrupt": "rerun"},
            {"effect": False},
            {"retry": pyflow.Retry(2, after_crash=True)},
        ],
        ids=["rerun", "only reads", "retry after a crash"],
    )
    def test_may_run_again(self, options: dict[str, Any]) -> None:
        """A task that may run again does, and nobody is asked."""
        disk, shop = cut_off(**options), Shop()

        result = disk.resume(shipping(shop, **options))

        assert result.status == "succeeded"
        assert shop.did == ["ship 2", "tell"]
        assert [one["source"] for one in disk.data("interrupt_resolved")] == ["rerun"]
        assert_sound(disk, shipping(shop, **options), result)

    def test_counts_as_an_attempt(self) -> None:
        """With Retry(after_crash=True), the attempts that crashed are used up like any other."""
        options = {"retry": pyflow.Retry(2, after_crash=True)}
        disk, shop = cut_off(**options), Shop()

        result = disk.crash(shipping(shop, **options), 5).resume(shipping(shop, **options))

        assert result.status == "rolled_back"
        assert shop.did == ["ship 2", "unship 1", "unbuild 1"]
        assert result.tasks["ship"].reason == "tried 2 of 2 times"
        assert str(result.error) == "ship: Interrupted: the engine ended while it was under way"
        assert_sound(disk, shipping(shop, **options), result)

    def test_failures_before_it_count_too(self) -> None:
        """A task is tried no more often than its Retry says, crashes and failures together."""

        def flaky(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="stop")
            retry = pyflow.Retry(3, backoff=MINUTE, after_crash=True)
            wf.add_task("a", shop.act("a", fails=9), retry=retry)
            return wf

        disk, shop = Disk().crash(flaky(Shop()), 75), Shop()

        result = disk.resume(flaky(shop))

        assert result.status == "failed"
        assert shop.did == ["a 3"]

    def test_is_undone_by_a_rollback(self) -> None:
        """Where a person turns the run back instead, what is in doubt has failed, and is undone."""
        disk, shop = cut_off(), Shop()

        result = disk.resume(shipping(shop), says(lambda run: run.roll_back(by="ann")))

        assert result.status == "rolled_back"
        assert shop.did == ["unship 1", "unbuild 1"]
        assert disk.data("task_failed") == [{"reason": "in doubt, and the run is stopping"}]
        assert_sound(disk, shipping(shop), result)

    def test_stays_in_doubt_when_the_run_is_cancelled(self) -> None:
        """A cancelled run says of it that it failed in doubt, and undoes nothing."""
        disk, shop = cut_off(), Shop()

        result = disk.resume(shipping(shop), says(lambda run: run.cancel(by="ann")))

        assert result.status == "cancelled"
        assert statuses(result) == {"build": "succeeded", "ship": "failed", "tell": "cancelled"}
        assert shop.did == []

    def test_is_no_failure_to_retry_or_skip(self) -> None:
        """Only `resolve` decides on it, once, and only there."""
        disk = cut_off()

        async def operator(run: pyflow.Run) -> None:
            run.retry("ship", by="ann")
            run.skip("ship", by="ann")
            run.resolve("build", "applied", by="ann")
            run.resolve("shop", "applied", by="ann")
            run.resolve("ship", "applied", by="ann")
            run.resolve("ship", "applied", by="ann")

        result = disk.resume(shipping(Shop()), operator)

        assert result.status == "succeeded"
        unclear = "nobody knows whether ship took effect; resolve it as applied or not_applied"
        nothing = ", so there is nothing to resolve"
        assert disk.notes() == [
            unclear,
            unclear,
            f"'build' is succeeded{nothing}",
            f"'shop' is no task of this run{nothing}",
            None,
            f"'ship' is succeeded{nothing}",
        ]
        assert result.tasks["tell"].output == "nothing"

    def test_is_resolved_with_an_answer(self) -> None:
        """Whoever resolves says what, and who they are."""
        disk = cut_off()

        async def operator(run: pyflow.Run) -> None:
            with pytest.raises(pyflow.EngineError, match="say applied or not_applied"):
                run.resolve("ship", "perhaps", by="ann")  # pyright: ignore[reportArgumentType]
            with pytest.raises(pyflow.EngineError, match="needs by="):
                run.resolve("ship", "applied", by="")
            with pytest.raises(CodecError, match="output"):
                run.resolve("ship", "applied", output=object(), by="ann")

        assert disk.resume(shipping(Shop()), operator).status == "held"
        assert disk.notes() == []

    def test_of_a_stopping_run_is_settled(self) -> None:
        """What was under way when the run was stopping stays in doubt, and nobody can resolve it."""

        def stopping(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")

            @wf.task
            async def deaf() -> None:
                shop.did.append("deaf")
                await asyncio.sleep(60)

            wf.add_task("bad", shop.act("bad", fails=9))
            wf.add_recovery("bad", shop.act("undo bad", takes=30))
            return wf

        disk, shop = Disk().crash(stopping(Shop()), 30), Shop()

        result = disk.resume(
            stopping(shop), says(lambda run: run.resolve("deaf", "not_applied", by="ann"))
        )

        assert result.status == "rolled_back"
        assert shop.did == ["undo bad 1"]
        assert disk.notes() == ["'deaf' is interrupted, so there is nothing to resolve"]
        assert result.not_undone == ("deaf",)
        assert_sound(disk, stopping(shop), result)


class TestWhatHasFinished:
    def test_is_not_run_again(self) -> None:
        """Finished tasks stay finished, and hand on what they gave, in the type that is asked for."""
        options: Any = {"on_interrupt": "rerun"}
        disk, shop = cut_off(**options), Shop()

        result = disk.resume(shipping(shop, **options))

        assert "build" not in shop.did
        assert result.tasks["build"].output == Image("shop")
        assert result.tasks["tell"].output == "shop"
        assert result.tasks["build"].attempts == 1

    def test_and_whose_dependents_never_started(self) -> None:
        """A run that was cut off right after a commit goes on with what that had started."""
        shop = Shop()
        disk = Disk().cut(shipping(Shop()), 1)
        assert disk.kinds() == ["run_started"]

        assert disk.resume(shipping(shop)).status == "succeeded"
        assert shop.did == ["build", "ship 1", "tell"]

    def test_conditions_are_asked_again_where_the_answer_was_lost(self) -> None:
        """A ``when=`` whose answer was not recorded is asked once more."""
        asked: list[str] = []

        def conditional() -> pyflow.Workflow:
            wf = pyflow.Workflow("w")

            async def when() -> bool:
                asked.append("when")
                await asyncio.sleep(10)
                return False

            wf.add_task("a", Shop().quick("a"), when=when)
            return wf

        result = Disk().crash(conditional(), 5).resume(conditional())

        assert asked == ["when", "when"]
        assert statuses(result) == {"a": "skipped"}


LOOKED = {
    "applied": (pyflow.Applied({"name": "found"}), "succeeded", ["tell"]),
    "not applied": (pyflow.NOT_APPLIED, "succeeded", ["ship 2", "tell"]),
    "unknown": (pyflow.UNKNOWN, "held", []),
    "nonsense": (3, "held", []),
    "an output that cannot be stored": (pyflow.Applied(object()), "held", []),
}


class TestAFunctionThatFindsOut:
    @pytest.mark.parametrize("how", ["plain", "async"])
    @pytest.mark.parametrize("what", LOOKED)
    def test_answers(self, what: str, how: str) -> None:
        """What on_interrupt= answers decides: it counts as done, it runs again, or a person is asked."""
        answer, status, did = LOOKED[what]

        def plain() -> Any:
            return answer

        async def later() -> Any:
            return answer

        options = {"on_interrupt": plain if how == "plain" else later}
        disk, shop = cut_off(**options), Shop()

        result = disk.resume(shipping(shop, **options))

        assert result.status == status
        assert shop.did == did
        assert_sound(disk, shipping(shop, **options), result)

    def test_says_what_it_found(self) -> None:
        """The record names the function, its answer, and what was wrong with that."""

        def look() -> Any:
            return "yes"

        disk = cut_off(on_interrupt=look)
        disk.resume(shipping(Shop(), on_interrupt=look))

        (found,) = disk.data("interrupt_resolved")
        assert found["answer"] == "unknown"
        assert found["source"].endswith("test_says_what_it_found.<locals>.look")
        assert (
            "answered 'yes'; expected pyflow.Applied(output), pyflow.NOT_APPLIED" in found["reason"]
        )

    def test_raises(self) -> None:
        """An exception means that nobody knows."""

        async def look() -> Any:
            raise ConnectionError("the router does not answer")

        disk = cut_off(on_interrupt=look)

        result = disk.resume(shipping(Shop(), on_interrupt=look))

        assert result.status == "held"
        (found,) = disk.data("interrupt_resolved")
        assert found["reason"] == "ConnectionError: the router does not answer"

    def test_is_given_what_the_task_was(self) -> None:
        """It asks for outputs, parameters and the context by name, as the task does."""
        seen: list[Any] = []

        def asking() -> pyflow.Workflow:
            wf = pyflow.Workflow("w", params={"version": "2"})

            @wf.task
            async def build() -> Image:
                return Image("shop")

            def look(ctx: pyflow.RecoveryContext, build: Image, version: str) -> Any:
                seen.append((ctx.task, ctx.attempt, ctx.checkpoints["at"], build, version))
                ctx.log("looked")
                ctx.sleep(5)
                return pyflow.Applied("it is there")

            @wf.task(depends_on=[build], on_interrupt=look)
            async def ship(ctx: pyflow.AsyncContext) -> str:
                ctx.checkpoint("at", "half")
                await ctx.sleep(10)
                return "shipped"

            return wf

        result = Disk().crash(asking(), 5).resume(asking())

        assert seen == [("ship", 1, "half", Image("shop"), "2")]
        assert result.tasks["ship"].output == "it is there"
        assert result.metrics.wall_s == pytest.approx(10)

    def test_takes_no_longer_than_the_task(self) -> None:
        """The task's timeout holds for it as well; one that takes longer does not know."""

        async def look() -> Any:
            await asyncio.sleep(3600)

        options = {"on_interrupt": look, "timeout": "1m"}
        disk = cut_off(**options)

        result = disk.resume(shipping(Shop(), **options))

        assert result.status == "held"
        assert disk.seconds("interrupt_resolved") == [65]
        assert "TaskTimeout" in disk.data("interrupt_resolved")[0]["reason"]

    def test_is_asked_again_after_another_crash(self) -> None:
        """Where the engine dies while it looks, the next one asks it again."""
        asked: list[float] = []

        async def look(ctx: pyflow.AsyncContext) -> Any:
            asked.append(asyncio.get_running_loop().time())
            await ctx.sleep(10)
            return pyflow.NOT_APPLIED

        options = {"on_interrupt": look}
        disk, shop = cut_off(**options), Shop()

        result = disk.crash(shipping(shop, **options), 5).resume(shipping(shop, **options))

        assert asked == [5, 10]
        assert result.status == "succeeded"
        assert [r["attempt"] for r in disk.data("task_interrupted")] == [1]

    def test_is_not_asked_again_once_it_did_not_know(self) -> None:
        """What it could not tell is a person's to decide, also after another crash."""
        asked: list[int] = []

        def look() -> Any:
            asked.append(1)
            return pyflow.UNKNOWN

        options = {"on_interrupt": look}
        disk = cut_off(**options)

        held = disk.resume(shipping(Shop(), **options))
        again = disk.resume(shipping(Shop(), **options))

        assert (held.status, again.status, asked) == ("held", "held", [1])

    def test_is_cut_short_when_the_run_is_cancelled(self) -> None:
        """Nobody waits for what it would have found."""

        async def look(ctx: pyflow.AsyncContext) -> Any:
            await ctx.sleep(3600)
            return pyflow.NOT_APPLIED

        async def operator(run: pyflow.Run) -> None:
            await asyncio.sleep(60)
            run.cancel(by="ann")

        options = {"on_interrupt": look}
        disk, shop = cut_off(**options), Shop()

        result = disk.resume(shipping(shop, **options), operator)

        assert result.status == "cancelled"
        assert result.metrics.wall_s == pytest.approx(65)
        assert shop.did == []

    def test_is_waited_for_before_anybody_is_asked(self) -> None:
        """A run does not rest while a function still looks, though another task is held already."""

        async def look(ctx: pyflow.AsyncContext) -> Any:
            await ctx.sleep(60)
            return pyflow.Applied("found")

        def two() -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            wf.add_task("asks", Shop().act("asks"))
            wf.add_task("looks", Shop().act("looks"), on_interrupt=look)
            wf.add_approval("go", "Go on?")
            return wf

        disk = Disk().crash(two(), 5)

        result = disk.resume(two())

        assert result.status == "held"
        assert statuses(result) == {"asks": "interrupted", "looks": "succeeded", "go": "running"}
        assert disk.now_s == 65

    def test_lets_no_question_hold_the_run(self) -> None:
        """An open question holds the run only once nothing looks any more, and what follows has run."""

        async def look(ctx: pyflow.AsyncContext) -> Any:
            await ctx.sleep(60)
            return pyflow.Applied("found")

        def asking(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            wf.add_task("looks", Shop().act("looks"), on_interrupt=look)
            wf.add_task("after", shop.quick("after"), depends_on=["looks"])
            wf.add_approval("go", "Go on?")
            return wf

        shop = Shop()

        result = Disk().crash(asking(Shop()), 5).resume(asking(shop))

        assert result.status == "held"
        assert shop.did == ["after 1"]

    def test_is_asked_for_each_item(self) -> None:
        """Of a map, it is asked about each item that was under way, and told which."""

        def look(item: str, ctx: pyflow.RecoveryContext) -> Any:
            return pyflow.Applied(f"{ctx.task} found") if item == "eu" else pyflow.NOT_APPLIED

        def mapped(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            wf.add_map("ship", shop.act("ship"), over=["eu", "us"], on_interrupt=look)
            return wf

        result = Disk().crash(mapped(Shop()), 5).resume(mapped(Shop()))

        assert result.tasks["ship"].output == ["ship[eu] found", "ship"]


class TestWaits:
    def flaky(self, shop: Shop) -> pyflow.Workflow:
        """Fails at ten seconds, and is tried again a minute later."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", shop.act("a", fails=1), retry=pyflow.Retry(3, backoff=MINUTE))
        return wf

    def test_for_a_retry_go_on_for_what_is_left(self) -> None:
        """The next attempt is made when it would have been, to the second."""
        disk = Disk().crash(self.flaky(Shop()), 40)

        result = disk.resume(self.flaky(Shop()))

        assert result.status == "succeeded"
        assert disk.seconds("task_started", "a") == [0, 70]
        assert_sound(disk, self.flaky(Shop()), result)

    def test_that_are_over_by_now(self) -> None:
        """A wait that ended while no engine was there is over at once."""
        disk = Disk().crash(self.flaky(Shop()), 40)
        disk.now_s += 3600

        disk.resume(self.flaky(Shop()))

        assert disk.seconds("task_started", "a") == [0, 3640]

    def test_survive_two_crashes(self) -> None:
        """What is left is counted from when the wait began, not from the last resume."""
        disk = Disk().crash(self.flaky(Shop()), 30).crash(self.flaky(Shop()), 30)

        disk.resume(self.flaky(Shop()))

        assert disk.seconds("task_started", "a") == [0, 70]

    def test_for_a_slot(self) -> None:
        """What was ready and had no slot is not recorded as started, and starts in its turn."""

        def narrow(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", max_parallel=1)
            for name in "abc":
                wf.add_task(name, shop.act(name), on_interrupt="rerun")
            return wf

        disk, shop = Disk().crash(narrow(Shop()), 15), Shop()

        result = disk.resume(narrow(shop))

        assert result.status == "succeeded"
        assert shop.did == ["b 2", "c 1"]

    def test_for_a_thread(self) -> None:
        """A thread that outlived its attempt died with its engine, so the task is tried again."""

        def stuck(shop: Shop, takes: str = "1h") -> pyflow.Workflow:
            wf = pyflow.Workflow("w")

            def work(ctx: pyflow.Context) -> None:
                shop.did.append(f"work {ctx.attempt}")
                if ctx.attempt == 1:
                    ctx.sleep(takes)

            wf.add_task("a", work, timeout="10s", retry=pyflow.Retry(2, backoff=MINUTE))
            return wf

        disk, shop = Disk().crash(stuck(Shop()), 30), Shop()

        result = disk.resume(stuck(shop))

        assert result.status == "succeeded"
        assert shop.did == ["work 2"]
        assert not result.tasks["a"].still_running


class TestPauses:
    def resumed(self, reason: str) -> tuple[Disk, Shop, pyflow.Result]:
        """Pause a run, let its engine die, and resume it, with somebody who lets it go on in an hour."""

        async def pauses(run: pyflow.Run) -> None:
            await asyncio.sleep(2)
            run.pause(by="ann", reason=reason)

        async def unpauses(run: pyflow.Run) -> None:
            await asyncio.sleep(3600)
            if run.status == "paused":
                run.unpause(by="bob")

        options: Any = {"on_interrupt": "rerun"}
        disk, shop = Disk().crash(shipping(Shop(), **options), 5, pauses), Shop()
        return disk, shop, disk.resume(shipping(shop, **options), unpauses)

    def test_of_people_last(self) -> None:
        """A run that somebody has paused starts nothing until somebody lets it go on."""
        disk, shop, result = self.resumed("lunch")

        assert result.status == "succeeded"
        assert shop.did == ["ship 2", "tell"]
        assert disk.seconds("task_started", "ship") == [0, 3605]

    def test_for_a_signal_are_over(self) -> None:
        """A run that a signal has stopped goes on when it is resumed."""
        disk, _, result = self.resumed("signal")

        assert result.status == "succeeded"
        assert disk.seconds("task_started", "ship") == [0, 5]
        assert disk.data("run_unpaused")[0] == {"reason": "resumed"}


class TestHolds:
    def failing(self, shop: Shop) -> pyflow.Workflow:
        """Fails once, for which the run is held."""
        wf = pyflow.Workflow("w", on_failure="hold")
        wf.add_task("a", shop.act("a", fails=1))
        wf.add_task("b", shop.quick("b"), depends_on=["a"], join="done")
        return wf

    @pytest.mark.parametrize(
        ("decide", "status", "did"),
        [
            (lambda run: run.retry("a", by="ann"), "succeeded", ["a 2", "b 1"]),
            (lambda run: run.skip("a", by="ann"), "succeeded", ["b 1"]),
            (lambda run: run.cancel(by="ann"), "cancelled", []),
            (lambda run: run.roll_back(by="ann"), "rolled_back", []),
            (lambda run: None, "held", []),
        ],
        ids=["retry", "skip", "cancel", "roll back", "nothing"],
    )
    def test_last(self, decide: Any, status: str, did: list[str]) -> None:
        """A run that is held stays so, and every decision can still be taken."""
        disk, shop = Disk().crash(self.failing(Shop()), 20), Shop()
        assert disk.resume(self.failing(shop)).status == "held"

        result = disk.resume(self.failing(shop), says(decide))

        assert result.status == status
        assert shop.did == did
        assert_sound(disk, self.failing(shop), result)

    def test_of_an_interrupted_task_last(self) -> None:
        """So does one that is held for a task that nobody knows about; the question is put once."""
        disk, shop = cut_off(), Shop()
        disk.resume(shipping(shop))
        disk.resume(shipping(shop))

        result = disk.resume(
            shipping(shop), says(lambda run: run.resolve("ship", "applied", by="ann"))
        )

        assert result.status == "succeeded"
        assert len(disk.data("task_interrupted")) == len(disk.data("intent_raised")) == 1
        assert_sound(disk, shipping(shop), result)

    def test_for_several(self) -> None:
        """The run goes on once the last of those that it is held for is decided."""

        def two(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            for name in "ab":
                wf.add_task(name, shop.act(name))
            wf.add_task("c", shop.quick("c"), depends_on=["a"])
            return wf

        disk, shop = Disk().crash(two(Shop()), 5), Shop()

        async def operator(run: pyflow.Run) -> None:
            run.resolve("a", "applied", by="ann")
            assert (await run).status == "held"
            assert shop.did == []
            run.resolve("b", "not_applied", by="ann")

        result = disk.resume(two(shop), operator)

        assert result.status == "succeeded"
        assert sorted(shop.did) == ["b 2", "c 1"]


class TestApprovals:
    def asking(self, shop: Shop, **options: Any) -> pyflow.Workflow:
        """Asks at once."""
        wf = pyflow.Workflow("w")
        wf.add_approval("go", "Go on?", **options)
        wf.add_task("ship", shop.quick("ship"), depends_on=["go"])
        return wf

    def test_wait_on(self) -> None:
        """A question waits on for its answer, and answers from before the crash count."""
        disk = Disk().crash(
            self.asking(Shop(), quorum=2), 60, says(lambda run: run.approve("go", by="ann"))
        )

        async def operator(run: pyflow.Run) -> None:
            run.approve("go", by="ann")
            run.approve("go", by="bob")

        result = disk.resume(self.asking(Shop(), quorum=2), operator)

        assert result.status == "succeeded"
        assert result.tasks["go"].output == {"approved_by": ["ann", "bob"]}
        assert disk.notes() == [None, "ann has approved already", None]

    @pytest.mark.parametrize(("down_s", "expired_s"), [(0, 3600), (600, 3600), (7200, 7800)])
    def test_expire_for_what_is_left(self, down_s: float, expired_s: float) -> None:
        """A question expires when it would have, or at once where that is past."""
        options: Any = {"expires": "1h"}
        disk = Disk().crash(self.asking(Shop(), **options), 600)
        disk.now_s += down_s

        result = disk.resume(self.asking(Shop(), **options), nobody)

        assert result.status == "rolled_back"
        assert disk.seconds("approval_answered") == [expired_s]
        assert_sound(disk, self.asking(Shop(), **options), result)

    def test_expire_once(self) -> None:
        """A question that goes on waiting after it has expired does not expire again."""
        options: Any = {"expires": "1h", "on_expiry": "hold"}
        disk = Disk().crash(self.asking(Shop(), **options), 7200)
        disk.crash(self.asking(Shop(), **options), 7200)

        result = disk.resume(
            self.asking(Shop(), **options), says(lambda run: run.approve("go", by="ann"))
        )

        assert result.status == "succeeded"
        assert [a["answer"] for a in disk.data("approval_answered")] == ["expire", "approve"]

    def test_are_asked_anew_of_another_plan(self) -> None:
        """An answer is bound to the plan, so a question is put again where that has changed."""
        disk = Disk().crash(
            self.asking(Shop(), quorum=2), 60, says(lambda run: run.approve("go", by="ann"))
        )
        changed = self.asking(Shop(), quorum=2)
        changed.add_task("more", Shop().quick("more"), depends_on=["go"])
        old = disk.data("approval_requested")[0]["digest"]

        async def operator(run: pyflow.Run) -> None:
            asked = (await run).audit_trail.query(kind="approval_requested")
            run.approve("go", by="bob", digest=old)
            run.approve("go", by="bob")
            run.approve("go", by="ann", digest=asked[-1].data["digest"])

        result = disk.resume(changed, operator, accept_changes=True)

        assert result.status == "succeeded"
        assert result.tasks["go"].output == {"approved_by": ["bob", "ann"]}
        assert disk.notes()[1:] == [
            "the answer is bound to another plan, other parameters or another question",
            None,
            None,
        ]
        assert_sound(disk, changed, result)


class TestMaps:
    def mapped(self, shop: Shop, **options: Any) -> pyflow.Workflow:
        """Three items, two at a time, each for ten seconds; the second is slow."""
        wf = pyflow.Workflow("w")

        async def ship(ctx: pyflow.AsyncContext, item: str) -> str:
            shop.did.append(f"{item} {ctx.attempt}")
            await ctx.sleep(30 if item == "us" else 10)
            return item.upper()

        wf.add_map("ship", ship, over=["eu", "us", "ap", "sa"], max_parallel=2, **options)
        wf.add_task("after", shop.quick("after"), depends_on=["ship"])
        wf.add_recovery("ship", shop.quick("unship"))
        return wf

    def test_go_on_with_their_items(self) -> None:
        """Items that have finished stay so, those under way run again, the others in their turn."""
        options: Any = {"on_interrupt": "rerun"}
        disk, shop = Disk().crash(self.mapped(Shop(), **options), 15), Shop()

        result = disk.resume(self.mapped(shop, **options))

        assert result.status == "succeeded"
        assert shop.did == ["us 2", "ap 2", "sa 1", "after 1"]
        assert result.tasks["ship"].output == ["EU", "US", "AP", "SA"]
        assert_sound(disk, self.mapped(shop, **options), result)

    def test_hold_for_each_item(self) -> None:
        """Each item that is in doubt is resolved on its own."""
        disk, shop = Disk().crash(self.mapped(Shop()), 15), Shop()

        async def operator(run: pyflow.Run) -> None:
            run.resolve("ship[us]", "applied", output="by hand", by="ann")
            run.resolve("ship[ap]", "not_applied", by="ann")

        result = disk.resume(self.mapped(shop), operator)

        assert result.status == "succeeded"
        assert sorted(shop.did[:2]) == ["ap 2", "sa 1"]
        assert result.tasks["ship"].output == ["EU", "by hand", "AP", "SA"]

    def test_are_undone_by_item(self) -> None:
        """A run that is rolled back undoes the items that were started, the interrupted ones too."""
        disk, shop = Disk().crash(self.mapped(Shop()), 15), Shop()

        result = disk.resume(self.mapped(shop), says(lambda run: run.roll_back(by="ann")))

        assert result.status == "rolled_back"
        assert [r.task for r in disk.records if r.kind == "undo_succeeded"] == [
            "ship[eu]",
            "ship[us]",
            "ship[ap]",
        ]

    def test_that_have_failed(self) -> None:
        """A map that had more failures than it tolerates fails once its last item is known."""

        def failing(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="stop")

            async def ship(ctx: pyflow.AsyncContext, item: str) -> None:
                shop.did.append(item)
                await ctx.sleep(30 if item == "us" else 10)
                if item == "eu":
                    raise OSError(item)

            wf.add_map("ship", ship, over=["eu", "us", "ap"], max_parallel=2, on_interrupt="rerun")
            return wf

        disk, shop = Disk().crash(failing(Shop()), 15), Shop()

        result = disk.resume(failing(shop))

        assert result.status == "failed"
        assert shop.did == ["us"]
        assert statuses(result) == {
            "ship": "failed",
            "ship[eu]": "failed",
            "ship[us]": "succeeded",
            "ship[ap]": "cancelled",
        }


class TestRepairs:
    def broken(self, shop: Shop, **options: Any) -> pyflow.Workflow:
        """Fails at once, and is repaired for ten seconds."""
        wf = pyflow.Workflow("w", on_failure="stop")

        async def fail(ctx: pyflow.AsyncContext) -> str:
            shop.did.append(f"try {ctx.attempt}")
            if ctx.attempt == 1:
                raise OSError("full")
            return "done"

        wf.add_task("a", fail)
        chosen: dict[str, Any] = {"then": "retry", **options}
        wf.add_recovery("a", shop.act("mend"), on=OSError, **chosen)
        return wf

    def test_that_were_cut_off_run_again(self) -> None:
        """A repair that was cut off has been used once; it runs again if it may run more often."""
        options = {"times": 2}
        disk, shop = Disk().crash(self.broken(Shop(), **options), 5), Shop()

        result = disk.resume(self.broken(shop, **options))

        assert result.status == "succeeded"
        assert shop.did == ["mend 1", "try 2"]
        assert disk.data("repair_failed")[0]["error"]["type"] == "Interrupted"
        assert_sound(disk, self.broken(shop, **options), result)

    def test_that_are_used_up(self) -> None:
        """Where it may not, the failure counts."""
        disk, shop = Disk().crash(self.broken(Shop()), 5), Shop()

        result = disk.resume(self.broken(shop))

        assert result.status == "failed"
        assert shop.did == []
        assert str(result.error) == "a: OSError: full"

    def test_are_chosen_by_the_recorded_failure(self) -> None:
        """A repair that had not begun is chosen by what the record says of the failure."""

        def narrow(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", max_parallel=1)
            wf.add_task("a", shop.act("a", takes=0, fails=9))
            wf.add_recovery("a", shop.quick("other"), on=ValueError, then="continue")
            wf.add_recovery("a", shop.quick("mend"), on=OSError, then="continue")
            wf.add_task("b", shop.act("b"), on_interrupt="rerun")
            return wf

        disk, shop = Disk().crash(narrow(Shop()), 5), Shop()
        assert "repair_started" not in disk.kinds()

        result = disk.resume(narrow(shop))

        assert result.status == "succeeded"
        assert result.tasks["a"].repaired
        assert sorted(shop.did) == ["b 2", "mend 1"]

    def test_of_a_stopping_run_are_over(self) -> None:
        """Nothing is repaired any more once the run is stopping."""
        disk, shop = Disk().crash(self.broken(Shop(), times=2), 5), Shop()
        disk.now_s += 1

        result = disk.rollback(self.broken(shop, times=2), "no more")

        assert result.status == "rolled_back"
        assert shop.did == []


class TestRollbacks:
    def chain(self, shop: Shop, **options: Any) -> pyflow.Workflow:
        """Three tasks, of which the last fails, and undos that take ten seconds each."""
        wf = pyflow.Workflow("w")
        before: list[str] = []
        for name in "abc":
            wf.add_task(name, shop.act(name, takes=0, fails=9 * (name == "c")), depends_on=before)
            undo = shop.act(f"undo {name}", fails=options.get("fails", 0) * (name == "b"))
            wf.add_recovery(name, undo, retry=options.get("retry"))
            before = [name]
        return wf

    def test_go_on(self) -> None:
        """What was undone stays undone; the undo that was under way runs again, as the next try."""
        disk, shop = Disk().crash(self.chain(Shop()), 15), Shop()

        result = disk.resume(self.chain(shop))

        assert result.status == "rolled_back"
        assert shop.did == ["undo b 2", "undo a 1"]
        assert str(result.error) == "c: OSError: c"
        assert_sound(disk, self.chain(shop), result)

    def test_wait_on_between_tries(self) -> None:
        """The next try of an undo is made when it would have been."""
        options: Any = {"fails": 1, "retry": pyflow.Retry(3, backoff=MINUTE)}
        disk, shop = Disk().crash(self.chain(Shop(), **options), 50), Shop()

        result = disk.resume(self.chain(shop, **options))

        assert result.status == "rolled_back"
        assert disk.seconds("undo_started", "b") == [10, 80]
        assert shop.did == ["undo b 2", "undo a 1"]
        assert_sound(disk, self.chain(shop, **options), result)

    def test_try_no_more_than_allowed(self) -> None:
        """The try that was cut off counts, so an undo that fails after it may have failed for good."""
        options: Any = {"fails": 9, "retry": pyflow.Retry(2, backoff=MINUTE)}
        disk, shop = Disk().crash(self.chain(Shop(), **options), 15), Shop()

        result = disk.resume(self.chain(shop, **options))

        assert result.status == "rollback_failed"
        assert shop.did == ["undo b 2"]
        assert result.residue == ("b", "a")
        assert result.recovery_errors["b"].message == "b" or "undo b" in str(result.recovery_errors)

    def test_that_had_not_begun(self) -> None:
        """A run that was to be rolled back, and was cut off before the first undo, is."""
        disk = Disk()
        for commits in range(1, 12):
            disk = Disk().cut(self.chain(Shop()), commits)
            if "intent_raised" in disk.kinds():
                break
        shop = Shop()

        result = disk.resume(self.chain(shop))

        assert result.status == "rolled_back"
        assert "undo a 1" in shop.did

    def test_drain_no_more(self) -> None:
        """What was still under way when the engine died is in doubt, and undone."""

        def draining(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")

            @wf.task
            async def deaf() -> None:
                await asyncio.sleep(60)

            wf.add_recovery("deaf", shop.quick("undo deaf"))
            wf.add_task("bad", shop.act("bad", fails=9))
            return wf

        disk, shop = Disk().crash(draining(Shop()), 30), Shop()

        result = disk.resume(draining(shop))

        assert result.status == "rolled_back"
        assert shop.did == ["undo deaf 1"]
        assert disk.now_s == 30


class TestFinalizers:
    def closing(self, shop: Shop) -> pyflow.Workflow:
        """Three finalizers of ten seconds each."""
        wf = pyflow.Workflow("w")
        wf.add_task("a", shop.quick("a"))
        for name in ("f", "g", "h"):
            wf.add_finalizer(name, shop.act(name))
        return wf

    def test_run_at_least_once(self) -> None:
        """Those that have ended are not run again; the one that was under way is."""
        disk, shop = Disk().crash(self.closing(Shop()), 15), Shop()

        result = disk.resume(self.closing(shop))

        assert result.status == "succeeded"
        assert shop.did == ["g 1", "h 1"]
        assert_sound(disk, self.closing(shop), result)

    def test_know_how_the_run_ends(self) -> None:
        """They are told the outcome that was decided before the crash."""
        seen: list[Any] = []

        def telling() -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="stop")
            wf.add_task("bad", Shop().act("bad", takes=0, fails=9))

            async def tell(ctx: pyflow.AsyncRecoveryContext) -> None:
                seen.append((ctx.status, str(ctx.cause)))
                await ctx.sleep(10)

            wf.add_finalizer("tell", tell)
            return wf

        Disk().crash(telling(), 5).resume(telling())

        assert seen == [("failed", "bad: OSError: bad")] * 2

    def test_run_again_after_another_outcome(self) -> None:
        """A run that has ended, and is rolled back later, runs them again."""

        def failing(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="stop")
            wf.add_task("a", shop.quick("a"))
            wf.add_recovery("a", shop.quick("undo a"))
            wf.add_task("bad", shop.act("bad", fails=9), depends_on=["a"])
            wf.add_finalizer("f", shop.quick("f"))
            return wf

        disk, shop = Disk(), Shop()
        disk.resume(failing(shop))

        result = disk.rollback(failing(shop), "it was no use")

        assert result.status == "rolled_back"
        assert shop.did == ["a 1", "bad 1", "f 1", "undo a 1", "f 1"]

    def test_run_again_where_the_second_time_was_cut_off(self) -> None:
        """What had ended after an earlier outcome does not count for this one."""

        def failing(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="stop")
            wf.add_task("bad", shop.act("bad", takes=0, fails=9))
            wf.add_finalizer("f", shop.act("f"))
            return wf

        disk, shop = Disk(), Shop()
        disk.resume(failing(Shop()))
        disk.crash(failing(Shop()), 5, roll_back="it was no use")

        result = disk.resume(failing(shop))

        assert result.status == "rolled_back"
        assert shop.did == ["f 1"]


class TestCheckpoints:
    def test_survive(self) -> None:
        """What a task has saved is there for its next attempt, and for its undo."""
        seen: list[Any] = []

        def baking() -> pyflow.Workflow:
            wf = pyflow.Workflow("w")

            @wf.task(on_interrupt="rerun")
            async def bake(ctx: pyflow.AsyncContext) -> None:
                done = ctx.checkpoints.get("done", 0)
                seen.append(done)
                for number in range(done, 6):
                    await ctx.sleep("10m")
                    ctx.checkpoint("done", number + 1)
                raise OSError("burnt")

            @wf.recovery(bake)
            async def undo(ctx: pyflow.AsyncRecoveryContext) -> None:
                seen.append(dict(ctx.checkpoints))

            return wf

        disk = Disk().crash(baking(), 25 * 60)

        result = disk.resume(baking())

        assert result.status == "rolled_back"
        assert seen == [0, 2, {"done": 6}]
        assert disk.now_s == 25 * 60 + 40 * 60


class TestTheRecord:
    def test_of_two_crashes_is_one_chain(self) -> None:
        """However often a run was taken up, its record is one chain, and its last state their sum."""
        options: Any = {"on_interrupt": "rerun"}
        disk = cut_off(**options).crash(shipping(Shop(), **options), 5)
        disk.now_s += 60

        result = disk.resume(shipping(Shop(), **options))

        assert result.status == "succeeded"
        assert disk.kinds().count("run_resumed") == 2
        assert result.tasks["ship"].attempts == 3
        assert result.metrics.wall_s == 80
        assert_sound(disk, shipping(Shop(), **options), result)

    def test_says_who_took_the_run_up(self) -> None:
        """A resume is on the record, with whoever asked for it."""
        disk = cut_off()

        disk.resume(shipping(Shop()), initiator="bob")

        resumed = disk.data("run_resumed")[0]
        assert resumed["initiator"] == {"id": "bob", "source": "given"}
        assert resumed["origin"]["simulated"] is True

    def test_can_be_watched_from_its_beginning(self) -> None:
        """`Run.events` of a resumed run gives every record, those of the dead engine included."""
        options: Any = {"on_interrupt": "rerun"}
        disk = cut_off(**options)
        seen: list[str] = []

        async def watch(run: pyflow.Run) -> None:
            seen.extend([record.kind async for record in run.events()])

        disk.resume(shipping(Shop(), **options), watch)

        assert seen == disk.kinds()


class TestWhatAHeldRunSays:
    def test_to_whoever_resumes_it(self) -> None:
        """Printed, it names the very calls that decide it."""

        def many(shop: Shop) -> pyflow.Workflow:
            wf = pyflow.Workflow("w", on_failure="hold")
            wf.add_task("ship", shop.act("ship", takes=30))
            wf.add_task("bad", shop.act("bad", fails=9))
            wf.add_map("each", shop.act("each", fails=9), over=["eu"])
            wf.add_approval("go", "Ship it?", approvers=["ann", "bob", "cy"], quorum=2)
            return wf

        result = (
            Disk()
            .crash(many(Shop()), 20, says(lambda run: run.approve("go", by="ann")))
            .resume(many(Shop()))
        )

        assert result.to_decide == (
            "bad has failed: run.retry('bad', by=...) or run.skip('bad', by=...)",
            "each has failed: run.skip('each', by=...)",
            (
                "ship was interrupted, and nobody knows whether it took effect: "
                "run.resolve('ship', 'applied', output=..., by=...) or "
                "run.resolve('ship', 'not_applied', by=...)"
            ),
            "or end it: run.roll_back(by=...) or run.cancel(by=...)",
        )
        assert str(result).endswith("\n".join(f"    {line}" for line in result.to_decide))

    def test_of_questions(self) -> None:
        """Of a question it says who may answer, and how many have."""
        wf = pyflow.Workflow("w")
        wf.add_task("drop", Shop().quick("drop"), point_of_no_return=True)
        wf.add_approval("go", "Ship it?", depends_on=["drop"], approvers=["ann", "bob"], quorum=2)

        approve = says(lambda run: run.approve("go", by="ann"), after=1)

        result = Disk().crash(wf, 5, approve).resume(wf)

        assert result.to_decide == (
            (
                "go asks 'Ship it?' of ann, bob, where 1 of 2 have approved (ann): "
                "run.approve('go', by=...) or run.reject('go', by=...)"
            ),
            "or end it: run.cancel(by=...); drop is a point of no return",
        )

    def test_of_a_run_that_goes_on(self) -> None:
        """A run that waits for nobody has nothing to say."""
        assert Disk().resume(shipping(Shop())).to_decide == ()
