"""Triggers and deployments through a proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import pyflow
from pyflow.testing.servers import GitHubServer, GitLabServer, Reply
from pyflow.triggers import GitHubDeployments, GitLabDeployments
from support.http_proxy import HTTPProxy
from support.notices import RUN, message, sent
from support.pipelines import KITS, Kit, execute, kit, quick

HOST = "127.0.0.1"
USER, PASSWORD = "ada", "s3cret!x"
CI = {"commit": "0123456789abcdef", "ref": "main"}
HUB = pyflow.Secret("ghp-for-tests-only", name="t")
LAB = pyflow.Secret("glpat-for-tests-only", name="t")


def patient(at: Kit, proxy: HTTPProxy) -> Any:
    """Return a trigger that would try for long, if trying could help."""
    watch = quick(patience="20s", settle="20s")
    return at.trigger(proxy=proxy.url(f"{USER}:{PASSWORD}"), watch=watch)


@pytest.mark.parametrize("name", KITS)
class TestTriggers:
    def test_through(self, name: str) -> None:
        """Every request of a trigger goes through its proxy, a log's included."""
        with (
            kit(name) as at,
            HTTPProxy({HOST: at.server.port}, users={USER: PASSWORD}) as proxy,
        ):
            url = proxy.url(f"{USER}:{PASSWORD}")
            result = execute(at.trigger(proxy=url, keep_log=True))

            assert result.status == "succeeded"
            assert len(proxy.received) == len(at.server.received) > 1

    def test_who(self, name: str) -> None:
        """A proxy that does not know who asks has started nothing, and is not asked again."""
        with kit(name) as at, HTTPProxy(users={USER: "another"}) as proxy:
            result = execute(patient(at, proxy))

            assert (len(proxy.received), at.starts) == (1, 0)
        told = str(result.tasks["deploy"].error)
        assert result.status == "failed"
        assert "it was not started" in told
        assert "answered 407" in told
        assert PASSWORD not in told

    def test_lost_while_looking(self, name: str) -> None:
        """A proxy that forgets who asks while a pipeline runs leaves it to a person, at once."""
        with kit(name) as at, HTTPProxy({HOST: at.server.port}) as proxy:
            answer = proxy.answer
            proxy.answer = lambda request: (
                Reply(407) if request.method == "GET" else answer(request)
            )
            result = execute(patient(at, proxy))

            assert at.starts == 1
        assert result.status == "held"
        assert "answered 407" in str(result.tasks["deploy"].error)

    def test_refused(self, name: str) -> None:
        """What is no proxy is refused when the trigger is made."""
        with (
            kit(name) as at,
            pytest.raises(pyflow.DefinitionError, match="proxy=: it names no port"),
        ):
            at.trigger(proxy="http://proxy.example")


DEPLOYMENTS: dict[str, tuple[type[GitHubServer | GitLabServer], Callable[..., Any]]] = {
    "github": (
        GitHubServer,
        lambda at, proxy: GitHubDeployments(
            "acme/shop", token=HUB, base_url=at.base_url, proxy=proxy
        ),
    ),
    "gitlab": (
        GitLabServer,
        lambda at, proxy: GitLabDeployments(
            "acme/shop", token=LAB, base_url=at.base_url, proxy=proxy
        ),
    ),
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
class TestDeployments:
    def test_through(self, name: str) -> None:
        """A deployment is kept in step through the proxy; one that asks who is there ends it."""
        serve, make = DEPLOYMENTS[name]
        one = message("started", run=replace(RUN, ci=CI))
        with (
            serve(refs=(CI["commit"], "main")) as server,
            HTTPProxy({HOST: server.port}) as proxy,
        ):
            found = sent(make(server, proxy.url()), one)
            assert len(proxy.received) == len(server.received) > 1
            proxy.always(Reply(407))
            refused = sent(make(server, proxy.url()), one)

        assert found.status == "delivered"
        assert (refused.status, refused.again) == ("rejected", False)
        assert "answered 407" in refused.detail

    def test_refused(self, name: str) -> None:
        """What is no proxy is refused when the notifier is made."""
        serve, make = DEPLOYMENTS[name]
        with serve() as server, pytest.raises(pyflow.DefinitionError, match="proxy=: it names no"):
            make(server, "http://proxy.example")
