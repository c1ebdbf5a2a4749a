"""Moto's server: an AWS of a test, with a load balancer and a cluster."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Generator
from typing import Any

import boto3

from pyflow.probes import TCP
from support.servers import free_port, running

REGION = "eu-west-1"
CLUSTER = "prod"


class Aws:
    """Clients, and what there is: two target groups, a listener with a rule, a cluster."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keep_tasks_running()
        self.ec2, self.elb, ecs = (self._client(name) for name in ("ec2", "elbv2", "ecs"))
        self.ecs: Any = Scheduler(ecs, self)
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        self.subnets = [
            self.ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for n, zone in enumerate("ab")
        ]
        self.security_group = self.ec2.create_security_group(
            GroupName="web", Description="web", VpcId=vpc
        )["GroupId"]
        self.groups = {name: self._group(name, vpc) for name in ("blue", "green")}
        balancer = self.elb.create_load_balancer(Name="shop", Subnets=self.subnets)
        forward = [{"Type": "forward", "TargetGroupArn": self.groups["blue"]}]
        self.listener: str = self.elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=forward,
        )["Listeners"][0]["ListenerArn"]
        self.rule: str = self.elb.create_rule(
            ListenerArn=self.listener,
            Priority=1,
            Conditions=[{"Field": "path-pattern", "Values": ["/shop*"]}],
            Actions=forward,
        )["Rules"][0]["RuleArn"]
        ecs.create_cluster(clusterName=CLUSTER)
        for _ in range(2):
            ecs.register_task_definition(
                family="shop",
                networkMode="awsvpc",
                containerDefinitions=[{"name": "web", "image": "shop", "memory": 128}],
            )

    @property
    def network(self) -> dict[str, Any]:
        """What ECS is told of the network of tasks."""
        inside = {"subnets": self.subnets, "securityGroups": [self.security_group]}
        return {"awsvpcConfiguration": inside}

    def describe(self, service: str, version: str) -> dict[str, Any]:
        """Return what is said of the service of a version."""
        name = {"1.0": "blue", "2.0": "green"}[version]
        balancer = {"targetGroupArn": self.groups[name], "containerName": "web"}
        return {
            "taskDefinition": f"shop:{version[0]}",
            "launchType": "FARGATE",
            "networkConfiguration": self.network,
            "loadBalancers": [{**balancer, "containerPort": 80}],
        }

    def _group(self, name: str, vpc: str) -> str:
        found = self.elb.create_target_group(
            Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip"
        )
        return found["TargetGroups"][0]["TargetGroupArn"]

    def _keep_tasks_running(self) -> None:
        """Have a task be as it was started until it is stopped; moto ends them after some looks."""
        told = {"model_name": "ecs::task", "transition": {"progression": "manual", "times": 10**9}}
        connection = http.client.HTTPConnection(self._url.rpartition("/")[2], timeout=10)
        try:
            connection.request(
                "POST", "/moto-api/state-manager/set-transition", body=json.dumps(told)
            )
            assert connection.getresponse().status < 300
        finally:
            connection.close()

    def _client(self, name: str) -> Any:
        make: Any = boto3.client
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return make(name, region_name=REGION, endpoint_url=self._url, **keys)

    def close(self) -> None:
        for client in (self.ec2, self.elb, self.ecs):
            client.close()


class Scheduler:
    """A client of ECS that also does what moto leaves out: services have their tasks, and targets."""

    def __init__(self, client: Any, aws: Aws) -> None:
        self._client = client
        self._aws = aws

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in ("create_service", "update_service", "delete_service"):
            return call

        def changed(**options: Any) -> Any:
            answer = call(**options)
            self._reconcile(answer["service"])
            return answer

        return changed

    def _reconcile(self, service: dict[str, Any]) -> None:
        group = f"service:{service['serviceName']}"
        arns = self._client.list_tasks(cluster=CLUSTER, desiredStatus="RUNNING")["taskArns"]
        tasks: list[Any] = []
        if arns:
            tasks = self._client.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]
        mine = [task for task in tasks if task["group"] == group]
        desired = service["desiredCount"] if service["status"] == "ACTIVE" else 0
        for task in mine[desired:]:
            self._client.stop_task(cluster=CLUSTER, task=task["taskArn"])
        for _ in range(desired - len(mine)):
            self._run(service, group)

    def _run(self, service: dict[str, Any], group: str) -> None:
        [task] = self._client.run_task(
            cluster=CLUSTER,
            taskDefinition=service["taskDefinition"],
            launchType="FARGATE",
            group=group,
            networkConfiguration=self._aws.network,
        )["tasks"]
        details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
        for balancer in service["loadBalancers"]:
            self._aws.elb.register_targets(
                TargetGroupArn=balancer["targetGroupArn"],
                Targets=[{"Id": details["privateIPv4Address"], "Port": 80}],
            )


@contextlib.contextmanager
def moto() -> Generator[Aws]:
    """Run moto's server, with everything in place."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, TCP("127.0.0.1", port)):
        aws = Aws(f"http://127.0.0.1:{port}")
        try:
            yield aws
        finally:
            aws.close()
