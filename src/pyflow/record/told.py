"""A run, given as its trail or as whatever has one: what reports and exports take."""

from __future__ import annotations

from typing import Protocol, TypeAlias, cast

from pyflow.errors import DefinitionError, shown
from pyflow.record.audit import AuditTrail

__all__ = ["HasTrail", "Told", "trail_of"]


class HasTrail(Protocol):
    """Something that has the trail of a run, such as a `Result` or a `Simulation`."""

    @property
    def audit_trail(self) -> AuditTrail:
        """The trail."""
        ...


Told: TypeAlias = "AuditTrail | HasTrail"
"""A run: its trail, or what has it."""


def trail_of(given: Told) -> AuditTrail:
    """Return the trail of a run.

    Raises:
        DefinitionError: What is given is none, and has none.
    """
    trail = cast("object", getattr(given, "audit_trail", given))
    if isinstance(trail, AuditTrail):
        return trail
    advice = "give a result, or a trail such as result.audit_trail or engine.trail(run_id)"
    raise DefinitionError("a run to tell of", [f"{shown(given)} is no run: {advice}"])
