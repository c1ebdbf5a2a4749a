"""The contract of a notifier, over every notifier of ours and the service that it is for."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyflow.notifiers import Apprise, Console, Email, File, Log, PagerDuty, Slack, Teams, Webhook
from pyflow.protocols import Notifier
from pyflow.testing.contracts import check_notifier
from pyflow.testing.servers import (
    PagerDutyServer,
    SlackServer,
    SMTPServer,
    TeamsServer,
    WebhookServer,
)


def check(make: Callable[[], Notifier], delivered: Any = None) -> None:
    asyncio.run(check_notifier(make, delivered=delivered))


class TestContract:
    def test_slack(self) -> None:
        """The webhook keeps it."""
        with SlackServer() as server:
            check(lambda: Slack(server.url, allow_private=True))

            assert server.texts[0] == server.received[0].json["text"]

    def test_slack_bot(self) -> None:
        """The Web API keeps it, delivery included."""
        servers: list[SlackServer] = []

        def make() -> Notifier:
            servers.append(SlackServer().__enter__())
            base = servers[-1].api_url
            token = servers[-1].token
            return Slack(token=token, channel="C0TEST", base_url=base, allow_private=True)

        def delivered(_: Notifier) -> Sequence[str]:
            return [m["metadata"]["event_payload"]["id"] for m in servers[-1].channel]

        try:
            check(make, delivered)
        finally:
            for server in servers:
                server.__exit__()

    def test_teams(self) -> None:
        """Teams keeps it, and every card would be shown."""
        with TeamsServer() as server:
            check(lambda: Teams(server.url, allow_private=True))

            assert len(server.cards) > 20
            assert server.failed == []

    def test_pagerduty(self) -> None:
        """PagerDuty keeps it, and every event is one that it takes."""
        with PagerDutyServer() as server:
            options: Any = {"base_url": server.base_url, "allow_private": True}
            check(lambda: PagerDuty(server.routing_key, **options))

            assert len(server.changes) > 5

    @pytest.mark.parametrize("kind", ["json", "cdevents"])
    def test_webhook(self, kind: Any) -> None:
        """The webhook keeps it, delivery included."""
        servers: list[WebhookServer] = []

        def make() -> Notifier:
            servers.append(WebhookServer().__enter__())
            return Webhook(servers[-1].url, format=kind, allow_private=True)

        try:
            check(make, lambda _: list(servers[-1].ids))
        finally:
            for server in servers:
                server.__exit__()

    def test_email(self) -> None:
        """Mail keeps it."""
        with SMTPServer() as server:
            options: Any = {"port": server.port, "ssl_context": server.ssl_context}
            check(lambda: Email("127.0.0.1", sender="d@e.org", to=["a@e.org"], **options))

            assert len(server.mails) > 20

    def test_file(self, tmp_path: Path) -> None:
        """The file keeps it, delivery included."""
        paths: list[Path] = []

        def make() -> Notifier:
            paths.append(tmp_path / f"{len(paths)}.jsonl")
            return File(paths[-1])

        def delivered(_: Notifier) -> Sequence[str]:
            return [json.loads(line)["id"] for line in paths[-1].read_text().splitlines()]

        check(make, delivered)

    def test_console_and_log(self) -> None:
        """Console and log keep it."""
        check(lambda: Console(io.StringIO()))
        check(Log)

    def test_apprise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Apprise keeps it, whatever the library does."""
        monkeypatch.setitem(sys.modules, "apprise", type(sys)("apprise"))

        check(lambda: Apprise(["json://h.example/x"]))
