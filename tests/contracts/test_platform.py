"""The contract of a platform, over what keeps it and over what breaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pyflow.protocols import Instance, Platform, ServiceState
from pyflow.testing.contracts import check_platform
from pyflow.testing.contracts import platform as suite
from pyflow.testing.loop import run_virtual
from support.contracts import Broken, assert_breaks, ids, never_broken

STARTS_S = 30.0


class Cluster:
    """Runs instances of one service that take half a minute to start; v1 has run for long."""

    def __init__(self) -> None:
        self.running = {"v1-0": ("v1", 0.0)}
        self.changes = 0
        self.made = 0

    async def observe(self, service: str, /) -> Any:
        now = asyncio.get_running_loop().time()
        running = self.running.items()
        instances = tuple(Instance(i, version, now >= at) for i, (version, at) in running)
        return ServiceState(service, instances, f"g{self.changes}")

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        if instances < 0:
            raise ValueError(f"instances={instances} must not be negative")
        mine = self.of(version)
        if len(mine) == instances:
            return
        self.changes += 1
        for name in mine[instances:]:
            del self.running[name]
        for _ in range(instances - len(mine)):
            self.start(version)

    def of(self, version: str) -> list[str]:
        return [name for name, (its, _) in self.running.items() if its == version]

    def start(self, version: str) -> None:
        self.made += 1
        starts = asyncio.get_running_loop().time() + STARTS_S
        self.running[f"{version}-{self.made}"] = (version, starts)


class Reluctant(Cluster):
    """Stops instances a while after it was asked to."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        if 0 <= instances < len(self.of(version)):
            later = super().scale(service, version, instances)
            loop = asyncio.get_running_loop()
            loop.call_later(STARTS_S, lambda: setattr(self, "stopping", loop.create_task(later)))
        else:
            await super().scale(service, version, instances)


class Misnames(Cluster):
    """Answers for some other service."""

    async def observe(self, service: str, /) -> Any:
        return replace(await super().observe(service), service="all")


class Twins(Cluster):
    """Gives every instance of a version one id."""

    async def observe(self, service: str, /) -> Any:
        state = await super().observe(service)
        return replace(state, instances=tuple(replace(i, id=i.version) for i in state.instances))


class Listed(Cluster):
    """Hands out a list."""

    async def observe(self, service: str, /) -> Any:
        state = await super().observe(service)
        return replace(state, instances=list(state.instances))


class Numbered(Cluster):
    """Counts its generations."""

    async def observe(self, service: str, /) -> Any:
        return replace(await super().observe(service), generation=self.changes)


class Small(Cluster):
    """Has room for two."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        await super().scale(service, version, min(instances, 2))


class Unready(Cluster):
    """Has a third instance that never starts."""

    async def observe(self, service: str, /) -> Any:
        state = await super().observe(service)
        last = state.instances[3:]
        return replace(
            state, instances=state.instances[:3] + tuple(replace(i, ready=False) for i in last)
        )


class Restarts(Cluster):
    """Starts every instance anew when it is asked for as many as there are."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        if len(self.of(version)) == instances:
            for name in self.of(version):
                del self.running[name]
                self.start(version)
        await super().scale(service, version, instances)


class Counts(Cluster):
    """Counts requests, where it should count changes."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        await super().scale(service, version, instances)
        self.changes += 1


class Constant(Cluster):
    """Has one generation."""

    async def observe(self, service: str, /) -> Any:
        return replace(await super().observe(service), generation="g")


class Touches(Cluster):
    """Changes the service whenever it looks at it."""

    async def observe(self, service: str, /) -> Any:
        self.changes += 1
        return await super().observe(service)


class Clamps(Cluster):
    """Takes a negative number for zero."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        await super().scale(service, version, max(instances, 0))


class Hasty(Cluster):
    """Stops everything before it looks at what was asked for."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        if instances < 0:
            await super().scale(service, version, 0)
        await super().scale(service, version, instances)


class Replaces(Cluster):
    """Runs one version at a time."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        self.running = {name: self.running[name] for name in self.of(version)}
        await super().scale(service, version, instances)


class Keeps(Cluster):
    """Always leaves one instance."""

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        await super().scale(service, version, instances or 1)


BROKEN: list[Broken] = [
    (Misnames, ["that it was asked about"]),
    (Twins, ["an id of its own"]),
    (Listed, ["are a tuple"]),
    (Numbered, ["recorded as a change"]),
    (Small, ["exactly that many"]),
    (Unready, ["exactly that many"]),
    (Restarts, ["Asking for what already is"]),
    (Counts, ["Asking for what already is"]),
    (Constant, ["generation changes"]),
    (Touches, ["Asking for what already is", "Observing changes nothing", "negative number"]),
    (Clamps, ["negative number"]),
    (Hasty, ["negative number"]),
    (Replaces, ["left alone"]),
    (Keeps, ["left alone", "removes the version"]),
]


def check(make: Any) -> None:
    run_virtual(check_platform(make, service="shop", version="v2"))


class TestCheckPlatform:
    @pytest.mark.parametrize("make", [Cluster, Reluctant], ids=ids)
    def test_passes(self, make: Any) -> None:
        """A platform keeps the contract, however long it takes to start and to stop."""
        check(make)

    def test_shared(self) -> None:
        """All rules may be checked on one platform, and nothing is left there."""
        platform: Platform = (cluster := Cluster())

        check(lambda: platform)

        assert list(cluster.running) == ["v1-0"]

    @pytest.mark.parametrize(("broken", "rules"), BROKEN, ids=ids)
    def test_catches(self, broken: Any, rules: Sequence[str]) -> None:
        """A platform that breaks a rule is caught, and the rule is named."""
        assert_breaks(lambda: check(broken), rules)

    def test_every_rule(self) -> None:
        """Every rule is broken by one of the platforms above."""
        assert never_broken(suite._RULES, BROKEN) == []

    def test_slow(self) -> None:
        """A platform that takes longer than it may is caught."""
        slow = lambda: check_platform(Cluster, service="shop", version="v2", settle="20s")  # noqa: E731

        with pytest.raises(AssertionError, match="after 20 s 2 instances ran and 0 were ready"):
            run_virtual(slow())
