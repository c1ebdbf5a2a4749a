"""Platforms: create, scale and remove versions of a service, each by the means of one kind of host.

Every one of them keeps the contract of `pyflow.protocols.Platform`, which
`pyflow.testing.check_platform` checks.
"""

from pyflow.platforms.commands import Commands
from pyflow.platforms.docker import Docker
from pyflow.platforms.ecs import ECS
from pyflow.platforms.local_processes import LocalProcesses
from pyflow.platforms.ssh import SSH
from pyflow.platforms.symlink import Symlink

__all__ = ["ECS", "SSH", "Commands", "Docker", "LocalProcesses", "Symlink"]
