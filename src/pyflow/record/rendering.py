"""Records in words: the heading and the table of a printed audit trail.

Texts come from tasks, people and other systems. Whatever they hold, a record
is one line, and no control character reaches the terminal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyflow.record import events as ev

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyflow.record.codec import Record

__all__ = [
    "columns_of",
    "definition_of",
    "detail_of",
    "fitted",
    "heading_of",
    "table_of",
    "text_of",
]

HEAD = ("#", "time", "what", "task", "detail")
TASK_COLUMNS_MAX = 48
DETAIL_COLUMNS_MAX = 110
HEADING_COLUMNS_MAX = 200
RULE_COLUMNS = 40
CHARS_MAX = 10_000


def heading_of(record: Record) -> list[str]:
    """Return who, what, when and where, as lines."""
    event = record.event
    if not isinstance(event, ev.RunStarted):
        return [fitted(f"run {record.run_id} (a part of its trail)", HEADING_COLUMNS_MAX)]
    pairs = {
        "started": f"{record.at:%Y-%m-%d %H:%M:%S UTC} on {event.origin.get('host', 'an unknown host')}",
        "initiator": f"{event.initiator.get('id')} ({event.initiator.get('source')})",
        "environment": _environment(event.environment or {}),
        "parameters": ", ".join(f"{name}={text_of(value)}" for name, value in event.params.items()),
        "pipeline": _pipeline(event.origin.get("ci") or {}),
        "source": definition_of(event.origin.get("source") or {}),
    }
    lines = [fitted(f"run {record.run_id} of {event.workflow}", HEADING_COLUMNS_MAX)]
    lines += [
        f"  {name:<12} {fitted(text, HEADING_COLUMNS_MAX)}" for name, text in pairs.items() if text
    ]
    return lines


def table_of(records: Sequence[Record]) -> list[str]:
    """Return a line for each of *records*, in columns, under a head."""
    start = records[0].at
    rows = [
        (
            str(record.seq),
            f"{(record.at - start).total_seconds():+.3f} s",
            record.kind.replace("_", " "),
            fitted(record.task or getattr(record.event, "name", ""), TASK_COLUMNS_MAX),
            fitted(detail_of(record.event), DETAIL_COLUMNS_MAX),
        )
        for record in records
    ]
    widths = [max(columns_of(row[n]) for row in (HEAD, *rows)) for n in range(len(HEAD))]
    rule = tuple("─" * width for width in (*widths[:-1], min(widths[-1], RULE_COLUMNS)))

    def line(row: tuple[str, ...]) -> str:
        gaps = [" " * (width - columns_of(text)) for text, width in zip(row, widths, strict=True)]
        number, time, what, task, detail = row
        aligned = (gaps[0] + number, gaps[1] + time, what + gaps[2], task + gaps[3], detail)
        return "  ".join(aligned).rstrip()

    return [line(HEAD), line(rule), *map(line, rows)]


def fitted(text: object, columns: int) -> str:
    """Return *text* on one line, in visible characters, cut to *columns*."""
    line = " ".join(str(text)[:CHARS_MAX].split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    if len(line) <= columns and columns_of(line) <= columns:
        return line
    kept = line[: columns - 1]
    while columns_of(kept) >= columns:  # a wide character takes two
        kept = kept[:-1]
    return kept + "…"


def columns_of(text: str) -> int:
    """Return how many columns *text* takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - few texts need it

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def detail_of(event: ev.Event) -> str:
    """Return what *event* says, in a sentence."""
    words = _WORDS.get(type(event))
    if words is None:
        return ""
    try:
        return words(event)
    except (AttributeError, KeyError, TypeError, ValueError):
        return repr(event)  # a trail from elsewhere may hold anything


def _environment(environment: dict[str, Any]) -> str:
    tier = environment.get("tier")
    return f"{environment.get('name', '')}{f' ({tier})' if tier else ''}"


def _pipeline(ci: dict[str, Any]) -> str:
    return str(ci.get("run_url") or ci.get("run_id") or ci.get("system") or "")


def definition_of(source: dict[str, Any]) -> str:
    """Return in which file at which commit a definition is, in words; nothing where no commit is known."""
    commit, file = source.get("commit"), source.get("file", "")
    if not commit:
        return ""
    ref = f" ({source['ref']})" if source.get("ref") else ""
    changed = ", with changes that are in no commit" if source.get("dirty") else ""
    return f"{file} at {str(commit)[:12]}{ref}{changed}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def text_of(value: Any) -> str:
    """Return JSON data as people write it; a secret is its mask."""
    if isinstance(value, str):
        return value
    match value:
        case {"$secret": _, **others} if not others:
            return "***"
        case {"$object": description, **others} if not others:
            return str(description)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _said(*parts: str | None) -> str:
    return ": ".join(part for part in parts if part)


def _by(by: str | None, reason: str | None) -> str:
    return _said(f"by {by}" if by else "", reason)


def _error(error: ev.ErrorInfo | None) -> str:
    return _said(error.type, error.message) if error is not None else ""


def _output(event: ev.TaskSucceeded) -> str:
    took = f"in {_span(event.duration_s)}"
    made = "repaired, " if event.repaired else ""
    return (
        f"{made}{took}" if event.output is None else f"{made}{took}, gave {text_of(event.output)}"
    )


def _span(duration_s: float) -> str:
    return f"{duration_s * 1000:.1f} ms" if duration_s < 1 else f"{duration_s:.3f} s"


def _tried(event: Any) -> str:
    return f"attempt {event.attempt} after {_span(event.duration_s)}: {_error(event.error)}"


def _waits(event: Any) -> str:
    return f"attempt {event.attempt} in {_span(event.delay_s)}"


def _command(event: ev.CommandReceived) -> str:
    refused = f" (refused: {event.note})" if event.note else " (refused)"
    note = "" if event.accepted else refused
    about = f" {event.task}" if event.task else ""
    by = _by(event.by, event.reason)
    return f"{event.command}{about}{note}" + (f", {by}" if by else "")


def _change(event: ev.ChangeRecorded) -> str:
    before, after = ("none" if v is None else text_of(v) for v in (event.before, event.after))
    return f"{event.resource}: {before} -> {after}"


def _reading(event: ev.ReadingTaken) -> str:
    calls = f" after {_count(event.calls, 'look')}" if event.calls else ""
    evidence = f", {text_of(event.evidence)}" if event.evidence else ""
    # The probe comes last: its repr is long, and what was seen matters more.
    return f"{event.health}{calls}{evidence}, says {event.probe}"


def _measured(event: ev.MeasurementTaken) -> str:
    then = "" if event.then == "go_on" else f", then {event.then.replace('_', ' ')}"
    reason = str((event.judgement or {}).get("reason", ""))
    return _said(f"{event.check} {event.number}: {event.verdict}{then}", reason)


def _holder(event: ev.HolderAsked) -> str:
    what = "cancel" if event.command is None else "roll back"
    return f"run {event.holder}, which has {event.resource}, to {what}"


def _outcome(event: ev.OutcomeDecided) -> str:
    applied = f"; still applied: {', '.join(event.residue)}" if event.residue else ""
    left = f"; no undo for {', '.join(event.not_undone)}" if event.not_undone else ""
    return f"{event.status}: {event.reason}{applied}{left}"


_WORDS: dict[type[ev.Event], Callable[[Any], str]] = {
    ev.RunStarted: lambda e: f"{_count(len(e.plan), 'task')}, plan {e.fingerprint[:12]}",
    ev.RunResumed: lambda e: f"by {e.initiator['id']}",
    ev.RunPaused: lambda e: _by(e.by, e.reason),
    ev.RunUnpaused: lambda e: _by(e.by, e.reason),
    ev.IntentRaised: lambda e: _said(e.intent, _by(e.by, e.reason)),
    ev.HoldReleased: lambda e: f"{e.decision} {_by(e.by, e.reason)}",
    ev.PassedOver: lambda e: f"{e.command} {_by(e.by, e.reason)}: {', '.join(e.tasks)}",
    ev.CommandReceived: _command,
    ev.OutcomeDecided: _outcome,
    ev.RunFinished: lambda e: f"{e.status}, {_count(e.records, 'record')}",
    ev.TaskStarted: lambda e: f"attempt {e.attempt}: {e.reason}",
    ev.TaskSucceeded: _output,
    ev.AttemptFailed: _tried,
    ev.RetryScheduled: _waits,
    ev.TaskFailed: lambda e: _said(e.reason, _error(e.error)),
    ev.FailureDeferred: lambda e: f"left to {', '.join(e.handlers)}",
    ev.FailureHandled: lambda e: f"by {e.handler}",
    ev.TaskSkipped: lambda e: e.reason,
    ev.TaskBlocked: lambda e: e.reason,
    ev.TaskCancelled: lambda e: e.reason,
    ev.TaskInterrupted: lambda e: f"attempt {e.attempt}: {e.reason}",
    ev.InterruptResolved: lambda e: f"{e.answer}, {_by(e.by, e.reason) or e.source}",
    ev.MapExpanded: lambda e: _count(len(e.names), "item"),
    ev.RepairStarted: lambda e: e.name,
    ev.RepairSucceeded: lambda e: f"in {_span(e.duration_s)}, then {e.then}",
    ev.RepairFailed: lambda e: _error(e.error),
    ev.UndoStarted: lambda e: f"attempt {e.attempt}",
    ev.UndoSucceeded: lambda e: f"in {_span(e.duration_s)}",
    ev.UndoAttemptFailed: _tried,
    ev.UndoRetryScheduled: _waits,
    ev.UndoFailed: lambda e: e.reason,
    ev.UndoBlocked: lambda e: e.reason,
    ev.FinalizerSucceeded: lambda e: f"in {_span(e.duration_s)}",
    ev.FinalizerFailed: lambda e: _error(e.error),
    ev.ChangeRecorded: _change,
    ev.ReadingTaken: _reading,
    ev.MeasurementTaken: _measured,
    ev.Logged: lambda e: e.message + (f" {text_of(e.data)}" if e.data else ""),
    ev.CheckpointSaved: lambda e: f"{e.key}={text_of(e.value)}",
    ev.ApprovalRequested: lambda e: e.question,
    ev.ApprovalAnswered: lambda e: f"{e.answer} {_by(e.by, e.comment)}",
    ev.LockAcquired: lambda e: f"{e.resource}, epoch {e.epoch}",
    ev.HolderAsked: _holder,
    ev.LockReleased: lambda e: f"{e.resource}, epoch {e.epoch}",
    ev.LockBroken: lambda e: f"{e.resource}, {_by(e.by, e.reason)}",
    ev.NotificationsOpened: lambda e: ", ".join(e.routes),
    ev.Notified: lambda e: _said(f"{e.route}: {e.event} of record {e.seq} {e.result}", e.detail),
    ev.NotificationsClosed: lambda e: f"up to record {e.seq}",
    ev.RecordsArchived: lambda e: (
        f"{_count(len(e.runs), 'run')}, {_count(e.records, 'record')} up to {e.upto}, in {e.archive} by {e.by}"
    ),
}
