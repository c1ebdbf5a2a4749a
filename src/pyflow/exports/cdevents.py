"""Runs as CDEvents in CloudEvents, for what listens to the events of a delivery.

What is told of a run is what the `Webhook` notifier tells, under the same
ids, so a receiver that has had an event from there takes this one for a
repeat. Besides, each task that was started is a task run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyflow.errors import ExportError, shown
from pyflow.exports.runs import each, start_of
from pyflow.notices.story import Story
from pyflow.notices.wording import NOTICES, id_of, message_of, notice_of
from pyflow.notifiers._cdevents import TaskRun, cloud_event, in_cloud_event, task_event
from pyflow.record import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyflow.exports.runs import Trails
    from pyflow.record.audit import AuditTrail
    from pyflow.record.codec import Record

__all__ = ["cdevents"]


def cdevents(trails: Trails, *, source: str = "pyflow") -> Iterator[str]:
    """Yield a CDEvent 0.5.1 in a CloudEvent 1.0, as a line of JSON, for all that is to be told.

    Args:
        trails: The runs.
        source: Where they come from: a URI reference such as ``/deployments/shop``.
            Ids are unique within it, and stay the same at every export.

    Raises:
        ExportError: *source* is empty.
        JournalError: A trail does not begin with its run's first record.
    """
    if not source.strip():
        raise ExportError(f"source={shown(source)} is empty; give a URI reference such as /shop")
    for trail in each(trails):
        for event in _events(trail, source):
            yield json.dumps(event, separators=(",", ":")) + "\n"


def _events(trail: AuditTrail, source: str) -> Iterator[dict[str, Any]]:
    start_of(trail)
    story, tasks = Story(trail[0].run_id), _Tasks()
    for record in trail:
        story.tell([record])
        if notice_of(record, story) in NOTICES:
            message = message_of(record, story)
            tasks.uri = tasks.uri or next((url for _, url in message.links), None)
            yield cloud_event(message, source=source)
        run = tasks.take(record)
        if run is not None:
            yield in_cloud_event(task_event(run, source=source))


class _Tasks:
    """Tells when tasks begin and end: a task begins once, however often it is tried."""

    def __init__(self) -> None:
        self.uri: str | None = None
        """Where a person reads about the run."""
        self._attempts: dict[str, int] = {}
        self._errors: dict[str, str] = {}

    def take(self, record: Record) -> TaskRun | None:
        """Take in the next record, and return what it says of a task, if it says so."""
        event, task = record.event, record.task
        if isinstance(event, ev.AttemptFailed):
            self._errors[event.task] = f"{event.error.type}: {event.error.message}"
        if isinstance(event, ev.TaskStarted):
            is_new = event.task not in self._attempts
            self._attempts[event.task] = event.attempt
            return self._run(record, event.task) if is_new else None
        outcome = OUTCOMES.get(type(event))
        if outcome is None or task not in self._attempts:
            return None
        reason = self._errors.pop(task, "") or str(getattr(event, "reason", ""))
        run = self._run(record, task, outcome, "" if outcome == "success" else reason)
        del self._attempts[task]
        return run

    def _run(
        self, record: Record, task: str, outcome: str | None = None, errors: str = ""
    ) -> TaskRun:
        # The id of the message about this record is another event's.
        own, attempts = f"{id_of(record)}-task", self._attempts[task]
        return TaskRun(own, record.at, record.run_id, task, attempts, self.uri, outcome, errors)


OUTCOMES: dict[type[ev.Event], str] = {
    ev.TaskSucceeded: "success",
    ev.TaskFailed: "failure",
    ev.TaskCancelled: "cancel",
    ev.TaskSkipped: "cancel",
    ev.TaskInterrupted: "error",
}
"""With what a task that has begun may end. One in doubt that is tried again begins anew."""
