"""Reaching a host: which addresses are tried, and which are refused."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from pyflow.errors import HTTPError
from pyflow.net.connect import connect
from pyflow.net.http import request
from support.fake_http import reply, serving


class TestConnect:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1",
            "fe80::1", "fc00::1", "::ffff:169.254.169.254", "::ffff:127.0.0.1", "2002:7f00:1::",
            "64:ff9b::a9fe:a9fe",
        ],
    )  # fmt: skip
    def test_private(self, names: dict[str, Any], address: str) -> None:
        """A name that leads to an address that is not public is refused, whatever its disguise."""
        names["hook.test"] = [address]

        with pytest.raises(HTTPError, match="not public") as caught:
            asyncio.run(request("GET", "http://hook.test/", allow_private=False))

        assert caught.value.phase == "connect"

    def test_private_literal(self) -> None:
        """An address in the URL itself is held to the same rule."""
        with pytest.raises(HTTPError, match="not public"):
            asyncio.run(request("GET", "http://[64:ff9b::a9fe:a9fe]/", allow_private=False))

    def test_one_private(self, names: dict[str, Any]) -> None:
        """One private address among public ones is enough to refuse."""
        names["mixed.test"] = ["93.184.216.34", "10.0.0.1"]

        with pytest.raises(HTTPError, match=r"10\.0\.0\.1"):
            asyncio.run(request("GET", "http://mixed.test/", allow_private=False))

    @pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822"])
    def test_public(
        self, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, address: str
    ) -> None:
        """A public address is connected to, and it is the very one that was checked."""
        dialled: list[str] = []

        async def dial(family: Any, place: Any, deadline: float) -> socket.socket:
            dialled.append(place[0])
            raise TimeoutError

        monkeypatch.setattr("pyflow.net.connect._dial", dial)
        names["hook.test"] = [address]

        with pytest.raises(HTTPError, match="timed out"):
            asyncio.run(request("GET", "http://hook.test/", allow_private=False))

        assert dialled == [address]

    def test_next_address(self, names: dict[str, Any]) -> None:
        """If one address refuses, the next one is tried."""

        async def run() -> None:
            async with serving(reply()) as fake:
                names["two.test"] = ["::1", "127.0.0.1"]
                loop = asyncio.get_running_loop()
                sock = await connect("two.test", fake.port, deadline=loop.time() + 5)
                with sock:
                    assert sock.getpeername() == ("127.0.0.1", fake.port)

        asyncio.run(run())

    def test_shares(self, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """An address that never answers leaves time for the next one."""
        dialled: list[float] = []

        async def dial(family: Any, address: Any, deadline: float) -> socket.socket:
            dialled.append(deadline)
            raise TimeoutError

        monkeypatch.setattr("pyflow.net.connect._dial", dial)
        names["two.test"] = ["::1", "127.0.0.1"]

        async def run() -> float:
            deadline = asyncio.get_running_loop().time() + 8
            with pytest.raises(TimeoutError):
                await connect("two.test", 80, deadline=deadline)
            return deadline

        deadline = asyncio.run(run())

        assert deadline - dialled[0] == pytest.approx(4, abs=0.5)
        assert dialled[1] == pytest.approx(deadline)

    def test_mixed_failures(self, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """A refusal counts as one only if every address refused."""

        async def dial(family: Any, address: Any, deadline: float) -> socket.socket:
            raise ConnectionRefusedError if family == socket.AF_INET6 else TimeoutError("silent")

        monkeypatch.setattr("pyflow.net.connect._dial", dial)
        names["two.test"] = ["::1", "127.0.0.1"]

        async def run() -> None:
            await connect("two.test", 80, deadline=asyncio.get_running_loop().time() + 1)

        with pytest.raises(TimeoutError, match="silent"):
            asyncio.run(run())
