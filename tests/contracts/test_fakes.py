"""Every fake keeps the contract of its protocol, in a new world and in one that has a past."""

from __future__ import annotations

import asyncio

import pytest

from pyflow.record.locks import MemoryLocks
from pyflow.record.memory import MemoryJournal
from pyflow.testing import SimulatedExecutor, SimulatedNotifier, VirtualClock, World, run_virtual
from pyflow.testing.contracts import (
    check_clock,
    check_executor,
    check_journal,
    check_lock_manager,
    check_metric_source,
    check_notifier,
    check_platform,
    check_probe,
    check_router,
)
from support.worlds import shop


async def past(world: World, span_s: float) -> None:
    """Give *world* a past: half of what runs changes, and time goes by."""
    world.apply_scale("shop", "2.0", 2)
    world.apply_weights("shop", {"1.0": 50, "2.0": 50})
    await asyncio.sleep(span_s)
    assert world.now_s > 0


@pytest.fixture(params=["new", "old"])
def world(request: pytest.FixtureRequest) -> World:
    """A world with traffic, just made, or left by another run at an odd instant."""
    world = shop(rps=20)
    if request.param == "old":
        run_virtual(past(world, 642.9596071234))
    return world


class TestFakesOfAWorld:
    @pytest.mark.parametrize("version", ["1.0", "3.0"])
    def test_platform(self, world: World, version: str) -> None:
        """The platform keeps the contract, for a version that runs and for a new one."""
        world.release("shop", version, startup="90s")

        run_virtual(check_platform(lambda: world.platform, service="shop", version=version))

    def test_router(self, world: World) -> None:
        """The router keeps the contract, and its weights are in force at once."""
        versions = ("1.0", "2.0")

        run_virtual(
            check_router(lambda: world.router, service="shop", versions=versions, settle="1ms")
        )

    def test_probe(self, world: World) -> None:
        """A probe keeps the contract, where things are well and where nothing is there."""
        for probe in (world.probe("shop"), world.probe("shop", "9.9", ready=3)):
            run_virtual(check_probe(lambda probe=probe: probe, within="1ms"))

    @pytest.mark.parametrize("known", ["requests shop", "error_rate shop 1.0", "latency_s shop"])
    @pytest.mark.parametrize("unknown", ["rps shop 9.9", "latency_s mail", "speed shop"])
    def test_metrics(self, world: World, known: str, unknown: str) -> None:
        """The source of metrics keeps the contract, wherever in its ten seconds it is asked."""
        world.service("mail", version="1.0")

        async def main() -> None:
            await past(world, 1234.5678901)
            await check_metric_source(
                lambda: world.metrics, known=known, unknown=unknown, window="10m"
            )

        run_virtual(main())

    def test_notifier(self) -> None:
        """The notifier keeps the contract, delivery included."""

        def delivered(notifier: object) -> list[str]:
            assert isinstance(notifier, SimulatedNotifier)
            return [message.id for message in notifier.sent]

        run_virtual(check_notifier(lambda: World().notifier, delivered=delivered))

    def test_locks(self) -> None:
        """The locks of a world keep the contract, and so do copies of them."""
        run_virtual(check_lock_manager(lambda: World().locks))
        run_virtual(check_lock_manager(lambda: World().locks.copy()))


class TestOtherFakes:
    def test_clock(self) -> None:
        """The clock of virtual time keeps the contract."""
        check_clock(VirtualClock)

    def test_executor(self) -> None:
        """The executor of virtual time keeps the contract."""
        run_virtual(check_executor(SimulatedExecutor))

    def test_journal(self) -> None:
        """The journal in memory keeps the contract."""
        check_journal(MemoryJournal)

    def test_lock_manager(self) -> None:
        """The locks in memory keep the contract."""
        run_virtual(check_lock_manager(MemoryLocks))
