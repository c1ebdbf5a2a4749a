"""What every format does with trails: one or many, each from its beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pyflow.errors import JournalError
from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Trails", "each", "is_over", "start_of"]

Trails: TypeAlias = "AuditTrail | Iterable[AuditTrail]"
"""The trail of one run, or those of many, which are asked for one by one."""


def each(trails: Trails) -> Iterator[AuditTrail]:
    """Yield one trail after the other."""
    if isinstance(trails, AuditTrail):
        yield trails
    else:
        yield from trails


def start_of(trail: AuditTrail) -> ev.RunStarted:
    """Return how the run began.

    Raises:
        JournalError: The trail does not begin there.
    """
    opening = trail[0].event if trail else None
    if not isinstance(opening, ev.RunStarted):
        raise JournalError("this trail does not begin with run_started; it is a part of one")
    return opening


def is_over(trail: AuditTrail) -> bool:
    """Return whether the run has ended."""
    return trail.outcome is not None
