"""Versions on ECS, in front of fake clients; tests/integration asks moto."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from pyflow.errors import DefinitionError, PlatformError
from pyflow.platforms import ECS
from pyflow.testing import check_platform
from support.fake_aws import FakeECS, FakeELB, address, group


def described(service: str, version: str) -> dict[str, Any]:
    """Return what is said of the service of a version."""
    name = {"1.0": "blue"}.get(version, "green")
    balancers = [{"targetGroupArn": group(name), "containerName": "web", "containerPort": 80}]
    return {"taskDefinition": f"{service}:{version}", "loadBalancers": balancers}


def make(ecs: FakeECS, elb: FakeELB | None = None, describe: Any = described) -> ECS:
    return ECS("prod", describe, client=ecs, elb_client=elb or FakeELB())


def scale(platform: ECS, version: str, instances: int) -> None:
    asyncio.run(platform.scale("shop", version, instances))


def ready(platform: ECS) -> dict[str, int]:
    """Return how many ready instances each version has."""
    state = asyncio.run(platform.observe("shop"))
    found = [i.version for i in state.instances if i.ready]
    return {version: found.count(version) for version in found}


class TestContract:
    def test_is_kept(self) -> None:
        """The platform keeps its contract, beside a version that is left alone."""
        platform = make(FakeECS())
        scale(platform, "1.0", 1)

        asyncio.run(check_platform(lambda: platform, service="shop", version="2.0", settle="1s"))

        assert ready(platform) == {"1.0": 1}


class TestScale:
    def test_makes_a_service(self) -> None:
        """A version gets a service of its own, as described, with tags that find it again."""
        fake = FakeECS()
        describe = lambda *_: {"taskDefinition": "shop:7", "tags": [{"key": "team", "value": "a"}]}  # noqa: E731
        scale(make(fake, describe=describe), "2.0+rc.1", 2)

        made = fake.services["shop-2-0-rc-1"]
        assert (made["taskDefinition"], made["desiredCount"], made["cluster"]) == (
            "shop:7",
            2,
            "prod",
        )
        assert {tag["key"]: tag["value"] for tag in made["tags"]} == {
            "team": "a",
            "pyflow.service": "shop",
            "pyflow.version": "2.0+rc.1",
        }

    def test_leaves_strangers(self) -> None:
        """Services of others are neither seen nor touched, whatever they are called."""
        fake = FakeECS()
        for name in ("shop-9", "shopping", "blog"):
            fake.create_service(serviceName=name, taskDefinition="x", desiredCount=0)
        platform = make(fake)
        scale(platform, "2.0", 1)

        scale(platform, "2.0", 0)

        assert sorted(fake.services) == ["blog", "shop-2-0", "shop-9", "shopping"]
        assert asyncio.run(platform.observe("shop")).instances == ()

    def test_takes_no_name_twice(self) -> None:
        """Versions whose services would be called the same are refused."""
        platform = make(FakeECS())
        scale(platform, "2.0", 1)

        with pytest.raises(PlatformError, match="there is a service shop-2-0 in prod"):
            scale(platform, "2-0", 1)

    def test_clears_up(self) -> None:
        """A service that has come to nothing is deleted at the next scale, and not before."""
        fake = FakeECS()
        platform = make(fake)
        scale(platform, "1.0", 1)
        scale(platform, "1.0", 0)
        assert list(fake.services) == ["shop-1-0"]

        scale(platform, "2.0", 1)

        assert list(fake.services) == ["shop-2-0"]

    def test_comes_back(self) -> None:
        """A version that was taken away comes back in its own service."""
        fake = FakeECS()
        platform = make(fake)
        for instances in (1, 0, 2):
            scale(platform, "1.0", instances)

        assert ready(make(fake)) == {"1.0": 2}

    def test_tells_what_aws_says(self) -> None:
        """What AWS refuses is in the error in its own words."""
        with pytest.raises(PlatformError, match="ClientError: InvalidParameterException"):
            scale(make(FakeECS(), describe=lambda *_: {}), "2.0", 1)


class TestObserve:
    @pytest.mark.parametrize(
        ("task", "is_ready"),
        [
            ({"lastStatus": "PENDING"}, False),
            ({"lastStatus": "RUNNING", "healthStatus": "HEALTHY"}, True),
            ({"lastStatus": "RUNNING", "healthStatus": "UNHEALTHY"}, False),
            ({"lastStatus": "RUNNING", "healthStatus": "UNKNOWN"}, False),
        ],
    )
    def test_reads_health(self, task: dict[str, Any], is_ready: bool) -> None:
        """A task whose definition has a health check is ready once that says so."""
        fake = FakeECS()
        fake.health_check, fake.task = {"command": ["true"]}, task
        platform = make(fake)
        scale(platform, "2.0", 1)

        assert ready(platform) == ({"2.0": 1} if is_ready else {})

    @pytest.mark.parametrize(
        ("state", "is_ready"),
        [("healthy", True), ("unused", True), ("initial", False), ("draining", False), ("", False)],
    )
    def test_asks_the_balancer(self, state: str, is_ready: bool) -> None:
        """A task with an address is ready once its target is healthy, or in a group without a listener."""
        ecs, elb = FakeECS(), FakeELB()
        ecs.task = {"lastStatus": "RUNNING", **address("10.0.0.7")}
        elb.health[group("green")] = {"10.0.0.7": state} if state else {"10.0.0.8": "healthy"}
        platform = make(ecs, elb)
        scale(platform, "2.0", 1)

        assert ready(platform) == ({"2.0": 1} if is_ready else {})

    def test_goes_through_all_pages(self) -> None:
        """However many services and tasks there are, none is missed."""
        fake = FakeECS()
        platform = make(fake)
        for number in range(12):
            scale(platform, f"1.{number}", 1)
        scale(platform, "2.0", 120)

        state = asyncio.run(platform.observe("shop"))

        assert len(state.instances) == 132

    def test_needs_boto3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without boto3 the error names the extra that brings it."""
        monkeypatch.setitem(sys.modules, "boto3", None)

        with pytest.raises(PlatformError, match=r"install pyflow-deploy\[aws\]"):
            asyncio.run(ECS("prod", described).observe("shop"))


class TestTargetGroups:
    def test_are_those_that_run(self) -> None:
        """The target group of each version that is to run is known; one that is taken away has none."""
        platform = make(FakeECS())
        scale(platform, "1.0", 1)
        scale(platform, "2.0", 1)
        scale(platform, "1.0", 0)

        assert platform.target_groups("shop") == {"2.0": group("green")}

    def test_is_one_each(self) -> None:
        """A version without a target group cannot be given weight, and the error says so."""
        platform = make(FakeECS(), describe=lambda *_: {"taskDefinition": "shop:7"})
        scale(platform, "2.0", 1)

        with pytest.raises(PlatformError, match=r"2\.0 has 0 target groups, not one"):
            platform.target_groups("shop")


class TestECS:
    def test_refuses(self) -> None:
        """What describes a version is a function."""
        with pytest.raises(DefinitionError, match="must be a function of service and version"):
            ECS("prod", {"taskDefinition": "shop"})  # type: ignore[arg-type]

    def test_repr(self) -> None:
        """It goes by its cluster."""
        assert repr(make(FakeECS())) == "ECS('prod')"
