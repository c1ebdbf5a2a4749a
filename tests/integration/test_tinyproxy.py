"""Requests through a real proxy, tinyproxy: plain ones, tunnels, credentials, and its rules."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import HTTPError
from pyflow.net import Proxy
from pyflow.net.http import request
from pyflow.net.response import Response
from pyflow.notifiers import Webhook
from pyflow.secrets import Secret
from pyflow.testing.servers import HTTPServer, Reply
from support.fake_http import closed_port
from support.notices import sent
from support.proxies import Proxy as Server
from support.proxies import free_port, program

pytestmark = pytest.mark.integration

USER, PASSWORD = "ada", "s3cret-x"
CONFIG = """
Port {port}
Listen 127.0.0.1
Timeout 30
Allow 127.0.0.1
BasicAuth {user} {password}
ConnectPort {tls_port}
LogLevel Critical
PidFile "{root}/pid"
LogFile "{root}/log"
"""


@pytest.fixture
def safe() -> Generator[HTTPServer]:
    """A target that speaks TLS."""
    with HTTPServer(tls=True).always(Reply(200, "safe")) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, safe: HTTPServer) -> Generator[str]:
    """Host and port of a tinyproxy that makes tunnels to *safe* alone, for one user."""
    port = free_port()
    config = tmp_path / "tinyproxy.conf"
    config.write_text(
        CONFIG.format(port=port, root=tmp_path, user=USER, password=PASSWORD, tls_port=safe.port)
    )
    server = Server([program("tinyproxy", "tinyproxy-bin"), "-d", "-c", str(config)], port)
    try:
        server.wait()
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()


def ask(url: str, **options: Any) -> Response:
    return asyncio.run(request("GET", url, **options))


def failure(url: str, **options: Any) -> HTTPError:
    with pytest.raises(HTTPError) as caught:
        ask(url, **options)
    return caught.value


class TestTinyproxy:
    def test_plain(self, place: str) -> None:
        """An http request is handed on, without the credentials."""
        with HTTPServer().always(Reply(200, "plain")) as server:
            response = ask(f"{server.base_url}/a?b=c", proxy=f"http://{USER}:{PASSWORD}@{place}")

        assert response.body == b"plain"
        assert server.received[0].path == "/a?b=c"
        assert "proxy-authorization" not in server.received[0].headers

    def test_tunnel(self, place: str, safe: HTTPServer) -> None:
        """An https request goes through a tunnel; the certificate is the target's."""
        proxy = Proxy(f"http://{USER}@{place}", password=Secret(PASSWORD))

        response = ask(f"{safe.base_url}/a", proxy=proxy, ssl_context=safe.ssl_context)

        assert response.body == b"safe"
        assert failure(safe.base_url, proxy=proxy).phase == "tls"
        assert len(safe.received) == 1

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_who(self, place: str, safe: HTTPServer, scheme: str) -> None:
        """Without credentials nothing is passed on, and nothing is tried again."""
        error = failure(f"{scheme}://127.0.0.1:{safe.port}/", proxy=f"http://{place}")

        assert (error.phase, error.final) == ("proxy", True)
        assert "answered 407: it asks for" in error.reason

    def test_wrong(self, place: str, safe: HTTPServer) -> None:
        """Wrong ones, to which this proxy says 401, end it too."""
        error = failure(safe.base_url, proxy=f"http://{USER}:wrong-one@{place}")

        assert (error.phase, error.final) == ("proxy", True)
        assert "answered 401: it does not take" in error.reason

    def test_rules(self, place: str) -> None:
        """A port that its rules forbid is a refusal."""
        proxy = f"http://{USER}:{PASSWORD}@{place}"

        error = failure(f"https://127.0.0.1:{closed_port()}/", proxy=proxy)

        assert (error.phase, error.final) == ("proxy", True)
        assert "answered 403" in error.reason

    def test_unknown_host(self, place: str, safe: HTTPServer) -> None:
        """A host that the proxy cannot reach is worth another try."""
        proxy = f"http://{USER}:{PASSWORD}@{place}"

        error = failure(f"https://nowhere.invalid:{safe.port}/", proxy=proxy, timeout="20s")

        assert (error.phase, error.final) == ("proxy", False)

    def test_notifier(self, place: str, safe: HTTPServer) -> None:
        """A notifier tells through it."""
        webhook = Webhook(
            f"{safe.base_url}/hook",
            allow_private=True,
            ssl_context=safe.ssl_context,
            proxy=f"http://{USER}:{PASSWORD}@{place}",
        )

        assert sent(webhook).status == "delivered"
        assert safe.received[0].path == "/hook"
