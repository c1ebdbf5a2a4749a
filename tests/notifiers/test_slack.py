"""Slack, against a server that plays it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.notifiers import Slack
from pyflow.notifiers._slack_blocks import slack_blocks, slack_text
from pyflow.secrets import Secret
from pyflow.testing.contracts.notifier import messages_of
from pyflow.testing.servers import Reply, SlackServer
from pyflow.testing.servers.slack import payload_problem
from support.notices import message, send, sent


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


def hook(server: SlackServer) -> Slack:
    return Slack(server.url, allow_private=True)


def bot(server: SlackServer, **options: Any) -> Slack:
    given: dict[str, Any] = {
        "token": server.token,
        "channel": "C0TEST",
        "base_url": server.api_url,
        **options,
    }
    return Slack(**given, allow_private=True)


class TestWebhook:
    def test_delivers(self, slack: SlackServer) -> None:
        """A message is posted with text for notifications and with blocks."""
        assert sent(hook(slack)).status == "delivered"

        posted = slack.channel[0]
        assert posted["text"] == "shop to production: started"
        assert [block["type"] for block in posted["blocks"]] == ["header", "section", "context"]
        assert posted["unfurl_links"] is False

    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (400, "invalid_payload", "rejected"),
            (403, "invalid_token", "rejected"),
            (404, "no_service", "rejected"),
            (410, "channel_is_archived", "rejected"),
            (302, "", "rejected"),
            (500, "rollup_error", "unknown"),
            (503, "", "retrying"),
            (429, '{"ok":false,"error":"ratelimited"}', "retrying"),
            (200, "<html>Sign in</html>", "rejected"),
            (200, '{"ok":false,"error":"no_text"}', "rejected"),
        ],
    )
    def test_errors(self, slack: SlackServer, status: int, body: str, expected: str) -> None:
        """Slack's plain words are understood, and anything but ok with 200 is no success."""
        slack.will(Reply(status, body))

        found = sent(hook(slack))

        assert found.status == expected
        assert found.again is (expected in ("retrying", "unknown"))
        assert body.split('"')[-2 if '"' in body else 0][:10] in found.detail

    def test_retry_after(self, slack: SlackServer) -> None:
        """A rate limit says how long to wait."""
        slack.will(Reply(429, "ratelimited", {"Retry-After": "7"}))

        assert sent(hook(slack)).wait_s == 7.0

    def test_hides_url(self, slack: SlackServer) -> None:
        """Neither the repr nor what came of it shows more of the URL than its host."""
        slack.will(Reply(404, f"no hook at {slack.url}"))

        found = sent(hook(slack))

        assert "not-a-real-webhook" not in repr(found) + repr(hook(slack))


class TestBot:
    def test_thread(self, slack: SlackServer) -> None:
        """The opening message is the thread's root; the others answer it, and keep it up to date."""
        found = send(bot(slack), *(message(e, number=n) for n, e in enumerate(RUN_EVENTS, 1)))

        root, *answers = slack.channel
        assert {one.status for one in found} == {"delivered"}
        assert "thread_ts" not in root
        assert [answer["thread_ts"] for answer in answers] == [root["ts"]] * 3
        assert [answer["reply_broadcast"] for answer in answers] == [False, False, True]
        assert root["edits"] == 3
        assert root["blocks"][0]["text"]["text"].endswith("1 of 3 tasks, 4.0 s")

    def test_authorization(self, slack: SlackServer) -> None:
        """The token goes along as a bearer's, and the stable id as metadata."""
        send(bot(slack, token=Secret(slack.token)), message())

        request = slack.received[0]
        assert request.headers["authorization"] == f"Bearer {slack.token}"
        assert request.json["metadata"]["event_payload"]["id"] == message().id

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            ("channel_not_found", "rejected"),
            ("not_in_channel", "rejected"),
            ("invalid_blocks", "rejected"),
            ("token_revoked", "rejected"),
            ("ratelimited", "retrying"),
            ("service_unavailable", "retrying"),
            ("internal_error", "unknown"),
            ("fatal_error", "unknown"),
        ],
    )
    def test_errors(self, slack: SlackServer, error: str, status: str) -> None:
        """Errors come with status 200, and are told apart by their word."""
        slack.will(Reply(200, {"ok": False, "error": error}, {"Retry-After": "3"}))

        found = sent(bot(slack))

        assert (found.status, found.detail) == (status, error)
        assert found.wait_s == (3.0 if status == "retrying" else None)

    @pytest.mark.parametrize("body", ["", "ok", "[]", '{"ok": "yes"}', "<html>"])
    def test_garbage(self, slack: SlackServer, body: str) -> None:
        """What is not Slack's JSON is no success."""
        slack.will(Reply(200, body))

        assert sent(bot(slack)).status in ("unknown", "rejected")

    def test_wrong_token(self, slack: SlackServer) -> None:
        """A token that is not taken is not tried again, and is not shown."""
        found = sent(bot(slack, token="xoxb-another-one"))

        assert (found.status, found.detail) == ("rejected", "invalid_auth")

    def test_root_gone(self, slack: SlackServer) -> None:
        """A root that cannot be changed any more does not make a message be sent again."""
        first = send(bot(slack), message())[0]
        slack.channel.clear()

        found = sent(bot(slack), message("failed", number=2), receipt=first.receipt)

        assert found.status == "delivered"
        assert "message_not_found" in found.detail

    def test_secret_unavailable(self, slack: SlackServer) -> None:
        """A token that cannot be fetched now may be there later."""
        found = sent(bot(slack, token=Secret.from_env("NOT_SET_ANYWHERE")))

        assert found.status == "retrying"
        assert slack.received == []


RUN_EVENTS = ("started", "task_failed", "rolling_back", "rolled_back")


class TestBlocks:
    @pytest.mark.parametrize("one", messages_of("r"), ids=lambda m: m.event)
    def test_within_limits(self, one: Any) -> None:
        """Whatever a message holds, Slack's limits are kept."""
        for standing in (False, True):
            payload = {"text": slack_text(one), "blocks": slack_blocks(one, standing=standing)}

            assert payload_problem(payload) is None

    def test_extremes(self) -> None:
        """So they are for the longest and the emptiest of messages."""
        wide = message(
            "failed",
            title="t" * 9_000,
            text="&<>" * 9_000,
            fields=(("n" * 3_000, "&" * 9_000),) * 40,
            links=(("l" * 9_000, "https://h/" + "u" * 990),) * 40,
        )
        bare = message(title="x", text="", fields=(), links=())

        for one in (wide, bare):
            payload = {"text": slack_text(one), "blocks": slack_blocks(one)}
            assert payload_problem(payload) is None

    def test_no_mentions(self) -> None:
        """Text from outside mentions nobody, and is no link."""
        said = "<!channel> <@U1> <http://evil|here>"
        one = message("failed", title=said, text=said, fields=(("Ref", said),))

        blocks = slack_blocks(one)

        assert "<" not in slack_text(one)
        assert blocks[1]["text"]["type"] == "plain_text"
        assert "<" not in blocks[2]["fields"][0]["text"]
        assert blocks[2]["fields"][0]["verbatim"] is True


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, "either url="),
            ({"url": "https://h.example/x", "token": "xoxb-123456"}, "either url="),
            ({"token": "xoxb-123456"}, "channel="),
            ({"token": "x", "channel": "C1"}, "token="),
            ({"token": 7, "channel": "C1"}, "give a Secret"),
            ({"url": "https://h.example/x", "channel": "C1"}, "channel= goes with"),
            ({"url": 7}, "not text"),
            ({"url": "https://h.example/x", "allow_private": 1}, "True or False"),
            ({"token": "xoxb-123456", "channel": "C\n1"}, "printable"),
        ],
    )
    def test_refused(self, options: Any, words: str) -> None:
        """Arguments that do not go together are refused when the notifier is made."""
        with pytest.raises(DefinitionError, match=words):
            Slack(**options)
