"""From a record, and the story of its run so far, to the message that tells it.

Pure: equal records give equal messages, in every process and after every
crash, which is what makes a message's id stable.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from pyflow.errors import DefinitionError
from pyflow.messages import ENDINGS, Message, RunInfo, Severity
from pyflow.net.url import parse_url
from pyflow.notices.template import PARAMETER, Template
from pyflow.record import events as ev
from pyflow.record.marks import mark_of
from pyflow.record.rendering import detail_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from pyflow.notices.story import Story
    from pyflow.record.codec import Record

__all__ = ["NOTICES", "id_of", "message_of", "notice_of"]

NOTICES: Mapping[str, Severity] = MappingProxyType(
    {
        "started": "info",
        "resumed": "info",
        "paused": "warning",
        "unpaused": "info",
        "approval_requested": "warning",
        "approval_answered": "info",
        "task_failed": "error",
        "interrupted": "warning",
        "held": "warning",
        "released": "info",
        "cancelling": "warning",
        "rolling_back": "error",
        "undo_failed": "critical",
        "finalizer_failed": "warning",
        "succeeded": "info",
        "failed": "error",
        "rolled_back": "error",
        "rollback_failed": "critical",
        "cancelled": "warning",
    }
)
"""What people are told about unless they choose, and how much it matters."""

KINDS: Mapping[type[ev.Event], str] = MappingProxyType(
    {
        ev.RunStarted: "started",
        ev.RunResumed: "resumed",
        ev.RunPaused: "paused",
        ev.RunUnpaused: "unpaused",
        ev.ApprovalRequested: "approval_requested",
        ev.ApprovalAnswered: "approval_answered",
        ev.TaskInterrupted: "interrupted",
        ev.HoldReleased: "released",
        ev.UndoFailed: "undo_failed",
        ev.FinalizerFailed: "finalizer_failed",
    }
)
AIMS = MappingProxyType({"hold": "held", "cancel": "cancelling", "rollback": "rolling_back"})
NOT_IN_ID = re.compile(r"[^A-Za-z0-9-]+")

FIELDS_MAX = 10
VALUE_CHARS_MAX = 1_000
TITLE_CHARS_MAX = 250
TEXT_CHARS_MAX = 8_000


def notice_of(record: Record, story: Story) -> str:
    """Return what *record* means to people: a name of `NOTICES`, else its kind.

    *story* has taken the record in already.
    """
    event = record.event
    if isinstance(event, ev.IntentRaised):
        # A question is told as such; that the run waits for the answer is no second message.
        is_asking = event.intent == "hold" and event.task in story.questions
        return event.kind if is_asking else AIMS[event.intent]
    if isinstance(event, ev.TaskFailed):
        return event.kind if not event.allowed else "task_failure_allowed"
    if isinstance(event, ev.RunFinished):
        return event.status
    return KINDS.get(type(event), event.kind)


def message_of(record: Record, story: Story, template: Template | None = None) -> Message:
    """Return what to say about *record*, which *story* has taken in already."""
    event = notice_of(record, story)
    severity = NOTICES.get(event, "info")
    values = _values(record, story, event, severity)
    title, text = (template or Template()).render(values)
    return Message(
        id=id_of(record),
        event=event,
        severity=severity,
        title=_cut(title, TITLE_CHARS_MAX),
        text=_cut(text, TEXT_CHARS_MAX),
        summary=_summary(story, values),
        fields=_fields(values, story),
        links=_links(values),
        at=record.at,
        run=RunInfo(
            id=record.run_id,
            workflow=story.workflow,
            status=story.status,
            environment=story.environment,
            tier=story.tier,
            initiator=story.initiator,
            started_at=story.started_at,
            params=dict(story.params),
            ci=dict(story.ci),
        ),
    )


def id_of(record: Record) -> str:
    """Return the id of the message about *record*."""
    return f"{NOT_IN_ID.sub('-', record.run_id)}-{record.seq}"


def _values(record: Record, story: Story, event: str, severity: Severity) -> dict[str, str]:
    """Return what the variables of a template stand for."""
    task = record.task or getattr(record.event, "name", "") or ""
    about = task if event in ("task_failed", "attempt_failed") else None
    tells_failure = severity in ("error", "critical") or event == "held"
    values = {
        "actor": story.ci.get("actor", ""),
        "anchor": mark_of(record) if event in ENDINGS else "",
        "ci_url": story.ci.get("run_url", ""),
        "commit": story.ci.get("commit", ""),
        "detail": detail_of(record.event),
        "elapsed": _elapsed(record.at - story.started_at) if story.started_at else "",
        "environment": story.environment or "",
        "event": event,
        "failure": story.failure(about) if tells_failure else "",
        "host": story.host,
        "in_doubt": ", ".join(story.in_doubt),
        "initiator": story.initiator,
        "not_undone": ", ".join(story.not_undone) if story.status != "succeeded" else "",
        "params": ", ".join(f"{name}={value}" for name, value in story.params.items()),
        "progress": f"{story.done} of {len(story.tasks)} tasks",
        "question": getattr(record.event, "question", None) or "",
        "reason": _reason(record, story, event),
        "ref": story.ci.get("ref", ""),
        "repository": story.ci.get("repository", ""),
        "residue": ", ".join(_residue(story)),
        "run_id": record.run_id,
        "severity": severity,
        "status": story.status,
        "task": task,
        "tier": story.tier or "",
        "undone": ", ".join(story.undone),
        "where": f"{story.workflow} to {story.environment}"
        if story.environment
        else story.workflow,
        "workflow": story.workflow,
    }
    values["to_do"] = _to_do(event, record, story)
    values["headline"] = _HEADLINES.get(event, _plain)(values)
    return values | {f"{PARAMETER}{name}": value for name, value in story.params.items()}


def _residue(story: Story) -> list[str]:
    errors = story.undo_errors
    return [f"{n} ({errors[n]})" if n in errors else n for n in story.still_applied]


def _reason(record: Record, story: Story, event: str) -> str:
    said = getattr(record.event, "reason", None) or getattr(record.event, "comment", None) or ""
    if event in ("succeeded", "task_failed", "undo_failed"):
        return ""  # why no further try was made is not why it failed
    return said or (story.reason if event in NOTICES and event != "started" else "")


def _to_do(event: str, record: Record, story: Story) -> str:
    """Return what a person has to do now, with the call that does it."""
    run, task = repr(record.run_id), repr(record.task or getattr(record.event, "task", None) or "")
    if event == "approval_requested":
        return f"answer with engine.approve({run}, {task}, by=...) or engine.reject({run}, {task}, by=...)"
    if event == "held" and record.task in story.in_doubt:
        return (
            f"find out whether {record.task} took effect, and say so: "
            f"engine.resolve({run}, {task}, 'applied', by=..., reason=...), or 'not_applied'"
        )
    words = {
        "held": f"decide: engine.retry({run}, {task}, by=...), engine.skip({run}, {task}, by=...) "
        f"or engine.cancel({run}, by=...)",
        "interrupted": "nothing yet; the run finds out what became of it, or asks you",
        "paused": f"engine.unpause({run}, by=...), or engine.resume({run}, workflow) later",
        "failed": f"nothing was taken back; engine.rollback({run}, workflow, reason=...) would",
        "rollback_failed": "take back by hand what is still applied, or try again: "
        f"engine.rollback({run}, workflow, reason=...)",
    }
    return words.get(event, "")


def _plain(values: Mapping[str, str]) -> str:
    about = f" {values['task']}" if values["task"] else ""
    return f"{values['event'].replace('_', ' ')}{about}"


_HEADLINES: Mapping[str, Callable[[Mapping[str, str]], str]] = MappingProxyType(
    {
        "started": lambda v: f"started by {v['initiator']}" if v["initiator"] else "started",
        "resumed": lambda _: "goes on where it was cut off",
        "paused": lambda _: "is paused",
        "unpaused": lambda _: "goes on",
        "approval_requested": lambda v: f"{v['task']} needs an answer",
        "approval_answered": lambda v: f"{v['task']}: {v['detail']}",
        "task_failed": lambda v: f"{v['task']} failed",
        "interrupted": lambda v: f"{v['task']} was interrupted, and nobody knows its outcome",
        "held": lambda _: "waits for a decision",
        "released": lambda v: f"goes on: {v['detail']}",
        "cancelling": lambda _: "is being cancelled",
        "rolling_back": lambda _: "is rolling back",
        "undo_failed": lambda v: f"{v['task']} could not be taken back",
        "finalizer_failed": lambda v: f"the finalizer {v['task']} failed",
        "succeeded": lambda v: f"succeeded after {v['elapsed']}",
        "failed": lambda v: f"failed after {v['elapsed']}",
        "rolled_back": lambda v: f"failed and was rolled back after {v['elapsed']}",
        "rollback_failed": lambda v: f"could not be rolled back: {v['residue'] or 'see the trail'}",
        "cancelled": lambda v: f"was cancelled after {v['elapsed']}",
    }
)


def _summary(story: Story, values: Mapping[str, str]) -> str:
    status = story.status.replace("_", " ")
    return _cut(
        f"{values['where']}: {status}, {values['progress']}, {values['elapsed']}", TITLE_CHARS_MAX
    )


def _fields(values: Mapping[str, str], story: Story) -> tuple[tuple[str, str], ...]:
    environment = values["environment"]
    if environment and story.tier and story.tier != environment:
        environment = f"{environment} ({story.tier})"
    pairs = (
        ("Environment", environment),
        ("Started by", values["initiator"]),
        ("Progress", values["progress"] if story.tasks else ""),
        ("Parameters", values["params"]),
        ("Commit", " of ".join(p for p in (values["commit"][:12], values["repository"]) if p)),
        ("Ref", values["ref"]),
        ("Run", values["run_id"]),
        ("Anchor", values["anchor"]),
    )
    return tuple((name, _cut(value, VALUE_CHARS_MAX)) for name, value in pairs if value)[
        :FIELDS_MAX
    ]


def _links(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    url = values["ci_url"]
    try:
        parse_url(url)
    except DefinitionError:
        return ()
    return (("Pipeline", url),)


def _elapsed(span: timedelta) -> str:
    whole_s = max(0.0, span.total_seconds())
    if whole_s < 60:
        return f"{whole_s:.1f} s"
    minutes, s = divmod(int(whole_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {s}s"


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"
