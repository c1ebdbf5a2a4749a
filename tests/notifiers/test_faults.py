"""Every notifier, over every way in which a service can fail: the deadline holds, nothing is raised."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest

from pyflow.messages import Attempt, Delivery
from pyflow.notifiers import PagerDuty, Slack, Teams, Webhook
from pyflow.protocols import Notifier
from pyflow.testing.servers import Drip, Endless, Hang, HTTPServer, Raw, Reply, Reset, Step
from pyflow.testing.servers.certificate import client_tls
from support.fake_http import closed_port
from support.notices import message

TIMEOUT_S = 0.3
SLACK_S = 0.25
"""How much later than its deadline a try may end."""

BOMB = gzip.compress(b"\0" * 50_000_000)

FAULTS: dict[str, Step] = {
    "nothing": Raw(b""),
    "reset": Reset(),
    "hangs": Hang(),
    "garbage": Raw(b"\x00\xff\xfe" * 500),
    "another protocol": Raw(b"220 mail ready\r\n"),
    "endless status": Drip(b"HTTP/1.1 200 OK "),
    "slow headers": Drip(b"X-A: b\r\n", head=b"HTTP/1.1 200 OK\r\n"),
    "slow body": Drip(b"ok", head=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    "slow chunks": Drip(
        b"1\r\nx\r\n", head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "10 GB": Endless(),
    "10 GB unannounced": Drip(b"x", head=b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000),
    "64 KB of headers": Raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"y" * 70_000 + b"\r\n\r\n"),
    "many headers": Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"),
    "shorter than it says": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok"),
    "two lengths": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    "negative length": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok"),
    "broken chunks": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n"),
    "endless interim": Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "switches": Raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "redirect to itself": Reply(302, "", {"Location": "/"}),
    "redirect elsewhere": Reply(307, "", {"Location": "http://evil.example/"}),
    "permanent redirect": Reply(308, "", {"Location": "file:///etc/passwd"}),
    "login page": Reply(200, "<html>Please sign in</html>", {"Content-Type": "text/html"}),
    "bad JSON": Reply(200, '{"ok": tr', {"Content-Type": "application/json"}),
    "NaN": Reply(200, '{"ok": NaN}', {"Content-Type": "application/json"}),
    "deep JSON": Reply(200, "[" * 60_000, {"Content-Type": "application/json"}),
    "bad charset": Reply(200, b"\xff\xfe\x00", {"Content-Type": "text/plain; charset=utf-7"}),
    "no charset": Reply(200, b"\xff", {"Content-Type": "text/plain; charset=klingon"}),
    "gzip bomb": Reply(200, BOMB, {"Content-Encoding": "gzip"}),
    "empty": Reply(200, ""),
    "400": Reply(400, "x" * 60_000),
    "401": Reply(401, "\x1b[31m\r\n::error::"),
    "404": Reply(404, ""),
    "429": Reply(429, "", {"Retry-After": "1"}),
    "429 huge": Reply(429, "", {"Retry-After": "9" * 15}),
    "429 negative": Reply(429, "", {"Retry-After": "-1"}),
    "429 date": Reply(429, "", {"Retry-After": "Fri, 27 Nov 2026 12:00:45 GMT"}),
    "429 nonsense": Reply(429, '{"retry_after": "soon"}', {"Retry-After": "soon"}),
    "500": Reply(500, "boom"),
    "502": Reply(502, "<html>"),
    "503": Reply(503, "", {"Retry-After": "0"}),
    "504": Reply(504, ""),
}
MAKE: dict[str, Callable[[HTTPServer], Notifier]] = {
    "slack": lambda s: Slack(f"{s.base_url}/x", allow_private=True),
    "slack api": lambda s: Slack(
        token="xoxb-123456", channel="C1", base_url=s.base_url, allow_private=True
    ),
    "teams": lambda s: Teams(f"{s.base_url}/x", allow_private=True),
    "pagerduty": lambda s: PagerDuty("ab" * 16, base_url=s.base_url, allow_private=True),
    "webhook": lambda s: Webhook(f"{s.base_url}/x", allow_private=True),
}
SENT = ("nothing", "reset", "hangs", "slow headers", "slow body", "shorter than it says")
"""Faults after which nobody knows whether the service has the message."""
BODY_UNREAD = ("webhook", "teams")
"""Those whose service says all with its status, so that any whole 2xx will do."""


def outcome(notifier: Notifier) -> tuple[Delivery, float]:
    """Send one message, and return what came of it, and how long that took."""

    async def run() -> tuple[Delivery, float]:
        now = asyncio.get_running_loop().time
        began = now()
        found = await notifier.notify(message(), Attempt(timeout_s=TIMEOUT_S))
        return found, now() - began

    return asyncio.run(run())


@pytest.mark.parametrize("kind", MAKE)
class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_service(self, kind: str, fault: str) -> None:
        """Whatever a service does, the try ends in time, raises nothing, and is no false success."""
        with HTTPServer().always(FAULTS[fault]) as server:
            found, took_s = outcome(MAKE[kind](server))

        whole = isinstance(FAULTS[fault], Reply) and FAULTS[fault].status == 200  # type: ignore[union-attr]
        assert took_s <= TIMEOUT_S + SLACK_S
        assert found.status != "delivered" or (kind in BODY_UNREAD and whole)
        assert len(found.detail) <= 600
        assert found.detail.isprintable()

    @pytest.mark.parametrize("fault", SENT)
    def test_in_doubt(self, kind: str, fault: str) -> None:
        """What went out and was not answered may have arrived, and that is what is said."""
        with HTTPServer().always(FAULTS[fault]) as server:
            found, _ = outcome(MAKE[kind](server))

        assert (found.status, found.again) == ("unknown", True)
        assert "may have arrived" in found.detail

    def test_refused(self, kind: str) -> None:
        """A port on which nobody listens is worth another try."""
        with HTTPServer() as server:
            notifier = MAKE[kind](server)

        found, took_s = outcome(notifier)

        assert (found.status, found.again) == ("retrying", True)
        assert took_s <= TIMEOUT_S + SLACK_S

    def test_untrusted(self, kind: str) -> None:
        """A certificate that nobody vouches for is never talked to."""
        with HTTPServer(tls=True) as server:
            found, _ = outcome(MAKE[kind](server))

            assert found.status == "retrying"
            assert server.received == []

    def test_proxy(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Proxies that the environment names are not used."""
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")

        with HTTPServer() as server:
            outcome(MAKE[kind](server))

            assert len(server.received) == 1

    def test_name(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that is not found is worth another try, and one that is looked up for ever ends."""
        answers: list[Any] = [OSError(-2, "Name or service not known"), None]

        async def getaddrinfo(self: Any, *_: Any, **__: Any) -> Any:
            answer = answers.pop(0)
            if answer is not None:
                raise answer
            await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
        with HTTPServer() as server:
            made = MAKE[kind](server)
        object.__setattr__(made, "allow_private", True)
        for part in ("url", "base_url"):
            if getattr(made, part, None) is not None:
                object.__setattr__(made, part, "http://nowhere.example/x")

        for _ in range(2):
            found, took_s = outcome(made)
            assert (found.status, found.again) == ("retrying", True)
            assert took_s <= TIMEOUT_S + SLACK_S


class TestTLS:
    def test_trusted(self) -> None:
        """With the right roots the same server is talked to."""
        with HTTPServer(tls=True) as server:
            hook = Webhook(f"{server.base_url}/x", allow_private=True, ssl_context=client_tls())

            assert outcome(hook)[0].status == "delivered"
