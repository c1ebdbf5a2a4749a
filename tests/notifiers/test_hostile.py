"""Input that means harm is refused before any connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.notifiers import PagerDuty, Slack, Teams, Webhook
from pyflow.secrets import Secret
from support.notices import sent

URLS = [
    "file:///etc/passwd", "gopher://h.example/x", "ftp://h.example/hush", "javascript:alert(1)",
    "http://user:hush@h.example/", "http://hush@h.example/", "http://0x7f.1/", "http://2130706433/",
    "http://127.1/", "http://0177.0.0.1/", "http://[::ffff:a9fe:a9fe]/", "http://[::ffff:7f00:1]/",
    "http://b\u00fccher.example/", "http://\u0430pple.example/", "http://h.example/\r\nX: hush",
    "http://h.example:0/", "http://h.example:99999/", "http://h example/", "http://", "//h.example/",
    "http://h.example\\@evil.example/", "http://[fe80::1%25eth0]/", "http:/h.example/hush", "",
]  # fmt: skip

MAKE: dict[str, Callable[[Any], Any]] = {
    "slack": lambda url: Slack(url),
    "slack api": lambda url: Slack(token="xoxb-123456", channel="C1", base_url=url),
    "teams": lambda url: Teams(url),
    "pagerduty": lambda url: PagerDuty("0123456789abcdef" * 2, base_url=url),
    "webhook": lambda url: Webhook(url),
}
SECRET_URL = ("slack", "teams", "webhook")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every attempt to look a name up or to connect, and let none happen."""
    tried: list[str] = []

    async def getaddrinfo(self: Any, host: str, *_: Any, **__: Any) -> Any:
        tried.append(host)
        raise OSError("no network here")

    def refuse(self: Any, address: Any) -> Any:
        tried.append(str(address))
        raise OSError("no network here")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    return tried


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("kind", MAKE)
class TestURL:
    def test_refused(self, no_network: list[str], kind: str, url: str) -> None:
        """A hostile URL is refused when the notifier is made, and nothing of it but the host shown."""
        with pytest.raises(DefinitionError) as caught:
            MAKE[kind](url)

        assert "hush" not in str(caught.value).replace("hush@h", "")
        assert no_network == []


@pytest.mark.parametrize("url", [url for url in URLS if len(url) >= 6 and url != "http://"])
@pytest.mark.parametrize("kind", SECRET_URL)
class TestSecretURL:
    def test_refused(self, no_network: list[str], kind: str, url: str) -> None:
        """A secret one is refused before any connection, once it has been fetched."""
        found = sent(MAKE[kind](Secret.from_provider(lambda: url, name="late")))

        assert (found.status, found.again) == ("rejected", False)
        assert "hush" not in found.detail
        assert no_network == []


class TestPrivate:
    @pytest.mark.parametrize(
        "url", ["http://169.254.169.254/x", "http://127.0.0.1:9/x", "http://[::1]:9/x"]
    )
    def test_refused(self, no_network: list[str], url: str) -> None:
        """An address that is not public is not connected to unless that was asked for."""
        for make in (Slack, Teams, Webhook):
            found = sent(make(url))

            assert found.status == "rejected"
            assert "allow_private" in found.detail

        assert no_network == []

    def test_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that leads to such an address is refused as well."""

        async def getaddrinfo(self: Any, host: str, port: int, **_: Any) -> Any:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", port))]

        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)

        found = sent(Webhook("http://internal.example/x"))

        assert found.status == "rejected"
        assert "10.0.0.7" in found.detail
