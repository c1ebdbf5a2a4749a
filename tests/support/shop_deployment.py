"""A deployment of real processes behind a real HAProxy, as a program that can be killed.

python shop_deployment.py ROOT BAKE
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyflow
from pyflow.platforms import LocalProcesses
from pyflow.routers import HAProxy
from pyflow.strategies import blue_green
from support.proxies import processes

BACKOFF = pyflow.Backoff("100ms", ceiling="500ms")


def ports(root: Path) -> tuple[LocalProcesses, HAProxy]:
    """Return the platform and the router of a test's directory."""
    platform = processes(root / "state")
    return platform, HAProxy(root / "admin.sock", "shop", addresses=platform.addresses)


def make(root: Path, bake: str) -> pyflow.Workflow:
    """Return the rollout of version 2.0."""
    platform, router = ports(root)
    return blue_green("shop", "2.0", platform=platform, router=router, bake=bake, backoff=BACKOFF)


def main() -> None:
    root, bake = Path(sys.argv[1]), sys.argv[2]
    with pyflow.Engine(journal=root / "deploys.db") as engine:
        engine.execute(make(root, bake))


if __name__ == "__main__":
    main()
