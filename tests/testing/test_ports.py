"""The ports of a simulated world: what they say, and how they say something else."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pyflow.protocols import MetricSource, Platform, Probe, Router
from pyflow.testing import (
    SimulationError,
    VirtualClock,
    flaps,
    missing,
    nan,
    original,
    run_virtual,
    stale,
    takes,
)
from support.worlds import HOUR, shop, values

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class TestPlatform:
    def test_stale(self) -> None:
        """A stale answer is what was true before the last change, to the readiness of then."""
        world = shop(instances=0)
        platform: Platform = world.platform

        async def main() -> list[list[bool]]:
            seen: list[list[bool]] = []
            for wait_s, change in ((0, 1), (10, 2), (60, 3)):
                await asyncio.sleep(wait_s)
                await platform.scale("shop", "1.0", change)
                seen.append([i.ready for i in (await platform.observe("shop")).instances])
            return seen

        world.platform.on("observe", stale())
        assert run_virtual(main()) == [[], [False], [True, True]]

    def test_stale_from_the_beginning(self) -> None:
        """Where nothing has changed, a stale answer is the true one."""
        world = shop()
        truth = run_virtual(world.platform.observe("shop"))
        world.platform.on("observe", stale())

        assert run_virtual(world.platform.observe("shop")) == truth

    def test_stale_by_age(self) -> None:
        """A stale answer of an age is what was true that long before it is given."""
        world = shop(instances=0)
        world.platform.on("observe", takes("5s", then=stale("30s")))

        async def main() -> list[Any]:
            await world.platform.scale("shop", "2.0", 1)
            seen: list[Any] = []
            for wait_s in (0, 20, 15):
                await asyncio.sleep(wait_s)
                seen.append([i.ready for i in (await world.platform.observe("shop")).instances])
            return seen

        assert run_virtual(main()) == [[], [False], [True]]


class TestRouter:
    def test_reads_back(self) -> None:
        """The weights that are in force are read back, as a mapping of one's own."""
        world = shop()
        router: Router = world.router

        async def main() -> Any:
            await router.set_weights("shop", {"2.0": 25, "1.0": 75, "0.9": 0})
            dict(await router.weights("shop")).clear()
            return await router.weights("shop")

        assert run_virtual(main()) == {"1.0": 75.0, "2.0": 25.0}

    def test_takes_what_it_was_given(self) -> None:
        """What is changed in the mapping while the call is under way does not matter."""
        world, weights = shop(), {"1.0": 50.0, "2.0": 50.0}
        world.router.on("set_weights", takes("10s"))

        async def main() -> None:
            setting = asyncio.create_task(world.router.set_weights("shop", weights))
            await asyncio.sleep(5)
            weights.clear()
            await setting

        run_virtual(main())
        assert world.services["shop"].now.weights == {"1.0": 50.0, "2.0": 50.0}

    def test_stale(self) -> None:
        """A stale answer is the weights before the last change, or those of some time ago."""
        world = shop()
        for at_s, weight in ((0, 10), (10, 50)):
            world.at(at_s, lambda w=weight: world.apply_weights("shop", {"1.0": 100 - w, "2.0": w}))

        async def main(behaviour: Any) -> float:
            timers = world.begin()
            await asyncio.sleep(60)
            world.end(timers)
            world.router.on("weights", behaviour)
            return (await world.router.weights("shop")).get("2.0", 0.0)

        saved = world.save()
        seen: list[float] = []
        for behaviour in (stale(), stale("51s"), stale("50s"), stale("2m")):
            seen.append(run_virtual(main(behaviour)))
            world.restore(saved)
        assert seen == [10.0, 10.0, 50.0, 0.0]


class TestProbe:
    def test_counts_ready(self) -> None:
        """A probe is healthy while so many instances are ready, by default all that there are."""
        world = shop(instances=2)
        probe: Probe = world.probe("shop")

        async def main() -> list[Any]:
            await world.platform.scale("shop", "2.0", 2)
            looks = [probe, *(world.probe("shop", "2.0", ready=n) for n in (2, 3))]
            before = [(await look.read()).health for look in looks]
            await asyncio.sleep(20)
            return [before, [(await look.read()).health for look in looks]]

        assert run_virtual(main()) == [["unhealthy"] * 3, ["healthy", "healthy", "unhealthy"]]

    def test_evidence(self) -> None:
        """What it rests on is how many are ready, how many there are, and how many it takes."""
        world = shop(instances=2)

        assert run_virtual(world.probe("shop", "9").read()).evidence == {
            "ready": 0,
            "instances": 0,
            "wanted": 1,
        }
        assert run_virtual(world.probe("shop", ready=7).read()).evidence["wanted"] == 7

    def test_is_one(self) -> None:
        """Asking for the same probe gives the same one."""
        world = shop()

        assert world.probe("shop", "1.0") is world.probe("shop", "1.0")
        assert world.probe("shop", "1.0") is not world.probe("shop")
        assert repr(world.probe("shop", "1.0")) == "<SimulatedProbe shop 1.0>"

    def test_flaps(self) -> None:
        """A probe that flaps says the opposite of the truth in every second reading."""
        world = shop()
        probe = world.probe("shop")
        probe.on("read", flaps())

        async def main() -> list[str]:
            return [(await probe.read()).health for _ in range(4)]

        assert run_virtual(main()) == ["unhealthy", "healthy"] * 2
        world.kill("shop", "1.0", 4)
        assert run_virtual(main()) == ["healthy", "unhealthy"] * 2

    def test_missing(self) -> None:
        """A probe without an answer says that it does not know."""
        world = shop()
        world.probe("shop").on("read", missing())

        assert run_virtual(world.probe("shop").read()).health == "unknown"


class TestMetrics:
    def test_window(self) -> None:
        """A sample speaks for ten seconds; the window's end belongs to it, its beginning does not."""
        world = shop(rps=10)
        source: MetricSource = world.metrics

        async def main(ago_s: float) -> list[float]:
            await asyncio.sleep(60)
            now = VirtualClock().now()
            samples = await source.query(
                "rps shop", window=timedelta(seconds=20), at=now - timedelta(seconds=ago_s)
            )
            return [(now - sample.at).total_seconds() for sample in samples]

        assert run_virtual(main(0)) == [10.0, 0.0]
        assert run_virtual(main(5)) == [20.0, 10.0]

    @pytest.mark.parametrize("past_s", [n / 7e4 for n in range(1, 20)])
    def test_window_of_its_dates(self, past_s: float) -> None:
        """A window between the dates of two samples holds the later one, however dates are rounded."""
        world = shop(rps=10)

        async def main(span_s: float) -> Any:
            await asyncio.sleep(span_s)
            return await world.metrics.query("rps shop", window=timedelta(hours=1))

        async def again() -> Any:
            first, *_, last = await main(60)
            return last, await world.metrics.query(
                "rps shop", window=last.at - first.at, at=last.at
            )

        run_virtual(main(past_s))
        last, found = run_virtual(again())
        assert found[-1] == last
        assert len(found) == 5

    @pytest.mark.parametrize(
        "query", ["", "rps", "speed shop", "rps shop 1.0 eu", "rate(http_requests_total[5m])", None]
    )
    def test_unknown_query(self, query: Any) -> None:
        """A query that it cannot answer is refused, with those that it can."""
        with pytest.raises(
            SimulationError, match=r"cannot answer .* requests, errors, rps, .*define"
        ):
            run_virtual(shop().metrics.query(query, window=HOUR))

    def test_define(self) -> None:
        """It can be taught the queries of real checks, in whatever language."""
        world = shop(rps=10)
        text = 'sum(rate(http_requests_total{app="shop"}[1m]))'
        world.metrics.define(text, "rps shop")

        async def main() -> tuple[Any, Any]:
            await asyncio.sleep(60)
            ask = world.metrics.query
            return await ask(text, window=HOUR), await ask("rps shop", window=HOUR)

        taught, plain = run_virtual(main())
        assert len(taught) == 6
        assert taught == plain

    def test_define_nonsense(self) -> None:
        """A query can only mean what can be answered."""
        with pytest.raises(SimulationError, match="cannot answer 'speed shop'"):
            shop().metrics.define("up", "speed shop")
        with pytest.raises(SimulationError, match="no service 'shp'"):
            shop().metrics.define("up", "rps shp")

    def test_silence_and_nonsense(self) -> None:
        """Samples may be missing, or be no numbers at instants that are right."""
        world = shop(rps=10)

        async def main(behaviour: Any) -> Any:
            await asyncio.sleep(60)
            world.metrics.on("query", behaviour)
            return await world.metrics.query("rps shop", window=timedelta(minutes=1))

        assert run_virtual(main(missing())) == []
        spoilt = run_virtual(main(nan()))
        truth = run_virtual(main(original()))
        assert len(spoilt) == 6
        assert all(math.isnan(value) for value in values(spoilt))
        assert [s.at for s in spoilt] == [s.at for s in truth]
