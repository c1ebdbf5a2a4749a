"""A resolver for tests, in place of the network's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from support.fake_http import NEVER


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A resolver that knows what a test tells it: addresses, or an error to raise."""
    known: dict[str, Any] = {}

    async def getaddrinfo(loop: Any, host: str, port: int, **_: Any) -> list[Any]:
        found = known[host]
        if isinstance(found, BaseException):
            raise found
        if found is NEVER:
            await loop.create_future()
        return [
            entry
            for address in found
            for entry in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return known
