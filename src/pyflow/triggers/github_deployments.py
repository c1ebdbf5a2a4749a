"""Keep deployments of GitHub in step with runs: one for each run, with a status for each turn."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from pyflow.errors import shown
from pyflow.messages import rejected
from pyflow.net.connect import tls_problems
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.notifiers._text import line_of
from pyflow.triggers._api import Api
from pyflow.triggers._checks import base_url_problems, ref_problems, refuse, token_problems
from pyflow.triggers._deployments import (
    Deployments,
    Unsettled,
    link_of,
    name_problems,
    settled_by,
)
from pyflow.triggers.github import GITHUB_HEADERS, repository_problems

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pyflow.messages import Message
    from pyflow.net.proxy import Proxy
    from pyflow.secrets import Secret

__all__ = ["GitHubDeployments"]

TASK = "deploy:pyflow"
TEXT_CHARS_MAX = 140
PAGE = 100
TIMEOUT_S = 3600.0

STATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "started": ("in_progress",),
        "resumed": ("in_progress",),
        "paused": ("pending",),
        "unpaused": ("in_progress",),
        "approval_requested": ("pending",),
        "approval_answered": ("in_progress",),
        "held": ("pending",),
        "released": ("in_progress",),
        "rolling_back": ("in_progress",),
        "succeeded": ("success",),
        "failed": ("failure",),
        # What was rolled back is not there any more, and what was there before still is.
        "rolled_back": ("failure", "inactive"),
        "rollback_failed": ("error",),
        "cancelled": ("error",),
    }
)
"""The statuses that each event comes to; of other events GitHub is told nothing."""


class GitHubDeployments(Deployments):
    """A `Notifier`: each run is a deployment of a repository, and has its statuses.

    A deployment is made when the run starts, or with whatever is told first.
    It is ``in_progress`` while the run goes on and while it rolls back,
    ``pending`` while a person is asked, and in the end ``success`` (which makes
    earlier ones inactive), ``failure`` or ``error``; one that was rolled back
    is ``failure`` and then ``inactive``. A message that comes twice leaves one
    status.

    Args:
        repository: Such as ``"acme/shop"``.
        token: A token that may write Deployments of that repository.
        ref: What is deployed: a commit, a branch or a tag; by default the
            commit that the CI system names.
        environment: What GitHub calls the environment; the run's own by default.
        environment_url: Where the deployed service is.
        production: Whether it is production, where users are; by default
            whether the environment's tier is ``production``.
        base_url: Where the API is, as for GitHub Enterprise Server.
        ssl_context: How to speak TLS; by default with the system's roots.
        proxy: A `Proxy`, or its URL, to go through; by default none, whatever the
            environment says.

    Raises:
        DefinitionError: An argument cannot be used.
    """

    def __init__(
        self,
        repository: str,
        *,
        token: Secret,
        ref: str | None = None,
        environment: str | None = None,
        environment_url: str | None = None,
        production: bool | None = None,
        base_url: str = "https://api.github.com",
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | Secret | str | None = None,
    ) -> None:
        problems = [
            *repository_problems(repository),
            *token_problems("token", token),
            *([] if ref is None else ref_problems(ref)),
            *name_problems("environment", environment),
            *base_url_problems(base_url),
            *tls_problems(ssl_context),
            *proxy_problems(proxy),
        ]
        if environment_url is not None:
            problems += base_url_problems(environment_url, name="environment_url")
        if production not in (True, False, None):
            problems.append(f"production={shown(production)} must be True, False or None")
        refuse("GitHubDeployments", problems)
        self._repository = repository
        self._ref = ref
        self._environment_url = environment_url
        self._production = production
        super().__init__(
            "GitHub",
            repository,
            states=STATES,
            environment=environment,
            reach=lambda clock: Api(
                base_url,
                token=token,
                scheme="bearer",
                headers=dict(GITHUB_HEADERS),
                timeout_s=TIMEOUT_S,
                clock=clock,
                ssl_context=ssl_context,
                proxy=as_proxy(proxy),
            ),
        )

    async def _told(
        self, number: int | None, message: Message, state: tuple[str, ...], deadline: float
    ) -> int:
        if number is None:
            number = await self._deployment(message, deadline)
        await self._have(number, message, state, deadline)
        return number

    async def _deployment(self, message: Message, deadline: float) -> int:
        """Return the number of the run's deployment, which is made where there is none."""
        environment = self._environment_of(message)
        query = urlencode({"environment": environment, "task": TASK, "per_page": PAGE})
        path = f"/repos/{self._repository}/deployments"
        for row in await self._rows(f"{path}?{query}", deadline):
            payload: object = row.get("payload")
            run_id = cast("Any", payload).get("run_id") if isinstance(payload, dict) else None
            if run_id == message.run.id and isinstance(row.get("id"), int):
                return row["id"]
        return await self._made(path, self._body(message, environment), deadline)

    def _body(self, message: Message, environment: str) -> dict[str, Any]:
        ci = message.run.ci
        ref = self._ref or ci.get("commit") or ci.get("ref")
        if not ref:
            raise Unsettled(rejected("nobody says what is deployed; give ref="))
        production = self._production
        if production is None:
            production = message.run.tier == "production"
        return {
            "ref": ref,
            "task": TASK,
            "environment": environment,
            "description": line_of(message.title, chars=TEXT_CHARS_MAX),
            "payload": {"run_id": message.run.id, "workflow": message.run.workflow},
            "auto_merge": False,
            # The run has its own checks; GitHub's would refuse what it has begun.
            "required_contexts": [],
            "production_environment": production,
            "transient_environment": False,
        }

    async def _have(
        self, number: int, message: Message, states: tuple[str, ...], deadline: float
    ) -> None:
        """Have *states* among the deployment's statuses, each once for this message."""
        path = f"/repos/{self._repository}/deployments/{number}/statuses"
        rows = await self._rows(f"{path}?per_page={PAGE}", deadline)
        there = {(row.get("state"), row.get("description")) for row in rows}
        mark = f" ({message.id})"
        text = line_of(message.title, chars=TEXT_CHARS_MAX - len(mark)) + mark
        for state in states:
            if (state, text) not in there:
                body = self._status(state, text[:TEXT_CHARS_MAX], message)
                said = await self._api.ask("POST", path, body=body, deadline=deadline)
                settled_by(said, 201)

    def _status(self, state: str, text: str, message: Message) -> dict[str, Any]:
        body: dict[str, Any] = {
            "state": state,
            "description": text,
            "log_url": link_of(message),
            "auto_inactive": state == "success",
        }
        if self._environment_url is not None:
            body["environment_url"] = self._environment_url
        return {name: value for name, value in body.items() if value != ""}
