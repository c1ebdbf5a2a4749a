"""GitHub Actions, against a server that plays its API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyflow.testing.servers import GitHubServer
from pyflow.triggers import GitHubActions, Pipeline
from support.pipelines import TOKEN, execute, quick


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        yield server


def actions(server: GitHubServer, **options: Any) -> GitHubActions:
    given: dict[str, Any] = {"token": TOKEN, "watch": quick(), **options}
    return GitHubActions(server.repository, server.workflow, base_url=server.base_url, **given)


def versioned(version: str) -> dict[str, str]:
    return {"version": version}


def posts(server: GitHubServer, end: str) -> int:
    """Return how often something was posted to a path that ends so."""
    return sum(r.method == "POST" and r.path.endswith(end) for r in server.received)


class TestStart:
    def test_waits(self, github: GitHubServer) -> None:
        """A run is started with the inputs that parameters make, waited for, and described."""
        result = execute(actions(github, inputs=versioned))

        out: Pipeline = result.tasks["deploy"].output
        assert result.status == "succeeded"
        assert github.runs[0]["inputs"]["version"] == "2.0"
        assert (out.system, out.status, out.ref) == ("github", "success", "main")
        assert out.id == str(github.runs[0]["id"])
        assert out.url == github.runs[0]["html_url"]
        assert out.key == github.runs[0]["inputs"]["pyflow_id"]
        assert [job.name for job in out.jobs] == ["deploy / production"]

    def test_silent(self, github: GitHubServer) -> None:
        """A 204 without a body is a start, and the run is found by its title."""
        github.dispatch = "silent"
        github.start("main", {"pyflow_id": "another"})

        result = execute(actions(github))

        assert result.status == "succeeded"
        assert result.tasks["deploy"].output.id == str(github.runs[1]["id"])
        assert posts(github, "dispatches") == 1

    def test_unaware(self, github: GitHubServer) -> None:
        """A server that refuses to be asked for details is asked without; it had started nothing."""
        github.dispatch = "unaware"

        assert execute(actions(github)).status == "succeeded"
        assert len(github.runs) == 1
