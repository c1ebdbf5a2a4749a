"""Why a lock cannot be had, in words: who has it, since when, dead or alive, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from pyflow.protocols import Holder, Lease

__all__ = [
    "alive_text",
    "held_text",
    "in_line_text",
    "moved_text",
    "residue_text",
    "unfinished_text",
]

UNITS_S = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def residue_text(
    resource: str, run_id: str, *, since: datetime | None, now: datetime | None
) -> str:
    """Say that a run has left residue on *resource*."""
    return (
        f"{resource!r} is not free: run {run_id} left residue there{_when(since, now, 'at')}; "
        f"{_remedies(resource, run_id)}"
    )


def unfinished_text(holder: Holder, *, now: datetime | None) -> str:
    """Say that the process of a run died while it had a lock."""
    run_id, resource = holder.lease.run_id, holder.lease.resource
    return (
        f"{resource!r} is not free: run {run_id} has had it{_when(holder.since, now, 'since')} and "
        f"is unfinished, though its process is dead ({_place(holder)}); "
        f"{_remedies(resource, run_id)}"
    )


def held_text(holder: Holder, *, now: datetime | None) -> str:
    """Say that another run has a lock, and is alive."""
    return (
        f"{holder.lease.resource!r} is held by run "
        f"{holder.lease.run_id}{_when(holder.since, now, 'since')}, which is alive "
        f"({_place(holder)}); wait for it, or cancel that run"
    )


def in_line_text(resource: str, run_id: str) -> str:
    """Say that another run is about to take a lock that is free."""
    return f"{resource!r} is free, but run {run_id} has asked for it earlier; wait for it, or try again"


def alive_text(holder: Holder, *, now: datetime | None) -> str:
    """Say that the run that asks for a lock has it already."""
    return (
        f"run {holder.lease.run_id} is alive ({_place(holder)}) and has held "
        f"{holder.lease.resource!r}{_when(holder.since, now, 'since')}; let it go on there, or end "
        "that process first"
    )


def moved_text(lease: Lease, epoch: int, run_id: str | None) -> str:
    """Say that a lock is not any more what a run has had, and which run has it or had it last."""
    who = f"run {run_id} has had it since" if run_id is not None else "it was broken or taken since"
    return (
        f"run {lease.run_id} had {lease.resource!r} at epoch {lease.epoch}, and it is at epoch "
        f"{epoch} now: {who}, so what the run left there may have been changed, and it is neither "
        f"resumed nor rolled back. See what it did in engine.trail({lease.run_id!r}), clean up by "
        "hand, and start anew"
    )


def _remedies(resource: str, run_id: str) -> str:
    return (
        f"go on with engine.resume({run_id!r}, workflow), undo it with "
        f"engine.rollback({run_id!r}, workflow), or clean up by hand, and then "
        f"engine.break_lock({resource!r}, by=..., reason=...)"
    )


def _place(holder: Holder) -> str:
    return f"pid {holder.pid} on {holder.host}"


def _when(since: datetime | None, now: datetime | None, word: str) -> str:
    if since is None:
        return ""
    ago = f", {_age((now - since).total_seconds())} ago" if now is not None else ""
    return f" {word} {since.isoformat(' ', 'seconds')}{ago}"


def _age(age_s: float) -> str:
    """Return about how long that is; a clock that went back makes it nothing."""
    whole = max(0, int(age_s))
    unit, size = next((u for u in UNITS_S if whole >= u[1]), UNITS_S[-1])
    return f"{whole // size} {unit}"
