"""HAProxy in front of real processes, under load: weights as measured, and no request lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflow.platforms import LocalProcesses
from pyflow.routers import HAProxy
from pyflow.testing import check_router
from support.load import load, measure
from support.proxies import HAProxyServer, processes, run

pytestmark = pytest.mark.integration


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[LocalProcesses]:
    """Two versions of the service, each with two instances."""
    made = processes(tmp_path / "state")

    async def each(count: int) -> None:
        await asyncio.gather(*(run(made, version, count) for version in ("1.0", "2.0")))

    asyncio.run(each(2))
    yield made
    asyncio.run(each(0))


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[HAProxyServer]:
    """A running HAProxy without servers."""
    server = HAProxyServer(tmp_path)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


class TestContract:
    def test_is_kept_with_instances(self, platform: LocalProcesses, haproxy: HAProxyServer) -> None:
        """The router keeps its contract where it adds the instances of a platform by itself."""

        def make() -> HAProxy:
            return HAProxy(haproxy.socket, "shop", addresses=platform.addresses)

        async def check() -> None:
            await make().set_weights("shop", {"1.0": 100})
            await check_router(make, service="shop", versions=("1.0", "2.0"))

        asyncio.run(check())

    def test_is_kept_with_servers(self, tmp_path: Path) -> None:
        """The router keeps its contract over TCP, with servers that are listed for each version."""
        server = HAProxyServer(tmp_path, {"blue": 1, "green1": 2, "green2": 3})
        try:
            server.wait()
            slots = {"1.0": ["blue"], "2.0": ["green1", "green2"]}

            def make() -> HAProxy:
                return HAProxy(f"127.0.0.1:{server.admin}", "shop", servers=slots)

            async def check() -> None:
                await make().set_weights("shop", {"1.0": 100})
                await check_router(make, service="shop", versions=("1.0", "2.0"))

            asyncio.run(check())
        finally:
            server.stop()


class TestTraffic:
    def test_is_as_weighted(self, platform: LocalProcesses, haproxy: HAProxyServer) -> None:
        """What is measured is within 1 % of the weights, with unequal numbers of instances too."""
        router = HAProxy(haproxy.socket, "shop", addresses=platform.addresses)

        async def shares() -> dict[float, float]:
            await run(platform, "2.0", 1)
            found: dict[float, float] = {}
            for pct in (1, 5, 25, 50, 100):
                await router.set_weights("shop", {"1.0": 100 - pct, "2.0": pct})
                answers = await measure(haproxy.port, 600)
                assert answers.failures == []
                found[pct] = answers.share_pct("2.0")
            return found

        found = asyncio.run(shares())

        assert all(abs(share - pct) <= 1 for pct, share in found.items()), found

    def test_loses_no_request(self, platform: LocalProcesses, haproxy: HAProxyServer) -> None:
        """Under load, a new version takes over step by step, and the old one ends: nothing fails."""
        router = HAProxy(haproxy.socket, "shop", addresses=platform.addresses)

        async def take_over() -> tuple[int, list[str]]:
            await router.set_weights("shop", {"1.0": 100})
            async with load(haproxy.port, rps=150) as answers:
                for pct in (5, 50, 100, 0, 100):
                    await router.set_weights("shop", {"1.0": 100 - pct, "2.0": pct})
                    await answers.wait(60)
                await run(platform, "1.0", 0)
                await router.set_weights("shop", {"2.0": 100})
                await answers.wait(60)
            return answers.requests, answers.failures

        requests, failures = asyncio.run(take_over())

        assert failures == []
        assert requests >= 360
