"""What the tests of metric sources share: an instant, a clock that stands, and questions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pyflow.errors import MetricError
from pyflow.protocols import MetricSource, Sample, Samples
from support.fake_http import FakeHTTP, Script, reply, serving

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
NOON_S = NOON.timestamp()
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Standing:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def document(data: Any, *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> Any:
    """Return the script of an answer in JSON."""
    return reply(json.dumps(data), status=status, headers=headers)


def ask(
    source: MetricSource, query: str = "up", *, window: timedelta = HOUR, at: datetime | None = None
) -> Samples:
    """Ask once, and return the answer."""
    return asyncio.run(source.query(query, window=window, at=at))  # pyright: ignore[reportReturnType]


def ask_scripted(
    make: Callable[[FakeHTTP], MetricSource],
    *scripts: Script,
    query: str = "up",
    window: timedelta = HOUR,
    at: datetime | None = None,
) -> tuple[Samples, list[bytes]]:
    """Ask a source in front of a server that says *scripts*; return the answer and the requests."""

    async def run() -> tuple[Any, list[bytes]]:
        async with serving(*scripts) as fake:
            return await make(fake).query(query, window=window, at=at), fake.requests

    return asyncio.run(run())


def why(make: Callable[[FakeHTTP], MetricSource], *scripts: Script, **question: Any) -> str:
    """Return why a source behind *scripts* cannot answer."""
    with pytest.raises(MetricError) as caught:
        ask_scripted(make, *scripts, **question)
    return caught.value.reason


def values(samples: Any) -> list[float]:
    """Return the values of *samples*."""
    return [sample.value for sample in samples]


def seconds_before_noon(samples: Any) -> list[float]:
    """Return how long before noon each of *samples* is."""
    return [(NOON - sample.at).total_seconds() for sample in samples]


def sample(age_s: float, value: float) -> Sample:
    """Return a sample from *age_s* seconds before noon."""
    return Sample(NOON - timedelta(seconds=age_s), value)
