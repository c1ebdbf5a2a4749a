"""Shift traffic by the weights of an AWS Application Load Balancer, through boto3 (the extra `aws`).

A rule, or the default action of a listener, forwards to several target
groups, each with a weight of 0 to 999 relative to their sum. All weights of
an action are replaced in one call, so they change together.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import DefinitionError, RouterError, shown
from pyflow.net.boto import Boto
from pyflow.routers._weights import checked, difference, percentages, whole
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ALB"]

WEIGHT_MAX = 999
ROUNDING_PCT = 0.5
PLACE = re.compile(
    r"arn:aws[\w-]*:elasticloadbalancing:[^:]*:[^:]*:(listener|listener-rule)/app/.+"
)

Action: TypeAlias = "dict[str, Any]"
Groups: TypeAlias = "Mapping[str, str]"
"""ARNs of target groups, by version."""


class ALB:
    """A `Router`: the weighted target groups that one rule of a listener forwards to.

    A target group of a known version that the rule does not have yet is added
    to it. Whatever else the rule has keeps its place and gets no traffic; its
    other actions, such as authentication, and its stickiness stay as they are.

    Elastic Load Balancing has no conditional writes: a change that somebody
    else makes between our look and our write, some milliseconds later, is
    lost. One that is there before is found by the rollout, which overwrites
    nothing and asks a person.

    Args:
        rule: The ARN of the rule, or of the listener whose default action is meant.
        target_groups: The ARN of each version's target group; or a function
            that returns them for a service, such as `ECS.target_groups`. It
            is called on a thread.
        region: The region; what boto3 finds in its environment unless given.
        client: An ``elbv2`` client of boto3; made when it is first used unless given.
        timeout: How long one reading or change may take.
    """

    def __init__(
        self,
        rule: str,
        target_groups: Groups | Callable[[str], Groups],
        *,
        region: str | None = None,
        client: Any = None,
        timeout: Span = "30s",
    ) -> None:
        found = PLACE.fullmatch(rule)
        if found is None:
            problem = (
                f"rule={shown(rule)} must be the ARN of a listener or of a listener's rule of an "
                "Application Load Balancer"
            )
            raise DefinitionError("ALB", [problem])
        self._arn = rule
        self._is_rule = found[1] == "listener-rule"
        self._target_groups = target_groups
        timeout_s = seconds(timeout, what="ALB(timeout=)")
        self._boto = Boto("elbv2", region, client, timeout_s)

    def __repr__(self) -> str:
        return f"ALB({self._arn.rpartition(':')[2]!r})"

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return the weights of the rule, as AWS tells them.

        Raises:
            RouterError: The rule cannot be read, forwards to nothing, or
                nothing of it gets any traffic.
        """
        return await self._boto.call(lambda: self._read(service), _trouble(service))

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Put *weights* in force, all in one call, and read them back.

        Raises:
            RouterError: They are no weights, or a version has no target group,
                and nothing was changed; or AWS refused, or does something else.
        """
        wanted = checked(service, weights)
        numbers = whole(service, wanted, dict.fromkeys(wanted, 1), most=WEIGHT_MAX)
        await self._boto.call(lambda: self._write(service, wanted, numbers), _trouble(service))

    # On the thread ------------------------------------------------------------------------

    def _read(self, service: str) -> dict[str, float]:
        versions = {arn: version for version, arn in self._groups(service).items()}
        _, forward = self._actions(service)
        shares: dict[str, int] = {}
        for arn, weight in _weights(forward).items():
            version = versions.get(arn, _name(arn))
            shares[version] = shares.get(version, 0) + weight
        return percentages(service, shares)

    def _write(self, service: str, wanted: Mapping[str, float], numbers: Mapping[str, int]) -> None:
        groups = self._groups(service)
        missing = [version for version in wanted if version not in groups]
        if missing:
            known = ", ".join(groups) or "none"
            raise RouterError(
                service, f"{', '.join(missing)} has no target group; there are those of: {known}"
            )
        targets = {groups[version]: number for version, number in numbers.items()}
        actions, forward = self._actions(service)
        present = _weights(forward)
        fresh = {**dict.fromkeys(present, 0), **targets}
        if fresh != present:
            self._modify([_weighed(a, fresh) if a is forward else a for a in actions])
        wrong = difference(self._read(service), wanted, slack=ROUNDING_PCT)
        if wrong is not None:
            raise RouterError(service, f"AWS took it, and {wrong}")

    def _groups(self, service: str) -> dict[str, str]:
        given = self._target_groups
        groups = dict(given(service) if callable(given) else given)
        if len(set(groups.values())) != len(groups):
            raise RouterError(service, f"two versions share a target group: {shown(groups)}")
        return groups

    def _actions(self, service: str) -> tuple[list[Action], Action]:
        """Return the actions of the rule, and the one of them that forwards."""
        client = self._boto.client
        if self._is_rule:
            [found] = client.describe_rules(RuleArns=[self._arn])["Rules"]
            actions: list[Action] = found["Actions"]
        else:
            [found] = client.describe_listeners(ListenerArns=[self._arn])["Listeners"]
            actions = found["DefaultActions"]
        forwarding = [action for action in actions if action["Type"] == "forward"]
        if len(forwarding) != 1:
            kinds = ", ".join(action["Type"] for action in actions)
            raise RouterError(service, f"{self!r} forwards to no target group; it does: {kinds}")
        return actions, forwarding[0]

    def _modify(self, actions: list[Action]) -> None:
        client = self._boto.client
        if self._is_rule:
            client.modify_rule(RuleArn=self._arn, Actions=actions)
        else:
            client.modify_listener(ListenerArn=self._arn, DefaultActions=actions)


def _weights(forward: Action) -> dict[str, int]:
    """Return the weight of each target group of an action, in its order."""
    groups: list[dict[str, Any]] = forward.get("ForwardConfig", {}).get("TargetGroups", [])
    if not groups:
        return {forward["TargetGroupArn"]: 1}
    only = 1 if len(groups) == 1 else 0
    return {group["TargetGroupArn"]: int(group.get("Weight", only)) for group in groups}


def _weighed(forward: Action, weights: Mapping[str, int]) -> Action:
    """Return the action with these *weights*, and everything else as it was."""
    config: dict[str, Any] = forward.get("ForwardConfig", {})
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    kept = {key: value for key, value in forward.items() if key != "TargetGroupArn"}
    return {**kept, "ForwardConfig": {**config, "TargetGroups": groups}}


def _name(arn: str) -> str:
    """Return the name of a target group that belongs to no known version."""
    parts = arn.split("/")
    return parts[1] if len(parts) > 2 else arn


def _trouble(service: str) -> Callable[[str], RouterError]:
    return lambda reason: RouterError(service, reason)
