"""Run versions on Amazon ECS, through boto3 (the extra `aws`).

Each version is an ECS service of its own, told by its tags, so what runs is
found again by any later deployment, and nobody else's service is ever
touched. What counts as running is the tasks that ECS shows, not how many it
was asked for.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pyflow.errors import DefinitionError, PlatformError, shown
from pyflow.net.boto import Boto
from pyflow.platforms._given import check_scale
from pyflow.protocols import Instance, ServiceState
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["ECS"]

T = TypeVar("T")
SERVICE, VERSION = "pyflow.service", "pyflow.version"
SERVICES_MAX, TASKS_MAX = 10, 100
"""How many one call may describe (ECS API reference, DescribeServices, DescribeTasks)."""
TAKES_TRAFFIC = ("healthy", "unused")
"""States of a target: checked and well, or in a group that no listener uses, which is never checked."""


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The ECS service of one version."""

    name: str
    version: str
    desired: int
    target_groups: tuple[str, ...]


class ECS:
    """A `Platform`: each version is an ECS service, each instance one of its tasks.

    The service of a version is called ``<service>-<version>``, where what ECS
    does not take in a name becomes a hyphen. It is made when the version is
    scaled up. A task is ready once it runs, its health check, if its
    definition has one, says so, and so does each target group of the service
    of a task with an address of its own (network mode ``awsvpc``). A service
    that has come to nothing is deleted at the next `scale`.

    Args:
        cluster: The cluster.
        describe: Returns what is said of the service of a version when it is
            made, in the words of ``CreateService``, given service and version:
            its ``taskDefinition`` at least, and mostly ``launchType``,
            ``networkConfiguration`` and ``loadBalancers``.
        region: The region; what boto3 finds in its environment unless given.
        client: An ``ecs`` client of boto3; made when it is first used unless given.
        elb_client: An ``elbv2`` client likewise, for services with target groups.
        timeout: How long one look or change may take.
    """

    def __init__(
        self,
        cluster: str,
        describe: Callable[[str, str], Mapping[str, Any]],
        *,
        region: str | None = None,
        client: Any = None,
        elb_client: Any = None,
        timeout: Span = "30s",
    ) -> None:
        if not callable(describe):
            problem = f"describe={shown(describe)} must be a function of service and version"
            raise DefinitionError("ECS", [problem])
        self._cluster = cluster
        self._describe = describe
        timeout_s = seconds(timeout, what="ECS(timeout=)")
        self._ecs = Boto("ecs", region, client, timeout_s)
        self._elb = Boto("elbv2", region, elb_client, timeout_s)

    def __repr__(self) -> str:
        return f"ECS({self._cluster!r})"

    async def observe(self, service: str, /) -> ServiceState:
        """Return the tasks that ECS keeps running, and whether each is ready.

        Raises:
            PlatformError: AWS gives no usable answer.
        """
        check_scale(service)
        return await self._ecs.call(lambda: self._look(service), _trouble(service))

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Ask ECS for so many tasks of *version*; its service is made if it is not there.

        Raises:
            PlatformError: AWS refuses, or another service has that name; or an
                argument makes no sense, and nothing was done.
        """
        check_scale(service, version, instances)
        await self._ecs.call(lambda: self._scale(service, version, instances), _trouble(service))

    def target_groups(self, service: str, /) -> dict[str, str]:
        """Return the target group of every version that is to run; for an `ALB`. It blocks.

        Raises:
            PlatformError: A version has several, or none.
        """
        groups: dict[str, str] = {}
        for fleet in self._fleets(service):
            if fleet.desired and len(fleet.target_groups) != 1:
                text = f"{fleet.version} has {len(fleet.target_groups)} target groups, not one"
                raise PlatformError(service, text)
            if fleet.desired:
                groups[fleet.version] = fleet.target_groups[0]
        return groups

    # On the thread ------------------------------------------------------------------------

    def _look(self, service: str) -> ServiceState:
        found: list[tuple[str, str, dict[str, Any], bool]] = []
        for fleet in self._fleets(service):
            tasks = self._tasks(fleet)
            targets = [self._targets(group) for group in fleet.target_groups if tasks]
            checked = {
                arn: self._is_checked(arn) for arn in {t["taskDefinitionArn"] for t in tasks}
            }
            for task in tasks:
                ready = _is_ready(task, targets, checked=checked[task["taskDefinitionArn"]])
                found.append((fleet.version, _last(task["taskArn"]), task, ready))
        found.sort(key=lambda row: row[:2])
        instances = tuple(Instance(task, version, ready) for version, task, _, ready in found)
        made_of = "\n".join(f"{row[2]['taskArn']} {row[2]['taskDefinitionArn']}" for row in found)
        generation = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        return ServiceState(service, instances, generation)

    def _scale(self, service: str, version: str, instances: int) -> None:
        fleets = self._fleets(service)
        mine = next((fleet for fleet in fleets if fleet.version == version), None)
        for fleet in fleets:
            if not fleet.desired and not (fleet is mine and instances) and not self._tasks(fleet):
                self._ecs.client.delete_service(cluster=self._cluster, service=fleet.name)
        if mine is None and instances:
            self._create(service, version, instances)
        elif mine is not None and mine.desired != instances:
            self._ecs.client.update_service(
                cluster=self._cluster, service=mine.name, desiredCount=instances
            )

    def _create(self, service: str, version: str, instances: int) -> None:
        name = f"{service}-{version}"
        name = re.sub(r"[^A-Za-z0-9_-]", "-", name)
        if any(row["serviceName"] == name for row in self._services(f"{name}")):
            text = f"there is a service {name} in {self._cluster}, and it is not that of {version}"
            raise PlatformError(service, text)
        said = dict(self._describe(service, version))
        ours = [{"key": SERVICE, "value": service}, {"key": VERSION, "value": version}]
        tags = [*said.pop("tags", []), *ours]
        self._ecs.client.create_service(
            **said, cluster=self._cluster, serviceName=name, desiredCount=instances, tags=tags
        )

    # What there is ------------------------------------------------------------------------

    def _fleets(self, service: str) -> list[_Fleet]:
        """Return the services of all versions of *service*, by their tags."""
        found: list[_Fleet] = []
        for row in self._services(re.sub(r"[^A-Za-z0-9_-]", "-", f"{service}-")):
            tags = {tag["key"]: tag.get("value", "") for tag in row.get("tags", [])}
            if tags.get(SERVICE) == service and VERSION in tags:
                groups = [b.get("targetGroupArn") for b in row.get("loadBalancers", [])]
                name, desired = row["serviceName"], row["desiredCount"]
                found.append(_Fleet(name, tags[VERSION], desired, tuple(g for g in groups if g)))
        return sorted(found, key=lambda fleet: fleet.version)

    def _services(self, prefix: str) -> list[dict[str, Any]]:
        """Return the services in use whose name begins with *prefix*."""
        pages = self._ecs.client.get_paginator("list_services").paginate(cluster=self._cluster)
        arns = [arn for page in pages for arn in page["serviceArns"]]
        rows: list[dict[str, Any]] = []
        for some in _sliced([arn for arn in arns if _last(arn).startswith(prefix)], SERVICES_MAX):
            rows += self._ecs.client.describe_services(
                cluster=self._cluster, services=some, include=["TAGS"]
            )["services"]
        return [row for row in rows if row["status"] == "ACTIVE"]

    def _tasks(self, fleet: _Fleet) -> list[dict[str, Any]]:
        """Return the tasks that are to run; those that are being stopped are gone."""
        pages = self._ecs.client.get_paginator("list_tasks").paginate(
            cluster=self._cluster, serviceName=fleet.name, desiredStatus="RUNNING"
        )
        rows: list[dict[str, Any]] = []
        for some in _sliced([arn for page in pages for arn in page["taskArns"]], TASKS_MAX):
            rows += self._ecs.client.describe_tasks(cluster=self._cluster, tasks=some)["tasks"]
        return [row for row in rows if row.get("group") == f"service:{fleet.name}"]

    def _is_checked(self, definition: str) -> bool:
        """Return whether a task definition has a health check of its own."""
        found = self._ecs.client.describe_task_definition(taskDefinition=definition)
        return any(c.get("healthCheck") for c in found["taskDefinition"]["containerDefinitions"])

    def _targets(self, group: str) -> dict[str, str]:
        """Return the state of each target of a group, by its address."""
        found = self._elb.client.describe_target_health(TargetGroupArn=group)
        rows = found["TargetHealthDescriptions"]
        return {row["Target"]["Id"]: row["TargetHealth"]["State"] for row in rows}


def _is_ready(
    task: Mapping[str, Any], targets: Sequence[Mapping[str, str]], *, checked: bool
) -> bool:
    runs = task["lastStatus"] == "RUNNING"
    if not runs or (checked and task.get("healthStatus") != "HEALTHY"):
        return False
    address = _address(task)
    return address is None or all(states.get(address) in TAKES_TRAFFIC for states in targets)


def _address(task: Mapping[str, Any]) -> str | None:
    """Return the address that a task has for itself, if it has one."""
    for attachment in task.get("attachments", []):
        for detail in attachment.get("details", []):
            if detail.get("name") == "privateIPv4Address":
                return detail["value"]
    return None


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]


def _sliced(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _trouble(service: str) -> Callable[[str], PlatformError]:
    return lambda reason: PlatformError(service, reason)
