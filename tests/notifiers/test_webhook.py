"""The generic webhook: signatures, plain events and CDEvents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Independent
from standardwebhooks.webhooks import WebhookVerificationError

from pyflow.errors import DefinitionError
from pyflow.notices.wording import NOTICES
from pyflow.notifiers import Webhook
from pyflow.notifiers._cdevents import cd_event
from pyflow.notifiers.webhook import signature
from pyflow.secrets import Secret
from pyflow.testing.contracts.notifier import messages_of
from pyflow.testing.servers import Reply, WebhookServer
from support.cdevents import validator
from support.notices import RUN, message, send, sent

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0NTY3ODkwYWI="


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer(secrets=(OLD,)) as server:
        yield server


def hook(server: WebhookServer, **options: Any) -> Webhook:
    given: dict[str, Any] = {"secrets": [OLD], **options}
    return Webhook(server.url, allow_private=True, **given)


class TestSignature:
    def test_vector(self) -> None:
        """The test vector of the specification comes out."""
        made = signature(OLD, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

        assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @pytest.mark.parametrize("secrets", [[OLD], [NEW, OLD], [OLD, NEW]])
    def test_independent(self, server: WebhookServer, secrets: list[str]) -> None:
        """An implementation of others verifies what is sent, with either key of a rotation."""
        now = datetime.now(UTC)

        assert sent(hook(server, secrets=secrets), at=now).status == "delivered"

        request = server.received[0]
        for secret in secrets:
            assert Independent(secret).verify(request.body, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Independent(NEW).verify(request.body + b" ", dict(request.headers))

    def test_repeat(self, server: WebhookServer) -> None:
        """A repeat has the same id and the timestamp of its own attempt, and is signed anew."""
        notifier = hook(server)
        for number in (1, 2):
            sent(notifier, number=number, at=datetime(2026, 11, 27, 12, number, tzinfo=UTC))

        one, two = (request.headers for request in server.received)
        assert one["webhook-id"] == two["webhook-id"] == message().id
        assert int(two["webhook-timestamp"]) - int(one["webhook-timestamp"]) == 60
        assert one["webhook-signature"] != two["webhook-signature"]
        assert len(server.events) == 1

    def test_refused(self, server: WebhookServer) -> None:
        """A receiver with another key refuses, and that is final."""
        assert sent(hook(server, secrets=[NEW])).status == "rejected"

    def test_late_secret(self, server: WebhookServer) -> None:
        """A secret that turns out to be none is an error before anything is sent."""
        found = sent(hook(server, secrets=[Secret("whsec_dG9vc2hvcnQ=")]))

        assert found.status == "rejected"
        assert server.received == []


class TestPlain:
    def test_body(self, server: WebhookServer) -> None:
        """The body has type, timestamp and data, as Standard Webhooks advises."""
        sent(hook(server), message("rolled_back"))

        event = server.events[0]
        assert set(event) == {"type", "timestamp", "data"}
        assert event["type"] == "deployment.rolled_back"
        assert event["data"]["run"]["params"] == {"version": "2.3.1"}
        assert server.received[0].headers["content-type"].startswith("application/json")

    def test_size(self, server: WebhookServer) -> None:
        """Whatever a message holds, the body stays below 20 KB."""
        many = {f"p{n}": "v" * 900 for n in range(99)}
        wide = message(text="x" * 99_000, run=replace(RUN, params=many))

        send(hook(server), wide, *messages_of("r"))

        assert max(len(request.body) for request in server.received) < 20_480

    def test_headers(self, server: WebhookServer) -> None:
        """Headers of the user's own go along, secrets revealed."""
        sent(hook(server, headers={"X-Key": Secret("k3y-of-mine")}))

        assert server.received[0].headers["x-key"] == "k3y-of-mine"

    @pytest.mark.parametrize(
        ("status", "expected", "again"),
        [
            (200, "delivered", False),
            (204, "delivered", False),
            (301, "rejected", False),
            (400, "rejected", False),
            (410, "rejected", False),
            (408, "retrying", True),
            (425, "retrying", True),
            (500, "unknown", True),
            (502, "unknown", True),
            (503, "retrying", True),
            (599, "unknown", True),
        ],
    )
    def test_statuses(self, server: WebhookServer, status: int, expected: str, again: bool) -> None:
        """2xx is delivered; what may pass is tried again; the rest is final."""
        found = sent(hook(server.will(Reply(status))))

        assert (found.status, found.again) == (expected, again)


class TestCDEvents:
    @pytest.mark.parametrize("event", NOTICES)
    def test_schema(self, event: str) -> None:
        """Every event is valid by the specification's own schemas."""
        made = cd_event(message(event), source="/deployments/shop")

        errors = [e.message for e in validator(made["context"]["type"]).iter_errors(made)]
        assert errors == []

    @pytest.mark.parametrize("event", NOTICES)
    def test_without_a_page(self, event: str) -> None:
        """So is that of a run outside of CI, of which no page is known: it is named all the same."""
        made = cd_event(replace(message(event), links=()), source="pyflow")

        assert list(validator(made["context"]["type"]).iter_errors(made)) == []
        assert made["subject"]["content"]["uri"] == f"pyflow:run/{RUN.id}"

    def test_schema_can_fail(self) -> None:
        """The schemas refuse what is not in them."""
        made = cd_event(message(), source="pyflow")
        made["subject"]["type"] = "pipelineRun"

        assert list(validator(made["context"]["type"]).iter_errors(made)) != []

    @pytest.mark.parametrize("one", messages_of("r"), ids=lambda m: m.event)
    def test_odd(self, one: Any) -> None:
        """So is one with odd characters and a long text."""
        made = cd_event(one, source="pyflow")

        assert list(validator(made["context"]["type"]).iter_errors(made)) == []

    def test_outcomes(self) -> None:
        """The ends of runs are told in the vocabulary's own words."""
        ends = ("succeeded", "failed", "rolled_back", "rollback_failed", "cancelled")
        made = [cd_event(message(event), source="x") for event in ends]

        assert [m["subject"]["content"]["outcome"] for m in made] == [
            "success",
            "failure",
            "failure",
            "error",
            "cancel",
        ]

    def test_cloud_event(self, server: WebhookServer) -> None:
        """It travels in a structured CloudEvent, as the CloudEvents binding has it."""
        sent(hook(server, format="cdevents", source="/deployments"))

        body = server.events[0]
        context = body["data"]["context"]
        assert server.received[0].headers["content-type"].startswith("application/cloudevents+json")
        assert body["specversion"] == "1.0"
        assert (body["id"], body["source"], body["type"], body["time"]) == (
            context["id"],
            context["source"],
            context["type"],
            context["timestamp"],
        )
        assert body["subject"] == body["data"]["subject"]["id"]


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"secrets": ["whsec_dG9vc2hvcnQ="]}, "24 to 64"),
            ({"secrets": ["whsec_%%%%%%"]}, "24 to 64"),
            ({"secrets": OLD}, "a list"),
            ({"secrets": [7]}, "give a Secret"),
            ({"format": "xml"}, "format="),
            ({"source": ""}, "source="),
            ({"headers": {"A": "b\r\nC: d"}}, "line break"),
            ({"headers": {"Webhook-Id": "x"}}, "set by the webhook itself"),
            ({"headers": {"Content-Length": "3"}}, "set by the client"),
        ],
    )
    def test_refused(self, options: Any, words: str) -> None:
        """What cannot be sent is refused when the webhook is made, without showing a secret."""
        with pytest.raises(DefinitionError, match=words) as caught:
            Webhook("https://h.example/hush", **options)

        assert "hush" not in str(caught.value)
        assert "tooshort" not in str(caught.value)
