"""A server that plays the REST API v4 of GitLab: pipelines, jobs and deployments of one project."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from pyflow.testing.servers.http import HTTPServer, Received, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["GitLabServer"]

STATES = ("created", "running", "success", "failed", "canceled")
ENDED = ("success", "failed", "canceled", "skipped")


class GitLabServer(HTTPServer):
    """Plays GitLab. `pipelines` and `deployments` are what it has.

    Every look at a pipeline takes it one step along *course*, to its *conclusion*.

    Args:
        project: Its path.
        token: An access token with the scope ``api``.
        trigger_token: A pipeline trigger token.
        refs: The branches and tags that are there.
        named: Whether the name of a pipeline shows ``$PYFLOW_ID``.
        reads_variables: Whether the token may read variables of pipelines.
        course: The statuses that a pipeline goes through before it has ended.
        conclusion: How pipelines end.
        tls: Whether it speaks TLS.
    """

    def __init__(
        self,
        project: str = "acme/shop",
        *,
        token: str = "glpat-for-tests-only",  # noqa: S107 - it opens nothing
        trigger_token: str = "glptt-for-tests-only",  # noqa: S107 - it opens nothing
        refs: Sequence[str] = ("main",),
        named: bool = True,
        reads_variables: bool = True,
        course: Sequence[str] = ("created", "pending", "running"),
        conclusion: str = "success",
        tls: bool = False,
    ) -> None:
        super().__init__(tls=tls)
        self.project = project
        self.token = token
        self.trigger_token = trigger_token
        self.refs = tuple(refs)
        self.named = named
        self.reads_variables = reads_variables
        self.course = tuple(course)
        self.conclusion = conclusion
        self.pipelines: list[dict[str, Any]] = []
        """Every pipeline that was made, as it is now."""
        self.now = "2026-11-27T12:00:00.000Z"
        """The instant that it writes on deployments."""
        self.deployments: list[dict[str, Any]] = []
        """Every deployment, with the list of its ``states``."""

    def answer(self, request: Received) -> Reply:
        """Answer as GitLab does."""
        url = urlsplit(request.path)
        prefix = f"/api/v4/projects/{quote(self.project, safe='')}"
        if not url.path.startswith(prefix + "/"):
            return _no(404, "404 Project Not Found")
        path = url.path.removeprefix(prefix)
        if (request.method, path) == ("POST", "/trigger/pipeline"):
            return self._triggered(request)
        if request.headers.get("private-token") != self.token:
            return _no(401, "401 Unauthorized")
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if path.startswith("/deployments"):
            return self._deployment(request, path, query)
        return self._pipeline(request, path, query)

    # Pipelines ----------------------------------------------------------------------------

    def _triggered(self, request: Received) -> Reply:
        form = dict(parse_qsl(request.body.decode()))
        if form.get("token") != self.trigger_token:
            return _no(404, "404 Not Found")
        variables = {n[10:-1]: v for n, v in form.items() if n.startswith("variables[")}
        return self._made(form.get("ref", ""), variables, "trigger")

    def _made(self, ref: str, variables: Mapping[str, Any], source: str) -> Reply:
        if ref not in self.refs:
            return Reply(400, {"message": {"base": ["Reference not found"]}})
        return Reply(201, self.start(ref, variables, source))

    def start(self, ref: str, variables: Mapping[str, Any], source: str = "api") -> dict[str, Any]:
        """Have a pipeline, as if somebody had asked for it."""
        number = 1_001 + len(self.pipelines)
        pipeline = {
            "id": number,
            "iid": len(self.pipelines) + 1,
            "name": f"deploy {variables.get('PYFLOW_ID', '')}".strip() if self.named else None,
            "ref": ref,
            "sha": "5f9d31c0ffee5f9d31c0ffee5f9d31c0ffee5f9d",
            "source": source,
            "status": (*self.course, self.conclusion)[0],
            "web_url": f"https://gitlab.com/{self.project}/-/pipelines/{number}",
            "variables": dict(variables),
            "looks": 0,
        }
        self.pipelines.append(pipeline)
        return pipeline

    def _pipeline(self, request: Received, path: str, query: Mapping[str, str]) -> Reply:
        if (request.method, path) == ("POST", "/pipeline"):
            asked: dict[str, Any] = request.json
            variables = {one["key"]: one["value"] for one in asked.get("variables", [])}
            return self._made(str(asked.get("ref")), variables, "api")
        if (request.method, path) == ("GET", "/pipelines"):
            found = [one for one in self.pipelines[::-1] if one["ref"] == query.get("ref")]
            return Reply(200, found[: int(query.get("per_page", "20"))])
        if path.endswith("/trace"):
            return Reply(
                200, "\x1b[0Ksection_start:1:step\r\x1b[0Kbuild\n\x1b[31mno space left\x1b[0m\n"
            )
        found_id = re.fullmatch(r"/pipelines/(\d+)(/jobs|/cancel|/variables)?", path)
        known = {one["id"]: one for one in self.pipelines}
        if found_id is None or int(found_id[1]) not in known:
            return _no(404, "404 Not found")
        return self._one(known[int(found_id[1])], found_id[2])

    def _one(self, pipeline: dict[str, Any], what: str | None) -> Reply:
        if what == "/jobs":
            return Reply(200, [_job(pipeline)])
        if what == "/cancel":
            if pipeline["status"] not in ENDED:
                pipeline["status"] = "canceled"
            return Reply(200, pipeline)
        if what == "/variables":
            rows = [{"key": k, "value": v} for k, v in pipeline["variables"].items()]
            return Reply(200, rows) if self.reads_variables else _no(403, "403 Forbidden")
        if pipeline["status"] not in ENDED:
            left = self.course[pipeline["looks"] :]
            pipeline["status"] = left[0] if left else self.conclusion
            pipeline["looks"] += 1
        return Reply(200, pipeline)

    # Deployments --------------------------------------------------------------------------

    def _deployment(self, request: Received, path: str, query: Mapping[str, str]) -> Reply:
        if (request.method, path) == ("GET", "/deployments"):
            wanted = query.get("environment")
            found = [one for one in self.deployments[::-1] if one["environment"] == wanted]
            return Reply(200, found)
        found_id = re.fullmatch(r"/deployments/(\d+)", path)
        known = {one["id"]: one for one in self.deployments}
        here = known.get(int(found_id[1])) if found_id is not None else None
        if request.method == "GET":
            return Reply(200, here) if here is not None else _no(404, "404 Not Found")
        asked: dict[str, Any] = request.json
        if asked.get("status") not in STATES:
            return Reply(400, {"error": "status does not have a valid value"})
        if (request.method, path) == ("POST", "/deployments"):
            return self._deployed(asked)
        return self._moved(here, str(asked["status"]))

    def _moved(self, deployment: dict[str, Any] | None, status: str) -> Reply:
        if deployment is None:
            return _no(404, "404 Not Found")
        if deployment["states"][-1] == status:
            return _no(400, f'Status cannot transition via "{status}"')
        deployment["states"].append(status)
        deployment["status"] = status
        return Reply(200, deployment)

    def _deployed(self, asked: dict[str, Any]) -> Reply:
        missing = [n for n in ("environment", "sha", "ref", "tag") if n not in asked]
        if missing:
            return Reply(400, {"error": f"{missing[0]} is missing"})
        made = {**asked, "id": 71 + len(self.deployments), "states": [asked["status"]]}
        made["created_at"] = self.now
        self.deployments.append(made)
        return Reply(201, made)


def _job(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    number = pipeline["id"] * 10
    return {
        "id": number,
        "name": "deploy",
        "status": pipeline["status"],
        "web_url": f"{pipeline['web_url'].partition('/pipelines')[0]}/jobs/{number}",
    }


def _no(status: int, message: str) -> Reply:
    return Reply(status, {"message": message})
