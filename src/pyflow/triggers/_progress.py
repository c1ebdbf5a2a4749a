"""How far a task has come with its pipeline: what is saved before and after each step.

A start is saved before it is sent, so that an attempt that comes after a
crash knows that there is something to look for, and by which key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.triggers._service import Handle

__all__ = ["CHECKPOINT", "Progress", "Stage", "after", "key_of", "mentions"]

CHECKPOINT = "pipeline"
"""The name of the checkpoint."""

KEY_CHARS = 20

Stage: TypeAlias = Literal["idle", "sent", "taken", "started", "told"]
"""``idle``: nothing runs. ``sent``: a start may have arrived. ``taken``: it has. ``started``:
it is known which pipeline that is. ``told``: an attempt has failed with how it ended."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is saved."""

    number: int
    """Which pipeline of this task in this run it is, from 1."""

    stage: Stage
    """How far it has come."""

    at: datetime
    """When the start was sent, in UTC."""

    handle: Handle = field(default_factory=dict[str, str], hash=False)
    """What leads to the pipeline, once that is known."""

    def to_data(self) -> dict[str, Any]:
        """Return this as JSON data."""
        return {
            "number": self.number,
            "stage": self.stage,
            "at": self.at.isoformat(),
            "handle": dict(self.handle),
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Progress | None:
        """Return what earlier attempts have saved, if anything."""
        data = saved.get(CHECKPOINT)
        if data is None:
            return None
        at = datetime.fromisoformat(data["at"]).astimezone(UTC)
        return cls(data["number"], data["stage"], at, dict(data["handle"]))


def after(before: Progress | None, at: datetime) -> Progress:
    """Return how a start begins after *before*: a pipeline of which nothing came has its number again."""
    if before is None:
        return Progress(1, "idle", at)
    if before.stage == "told":
        return Progress(before.number + 1, "idle", at)
    return replace(before, stage="idle", at=at, handle={})


def key_of(idempotency_key: str, number: int) -> str:
    """Return the correlation id of a pipeline: the same in every attempt that may have started it."""
    return f"pyflow-{idempotency_key[:KEY_CHARS]}-{number}"


def mentions(text: object, key: str) -> bool:
    """Return whether *text* holds *key*, and not one that only begins like it."""
    return re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", str(text)) is not None
