"""What one run has to have recorded in one commit, perhaps together with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pyflow.protocols import Lease
    from pyflow.record.events import Event

__all__ = ["Batch"]


@frozen
class Batch:
    """What one run has to record."""

    run_id: str
    """The run."""

    events: Sequence[Event]
    """What happened, in order."""

    at: datetime
    """When, in a zone of its own."""

    fences: Sequence[Lease] = ()
    """The locks that the run must still hold."""
