"""Keep deployments of GitLab in step with runs: one for each run, whose status follows it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pyflow.errors import shown
from pyflow.messages import rejected
from pyflow.net.connect import tls_problems
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.triggers._api import Api
from pyflow.triggers._checks import base_url_problems, ref_problems, refuse, token_problems
from pyflow.triggers._deployments import (
    Deployments,
    Unsettled,
    name_problems,
    settled_by,
    unsettled,
)
from pyflow.triggers._service import SKEW
from pyflow.triggers.gitlab import project_problems, project_segment

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pyflow.messages import Message
    from pyflow.net.proxy import Proxy
    from pyflow.secrets import Secret

__all__ = ["GitLabDeployments"]

PAGE = 100
TIMEOUT_S = 3600.0
COMMIT_CHARS = (7, 64)

STATES: Mapping[str, str] = MappingProxyType(
    {
        "started": "running",
        "resumed": "running",
        "rolling_back": "running",
        "succeeded": "success",
        "failed": "failed",
        # What was deployed before stays the latest that succeeded.
        "rolled_back": "failed",
        "rollback_failed": "failed",
        "cancelled": "canceled",
    }
)
"""The status that each event comes to; of other events GitLab is told nothing."""


class GitLabDeployments(Deployments):
    """A `Notifier`: each run is a deployment of a project.

    A deployment is made when the run starts, or with whatever is told first.
    It is ``running`` while the run goes on and while it rolls back, and in the
    end ``success``, ``failed`` or ``canceled``; one that was rolled back is
    ``failed``, so that the one before stays the latest. A message that comes
    twice changes nothing. GitLab has no place for a run's id: after a crash
    before the deployment's number was recorded, it is told by environment,
    commit, ref and time.

    Args:
        project: Its path, such as ``"acme/shop"``, or its number.
        token: An access token with the scope ``api``.
        commit: What is deployed; by default the commit that the CI system names.
        ref: Its branch or tag; by default the one that the CI system names.
        is_tag: Whether *ref* is a tag.
        environment: What GitLab calls the environment; the run's own by default.
        base_url: Where GitLab is, without ``/api/v4``.
        ssl_context: How to speak TLS; by default with the system's roots.
        proxy: A `Proxy`, or its URL, to go through; by default none, whatever the
            environment says.

    Raises:
        DefinitionError: An argument cannot be used.
    """

    def __init__(
        self,
        project: str | int,
        *,
        token: Secret,
        commit: str | None = None,
        ref: str | None = None,
        is_tag: bool = False,
        environment: str | None = None,
        base_url: str = "https://gitlab.com",
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | Secret | str | None = None,
    ) -> None:
        problems = [
            *project_problems(project),
            *token_problems("token", token),
            *([] if ref is None else ref_problems(ref)),
            *name_problems("environment", environment),
            *base_url_problems(base_url, added="/api/v4"),
            *tls_problems(ssl_context),
            *proxy_problems(proxy),
        ]
        if commit is not None and not _is_commit(commit):
            problems.append(f"commit={shown(commit)} is no commit's hash")
        if not isinstance(is_tag, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            problems.append(f"is_tag={shown(is_tag)} must be True or False")
        refuse("GitLabDeployments", problems)
        self._path = f"/projects/{project_segment(project)}/deployments"
        self._commit = commit
        self._ref = ref
        self._is_tag = is_tag
        super().__init__(
            "GitLab",
            project,
            states=STATES,
            environment=environment,
            reach=lambda clock: Api(
                base_url.rstrip("/") + "/api/v4",
                token=token,
                scheme="private-token",
                timeout_s=TIMEOUT_S,
                clock=clock,
                ssl_context=ssl_context,
                proxy=as_proxy(proxy),
            ),
        )

    async def _told(self, number: int | None, message: Message, state: str, deadline: float) -> int:
        if number is not None:
            present = await self._status_of(number, deadline)
        else:
            number, present = await self._deployment(message, state, deadline)
        if present != state:
            path, body = f"{self._path}/{number}", {"status": state}
            settled_by(await self._api.ask("PUT", path, body=body, deadline=deadline), 200)
        return number

    async def _status_of(self, number: int, deadline: float) -> str:
        said = await self._api.ask("GET", f"{self._path}/{number}", deadline=deadline)
        status = settled_by(said, 200).get("status")
        if not isinstance(status, str):
            raise unsettled(said)
        return status

    async def _deployment(self, message: Message, status: str, deadline: float) -> tuple[int, str]:
        """Return number and status of the run's deployment, which is made where there is none."""
        body = self._body(message)
        query = {"environment": body["environment"], "order_by": "id", "sort": "desc"}
        path = f"{self._path}?{urlencode({**query, 'per_page': PAGE})}"
        for row in await self._rows(path, deadline):
            if isinstance(row.get("id"), int) and _is_same(row, body, message):
                return row["id"], str(row.get("status"))
        return await self._made(self._path, {**body, "status": status}, deadline), status

    def _body(self, message: Message) -> dict[str, Any]:
        ci = message.run.ci
        environment = self._environment_of(message)
        commit, ref = self._commit or ci.get("commit"), self._ref or ci.get("ref")
        if commit is None or ref is None or not _is_commit(commit):
            raise Unsettled(rejected("nobody says what is deployed; give commit= and ref="))
        return {"environment": environment, "sha": commit, "ref": ref, "tag": self._is_tag}


def _is_same(row: Mapping[str, Any], body: Mapping[str, Any], message: Message) -> bool:
    """Return whether *row* is what this run may have made before: the same thing, and not older."""
    if any(row.get(name) != body[name] for name in ("sha", "ref")):
        return False
    made = str(row.get("created_at", ""))
    try:
        at = datetime.fromisoformat(made)
    except ValueError:
        return False
    began = message.run.started_at or message.at
    return at.astimezone(UTC) >= began - SKEW and row.get("status") in ("created", "running")


def _is_commit(text: str) -> bool:
    least, most = COMMIT_CHARS
    return least <= len(text) <= most and not set(text.lower()) - set("0123456789abcdef")
