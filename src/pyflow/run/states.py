"""The states of a run and of its tasks, and every transition between them.

Whatever is not in these tables cannot happen: the fold in
`pyflow.run.state` looks each change up here, and the tests walk the tables.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

__all__ = [
    "INTENTS",
    "RUN_ENDS",
    "RUN_TRANSITIONS",
    "STOPPING",
    "TASK_SETTLED",
    "TASK_TRANSITIONS",
    "Intent",
    "RunStatus",
    "TaskStatus",
]

RunStatus: TypeAlias = Literal[
    "pending",
    "running",
    "paused",
    "held",
    "rolling_back",
    "succeeded",
    "failed",
    "rolled_back",
    "rollback_failed",
    "cancelled",
]

TaskStatus: TypeAlias = Literal[
    "pending",
    "waiting",
    "running",
    "succeeded",
    "failed",
    "skipped",
    "blocked",
    "cancelled",
    "interrupted",
    "undoing",
    "undone",
    "undo_failed",
]

Intent: TypeAlias = Literal["proceed", "hold", "cancel", "rollback"]

INTENTS: tuple[Intent, ...] = get_args(Intent)
"""What a run aims at, in rising order. Only a person lowers hold to proceed."""

RUN_TRANSITIONS = MappingProxyType[RunStatus, frozenset[RunStatus]](
    {
        "pending": frozenset({"running"}),
        "running": frozenset(
            {"paused", "held", "rolling_back", "succeeded", "failed", "cancelled"}
        ),
        # A pause keeps what is in flight, so the run may also end or turn back from it.
        "paused": frozenset(
            {"running", "held", "rolling_back", "succeeded", "failed", "cancelled"}
        ),
        # A person lets it go on, or turns it back, or gives it up; a question may expire meanwhile.
        "held": frozenset({"running", "paused", "rolling_back", "failed", "cancelled"}),
        "rolling_back": frozenset({"rolled_back", "rollback_failed"}),
        "succeeded": frozenset(),
        "rolled_back": frozenset(),
        # A later `engine.rollback` takes back what is still applied.
        "failed": frozenset({"rolling_back"}),
        "rollback_failed": frozenset({"rolling_back"}),
        "cancelled": frozenset({"rolling_back"}),
    }
)

RUN_ENDS = frozenset[RunStatus](
    {"succeeded", "failed", "rolled_back", "rollback_failed", "cancelled"}
)
"""The states in which a run is over."""

TASK_TRANSITIONS = MappingProxyType[TaskStatus, frozenset[TaskStatus]](
    {
        "pending": frozenset({"running", "skipped", "blocked", "cancelled", "failed"}),
        # Waiting for another attempt, for a repair, or for a leftover thread.
        "waiting": frozenset({"running", "failed", "succeeded", "interrupted", "skipped"}),
        # A person may have it passed over, and what is under way of it counts no more.
        "running": frozenset(
            {"waiting", "succeeded", "failed", "cancelled", "interrupted", "skipped"}
        ),
        "succeeded": frozenset({"undoing"}),
        # A person may have a failed task tried again, or passed over.
        "failed": frozenset({"undoing", "waiting", "skipped"}),
        "skipped": frozenset({"undoing"}),
        # What a failure blocked is free again once a person has dealt with it.
        "blocked": frozenset({"pending"}),
        "cancelled": frozenset({"undoing"}),
        "interrupted": frozenset({"undoing", "waiting", "succeeded", "failed"}),
        "undoing": frozenset({"undone", "undo_failed"}),
        "undone": frozenset(),
        "undo_failed": frozenset({"undoing"}),
    }
)

STOPPING = "the run is stopping"
"""Why nothing further is started once the intent is cancel or rollback."""

TASK_SETTLED = frozenset[TaskStatus](TASK_TRANSITIONS) - {"pending", "waiting", "running"}
"""The states in which a task asks nothing more of a run that goes forward."""
