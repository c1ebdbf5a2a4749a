"""A canary behind HAProxy on one host, as you would write it with pyflow.

The new version runs beside the old one and gets a fifth of the requests, then
half, then all of them. While it has a share, the error rates of both versions
are compared on HAProxy's own counters, so no metrics server is needed. As
soon as the new one is worse beyond chance, it loses its share and is stopped.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pyflow
from pyflow.analysis import Compare, Sequential, extend
from pyflow.metrics import HAProxyStats
from pyflow.platforms import LocalProcesses
from pyflow.probes import HTTP, TCP, Callable, consistently
from pyflow.routers import HAProxy
from pyflow.strategies import Step, canary

SERVICE = Path(__file__).with_name("demo_service.py")
PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
NEWEST_WITHOUT_ADDING = (2, 4)
INSTANCES = 2
SHARE_PCT = 20
STOP_TIMEOUT_S = 10.0
LOOKS = pyflow.Backoff("50ms", ceiling="200ms")

CONFIG = """
global
    stats socket {root}/admin.sock mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend door
    bind 127.0.0.1:{port}
    default_backend shop
backend shop
    balance roundrobin
"""


def find_haproxy() -> str | None:
    """Return the HAProxy of this machine, if there is one that servers can be added to."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *PLACES])
    program = shutil.which("haproxy", path=path)
    if program is None:
        return None
    done = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d+)\.(\d+)", done.stdout)
    usable = version and (int(version[1]), int(version[2])) > NEWEST_WITHOUT_ADDING
    return program if usable else None


class Shop:
    """The service on this machine: processes, and HAProxy in front of them.

    builds/1.1       what the CI system delivered
    state/           where the platform keeps which processes it has started
    admin.sock       where HAProxy takes orders and tells its counters
    leash            a FIFO that everything holds on to, and ends without
    """

    def __init__(self, root: Path, haproxy: str) -> None:
        self.root = root
        self.builds = root / "builds"
        self.builds.mkdir(parents=True, exist_ok=True)
        os.mkfifo(root / "leash")
        self._leash = os.open(root / "leash", os.O_RDWR)
        self._haproxy = haproxy
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        program = f"{self.builds}/{{version}}/service.py"
        command = [sys.executable, "-S", program, "listen", "{port}", str(root / "leash")]
        self.platform = LocalProcesses(root / "state", command, ready=_health)
        self.router = HAProxy(root / "admin.sock", "shop", addresses=self.platform.addresses)

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return f"http://127.0.0.1:{self._port}"

    async def open(self, version: str) -> None:
        """Start HAProxy, and give all of the traffic to *version*."""
        self._start_haproxy()
        await self.platform.scale("shop", version, INSTANCES)

        async def is_ready() -> bool:
            return (await self.running()).count(version) == INSTANCES

        await pyflow.poll(Callable(is_ready, name=version), backoff=LOOKS, timeout="15s")
        await pyflow.poll(TCP("127.0.0.1", self._port), backoff=LOOKS, timeout="15s")
        await self.router.set_weights("shop", {version: 100})

    def _start_haproxy(self) -> None:
        config = self.root / "haproxy.cfg"
        config.write_text(CONFIG.format(root=self.root, port=self._port))
        guarded = [str(SERVICE), "guard", str(self.root / "leash")]
        with (self.root / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-S", *guarded, self._haproxy, "-db", "-q", "-f", str(config)],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the deployment, not for the proxy
            )

    async def weights(self) -> dict[str, float]:
        """Return who gets how much of the traffic, as HAProxy has it."""
        return await self.router.weights("shop")

    async def running(self) -> tuple[str, ...]:
        """Return the version of every instance that is ready."""
        state = await self.platform.observe("shop")
        return tuple(instance.version for instance in state.instances if instance.ready)

    async def close(self) -> None:
        """Stop everything that was started here."""
        try:
            for build in sorted(self.builds.iterdir()):
                await self.platform.scale("shop", build.name, 0)
        finally:
            if self._process is not None:
                self._process.terminate()
                await asyncio.to_thread(self._process.wait, STOP_TIMEOUT_S)
            os.close(self._leash)


def make_workflow(shop: Shop, version: str) -> pyflow.Workflow:
    """Return the rollout of *version*: a plain value, to run, draw or test."""
    errors = Compare(
        HAProxyStats(str(shop.root / "admin.sock"), backend="shop"),
        "errors $version-*",
        "requests $version-*",
        max_increase=0.05,
        interval="500ms",
        judge_with=Sequential(),
        inconclusive=extend("20s"),  # a slow machine sends fewer requests in the bake
        name="errors",
    )
    page = HTTP(f"{shop.url}/", contains=f'"version": "{version}"')
    return canary(
        "shop",
        version,
        platform=shop.platform,
        router=shop.router,
        steps=[SHARE_PCT, 50, Step(100, checks=[consistently(page, times=5, interval="100ms")])],
        bake="4s",
        checks=[errors],
        backoff=LOOKS,
    )


def _health(host: str, port: int) -> HTTP:
    return HTTP(f"http://{host}:{port}/health", timeout="2s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
