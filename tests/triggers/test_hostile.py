"""Input that means harm is refused before any connection, and answers that do are not obeyed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import pyflow
from pyflow.errors import DefinitionError
from pyflow.testing.servers import GitHubServer, HTTPServer, Reply
from pyflow.triggers import GitHubActions, GitLabCI, Jenkins, Watch
from support.pipelines import execute, kit

TOKEN = pyflow.Secret("hush-hush-token", name="token")

REFS = [
    "", " ", "a b", "main\nX: y", "main\r\n", "a..b", "-x", "/x", "x/", "a//b", "x.lock", "x~1", "x^", "x:y",
    "x?y", "x*", "x[", "a\\b", "@", "@{0}", "x\x00", ".x", "x.", "a/.b", "x" * 251, "\u202emain", 7, None, b"main",
]  # fmt: skip
URLS = [
    "file:///etc/passwd", "ftp://h.example", "http://user:hush@h.example", "http://hush@h.example",
    "http://0x7f.1", "http://127.1", "http://[::ffff:7f00:1]", "http://h.example:0", "http://h.example\r\nX: y",
    "http://h.example?x=hush", "http://h.example#x", "http://h.example/../x", "http://b\u00fccher.example", "", None,
]  # fmt: skip
REPOSITORIES = [
    "",
    "shop",
    "a/b/c",
    "../..",
    "a/..",
    "./b",
    "a/b?x",
    "a/b#",
    "a/b%2f",
    "a b/c",
    "a/b\n",
    "/a/b",
    7,
]
PROJECTS = [
    "",
    "shop",
    "../x",
    "a/..",
    "a/./b",
    "a/b?x=1",
    "a/b%2f..",
    "a/b c",
    "a/b\r\n",
    "/a/b",
    "a//b",
    0,
    -1,
    True,
]
JOBS = ["", "..", "a/..", "a//b", "/a", "a/", "a?b", "a#b", "a\nb", "a%2fb", "a\\b", None]
WORKFLOWS = ["", "../x.yml", "deploy", "deploy.sh", "a/b.yml", "a.yml\n", "x?.yml", None]
VALUES: list[Any] = [
    [], "x", {"a b": "x"}, {"": "x"}, {"a\n": "x"}, {1: "x"}, {"a": 1}, {"a": None}, {"a": "x\0"},
    {"a": pyflow.Secret("hush-hush-hush", name="s")}, {"a": "x" * 70_000}, {f"n{n}": "" for n in range(600)},
    {"pyflow_id": "mine", "PYFLOW_ID": "mine"},
]  # fmt: skip


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every attempt to look a name up or to connect, and let none happen."""
    tried: list[str] = []

    async def getaddrinfo(self: Any, host: str, *_: Any, **__: Any) -> Any:
        tried.append(host)
        raise OSError("no network here")

    def refuse(self: Any, address: Any) -> Any:
        tried.append(str(address))
        raise OSError("no network here")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    return tried


def _with(given: dict[str, Any]) -> dict[str, Any]:
    return {"token": TOKEN, **given}


def github(**given: Any) -> GitHubActions:
    repository = given.pop("repository", "a/b")
    workflow = given.pop("workflow", "deploy.yml")
    return GitHubActions(repository, workflow, **_with(given))


def gitlab(**given: Any) -> GitLabCI:
    return GitLabCI(given.pop("project", "a/b"), **_with(given))


def jenkins(**given: Any) -> Jenkins:
    url, job = given.pop("base_url", "https://ci.example"), given.pop("job", "shop")
    return Jenkins(url, job, user=given.pop("user", "ada"), **_with(given))


BAD = [
    *[(make, "ref", ref) for make in (github, gitlab) for ref in REFS],
    *[(make, "base_url", url) for make in (github, gitlab, jenkins) for url in URLS],
    *[(github, "repository", one) for one in REPOSITORIES],
    *[(gitlab, "project", one) for one in PROJECTS],
    *[(jenkins, "job", one) for one in JOBS],
    *[(github, "workflow", one) for one in WORKFLOWS],
    *[(github, "inputs", one) for one in VALUES],
    *[(gitlab, "variables", one) for one in VALUES],
    *[(jenkins, "parameters", one) for one in VALUES],
    *[(make, "token", one) for make in (github, gitlab, jenkins) for one in ("plain-text", None)],
    *[(make, "accept", one) for make in (github, gitlab, jenkins) for one in ("success", (), [""])],
    *[
        (make, "correlation", one)
        for make in (github, gitlab, jenkins)
        for one in ("", "a b", "a=")
    ],
    (gitlab, "trigger_token", "plain-text"),
    (jenkins, "user", "a:b"),
    (jenkins, "user", ""),
    (github, "inputs", dict),
]


class TestArguments:
    @pytest.mark.parametrize(("make", "name", "value"), BAD)
    def test_refused(self, no_network: list[str], make: Any, name: str, value: Any) -> None:
        """Each is refused when the trigger is made, in words that name the argument and no secret."""
        with pytest.raises(DefinitionError) as caught:
            make(**{name: value})

        assert name in str(caught.value)
        assert "hush" not in str(caught.value).replace("hush@h", "")
        assert "plain-text" not in str(caught.value)
        assert no_network == []

    def test_all_at_once(self) -> None:
        """All problems are told together."""
        with pytest.raises(DefinitionError) as caught:
            github(repository="..", ref="a b", base_url="file:x")

        assert len(caught.value.problems) == 3

    @pytest.mark.parametrize(
        "options",
        [
            {"timeout": 0},
            {"patience": "soon"},
            {"restart_after": -1},
            {"poll": "1s"},
            {"settle": None},
        ],
    )
    def test_watch(self, options: dict[str, Any]) -> None:
        """Spans are checked when they are given."""
        with pytest.raises(DefinitionError):
            Watch(**options)

    @pytest.mark.parametrize("ref", REFS[1:8])
    @pytest.mark.parametrize("make", [github, gitlab])
    def test_made(self, no_network: list[str], make: Any, ref: str) -> None:
        """What a function makes is refused when the task runs, before any connection."""
        result = execute(make(ref=lambda: ref))

        assert "DefinitionError" in str(result.tasks["deploy"].error)
        assert no_network == []

    @pytest.mark.parametrize("make", [github, gitlab, jenkins])
    def test_repr(self, make: Any) -> None:
        """A trigger shows what it starts, and not its token."""
        assert "hush" not in repr(make())


class TestAnswers:
    @pytest.mark.parametrize("name", ["github", "gitlab", "jenkins"])
    def test_echo(self, name: str) -> None:
        """A service that echoes the token gets it masked."""
        with kit(name) as at:
            at.server.will(Reply(400, {"message": f"bad {at.server.token}"}))

            text = str(execute(at.trigger()).tasks["deploy"].error)

        assert "bad ***" in text
        assert at.server.token not in text

    def test_queue_of_another_host(self) -> None:
        """Of an address that Jenkins names only the number is used, so the token goes nowhere else."""
        with kit("jenkins", address="http://169.254.169.254") as at:
            assert execute(at.trigger()).status == "succeeded"

    @pytest.mark.parametrize(
        "place", ["http://localhost:$port/x", "file:///etc/passwd", "http://u:p@h.example/", "//"]
    )
    def test_log_elsewhere(self, place: str) -> None:
        """A log that is said to be at a private address of another name is not fetched from there."""

        class Evil(GitHubServer):
            def answer(self, request: Any) -> Reply:
                if request.path.endswith("/logs"):
                    return Reply(302, "", {"Location": place.replace("$port", str(inside.port))})
                return super().answer(request)

        with Evil(conclusion="failure") as server, HTTPServer().always(Reply(200, "x")) as inside:
            trigger = GitHubActions(
                server.repository,
                server.workflow,
                token=pyflow.Secret(server.token, name="t"),
                base_url=server.base_url,
                watch=Watch(poll=pyflow.Backoff("1ms", ceiling="5ms")),
            )
            result = execute(trigger)

            assert inside.received == []
        assert result.status == "failed"
        assert "log ends with" not in str(result.tasks["deploy"].error)

    def test_log_needs_no_token(self) -> None:
        """The address of a log is asked without the token, which is for the API alone."""
        with kit("github", conclusion="failure") as at:
            execute(at.trigger())
            [log] = [r for r in at.server.received if r.path.startswith("/logs")]

        assert "authorization" not in log.headers
