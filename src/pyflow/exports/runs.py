"""What every format does with trails: one or many, each from its beginning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias, cast

from pyflow.errors import JournalError
from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.record.told import trail_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyflow.record.told import Told

__all__ = ["Trails", "each", "is_over", "start_of"]

Trails: TypeAlias = "Told | Iterable[Told]"
"""One run, or many, which are asked for one by one: their trails, or results that have them."""


def each(trails: Trails) -> Iterator[AuditTrail]:
    """Yield one trail after the other.

    Raises:
        DefinitionError: Something is given that is no run.
    """
    many = isinstance(trails, Iterable) and not isinstance(trails, AuditTrail)
    for told in cast("Iterable[Told]", trails if many else [trails]):
        yield trail_of(told)


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
