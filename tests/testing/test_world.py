"""The simulated world: services, instances, weights, settings, and what a test may say of them."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import pytest

from pyflow.protocols import Instance
from pyflow.testing import Load, Release, SimulationError, World, run_virtual, takes
from support.worlds import HOUR, shop, told


def instances_of(world: World) -> tuple[Instance, ...]:
    """Return what the platform observes."""
    return run_virtual(world.platform.observe("shop")).instances


class TestService:
    def test_begins_ready(self) -> None:
        """A new service is ready, has all of the traffic, and has done nothing yet."""
        world = shop(instances=2)

        assert instances_of(world) == (
            Instance("shop-1", "1.0", ready=True),
            Instance("shop-2", "1.0", ready=True),
        )
        assert run_virtual(world.router.weights("shop")) == {"1.0": 100.0}
        assert world.history == []

    def test_may_be_empty(self) -> None:
        """A service may begin with nothing that runs."""
        assert instances_of(shop(instances=0)) == ()

    def test_may_have_no_router(self) -> None:
        """Where nobody weighs versions, there are no weights, and none can be set."""
        world = World()
        world.service("queue", version="1.0", instances=2, routed=False)

        assert world.facts() == {"queue instances 1.0": 2, "schema version": 0}
        assert run_virtual(world.router.weights("queue")) == {}
        with pytest.raises(SimulationError, match="queue has no router"):
            world.apply_weights("queue", {"1.0": 100})

    def test_without_a_router_shares_by_what_is_ready(self) -> None:
        """Each version has the work that its ready instances are of all."""
        world = World()
        world.service("queue", version="1.0", instances=3, routed=False)
        world.release("queue", "2.0", startup=0)
        world.traffic("queue", 100)
        service = world.services["queue"]

        world.apply_scale("queue", "2.0", 1)
        assert (service.load("1.0", 0).rps, service.load("2.0", 0).rps) == (75, 25)
        assert service.unserved(0) == service.overloaded(0) == {}

        world.traffic("queue", 500)
        assert set(service.overloaded(0)) == {"1.0", "2.0"}
        world.apply_scale("queue", "2.0", 0)
        world.apply_scale("queue", "1.0", 0)
        assert service.load("1.0", 0).rps == 0
        assert service.unserved(0) == {"": "queue has work and nothing ready"}

    def test_are_apart(self) -> None:
        """What is done to one service leaves the others as they were."""
        world = shop(instances=1)
        world.service("mail", version="7")
        world.apply_scale("mail", "8", 2)

        assert world.services["shop"].counts() == {"1.0": 1}
        assert world.services["mail"].counts() == {"7": 1, "8": 2}

    def test_facts(self) -> None:
        """The facts are flat, in the order in which services came, and sorted within."""
        world = shop()
        world.service("mail", version="7")
        world.apply_scale("shop", "0.9", 1)
        world.apply_weights("shop", {"1.0": 60, "0.9": 40})
        world.config["b"], world.config["a"] = 1, [2]
        world.schema_version = 3

        assert list(world.facts().items()) == [
            ("shop instances 0.9", 1),
            ("shop instances 1.0", 4),
            ("shop weight 0.9", 40.0),
            ("shop weight 1.0", 60.0),
            ("mail instances 7", 1),
            ("mail weight 7", 100.0),
            ("config a", [2]),
            ("config b", 1),
            ("schema version", 3),
        ]

    def test_is_shown(self) -> None:
        """The world, its services and its changes show what matters in a line each."""
        world = shop(seed=3)
        world.kill("shop", "1.0")

        assert repr(World()) == "<World at 0.0 s: no services>"
        assert repr(world) == "<World at 0.0 s: shop>"
        assert repr(world.services["shop"]) == "<Service shop {'1.0': 3} {'1.0': 100.0}>"
        assert str(world).splitlines()[:2] == ["world at 0.0 s, seed 3", "  shop instances 1.0: 3"]
        assert str(world.history[0]).endswith("0.000 s  shop instances 1.0: 4 -> 3  by the test")

    def test_fingerprint(self) -> None:
        """Worlds that differ in time alone have equal fingerprints; any other difference shows."""
        world = shop()
        prints = [world.fingerprint()]
        for change in (
            lambda: world.apply_scale("shop", "2.0", 1),
            lambda: world.apply_weights("shop", {"2.0": 100}),
            lambda: world.config.update(a=1),
            lambda: setattr(world, "schema_version", 1),
            lambda: world.platform.on("observe", takes(0)),
            lambda: run_virtual(world.platform.observe("shop")),
            lambda: run_virtual(asyncio.sleep(60)),
            lambda: run_virtual(world.platform.observe("shop")),
        ):
            change()
            prints.append(world.fingerprint())

        assert [a == b for a, b in pairwise(prints)] == [False] * 4 + [True, False, True, False]


class TestInstances:
    def test_become_ready(self) -> None:
        """A new instance is ready exactly when its release's startup has passed."""
        world = shop(instances=0)
        world.release("shop", "2.0", startup="30s")

        async def main() -> list[bool]:
            await world.platform.scale("shop", "2.0", 1)
            seen: list[bool] = []
            for wait_s in (0, 29.999, 0.001):
                await asyncio.sleep(wait_s)
                seen.append((await world.platform.observe("shop")).instances[0].ready)
            return seen

        assert run_virtual(main()) == [False, False, True]

    def test_become_ready_in_every_run(self) -> None:
        """Where the world's clock is a sum of floats, an instance is ready on time all the same."""
        world = shop(instances=0)

        async def main(begin_s: float) -> bool:
            await asyncio.sleep(begin_s)
            await world.platform.scale("shop", "2.0", 0)
            await world.platform.scale("shop", "2.0", 1)
            await asyncio.sleep(20)
            return (await world.platform.observe("shop")).instances[0].ready

        assert all(run_virtual(main(tenths / 10)) for tenths in range(1, 60))

    def test_may_never_start(self) -> None:
        """A release that does not start never has a ready instance."""
        world = shop(instances=0)
        world.release("shop", "2.0", starts=False)

        async def main() -> bool:
            await world.platform.scale("shop", "2.0", 1)
            await asyncio.sleep(1e9)
            return (await world.platform.observe("shop")).instances[0].ready

        assert run_virtual(main()) is False

    def test_ids_never_come_back(self) -> None:
        """Scaling down takes the newest, and scaling up gives ids that nobody has had."""
        world = shop(instances=0)
        for count in (3, 1, 3):
            world.apply_scale("shop", "2.0", count)

        assert [i.id for i in instances_of(world)] == ["shop-1", "shop-4", "shop-5"]

    def test_die(self) -> None:
        """Killing takes the oldest, leaves other versions, and takes no more than there is."""
        world = shop(instances=3)
        world.apply_scale("shop", "2.0", 1)
        world.kill("shop", "1.0", 2)
        left = [i.id for i in instances_of(world)]
        world.kill("shop", "1.0", 10)
        world.kill("shop", "1.1")

        assert left == ["shop-3", "shop-4"]
        assert world.services["shop"].counts() == {"2.0": 1}

    def test_again_is_nothing(self) -> None:
        """Asking for what already is changes nothing: no generation, no history."""
        world = shop()
        world.apply_scale("shop", "2.0", 1)
        before = run_virtual(world.platform.observe("shop")), len(world.history)
        world.apply_scale("shop", "2.0", 1)
        world.apply_scale("shop", "3.0", 0)
        world.apply_weights("shop", {"2.0": 0, "1.0": 100})

        assert (run_virtual(world.platform.observe("shop")), len(world.history)) == before

    def test_generation(self) -> None:
        """Every change of instances or weights gives a new generation."""
        world = shop()
        seen = [run_virtual(world.platform.observe("shop")).generation]
        for change in (
            lambda: world.apply_scale("shop", "2.0", 1),
            lambda: world.apply_weights("shop", {"1.0": 50, "2.0": 50}),
            lambda: world.kill("shop", "1.0"),
        ):
            change()
            seen.append(run_virtual(world.platform.observe("shop")).generation)

        assert len(set(seen)) == 4

    def test_overloaded(self) -> None:
        """A version that gets more than its ready instances can serve is named, with both figures."""
        world = shop(instances=1, rps=250)
        quiet = shop(instances=1)
        service = world.services["shop"]

        assert quiet.services["shop"].overloaded(0) == service.unserved(0) == {}
        assert service.overloaded(0) == {
            "1.0": "shop 1.0 gets 250.0 requests a second, and what is ready can serve 100.0"
        }
        world.apply_scale("shop", "1.0", 0)
        assert service.overloaded(0) == {}
        assert service.unserved(0) == {"1.0": "shop 1.0 has weight 100 and nothing ready"}


class TestRelease:
    def test_load(self) -> None:
        """A figure may be a function of version, traffic, capacity, instant and age."""
        seen: list[Load] = []

        def error_rate(load: Load) -> float:
            seen.append(load)
            return 0.5

        world = shop(instances=2, rps=80)
        world.release("shop", "1.0", error_rate=error_rate, capacity_rps=50)

        async def main() -> None:
            await asyncio.sleep(10)
            await world.metrics.query("errors shop 1.0", window=HOUR)

        run_virtual(main())
        assert seen == [Load("1.0", rps=80.0, capacity_rps=100.0, at_s=5.0, age_s=5.0)]

    def test_age(self) -> None:
        """A version is as old as its oldest instance that still runs."""
        world = shop(instances=0)
        service = world.services["shop"]

        async def main() -> None:
            for count in (1, 2):
                await world.platform.scale("shop", "2.0", count)
                await asyncio.sleep(10)

        run_virtual(main())
        ages = [service.load("2.0", 20).age_s, service.load("3.0", 20).age_s]
        world.kill("shop", "2.0")

        assert [*ages, service.load("2.0", 20).age_s] == [20.0, 0.0, 10.0]

    def test_utilisation(self) -> None:
        """Utilisation is traffic over capacity; without capacity it is infinite, or nothing."""
        load = lambda rps, capacity: Load("1", rps, capacity, 0.0, 0.0).utilisation  # noqa: E731

        assert [load(50, 100), load(1, 0), load(0, 0)] == [0.5, math.inf, 0.0]

    def test_error_rate(self) -> None:
        """What a version cannot serve fails besides what fails by itself, and a share stays one."""
        at = lambda rate, rps: Release("1", error_rate=rate).error_rate_at(  # noqa: E731
            Load("1", rps, 100.0, 0.0, 0.0)
        )

        assert [at(0.0, 100), at(0.0, 200), at(0.5, 200)] == [0.0, 0.5, 0.75]
        assert [at(lambda _: 7.0, 1), at(lambda _: -7.0, 1)] == [1.0, 0.0]

    def test_latency(self) -> None:
        """A latency is never below zero."""
        load = Load("1", 1.0, 100.0, 0.0, 0.0)

        assert Release("1", latency_s=lambda load: -load.rps).latency_at(load) == 0.0

    def test_unknown_versions(self) -> None:
        """A version of which nothing was said takes 20 s to start and does not fail."""
        release = shop().services["shop"].release("9.9")

        assert release == Release("9.9")
        assert (release.startup_s, release.error_rate) == (20.0, 0.0)


class TestSettings:
    def test_config(self) -> None:
        """The configuration is a mapping, and every change of it is in the history."""
        world = World()
        world.config["mode"] = "old"
        world.config.update(mode="new", size=2)
        del world.config["size"]

        assert (dict(world.config), len(world.config)) == ({"mode": "new"}, 1)
        assert repr(world.config) == "{'mode': 'new'}"
        assert [change[2:] for change in told(world.history)] == [
            ("config mode", None, "old"),
            ("config mode", "old", "new"),
            ("config size", None, 2),
            ("config size", 2, None),
        ]

    def test_config_lacks(self) -> None:
        """What is not there cannot be read or deleted; what is None is there, and is no fact."""
        world = World()
        world.config["none"] = None

        for act in (lambda: world.config["mode"], lambda: world.config.pop("mode")):
            with pytest.raises(KeyError, match="mode"):
                act()
        with pytest.raises(KeyError, match="mode"):
            del world.config["mode"]
        assert world.config["none"] is None
        assert list(world.facts()) == ["schema version"]

    def test_config_copies(self) -> None:
        """Only assigning changes the configuration, as if it were kept elsewhere."""
        world, flags = World(), ["a"]
        world.config["flags"] = flags
        flags.append("b")
        world.config["flags"].append("c")

        assert world.config["flags"] == ["a"]

    def test_schema(self) -> None:
        """Setting the version of the schema migrates, which is in the history."""
        world = World()
        world.schema_version = 2
        world.schema_version = 2

        assert world.schema_version == 2
        assert told(world.history) == [(0.0, None, "schema version", 0, 2)]
