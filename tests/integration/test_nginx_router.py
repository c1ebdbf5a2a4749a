"""nginx in front of real processes, under load: weights as measured, and no request lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflow.errors import RouterError
from pyflow.platforms import LocalProcesses
from pyflow.routers import Nginx
from pyflow.testing import check_router
from support.load import load, measure
from support.proxies import NginxServer, processes, run

pytestmark = pytest.mark.integration


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[LocalProcesses]:
    """Two versions of the service, of two instances and of one."""
    made = processes(tmp_path / "state")

    async def both(old: int, new: int) -> None:
        await asyncio.gather(run(made, "1.0", old), run(made, "2.0", new))

    asyncio.run(both(2, 1))
    yield made
    asyncio.run(both(0, 0))


@pytest.fixture
def server(tmp_path: Path, platform: LocalProcesses) -> Iterator[NginxServer]:
    """A running nginx that sends everything to the old version."""
    Nginx(tmp_path / "shop.conf", "shop", addresses=platform.addresses).begin("shop", {"1.0": 100})
    made = NginxServer(tmp_path)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def router(server: NginxServer, platform: LocalProcesses) -> Nginx:
    return Nginx(server.conf, "shop", addresses=platform.addresses, command=server.command)


class TestContract:
    def test_is_kept(self, platform: LocalProcesses, server: NginxServer) -> None:
        """The router keeps its contract."""
        make = lambda: router(server, platform)  # noqa: E731

        asyncio.run(check_router(make, service="shop", versions=("1.0", "2.0")))


class TestTraffic:
    def test_is_as_weighted(self, platform: LocalProcesses, server: NginxServer) -> None:
        """What is measured is within 1 % of the weights."""

        async def shares() -> dict[float, float]:
            found: dict[float, float] = {}
            for pct in (1, 5, 25, 50, 100):
                await router(server, platform).set_weights("shop", {"1.0": 100 - pct, "2.0": pct})
                answers = await measure(server.port, 600)
                assert answers.failures == []
                found[pct] = answers.share_pct("2.0")
            return found

        found = asyncio.run(shares())

        assert all(abs(share - pct) <= 1 for pct, share in found.items()), found

    def test_loses_no_request(self, platform: LocalProcesses, server: NginxServer) -> None:
        """Under load, weights change five times and the old version ends: nothing fails."""

        async def take_over() -> tuple[int, list[str]]:
            made = router(server, platform)
            async with load(server.port, rps=150) as answers:
                for pct in (5, 50, 100, 0, 100):
                    await made.set_weights("shop", {"1.0": 100 - pct, "2.0": pct})
                    await answers.wait(60)
                await run(platform, "1.0", 0)
                await answers.wait(60)
            return answers.requests, answers.failures

        requests, failures = asyncio.run(take_over())

        assert failures == []
        assert requests >= 360


class TestSetWeights:
    def test_puts_the_old_file_back(self, platform: LocalProcesses, server: NginxServer) -> None:
        """A configuration that nginx refuses leaves file and traffic as they were."""
        before = server.conf.read_text()
        broken = Nginx(
            server.conf,
            "shop",
            addresses=lambda *_: {"2.0-1": ("no.such.host.invalid", 80)},
            command=server.command,
        )

        async def fail() -> dict[str, float]:
            with pytest.raises(RouterError, match="host not found"):
                await broken.set_weights("shop", {"2.0": 100})
            return await router(server, platform).weights("shop")

        assert asyncio.run(fail()) == {"1.0": 100.0}
        assert server.conf.read_text() == before

    def test_notices_a_reload_that_did_not_take(
        self, platform: LocalProcesses, server: NginxServer
    ) -> None:
        """A reload that ends well and changes nothing is found out, and made up for later."""
        deaf = Nginx(
            server.conf,
            "shop",
            addresses=platform.addresses,
            command=["sh", "-c", "exit 0"],
            timeout="1s",
        )

        async def fail() -> dict[str, float]:
            with pytest.raises(RouterError, match=r"after 1 s still runs with other weights"):
                await deaf.set_weights("shop", {"2.0": 100})
            assert await deaf.weights("shop") == {"1.0": 100.0}
            await router(server, platform).set_weights("shop", {"2.0": 100})
            return await router(server, platform).weights("shop")

        assert asyncio.run(fail()) == {"2.0": 100.0}
