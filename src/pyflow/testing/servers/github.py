"""A server that plays the REST API of GitHub: workflow runs, deployments and their statuses.

As documented for API versions 2022-11-28 and 2026-03-10; errors come in
GitHub's words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from pyflow.testing.servers.http import HTTPServer, Received, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["GitHubServer"]

Dispatch: TypeAlias = Literal["details", "silent", "unaware"]

INPUTS_MAX = 25
DESCRIPTION_CHARS_MAX = 140
STATES = frozenset({"error", "failure", "inactive", "in_progress", "queued", "pending", "success"})
LOG = "/logs/of-a-job"


class GitHubServer(HTTPServer):
    """Plays GitHub. `runs` and `deployments` are what it has.

    Every look at a run takes it one step along *course*, to its *conclusion*.

    Args:
        repository: The one that it has.
        workflow: The file name of the one workflow.
        token: What opens it.
        declares: The inputs that the workflow declares.
        refs: The branches and tags that are there.
        dispatch: ``details`` answers 200 and says which run it is,
            ``silent`` 204 without a body, and ``unaware`` refuses the
            property that asks for details, as old servers do.
        course: The statuses that a run goes through before it has ended.
        conclusion: How runs end.
        tls: Whether it speaks TLS.
    """

    def __init__(
        self,
        repository: str = "acme/shop",
        workflow: str = "deploy.yml",
        *,
        token: str = "ghp-for-tests-only",  # noqa: S107 - it opens nothing
        declares: Sequence[str] = ("pyflow_id", "version"),
        refs: Sequence[str] = ("main",),
        dispatch: Dispatch = "details",
        course: Sequence[str] = ("queued", "in_progress"),
        conclusion: str = "success",
        tls: bool = False,
    ) -> None:
        super().__init__(tls=tls)
        self.repository = repository
        self.workflow = workflow
        self.token = token
        self.declares = tuple(declares)
        self.refs = tuple(refs)
        self.dispatch: Dispatch = dispatch
        self.course = tuple(course)
        self.conclusion = conclusion
        self.runs: list[dict[str, Any]] = []
        """Every run that was dispatched, as it is now."""
        self.deployments: list[dict[str, Any]] = []
        """Every deployment, with the list of its ``states``."""

    def answer(self, request: Received) -> Reply:
        """Answer as GitHub does."""
        url = urlsplit(request.path)
        prefix = f"/repos/{self.repository}"
        if url.path == LOG:  # which is somewhere else in truth, and opened by its address
            if "authorization" in request.headers:
                return Reply(400, "InvalidAuthenticationInfo")
            return Reply(200, "2026-11-27T12:00:00.0000000Z \x1b[31mno space left\x1b[0m\n")
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if not url.path.startswith(prefix + "/"):
            return _no(404, "Not Found")
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        path = unquote(url.path.removeprefix(prefix))
        if path.startswith("/deployments"):
            return self._deployment(request, path, query)
        return self._action(request, path, query)

    def _refusal(self, request: Received) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _no(401, "Bad credentials")
        if not request.headers.get("user-agent"):
            return _no(403, "Request forbidden by administrative rules.")
        return None

    # Actions ------------------------------------------------------------------------------

    def _action(self, request: Received, path: str, query: Mapping[str, str]) -> Reply:
        workflow = f"/actions/workflows/{self.workflow}"
        if (request.method, path) == ("POST", f"{workflow}/dispatches"):
            return self._dispatched(request)
        if (request.method, path) == ("GET", f"{workflow}/runs"):
            return self._listed(query)
        found = re.fullmatch(r"/actions/runs/(\d+)(/jobs|/cancel)?", path)
        if found is not None:
            return self._run(request, int(found[1]), found[2])
        found = re.fullmatch(r"/actions/jobs/(\d+)/logs", path)
        if found is not None:
            return Reply(302, "", {"Location": f"{self.base_url}{LOG}"})
        return _no(404, "Not Found")

    def _dispatched(self, request: Received) -> Reply:
        asked: dict[str, Any] = request.json
        inputs: dict[str, Any] = asked.get("inputs", {})
        wants_details = bool(asked.get("return_run_details"))
        if wants_details and self.dispatch == "unaware":
            return _no(422, 'Invalid request.\n\n"return_run_details" is not a permitted key.')
        if asked.get("ref") not in self.refs:
            return _no(422, f"No ref found for: {asked.get('ref')}")
        unexpected = [name for name in inputs if name not in self.declares]
        if unexpected or len(inputs) > INPUTS_MAX:
            return _no(422, f"Unexpected inputs provided: {unexpected}".replace("'", '"'))
        run = self.start(str(asked["ref"]), inputs)
        if self.dispatch != "details":
            return Reply(204)
        place = f"{self.base_url}/repos/{self.repository}/actions/runs/{run['id']}"
        return Reply(
            200,
            {"workflow_run_id": run["id"], "run_url": place, "html_url": run["html_url"]},
        )

    def start(self, ref: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Have a run, as if it had been dispatched."""
        number = 9_000_000_001 + len(self.runs)
        run = {
            "id": number,
            "name": "deploy",
            "display_title": f"deploy {inputs.get('pyflow_id', '')}".strip(),
            "event": "workflow_dispatch",
            "status": (*self.course, "completed")[0],
            "conclusion": None if self.course else self.conclusion,
            "head_branch": ref,
            "head_sha": "5f9d31c0ffee5f9d31c0ffee5f9d31c0ffee5f9d",
            "html_url": f"https://github.com/{self.repository}/actions/runs/{number}",
            "inputs": dict(inputs),
            "looks": 0,
        }
        self.runs.append(run)
        return run

    def _listed(self, query: Mapping[str, str]) -> Reply:
        page, size = int(query.get("page", "1")), int(query.get("per_page", "30"))
        newest = self.runs[::-1][(page - 1) * size : page * size]
        return Reply(200, {"total_count": len(self.runs), "workflow_runs": newest})

    def _run(self, request: Received, number: int, what: str | None) -> Reply:
        run = next((one for one in self.runs if one["id"] == number), None)
        if run is None:
            return _no(404, "Not Found")
        if what == "/cancel":
            if run["status"] == "completed":
                return _no(409, "Cannot cancel a workflow run that is completed.")
            run.update(status="completed", conclusion="cancelled")
            return Reply(202, {})
        if what == "/jobs":
            return Reply(200, {"total_count": 1, "jobs": [self._job(run)]})
        self._step(run)
        tag = f'W/"{run["status"]}-{run["conclusion"]}"'
        if request.headers.get("if-none-match") == tag:
            return Reply(304, "", {"ETag": tag})
        return Reply(200, run, {"ETag": tag})

    def _step(self, run: dict[str, Any]) -> None:
        """Take *run* one step along its course."""
        if run["status"] != "completed":
            left = self.course[run["looks"] :]
            run.update(status=left[0] if left else "completed")
            run["conclusion"] = None if left else self.conclusion
            run["looks"] += 1

    def _job(self, run: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": run["id"] + 1_000,
            "name": "deploy / production",
            "status": run["status"],
            "conclusion": run["conclusion"],
            "html_url": f"{run['html_url']}/job/{run['id'] + 1_000}",
        }

    # Deployments --------------------------------------------------------------------------

    def _deployment(self, request: Received, path: str, query: Mapping[str, str]) -> Reply:
        if path == "/deployments":
            if request.method == "POST":
                return self._deployed(request)
            found = [
                one
                for one in self.deployments[::-1]
                if all(one.get(n) == v for n, v in query.items() if n in ("environment", "task"))
            ]
            return Reply(200, found)
        found = re.fullmatch(r"/deployments/(\d+)/statuses", path)
        numbered = {one["id"]: one for one in self.deployments}
        if found is None or int(found[1]) not in numbered:
            return _no(404, "Not Found")
        deployment = numbered[int(found[1])]
        if request.method == "GET":
            return Reply(200, deployment["statuses"][::-1])
        return self._stated(deployment, request.json)

    def _deployed(self, request: Received) -> Reply:
        asked: dict[str, Any] = request.json
        if asked.get("ref") not in self.refs:
            return _no(422, f"No ref found for: {asked.get('ref')}")
        if len(str(asked.get("description", ""))) > DESCRIPTION_CHARS_MAX:
            return _no(422, "Validation Failed")
        if asked.get("auto_merge", True):
            return Reply(202, {"message": "Auto-merged main into topic on deployment."})
        number = 41 + len(self.deployments)
        made: dict[str, Any] = {**asked, "id": number, "states": [], "statuses": []}
        self.deployments.append(made)
        return Reply(201, made)

    def _stated(self, deployment: dict[str, Any], asked: dict[str, Any]) -> Reply:
        long = len(str(asked.get("description", ""))) > DESCRIPTION_CHARS_MAX
        if asked.get("state") not in STATES or long:
            return _no(422, "Validation Failed")
        deployment["states"].append(asked["state"])
        deployment["statuses"].append(dict(asked))
        if asked["state"] == "success" and asked.get("auto_inactive", True):
            for other in self.deployments:
                same = other.get("environment") == deployment.get("environment")
                if other is not deployment and same and other["states"][-1:] == ["success"]:
                    other["states"].append("inactive")
        return Reply(201, {**asked, "id": len(deployment["statuses"])})


def _no(status: int, message: str) -> Reply:
    place = "https://docs.github.com/rest"
    return Reply(status, {"message": message, "documentation_url": place, "status": str(status)})
