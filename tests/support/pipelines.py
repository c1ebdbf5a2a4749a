"""Triggers of all three services in workflows of one task, with spans that a test can wait for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyflow
from pyflow.testing.servers import GitHubServer, GitLabServer, HTTPServer, JenkinsServer
from pyflow.triggers import GitHubActions, GitLabCI, Jenkins, Watch

__all__ = [
    "KITS",
    "START",
    "Fixed",
    "Kit",
    "brief",
    "execute",
    "kit",
    "one_task",
    "quick",
    "versioned",
]

START = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


class Fixed:
    """A clock that a test sets."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


@dataclass
class Kit:
    """One service: its server, its trigger, and what tests look at in it."""

    server: Any
    make: Callable[..., Any]
    end: str
    """How the path ends to which a start is posted."""
    started: Callable[[], list[Any]]
    """Everything that was started."""
    begin: Callable[[str], Any]
    """Has something started with a correlation id, as if by an answer that was lost."""
    good: str
    bad: str
    cancelled: str

    @property
    def starts(self) -> int:
        """How often a start was sent."""
        return sum(
            one.method == "POST" and one.path.partition("?")[0].endswith(self.end)
            for one in self.server.received
        )

    def trigger(self, **options: Any) -> Any:
        """Return a trigger of the service that is in no hurry beyond a test's."""
        return self.make(**{"watch": quick(), **options})


def github(server: Any) -> Kit:
    token = pyflow.Secret("ghp-for-tests-only", name="token")

    def make(**options: Any) -> GitHubActions:
        given: dict[str, Any] = {"token": token, "base_url": server.base_url, **options}
        return GitHubActions("acme/shop", "deploy.yml", **given)

    return Kit(
        server,
        make,
        "dispatches",
        lambda: server.runs,
        lambda key: server.start("main", {"pyflow_id": key}),
        "success",
        "failure",
        "cancelled",
    )


def gitlab(server: Any) -> Kit:
    token = pyflow.Secret("glpat-for-tests-only", name="token")

    def make(**options: Any) -> GitLabCI:
        given: dict[str, Any] = {"token": token, "base_url": server.base_url, **options}
        if "inputs" in given:
            given["variables"] = given.pop("inputs")
        return GitLabCI("acme/shop", **given)

    return Kit(
        server,
        make,
        "/pipeline",
        lambda: server.pipelines,
        lambda key: server.start("main", {"PYFLOW_ID": key}),
        "success",
        "failed",
        "canceled",
    )


def jenkins(server: Any) -> Kit:
    token = pyflow.Secret("11f0-for-tests-only", name="token")

    def make(**options: Any) -> Jenkins:
        given: dict[str, Any] = {"user": "ada", "token": token, **options}
        if "inputs" in given:
            given["parameters"] = given.pop("inputs")
        return Jenkins(server.base_url, "shop/deploy", **given)

    return Kit(
        server,
        make,
        "buildWithParameters",
        lambda: server.queue,
        lambda key: server.start({"PYFLOW_ID": key}),
        "SUCCESS",
        "FAILURE",
        "ABORTED",
    )


KITS: dict[str, tuple[Callable[..., HTTPServer], Callable[[Any], Kit]]] = {
    "github": (GitHubServer, github),
    "gitlab": (GitLabServer, gitlab),
    "jenkins": (JenkinsServer, jenkins),
}


@contextmanager
def kit(name: str, **options: Any) -> Generator[Kit]:
    """Have a server of the service *name*."""
    make, around = KITS[name]
    with make(**options) as server:
        yield around(server)


def brief(**changes: Any) -> Watch:
    """Return spans that are soon over, for tests in which something does not come."""
    return quick(**{"settle": "200ms", "patience": "200ms", **changes})


def quick(**changes: Any) -> Watch:
    """Return spans that let nobody wait for what comes, and let what comes take its time."""
    given: dict[str, Any] = {
        "timeout": "20s",
        "poll": pyflow.Backoff("1ms", ceiling="5ms"),
        "settle": "20s",
        "patience": "20s",
        "cancel_within": "2s",
        "request_timeout": "5s",
    }
    return Watch(**{**given, **changes})


def versioned(version: str) -> dict[str, str]:
    """Make inputs of a parameter."""
    return {"version": version}


def one_task(trigger: Any, **options: Any) -> pyflow.Workflow:
    """Return a workflow whose one task is *trigger*."""
    workflow = pyflow.Workflow("w", params={"version": "2.0"}, on_failure="stop")
    options.setdefault("on_interrupt", "rerun")
    workflow.add_task("deploy", trigger, **options)
    return workflow


def execute(trigger: Any, **options: Any) -> pyflow.Result:
    """Run it."""
    return pyflow.Engine().execute(one_task(trigger, **options))
