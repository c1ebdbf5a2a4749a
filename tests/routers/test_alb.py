"""Weights of an Application Load Balancer, in front of a fake client; tests/integration asks moto."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from pyflow.errors import DefinitionError, RouterError
from pyflow.routers import ALB
from pyflow.testing import check_router
from support.fake_aws import LISTENER, RULE, FakeELB, group

GROUPS = {"1.0": group("blue"), "2.0": group("green")}


def make(fake: FakeELB, rule: str = RULE, groups: Any = None) -> ALB:
    return ALB(rule, groups or GROUPS, client=fake)


def shift(router: ALB, **weights: float) -> None:
    given = {name.removeprefix("v").replace("_", "."): w for name, w in weights.items()}
    asyncio.run(router.set_weights("shop", given))


class TestContract:
    @pytest.mark.parametrize("rule", [RULE, LISTENER], ids=["rule", "listener"])
    def test_is_kept(self, rule: str) -> None:
        """The router keeps its contract, by a rule and by the default action of a listener."""
        fake = FakeELB(blue=1)

        asyncio.run(
            check_router(
                lambda: make(fake, rule), service="shop", versions=("1.0", "2.0"), settle="1s"
            )
        )


class TestWeights:
    def test_of_one_group(self) -> None:
        """An action that names one target group, in the old form too, gives it everything."""
        fake = FakeELB(blue=7)
        old = FakeELB()
        old.actions[RULE] = [{"Type": "forward", "TargetGroupArn": group("green")}]

        assert asyncio.run(make(fake).weights("shop")) == {"1.0": 100.0}
        assert asyncio.run(make(old).weights("shop")) == {"2.0": 100.0}

    def test_of_strangers(self) -> None:
        """A target group of no known version goes by its own name."""
        found = asyncio.run(make(FakeELB(blue=3, canary=1)).weights("shop"))

        assert found == {"1.0": 75.0, "canary": 25.0}

    def test_needs_a_forward(self) -> None:
        """A rule that forwards to nothing is an error that says what it does."""
        fake = FakeELB()
        fake.actions[RULE] = [{"Type": "redirect"}]

        with pytest.raises(RouterError, match="forwards to no target group; it does: redirect"):
            asyncio.run(make(fake).weights("shop"))

    def test_needs_some_weight(self) -> None:
        """A rule whose weights are all zero answers nobody, and is an error."""
        with pytest.raises(RouterError, match="nothing gets any traffic"):
            asyncio.run(make(FakeELB(blue=0, green=0)).weights("shop"))

    def test_needs_boto3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without boto3 the error names the extra that brings it."""
        monkeypatch.setitem(sys.modules, "boto3", None)

        with pytest.raises(RouterError, match=r"install pyflow-deploy\[aws\]"):
            asyncio.run(ALB(RULE, GROUPS).weights("shop"))


class TestSetWeights:
    def test_keeps_the_rest(self) -> None:
        """Authentication, stickiness and the order of actions stay as they are."""
        fake = FakeELB(blue=1)
        sticky = {"Enabled": True, "DurationSeconds": 60}
        fake.actions[RULE][0] |= {"Order": 2, "TargetGroupArn": group("blue")}
        fake.actions[RULE][0]["ForwardConfig"]["TargetGroupStickinessConfig"] = sticky
        fake.actions[RULE].insert(0, {"Type": "authenticate-oidc", "Order": 1})

        shift(make(fake), v1_0=95, v2_0=5)

        login, forward = fake.actions[RULE]
        assert login == {"Type": "authenticate-oidc", "Order": 1}
        assert forward["Order"] == 2
        assert "TargetGroupArn" not in forward
        assert forward["ForwardConfig"]["TargetGroupStickinessConfig"] == sticky
        assert fake.weights() == {"blue": 19, "green": 1}

    def test_gives_strangers_nothing(self) -> None:
        """A target group of no known version stays in the rule without a share."""
        fake = FakeELB(blue=1, canary=1)

        shift(make(fake), v1_0=50, v2_0=50)

        assert fake.weights() == {"blue": 1, "canary": 0, "green": 1}

    def test_changes_nothing_twice(self) -> None:
        """Weights that are so already are not written again."""
        fake = FakeELB(blue=1)

        shift(make(fake), v1_0=80, v2_0=20)
        shift(make(fake), v1_0=80, v2_0=20)

        assert len(fake.changes) == 1

    def test_needs_a_group(self) -> None:
        """A version without a target group is refused, and nothing is changed."""
        fake = FakeELB(blue=1)

        with pytest.raises(
            RouterError, match=r"3\.0 has no target group; there are those of: 1\.0,"
        ):
            shift(make(fake), v3_0=100)

        assert fake.changes == []

    def test_needs_a_group_each(self) -> None:
        """Two versions in one target group cannot be told apart, and are refused."""
        shared = dict.fromkeys(("1.0", "2.0"), group("blue"))

        with pytest.raises(RouterError, match="two versions share a target group"):
            shift(make(FakeELB(blue=1), groups=shared), v1_0=100)

    def test_reads_back(self) -> None:
        """What somebody else makes of the weights at once is an error, never a success."""
        fake = FakeELB(blue=1)

        def meddle(elb: FakeELB) -> None:
            elb.actions[RULE][0]["ForwardConfig"]["TargetGroups"][0]["Weight"] = 500

        fake.meddle = meddle

        with pytest.raises(RouterError, match="AWS took it, and the weights are"):
            shift(make(fake), v1_0=50, v2_0=50)

    def test_asks_for_groups(self) -> None:
        """Target groups that a function returns are asked for each time."""
        groups = {"1.0": group("blue")}
        router = make(FakeELB(blue=1), groups=lambda service: groups if service == "shop" else {})
        groups["2.0"] = group("green")

        shift(router, v2_0=100)

        assert asyncio.run(router.weights("shop")) == {"2.0": 100.0}

    def test_tells_what_aws_says(self) -> None:
        """What AWS refuses is in the error in its own words."""
        fake = FakeELB(blue=1, a=0, b=0, c=0, d=0)

        with pytest.raises(RouterError, match="ClientError: TooManyUniqueTargetGroups"):
            shift(make(fake), v2_0=100)


class TestALB:
    @pytest.mark.parametrize(
        "rule",
        ["shop", group("blue"), LISTENER.replace("/app/", "/net/")],
        ids=["name", "tg", "nlb"],
    )
    def test_refuses(self, rule: str) -> None:
        """Only the ARN of a rule or a listener of an ALB will do."""
        with pytest.raises(DefinitionError, match="must be the ARN of a listener"):
            ALB(rule, GROUPS)

    def test_repr(self) -> None:
        """It goes by the end of its ARN."""
        assert repr(make(FakeELB())) == f"ALB({RULE.rpartition(':')[2]!r})"
