"""`crash_everywhere` finds what does not survive a crash, says where, and leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.testing import SimulationError, crash
from pyflow.testing.crash import Crash, CrashReport, Survivor, crash_everywhere
from support.effects import FileSite, Site, add, chain, in_memory_root, once_each

Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files where syncs cost nothing, if there is such a place."""
    monkeypatch.setattr(tempfile, "tempdir", in_memory_root())


def short(directory: Path) -> pyflow.Workflow:
    """Return two tasks that know, after a crash, whether they had their effect."""
    wf = pyflow.Workflow("short")
    chain(wf, FileSite(directory), "ab")
    return wf


def single(make: Callable[[Site], Function], **options: Any) -> Callable[[Path], pyflow.Workflow]:
    """Return what makes a workflow of one task `a`, which *make* gives its function."""

    def factory(directory: Path) -> pyflow.Workflow:
        wf, site = (
            pyflow.Workflow("single", on_failure=options.get("on_failure", "stop")),
            FileSite(directory),
        )
        wf.add_task("a", make(site), on_interrupt=options.get("on_interrupt", "rerun"))
        return wf

    return factory


def second_time(then: Callable[[], object]) -> Callable[[Path], pyflow.Workflow]:
    """Return what makes a task that does something else when it is done again."""

    def make(site: Site) -> Function:
        def act() -> None:
            site.note("do a")
            if site.applied("a") > 1:
                then()

        return act

    return single(make)


def once(survivor: Survivor) -> None:
    effects = FileSite(survivor.directory).effects
    plan = short(survivor.directory).check()
    once_each(effects, survivor.tasks, plan, crashes=len(survivor.crashes))


def fail() -> None:
    raise OSError("it is there already")


class TestCrashEverywhere:
    def test_passes(self, tmp_path: Path) -> None:
        """What survives is killed before and after each commit, and nothing is left of it."""
        report = crash_everywhere(short, check=once, root=tmp_path)

        assert report.ok, str(report)
        assert report.points == 8
        assert report.endings == {"succeeded": 8}
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_kills_with_any_signal(self) -> None:
        """SIGTERM lets a process end what is under way; the run is taken up all the same."""
        report = crash_everywhere(short, check=once, signals=["SIGKILL", "SIGTERM"])

        assert report.ok, str(report)
        assert report.points == 16

    def test_kills_recoveries(self) -> None:
        """Recoveries are killed as well, and recoveries from that."""
        seen: list[tuple[Crash, ...]] = []

        def check(survivor: Survivor) -> None:
            once(survivor)
            seen.append(survivor.crashes)

        report = crash_everywhere(short, check=check, again=(1, 1))

        assert report.ok, str(report)
        assert {len(crashes) for crashes in seen} == {1, 2, 3}
        assert all([one.life for one in crashes] == [1, 2, 3][: len(crashes)] for crashes in seen)

    def test_draws_by_seed(self) -> None:
        """Equal seeds try the same points, however many processes are under way."""

        def drawn(seed: int, workers: int) -> list[tuple[Crash, ...]]:
            seen: list[tuple[Crash, ...]] = []
            crash_everywhere(
                short,
                check=lambda survivor: seen.append(survivor.crashes),
                again=1,
                points_max=3,
                seed=seed,
                workers=workers,
            )
            return sorted(seen)

        once = drawn(1, 1)

        assert len(once) >= 3
        assert drawn(1, 3) == once != drawn(2, 3)


class TestFinds:
    def test_repeated(self) -> None:
        """A task that was done is done again, because its on_interrupt= says that it was not."""

        def factory(directory: Path) -> pyflow.Workflow:
            wf = pyflow.Workflow("short")
            chain(wf, FileSite(directory), "ab", on_interrupt=lambda: pyflow.NOT_APPLIED)
            return wf

        report = crash_everywhere(factory, check=once)

        assert report.problems == (
            "killed before commit 3 of process 1: a was done 2 times: ['do a', 'do a', 'do b']",
            "killed before commit 4 of process 1: b was done 2 times: ['do a', 'do b', 'do b']",
        )

    def test_lost(self) -> None:
        """A task is never done, because its on_interrupt= says that it was."""
        report = crash_everywhere(
            single(lambda site: site.does(), on_interrupt=lambda: pyflow.Applied("a")),
            check=lambda survivor: FileSite(survivor.directory).applied("a") == 1,
        )

        assert report.problems == ("killed after commit 2 of process 1: check said no",)

    def test_lost_definition(self) -> None:
        """The workflow that takes the run up lacks a task that was started."""

        def factory(directory: Path) -> pyflow.Workflow:
            wf, site = pyflow.Workflow("short"), FileSite(directory)
            if not site.effects:
                add(wf, site, "a")
            add(wf, site, "b")
            return wf

        report = crash_everywhere(factory)

        assert "broken" in report.endings
        assert "PlanChanged" in report.problems[0]

    def test_another_end(self) -> None:
        """A task that cannot be done twice fails when it is."""
        report = crash_everywhere(second_time(fail))

        assert report.problems == (
            (
                "killed before commit 3 of process 1: it ended as failed, and the run that was "
                "not killed as succeeded"
            ),
        )

    def test_other_tasks(self) -> None:
        """A run ends as the other, but not each of its tasks."""

        def factory(directory: Path) -> pyflow.Workflow:
            wf, site = pyflow.Workflow("w"), FileSite(directory)
            wf.add_task("a", site.does(), on_interrupt="rerun")
            wf.add_task(
                "b",
                site.does(),
                when=lambda: site.applied("a") < 2,
                depends_on=["a"],
                on_interrupt="rerun",
            )
            return wf

        report = crash_everywhere(factory)

        assert "its tasks are a succeeded, b skipped, and would be a succeeded, b succeeded" in str(
            report
        )

    def test_stuck(self) -> None:
        """A process that does not end is killed, and said to be stuck."""

        def wait(site: Site) -> Function:
            async def act(ctx: pyflow.AsyncContext) -> None:
                site.note("do a")
                if site.applied("a") > 1:
                    await ctx.sleep("1h")

            return act

        report = crash_everywhere(single(wait), timeout="5s", workers=8)

        assert report.problems[0].endswith("it did not end in time: is it stuck?")

    def test_held_for_nothing(self) -> None:
        """A run that is held although nothing is in doubt is stuck."""

        def make(site: Site) -> Function:
            def act() -> None:
                site.note("do a")
                if site.applied("a") > 1:
                    fail()

            return act

        report = crash_everywhere(single(make, on_failure="hold"))

        assert "it is held, though it is known of each task whether it took effect" in str(report)

    def test_died(self) -> None:
        """A process that ends by itself is no kill."""
        report = crash_everywhere(second_time(lambda: os._exit(3)))

        assert "a process ended with 3, and nobody had killed it" in str(report)

    @pytest.mark.parametrize(
        ("answer", "said"), [(False, "check said no"), ("too many", "too many")], ids=str
    )
    def test_what_check_says(self, answer: object, said: str) -> None:
        """A check says no, or a sentence."""
        report = crash_everywhere(short, check=lambda _: answer, points_max=1)

        assert not report
        assert report.problems[0].endswith(f": {said}")

    def test_what_check_asserts(self) -> None:
        """An assertion of a check is a problem; any other error is the check's own."""

        def fails(error: Exception) -> Callable[[Survivor], None]:
            def check(survivor: Survivor) -> None:
                raise error

            return check

        report = crash_everywhere(short, check=fails(AssertionError()), points_max=1)

        assert report.problems[0].endswith(": the assertion failed")
        with pytest.raises(ValueError, match="mine"):
            crash_everywhere(short, check=fails(ValueError("mine")))


class TestPeople:
    def test_may_be_asked(self) -> None:
        """Held where nobody can know is as good as the end of the run that was not killed."""
        report = crash_everywhere(single(lambda site: site.does(), on_interrupt="ask"))

        assert report.ok
        assert report.endings == {"held": 2, "succeeded": 4}

    def test_answer(self) -> None:
        """An operator answers in a process of its own, and another takes the run up."""

        def resolve(engine: pyflow.Engine, held: Survivor) -> None:
            done = FileSite(held.directory).applied("a")
            answer = "applied" if done else "not_applied"
            engine.resolve(held.run_id, "a", answer, by="ann", output="a")

        report = crash_everywhere(
            single(lambda site: site.does(), on_interrupt="ask"),
            check=lambda survivor: FileSite(survivor.directory).effects == ["do a"],
            operator=resolve,
        )

        assert report.ok, str(report)
        assert report.endings == {"succeeded": 6}

    def test_say_nothing(self) -> None:
        """A run whose operator asks nothing of it stays held."""
        report = crash_everywhere(
            single(lambda site: site.does(), on_interrupt="ask"), operator=lambda *_: None
        )

        assert report.endings == {"held": 2, "succeeded": 4}

    def test_go_wrong(self) -> None:
        """An operator that fails is a problem of the run that it was called for."""

        def operator(engine: pyflow.Engine, held: Survivor) -> None:
            engine.approve(held.run_id, "a", by="")

        report = crash_everywhere(
            single(lambda site: site.does(), on_interrupt="ask"), operator=operator
        )

        assert "approve needs by=" in report.problems[0]


class TestReport:
    def test_text(self) -> None:
        """It counts, and gives each problem a line."""
        report = CrashReport(1200, 3, {"held": 2, "succeeded": 1201}, ("one", "two"))

        assert str(report) == (
            "killed at 1,200 points: held 2, succeeded 1,201; 3 more were not reached\n  one\n  two"
        )
        assert not report

    def test_of_nothing(self) -> None:
        """No point, no problem."""
        report = CrashReport(0, 0, {}, ())

        assert str(report) == "killed at 0 points: none"
        assert report

    def test_crash(self) -> None:
        """A crash says where it was, and how if not with SIGKILL."""
        assert str(Crash(1, 3, "after")) == "after commit 3 of process 1"
        assert str(Crash(2, 1, "before", "SIGTERM")) == "before commit 1 of process 2 by SIGTERM"


class TestErrors:
    def test_wrong_from_the_start(self) -> None:
        """A run that goes wrong without being killed tells nothing about crashes."""

        def factory(directory: Path) -> pyflow.Workflow:
            raise RuntimeError("no such place")

        with pytest.raises(SimulationError, match=r"(?s)went wrong.*no such place"):
            crash_everywhere(factory)

    def test_without_rest(self) -> None:
        """A run that is held again and again does not come to rest."""

        def factory(directory: Path) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            wf.add_approval("go", "Ship it?", approvers=["ann"])
            return wf

        with pytest.raises(SimulationError, match="has not come to rest in 20 processes"):
            crash_everywhere(
                factory, operator=lambda engine, held: engine.approve(held.run_id, "go", by="bob")
            )

    def test_other_signals(self) -> None:
        """Only signals that end a process are known."""
        signals: Any = ["SIGTREM"]

        with pytest.raises(SimulationError, match=r"'SIGTREM'; did you mean 'SIGTERM'\?"):
            crash_everywhere(short, signals=signals)

    def test_without_fork(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nothing can be forked, nothing can be killed."""
        monkeypatch.delattr(os, "fork")

        with pytest.raises(SimulationError, match="a system that can fork"):
            crash_everywhere(short)


class TestInTheProcess:
    def test_takes_up(self, tmp_path: Path) -> None:
        """What a process does: it runs the workflow, or takes it up, and counts its commits."""
        told = crash._take_up(short, tmp_path, None)
        again = crash._take_up(short, tmp_path, Crash(1, 9, "after"))

        assert told["tasks"] == again["tasks"] == {"a": "succeeded", "b": "succeeded"}
        assert (told["commits"], again["commits"]) == (4, 0)

    def test_operates(self, tmp_path: Path) -> None:
        """What an operator asks waits in the inbox."""

        def factory(directory: Path) -> pyflow.Workflow:
            wf = pyflow.Workflow("w")
            wf.add_approval("go", "Ship it?")
            return wf

        told = crash._take_up(factory, tmp_path, None)
        held = crash._survivor(tmp_path, (), told)

        asked = crash._operate(lambda engine, one: engine.pause(one.run_id, by="ann"), held)

        assert held.status == "held"
        assert asked == {"asked": 1}
