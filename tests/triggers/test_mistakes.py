"""What people get wrong when they make a notifier or a trigger, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pyflow
from pyflow.notifiers import Console, Email, Log, Route, Slack, Teams, Webhook
from pyflow.triggers import GitHubActions, GitHubDeployments, GitLabCI, GitLabDeployments, Jenkins

TOKEN = pyflow.Secret("ghp-for-tests-only", name="t")
HOOK = "https://hooks.example/x"
WRONG: Any = "yes"  # in the place of something else


def github(repository: str = "acme/shop", **given: Any) -> GitHubActions:
    return GitHubActions(repository, "deploy.yml", token=TOKEN, **given)


def jenkins(job: str = "shop/deploy", **given: Any) -> Jenkins:
    return Jenkins("https://ci.example", job, user="ada", token=TOKEN, **given)


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: Slack(HOOK, broadcast=("faild",)), "did you mean 'failed'?"),
    (lambda: Slack(HOOK, broadcast=WRONG), "broadcast='yes' must be a list of names"),
    (lambda: Teams(HOOK, ssl_context=WRONG), "ssl_context='yes' must be an ssl.SSLContext"),
    (lambda: Webhook(HOOK, headers={"Webhook-Id": "7"}), "'Webhook-Id' is set by the webhook"),
    (lambda: Email("smtp://m.example", sender="a@h.example", to=["b@h.example"]), "is a URL; give"),
    (lambda: Console(WRONG), "stream='yes' is no stream; give one, such as sys.stdout"),
    (lambda: Route(Log(), required=WRONG), "required='yes' must be True or False"),
    (lambda: github("https://github.com/acme/shop"), "must be such as 'acme/shop'"),
    (lambda: github(watch="5m"), 'must be a Watch, such as Watch(timeout="30m")'),
    (lambda: github(inputs={"replicas": 2}), "'replicas' is of type int; give text"),
    (lambda: github(inputs={"key": TOKEN}), "keep secrets in the CI system's own store"),
    (lambda: github(inputs={"key": "a\0b"}), "'key' holds a NUL"),
    (lambda: github(ssl_context=WRONG), "must be an ssl.SSLContext"),
    (lambda: GitLabCI("shop", token=TOKEN), "must be such as 'acme/shop'"),
    (
        lambda: GitLabCI("acme/shop", token=TOKEN, base_url="https://gitlab.example/api/v4/"),
        "ends in /api/v4, which is added to it",
    ),
    (lambda: GitLabCI("acme/shop", token=TOKEN, watch=WRONG), "must be a Watch"),
    (lambda: jenkins("/job/deploy/"), "must be such as 'shop/deploy'"),
    (lambda: jenkins(watch=WRONG), "must be a Watch"),
    (
        lambda: GitHubDeployments("acme/shop", token=TOKEN, environment_url="shop.example"),
        "GitHubDeployments: environment_url=: url: scheme '' is neither http nor https",
    ),
    (
        lambda: GitLabDeployments("a/shop", token=TOKEN, base_url="https://gitlab.com/api/v4"),
        "ends in /api/v4",
    ),
]


@pytest.mark.parametrize(("make", "words"), MISTAKES, ids=[words[:24] for _, words in MISTAKES])
def test_mistake(make: Callable[[], Any], words: str) -> None:
    """It is refused when it is made, in words that say what to give."""
    with pytest.raises(pyflow.DefinitionError) as caught:
        make()

    assert words in str(caught.value)


def test_no_mistake() -> None:
    """A bot may broadcast nothing, and GitLab may be at a path of its own."""
    assert Slack(HOOK, broadcast=()).broadcast == ()
    assert GitLabCI("acme/shop", token=TOKEN, base_url="https://h.example/gitlab")
