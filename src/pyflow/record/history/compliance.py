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


NO_USER = "give initiator=, or run it in CI"


def compliance_of(records: Sequence[Record]) -> Compliance:
    """Return which fields the run has whose *records* these are.

    Raises:
        JournalError: They do not begin with its start.
    """
    if not records or not isinstance(records[0].event, ev.RunStarted):
        raise JournalError("what a run has is told from its start, and these records have none")
    return Compliance(records[0].run_id, tuple(_evidence(records, records[0].event)))


def _evidence(records: Sequence[Record], start: ev.RunStarted) -> Iterator[Evidence]:
    yield from _of_pci(records, start)
    yield from _of_soc(records, start)
    yield from _of_iso(records, start)


def _of_pci(records: Sequence[Record], start: ev.RunStarted) -> Iterator[Evidence]:
    """Yield what PCI DSS 10.2.2 asks of each event of an audit log."""
    standard = "PCI DSS 10.2.2"
    outcome, seq = _outcome(records)
    origin = start.origin.get("host")
    affected = _resource(records, _first(records, ev.ChangeRecorded))
    yield Evidence(standard, "user", _user(start), 1, NO_USER)
    yield Evidence(standard, "type of event", f"{len({r.kind for r in records})} kinds", 1, "")
    yield Evidence(standard, "date and time", f"{records[0].at.isoformat()} (UTC)", 1, "")
    yield Evidence(standard, "success or failure", outcome, seq, "the run is not over; resume it")
    advice = "run it with pyflow.Engine, which records its host"
    yield Evidence(standard, "origination", origin, 1, advice)
    advice = "record changes with ctx.record_change, or take locks="
    yield Evidence(standard, "affected resource", *affected, advice)


def _of_soc(records: Sequence[Record], start: ev.RunStarted) -> Iterator[Evidence]:
    """Yield what SOC 2 CC8.1 asks of a change."""
    standard = "SOC 2 CC8.1"
    source = _source(start)
    check = next((r for r in records if _is_passed(r.event)), None)
    tested = f"{check.kind} by {check.task}" if check else None
    approval, is_other = _approval(records, str(start.initiator.get("id")))
    other = approval[0] if is_other else None
    change = _first(records, ev.ChangeRecorded)
    resource, _ = _resource(records, change)
    done = f"{change.task} changed {resource}" if change else None
    yield Evidence(standard, "authorized: who asked", _user(start), 1, NO_USER)
    yield Evidence(standard, "designed: the definition", f"plan {start.fingerprint[:12]}", 1, "")
    advice = "keep the definition in git with nothing uncommitted, or run it in CI"
    yield Evidence(standard, "developed: the source", source, 1, advice)
    advice = "probe, or analyse, in a task"
    yield Evidence(standard, "tested: a check that was passed", tested, check and check.seq, advice)
    yield Evidence(standard, "approved", *approval, "ask people with add_approval")
    advice = "add_approval(not_initiator=True)"
    yield Evidence(standard, "approved by another person", other, approval[1], advice)
    advice = "record changes with ctx.record_change"
    seq = change and change.seq
    yield Evidence(standard, "implemented: before and after", done, seq, advice)


def _of_iso(records: Sequence[Record], start: ev.RunStarted) -> Iterator[Evidence]:
    """Yield what ISO 27001 A.8.32 asks of a change, and A.8.15 of a log."""
    standard, ci = "ISO A.8.32", _ci(start)
    place = (start.environment or {}).get("name")
    undo = _first(records, ev.UndoSucceeded, ev.UndoFailed)
    back = f"{undo.kind} of {undo.task}" if undo else None
    if back is None and _outcome(records)[0] == "succeeded":
        back = "the plan, by its undos; none was needed"
    yield Evidence(standard, "environment", place, 1, "give environment=")
    advice = "register undos with add_recovery"
    yield Evidence(standard, "fall-back", back, undo.seq if undo else 1, advice)
    ticket = ci.get("run_url") or ci.get("run_id")
    yield Evidence(standard, "ticket or pipeline", ticket, 1, "run it in CI")
    chain = f"chain of {len(records)} records"
    yield Evidence("ISO A.8.15", "protected log", chain, records[-1].seq, "")


def _user(start: ev.RunStarted) -> str | None:
    """Return who asked for the run, and how that is known."""
    name = start.initiator.get("id")
    return f"{name} ({start.initiator.get('source')})" if name else None


def _source(start: ev.RunStarted) -> str | None:
    """Return the commit of the CI job, or that of the definition, if that is all of it."""
    commit = _ci(start).get("commit")
    if commit:
        return f"commit {commit}"
    source: dict[str, Any] = start.origin.get("source") or {}
    if source.get("commit") and not source.get("dirty"):
        return f"{source.get('file')} at commit {source['commit']}"
    return None


def _ci(start: ev.RunStarted) -> dict[str, Any]:
    return start.origin.get("ci") or {}


def _outcome(records: Sequence[Record]) -> tuple[str | None, int | None]:
    """Return how the run ended, and where that stands."""
    for record in reversed(records):
        if isinstance(record.event, ev.RunFinished):
            return record.event.status, record.seq
    return None, None


def _is_passed(event: ev.Event) -> bool:
    """Return whether *event* is a check that came out well."""
    if isinstance(event, ev.ReadingTaken):
        return event.health == "healthy"
    return isinstance(event, ev.MeasurementTaken) and event.verdict == "pass"


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
