"""The servers that play services refuse what those refuse, so that a test against them means something."""

from __future__ import annotations

import asyncio
import json
import smtplib
from typing import Any

import pytest

from pyflow.errors import HTTPError
from pyflow.net.http import request
from pyflow.net.response import Response
from pyflow.testing.servers import (
    HTTPServer,
    PagerDutyServer,
    Reply,
    SlackServer,
    SMTPServer,
    TeamsServer,
    WebhookServer,
)
from pyflow.testing.servers.pagerduty import event_problems
from pyflow.testing.servers.slack import payload_problem
from pyflow.testing.servers.teams import card_problem


def post(url: str, data: Any, **headers: str) -> Response:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return asyncio.run(request("POST", url, body=body, headers=headers, timeout="5s"))


class TestHTTPServer:
    def test_plays(self) -> None:
        """Scripted steps come one each, then what it always does, then the service's own answer."""
        with HTTPServer().will(Reply(500), Reply(404, {"a": 1})) as server:
            statuses = [post(server.base_url, b"x").status for _ in range(3)]
            server.always(Reply(418))
            statuses.append(post(server.base_url, b"x").status)

        assert statuses == [500, 404, 200, 418]
        assert [r.body for r in server.received] == [b"x"] * 4

    def test_waits(self) -> None:
        """A test may wait for requests, and is told where they do not come."""
        with HTTPServer() as server:
            post(server.base_url, b"x")
            server.wait(1)
            with pytest.raises(TimeoutError, match="1 of 2"):
                server.wait(2, timeout_s=0.01)

    def test_silent_client(self) -> None:
        """A client that goes away without a word is no request."""

        async def knock(port: int) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
            writer.close()
            await writer.wait_closed()

        with HTTPServer() as server:
            asyncio.run(knock(int(server.base_url.rpartition(":")[2])))
            post(server.base_url, b"x")

            assert [r.body for r in server.received] == [b"x"]


def section(**changes: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "plain_text", "text": "x"}, **changes}


class TestSlack:
    @pytest.mark.parametrize(
        ("data", "word"),
        [
            ({}, "no_text"),
            ({"text": "x" * 40_001}, "msg_too_long"),
            ({"text": "x", "blocks": [section()] * 51}, "invalid_blocks"),
            ({"blocks": [section(text={"type": "plain_text", "text": "x" * 3_001})]}, "invalid_blocks"),
            ({"blocks": [section(text={"type": "html", "text": "x"})]}, "invalid_blocks"),
            ({"blocks": [section(fields=[{"type": "mrkdwn", "text": "x"}] * 11)]}, "invalid_blocks"),
            ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
            ({"blocks": [{"type": "context", "elements": []}]}, "invalid_blocks"),
            ({"blocks": [{"type": "carousel"}]}, "invalid_blocks"),
            ({"blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, "invalid_blocks"),
            ({"blocks": [section(text={"type": "plain_text", "text": "x" * 2_900})] * 5}, "msg_blocks_too_long"),
            ({"text": "x", "blocks": [{"type": "divider"}]}, None),
        ],
    )  # fmt: skip
    def test_limits(self, data: Any, word: str | None) -> None:
        """Each published limit has Slack's word for it."""
        assert payload_problem(data) == word

    def test_refuses(self) -> None:
        """Errors of a webhook are plain text, those of the Web API come with 200."""
        with SlackServer() as slack:
            bearer = {"Authorization": f"Bearer {slack.token}"}
            post_url = f"{slack.api_url}/chat.postMessage"
            answers = [
                post(slack.url, b"{").text,
                post(slack.url, {}).text,
                post(post_url, {"text": "x"}).json()["error"],
                post(post_url, {}, Authorization="Bearer x").json()["error"],
                post(post_url, b"[", **bearer).json()["error"],
                post(post_url, {"channel": "C1"}, **bearer).json()["error"],
                post(post_url, {"channel": "C0TEST"}, **bearer).json()["error"],
                post(f"{slack.api_url}/x", {"channel": "C0TEST", "text": "x"}, **bearer).json()["error"],
            ]  # fmt: skip

        assert answers == [
            "invalid_payload",
            "no_text",
            "not_authed",
            "invalid_auth",
            "invalid_json",
            "channel_not_found",
            "no_text",
            "unknown_method",
        ]
        assert slack.channel == []


def card(*body: Any, **changes: Any) -> dict[str, Any]:
    content = {"type": "AdaptiveCard", "version": "1.4", "body": list(body), **changes}
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


TEXT = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "x"}]}


class TestTeams:
    @pytest.mark.parametrize(
        ("payload", "words"),
        [
            ({"type": "message", "attachments": []}, "one attachment"),
            ({"type": "message", "attachments": [{"contentType": "text"}]}, "not an Adaptive Card"),
            (card(TEXT, version="9"), "version"),
            (card(), "without a body"),
            (card({"type": "Video"}), "no element"),
            (card({"type": "RichTextBlock", "inlines": []}), "without text"),
            (card(TEXT, actions=[{"type": "Action.Submit"}]), "shows no"),
            (card(TEXT, actions=[{"type": "Action.OpenUrl", "url": "x"}]), "without a URL"),
            (card(TEXT, actions=[{"type": "Action.ShowCard"}] * 7), "more than 6"),
        ],
    )
    def test_limits(self, payload: Any, words: str) -> None:
        """What Teams would not show is told apart."""
        assert words in str(card_problem(payload))

    def test_fails_in_silence(self) -> None:
        """A card that would not be shown is answered with 202 as any other, as Teams does."""
        with TeamsServer() as teams:
            answers = [post(teams.url, data).status for data in (card(TEXT), card(), b"{", {})]
            too_large = post(teams.url, b" " * 28_001).status
            wrong = post(f"{teams.base_url}/x", card(TEXT)).status

        assert (answers, too_large, wrong) == ([202] * 4, 413, 401)
        assert (len(teams.cards), len(teams.failed)) == (1, 3)


class TestPagerDuty:
    @pytest.mark.parametrize(
        ("event", "words"),
        [
            ({}, "event_action"),
            ({"event_action": "resolve"}, "dedup_key"),
            ({"event_action": "trigger", "dedup_key": "x" * 256}, "longer than 255"),
            ({"event_action": "trigger", "payload": {"summary": "x" * 1_025}}, "summary"),
            ({"event_action": "trigger", "payload": {"summary": "x"}}, "source"),
            ({"event_action": "trigger", "payload": {"severity": "loud"}}, "severity"),
            ({"event_action": "trigger", "links": [{"text": "x"}]}, "href"),
        ],
    )
    def test_rules(self, event: Any, words: str) -> None:
        """Each published rule is checked."""
        assert words in " ".join(event_problems(event, is_change=False))

    def test_refuses(self) -> None:
        """What is wrong is answered with 400, and what is right is kept."""
        with PagerDutyServer() as pager:
            url = f"{pager.base_url}/v2/enqueue"
            good = {
                "routing_key": pager.routing_key,
                "event_action": "trigger",
                "payload": {"summary": "x", "source": "y", "severity": "error"},
            }
            key = post(url, good).json()["dedup_key"]
            ack = {**good, "event_action": "acknowledge", "dedup_key": key}
            statuses = [
                post(url, data).status
                for data in (ack, b"{", {}, {**ack, "dedup_key": "unknown"}, b" " * 600_000 + b"{}")
            ]

        assert statuses == [202, 400, 400, 202, 413]
        assert pager.incidents == {key: "acknowledged"}


class TestWebhook:
    def test_refuses(self) -> None:
        """What is not signed with a known key is refused and not kept."""
        with WebhookServer(secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)) as server:
            assert post(server.url, {}).status == 401

        assert (server.events, server.ids) == ([], [])

    def test_gone(self) -> None:
        """A server that was left is there no more."""
        with WebhookServer() as server:
            url = server.url

        with pytest.raises(HTTPError):
            post(url, {})


class TestSMTP:
    def test_order(self) -> None:
        """It insists on STARTTLS, on AUTH and on recipients, as real servers do."""
        with SMTPServer(users={"u": "secret-word"}) as server:
            client = smtplib.SMTP(server.host, server.port, timeout=5)
            client.ehlo()
            assert client.mail("a@e.org")[0] == 530
            assert client.docmd("AUTH", "PLAIN AHUAc2VjcmV0LXdvcmQ=")[0] == 535
            client.starttls(context=server.ssl_context)
            assert client.mail("a@e.org")[0] == 530
            assert client.docmd("AUTH", "PLAIN ###")[0] == 535
            client.user, client.password = "u", "secret-word"
            assert client.auth("LOGIN", client.auth_login)[0] == 235
            assert client.mail("a@e.org")[0] == 250
            assert client.docmd("DATA")[0] == 503
            assert client.noop()[0] == 250
            assert client.docmd("TURN")[0] == 502
            client.quit()

        assert server.mails == []
