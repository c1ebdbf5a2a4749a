"""A run as JUnit's XML, which every CI system shows: the workflow is a suite, each task a case."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from pyflow.errors import JournalError
from pyflow.frozen import frozen, replace
from pyflow.record import events as ev
from pyflow.record.told import trail_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyflow.record.audit import AuditTrail
    from pyflow.record.codec import Record
    from pyflow.record.told import Told

__all__ = ["CLOSING", "OPENING", "junit", "suite_of"]

OPENING = '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
CLOSING = "</testsuites>\n"

ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@frozen
class Case:
    """What became of a task."""

    tag: str
    """What its element holds: ``failure``, ``error``, ``skipped``, or nothing."""

    words: str
    """Why, in a line."""

    type: str = ""
    """The type of its error."""

    details: str = ""
    """The traceback."""


PASSED = Case("", "")


def junit(run: Told) -> str:
    """Return a run as JUnit's XML, with the characters that XML does not have left out.

    A task that failed is a failure; an undo or a finalizer that failed, or a
    task of which nobody knows whether it took effect, is an error; what was
    not needed, blocked or cancelled is skipped.

    Args:
        run: A result or a simulation, or a trail, such as ``engine.trail(run_id)``.

    Raises:
        DefinitionError: *run* is no run.
        JournalError: The trail does not begin with the run's first record.
    """
    return OPENING + suite_of(trail_of(run)) + CLOSING


def suite_of(trail: AuditTrail) -> str:
    """Return the suite of a run, as it stands between `OPENING` and `CLOSING`.

    Raises:
        JournalError: The trail does not begin with the run's first record.
    """
    opening = trail[0].event if trail else None
    if not isinstance(opening, ev.RunStarted):
        raise JournalError("this trail does not begin with run_started; it is a part of one")
    cases, times = _cases(trail, opening.plan)
    wall_s = (trail[-1].at - trail[0].at).total_seconds()
    suite = ET.Element("testsuite", name=_clean(opening.workflow))
    counts = {"tests": len(cases)}
    counts |= {f"{tag}s": 0 for tag in ("failure", "error")} | {"skipped": 0}
    for case in cases.values():
        if case.tag:
            counts[case.tag if case.tag == "skipped" else f"{case.tag}s"] += 1
    suite.attrib |= {name: str(count) for name, count in counts.items()}
    suite.attrib |= {"time": f"{wall_s:.3f}", "timestamp": f"{trail[0].at:%Y-%m-%dT%H:%M:%S}"}
    suite.set("hostname", _clean(str(opening.origin.get("host", ""))))
    properties = ET.SubElement(suite, "properties")
    for name, value in (("run_id", trail[0].run_id), ("status", trail.outcome or "not ended")):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    for name, case in cases.items():
        _add(suite, opening.workflow, name, case, times.get(name, 0.0))
    ET.indent(suite, level=1)
    return f"  {ET.tostring(suite, encoding='unicode')}\n"


def _cases(
    records: Iterable[Record], plan: Iterable[str]
) -> tuple[dict[str, Case], dict[str, float]]:
    """Return what became of each task, and for how many seconds it was worked on."""
    cases = dict.fromkeys(plan, Case("skipped", "not reached"))
    times: dict[str, float] = {}
    errors: dict[str, ev.ErrorInfo] = {}
    for record in records:
        event, name = record.event, record.task
        if isinstance(event, ev.FinalizerFailed):
            name = f"finalizer {event.name}"
        if name is None:
            continue
        times[name] = times.get(name, 0.0) + float(getattr(event, "duration_s", 0.0))
        if isinstance(event, ev.AttemptFailed):
            errors[name] = event.error
        if isinstance(event, ev.TaskFailed) and event.error is None:
            event = replace(event, error=errors.get(name))
        if (case := _case(event)) is not None:
            cases[name] = case
    return cases, times


def _case(event: ev.Event) -> Case | None:
    """Return what *event* makes of its task, if it decides about that."""
    for kinds, case in DECIDE.items():
        if isinstance(event, kinds):
            return case(event)
    return None


def _failed(tag: str, reason: str, error: ev.ErrorInfo | None) -> Case:
    if error is None:
        return Case(tag, reason)
    return Case(tag, error.message or reason, error.type, error.traceback)


DECIDE: dict[type[ev.Event] | tuple[type[ev.Event], ...], Callable[[Any], Case | None]] = {
    ev.TaskSucceeded: lambda _: PASSED,
    ev.TaskFailed: lambda e: _failed("skipped" if e.allowed else "failure", e.reason, e.error),
    (ev.UndoAttemptFailed, ev.FinalizerFailed): lambda e: _failed("error", "", e.error),
    ev.TaskInterrupted: lambda e: Case("error", e.reason),
    ev.InterruptResolved: lambda e: PASSED if e.answer == "applied" else None,
    ev.UndoSucceeded: lambda _: Case("skipped", "taken back"),
    (ev.TaskSkipped, ev.TaskBlocked, ev.TaskCancelled): lambda e: Case("skipped", e.reason),
}


def _add(suite: ET.Element, workflow: str, name: str, case: Case, time_s: float) -> None:
    names = {"classname": _clean(workflow), "name": _clean(name), "time": f"{time_s:.3f}"}
    element = ET.SubElement(suite, "testcase", names)
    if not case.tag:
        return
    inner = ET.SubElement(element, case.tag, message=_clean(case.words))
    if case.type:
        inner.set("type", _clean(case.type))
    inner.text = _clean(case.details) or None


def _clean(words: str) -> str:
    return ILLEGAL.sub("", words)
