"""A deployment behind a real nginx: switched by reload, probed over HTTP, rolled back."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyflow
from pyflow.errors import HTTPError
from pyflow.net.http import request
from pyflow.probes import HTTP, TCP, consistently

pytestmark = pytest.mark.integration

LOOKS = pyflow.Backoff("20ms", ceiling="100ms")

CONFIG = """
daemon off;
{user}
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    include {root}/current.conf;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://live; }}
        location /old {{ return 301 /version; }}
        location /away {{ return 302 http://elsewhere.invalid/; }}
        location /files/ {{ alias {root}/files/; }}
    }}
    server {{
        listen unix:{root}/1.sock;
        location /version {{ return 200 "1.0"; }}
        location /health {{ return 200 "fine"; }}
    }}
    server {{
        listen unix:{root}/2.sock;
        location /version {{ return 200 "2.0"; }}
        location /health {{ return 503 "the database does not answer"; }}
    }}
}}
"""


class Nginx:
    """An nginx of our own, with two versions of a service behind it."""

    def __init__(self, root: Path) -> None:
        found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        assert found, "these tests need nginx: apt-get install nginx-light"
        self.binary = found
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (root / "files").mkdir()
        (root / "files" / "big").write_bytes(b"x" * 300_000)
        self.point_at("1")
        user = "user root;" if os.geteuid() == 0 else ""
        (root / "nginx.conf").write_text(CONFIG.format(root=root, port=self.port, user=user))
        self.process = subprocess.Popen([*self.command, "-q"])

    @property
    def command(self) -> list[str]:
        """The command line of this nginx."""
        root = str(self.root)
        return [self.binary, "-p", root, "-c", f"{root}/nginx.conf", "-e", f"{root}/error.log"]

    def live(self) -> str:
        """Return the version that nginx is configured to send traffic to."""
        return (self.root / "current.conf").read_text().split("/")[-1][0]

    def point_at(self, version: str) -> None:
        """Have the front door send traffic to *version*, after a reload."""
        staged = self.root / "current.conf.new"
        staged.write_text(f"upstream live {{ server unix:{self.root}/{version}.sock; }}")
        staged.replace(self.root / "current.conf")

    def reload(self) -> None:
        """Have nginx read its configuration again."""
        subprocess.run([*self.command, "-s", "reload"], check=True)

    def answers(self, version: str) -> pyflow.Probe:
        """Return a probe of whether every request reaches *version*; old workers linger a while."""
        return consistently(
            HTTP(f"{self.url}/version", contains=f"{version}.0"), times=10, interval="10ms"
        )

    def stop(self) -> None:
        """End it, and wait until it has."""
        self.process.terminate()
        self.process.wait(timeout=10)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """A running nginx."""
    server = Nginx(tmp_path)
    try:
        ready = pyflow.poll(TCP("127.0.0.1", server.port), backoff=LOOKS, timeout="10s")
        asyncio.run(ready)
        yield server
    finally:
        server.stop()


def switch_to(nginx: Nginx, version: str) -> pyflow.Workflow:
    """A workflow that switches traffic to *version*, proves it, and takes it back if it is bad."""
    workflow = pyflow.Workflow("switch")

    @workflow.task
    def switch(ctx: pyflow.Context) -> str:
        before = nginx.live()
        ctx.checkpoint("before", before)
        nginx.point_at(version)
        nginx.reload()
        ctx.record_change("front door", before=before, after=version)
        return before

    @workflow.recovery(switch)
    def switch_back(ctx: pyflow.RecoveryContext, switch: str | None) -> None:
        target = switch or ctx.checkpoints["before"]
        if nginx.live() != target:
            ctx.record_change("front door", before=nginx.live(), after=target)
            nginx.point_at(target)
            nginx.reload()
        ctx.poll(nginx.answers(target), backoff=LOOKS, timeout="10s")

    @workflow.task(depends_on=[switch])
    async def verify(ctx: pyflow.AsyncContext) -> None:
        await ctx.poll(nginx.answers(version), backoff=LOOKS, timeout="10s")
        healthy = consistently(HTTP(f"{nginx.url}/health"), times=3, interval="10ms")
        await ctx.poll(healthy, backoff=LOOKS, timeout="1s")

    return workflow


def get(url: str, **options: object) -> tuple[int, bytes]:
    """Return status and body of an answer."""
    answer = asyncio.run(request("GET", url, **options))  # pyright: ignore[reportArgumentType]
    return answer.status, answer.body


class TestDeployment:
    def test_that_is_bad_is_rolled_back(self, nginx: Nginx) -> None:
        """A version that answers 503 is detected by its probe, and traffic goes back."""
        result = pyflow.Engine().execute(switch_to(nginx, "2"))

        assert result.status == "rolled_back"
        assert result.error is not None
        assert result.error.task == "verify"
        assert get(f"{nginx.url}/version") == (200, b"1.0")
        changes = [(r.data["before"], r.data["after"]) for r in result.audit_trail.changes]
        assert changes == [("1", "2"), ("2", "1")]

    def test_that_is_good_stays(self, nginx: Nginx) -> None:
        """Switching to a healthy version succeeds."""
        result = pyflow.Engine().execute(switch_to(nginx, "1"))

        assert result.status == "succeeded"
        assert get(f"{nginx.url}/version") == (200, b"1.0")


class TestClient:
    def test_reads_large_and_small_answers(self, nginx: Nginx) -> None:
        """A body arrives whole, and one above the cap is refused."""
        url = f"{nginx.url}/files/big"

        assert get(url) == (200, b"x" * 300_000)
        with pytest.raises(HTTPError, match=r"100,?000"):
            get(url, max_bytes=100_000)

    def test_follows_within_the_origin_only(self, nginx: Nginx) -> None:
        """A redirect is followed where that was asked for, and never to another host."""
        assert get(f"{nginx.url}/old", follow_redirects=1) == (200, b"1.0")
        assert get(f"{nginx.url}/old")[0] == 301
        with pytest.raises(HTTPError, match=r"elsewhere\.invalid"):
            get(f"{nginx.url}/away", follow_redirects=1)

    def test_asks_for_heads(self, nginx: Nginx) -> None:
        """A HEAD has the length and no body."""
        answer = asyncio.run(request("HEAD", f"{nginx.url}/files/big"))

        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == "300000"

    def test_sees_a_stopped_server(self, nginx: Nginx) -> None:
        """A server that is gone is unhealthy, not unknown."""
        nginx.stop()

        reading = asyncio.run(HTTP(nginx.url).read())

        assert reading.health == "unhealthy"
