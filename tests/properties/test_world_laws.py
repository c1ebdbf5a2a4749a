"""The laws of the simulated world, over random sequences of what can be done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pyflow.protocols import ServiceState
from pyflow.testing import World
from pyflow.testing.loop import VirtualLoop
from support.worlds import HOUR, replayed, values

VERSIONS = ["1.0", "2.0", "3.0"]
SERVICES = ["shop", "mail"]

services = st.sampled_from(SERVICES)
versions = st.sampled_from(VERSIONS)
shares = st.lists(st.integers(0, 100), min_size=len(VERSIONS), max_size=len(VERSIONS)).filter(any)


class Laws(RuleBasedStateMachine):
    """A world, what the facts were to begin with, and every id that anything ever had."""

    saves: Bundle[Any] = Bundle("saves")

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.world = World(seed=3)

    def teardown(self) -> None:
        self.loop.close()

    def run(self, work: Any) -> Any:
        """Await *work* in the one virtual time of all the steps."""
        return self.loop.run_until_complete(work)

    def observe(self, service: str) -> ServiceState:
        return self.run(self.world.platform.observe(service))

    def measured(self) -> dict[str, list[float]]:
        """Return everything that was measured so far."""
        return {
            query: values(self.run(self.world.metrics.query(query, window=HOUR * 24)))
            for query in ("requests shop", "errors shop", "latency_s shop 2.0")
        }

    @initialize(instances=st.integers(0, 4))
    def set_up(self, instances: int) -> None:
        for name in SERVICES:
            self.world.service(name, version="1.0", instances=instances)
        self.world.traffic("shop", 5)
        self.world.release("shop", "2.0", error_rate=0.5, startup="7s")
        self.first = self.world.facts()
        self.owners: dict[str, tuple[str, str]] = {}

    def change(self, service: str, act: Callable[[], object]) -> None:
        """Do something to *service*: there is a new generation exactly if it differs."""
        before, facts, known = self.observe(service), self.world.facts(), len(self.world.history)
        act()
        after = self.observe(service)

        same = (before.instances, facts) == (after.instances, self.world.facts())
        assert (before.generation == after.generation) is same
        assert (len(self.world.history) == known) is same

    @rule(service=services, version=versions, instances=st.integers(0, 5))
    def scale(self, service: str, version: str, instances: int) -> None:
        platform = self.world.platform

        self.change(service, lambda: self.run(platform.scale(service, version, instances)))

        found = self.observe(service).instances
        assert sum(instance.version == version for instance in found) == instances

    @rule(service=services, version=versions, instances=st.integers(1, 3))
    def kill(self, service: str, version: str, instances: int) -> None:
        self.change(service, lambda: self.world.kill(service, version, instances))

    @rule(service=services, drawn=shares)
    def set_weights(self, service: str, drawn: list[int]) -> None:
        weights = {v: 100 * n / sum(drawn) for v, n in zip(VERSIONS, drawn, strict=True)}
        router = self.world.router

        self.change(service, lambda: self.run(router.set_weights(service, weights)))

        assert self.run(router.weights(service)) == {v: n for v, n in weights.items() if n}

    @rule(key=st.sampled_from("ab"), value=st.none() | st.integers(0, 2))
    def set_config(self, key: str, value: int | None) -> None:
        self.world.config[key] = value

    @rule(version=st.integers(0, 3))
    def migrate(self, version: int) -> None:
        self.world.schema_version = version

    @rule(span_s=st.floats(0, 100))
    def wait(self, span_s: float) -> None:
        before, measured = self.world.facts(), self.measured()
        self.run(asyncio.sleep(span_s))

        assert self.world.facts() == before
        assert all(now[: len(then)] == then for then, now in self.both(measured))

    def both(self, then: dict[str, list[float]]) -> list[tuple[list[float], list[float]]]:
        now = self.measured()
        return [(then[query], now[query]) for query in then]

    @rule(target=saves)
    def save(self) -> Any:
        return self.world.save(), self.seen()

    def seen(self) -> Any:
        """Return all that can be seen of the world."""
        return (
            self.world.facts(),
            [self.observe(name) for name in SERVICES],
            list(self.world.history),
            self.world.now_s,
            self.measured(),
        )

    @rule(saved=saves)
    def restore(self, saved: Any) -> None:
        self.world.restore(saved[0])
        self.owners.clear()  # time was set back, and so were the ids

        assert self.seen() == saved[1]

    @rule()
    def renew_loop(self) -> None:
        """Another simulation begins where the last one ended."""
        before = self.world.now_s
        self.loop.close()
        self.loop = VirtualLoop(start_s=50)

        self.observe("shop")
        assert self.world.now_s == before

    @precondition(lambda self: self.world.services)
    @invariant()
    def weights_sum_to_100(self) -> None:
        for name in SERVICES:
            weights = self.run(self.world.router.weights(name))
            assert abs(sum(weights.values()) - 100) < 1e-6
            assert all(weight > 0 for weight in weights.values())

    @precondition(lambda self: self.world.services)
    @invariant()
    def ids_belong_to_one(self) -> None:
        for name in SERVICES:
            found = self.observe(name).instances
            assert len({instance.id for instance in found}) == len(found)
            for instance in found:
                owner = (name, instance.version)
                assert self.owners.setdefault(instance.id, owner) == owner

    @precondition(lambda self: self.world.services)
    @invariant()
    def history_replays(self) -> None:
        assert replayed(self.first, self.world.history) == self.world.facts()
        instants = [change.at_s for change in self.world.history]
        assert instants == sorted(instants)


TestLaws = Laws.TestCase
TestLaws.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
