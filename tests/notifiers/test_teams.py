"""Teams, against a server that plays the webhook of a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyflow.notifiers import Teams
from pyflow.notifiers._http import encoded
from pyflow.notifiers.teams import teams_payload
from pyflow.testing.contracts.notifier import messages_of
from pyflow.testing.servers import Reply, TeamsServer
from pyflow.testing.servers.teams import BODY_BYTES_MAX, card_problem
from support.notices import message, sent


@pytest.fixture
def teams() -> Iterator[TeamsServer]:
    with TeamsServer() as server:
        yield server


def hook(server: TeamsServer) -> Teams:
    return Teams(server.url, allow_private=True)


class TestTeams:
    def test_posts(self, teams: TeamsServer) -> None:
        """A card is queued, which is all that anybody can know, and it is not sent again."""
        found = sent(hook(teams), message("failed"))

        assert (found.status, found.again) == ("unknown", False)
        assert "queued" in found.detail
        assert teams.texts == ["shop to production: failed"]
        assert teams.cards[0]["actions"][0]["url"] == "https://ci.example/runs/7"

    def test_verbatim(self, teams: TeamsServer) -> None:
        """The URL is used to the letter, query included, and is not shown."""
        sent(hook(teams))

        assert f"{teams.base_url}{teams.received[0].path}" == teams.url
        assert "not-a-real-one" not in repr(hook(teams))

    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (Reply(200, "1"), "unknown"),
            (Reply(200, "<html>", {"Content-Type": "text/html"}), "rejected"),
            (Reply(401, {"error": {}}), "rejected"),
            (Reply(413, "Request entity too large"), "rejected"),
            (Reply(429, "", {"Retry-After": "1.5"}), "retrying"),
            (Reply(502, "bad gateway"), "unknown"),
        ],
    )
    def test_answers(self, teams: TeamsServer, reply: Reply, status: str) -> None:
        """Every documented answer is told apart."""
        assert sent(hook(teams.will(reply))).status == status

    def test_wrong_url(self, teams: TeamsServer) -> None:
        """A URL whose credential is wrong is refused, and not tried again."""
        assert sent(Teams(teams.base_url + "/x", allow_private=True)).status == "rejected"


class TestCard:
    @pytest.mark.parametrize("one", messages_of("r"), ids=lambda m: m.event)
    def test_would_be_shown(self, one: Any) -> None:
        """Whatever a message holds, the card is one that Teams shows."""
        payload = teams_payload(one)

        assert card_problem(payload) is None
        assert len(encoded(payload)) <= BODY_BYTES_MAX

    def test_extremes(self) -> None:
        """So it is for the widest characters and the emptiest of messages."""
        wide = message(
            title="\U0001f600" * 9_000,
            text="\U0001f600\n" * 9_000,
            fields=(("\U0001f600" * 900, "\U0001f600" * 9_000),) * 40,
            links=(("\U0001f600" * 900, "https://h/" + "u" * 990),) * 40,
        )
        bare = message(text="", fields=(), links=())

        for one in (wide, bare):
            assert card_problem(teams_payload(one)) is None
            assert len(encoded(teams_payload(one))) <= BODY_BYTES_MAX

    def test_no_markdown(self) -> None:
        """Text stands in elements that read no Markdown."""
        card = teams_payload(message("failed"))["attachments"][0]["content"]

        assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
