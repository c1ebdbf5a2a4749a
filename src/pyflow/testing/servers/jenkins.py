"""A server that plays Jenkins: one job, its queue and its builds."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from pyflow.testing.servers.http import HTTPServer, Received, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["JenkinsServer"]

CRUMB = "0123456789abcdef"
COOKIE = "JSESSIONID.1=node0"


class JenkinsServer(HTTPServer):
    """Plays Jenkins. `queue` and `builds` are what it has.

    An item stays in the queue for *waits* looks, and a build runs for *runs*.

    Args:
        job: The job's name with its folders.
        user: Who may use it.
        token: That user's API token.
        password: That user's password, with which calls need a crumb.
        declares: The parameters that the job declares; it drops others.
        disabled: Whether the job cannot be built.
        waits: How many looks it takes an item to leave the queue.
        runs: How many looks it takes a build to end.
        forgets: Whether an item that has left the queue is gone at once,
            as it is after five minutes.
        conclusion: How builds end.
        address: Where Jenkins believes that it is.
        tls: Whether it speaks TLS.
    """

    def __init__(
        self,
        job: str = "shop/deploy",
        *,
        user: str = "ada",
        token: str = "11f0-for-tests-only",  # noqa: S107 - it opens nothing
        password: str = "a-password-for-tests",  # noqa: S107 - it opens nothing
        declares: Sequence[str] = ("PYFLOW_ID", "version"),
        disabled: bool = False,
        waits: int = 1,
        runs: int = 1,
        forgets: bool = False,
        conclusion: str = "SUCCESS",
        address: str = "https://ci.example",
        tls: bool = False,
    ) -> None:
        super().__init__(tls=tls)
        self.job = job
        self.user = user
        self.token = token
        self.password = password
        self.declares = tuple(declares)
        self.disabled = disabled
        self.waits = waits
        self.runs = runs
        self.forgets = forgets
        self.conclusion = conclusion
        self.address = address
        self.queue: list[dict[str, Any]] = []
        """Every item that was queued, as it is now."""
        self.builds: list[dict[str, Any]] = []
        """Every build, as it is now."""

    @property
    def path(self) -> str:
        """The path of the job."""
        return "".join(f"/job/{name}" for name in self.job.split("/"))

    def answer(self, request: Received) -> Reply:
        """Answer as Jenkins does."""
        url = urlsplit(request.path)
        path = unquote(url.path)
        given = request.headers.get("authorization", "")
        with_token = given == _basic(self.user, self.token)
        if not with_token and given != _basic(self.user, self.password):
            return Reply(401, "<html><title>Error 401 Unauthorized</title></html>")
        if path == "/crumbIssuer/api/json":
            crumb = {"crumb": CRUMB, "crumbRequestField": "Jenkins-Crumb"}
            return Reply(200, crumb, {"Set-Cookie": f"{COOKIE}; Path=/; HttpOnly"})
        if request.method == "POST":
            has_crumb = request.headers.get("jenkins-crumb") == CRUMB
            if not with_token and not (has_crumb and request.headers.get("cookie") == COOKIE):
                return Reply(403, "No valid crumb was included in the request")
            return self._posted(request, path, parse_qs(url.query))
        return self._read(path)

    def _posted(self, request: Received, path: str, query: Mapping[str, list[str]]) -> Reply:
        form = dict(parse_qsl(request.body.decode()))
        if path == f"{self.path}/buildWithParameters":
            if not self.declares:
                return Reply(400, f"<html>{self.job} is not parameterized</html>")
            return self._queued({n: v for n, v in form.items() if n in self.declares})
        if path == f"{self.path}/build":
            return self._queued({})
        if path == "/queue/cancelItem":
            item = self.queue[int(query["id"][0]) - 1]
            item["cancelled"] = item["build"] is None
            return Reply(204)
        found = re.fullmatch(re.escape(self.path) + r"/(\d+)/stop", path)
        if found is not None and 0 < int(found[1]) <= len(self.builds):
            build = self.builds[int(found[1]) - 1]
            if build["building"]:
                build.update(building=False, result="ABORTED")
            return Reply(302, "", {"Location": f"{self.address}{self.path}/{found[1]}/"})
        return Reply(404, "<html>Not found</html>")

    def _queued(self, parameters: Mapping[str, str]) -> Reply:
        if self.disabled:
            return Reply(409, f"{self.job} is not buildable")
        for item in self.queue:
            if item["build"] is None and item["parameters"] == parameters:
                return Reply(303, "", {"Location": f"{self.address}/queue/item/{item['id']}/"})
        item = self.start(parameters)
        return Reply(201, "", {"Location": f"{self.address}/queue/item/{item['id']}/"})

    def start(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Have an item in the queue, as if somebody had asked for it."""
        item: dict[str, Any] = {
            "id": len(self.queue) + 1,
            "parameters": dict(parameters),
            "cancelled": False,
            "build": None,
            "looks": 0,
        }
        self.queue.append(item)
        return item

    def build(self, item: dict[str, Any]) -> dict[str, Any]:
        """Have *item* leave the queue, and return its build."""
        number = len(self.builds) + 1
        build: dict[str, Any] = {
            "number": number,
            "url": f"{self.address}{self.path}/{number}/",
            "timestamp": 1_795_780_800_000,
            "building": True,
            "result": None,
            "parameters": item["parameters"],
            "looks": 0,
        }
        self.builds.append(build)
        item["build"] = build
        return build

    def _read(self, path: str) -> Reply:
        if path == "/queue/api/json":
            return Reply(200, {"items": [_item(one) for one in self.queue if _waits(one)]})
        found = re.fullmatch(r"/queue/item/(\d+)/api/json", path)
        if found is not None and 0 < int(found[1]) <= len(self.queue):
            return self._item(self.queue[int(found[1]) - 1])
        if path == f"{self.path}/api/json":
            return Reply(200, {"builds": [_build(one) for one in self.builds[::-1]]})
        found = re.fullmatch(re.escape(self.path) + r"/(\d+)/(api/json|consoleText)", path)
        if found is None or not 0 < int(found[1]) <= len(self.builds):
            return Reply(404, "<html>Not found</html>")
        build = self.builds[int(found[1]) - 1]
        if found[2] == "consoleText":
            return Reply(200, f"Started by {self.user}\nno space left\nFinished: {build['result']}")
        build["looks"] += 1
        if build["building"] and build["looks"] > self.runs:
            build.update(building=False, result=self.conclusion)
        return Reply(200, _build(build))

    def _item(self, item: dict[str, Any]) -> Reply:
        item["looks"] += 1
        if _waits(item) and item["looks"] > self.waits:
            self.build(item)
        if item["build"] is not None and self.forgets:
            return Reply(404, "<html>Not found</html>")
        return Reply(200, _item(item))


def _waits(item: Mapping[str, Any]) -> bool:
    return item["build"] is None and not item["cancelled"]


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    build = item["build"]
    shown = {"id": item["id"], "actions": _actions(item), "why": "In the quiet period"}
    if item["cancelled"]:
        return {**shown, "_class": "hudson.model.Queue$LeftItem", "cancelled": True}
    if build is None:
        return {**shown, "_class": "hudson.model.Queue$WaitingItem"}
    executable = {"number": build["number"], "url": build["url"]}
    return {**shown, "_class": "hudson.model.Queue$LeftItem", "executable": executable}


def _build(build: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("number", "url", "timestamp", "building", "result")
    return {**{name: build[name] for name in kept}, "actions": _actions(build)}


def _actions(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    parameters = [{"name": n, "value": v} for n, v in row["parameters"].items()]
    return [{}, {"_class": "hudson.model.ParametersAction", "parameters": parameters}]


def _basic(user: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"
