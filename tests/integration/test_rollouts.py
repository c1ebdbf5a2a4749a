"""Rollouts of real processes behind a real HAProxy, under constant load: what clients see of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow import probes
from pyflow.analysis import Compare, Sequential, extend, replay
from pyflow.metrics import HAProxyStats, MetricProbe, Prometheus
from pyflow.platforms import LocalProcesses
from pyflow.routers import HAProxy
from pyflow.strategies import Step, blue_green, canary, rolling
from support import shop_deployment
from support.load import Answers, load, measure
from support.proxies import HAProxyServer, processes, run
from support.servers import prometheus

pytestmark = pytest.mark.integration

RPS = 100
SCRAPED = "count(haproxy_server_http_responses_total)"
TESTS = Path(__file__).parents[1]
BACKOFF = shop_deployment.BACKOFF


class Shop:
    """A directory with a platform, a router, and the HAProxy that clients talk to."""

    def __init__(self, root: Path, server: HAProxyServer) -> None:
        self.root = root
        self.server = server
        self.platform: LocalProcesses
        self.router: HAProxy
        self.platform, self.router = shop_deployment.ports(root)
        self.ports: dict[str, Any] = {"platform": self.platform, "router": self.router}

    async def versions(self) -> dict[str, int]:
        """Return how many ready instances there are of each version."""
        state = await self.platform.observe("shop")
        ready = [i.version for i in state.instances if i.ready]
        return {version: ready.count(version) for version in dict.fromkeys(ready)}

    async def until(self, condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        probe = probes.Callable(condition, name="condition")
        await pyflow.poll(probe, backoff="20ms", timeout="30s")

    async def under_load(self, work: Callable[[Answers], Coroutine[Any, Any, Any]]) -> Answers:
        """Await *work* under constant load, with some load before and after it."""
        async with load(self.server.port, rps=RPS) as answers:
            await answers.wait(30)
            await work(answers)
            await answers.wait(30)
        return answers


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Two instances of version 1.0 that have all of the traffic."""
    server = HAProxyServer(tmp_path)
    try:
        server.wait()
        made = Shop(tmp_path, server)

        async def begin() -> None:
            await run(made.platform, "1.0", 2)
            await made.router.set_weights("shop", {"1.0": 100})

        async def end() -> None:
            for version in ("1.0", "2.0", "2.0bad"):
                await made.platform.scale("shop", version, 0)

        asyncio.run(begin())
        yield made
        asyncio.run(end())
    finally:
        server.stop()


async def fail_often(ctx: pyflow.AsyncContext) -> None:
    """Stand for a check that finds fault."""
    raise RuntimeError("the error rate is too high")


class TestBlueGreen:
    def test_loses_no_request(self, shop: Shop) -> None:
        """The switch, and the end of the old version, cost no request."""

        async def deploy(answers: Answers) -> None:
            workflow = blue_green("shop", "2.0", **shop.ports, bake="1s", backoff=BACKOFF)
            with pyflow.Engine() as engine:
                result = await engine.run(workflow)
            assert result.status == "succeeded", result.error

        answers = asyncio.run(shop.under_load(deploy))

        assert answers.failures == []
        assert set(answers.by_version) == {"1.0", "2.0"}
        assert asyncio.run(shop.versions()) == {"2.0": 2}

    def test_one_after_another(self, shop: Shop) -> None:
        """There and back again and there: servers that are gone and come back cost no request either."""

        async def deploy(answers: Answers) -> None:
            with pyflow.Engine() as engine:
                for version in ("2.0", "1.0", "2.0", "1.0"):
                    result = await engine.run(
                        blue_green("shop", version, **shop.ports, bake="200ms", backoff=BACKOFF)
                    )
                    assert result.status == "succeeded", result.error
            assert shop.server.process.poll() is None

        answers = asyncio.run(shop.under_load(deploy))

        assert answers.failures == []
        assert asyncio.run(shop.versions()) == {"1.0": 2}

    def test_loses_no_request_on_the_way_back(self, shop: Shop) -> None:
        """A version that turns out bad after the switch is taken back, and that costs no request."""

        async def deploy(answers: Answers) -> None:
            checks: dict[str, Any] = {"bake": "1s", "post_checks": [fail_often]}
            workflow = blue_green("shop", "2.0", **shop.ports, **checks, backoff=BACKOFF)
            with pyflow.Engine() as engine:
                result = await engine.run(workflow)
            assert result.status == "rolled_back", result.recovery_errors

        answers = asyncio.run(shop.under_load(deploy))

        assert answers.failures == []
        assert set(answers.by_version) == {"1.0", "2.0"}
        assert asyncio.run(shop.versions()) == {"1.0": 2}
        assert asyncio.run(shop.router.weights("shop")) == {"1.0": 100.0}


class TestProxy:
    def test_outlives_instances_that_go_under_load(self, shop: Shop) -> None:
        """HAProxy stays up where instances that had traffic are gone, though it could not delete them safely."""

        async def lose(answers: Answers) -> None:
            await run(shop.platform, "2.0", 1)
            await shop.router.set_weights("shop", {"1.0": 50, "2.0": 50})
            await answers.wait(100)
            await shop.platform.scale("shop", "1.0", 1)
            await answers.wait(50)
            await shop.router.set_weights("shop", {"2.0": 100})
            await answers.wait(200)
            assert shop.server.process.poll() is None

        answers = asyncio.run(shop.under_load(lose))

        assert answers.by_version["2.0"] > 200


class TestCanary:
    def test_keeps_a_bad_version_small(self, shop: Shop) -> None:
        """A version that fails 20 % of its requests is taken back, and costs no more than its weight allows."""

        async def few_errors() -> None:
            [(_, port)] = list(shop.platform.addresses("shop", "2.0bad").values())[:1]
            seen = await measure(port, 100)
            if len(seen.failures) > 5:
                raise RuntimeError(f"{len(seen.failures)} of 100 requests failed")

        async def deploy(answers: Answers) -> None:
            steps: dict[str, Any] = {"steps": [20, 100], "bake": "2s", "checks": [few_errors]}
            workflow = canary("shop", "2.0bad", **shop.ports, **steps, backoff=BACKOFF)
            with pyflow.Engine() as engine:
                result = await engine.run(workflow)
            assert result.status == "rolled_back"
            assert "of 100 requests failed" in str(result.error)

        answers = asyncio.run(shop.under_load(deploy))

        assert 0 < len(answers.failures) <= 0.2 * 0.2 * answers.requests + 2
        assert asyncio.run(shop.versions()) == {"1.0": 2}

    def compare(self, shop: Shop, **options: Any) -> Compare:
        """Return a comparison of error rates on the counters that HAProxy keeps by itself."""
        source = HAProxyStats(str(shop.server.socket), backend="shop")
        given: dict[str, Any] = {"max_increase": 0.05, "interval": "500ms", "name": "errors"}
        queries = ("errors $version-*", "requests $version-*")
        return Compare(source, *queries, judge_with=Sequential(), **{**given, **options})

    def scraped(self, url: str) -> Compare:
        """Return the comparison of the same counters by what a Prometheus has scraped of them."""
        return Compare(
            Prometheus(url, step="250ms"),
            'sum(haproxy_server_http_responses_total{server=~"$version-.*", code="5xx"})',
            'sum(haproxy_server_http_responses_total{server=~"$version-.*"})',
            max_increase=0.05,
            interval="1s",
            judge_with=Sequential(),
            no_data=extend("30s"),  # it has to scrape the new servers first
            name="errors",
        )

    def loses_no_more_than_its_share(self, shop: Shop, errors: Compare) -> pyflow.Result:
        """Roll a version out that fails 20 % of its requests, and check what that costs."""
        share, failing = 0.2, 0.2
        results: list[pyflow.Result] = []

        async def deploy(answers: Answers) -> None:
            given: dict[str, Any] = {"steps": [share * 100, 100], "bake": "5m"}
            workflow = canary(
                "shop", "2.0bad", **shop.ports, **given, checks=[errors], backoff=BACKOFF
            )
            with pyflow.Engine() as engine:
                results.append(await engine.run(workflow))

        answers = asyncio.run(shop.under_load(deploy))

        [result] = results
        assert result.status == "rolled_back", result.error
        assert "errors: fail: the canary is" in str(result.error)
        assert result.metrics.wall_s < 60
        assert all(one.is_same for one in replay(result.audit_trail))
        allowed = share * failing * answers.requests
        assert 0 < len(answers.failures) <= allowed + 3 * allowed**0.5
        assert asyncio.run(shop.versions()) == {"1.0": 2}
        assert asyncio.run(shop.router.weights("shop")) == {"1.0": 100.0}
        return result

    def test_is_judged_by_the_proxy(self, shop: Shop) -> None:
        """The sequential judge finds on HAProxy's own counters that 20 % fail, long before the bake is over."""
        self.loses_no_more_than_its_share(shop, self.compare(shop))

    def test_is_judged_by_prometheus(self, shop: Shop, tmp_path: Path) -> None:
        """The same is found by a Prometheus that scrapes HAProxy, as soon as it has scraped enough."""
        with prometheus(tmp_path, shop.server.counters) as (url, _):
            scrapes = MetricProbe(Prometheus(url, step="250ms"), SCRAPED, above=0, window="2s")
            asyncio.run(pyflow.poll(scrapes, backoff="100ms", timeout="30s"))
            result = self.loses_no_more_than_its_share(shop, self.scraped(url))

        assert result.metrics.wall_s < 30

    def test_lets_a_good_version_through(self, shop: Shop) -> None:
        """A version that is no worse passes by the same judge, and no request fails."""

        async def deploy(answers: Answers) -> None:
            steps = [Step(50, bake="8s", checks=[self.compare(shop, max_increase=0.2)]), 100]
            workflow = canary("shop", "2.0", **shop.ports, steps=steps, backoff=BACKOFF)
            with pyflow.Engine() as engine:
                result = await engine.run(workflow)
            assert result.status == "succeeded", result.error

        answers = asyncio.run(shop.under_load(deploy))

        assert answers.failures == []
        assert asyncio.run(shop.versions()) == {"2.0": 2}


class TestRolling:
    """Instances go while their version has traffic: the platform has HAProxy drain them before."""

    @pytest.fixture(autouse=True)
    def drains(self, shop: Shop) -> None:
        """Have the platform of the rollout drain what it stops; the test's own stops everything."""
        shop.ports["platform"] = processes(shop.root / "state", drain=shop.router.drain)

    @pytest.mark.parametrize("limits", [(1, 0), (0, 1)])
    def test_loses_no_request(self, shop: Shop, limits: tuple[int, int]) -> None:
        """Every instance is replaced in turn, and that costs no request."""
        surge, unavailable = limits

        async def deploy(answers: Answers) -> None:
            given: dict[str, Any] = {"max_surge": surge, "max_unavailable": unavailable}
            workflow = rolling(
                "shop", "2.0", **shop.ports, **given, instances=2, bake="300ms", backoff=BACKOFF
            )
            with pyflow.Engine() as engine:
                result = await engine.run(workflow)
            assert result.status == "succeeded", result.error

        answers = asyncio.run(shop.under_load(deploy))

        assert answers.failures == []
        assert set(answers.by_version) == {"1.0", "2.0"}
        assert asyncio.run(shop.versions()) == {"2.0": 2}

    def test_loses_no_request_on_the_way_back(self, shop: Shop) -> None:
        """A version that is found bad in the middle of it goes back in turn, and that costs no request."""

        async def fail_at_last(ctx: pyflow.AsyncContext) -> None:
            if ctx.task == "check_2_of_2":
                raise RuntimeError("the error rate is too high")

        async def deploy(answers: Answers) -> None:
            given: dict[str, Any] = {"bake": "300ms", "checks": [fail_at_last]}
            workflow = rolling("shop", "2.0", **shop.ports, **given, instances=2, backoff=BACKOFF)
            with pyflow.Engine() as engine:
                result = await engine.run(workflow)
            assert result.status == "rolled_back", result.recovery_errors

        answers = asyncio.run(shop.under_load(deploy))

        assert answers.failures == []
        assert set(answers.by_version) == {"1.0", "2.0"}
        assert asyncio.run(shop.versions()) == {"1.0": 2}
        assert asyncio.run(shop.router.weights("shop")) == {"1.0": 100.0}


class TestKilled:
    """The deploying process is killed with -9 in the middle of a rollout."""

    @pytest.fixture
    def deployment(self, shop: Shop) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
        """Starts a deployment in a process of its own."""
        started: list[subprocess.Popen[bytes]] = []

        def start(bake: str) -> subprocess.Popen[bytes]:
            argv = [sys.executable, shop_deployment.__file__, str(shop.root), bake]
            env = {**os.environ, "PYTHONPATH": str(TESTS)}
            started.append(subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL))
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.wait()

    @pytest.mark.parametrize("then", ["resume", "rollback"])
    @pytest.mark.parametrize("moment", ["starting", "baking"])
    def test_leaves_the_service_ready(
        self,
        shop: Shop,
        deployment: Callable[[str], subprocess.Popen[bytes]],
        moment: str,
        then: str,
    ) -> None:
        """Another process takes it up, forward or back, and no client has noticed anything."""
        bake = "3s" if then == "resume" else "1h"

        async def has_come_so_far() -> bool:
            if moment == "baking":
                return await shop.router.weights("shop") == {"2.0": 100.0}
            return bool(shop.platform.addresses("shop", "2.0"))

        async def deploy(answers: Answers) -> None:
            process = deployment(bake)
            await shop.until(has_come_so_far)
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            await answers.wait(50)
            status = await asyncio.to_thread(take_up)
            assert status == ("succeeded" if then == "resume" else "rolled_back")

        def take_up() -> str:
            workflow = shop_deployment.make(shop.root, bake)
            with pyflow.Engine(journal=shop.root / "deploys.db") as engine:
                [run_id] = engine.journal.runs()
                if then == "resume":
                    return engine.resume(run_id, workflow).status
                return engine.rollback(run_id, workflow, reason="it was killed").status

        answers = asyncio.run(shop.under_load(deploy))

        assert answers.failures == []
        live = "2.0" if then == "resume" else "1.0"
        assert asyncio.run(shop.versions()) == {live: 2}
        assert asyncio.run(shop.router.weights("shop")) == {live: 100.0}
