"""What is said about real runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import pyflow
from pyflow.messages import Message
from pyflow.notices.story import Story
from pyflow.notices.template import Template
from pyflow.notices.wording import NOTICES, message_of, notice_of
from pyflow.record import events as ev
from pyflow.record.codec import GENESIS, Record, seal
from support.notices import AT

CI = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_RUN_ID": "7",
    "GITHUB_SHA": "0123456789abcdef",
    "GITHUB_REF_NAME": "main",
    "GITHUB_ACTOR": "ada",
}


def boom() -> None:
    raise OSError("no route to host")


def shop(*, undo: Any = None, **options: Any) -> pyflow.Workflow:
    workflow = pyflow.Workflow("shop", params={"version": "2.3.1", "token": "x"}, **options)
    workflow.add_task("migrate", lambda: 1)
    workflow.add_task("deploy", lambda: 2, depends_on=["migrate"])
    workflow.add_task("check", boom, depends_on=["deploy"])
    workflow.add_recovery("migrate", undo or (lambda: None))
    workflow.add_recovery("deploy", lambda: None)
    return workflow


def told(workflow: pyflow.Workflow, template: Template | None = None) -> dict[str, Message]:
    """Run *workflow*, and return what people are told, by event."""
    with pyflow.Engine(environ=CI) as engine:
        run = engine.execute(workflow, environment=pyflow.Environment("production", tier="live"))
    return telling(run.audit_trail, template)


def telling(trail: Any, template: Template | None = None) -> dict[str, Message]:
    story = Story(trail[0].run_id)
    messages: dict[str, Message] = {}
    for record in trail:
        story.tell([record])
        if notice_of(record, story) in NOTICES:
            message = message_of(record, story, template)
            messages[message.event] = message
    return messages


def after(*events: ev.Event) -> Message:
    """Return what is said about the last of *events*."""
    start = ev.RunStarted("shop", "f", {}, {"id": "ada", "source": "given"}, {}, {"a": "1"})
    records = seal("r", [start, *events], at=AT, seq=0, prev=GENESIS)
    return message_of(records[-1], Story("r").tell(records))


class TestRuns:
    def test_success(self) -> None:
        """A run that succeeds is told at its start and at its end."""
        workflow = pyflow.Workflow("shop")
        workflow.add_task("a", lambda: None)

        messages = told(workflow)

        assert list(messages) == ["started", "succeeded"]
        start, end = messages.values()
        assert start.title == "shop to production: started by ada"
        assert end.title.startswith("shop to production: succeeded after ")
        assert (start.text, end.text) == ("", "")
        assert end.summary.startswith("shop to production: succeeded, 1 of 1 tasks")

    def test_context(self) -> None:
        """What goes out, who started it, from where, is in the fields and links."""
        start = told(shop())["started"]

        assert dict(start.fields) == {
            "Environment": "production (live)",
            "Started by": "ada",
            "Progress": "0 of 3 tasks",
            "Parameters": "version=2.3.1, token=x",
            "Commit": "0123456789ab of acme/shop",
            "Ref": "main",
            "Run": start.run.id,
        }
        assert start.links == (("Pipeline", "https://github.com/acme/shop/actions/runs/7"),)
        assert start.run.params == {"version": "2.3.1", "token": "x"}

    def test_rolled_back(self) -> None:
        """A run that is rolled back tells what failed and why, and what was taken back."""
        messages = told(shop())

        assert list(messages) == ["started", "task_failed", "rolling_back", "rolled_back"]
        end = messages["rolled_back"]
        assert end.severity == "error"
        assert end.text == (
            "Why: check failed\n"
            "Failed: check: OSError: no route to host\n"
            "Rolled back: deploy, migrate\n"
            "Never taken back, for want of an undo: check"
        )
        assert "2 of 3 tasks" in end.summary

    def test_rollback_failed(self) -> None:
        """One that cannot be tells what is still applied, why, and what to do now."""
        messages = told(shop(undo=boom))
        end = messages["rollback_failed"]

        assert messages["undo_failed"].severity == end.severity == "critical"
        assert end.title.endswith("could not be rolled back: migrate (OSError: no route to host)")
        assert "Still applied: migrate (OSError: no route to host)" in end.text
        assert f"engine.rollback({end.run.id!r}, workflow, reason=...)" in end.text

    def test_stopped(self) -> None:
        """One that fails and stops says how to take it back."""
        end = told(shop(on_failure="stop"))["failed"]

        assert "nothing was taken back" in end.text

    def test_held(self) -> None:
        """One that waits for a decision says which, and how to make it."""
        messages = told(shop(on_failure="hold"))

        held = messages["held"]
        assert held.title == "shop to production: waits for a decision"
        assert "Failed: check: OSError" in held.text
        assert f"engine.retry({held.run.id!r}, 'check', by=...)" in held.text

    def test_approval(self) -> None:
        """A question is told once, with how to answer it."""
        workflow = pyflow.Workflow("ask")
        workflow.add_approval("gate", "Ship it?")

        messages = told(workflow)

        assert list(messages) == ["started", "approval_requested"]
        assert messages["approval_requested"].text.startswith("Ship it?\nWhat to do: answer with")

    def test_template(self) -> None:
        """A template of the user's own has every variable at hand."""
        template = Template("$event $param_version", "$undone / $not_undone / $commit / $actor")

        end = told(shop(), template)["rolled_back"]

        assert end.title == "rolled_back 2.3.1"
        assert end.text == "deploy, migrate / check / 0123456789abcdef / ada"


class TestEvents:
    @pytest.mark.parametrize(
        ("events", "event", "words"),
        [
            ((ev.RunPaused("lunch", "bob"),), "paused", "Why: lunch"),
            ((ev.RunPaused("x"), ev.RunUnpaused("over", "bob")), "unpaused", "Why: over"),
            ((ev.IntentRaised("cancel", "bob said so"),), "cancelling", "Why: bob said so"),
            (
                (ev.TaskInterrupted("a", 1, "the process died"),),
                "interrupted",
                "In doubt: a",
            ),
            (
                (ev.TaskInterrupted("a", 1, "it died"), ev.IntentRaised("hold", "unclear", "a")),
                "held",
                "engine.resolve('r', 'a', 'applied'",
            ),
            ((ev.FinalizerFailed("tell", ev.ErrorInfo("E", "x"), 0.1),), "finalizer_failed", ""),
            ((ev.HoldReleased("retry", "a", "bob", "fixed"),), "released", "Why: fixed"),
            (
                (ev.RunResumed({"id": "bob", "source": "given"}, {}),),
                "resumed",
                "",
            ),
        ],
    )
    def test_says(self, events: tuple[ev.Event, ...], event: str, words: str) -> None:
        """Each event has its words."""
        message = after(*events)

        assert message.event == event
        assert words in message.text
        assert message.title.startswith("shop: ")

    def test_in_doubt_no_more(self) -> None:
        """What was found out is in doubt no more."""
        message = after(
            ev.TaskInterrupted("a", 1, "it died"),
            ev.InterruptResolved("a", "not_applied", "person"),
            ev.RunPaused("x"),
        )

        assert "In doubt" not in message.text

    def test_handled(self) -> None:
        """A failure that was handled is not what a run is said to have failed of."""
        message = after(
            ev.AttemptFailed("a", 1, ev.ErrorInfo("E", "x"), 0.1),
            ev.TaskFailed("a", "tried once"),
            ev.FailureHandled("a", "b"),
            ev.RunFinished("failed", 5),
        )

        assert "Failed: a" not in message.text

    def test_allowed(self) -> None:
        """A failure that is allowed is no notice."""
        message = after(ev.TaskFailed("a", "tried once", allowed=True))

        assert message.event not in NOTICES

    def test_bad_link(self) -> None:
        """A CI system's URL that is none is no link."""
        start = ev.RunStarted(
            "shop", "f", {}, {"id": "a"}, {"ci": {"run_url": "javascript:alert(1)"}}, {}
        )
        record: Record = seal("r", [start], at=AT, seq=0, prev=GENESIS)[0]

        assert message_of(record, Story("r").tell([record])).links == ()

    def test_stable(self) -> None:
        """Equal records give equal messages, with ids of letters, digits and hyphens."""
        one, two = after(ev.RunPaused("x")), after(ev.RunPaused("x"))

        assert one == two
        assert one.id == "r-2"

    def test_progress(self) -> None:
        """What was skipped counts as done; what was blocked or cancelled does not."""
        tasks = dict.fromkeys("abcd", "1")
        start = ev.RunStarted("shop", "f", {}, {"id": "ada"}, {}, tasks)
        events = (
            ev.TaskSkipped("a", "not needed"),
            ev.TaskBlocked("b", "c failed"),
            ev.TaskFailed("c", "tried once", ev.ErrorInfo("OSError", "gone")),
            ev.TaskCancelled("d", "stopping"),
            ev.UndoBlocked("a", ["c"], "c is not undone"),
            ev.RunFinished("rollback_failed", 7),
        )
        records = seal("r", [start, *events], at=AT, seq=0, prev=GENESIS)

        message = message_of(records[-1], Story("r").tell(records))

        assert dict(message.fields)["Progress"] == "1 of 4 tasks"
        assert "Failed: c: OSError: gone" in message.text
        assert "Still applied: a" in message.text

    def test_answers(self) -> None:
        """A question that was answered is asked no more, and the answer is told."""
        asked = ev.ApprovalRequested("a", "Ship it?", "d")
        answered = ev.ApprovalAnswered("a", "reject", "d", "bob", "not today")

        message = after(asked, answered)

        assert message.title == "shop: a: reject by bob: not today"
        assert message.text == "Why: not today"

    @pytest.mark.parametrize(
        ("span_s", "words"), [(4.04, "4.0 s"), (61, "1m 1s"), (7_325, "2h 2m"), (-5, "0.0 s")]
    )
    def test_elapsed(self, span_s: float, words: str) -> None:
        """How long it took is told in few words, also where the clock went back."""
        start = ev.RunStarted("shop", "f", {}, {"id": "ada"}, {}, {})
        records = seal("r", [start], at=AT, seq=0, prev=GENESIS)
        later = AT + timedelta(seconds=span_s)
        records += seal(
            "r", [ev.RunFinished("succeeded", 2)], at=later, seq=1, prev=records[-1].hash
        )

        message = message_of(records[-1], Story("r").tell(records))

        assert message.title == f"shop: succeeded after {words}"

    def test_limits(self) -> None:
        """However long a reason is, a message is not."""
        message = after(ev.RunPaused("x" * 99_000))

        assert len(message.text) == 8_000
        assert all(len(value) <= 1_000 for _, value in message.fields)
