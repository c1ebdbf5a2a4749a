"""Deployments of GitHub and GitLab that follow a run, message by message, and come to one each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import pyflow
from pyflow.errors import DefinitionError
from pyflow.messages import Attempt
from pyflow.notices.wording import NOTICES
from pyflow.testing.contracts.notifier import check_notifier, messages_of
from pyflow.testing.servers import GitHubServer, GitLabServer, Hang, Raw, Reply, Reset
from pyflow.triggers import GitHubDeployments, GitLabDeployments
from pyflow.triggers.github_deployments import STATES
from support.notices import RUN, message, send, sent
from support.pace import SLACK_S, timed

CI = {
    "system": "github",
    "commit": "0123456789abcdef",
    "ref": "main",
    "run_url": "https://ci.example/7",
}
HUB = pyflow.Secret("ghp-for-tests-only", name="t")
LAB = pyflow.Secret("glpat-for-tests-only", name="t")


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with GitHubServer(refs=("0123456789abcdef", "main")) as server:
        yield server


@pytest.fixture
def gitlab() -> Iterator[GitLabServer]:
    with GitLabServer() as server:
        yield server


def hub(server: GitHubServer, **options: Any) -> GitHubDeployments:
    given: dict[str, Any] = {"token": HUB, "base_url": server.base_url, **options}
    return GitHubDeployments("acme/shop", **given)


def lab(server: GitLabServer, **options: Any) -> GitLabDeployments:
    given: dict[str, Any] = {"token": LAB, "base_url": server.base_url, **options}
    return GitLabDeployments("acme/shop", **given)


def about(event: str, number: int = 1, **changes: Any) -> Any:
    run = replace(RUN, ci=CI, **changes)
    return message(event, number=number, run=run)


class TestGitHub:
    @pytest.mark.parametrize(
        ("events", "states"),
        [
            (["started", "succeeded"], ["in_progress", "success"]),
            (["started", "task_failed", "failed"], ["in_progress", "failure"]),
            (
                ["started", "held", "released", "succeeded"],
                ["in_progress", "pending", "in_progress", "success"],
            ),
            (
                ["started", "rolling_back", "rolled_back"],
                ["in_progress", "in_progress", "failure", "inactive"],
            ),
            (["started", "rollback_failed"], ["in_progress", "error"]),
            (["started", "cancelled"], ["in_progress", "error"]),
            (["succeeded"], ["success"]),
        ],
    )
    def test_follows(self, github: GitHubServer, events: list[str], states: list[str]) -> None:
        """Each turn of a run is a status of its one deployment."""
        found = send(hub(github), *[about(e, n) for n, e in enumerate(events, start=1)])

        assert {one.status for one in found} == {"delivered"}
        [deployment] = github.deployments
        assert deployment["states"] == states
        assert (deployment["environment"], deployment["ref"]) == ("production", CI["commit"])
        assert deployment["statuses"][0]["log_url"] == CI["run_url"]
        assert all(len(one["description"]) <= 140 for one in deployment["statuses"])

    def test_inactive(self, github: GitHubServer) -> None:
        """A success makes the one before inactive; a rollback leaves that active."""
        old, new = about("succeeded"), about("rolled_back", id="another")
        send(hub(github), old)
        send(hub(github), new)
        assert [d["states"][-1] for d in github.deployments] == ["success", "inactive"]

        send(hub(github), about("succeeded", id="third"))
        assert [d["states"][-1] for d in github.deployments] == ["inactive", "inactive", "success"]

    def test_repeats(self, github: GitHubServer) -> None:
        """What comes again, with its receipt or without, leaves one deployment and one status."""
        for _ in range(3):
            send(hub(github), about("started"), about("rolled_back", 2))
            sent(hub(github), about("started"), receipt={"deployment": github.deployments[0]["id"]})

        [deployment] = github.deployments
        assert deployment["states"] == ["in_progress", "failure", "inactive"]

    def test_lost_answer(self, github: GitHubServer) -> None:
        """An answer that is lost leaves nothing twice."""
        answer = github.answer
        lost: list[str] = []

        def lose(request: Any) -> Any:
            step = answer(request)
            if request.method == "POST" and request.path not in lost:
                lost.append(request.path)
                return Reset()
            return step

        github.answer = lose
        results = [sent(hub(github), about("started"), number=n).status for n in (1, 2, 3)]

        assert results == ["unknown", "unknown", "delivered"]
        assert github.deployments[0]["states"] == ["in_progress"]

    def test_body(self, github: GitHubServer) -> None:
        """Nothing is merged, no check of GitHub's is waited for, and production is said to be that."""
        sent(hub(github), about("started", tier="production"))

        [deployment] = github.deployments
        assert deployment["auto_merge"] is False
        assert deployment["required_contexts"] == []
        assert deployment["production_environment"] is True

    @pytest.mark.parametrize(
        ("changes", "words"),
        [({"environment": None}, "environment="), ({"ci": {}}, "ref=")],
    )
    def test_lacks(self, github: GitHubServer, changes: dict[str, Any], words: str) -> None:
        """A run that does not say where or what is rejected in words that help."""
        found = sent(hub(github), message(run=replace(RUN, **{"ci": CI, **changes})))

        assert found.status == "rejected"
        assert words in found.detail

    def test_limits(self, github: GitHubServer) -> None:
        """Whatever a message holds, it is within GitHub's limits."""
        found = send(hub(github, ref="main"), *messages_of("r"))

        assert {one.status for one in found} == {"delivered"}
        told = [e for e in NOTICES if e in STATES]
        assert len(github.deployments[0]["states"]) == len(told) + 1


class TestGitLab:
    @pytest.mark.parametrize(
        ("events", "states"),
        [
            (["started", "succeeded"], ["running", "success"]),
            (["started", "held", "released", "failed"], ["running", "failed"]),
            (["started", "rolling_back", "rolled_back"], ["running", "failed"]),
            (["started", "rollback_failed"], ["running", "failed"]),
            (["started", "cancelled"], ["running", "canceled"]),
            (["succeeded"], ["success"]),
        ],
    )
    def test_follows(self, gitlab: GitLabServer, events: list[str], states: list[str]) -> None:
        """The status of the run's one deployment follows the run."""
        found = send(lab(gitlab), *[about(e, n) for n, e in enumerate(events, start=1)])

        assert {one.status for one in found} == {"delivered"}
        [deployment] = gitlab.deployments
        assert deployment["states"] == states
        assert (deployment["sha"], deployment["ref"], deployment["tag"]) == (
            CI["commit"],
            "main",
            False,
        )

    def test_repeats(self, gitlab: GitLabServer) -> None:
        """What comes again, with its receipt or without, leaves one deployment."""
        for _ in range(3):
            send(lab(gitlab), about("started"))
        receipt = {"deployment": gitlab.deployments[0]["id"]}
        for _ in range(3):
            assert sent(lab(gitlab), about("succeeded"), receipt=receipt).status == "delivered"

        [deployment] = gitlab.deployments
        assert deployment["states"] == ["running", "success"]

    def test_older(self, gitlab: GitLabServer) -> None:
        """A deployment of the same commit that is older than the run is another run's."""
        gitlab.now = "2026-11-26T12:00:00.000Z"
        send(lab(gitlab), about("started"))
        gitlab.now = "2026-11-27T12:00:01.000Z"
        send(lab(gitlab), about("started"))

        assert len(gitlab.deployments) == 2

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"environment": None}, "environment="),
            ({"ci": {"ref": "main"}}, "commit="),
            ({"ci": {"commit": "no hash", "ref": "main"}}, "commit="),
        ],
    )
    def test_lacks(self, gitlab: GitLabServer, changes: dict[str, Any], words: str) -> None:
        """A run that does not say where or what is rejected in words that help."""
        found = sent(lab(gitlab), message(run=replace(RUN, **{"ci": CI, **changes})))

        assert found.status == "rejected"
        assert words in found.detail


BOTH = [(GitHubServer, hub), (GitLabServer, lab)]


@pytest.mark.parametrize(("serve", "make"), BOTH)
class TestBoth:
    def test_contract(self, serve: Any, make: Any) -> None:
        """Both keep the contract of notifiers."""
        with serve() as server:
            asyncio.run(check_notifier(lambda: make(server, ref="main")))

    @pytest.mark.parametrize(
        ("step", "status"),
        [
            (Reply(401, {"message": "no"}), "rejected"),
            (Reply(404, {"message": "no"}), "rejected"),
            (Reply(422, {"message": "no"}), "rejected"),
            (Reply(429, "", {"Retry-After": "7"}), "retrying"),
            (Reply(500, ""), "unknown"),
            (Reply(503, ""), "retrying"),
            (Reply(200, "<html>"), "unknown"),
            (Reset(), "unknown"),
            (Hang(), "unknown"),
            (Raw(b"\x00\xff"), "unknown"),
        ],
    )
    def test_answers(self, serve: Any, make: Any, step: Any, status: str) -> None:
        """Every answer is told apart, in time, and none is taken for a success."""
        within = Attempt(timeout_s=0.4 if step == Hang() else 30.0)

        with serve().always(step) as server:
            notifier = make(server)
            found, took_s = timed(lambda: notifier.notify(about("started"), within))

        assert found.status == status
        assert took_s <= within.timeout_s + SLACK_S
        assert found.wait_s == (7.0 if found.status == "retrying" and step.status == 429 else None)

    def test_refused(self, serve: Any, make: Any) -> None:
        """A server that is not there is worth another try."""
        with serve() as server:
            notifier = make(server)

        assert sent(notifier, about("started")).status == "retrying"

    @pytest.mark.parametrize(
        "options",
        [
            {"token": "plain-text"}, {"ref": "a b"}, {"environment": ""}, {"environment": "a\nb"},
            {"base_url": "http://u:hush@h.example"}, {"base_url": "file:///x"},
        ],
    )  # fmt: skip
    def test_hostile(self, serve: Any, make: Any, options: dict[str, Any]) -> None:
        """Hostile arguments are refused when it is made."""
        with serve() as server, pytest.raises(DefinitionError) as caught:
            make(server, **options)

        assert "hush" not in str(caught.value)

    def test_delivered(self, serve: Any, make: Any) -> None:
        """An engine delivers to them like to any notifier, and records what came of it."""
        with serve(refs=(CI["commit"], "main")) as server:
            workflow = pyflow.Workflow("shop")
            workflow.add_task("deploy", lambda: None)
            environ = {
                "GITHUB_ACTIONS": "true",
                "GITHUB_SHA": CI["commit"],
                "GITHUB_REF_NAME": "main",
            }
            with pyflow.Engine(notifiers=[make(server)], environ=environ) as engine:
                result = engine.execute(workflow, environment=pyflow.Environment("production"))
                assert engine.wait_delivered()

        assert result.status == "succeeded"
        assert server.deployments[0]["states"][-1] == "success"
