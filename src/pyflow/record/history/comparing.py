"""What differs between two runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError
from pyflow.record import events as ev
from pyflow.record.outline import outline_of
from pyflow.record.rendering import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.record.codec import Record

__all__ = ["Difference", "RunDiff", "diff_of"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in two runs."""

    what: str
    """What it is, such as ``params.version`` or ``task deploy``."""

    one: Any
    """How it is in the first run; None where it has none."""

    other: Any
    """How it is in the other."""

    def __str__(self) -> str:
        return f"{self.what}: {_told(self.one)} -> {_told(self.other)}"


@dataclass(frozen=True, slots=True)
class RunDiff:
    """What differs between two runs; empty where nothing does."""

    one: str
    """Id of the first run."""

    other: str
    """Id of the other."""

    differences: tuple[Difference, ...]
    """What differs: workflow, plan, parameters, place, tasks, changes, end."""

    def __bool__(self) -> bool:
        return bool(self.differences)

    def __str__(self) -> str:
        head = f"{self.one} -> {self.other}"
        lines = [f"  {difference}" for difference in self.differences] or ["  nothing differs"]
        return "\n".join([head, *lines])


def diff_of(one: Sequence[Record], other: Sequence[Record]) -> RunDiff:
    """Return what differs between the runs whose records these are.

    Raises:
        JournalError: One of them does not begin with its start.
    """
    first, second = _facts(one), _facts(other)
    differences = tuple(
        Difference(what, first.get(what), second.get(what))
        for what in {**first, **second}
        if first.get(what) != second.get(what)
    )
    return RunDiff(one[0].run_id, other[0].run_id, differences)


def _facts(records: Sequence[Record]) -> dict[str, Any]:
    """Return everything that is compared, in the order in which it is told."""
    start = records[0].event if records else None
    if not isinstance(start, ev.RunStarted):
        raise JournalError("a run is compared from its start, and these records have none")
    outline = outline_of(records[0].run_id, records)
    ci: Mapping[str, Any] = start.origin.get("ci") or {}
    facts: dict[str, Any] = {
        "workflow": start.workflow,
        "environment": (start.environment or {}).get("name"),
        "initiator": start.initiator.get("id"),
        "commit": ci.get("commit"),
        "source": _source(start.origin.get("source") or {}),
        "host": start.origin.get("host"),
        "pyflow": start.origin.get("pyflow"),
    }
    facts |= {f"params.{name}": value for name, value in start.params.items()}
    facts |= {f"definition of {name}": digest[:12] for name, digest in start.plan.items()}
    facts |= {f"task {name}": task.status for name, task in outline.tasks.items()}
    for record in records:
        if isinstance(record.event, ev.ChangeRecorded):
            facts[f"change of {record.event.resource}"] = record.event.after
    return facts | {"status": outline.status, "error": outline.error or None}


def _source(source: Mapping[str, Any]) -> str | None:
    """Return the commit of the definition, and whether that is all of it."""
    commit = source.get("commit")
    return f"{commit}{' with changes' if source.get('dirty') else ''}" if commit else None


def _told(value: Any) -> str:
    return "none" if value is None else text_of(value)
