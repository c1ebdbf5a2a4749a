"""What the engine promises of every run: each promise is broken by some records, and kept by others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pyflow import Retry, Workflow
from pyflow.errors import RunStopping
from pyflow.record import events as ev
from pyflow.run.failures import see
from pyflow.run.state import RunState
from pyflow.testing import SimulatedFault, simulate
from pyflow.testing.exploration import promises
from pyflow.testing.exploration.promises import PROMISES, may_break
from support.explored import FEW

Promise = Callable[[Any], str | None]
BEGIN = ev.RunStarted("w", "f", {}, {}, {}, {})
RESUMED = ev.RunResumed({}, {})
LOST = ev.ErrorInfo(see(SimulatedFault()).type, "lost")
BOOM = ev.ErrorInfo("ValueError", "boom")
CUT = ev.ErrorInfo(see(RunStopping()).type, "the run is stopping")


@dataclass
class Tale:
    """A run, as far as records tell."""

    events: Sequence[ev.Event]
    state: RunState


@dataclass
class Case:
    """Records that keep a promise, and records that break it."""

    promise: Promise
    workflow: Callable[[], Workflow]
    kept: Sequence[ev.Event]
    broken: Sequence[ev.Event]
    message: str
    state: Sequence[ev.Event] | None = None
    """What the broken run's state is made of, where the state tables allow it; else as `kept`."""

    def tale(self, events: Sequence[ev.Event]) -> Tale:
        """Return the run of which *events* tell."""
        plan = self.workflow().check()
        broken = events is self.broken and self.state is not None
        return Tale(events, RunState.replay(plan, (self.state or ()) if broken else self.kept))


def start(task: str, attempt: int = 1) -> ev.Event:
    return ev.TaskStarted(task, attempt, "")


def done(task: str, attempt: int = 1) -> ev.Event:
    return ev.TaskSucceeded(task, attempt, 0.0)


def bad(task: str, attempt: int = 1, error: ev.ErrorInfo = BOOM) -> ev.Event:
    return ev.AttemptFailed(task, attempt, error, 0.0)


def fail(task: str) -> ev.Event:
    return ev.TaskFailed(task, "")


def cancelled(task: str) -> ev.Event:
    return ev.TaskCancelled(task, "")


def skipped(task: str) -> ev.Event:
    return ev.TaskSkipped(task, "")


def passed(task: str) -> ev.Event:
    return ev.PassedOver("skip", [task], "ann")


def left_out(task: str) -> ev.Event:
    return ev.TaskSkipped(task, "", "ann", passed=True)


def again(task: str, attempt: int = 2) -> ev.Event:
    return ev.RetryScheduled(task, attempt, 1.0)


def intent(what: Any, task: str | None = None) -> ev.Event:
    return ev.IntentRaised(what, "", task)


def undo(task: str, attempt: int = 1) -> ev.Event:
    return ev.UndoStarted(task, attempt)


def undone(task: str, attempt: int = 1) -> ev.Event:
    return ev.UndoSucceeded(task, attempt, 0.0)


def undo_bad(task: str, attempt: int = 1, error: ev.ErrorInfo = LOST) -> ev.Event:
    return ev.UndoAttemptFailed(task, attempt, error, 0.0)


def repair(task: str, number: int = 0) -> ev.Event:
    return ev.RepairStarted(task, number, "mend")


def repaired(task: str, then: Any) -> ev.Event:
    return ev.RepairSucceeded(task, 0, 0.0, then)


def released(task: str, decision: Any = "retry") -> ev.Event:
    return ev.HoldReleased(decision, task)


def cut(task: str, attempt: int = 1) -> ev.Event:
    return ev.TaskInterrupted(task, attempt, "")


def found(task: str, answer: Any = "not_applied", source: str = "person") -> ev.Event:
    return ev.InterruptResolved(task, answer, source)


def asked(command: str, *, accepted: bool = True) -> ev.Event:
    return ev.CommandReceived(command, accepted)


def expanded(*items: str) -> ev.Event:
    return ev.MapExpanded("deploy", [f"deploy[{item}]" for item in items], list(items))


def ended(
    status: str, *events: ev.Event, residue: list[str] | None = None, records: int | None = None
) -> list[ev.Event]:
    """Return *events* between the beginning of a run and its end."""
    told = [BEGIN, *events, ev.OutcomeDecided(status, "", residue)]
    return [*told, ev.RunFinished(status, records or len(told) + 1)]


def finals(*names: str) -> list[ev.Event]:
    """Return the records of an end in which finalizers ran, those named, in order."""
    told: list[ev.Event] = [BEGIN, start("deploy"), done("deploy")]
    told += [skipped("check"), ev.OutcomeDecided("succeeded", "")]
    for name in names:
        told += [ev.FinalizerStarted(name), ev.FinalizerSucceeded(name, 0.0)]
    return [*told, ev.RunFinished("succeeded", len(told) + 1)]


def chain(**options: Any) -> Workflow:
    """Return deploy > check, each with an undo; *options* are those of deploy."""
    workflow = Workflow("w")
    workflow.add_task("deploy", print, **options)
    workflow.add_task("check", print, depends_on="deploy")
    for task in ("deploy", "check"):
        workflow.add_recovery(task, print)
    return workflow


def retried() -> Workflow:
    """Return deploy, tried up to four times, as its undo is."""
    workflow = Workflow("w")
    workflow.add_task("deploy", print, retry=FEW)
    workflow.add_recovery("deploy", print, retry=FEW)
    return workflow


def mended() -> Workflow:
    """Return deploy, tried once, with a repair for lost connections."""
    workflow = Workflow("w")
    workflow.add_task("deploy", print)
    workflow.add_recovery("deploy", print, then="retry", on=ConnectionError)
    return workflow


def either() -> Workflow:
    """Return two tasks, and one that needs one of them."""
    workflow = Workflow("w")
    workflow.add_task("one", print)
    workflow.add_task("two", print)
    workflow.add_task("any", print, depends_on=["one", "two"], join="any")
    return workflow


def diamond() -> Workflow:
    """Return deploy, two that need it, and one that needs both; first and last have an undo."""
    workflow = Workflow("w")
    workflow.add_task("deploy", print)
    workflow.add_task("left", print, depends_on="deploy")
    workflow.add_task("right", print, depends_on="deploy")
    workflow.add_task("check", print, depends_on=["left", "right"])
    workflow.add_recovery("deploy", print)
    workflow.add_recovery("check", print)
    return workflow


def mapped() -> Workflow:
    """Return a map of which two items run at once, and one may fail; each has an undo."""
    workflow = Workflow("w")
    workflow.add_map("deploy", print, over=["a", "b", "c"], max_parallel=2, tolerate=1)
    workflow.add_task("check", print, depends_on="deploy")
    workflow.add_recovery("deploy", print)
    workflow.add_recovery("check", print)
    return workflow


def final() -> Workflow:
    """Return deploy > check, and two finalizers."""
    workflow = chain()
    workflow.add_finalizer("first", print)
    workflow.add_finalizer("second", print)
    return workflow


def approved() -> Workflow:
    """Return an approval, and deploy after it."""
    workflow = Workflow("w")
    workflow.add_approval("approve", "Deploy?")
    workflow.add_task("deploy", print, depends_on="approve")
    return workflow


def on_hold() -> Workflow:
    """Return a workflow that leaves it to a person what follows from a failure."""
    workflow = Workflow("w", on_failure="hold")
    workflow.add_task("deploy", print)
    return workflow


def keep_going() -> Workflow:
    """Return a workflow that goes on after a failure."""
    workflow = Workflow("w", on_failure="continue")
    workflow.add_task("deploy", print)
    workflow.add_task("check", print)
    return workflow


STARTED = [BEGIN, start("deploy")]
SUCCEEDED = ended("succeeded", start("deploy"), done("deploy"), start("check"), done("check"))
TURNED_BACK = (start("deploy"), done("deploy"), start("check"), done("check"), intent("rollback"))
HELD = [BEGIN, start("deploy"), bad("deploy"), fail("deploy"), intent("hold", "deploy")]

BOTH_SIDES = [
    BEGIN,
    *(
        event
        for task in ("deploy", "left", "right", "check")
        for event in (start(task), done(task))
    ),
]

CASES = [
    Case(
        promises.the_end_leaves_nothing_open,
        chain,
        kept=SUCCEEDED,
        broken=(early := ended("succeeded", start("deploy"), done("deploy"))),
        state=early,
        message="the run has ended, and check is still pending",
    ),
    Case(
        promises.the_end_leaves_nothing_open,
        chain,
        kept=[BEGIN, *TURNED_BACK, undo("check")],
        broken=(early := ended("rolled_back", *TURNED_BACK, undo("check"))),
        state=early,
        message="the run has ended, and check is still undoing",
    ),
    Case(
        promises.the_end_is_the_last_record,
        chain,
        kept=SUCCEEDED,
        broken=[*SUCCEEDED[:-1], ev.RunFinished("succeeded", 5)],
        message="the last of 7 records is RunFinished(status='succeeded', records=5)",
    ),
    Case(
        promises.the_end_is_the_last_record,
        chain,
        kept=SUCCEEDED,
        broken=[*SUCCEEDED, done("check")],
        message="the last of 8 records is TaskSucceeded(",
    ),
    Case(
        promises.every_finalizer_runs_once,
        final,
        kept=finals("first", "second"),
        broken=finals("first"),
        message="finalizers ['first'] ran, expected ['first', 'second']",
    ),
    Case(
        promises.every_finalizer_runs_once,
        final,
        kept=finals("first", "second"),
        broken=finals("second", "first"),
        message="finalizers ['second', 'first'] ran",
    ),
    Case(
        promises.every_finalizer_runs_once,
        final,
        kept=finals("first", "second"),
        broken=[*STARTED, ev.FinalizerStarted("first")],
        message="finalizer first started before the outcome was decided",
    ),
    Case(
        promises.every_finalizer_runs_once,
        final,
        kept=finals("first", "second"),
        broken=[
            *finals()[:-1],
            ev.FinalizerStarted("first"),
            ev.FinalizerStarted("second"),
            ev.FinalizerFailed("second", BOOM, 0.0),
        ],
        message="finalizer second started before first had ended",
    ),
    Case(
        promises.every_finalizer_runs_once,
        final,
        kept=[
            *(*finals("first")[:-1], ev.FinalizerStarted("second"), RESUMED),
            *(ev.FinalizerStarted("second"), ev.FinalizerSucceeded("second", 0.0)),
            ev.RunFinished("succeeded", 12),
        ],
        broken=[*finals("first")[:-1], RESUMED, *finals("first", "second")[-5:]],
        message="finalizers ['first', 'first', 'second'] ran, expected ['first', 'second']",
    ),
    Case(
        promises.a_start_waits_for_dependencies,
        chain,
        kept=[*STARTED, done("deploy"), start("check")],
        broken=[*STARTED, start("check")],
        message="check started before deploy had settled",
    ),
    Case(
        promises.a_start_waits_for_dependencies,
        chain,
        kept=[*STARTED, RESUMED, cut("deploy"), found("deploy", "applied"), start("check")],
        broken=[*STARTED, RESUMED, cut("deploy"), start("check")],
        message="check started before deploy had settled",
    ),
    Case(
        promises.a_start_waits_for_dependencies,
        either,
        kept=[*(BEGIN, start("one"), cut("one"), found("one", "applied"), start("any"))],
        broken=[*(BEGIN, start("one"), cut("one"), found("one"), start("any"))],
        message="any started before any of its dependencies succeeded",
    ),
    Case(
        promises.a_start_waits_for_dependencies,
        either,
        kept=[BEGIN, start("one"), start("two"), done("two"), start("any")],
        broken=[BEGIN, start("one"), start("two"), fail("two"), start("any")],
        message="any started before any of its dependencies succeeded",
    ),
    Case(
        promises.a_start_needs_what_it_joins,
        chain,
        kept=[BEGIN, skipped("deploy"), start("check")],
        broken=[*STARTED, bad("deploy"), fail("deploy"), start("check")],
        state=[*STARTED],
        message="check started although deploy had failed",
    ),
    Case(
        promises.a_start_needs_what_it_joins,
        chain,
        kept=[*STARTED, bad("deploy"), ev.TaskFailed("deploy", "", allowed=True), start("check")],
        broken=[*STARTED, cut("deploy"), start("check")],
        message="check started although deploy had failed",
    ),
    Case(
        promises.a_start_needs_what_it_joins,
        chain,
        kept=[*STARTED, cut("deploy"), found("deploy", "applied"), start("check")],
        broken=[*STARTED, cut("deploy"), found("deploy", "unknown"), start("check")],
        message="check started although deploy had failed",
    ),
    Case(
        promises.a_start_needs_what_it_joins,
        chain,
        kept=[*HELD, released("deploy", "skip"), start("check")],
        broken=[BEGIN, ev.TaskBlocked("deploy", ""), start("check")],
        message="check started although deploy had failed",
    ),
    Case(
        promises.a_start_happens_once,
        retried,
        kept=[*STARTED, bad("deploy"), again("deploy"), start("deploy", 2)],
        broken=[*STARTED, bad("deploy"), again("deploy"), start("deploy")],
        message="task_started of deploy, attempt 1, is recorded twice",
    ),
    Case(
        promises.a_start_happens_once,
        retried,
        kept=[*STARTED, done("deploy"), intent("rollback"), undo("deploy"), undo("deploy", 2)],
        broken=[*STARTED, done("deploy"), intent("rollback"), undo("deploy"), undo("deploy")],
        message="undo_started of deploy, attempt 1, is recorded twice",
    ),
    Case(
        promises.what_is_passed_over_does_not_start,
        chain,
        kept=[*STARTED, done("deploy"), passed("check"), left_out("check")],
        broken=[*STARTED, done("deploy"), passed("check"), start("check")],
        message="task_started of check came after it was passed over",
    ),
    Case(
        promises.what_is_passed_over_does_not_start,
        chain,
        kept=[*HELD, passed("deploy"), ev.HoldReleased("skip", "deploy", passed=True)],
        broken=[*STARTED, done("deploy"), left_out("check")],
        message="task_skipped says that check passed, and nobody said so",
    ),
    Case(
        promises.what_is_done_is_not_done_again,
        chain,
        kept=[*STARTED, RESUMED, cut("deploy"), found("deploy"), start("deploy", 2)],
        broken=[*STARTED, done("deploy"), RESUMED, start("deploy", 2)],
        message="deploy started again after it had succeeded",
    ),
    Case(
        promises.what_is_done_is_not_done_again,
        chain,
        kept=[*STARTED, cut("deploy"), found("deploy", "applied"), RESUMED, start("check")],
        broken=[*STARTED, cut("deploy"), found("deploy", "applied"), start("deploy", 2)],
        message="deploy started again after it had succeeded",
    ),
    Case(
        promises.what_is_done_is_not_done_again,
        chain,
        kept=[
            *STARTED,
            done("deploy"),
            intent("rollback"),
            undo("deploy"),
            RESUMED,
            undo("deploy", 2),
        ],
        broken=[*STARTED, intent("rollback"), undo("deploy"), undone("deploy"), undo("deploy", 2)],
        message="the undo of deploy started again after it had succeeded",
    ),
    Case(
        promises.an_interruption_is_looked_into,
        chain,
        kept=[*STARTED, RESUMED, cut("deploy"), found("deploy"), start("deploy", 2)],
        broken=[*STARTED, RESUMED, cut("deploy"), start("deploy", 2)],
        message="deploy was cut off, and without a look task_started followed",
    ),
    Case(
        promises.an_interruption_is_looked_into,
        chain,
        kept=[*STARTED, RESUMED, cut("deploy"), intent("rollback"), fail("deploy"), undo("deploy")],
        broken=[*STARTED, RESUMED, cut("deploy"), fail("deploy")],
        message="deploy was cut off, and without a look task_failed followed",
    ),
    Case(
        promises.an_interruption_is_looked_into,
        chain,
        kept=[*STARTED, done("deploy"), RESUMED, start("check"), done("check")],
        broken=[*STARTED, RESUMED, done("deploy")],
        message="deploy was cut off, and without a look task_succeeded followed",
    ),
    Case(
        promises.an_interruption_is_looked_into,
        approved,
        kept=[BEGIN, start("approve"), RESUMED, done("approve"), start("deploy")],
        broken=[*STARTED, cut("deploy"), found("deploy", "unknown"), start("deploy", 2)],
        message="deploy was cut off, and without a look task_started followed",
    ),
    Case(
        promises.an_interruption_is_looked_into,
        lambda: chain(on_interrupt="rerun"),
        kept=[*STARTED, cut("deploy"), found("deploy", source="rerun"), start("deploy", 2)],
        broken=[*STARTED, cut("deploy"), found("deploy", "applied", source="rerun")],
        message="rerun said applied of deploy, and was not to be asked",
    ),
    Case(
        promises.an_interruption_is_looked_into,
        lambda: chain(retry=Retry(2, after_crash=True)),
        kept=[*STARTED, cut("deploy"), found("deploy", source="rerun"), start("deploy", 2)],
        broken=[*STARTED, cut("deploy"), found("deploy", source="look")],
        message="look said not_applied of deploy, and was not to be asked",
    ),
    Case(
        promises.an_interruption_is_looked_into,
        lambda: chain(on_interrupt=print),
        kept=[*STARTED, cut("deploy"), found("deploy", source="print"), start("deploy", 2)],
        broken=[*STARTED, cut("deploy"), found("deploy", source="rerun")],
        message="rerun said not_applied of deploy, and was not to be asked",
    ),
    Case(
        promises.attempts_keep_to_the_policy,
        chain,
        kept=[
            *STARTED,
            done("deploy"),
            intent("rollback"),
            undo("deploy"),
            RESUMED,
            undo("deploy", 2),
        ],
        broken=[
            *STARTED,
            intent("rollback"),
            undo("deploy"),
            undo_bad("deploy"),
            RESUMED,
            undo("deploy", 2),
        ],
        message="the undo of deploy was tried 2 times, and 1 are allowed",
    ),
    Case(
        promises.attempts_keep_to_the_policy,
        chain,
        kept=[
            *(*STARTED, done("deploy"), intent("rollback"), undo("deploy"), undo_bad("deploy")),
            *(RESUMED, intent("rollback"), undo("deploy", 2)),
        ],
        broken=[*STARTED, RESUMED, cut("deploy"), start("deploy", 2)],
        message="deploy was tried 2 times, and 1 are allowed",
    ),
    Case(
        promises.attempts_keep_to_the_policy,
        retried,
        kept=[*STARTED, bad("deploy"), start("deploy", 2)],
        broken=[*STARTED, bad("deploy"), start("deploy", 5)],
        message="deploy was tried 5 times, and 4 are allowed",
    ),
    Case(
        promises.attempts_keep_to_the_policy,
        mended,
        kept=[
            *STARTED,
            bad("deploy"),
            repair("deploy"),
            repaired("deploy", "retry"),
            start("deploy", 2),
        ],
        broken=[*STARTED, bad("deploy"), repair("deploy"), start("deploy", 2)],
        message="deploy was tried 2 times, and 1 are allowed",
    ),
    Case(
        promises.attempts_keep_to_the_policy,
        chain,
        kept=[*HELD, released("deploy"), start("deploy", 2)],
        broken=[*HELD, start("deploy", 2)],
        message="deploy was tried 2 times, and 1 are allowed",
    ),
    Case(
        promises.attempts_keep_to_the_policy,
        chain,
        kept=[*STARTED, done("deploy"), intent("rollback"), undo("deploy")],
        broken=[*STARTED, done("deploy"), intent("rollback"), undo("deploy"), undo("deploy", 2)],
        message="the undo of deploy was tried 2 times, and 1 are allowed",
    ),
    Case(
        promises.tries_are_made,
        retried,
        kept=[*STARTED, bad("deploy", error=LOST), again("deploy"), start("deploy", 2)],
        broken=[*STARTED, bad("deploy", error=LOST), fail("deploy")],
        message="deploy lost its connection and had a try left, and task_failed followed",
    ),
    Case(
        promises.tries_are_made,
        retried,
        kept=[*STARTED, bad("deploy", error=LOST), intent("cancel"), fail("deploy")],
        broken=[*STARTED, bad("deploy", 3, error=LOST), fail("deploy")],
        message="deploy lost its connection and had a try left, and task_failed followed",
    ),
    Case(
        promises.tries_are_made,
        retried,
        kept=[*STARTED, bad("deploy", 4, error=LOST), fail("deploy")],
        broken=[BEGIN, intent("rollback"), undo_bad("deploy"), ev.UndoFailed("deploy", "")],
        message="deploy lost its connection and had a try left, and undo_failed followed",
    ),
    Case(
        promises.tries_are_made,
        mended,
        kept=[
            *(*STARTED, bad("deploy", error=LOST), repair("deploy"), repaired("deploy", "retry")),
            *(start("deploy", 2), bad("deploy", 2, LOST), fail("deploy")),
        ],
        broken=[*STARTED, bad("deploy", error=LOST), fail("deploy")],
        message="deploy lost its connection and had a try left, and task_failed followed",
        state=STARTED,
    ),
    Case(
        promises.a_repair_counts,
        mended,
        kept=[
            *STARTED,
            bad("deploy"),
            repair("deploy"),
            repaired("deploy", "retry"),
            start("deploy", 2),
            fail("deploy"),
        ],
        broken=[
            *STARTED,
            bad("deploy"),
            repair("deploy"),
            repaired("deploy", "retry"),
            fail("deploy"),
        ],
        message="deploy was repaired, to retry, and failed all the same",
    ),
    Case(
        promises.a_repair_counts,
        mended,
        kept=[
            *STARTED,
            bad("deploy"),
            repair("deploy"),
            repaired("deploy", "retry"),
            intent("cancel"),
            fail("deploy"),
        ],
        broken=[
            *STARTED,
            bad("deploy"),
            repair("deploy"),
            repaired("deploy", "continue"),
            intent("cancel"),
            fail("deploy"),
        ],
        message="deploy was repaired, to continue, and failed all the same",
    ),
    Case(
        promises.a_map_keeps_its_limits,
        mapped,
        kept=[
            BEGIN,
            expanded("a", "b", "c"),
            start("deploy[a]"),
            start("deploy[b]"),
            done("deploy[a]"),
            start("deploy[c]"),
        ],
        broken=[
            BEGIN,
            expanded("a", "b", "c"),
            start("deploy[a]"),
            start("deploy[b]"),
            start("deploy[c]"),
        ],
        message="3 items of deploy ran at once",
    ),
    Case(
        promises.a_map_keeps_its_limits,
        mapped,
        kept=[
            BEGIN,
            expanded("a", "b", "c"),
            *map(skipped, ["deploy[a]"]),
            start("deploy[b]"),
            done("deploy[b]"),
            start("deploy[c]"),
            done("deploy[c]"),
            done("deploy"),
        ],
        broken=[
            BEGIN,
            expanded("a", "b", "c"),
            *map(fail, ["deploy[a]", "deploy[b]"]),
            done("deploy"),
        ],
        message="deploy succeeded although 2 of its items did not",
    ),
    Case(
        promises.a_map_keeps_its_limits,
        mapped,
        kept=[
            *(BEGIN, expanded("a", "b"), start("deploy[a]"), start("deploy[b]"), RESUMED),
            *(cut("deploy[a]"), cut("deploy[b]"), found("deploy[a]", "applied")),
            *(found("deploy[b]"), start("deploy[b]", 2), done("deploy[b]", 2), done("deploy")),
        ],
        broken=[
            *(BEGIN, expanded("a", "b"), start("deploy[a]"), start("deploy[b]"), RESUMED),
            *(cut("deploy[a]"), cut("deploy[b]"), done("deploy")),
        ],
        message="deploy succeeded although 2 of its items did not",
    ),
    Case(
        promises.starts_stop_when_the_run_does,
        retried,
        kept=[*HELD, released("deploy"), start("deploy", 2)],
        broken=[*STARTED, intent("cancel"), start("deploy", 2)],
        state=STARTED,
        message="task_started of deploy comes after the intent to cancel",
    ),
    Case(
        promises.starts_stop_when_the_run_does,
        retried,
        kept=[*STARTED, done("deploy"), intent("rollback"), undo("deploy")],
        broken=[*STARTED, intent("rollback"), again("deploy")],
        message="retry_scheduled of deploy comes after the intent to rollback",
    ),
    Case(
        promises.nothing_starts_while_paused,
        chain,
        kept=[*STARTED, ev.RunPaused(""), done("deploy"), ev.RunUnpaused(), start("check")],
        broken=[*STARTED, ev.RunPaused(""), done("deploy"), start("check")],
        message="task_started of check came while the run was paused",
    ),
    Case(
        promises.nothing_starts_while_paused,
        mended,
        kept=[*HELD, released("deploy"), start("deploy", 2)],
        broken=[*HELD, repair("deploy")],
        message="repair_started of deploy came while the run was held",
    ),
    Case(
        promises.nothing_starts_while_paused,
        chain,
        kept=[*HELD, intent("rollback"), undo("deploy")],
        broken=[*HELD, start("check")],
        message="task_started of check came while the run was held",
    ),
    Case(
        promises.a_failure_is_acted_upon,
        chain,
        kept=(good := ended("failed", start("deploy"), done("deploy"), skipped("check"))),
        broken=(wrong := ended("succeeded", start("deploy"), bad("deploy"), fail("deploy"))),
        state=wrong,
        message="deploy failed, on_failure is rollback, and the run succeeded",
    ),
    Case(
        promises.a_failure_is_acted_upon,
        chain,
        kept=[*good[:-2], ev.FailureHandled("deploy", "check"), *good[-2:]],
        broken=(wrong := ended("failed", start("deploy"), bad("deploy"), fail("deploy"))),
        state=wrong,
        message="deploy failed, on_failure is rollback, and the run failed",
    ),
    Case(
        promises.nothing_starts_while_paused,
        chain,
        kept=[
            *(*STARTED, RESUMED, cut("deploy"), intent("hold", "deploy")),
            *(found("deploy"), start("deploy", 2)),
        ],
        broken=[
            *(*STARTED, RESUMED, cut("deploy"), found("deploy", "unknown")),
            *(intent("hold", "deploy"), start("check")),
        ],
        message="task_started of check came while the run was held",
    ),
    Case(
        promises.a_failure_is_acted_upon,
        on_hold,
        kept=[*HELD, released("deploy", "skip"), *ended("succeeded")[1:]],
        broken=(wrong := ended("failed", start("deploy"), bad("deploy"), fail("deploy"))),
        state=wrong,
        message="deploy failed, on_failure is hold, and the run failed",
    ),
    Case(
        promises.a_failure_is_acted_upon,
        keep_going,
        kept=ended("failed", start("deploy"), bad("deploy"), fail("deploy")),
        broken=(wrong := ended("succeeded", start("deploy"), bad("deploy"), fail("deploy"))),
        state=wrong,
        message="deploy failed, on_failure is continue, and the run succeeded",
    ),
    Case(
        promises.commands_are_obeyed,
        chain,
        kept=[
            *STARTED,
            intent("cancel"),
            asked("cancel"),
            asked("pause"),
            asked("rollback", accepted=False),
        ],
        broken=[*STARTED, intent("hold", "deploy"), asked("cancel")],
        message="cancel was accepted, and the intent was not raised",
    ),
    Case(
        promises.commands_are_obeyed,
        chain,
        kept=[*STARTED, intent("rollback"), asked("rollback"), asked("cancel")],
        broken=[*STARTED, intent("cancel"), asked("rollback")],
        message="rollback was accepted, and the intent was not raised",
    ),
    Case(
        promises.the_end_is_what_was_intended,
        chain,
        kept=ended("rolled_back", *TURNED_BACK, undo("check"), undone("check")),
        broken=(wrong := ended("failed", start("deploy"), fail("deploy"), intent("rollback"))),
        state=[one for one in wrong if one != intent("rollback")],
        message="the run was to roll back, and it failed",
    ),
    Case(
        promises.the_end_is_what_was_intended,
        chain,
        kept=ended("cancelled", start("deploy"), intent("cancel"), done("deploy")),
        broken=(wrong := ended("succeeded", start("deploy"), intent("cancel"), done("deploy"))),
        state=wrong,
        message="the run was to stop, and it succeeded",
    ),
    Case(
        promises.intent_never_falls,
        chain,
        kept=[*STARTED, intent("cancel"), intent("rollback")],
        broken=[*STARTED, intent("rollback"), intent("cancel")],
        message="the intent fell from rollback to cancel",
    ),
    Case(
        promises.intent_never_falls,
        chain,
        kept=[*HELD, released("deploy"), start("deploy", 2), intent("cancel")],
        broken=[*STARTED, released("deploy")],
        message="deploy was released while the intent was proceed",
    ),
    Case(
        promises.intent_never_falls,
        chain,
        kept=[
            *HELD,
            released("deploy"),
            start("deploy", 2),
            bad("deploy", 2),
            intent("hold", "deploy"),
        ],
        broken=[*HELD, intent("cancel"), released("deploy")],
        message="deploy was released while the intent was cancel",
    ),
    Case(
        promises.rollback_is_what_was_intended,
        chain,
        kept=[*STARTED, done("deploy"), intent("rollback"), undo("deploy")],
        broken=[*STARTED, done("deploy"), intent("cancel"), undo("deploy")],
        message="the undo of deploy started after no intent to roll back",
    ),
    Case(
        promises.rollback_is_what_was_intended,
        lambda: chain(point_of_no_return=True),
        kept=[*STARTED, done("deploy"), intent("hold", "deploy")],
        broken=[*STARTED, done("deploy"), intent("rollback"), undo("deploy")],
        message="the undo of deploy started after a point of no return",
    ),
    Case(
        promises.rollback_is_what_was_intended,
        chain,
        kept=[BEGIN, *TURNED_BACK, undo("check")],
        broken=[*STARTED, done("deploy"), intent("rollback"), undo("check")],
        message="the undo of check started, and the task never had",
    ),
    Case(
        promises.rollback_leaves_nothing_unsaid,
        chain,
        kept=ended(
            "rolled_back",
            *TURNED_BACK,
            undo("check"),
            undone("check"),
            undo("deploy"),
            undone("deploy"),
        ),
        broken=(wrong := ended("rolled_back", *TURNED_BACK, undo("check"), undone("check"))),
        state=wrong,
        message="deploy is succeeded and is not in the residue",
    ),
    Case(
        promises.rollback_leaves_nothing_unsaid,
        chain,
        kept=ended(
            "rollback_failed", *TURNED_BACK, undo("check"), undone("check"), residue=["deploy"]
        ),
        broken=(
            wrong := ended(
                *("rollback_failed", *TURNED_BACK, undo("check"), undone("check")),
                residue=["check", "deploy"],
            )
        ),
        state=wrong,
        message="check is undone and is in the residue",
    ),
    Case(
        promises.rollback_leaves_nothing_unsaid,
        chain,
        kept=ended("cancelled", *TURNED_BACK[:-1]),
        broken=(wrong := ended("rolled_back", *TURNED_BACK, residue=["deploy", "check"])),
        state=wrong,
        message="the run is rolled_back, with the residue ['deploy', 'check']",
    ),
    Case(
        promises.rollback_goes_backwards,
        chain,
        kept=[BEGIN, *TURNED_BACK, undo("check"), undone("check"), undo("deploy")],
        broken=[BEGIN, *TURNED_BACK, undo("deploy")],
        message="the undo of deploy started before check was undone",
    ),
    Case(
        promises.rollback_goes_backwards,
        diamond,
        kept=[*BOTH_SIDES, intent("rollback"), undo("check"), undone("check"), undo("deploy")],
        broken=[*BOTH_SIDES, intent("rollback"), undo("deploy"), undone("deploy"), undo("check")],
        message="the undo of deploy started before check was undone",
    ),
    Case(
        promises.rollback_goes_backwards,
        mapped,
        kept=(
            good := [
                *(BEGIN, expanded("a"), start("deploy[a]"), done("deploy[a]"), done("deploy")),
                *(start("check"), done("check"), intent("rollback")),
                *(undo("check"), undone("check"), undo("deploy[a]")),
            ]
        ),
        broken=[*good[:-3], undo("deploy[a]")],
        message="the undo of deploy[a] started before check was undone",
    ),
    Case(
        promises.rollback_begins_when_all_is_still,
        chain,
        kept=[*STARTED, intent("rollback"), ev.TaskInterrupted("deploy", 1, ""), undo("deploy")],
        broken=[*STARTED, intent("rollback"), undo("deploy")],
        message="the undo of deploy started while deploy was under way",
    ),
    Case(
        promises.nothing_shielded_is_cut_short,
        chain,
        kept=[
            *(*STARTED, bad("deploy", error=CUT), fail("deploy"), intent("rollback")),
            *(undo("deploy"), undo_bad("deploy")),
        ],
        broken=[*STARTED, intent("rollback"), undo_bad("deploy", error=CUT)],
        message="a wait of deploy was cut short in its undo",
    ),
    Case(
        promises.nothing_shielded_is_cut_short,
        final,
        kept=[*STARTED, ev.FinalizerFailed("first", BOOM, 0.0)],
        broken=[*STARTED, ev.FinalizerFailed("first", CUT, 0.0)],
        message="a wait of first was cut short in its finalizer",
    ),
]


def name(case: Case) -> str:
    return case.promise.__name__


class TestPromises:
    @pytest.mark.parametrize("case", CASES, ids=name)
    def test_is_kept(self, case: Case) -> None:
        """Records that are as they should be keep the promise."""
        assert case.promise(case.tale(case.kept)) is None

    @pytest.mark.parametrize("case", CASES, ids=name)
    def test_is_broken(self, case: Case) -> None:
        """Records that could not be break the promise, which says where."""
        said = case.promise(case.tale(case.broken))

        assert said is not None
        assert said.startswith(case.message)

    @pytest.mark.parametrize("case", CASES, ids=name)
    def test_is_asked(self, case: Case) -> None:
        """Whether a run may break a promise shows in the kinds of its records."""
        assert may_break(case.promise, set(map(type, case.broken)))

    def test_few_are_asked(self) -> None:
        """A run that has only begun cannot break most promises, and is not held to them."""
        asked = [promise for promise in PROMISES if may_break(promise, {ev.RunStarted})]

        assert promises.rollback_goes_backwards not in asked
        assert promises.a_start_happens_once in asked
        assert len(asked) < len(PROMISES) / 2

    def test_each(self) -> None:
        """There are records for every promise."""
        assert {case.promise for case in CASES} == set(PROMISES)

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    def test_says_what(self, promise: Promise) -> None:
        """The opening line of each says in a sentence what has to hold."""
        assert promise.__doc__ is not None
        assert promise.__doc__.partition("\n")[0].endswith(".")

    def test_at_any_time(self) -> None:
        """A run that is cut off at any record has kept every promise so far."""
        workflow = chain(retry=Retry(2, backoff="1s"))
        workflow.add_finalizer("report", print)
        run = simulate(
            workflow,
            fakes={
                name: lambda: None
                for name in ("deploy", "undo of deploy", "undo of check", "finalizer report")
            }
            | {"check": lambda: 1 / 0},
        )
        plan = run.plan

        assert run.status == "rolled_back"
        for count in range(len(run.events) + 1):
            tale = Tale(run.events[:count], RunState.replay(plan, run.events[:count]))
            assert [promise(tale) for promise in PROMISES] == [None] * len(PROMISES)
