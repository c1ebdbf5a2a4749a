"""A small trail, to look at and to tamper with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.record.memory import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Sequence

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)

STARTED = ev.RunStarted(
    workflow="shop",
    fingerprint="0123456789abcdef",
    params={"version": "2.3.1", "replicas": 2, "token": {"$secret": "env:TOKEN"}},
    initiator={"id": "ada", "source": "given"},
    origin={"host": "ci-7", "ci": {"system": "github", "run_url": "https://ci/1"}},
    plan={"build": "1", "deploy": "2"},
    environment={"name": "production", "tier": "high"},
)
TIMEOUT = ev.ErrorInfo("OSError", "no route\nto host", "line 1\nline 2")

EVENTS: tuple[ev.Event, ...] = (
    STARTED,
    ev.LockAcquired("service:shop", 3, 0.25),
    ev.TaskStarted("build", 1, "it has no dependencies"),
    ev.AttemptFailed("build", 1, TIMEOUT, 0.25),
    ev.RetryScheduled("build", 2, 1.5),
    ev.TaskStarted("build", 2, "it is tried again"),
    ev.Logged("build", "pulled", {"layers": 3}),
    ev.TaskSucceeded("build", 2, 0.012345, {"image": "shop:2.3.1"}),
    ev.MapExpanded("deploy", ["deploy[eu]", "deploy[us]"], ["eu", "us"]),
    ev.TaskStarted("deploy[eu]", 1, "its dependencies succeeded"),
    ev.ChangeRecorded("deploy[eu]", "weights", {"canary": 0}, {"canary": 5}),
    ev.ReadingTaken("deploy[eu]", "http", "unhealthy", {"status": 503}, 3),
    ev.TaskFailed("deploy[eu]", "no attempt is left", TIMEOUT),
    ev.IntentRaised("rollback", "a task failed", "deploy[eu]"),
    ev.UndoStarted("deploy[eu]", 1),
    ev.UndoSucceeded("deploy[eu]", 1, 2.5),
    ev.OutcomeDecided("rolled_back", "deploy[eu] failed", not_undone=["build"]),
    ev.FinalizerStarted("report"),
    ev.FinalizerFailed("report", TIMEOUT, 0.5),
    ev.LockReleased("service:shop", 3),
    ev.RunFinished("rolled_back", 21),
)


def trail_of(
    events: Sequence[ev.Event] = EVENTS, *, run_id: str = "r1", at: datetime = AT
) -> AuditTrail:
    """Return the trail of *events*, a second apart."""
    journal = MemoryJournal()
    for number, event in enumerate(events):
        journal.append(run_id, [event], at=at + timedelta(seconds=number))
    return AuditTrail(journal.read(run_id))
