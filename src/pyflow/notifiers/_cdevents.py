"""A message as a CDEvent 0.5.1 in a CloudEvent 1.0.

A run is a pipeline run in the words of CDEvents, and a task a task run, so
their starts and ends are that vocabulary's own events. The rest are custom
events, named as its specification has it:
``dev.cdeventsx.pyflow-run.<event>.0.1.0``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pyflow.frozen import frozen
from pyflow.messages import ENDINGS
from pyflow.notifiers._text import cut, plain

if TYPE_CHECKING:
    from datetime import datetime

    from pyflow.messages import Message

__all__ = ["TaskRun", "cd_event", "cloud_event", "in_cloud_event", "task_event"]

SPEC = "0.5.1"
ERRORS_CHARS_MAX = 4_000
STARTED = "dev.cdevents.pipelinerun.started.0.3.0"
FINISHED = "dev.cdevents.pipelinerun.finished.0.3.0"
TASK_STARTED = "dev.cdevents.taskrun.started.0.3.0"
TASK_FINISHED = "dev.cdevents.taskrun.finished.0.3.0"
OUTCOMES = {
    "succeeded": "success",
    "failed": "failure",
    "rolled_back": "failure",
    "rollback_failed": "error",
    "cancelled": "cancel",
}


def cd_event(message: Message, *, source: str) -> dict[str, Any]:
    """Return *message* as a CDEvent, by https://github.com/cdevents/spec at v0.5.1."""
    kind, content = _kind_and_content(message)
    return {
        "context": _context(message.id, kind, message.at, message.run.id, source),
        "subject": {"id": message.run.id, "source": source, "content": content},
        "customData": _custom_data(message),
        "customDataContentType": "application/json",
    }


@frozen
class TaskRun:
    """A task of a run that has begun, or has ended."""

    id: str
    """Tells the event apart from all others of its source."""

    at: datetime
    """When it happened."""

    run_id: str
    """The run."""

    task: str
    """The task."""

    attempts: int
    """How often it was tried so far."""

    uri: str | None = None
    """Where a person reads about it."""

    outcome: str | None = None
    """``success``, ``failure``, ``cancel`` or ``error``; None where it has begun."""

    errors: str = ""
    """What went wrong."""


def task_event(run: TaskRun, *, source: str) -> dict[str, Any]:
    """Return what has become of a task as a CDEvent."""
    pipeline = {"id": run.run_id, "source": source}
    content: dict[str, Any] = {"taskName": run.task, "pipelineRun": pipeline}
    content["uri"] = run.uri or uri_of(run.run_id)
    if run.outcome is not None:
        content["outcome"] = run.outcome
    if run.errors:
        content["errors"] = cut(plain(run.errors), ERRORS_CHARS_MAX)
    kind = TASK_STARTED if run.outcome is None else TASK_FINISHED
    return {
        "context": _context(run.id, kind, run.at, run.run_id, source),
        "subject": {"id": f"{run.run_id}/{run.task}", "source": source, "content": content},
        "customData": {"attempts": run.attempts},
        "customDataContentType": "application/json",
    }


def uri_of(run_id: str) -> str:
    """Return the name of a run that no page is known of: what has begun needs a URI."""
    return f"pyflow:run/{quote(run_id, safe='', errors='replace')}"


def _context(id: str, kind: str, at: datetime, run_id: str, source: str) -> dict[str, Any]:  # noqa: A002 - its name there
    return {
        "specversion": SPEC,
        "id": id,
        "source": source,
        "type": kind,
        "timestamp": at.isoformat(),
        "chainId": run_id,
    }


def cloud_event(message: Message, *, source: str) -> dict[str, Any]:
    """Return *message* as a CDEvent in the structured JSON form of a CloudEvent."""
    return in_cloud_event(cd_event(message, source=source))


def in_cloud_event(event: dict[str, Any]) -> dict[str, Any]:
    """Return a CDEvent in the structured JSON form of a CloudEvent."""
    context = event["context"]
    return {
        "specversion": "1.0",
        "id": context["id"],
        "source": context["source"],
        "type": context["type"],
        "time": context["timestamp"],
        "subject": event["subject"]["id"],
        "datacontenttype": "application/json",
        "data": event,
    }


def _kind_and_content(message: Message) -> tuple[str, dict[str, Any]]:
    uri = next((url for _, url in message.links), None) or uri_of(message.run.id)
    content: dict[str, Any] = {"pipelineName": message.run.workflow, "uri": uri}
    if message.event == "started":
        return STARTED, content
    if message.event in ENDINGS:
        content["outcome"] = OUTCOMES[message.event]
        if message.event != "succeeded" and message.text:
            content["errors"] = cut(plain(message.text), ERRORS_CHARS_MAX)
        return FINISHED, content
    predicate = "".join(char for char in message.event if char.isalpha() and char.isascii())
    return f"dev.cdeventsx.pyflow-run.{predicate}.0.1.0", content


def _custom_data(message: Message) -> dict[str, Any]:
    run = message.run
    return {
        "event": message.event,
        "severity": message.severity,
        "title": plain(message.title),
        "status": run.status,
        "environment": run.environment,
        "initiator": run.initiator,
        "commit": run.ci.get("commit"),
    }
