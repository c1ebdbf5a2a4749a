"""What a task's ``on_interrupt=`` function may answer, after a crash in the middle of the task."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

__all__ = ["NOT_APPLIED", "UNKNOWN", "Applied", "Unclear"]


@dataclass(frozen=True, slots=True)
class Applied:
    """The interrupted attempt took effect; the task counts as succeeded with *output*."""

    output: Any = None
    """What the task would have returned."""


class Unclear(Enum):
    """The other answers."""

    NOT_APPLIED = "not_applied"
    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return f"pyflow.{self.name}"


NOT_APPLIED: Final[Literal[Unclear.NOT_APPLIED]] = Unclear.NOT_APPLIED
"""It did not take effect; the task runs again."""

UNKNOWN: Final[Literal[Unclear.UNKNOWN]] = Unclear.UNKNOWN
"""It cannot be told; the run is held until a person resolves it."""
