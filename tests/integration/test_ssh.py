"""A platform of hosts behind a real sshd."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.errors import PlatformError
from pyflow.platforms import SSH
from pyflow.strategies import blue_green
from pyflow.testing import World, check_platform
from support.ssh_server import SSHServer

pytestmark = pytest.mark.integration

TOOL = [sys.executable, "-S", str(Path(__file__).parents[1] / "support" / "on_host.py")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHServer]:
    """A running sshd."""
    made = SSHServer(tmp_path)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def platform(server: SSHServer, hosts: list[str] | None = None, **options: Any) -> SSH:
    place = str(server.config.parent / "hosts $HOME {host}")
    given: dict[str, Any] = {
        "start": [*TOOL, place, "start", "{version}"],
        "stop": [*TOOL, place, "stop", "{version}"],
        "status": [*TOOL, place, "list"],
        "options": ["-F", str(server.config)],
    }
    return SSH(hosts or ["web-1", "web-2", "web-3"], **{**given, **options})


class TestContract:
    def test_is_kept(self, server: SSHServer) -> None:
        """The platform keeps its contract, beside a version that is left alone."""

        async def check() -> None:
            await platform(server).scale("shop", "1.0", 2)
            await check_platform(
                lambda: platform(server), service="shop", version="2.0", settle="30s"
            )

        asyncio.run(check())


class TestHosts:
    def test_keep_what_they_have(self, server: SSHServer) -> None:
        """A version stays where it runs, the last hosts are stopped, and arguments arrive as they are."""

        async def work() -> list[list[str]]:
            seen: list[list[str]] = []
            for instances in (1, 3, 2):
                await platform(server).scale("shop", "2.0", instances)
                state = await platform(server).observe("shop")
                seen.append([instance.id for instance in state.instances])
            return seen

        assert asyncio.run(work()) == [
            ["2.0@web-1"],
            ["2.0@web-1", "2.0@web-2", "2.0@web-3"],
            ["2.0@web-1", "2.0@web-2"],
        ]
        assert (server.config.parent / "hosts $HOME web-1" / "2.0").exists()

    def test_that_are_gone_are_not_empty(self, server: SSHServer) -> None:
        """A host that cannot be reached is an error that names it."""
        with pytest.raises(PlatformError, match=r"gone cannot be reached by ssh: .*refused"):
            asyncio.run(platform(server, ["web-1", "gone"]).observe("shop"))

    def test_say_why_not(self, server: SSHServer) -> None:
        """A command that fails on a host is an error with its own words."""
        broken = platform(server, status=[*TOOL, "/tmp", "dance"])

        with pytest.raises(PlatformError, match="status on web-1: ssh ended with code 1: on_host"):
            asyncio.run(broken.observe("shop"))

    def test_are_limited(self, server: SSHServer) -> None:
        """More instances than hosts are refused before anything is done."""
        with pytest.raises(PlatformError, match="need as many hosts; there are 3"):
            asyncio.run(platform(server).scale("shop", "2.0", 4))


class TestRollout:
    def test_over_ssh(self, server: SSHServer) -> None:
        """A blue-green rollout brings a version onto hosts, and takes the old one away."""
        world = World()
        world.service("shop", version="1.0")  # whose router splits what the hosts serve

        async def begin() -> None:
            await platform(server).scale("shop", "1.0", 2)

        asyncio.run(begin())
        workflow = blue_green(
            "shop",
            "2.0",
            platform=platform(server),
            router=world.router,
            backoff=pyflow.Backoff("100ms"),
        )

        result = pyflow.Engine().execute(workflow)

        assert result.status == "succeeded", result.error
        state = asyncio.run(platform(server).observe("shop"))
        assert [instance.id for instance in state.instances] == ["2.0@web-1", "2.0@web-2"]
