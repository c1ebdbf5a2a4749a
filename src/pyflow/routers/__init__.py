"""Routers: shift traffic between versions of a service, each by the means of one kind of proxy.

Every one of them keeps the contract of `pyflow.protocols.Router`, which
`pyflow.testing.check_router` checks.
"""

from pyflow.routers.alb import ALB
from pyflow.routers.commands import Commands
from pyflow.routers.haproxy import HAProxy
from pyflow.routers.kubernetes import GatewayRoute, KubernetesAPI, ServiceSelector
from pyflow.routers.nginx import Nginx

__all__ = [
    "ALB",
    "Commands",
    "GatewayRoute",
    "HAProxy",
    "KubernetesAPI",
    "Nginx",
    "ServiceSelector",
]
