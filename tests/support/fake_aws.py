# ruff: noqa: N803 - the names are those of boto3
"""As much of ECS and Elastic Load Balancing as adapters need, in the words of boto3."""

from __future__ import annotations

import copy
import re
from typing import Any

Row = dict[str, Any]
REGION = "arn:aws:{}:eu-west-1:123456789012:"
LISTENER = REGION.format("elasticloadbalancing") + "listener/app/shop/50dc6c49/f2f7dc8e"
RULE = LISTENER.replace("listener/", "listener-rule/") + "/9683b2d0"
NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def group(name: str) -> str:
    """Return the ARN of a target group."""
    return REGION.format("elasticloadbalancing") + f"targetgroup/{name}/6d0ecf83"


class ClientError(Exception):
    """What boto3 raises where AWS refuses."""


class Pages:
    """A paginator, whose pages are small."""

    def __init__(self, key: str, items: Any) -> None:
        self.key = key
        self.items = items

    def paginate(self, **options: Any) -> Any:
        found = self.items(**options)
        for start in range(0, max(1, len(found)), 2):
            yield {self.key: found[start : start + 2]}


class FakeELB:
    """One listener and one rule, and the health of targets by group."""

    def __init__(self, **weights: int) -> None:
        groups = [{"TargetGroupArn": group(n), "Weight": w} for n, w in weights.items()]
        forward = {"Type": "forward", "Order": 1, "ForwardConfig": {"TargetGroups": groups}}
        self.actions: dict[str, list[Row]] = {LISTENER: [forward], RULE: copy.deepcopy([forward])}
        self.health: dict[str, dict[str, str]] = {}
        self.changes: list[list[Row]] = []
        self.meddle: Any = None
        """Called after each change, with the fake; for what somebody else does."""

    def weights(self, place: str = RULE) -> dict[str, int]:
        forward = self.actions[place][-1]
        groups = forward["ForwardConfig"]["TargetGroups"]
        return {g["TargetGroupArn"].split("/")[1]: g["Weight"] for g in groups}

    def describe_rules(self, *, RuleArns: list[str]) -> Row:
        return {"Rules": [{"Actions": copy.deepcopy(self.actions[arn])} for arn in RuleArns]}

    def describe_listeners(self, *, ListenerArns: list[str]) -> Row:
        found = [{"DefaultActions": copy.deepcopy(self.actions[arn])} for arn in ListenerArns]
        return {"Listeners": found}

    def modify_rule(self, *, RuleArn: str, Actions: list[Row]) -> None:
        self.modify(RuleArn, Actions)

    def modify_listener(self, *, ListenerArn: str, DefaultActions: list[Row]) -> None:
        self.modify(ListenerArn, DefaultActions)

    def modify(self, arn: str, actions: list[Row]) -> None:
        groups = actions[-1]["ForwardConfig"]["TargetGroups"]
        if len(groups) > 5:
            raise ClientError("TooManyUniqueTargetGroupsPerLoadBalancer")
        self.actions[arn] = copy.deepcopy(actions)
        self.changes.append(actions)
        if self.meddle is not None:
            self.meddle(self)

    def describe_target_health(self, *, TargetGroupArn: str) -> Row:
        states = self.health.get(TargetGroupArn, {})
        rows = [{"Target": {"Id": k}, "TargetHealth": {"State": v}} for k, v in states.items()]
        return {"TargetHealthDescriptions": rows}


class FakeECS:
    """One cluster, whose services have their tasks at once."""

    def __init__(self) -> None:
        self.services: dict[str, Row] = {}
        self.tasks: dict[str, Row] = {}
        self.health_check: Row | None = None
        self.task: Row = {"lastStatus": "RUNNING"}
        """What is said of a task that is started."""
        self.made = 0

    def get_paginator(self, operation: str) -> Pages:
        if operation == "list_services":
            return Pages("serviceArns", lambda **_: [self.arn(name) for name in self.services])
        return Pages("taskArns", lambda **_: list(self.tasks))  # of all services, as moto's does

    def arn(self, name: str) -> str:
        return REGION.format("ecs") + f"service/prod/{name}"

    def describe_services(self, *, cluster: str, services: list[str], include: list[str]) -> Row:
        assert (cluster, include, len(services) <= 10) == ("prod", ["TAGS"], True)
        return {"services": [self.services[arn.rpartition("/")[2]] for arn in services]}

    def create_service(self, *, serviceName: str, **said: Any) -> None:
        if not NAME.fullmatch(serviceName) or not said.get("taskDefinition"):
            raise ClientError("InvalidParameterException")
        self.services[serviceName] = {"serviceName": serviceName, "status": "ACTIVE", **said}
        self.reconcile(serviceName)

    def update_service(self, *, cluster: str, service: str, desiredCount: int) -> None:
        self.services[service]["desiredCount"] = desiredCount
        self.reconcile(service)

    def delete_service(self, *, cluster: str, service: str) -> None:
        if self.services[service]["desiredCount"]:
            raise ClientError("The service cannot be stopped while it is scaled above 0.")
        del self.services[service]

    def reconcile(self, name: str) -> None:
        """Have as many tasks as are desired."""
        desired, mine = self.services[name]["desiredCount"], self.tasks_of(name)
        for arn in mine[desired:]:
            del self.tasks[arn]
        for _ in range(desired - len(mine)):
            self.made += 1
            arn = REGION.format("ecs") + f"task/prod/{self.made:032x}"
            definition = self.services[name]["taskDefinition"]
            told = {"taskArn": arn, "taskDefinitionArn": definition, "group": f"service:{name}"}
            self.tasks[arn] = {**told, **self.task}

    def tasks_of(self, name: str) -> list[str]:
        return [arn for arn, row in self.tasks.items() if row["group"] == f"service:{name}"]

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> Row:
        return {"tasks": [self.tasks[arn] for arn in tasks]}

    def describe_task_definition(self, *, taskDefinition: str) -> Row:
        container = {} if self.health_check is None else {"healthCheck": self.health_check}
        return {"taskDefinition": {"containerDefinitions": [container]}}


def address(ip: str) -> Row:
    """Return what is said of a task that has an address for itself."""
    details = [{"name": "subnetId", "value": "s"}, {"name": "privateIPv4Address", "value": ip}]
    return {"attachments": [{"type": "ElasticNetworkInterface", "details": details}]}
