"""Which of the fields that auditors ask for a run has, and which it lacks.

The fields are those of PCI DSS v4.0.1 (10.2.2), SOC 2 (CC8.1, the points of
focus for changes) and ISO/IEC 27001:2022 (A.8.32, with A.8.15 for what a log
has to hold). That a field is there says that there is evidence of it, and
where; whether that is enough, the auditor says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError
from pyflow.record import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyflow.record.codec import Record

__all__ = ["Compliance", "Evidence", "compliance_of"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One field that somebody asks for."""

    standard: str
    """Who asks, and where: ``PCI DSS 10.2.2``."""

    field: str
    """What is asked for."""

    found: str | None
    """What the run has, in words; None where it has nothing."""

    seq: int | None
    """Number of the record that has it."""

    advice: str
    """How a run gets it."""

    @property
    def is_present(self) -> bool:
        """Whether the run has it."""
        return self.found is not None

    def __str__(self) -> str:
        if self.found is None:
            return f"no   {self.standard:<16} {self.field}: missing; {self.advice}"
        return f"yes  {self.standard:<16} {self.field}: {self.found} (record {self.seq})"


@dataclass(frozen=True, slots=True)
class Compliance:
    """Which fields a run has."""

    run_id: str
    """The run."""

    evidence: tuple[Evidence, ...]
    """Every field that is asked for, in the order of the standards."""

    @property
    def missing(self) -> tuple[Evidence, ...]:
        """Those that the run lacks."""
        return tuple(one for one in self.evidence if not one.is_present)

    def __str__(self) -> str:
        have = len(self.evidence) - len(self.missing)
        head = f"run {self.run_id} has {have} of {len(self.evidence)} fields"
        return "\n".join([head, *(f"  {one}" for one in self.evidence)])


def compliance_of(records: Sequence[Record]) -> Compliance:
    """Return which fields the run has whose *records* these are.

    Raises:
        JournalError: They do not begin with its start.
    """
    if not records or not isinstance(records[0].event, ev.RunStarted):
        raise JournalError("what a run has is told from its start, and these records have none")
    return Compliance(records[0].run_id, tuple(_evidence(records, records[0].event)))


def _evidence(records: Sequence[Record], start: ev.RunStarted) -> Iterator[Evidence]:
    who = start.initiator.get("id"), start.initiator.get("source")
    user = f"{who[0]} ({who[1]})" if who[0] else None
    end = next((r for r in reversed(records) if isinstance(r.event, ev.RunFinished)), None)
    origin = start.origin.get("host")
    change = _first(records, ev.ChangeRecorded)
    resource = _resource(records, change)
    approval, is_other = _approval(records, str(who[0]))
    reading = _first(records, ev.ReadingTaken, ev.MeasurementTaken)
    ci: dict[str, Any] = start.origin.get("ci") or {}
    undo = _first(records, ev.UndoSucceeded, ev.UndoFailed)
    pci, soc, iso = "PCI DSS 10.2.2", "SOC 2 CC8.1", "ISO A.8.32"

    yield Evidence(pci, "user", user, 1, "give initiator=, or run it in CI")
    yield Evidence(pci, "type of event", f"{len({r.kind for r in records})} kinds", 1, "")
    yield Evidence(pci, "date and time", f"{records[0].at.isoformat()} (UTC)", 1, "")
    outcome = end.event.status if end and isinstance(end.event, ev.RunFinished) else None
    yield Evidence(
        pci, "success or failure", outcome, end and end.seq, "the run is not over; resume it"
    )
    yield Evidence(
        pci, "origination", origin, 1, "run it with pyflow.Engine, which records its host"
    )
    yield Evidence(
        pci, "affected resource", *resource, "record changes with ctx.record_change, or take locks="
    )
    yield Evidence(soc, "authorized: who asked", user, 1, "give initiator=, or run it in CI")
    yield Evidence(soc, "designed: the definition", f"plan {start.fingerprint[:12]}", 1, "")
    commit = f"commit {ci['commit']}" if ci.get("commit") else None
    yield Evidence(
        soc, "developed: the source", commit, 1, "run it in CI, which says at which commit"
    )
    tested = f"{reading.kind} by {reading.task}" if reading else None
    yield Evidence(
        soc,
        "tested: a check that was passed",
        tested,
        reading and reading.seq,
        "probe, or analyse, in a task",
    )
    yield Evidence(soc, "approved", *approval, "ask people with add_approval")
    other = approval[0] if is_other else None
    yield Evidence(
        soc, "approved by another person", other, approval[1], "add_approval(not_initiator=True)"
    )
    implemented = f"{change.task} changed {resource[0]}" if change else None
    yield Evidence(
        soc,
        "implemented: before and after",
        implemented,
        change and change.seq,
        "record changes with ctx.record_change",
    )
    place = (start.environment or {}).get("name")
    yield Evidence(iso, "environment", place, 1, "give environment=")
    back = f"{undo.kind} of {undo.task}" if undo else None
    can = back or ("the plan, by its undos; none was needed" if outcome == "succeeded" else None)
    yield Evidence(
        iso, "fall-back", can, undo.seq if undo else 1, "register undos with add_recovery"
    )
    yield Evidence(
        iso, "ticket or pipeline", ci.get("run_url") or ci.get("run_id"), 1, "run it in CI"
    )
    yield Evidence(
        "ISO A.8.15", "protected log", f"chain of {len(records)} records", records[-1].seq, ""
    )


def _first(records: Sequence[Record], *kinds: type[ev.Event]) -> Record | None:
    return next((record for record in records if isinstance(record.event, kinds)), None)


def _resource(records: Sequence[Record], change: Record | None) -> tuple[str | None, int | None]:
    """Return what was changed, or else what was locked for it."""
    record = change or _first(records, ev.LockAcquired)
    found = getattr(record.event, "resource", None) if record is not None else None
    return found, record.seq if record is not None else None


def _approval(
    records: Sequence[Record], initiator: str
) -> tuple[tuple[str | None, int | None], bool]:
    """Return who approved and where, and whether that is not who asked for the run."""
    said = [
        r
        for r in records
        if isinstance(r.event, ev.ApprovalAnswered) and r.event.answer == "approve" and r.event.by
    ]
    names = [str(getattr(record.event, "by", None)) for record in said]
    if not said:
        return (None, None), False
    return (", ".join(names), said[0].seq), any(name != initiator for name in names)
