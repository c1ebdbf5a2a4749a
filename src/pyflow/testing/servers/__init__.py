"""Servers that play the services which notifiers and triggers talk to, on 127.0.0.1, for tests.

Each answers as the service is documented to, limits included, and keeps what
it was sent. `will(...)` scripts the next answers: another status, a reset, a
body that drips, or nothing at all.

    with SlackServer() as slack:
        route = Route(Slack(slack.url, allow_private=True))
        ...
        assert slack.texts == ["shop: started by ada"]
"""

from __future__ import annotations

from pyflow.testing.servers.github import GitHubServer
from pyflow.testing.servers.gitlab import GitLabServer
from pyflow.testing.servers.http import (
    Drip,
    Endless,
    Hang,
    HTTPServer,
    Raw,
    Received,
    Reply,
    Reset,
    Step,
)
from pyflow.testing.servers.jenkins import JenkinsServer
from pyflow.testing.servers.pagerduty import PagerDutyServer
from pyflow.testing.servers.slack import SlackServer
from pyflow.testing.servers.smtp import Mail, SMTPServer
from pyflow.testing.servers.teams import TeamsServer
from pyflow.testing.servers.webhook import WebhookServer

__all__ = [
    "Drip",
    "Endless",
    "GitHubServer",
    "GitLabServer",
    "HTTPServer",
    "Hang",
    "JenkinsServer",
    "Mail",
    "PagerDutyServer",
    "Raw",
    "Received",
    "Reply",
    "Reset",
    "SMTPServer",
    "SlackServer",
    "Step",
    "TeamsServer",
    "WebhookServer",
]
