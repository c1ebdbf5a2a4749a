"""What is kept of each run for looking things up: one row, and facts to find it by.

Everything here is taken from records, so it can be thrown away and made anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

__all__ = ["FIELDS", "Change", "Fact", "Field", "RunSummary", "facts_in", "texts_in"]

Field: TypeAlias = Literal[
    "workflow", "environment", "service", "version", "task", "initiator", "approver", "status",
    "change", "commit",
]  # fmt: skip
"""What runs can be found by."""

FIELDS: tuple[Field, ...] = (
    *("workflow", "environment", "service", "version", "task", "initiator", "approver", "status"),
    *("change", "commit"),
)

Fact: TypeAlias = tuple[Field, str]
"""A field, and the value that a run has in it. A run may have several values in one field."""

SERVICE = "service:"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one row."""

    number: int
    """Its place in the order in which runs began; `history` pages by it."""

    run_id: str
    """Its id."""

    workflow: str
    """Name of the workflow."""

    environment: str | None
    """Where it ran."""

    version: str | None
    """What its parameter ``version`` said."""

    service: str | None
    """What its parameter ``service`` said, or the one that it has locked."""

    initiator: str | None
    """Who asked for it."""

    status: str
    """How it ended, or how it stands."""

    started: datetime
    """When it began."""

    ended: datetime | None
    """When it was over, if it is."""

    records: int
    """How many records it has."""

    error: str | None
    """What went wrong, if something did."""

    commit: str | None
    """The commit that the CI system was at, else the one that the definition is from."""

    @property
    def duration_s(self) -> float | None:
        """How long it took, in seconds, if it is over."""
        return (self.ended - self.started).total_seconds() if self.ended is not None else None

    def __str__(self) -> str:
        took = f"{self.duration_s:.1f} s" if self.duration_s is not None else "-"
        about = " ".join(filter(None, (self.service, self.version, self.environment)))
        return (
            f"{self.run_id}  {self.status:<15}  {self.workflow}  {about}  {self.initiator}  {took}"
        )


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a run changed in the world."""

    at: datetime
    """When it was recorded."""

    run_id: str
    """The run that did."""

    seq: int
    """Number of the record in that run."""

    environment: str | None
    """Where."""

    task: str
    """The task that did."""

    resource: str
    """What was changed."""

    before: Any
    """How it was, as JSON data."""

    after: Any
    """How it is, as JSON data."""

    def __str__(self) -> str:
        return (
            f"{self.at:%Y-%m-%d %H:%M:%S}  {self.run_id}  {self.task}  {self.resource}: "
            f"{_short(self.before)} -> {_short(self.after)}"
        )


def facts_in(kind: str, data: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what a record of *kind* with the fields *data* lets its run be found by."""
    match kind:
        case "run_started":
            yield from _facts_at_start(data)
        case "task_started":
            yield "task", str(data.get("task"))
        case "lock_acquired":
            resource = str(data.get("resource"))
            if resource.startswith(SERVICE):
                yield "service", resource.removeprefix(SERVICE).partition("/")[0]
        case "approval_answered" if data.get("answer") == "approve" and data.get("by"):
            yield "approver", str(data["by"])
        case "change_recorded":
            yield "change", str(data.get("resource"))
        case _:
            pass


def _facts_at_start(data: Mapping[str, Any]) -> Iterator[Fact]:
    yield "workflow", str(data.get("workflow"))
    environment, params = _dict(data.get("environment")), _dict(data.get("params"))
    if "name" in environment:
        yield "environment", str(environment["name"])
    for field in ("service", "version"):
        if isinstance(params.get(field), str):
            yield cast("Field", field), params[field]
    initiator = _dict(data.get("initiator")).get("id")
    if initiator is not None:
        yield "initiator", str(initiator)
    origin = _dict(data.get("origin"))
    for said in ("source", "ci"):  # what CI was at counts for the row, where both say something
        commit = _dict(origin.get(said)).get("commit")
        if commit is not None:
            yield "commit", str(commit)


def texts_in(kind: str, data: Mapping[str, Any]) -> str:
    """Return the words of a record of *kind* that people may look for."""
    parts = [data.get(name) for name in WORDS.get(kind, ())]
    if kind == "run_started":
        parts += [data.get("params"), _dict(data.get("origin")).get("ci")]
    return " ".join(_words(part) for part in parts if part)


WORDS: Mapping[str, tuple[str, ...]] = {
    "run_started": ("workflow",),
    "attempt_failed": ("error",),
    "task_failed": ("error", "reason"),
    "undo_attempt_failed": ("error",),
    "repair_failed": ("error",),
    "finalizer_failed": ("error",),
    "logged": ("message", "data"),
    "change_recorded": ("resource", "before", "after"),
    "approval_requested": ("question",),
    "approval_answered": ("by", "comment"),
    "command_received": ("command", "by", "reason"),
    "interrupt_resolved": ("by", "reason"),
    "intent_raised": ("reason",),
    "run_paused": ("reason",),
}


def _words(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and "traceback" in part:  # an error: where it came from is no word
        error = cast("dict[str, Any]", part)
        return f"{error.get('type')} {error.get('message')}"
    return json.dumps(part, ensure_ascii=False)


def _dict(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
