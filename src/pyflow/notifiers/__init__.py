"""Notifiers: tell people and programs what happens in runs.

Each is a value that gives a finished `Message` the shape of one service, and
sends it once. A `Route` says what goes where; `Engine(notifiers=[...])`
delivers, in the background, in order, at least once. Wrong arguments are
refused when a notifier or a route is made.
"""

from pyflow.messages import Attempt, Delivery, Message, RunInfo
from pyflow.notices.route import Route
from pyflow.notices.template import VARIABLES, Template
from pyflow.notices.wording import NOTICES
from pyflow.notifiers.apprise import Apprise
from pyflow.notifiers.console import Console
from pyflow.notifiers.email import Email
from pyflow.notifiers.file import File
from pyflow.notifiers.git_archive import GitArchive
from pyflow.notifiers.log import Log
from pyflow.notifiers.pagerduty import PagerDuty
from pyflow.notifiers.slack import Slack
from pyflow.notifiers.teams import Teams
from pyflow.notifiers.webhook import Webhook

__all__ = [
    "NOTICES",
    "VARIABLES",
    "Apprise",
    "Attempt",
    "Console",
    "Delivery",
    "Email",
    "File",
    "GitArchive",
    "Log",
    "Message",
    "PagerDuty",
    "Route",
    "RunInfo",
    "Slack",
    "Teams",
    "Template",
    "Webhook",
]
