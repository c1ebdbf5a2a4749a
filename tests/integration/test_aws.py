"""A load balancer and a cluster of AWS through the real boto3, in front of moto's server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import pyflow
from pyflow.platforms import ECS
from pyflow.routers import ALB
from pyflow.strategies import canary
from pyflow.testing import check_platform, check_router
from support.moto_aws import CLUSTER, Aws, moto

pytestmark = pytest.mark.integration

LOOKS = pyflow.Backoff("20ms", ceiling="100ms")


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with moto() as made:
        yield made


def router_of(aws: Aws, rule: str) -> ALB:
    groups = {"1.0": aws.groups["blue"], "2.0": aws.groups["green"]}
    return ALB(rule, groups, client=aws.elb)


def platform_of(aws: Aws) -> ECS:
    return ECS(CLUSTER, aws.describe, client=aws.ecs, elb_client=aws.elb)


class TestALB:
    @pytest.mark.parametrize("place", ["listener", "rule"])
    def test_contract(self, aws: Aws, place: str) -> None:
        """The router keeps its contract, by a listener and by a rule of it."""
        router = router_of(aws, getattr(aws, place))

        asyncio.run(check_router(lambda: router, service="shop", versions=("1.0", "2.0")))


class TestECS:
    def test_contract(self, aws: Aws) -> None:
        """The platform keeps its contract, beside a version that is left alone."""
        platform = platform_of(aws)
        asyncio.run(platform.scale("shop", "1.0", 1))

        asyncio.run(check_platform(lambda: platform, service="shop", version="2.0", settle="5s"))


class TestCanary:
    """A rollout over both."""

    @pytest.fixture
    def ports(self, aws: Aws) -> dict[str, Any]:
        """Version 1.0 with two tasks and all of the traffic."""
        platform = platform_of(aws)
        router = ALB(aws.rule, platform.target_groups, client=aws.elb)

        async def begin() -> None:
            await platform.scale("shop", "2.0", 0)
            await platform.scale("shop", "1.0", 2)
            await router.set_weights("shop", {"1.0": 100})

        asyncio.run(begin())
        return {"platform": platform, "router": router, "backoff": LOOKS}

    def test_goes_all_the_way(self, aws: Aws, ports: dict[str, Any]) -> None:
        """Tasks and weights follow the steps, and each change is on the record as it was seen."""
        result = pyflow.Engine().execute(canary("shop", "2.0", steps=[50, 100], **ports))

        assert result.status == "succeeded", result.error
        changes = [
            (change.data["resource"], change.data["before"], change.data["after"])
            for change in result.audit_trail.changes
        ]
        half = {"1.0": 50.0, "2.0": 50.0}
        assert changes == [
            ("shop instances 2.0", 0, 1),
            ("shop weights", {"1.0": 100.0}, half),
            ("shop instances 2.0", 1, 2),
            ("shop weights", half, {"2.0": 100.0}),
            ("shop instances 1.0", 2, 0),
        ]

    def test_holds_for_a_foreign_change(self, aws: Aws, ports: dict[str, Any]) -> None:
        """Weights that somebody else has changed meanwhile are left alone, and a person is asked."""

        async def meddle() -> None:
            await router_of(aws, aws.rule).set_weights("shop", {"1.0": 70, "2.0": 30})

        workflow = canary("shop", "2.0", steps=[50, 100], checks=[meddle], **ports)
        result = pyflow.Engine().execute(workflow)

        assert result.status == "held"
        assert "somebody else changed them, and nothing was overwritten" in str(result.error)
        assert asyncio.run(ports["router"].weights("shop")) == {"1.0": 70.0, "2.0": 30.0}

    def test_is_taken_back(self, aws: Aws, ports: dict[str, Any]) -> None:
        """A check that fails takes weights and tasks back to where they were."""

        async def fail() -> None:
            raise RuntimeError("the error rate is too high")

        workflow = canary("shop", "2.0", steps=[50, 100], checks=[fail], **ports)
        result = pyflow.Engine().execute(workflow)

        assert result.status == "rolled_back", result.recovery_errors
        assert asyncio.run(ports["router"].weights("shop")) == {"1.0": 100.0}
        state = asyncio.run(ports["platform"].observe("shop"))
        assert [instance.version for instance in state.instances] == ["1.0", "1.0"]
