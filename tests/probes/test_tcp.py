"""The TCP probe against real sockets on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.probes import TCP
from pyflow.protocols import Probe, Reading
from support.fake_http import closed_port, reply, serving

SOON = 0.1


def resolver(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    async def getaddrinfo(loop: Any, *_: Any, **__: Any) -> Any:
        if error is None:
            await loop.create_future()
        assert error is not None
        raise error

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


class TestTCP:
    def test_healthy(self) -> None:
        """A port that takes the connection is healthy."""

        async def run() -> Reading:
            async with serving(reply()) as fake:
                return await TCP("127.0.0.1", fake.port).read()

        reading = asyncio.run(run())

        assert reading.health == "healthy"
        assert reading.evidence["host"] == "127.0.0.1"

    def test_refused(self) -> None:
        """A port on which nothing listens is unhealthy."""
        reading = asyncio.run(TCP("127.0.0.1", closed_port()).read())

        assert reading.health == "unhealthy"
        assert reading.evidence["error"] == "connection refused"

    def test_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A host that says nothing is unknown."""
        resolver(monkeypatch, None)

        reading = asyncio.run(TCP("slow.test", 80, timeout=SOON).read())

        assert reading.health == "unknown"
        assert "0.1 s" in reading.evidence["error"]

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "not known"),
            (OSError(101, "Network is unreachable"), "unreachable"),
            (OSError(), "OSError"),
        ],
    )
    def test_unknown(self, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
        """A name that is not found, or a network that is not reached, is unknown."""
        resolver(monkeypatch, error)

        reading = asyncio.run(TCP("shop.test", 80).read())

        assert reading.health == "unknown"
        assert words in reading.evidence["error"]

    def test_is_value(self) -> None:
        """It is a `Probe`, compares by value, and has a short repr."""
        probe = TCP("h", 80)

        assert isinstance(probe, Probe)
        assert probe == TCP("h", 80)
        assert repr(probe) == "TCP(host='h', port=80, timeout='5s')"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("", 80), "host"),
            ((None, 80), "host"),
            (("http://h", 80), "host"),
            (("0x7f.1", 80), "host"),
            (("h", 0), "port"),
            (("h", 65_536), "port"),
            (("h", "80"), "port"),
            (("h", True), "port"),
        ],
    )
    def test_refuses(self, arguments: tuple[Any, Any], words: str) -> None:
        """A wrong argument is refused when the probe is made."""
        with pytest.raises(DefinitionError, match=words):
            TCP(*arguments)

    def test_all_at_once(self) -> None:
        """All wrong arguments are reported together."""
        with pytest.raises(DefinitionError, match="3 problems"):
            TCP("a b", 0, timeout=0)
