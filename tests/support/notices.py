"""Messages for tests, and how to have one sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pyflow.messages import Attempt, Delivery, Message, RunInfo
from pyflow.notices.wording import NOTICES
from pyflow.protocols import Notifier

AT = datetime(2026, 11, 27, 12, 0, 0, 250_000, tzinfo=UTC)
RUN = RunInfo(
    id="20261127-120000-0badcafe",
    workflow="shop",
    status="running",
    environment="production",
    tier="live",
    initiator="ada",
    started_at=AT,
    params={"version": "2.3.1"},
    ci={"system": "github", "commit": "0123456789abcdef", "run_url": "https://ci.example/runs/7"},
)


def message(event: str = "started", *, number: int = 1, **changes: Any) -> Message:
    """Return a message about *event*, as the built-in words have it, or nearly."""
    made = Message(
        id=f"{RUN.id}-{number}",
        event=event,
        severity=NOTICES[event],
        title=f"shop to production: {event}",
        text="Failed: deploy: OSError: no route" if NOTICES[event] != "info" else "",
        summary="shop to production: running, 1 of 3 tasks, 4.0 s",
        fields=(("Environment", "production"), ("Started by", "ada")),
        links=(("Pipeline", "https://ci.example/runs/7"),),
        at=AT,
        run=RUN,
    )
    return replace(made, **changes)


def send(notifier: Notifier, *messages: Message, **attempt: Any) -> list[Delivery]:
    """Send *messages* as one run's, remembering receipts, and return what came of each."""

    async def run() -> list[Delivery]:
        found: list[Delivery] = []
        receipt: dict[str, Any] = {}
        for one in messages:
            options: dict[str, Any] = {"timeout_s": 5.0, "receipt": dict(receipt), **attempt}
            found.append(await notifier.notify(one, Attempt(**options)))
            receipt |= found[-1].receipt or {}
        return found

    return asyncio.run(run())


def sent(notifier: Notifier, one: Message | None = None, **attempt: Any) -> Delivery:
    """Send one message, and return what came of it."""
    return send(notifier, one or message(), **attempt)[0]
