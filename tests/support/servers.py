"""Real servers for the integration tests: started on free ports, awaited, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

import pyflow
from pyflow.probes import HTTP, TCP
from support import metered

LOOKS = pyflow.Backoff("20ms", ceiling="100ms")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def found(program: str, package: str) -> str:
    """Return where *program* is; that it is missing is a failure, never a skip."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    assert path, f"these tests need {program}: apt-get install {package}"
    return path


@contextlib.contextmanager
def running(command: Sequence[str], ready: pyflow.Probe) -> Generator[subprocess.Popen[bytes]]:
    """Run a program from when it is *ready* until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(pyflow.poll(ready, backoff=LOOKS, timeout="30s"))
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program, and wait until it has ended."""
    process.terminate()
    process.wait(timeout=20)


@contextlib.contextmanager
def service(version: str, *, fails: float = 0.0, latency_s: float = 0.1) -> Generator[int]:
    """Run a version of the metered service, and yield its port."""
    port = free_port()
    command = [sys.executable, metered.__file__, version, str(port), str(fails), str(latency_s)]
    with running(command, TCP("127.0.0.1", port)):
        yield port


@contextlib.contextmanager
def load(*ports: int) -> Generator[None]:
    """Send requests to each of *ports*, one after the other, as fast as they are answered."""
    over = threading.Event()

    def send(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            while not over.wait(0.001):
                connection.request("GET", "/")
                connection.getresponse().read()
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def prometheus(
    root: Path, *targets: int, rules: str = ""
) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a Prometheus that scrapes *targets* four times a second; yield its URL and process."""
    port = free_port()
    listed = ", ".join(f"'127.0.0.1:{target}'" for target in targets)
    (root / "rules.yml").write_text(rules)
    (root / "prometheus.yml").write_text(
        "global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}\n"
        f"rule_files: ['{root}/rules.yml']\n"
        f"scrape_configs: [{{job_name: shop, static_configs: [{{targets: [{listed}]}}]}}]\n"
    )
    command = [
        found("prometheus", "prometheus"),
        f"--config.file={root}/prometheus.yml",
        f"--storage.tsdb.path={root}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    url = f"http://127.0.0.1:{port}"
    with running(command, HTTP(f"{url}/-/ready")) as process:
        yield url, process


HAPROXY = """
global
    stats socket {root}/stats.sock mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend door
    bind 127.0.0.1:{port}
    stats enable
    stats uri /stats
    default_backend shop
backend shop
    balance roundrobin
{servers}
"""


@contextlib.contextmanager
def haproxy(root: Path, **servers: int) -> Generator[int]:
    """Run an HAProxy in front of *servers*, by port; yield its port. The socket is stats.sock."""
    port = free_port()
    lines = "\n".join(f"    server {name} 127.0.0.1:{there}" for name, there in servers.items())
    config = root / "haproxy.cfg"
    config.write_text(HAPROXY.format(root=root, port=port, servers=lines))
    command = [found("haproxy", "haproxy"), "-db", "-q", "-f", str(config)]
    with running(command, TCP("127.0.0.1", port)):
        yield port
