"""A call of every port of a simulated world, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from pyflow.messages import Message, RunInfo
from pyflow.testing import World
from support.virtual import this_loop
from support.worlds import HOUR

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def message() -> Message:
    """Return something to tell."""
    run = RunInfo(id="r", workflow="shop", status="paused")
    return Message(id="r-1", event="paused", severity="warning", title="lunch", at=NOON, run=run)


async def outcome(call: Coroutine[Any, Any, Any]) -> str:
    """Await *call*, and return what became of it and when."""
    try:
        async with asyncio.timeout(60):
            await call
    except Exception as error:
        return f"{type(error).__name__} at {this_loop().time():g} s"
    return f"done at {this_loop().time():g} s"


Look = tuple[Callable[[World], Any], Callable[[World], Coroutine[Any, Any, Any]]]
"""How to get at a port, and a call of it."""
Effect = tuple[
    str,
    Callable[[World], Any],
    Callable[[World], Coroutine[Any, Any, Any]],
    Callable[[World], bool],
]
"""The name of a call, the same two, and whether the call has been carried out."""

EFFECTS: dict[str, Effect] = {
    "platform": (
        "scale",
        lambda world: world.platform,
        lambda world: world.platform.scale("shop", "2.0", 1),
        lambda world: "2.0" in world.services["shop"].counts(),
    ),
    "router": (
        "set_weights",
        lambda world: world.router,
        lambda world: world.router.set_weights("shop", {"2.0": 100}),
        lambda world: "2.0" in world.services["shop"].now.weights,
    ),
    "notifier": (
        "notify",
        lambda world: world.notifier,
        lambda world: world.notifier.notify(message()),
        lambda world: world.notifier.sent != [],
    ),
}
LOOKS: dict[str, Look] = {
    "observe": (lambda world: world.platform, lambda world: world.platform.observe("shop")),
    "weights": (lambda world: world.router, lambda world: world.router.weights("shop")),
    "read": (lambda world: world.probe("shop"), lambda world: world.probe("shop").read()),
    "query": (
        lambda world: world.metrics,
        lambda world: world.metrics.query("rps shop", window=HOUR),
    ),
}
