"""Real proxies in front of real processes, on free ports, in a directory of a test."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyflow
from pyflow import probes
from pyflow.platforms import LocalProcesses
from pyflow.probes import HTTP, TCP
from pyflow.protocols import Platform

SERVICE = str(Path(__file__).with_name("http_service.py"))
LOOKS = pyflow.Backoff("20ms", ceiling="100ms")


def program(name: str, package: str) -> str:
    """Return the path of a server that has to be installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    assert found, f"these tests need {name}: apt-get install {package}"
    return found


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes(root: Path, *options: str, **given: Any) -> LocalProcesses:
    """Return a platform that runs versions of the HTTP service."""
    command = [sys.executable, "-S", SERVICE, "{port}", "{version}", *options]

    def healthy(host: str, port: int) -> HTTP:
        return HTTP(f"http://{host}:{port}/health", timeout="2s")

    return LocalProcesses(root, command, ready=healthy, **given)


async def run(platform: Platform, version: str, count: int) -> None:
    """Have *count* ready instances of *version*."""
    await platform.scale("shop", version, count)

    async def are_ready() -> bool:
        state = await platform.observe("shop")
        return [i.ready for i in state.instances if i.version == version] == [True] * count

    await pyflow.poll(probes.Callable(are_ready, name=version), backoff=LOOKS, timeout="20s")


class Proxy:
    """A server of a test: started, waited for, and ended."""

    def __init__(self, argv: list[str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Wait until it accepts connections."""
        asyncio.run(pyflow.poll(TCP("127.0.0.1", self.port), backoff=LOOKS, timeout="10s"))

    def stop(self) -> None:
        """End it, and wait until it has."""
        self.process.terminate()
        self.process.wait(timeout=10)


HAPROXY = """
global
    stats socket {root}/admin.sock mode 600 level admin
    stats socket ipv4@127.0.0.1:{admin} level admin
    maxconn 400
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend door
    bind 127.0.0.1:{port}
    default_backend shop
frontend counters
    bind 127.0.0.1:{counters}
    http-request use-service prometheus-exporter if {{ path /metrics }}
backend shop
    balance roundrobin
{servers}
"""


class HAProxyServer(Proxy):
    """An HAProxy with a backend, which may have *servers* by name."""

    def __init__(self, root: Path, servers: dict[str, int] | None = None) -> None:
        self.socket = root / "admin.sock"
        self.admin, self.counters, port = free_port(), free_port(), free_port()
        lines = [f"    server {n} 127.0.0.1:{p} weight 0" for n, p in (servers or {}).items()]
        ports = {"port": port, "admin": self.admin, "counters": self.counters}
        text = HAPROXY.format(root=root, **ports, servers="\n".join(lines))
        (root / "haproxy.cfg").write_text(text)
        binary = program("haproxy", "haproxy")
        super().__init__([binary, "-db", "-q", "-f", str(root / "haproxy.cfg")], port)


NGINX = """
daemon off;
{user}
worker_processes 2;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    include {root}/shop.conf;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://shop; }}
    }}
}}
"""


class NginxServer(Proxy):
    """An nginx whose upstream is a file of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.conf = root / "shop.conf"
        port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        (root / "nginx.conf").write_text(NGINX.format(root=root, port=port, user=user))
        super().__init__([*self.command, "-q"], port)

    @property
    def command(self) -> list[str]:
        """The command line of this nginx."""
        root = str(self.root)
        binary = program("nginx", "nginx-light")
        return [binary, "-p", root, "-c", f"{root}/nginx.conf", "-e", f"{root}/error.log"]
