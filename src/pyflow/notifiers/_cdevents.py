"""A message as a CDEvent 0.5.1 in a CloudEvent 1.0.

A run is a pipeline run in the words of CDEvents, so its start and its end are
that vocabulary's own events. The rest are custom events, named as its
specification has it: ``dev.cdeventsx.pyflow-run.<event>.0.1.0``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.messages import ENDINGS
from pyflow.notifiers._text import cut, plain

if TYPE_CHECKING:
    from pyflow.messages import Message

__all__ = ["cd_event", "cloud_event"]

SPEC = "0.5.1"
ERRORS_CHARS_MAX = 4_000
STARTED = "dev.cdevents.pipelinerun.started.0.3.0"
FINISHED = "dev.cdevents.pipelinerun.finished.0.3.0"
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
    context = {
        "specversion": SPEC,
        "id": message.id,
        "source": source,
        "type": kind,
        "timestamp": message.at.isoformat(),
        "chainId": message.run.id,
    }
    return {
        "context": context,
        "subject": {"id": message.run.id, "source": source, "content": content},
        "customData": _custom_data(message),
        "customDataContentType": "application/json",
    }


def cloud_event(message: Message, *, source: str) -> dict[str, Any]:
    """Return *message* as a CDEvent in the structured JSON form of a CloudEvent."""
    event = cd_event(message, source=source)
    context = event["context"]
    return {
        "specversion": "1.0",
        "id": context["id"],
        "source": source,
        "type": context["type"],
        "time": context["timestamp"],
        "subject": event["subject"]["id"],
        "datacontenttype": "application/json",
        "data": event,
    }


def _kind_and_content(message: Message) -> tuple[str, dict[str, Any]]:
    content: dict[str, Any] = {"pipelineName": message.run.workflow}
    uri = next((url for _, url in message.links), None)
    if uri is not None:
        content["uri"] = uri
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
