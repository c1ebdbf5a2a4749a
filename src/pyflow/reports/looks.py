"""How a status looks in every report: six looks, so that no picture has a colour of its own."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.record.outline import Outline

__all__ = ["LOOKS", "look_of", "statuses_of", "words_of"]

LOOKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bad": ("undo_failed", "rollback_failed", "failed"),
        "doubt": ("interrupted", "held", "paused"),
        "busy": ("undoing", "rolling_back", "running", "waiting"),
        "back": ("undone", "rolled_back"),
        "good": ("succeeded",),
        "off": ("blocked", "cancelled", "skipped", "pending"),
    }
)
"""The statuses of runs and tasks by look, those first that people have to know of."""

RANK = {status: n for n, status in enumerate(s for each in LOOKS.values() for s in each)}


def look_of(status: str) -> str:
    """Return how *status* looks; one that nobody knows is `off`."""
    return next((look for look, statuses in LOOKS.items() if status in statuses), "off")


def words_of(status: str) -> str:
    """Return *status* as people write it."""
    return status.replace("_", " ")


def statuses_of(outline: Outline) -> dict[str, str]:
    """Return what became of each task; a map is as its item that people have to know of most."""
    statuses = {name: task.status for name, task in outline.tasks.items()}
    for name, status in list(statuses.items()):
        whole, bracket, _ = name.partition("[")
        if bracket and whole in statuses and _rank(status) < _rank(statuses[whole]):
            statuses[whole] = status
    return statuses


def _rank(status: str) -> int:
    return RANK.get(status, len(RANK))
