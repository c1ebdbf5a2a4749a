"""Simulated traffic: how many requests come, how many fail, and that asking changes nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from statistics import fmean
from typing import Any

import pytest

from pyflow.protocols import Sample
from pyflow.testing import Load, SimulationError, VirtualClock, World, run_virtual
from pyflow.testing.world import traffic
from support.virtual import DAY_S, HOUR_S
from support.worlds import shop, values

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


async def after(span_s: float, world: World, query: str, window: timedelta = DAY) -> list[float]:
    """Let time pass, and return what is measured then."""
    await asyncio.sleep(span_s)
    return values(await world.metrics.query(query, window=window))


def close(found: float, expected: float, *, deviations: float = 5) -> bool:
    """Return whether a count is as expected, within some standard deviations of Poisson's law."""
    return abs(found - expected) <= deviations * math.sqrt(expected)


class TestRequests:
    @pytest.mark.parametrize("rps", [0.05, 2, 200])
    def test_sum_up(self, rps: float) -> None:
        """As many requests come as requests per second times seconds, more or less."""
        counts = run_virtual(after(HOUR_S, shop(rps=rps), "requests shop"))

        assert len(counts) == 360
        assert close(sum(counts), rps * HOUR_S)
        assert len(set(counts)) > 1

    def test_split_by_weight(self) -> None:
        """Each version gets its share, and the service as a whole gets their sum."""
        world = shop(rps=100)
        world.apply_scale("shop", "2.0", 1)
        world.apply_weights("shop", {"1.0": 80, "2.0": 20})
        both = run_virtual(after(HOUR_S, world, "requests shop"))
        old = run_virtual(after(0, world, "requests shop 1.0"))
        new = run_virtual(after(0, world, "requests shop 2.0"))

        assert close(sum(old), 80 * HOUR_S)
        assert close(sum(new), 20 * HOUR_S)
        assert [a + b for a, b in zip(old, new, strict=True)] == both

    def test_follow_weights(self) -> None:
        """From the change of the weights on, requests go elsewhere; earlier ones stay."""
        world = shop(rps=100)

        async def main() -> tuple[list[float], list[float]]:
            await asyncio.sleep(60)
            await world.router.set_weights("shop", {"2.0": 100})
            await asyncio.sleep(60)
            return await after(0, world, "requests shop 1.0"), await after(
                0, world, "requests shop 2.0"
            )

        old, new = run_virtual(main())
        assert [count > 0 for count in old] == [True] * 6 + [False] * 6
        assert [count > 0 for count in new] == [False] * 6 + [True] * 6

    def test_rate(self) -> None:
        """The figure `rps` is requests per second."""
        world = shop(rps=50)
        counts = run_virtual(after(60, world, "requests shop"))

        assert run_virtual(after(0, world, "rps shop")) == [count / 10 for count in counts]

    def test_function(self) -> None:
        """Traffic may be a function of time."""
        world = shop()
        world.traffic("shop", lambda at_s: 100.0 if at_s < 60 else 0.0)

        counts = run_virtual(after(120, world, "requests shop"))

        assert [count > 0 for count in counts] == [True] * 6 + [False] * 6

    @pytest.mark.parametrize("rps", [100, lambda _: 100], ids=["figure", "function"])
    def test_daily_wave(self, rps: Any) -> None:
        """A wave moves requests from the second half of a day to its first, and adds none."""
        world = shop()
        world.traffic("shop", rps, wave=0.5)

        counts = run_virtual(after(DAY_S, world, "requests shop"))

        peak, trough = counts[2159], counts[6479]
        assert close(sum(counts), 100 * DAY_S)
        assert close(peak, 1500)
        assert close(trough, 500)

    def test_before_the_service(self) -> None:
        """There are no figures from before the service was there."""
        world = shop()
        run_virtual(after(HOUR_S, world, "requests shop"))
        world.service("mail", version="1.0")

        assert run_virtual(after(60, world, "requests mail")) == [0.0] * 6

    def test_bad_function(self) -> None:
        """A function that gives no figure is named, with what it gave and when."""
        for answer in (math.nan, -1.0, math.inf, None):
            world = shop()
            world.traffic("shop", lambda _, answer=answer: answer)  # type: ignore[misc]
            with pytest.raises(SimulationError, match=f"rps at 5 s cannot be {answer}"):
                run_virtual(after(10, world, "rps shop"))


class TestErrors:
    def test_share(self) -> None:
        """The share of requests that fail is the release's error rate, more or less."""
        world = shop(rps=100)
        world.release("shop", "1.0", error_rate=0.1)

        rates = run_virtual(after(HOUR_S, world, "error_rate shop 1.0"))

        assert len(set(rates)) > 1
        assert fmean(rates) == pytest.approx(0.1, abs=0.005)

    def test_share_at_little_traffic(self) -> None:
        """The share is right too where a few requests come."""
        world = shop(rps=0.3)
        world.release("shop", "1.0", error_rate=0.75)
        failed = run_virtual(after(DAY_S, world, "errors shop"))
        came = run_virtual(after(0, world, "requests shop"))

        assert sum(failed) / sum(came) == pytest.approx(0.75, abs=0.02)
        assert all(f <= c for f, c in zip(failed, came, strict=True))

    def test_excess(self) -> None:
        """What exceeds the capacity of what is ready fails."""
        rates = run_virtual(after(HOUR_S, shop(instances=1, rps=400), "error_rate shop"))

        assert fmean(rates) == pytest.approx(0.75, abs=0.005)

    @pytest.mark.parametrize("rps", [0.2, 300])
    def test_nobody_there(self, rps: float) -> None:
        """Every request fails, without exception, that reaches a version with nothing ready."""
        world = shop(instances=0, rps=rps)

        assert set(run_virtual(after(HOUR_S, world, "error_rate shop"))) == {1.0}

    def test_startup(self) -> None:
        """Requests fail until an instance is ready, and are served from then on."""
        world = shop(instances=0, rps=50)

        async def main() -> list[float]:
            await world.platform.scale("shop", "1.0", 1)
            return await after(60, world, "error_rate shop")

        assert run_virtual(main()) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]

    def test_age(self) -> None:
        """A version may fail from a certain age on."""
        world = shop(rps=100)
        world.release("shop", "2.0", error_rate=lambda load: float(load.age_s > 60), startup=0)

        async def main() -> list[float]:
            await asyncio.sleep(30)
            await world.platform.scale("shop", "2.0", 4)
            await world.router.set_weights("shop", {"2.0": 100})
            return await after(90, world, "error_rate shop 2.0")

        assert run_virtual(main()) == [0.0] * 6 + [1.0] * 3

    @pytest.mark.parametrize("answer", [math.nan, "0.1", None])
    def test_bad_function(self, answer: Any) -> None:
        """A function that gives no number is named, with the load that it was given."""
        world = shop(rps=10)
        world.release("shop", "1.0", error_rate=lambda _: answer)

        with pytest.raises(SimulationError, match=r"error_rate under Load\(version='1.0', rps=10"):
            run_virtual(after(10, world, "errors shop"))


class TestLatency:
    def test_mean(self) -> None:
        """Latencies vary about the mean that the release says."""
        world = shop(rps=10)
        world.release("shop", "1.0", latency_s=0.2)

        found = run_virtual(after(HOUR_S, world, "latency_s shop 1.0"))

        assert len(set(found)) > 300
        assert fmean(found) == pytest.approx(0.2, rel=0.02)
        assert min(found) > 0

    def test_under_load(self) -> None:
        """A latency may grow with utilisation; a service's is the mean over its requests."""
        world = shop(instances=1, rps=100)
        slow: Callable[[Load], float] = lambda load: load.utilisation  # noqa: E731
        world.release("shop", "1.0", latency_s=slow)
        world.release("shop", "2.0", latency_s=slow, startup=0)
        world.apply_scale("shop", "2.0", 2)
        world.apply_weights("shop", {"1.0": 80, "2.0": 20})

        found = run_virtual(after(HOUR_S, world, "latency_s shop"))

        assert fmean(found) == pytest.approx(0.8 * 0.8 + 0.2 * 0.1, rel=0.02)

    def test_without_an_answer(self) -> None:
        """Where no answer ever comes there is no latency, rather than an infinite one."""
        world = shop(instances=0, rps=100)
        world.release("shop", "1.0", latency_s=lambda load: load.utilisation)
        world.apply_scale("shop", "2.0", 1)

        assert run_virtual(after(60, world, "latency_s shop 1.0")) == []
        assert run_virtual(after(60, world, "latency_s shop")) == []


class TestSilence:
    @pytest.mark.parametrize("figure", ["error_rate", "latency_s"])
    def test_without_traffic(self, figure: str) -> None:
        """Without requests there is no share of them and no time that they took."""
        assert run_virtual(after(HOUR_S, shop(), f"{figure} shop")) == []

    def test_counts(self) -> None:
        """Without requests their number is zero."""
        assert run_virtual(after(60, shop(), "requests shop")) == [0.0] * 6

    def test_unknown_version(self) -> None:
        """Of a version that never was there is no data, not even zeros."""
        assert run_virtual(after(60, shop(rps=10), "requests shop 9.9")) == []

    def test_too_early(self) -> None:
        """Figures are there once their ten seconds have passed."""
        world = shop(rps=10)

        assert run_virtual(after(9.9, world, "requests shop")) == []
        assert len(run_virtual(after(0.1, world, "requests shop"))) == 1

    def test_future(self) -> None:
        """Nobody is told what will be measured."""
        world = shop(rps=10)

        async def main() -> list[Sample]:
            await asyncio.sleep(60)
            at = VirtualClock().now() + MINUTE
            return list(await world.metrics.query("requests shop", window=2 * MINUTE, at=at))

        assert len(run_virtual(main())) == 6


class TestSameAnswers:
    def test_whenever_asked(self) -> None:
        """A figure is the same whether it is asked for at once or later, alone or among others."""
        asked, silent = shop(seed=5, rps=100), shop(seed=5, rps=100)
        pieces: list[float] = []

        async def ask() -> None:
            for _ in range(10):
                pieces.extend(await after(60, asked, "requests shop", MINUTE))

        run_virtual(ask())
        whole = run_virtual(after(600, silent, "requests shop"))

        assert pieces == whole == run_virtual(after(0, asked, "requests shop"))

    def test_in_whatever_order(self) -> None:
        """The order of questions does not matter, nor what is asked between them."""
        world = shop(rps=100)
        world.release("shop", "1.0", error_rate=0.2)
        queries = ["latency_s shop", "errors shop 1.0", "requests shop", "errors shop 1.0"]
        run_virtual(after(HOUR_S, world, "rps shop"))

        ask = lambda query: run_virtual(after(0, world, query))  # noqa: E731
        forward = {query: ask(query) for query in queries}
        backward = {query: ask(query) for query in reversed(queries)}

        assert forward == backward

    def test_whatever_comes_later(self) -> None:
        """What is changed later does not change what was measured."""
        world = shop(rps=100)
        before = run_virtual(after(60, world, "errors shop"))
        world.release("shop", "1.0", capacity_rps=1)
        world.traffic("shop", 500)
        world.apply_scale("shop", "1.0", 0)

        assert run_virtual(after(60, world, "errors shop"))[:6] == before == [0.0] * 6
        assert run_virtual(after(0, world, "errors shop"))[6:] > [4000.0] * 6

    @pytest.mark.parametrize("figure", ["requests", "errors", "latency_s"])
    def test_in_another_past(self, figure: str) -> None:
        """A world that is set back and goes another way has the figures of that way, and of no other."""

        def ask(world: World, *, wrong: float, rps: float) -> list[float]:
            world.release("shop", "1.0", error_rate=wrong, latency_s=wrong, capacity_rps=rps / 2)
            world.traffic("shop", rps)
            return run_virtual(after(60, world, f"{figure} shop"))

        world = shop(rps=100)
        before = world.save()
        ways = [
            {"wrong": 0.1, "rps": 100.0},
            {"wrong": 0.9, "rps": 100.0},
            {"wrong": 0.9, "rps": 50.0},
        ]
        found: list[list[float]] = []
        for way in [*ways, *ways]:
            world.restore(before)
            found.append(ask(world, **way))

        assert found == [ask(shop(rps=100), **way) for way in [*ways, *ways]]
        assert len(set(map(tuple, found))) > 1

    def test_few_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service remembers no more figures than it may, and answers the same for all that."""
        many = run_virtual(after(600, shop(rps=100), "requests shop"))
        monkeypatch.setattr(traffic, "DRAWN_MAX", 10)
        world = shop(rps=100)

        assert run_virtual(after(600, world, "requests shop")) == many
        assert len(world.find("shop").drawn) <= 10 < len(many)

    def test_seeds(self) -> None:
        """Equal seeds give equal figures, other seeds give others."""
        ask = lambda seed: run_virtual(after(60, shop(seed=seed, rps=100), "requests shop"))  # noqa: E731

        assert ask(1) == ask(1)
        assert len({tuple(ask(seed)) for seed in range(5)}) == 5

    def test_are_independent(self) -> None:
        """Two services under equal traffic do not get equal counts."""
        world = shop(rps=100)
        world.service("mail", version="1.0")
        world.traffic("mail", 100)

        one, other = (
            run_virtual(after(60, world, f"requests {name}")) for name in ("shop", "mail")
        )

        assert one != other[:6]


class TestCost:
    def test_nothing_until_asked(self) -> None:
        """A day of traffic is not worked out until somebody asks, and then for the window alone."""
        world = shop()
        asked: list[float] = []
        world.traffic("shop", lambda at_s: asked.append(at_s) or 1e6)

        async def main() -> list[float]:
            await world.platform.scale("shop", "2.0", 1)
            await asyncio.sleep(DAY_S)
            assert asked == []
            return await after(0, world, "requests shop 1.0", MINUTE)

        assert len(run_virtual(main())) == 6
        assert asked == [DAY_S - s for s in (55, 45, 35, 25, 15, 5)]
