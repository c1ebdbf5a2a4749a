"""Which runs may leave a journal: a decision on what their records say, and on nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pyflow.record.history.summary import facts_in
from pyflow.record.ledger import is_ledger
from pyflow.record.skim import kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["Kept", "Past", "Policy", "Why", "chosen", "pasts_of"]

Why: TypeAlias = Literal[
    "unfinished", "residue", "held", "last_of_a_lock", "last_good", "end", "unreadable"
]
"""Why a run that is old enough stays all the same: it has not ended; effects of it are still
applied; a lock names it; it was the last to have a resource; it is the last that succeeded in its
place; the journal ends with it, or nearly; its record cannot be read."""

READ = frozenset({"run_started", "run_resumed", "lock_acquired", "outcome_decided", "run_finished"})


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that would have been archived, and was not."""

    run_id: str
    """The run."""

    why: Why
    """Why it stays."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is to be archived. A run has to fit every condition that is given."""

    ended_before: str | None = None
    """Runs that ended before this instant, as records write it."""

    keep_last: int | None = None
    """All but so many of the newest of each workflow in each environment."""


@dataclass(slots=True)
class Past:
    """What the record says of one run, as far as it matters here."""

    run_id: str
    began: int
    last: int = 0
    workflow: str = ""
    environment: str | None = None
    services: dict[str, None] = field(default_factory=dict[str, None])
    status: str | None = None
    """How it ended; None for a run that has not."""
    ended: str = ""
    has_residue: bool = False
    is_readable: bool = True

    @property
    def places(self) -> list[tuple[str, str, str | None]]:
        """Where a later deployment would stand: each service there, and the workflow itself."""
        named = [("service", name, self.environment) for name in self.services]
        return [("workflow", self.workflow, self.environment), *named]

    def take(self, n: int, line: str) -> str | None:
        """Take in the next record, number *n* of the journal; return the lock that it took, if any."""
        self.last = n
        kind = kind_of(line)
        if kind not in READ:
            return None
        try:
            raw = json.loads(line)
            return self._take(kind, raw["data"], raw["at"])
        except (ValueError, KeyError, TypeError, AttributeError):
            self.is_readable = False
            return None

    def _take(self, kind: str, data: dict[str, Any], at: str) -> str | None:
        for name, value in facts_in(kind, data):
            if name == "service":
                self.services[value] = None
        match kind:
            case "run_started":
                self.workflow = str(data["workflow"])
                place = cast("dict[str, Any]", data.get("environment") or {})
                self.environment = place.get("name")
            case "run_resumed":
                self.status = None
            case "lock_acquired":
                return str(data["resource"])
            case "outcome_decided":
                self.has_residue = bool(data.get("residue"))
            case _:
                self.status, self.ended = str(data["status"]), at
        return None


def pasts_of(rows: Iterable[tuple[int, str, str]]) -> tuple[dict[str, Past], dict[str, str]]:
    """Return what *rows* (number, run, line, in order) say of each run, and who had each lock last.

    Memory grows with the number of runs, not with that of records.
    """
    pasts: dict[str, Past] = {}
    lockers: dict[str, str] = {}
    for n, run_id, line in rows:
        if is_ledger(run_id):
            owner = pasts.get(run_id.rpartition(".")[0])
            if owner is not None:
                owner.last = n
            continue
        past = pasts.get(run_id)
        if past is None:
            past = pasts[run_id] = Past(run_id, n)
        resource = past.take(n, line)
        if resource is not None:
            lockers[resource] = run_id
    return pasts, lockers


def chosen(
    pasts: Mapping[str, Past],
    policy: Policy,
    *,
    lockers: Mapping[str, str],
    held: Collection[str],
    end: int,
) -> tuple[list[Past], list[Kept]]:
    """Return the runs to archive, oldest first, and those that *policy* names and that stay.

    Args:
        pasts: Every run of the journal, oldest first.
        policy: Which runs are meant.
        lockers: The run that had each resource last.
        held: Runs that a lock names now.
        end: The journal's number from which on nothing is removed.
    """
    last_good: dict[tuple[str, str, str | None], str] = {}
    for past in pasts.values():
        if past.status == "succeeded":
            last_good.update(dict.fromkeys(past.places, past.run_id))
    pinned, good = set(lockers.values()), set(last_good.values())
    taken: list[Past] = []
    kept: list[Kept] = []
    for past in _meant(pasts, policy):
        why = _why_kept(past, pinned=pinned, good=good, held=held, end=end)
        if why is None:
            taken.append(past)
        else:
            kept.append(Kept(past.run_id, why))
    return taken, kept


def _meant(pasts: Mapping[str, Past], policy: Policy) -> list[Past]:
    """Return the runs that *policy* names, oldest first."""
    newer: dict[tuple[str, str | None], int] = {}
    meant: list[Past] = []
    for past in reversed(list(pasts.values())):
        place = past.workflow, past.environment
        rank = newer[place] = newer.get(place, 0) + 1
        if policy.keep_last is not None and rank <= policy.keep_last:
            continue
        # A run that has not ended is meant too, so that it is told why it stays.
        if policy.ended_before is None or past.ended < policy.ended_before:
            meant.append(past)
    return meant[::-1]


def _why_kept(
    past: Past, *, pinned: Collection[str], good: Collection[str], held: Collection[str], end: int
) -> Why | None:
    checks: tuple[tuple[bool, Why], ...] = (
        (not past.is_readable, "unreadable"),
        (past.status is None, "unfinished"),
        (past.has_residue or past.status == "rollback_failed", "residue"),
        (past.run_id in held, "held"),
        (past.run_id in pinned, "last_of_a_lock"),
        (past.run_id in good, "last_good"),
        (past.last >= end, "end"),
    )
    return next((why for is_so, why in checks if is_so), None)
