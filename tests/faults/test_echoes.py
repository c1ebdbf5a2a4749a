"""Services that say back what they were sent: no credential comes out of whatever had it."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyflow.metrics import Datadog, Prometheus, Web
from pyflow.notifiers import Email, PagerDuty, Slack, Teams, Webhook
from pyflow.probes import HTTP, Command
from pyflow.secrets import Secret
from pyflow.testing.servers import HTTPServer, Reply
from pyflow.testing.servers.http import Received
from pyflow.testing.servers.smtp import SMTPServer
from support.fault_matrix import Ask, Place, Subject, measured, metrics, notifier, probe
from support.notices import sent
from support.secret_matrix import RENDERINGS
from support.sources import Standing

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
OTHER = "another-key-of-theirs-42"
KEY = f"whsec_{base64.b64encode(bytes(range(100, 132))).decode()}"
AUTHORIZED = {"Authorization": Secret(f"Bearer {TOKEN}")}


class Echo(HTTPServer):
    """Answers with all that it was sent, and leads to it."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def answer(self, request: Received) -> Reply:
        said = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        body = f"x{'y' * 190} {TOKEN} cut\n{request.path}\n{said}\n{request.body.decode()}"
        return Reply(self.status, body, {"Location": f"/{TOKEN}"})


ASKS: dict[str, Ask] = {
    "slack": notifier(lambda at: Slack(f"{at.base_url}/{TOKEN}", allow_private=True)),
    "slack api": notifier(
        lambda at: Slack(token=TOKEN, channel="C1", base_url=at.base_url, allow_private=True)
    ),
    "teams": notifier(lambda at: Teams(f"{at.base_url}/{TOKEN}", allow_private=True)),
    "pagerduty": notifier(
        lambda at: PagerDuty(TOKEN[4:36], base_url=at.base_url, allow_private=True)
    ),
    "webhook": notifier(
        lambda at: Webhook(
            f"{at.base_url}/x", secrets=[KEY], headers=AUTHORIZED, allow_private=True
        )
    ),
    "probe HTTP": probe(lambda at: HTTP(at.base_url, headers=AUTHORIZED, contains="not there")),
    "prometheus": metrics(lambda at: Prometheus(at.base_url, headers=AUTHORIZED, clock=Standing())),
    "datadog": metrics(lambda at: Datadog(Secret(TOKEN), Secret(OTHER), url=at.base_url)),
    "web": metrics(lambda at: Web(at.base_url, value="v", headers=AUTHORIZED, clock=Standing())),
}


def shown(text: str) -> list[str]:
    """Return the renderings of a credential of which *text* shows half or more."""
    return [
        name
        for name, render in RENDERINGS.items()
        for value in (TOKEN[4:36], OTHER, KEY)
        for half in (
            render(value)[: len(render(value)) // 2],
            render(value)[len(render(value)) // 2 :],
        )
        if half in text
    ]


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
class TestEchoes:
    def test_nothing(self, name: str, status: int) -> None:
        """What a service says back is shown without what it was sent in confidence."""
        with Echo(status) as server:
            seen, _ = measured(Subject(ASKS[name], Reply()), Place(server.port))

            assert server.received
        assert shown(seen.words) == []


class TestEvidence:
    def test_http(self) -> None:
        """The body in the evidence of a probe, and where it leads, are masked before they are cut."""
        with Echo(302) as server:
            reading = asyncio.run(HTTP(server.base_url, headers=AUTHORIZED).read())

        assert "***" in reading.evidence["body"]
        assert shown(str(reading.evidence)) == []

    @pytest.mark.parametrize("filler", range(4_040, 4_100, 7))
    def test_command(self, filler: int) -> None:
        """What a program prints of its environment is masked, though only its end is kept."""
        code = f"import os; print(os.environ['TOKEN'] + 'y' * {filler})"
        command = Command([sys.executable, "-I", "-c", code], env={"TOKEN": Secret(TOKEN)})

        reading = asyncio.run(command.read())

        assert shown(str(reading.evidence)) == []


class TestMail:
    @pytest.mark.parametrize("encode", [str, RENDERINGS["base64"], RENDERINGS["json"]])
    def test_password(self, encode: Callable[[str], str]) -> None:
        """A mail server that says the password back is quoted without it."""
        said: dict[str, Any] = {"AUTH": f"535 no such password: {encode(TOKEN)}"}
        with SMTPServer(users={"u": "another"}, say=said) as server:
            found = sent(
                Email(
                    server.host,
                    port=server.port,
                    sender="a@h.example",
                    to=["b@h.example"],
                    user="u",
                    password=Secret(TOKEN),
                    ssl_context=server.ssl_context,
                )
            )

        assert "***" in found.detail
        assert shown(found.detail) == []
