"""Triggers in workflows of one task, with spans that a test can wait for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyflow
from pyflow.triggers import Watch

__all__ = ["TOKEN", "Fixed", "execute", "one_task", "quick"]

TOKEN = pyflow.Secret("ghp-for-tests-only", name="token")
START = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


class Fixed:
    """A clock that a test sets."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def quick(**changes: Any) -> Watch:
    """Return spans that end a test soon."""
    given: dict[str, Any] = {
        "timeout": "20s",
        "poll": pyflow.Backoff("1ms", ceiling="5ms"),
        "settle": "60ms",
        "patience": "60ms",
        "cancel_within": "2s",
        "request_timeout": "5s",
    }
    return Watch(**{**given, **changes})


def one_task(trigger: Any, **options: Any) -> pyflow.Workflow:
    """Return a workflow whose one task is *trigger*."""
    workflow = pyflow.Workflow("w", params={"version": "2.0"}, on_failure="stop")
    options.setdefault("on_interrupt", "rerun")
    workflow.add_task("deploy", trigger, **options)
    return workflow


def execute(trigger: Any, **options: Any) -> pyflow.Result:
    """Run it."""
    return pyflow.Engine().execute(one_task(trigger, **options))
