"""The HTTP probe against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.probes import HTTP
from pyflow.protocols import Probe, Reading
from pyflow.secrets import Secret
from support.fake_http import NEVER, RESET, Drip, Script, closed_port, raw, reply, serving

SOON = 0.1


def read(*scripts: Script, path: str = "/health", **options: Any) -> Reading:
    async def run() -> Reading:
        async with serving(*scripts) as fake:
            reading = await HTTP(fake.url(path), **options).read()
            json.dumps(reading.evidence, allow_nan=False)
            return reading

    return asyncio.run(run())


def problem(url: Any = "http://h/", **options: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        HTTP(url, **options)
    return str(caught.value)


def resolver(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


class TestHTTP:
    def test_is_probe(self) -> None:
        """It is a `Probe`."""
        assert isinstance(HTTP("http://h/"), Probe)

    def test_healthy(self) -> None:
        """An expected status is healthy, and the evidence says which."""
        reading = read(reply("fine"), path="/health?token=hush")

        assert reading.health == "healthy"
        assert reading.evidence["status"] == 200
        assert reading.evidence["url"].endswith("/health?***")

    @pytest.mark.parametrize(
        "status",
        ["301 Moved", "302 Found", "401 No", "404 None", "429 Slow", "500 Oops", "503 Busy"],
    )
    def test_wrong_status(self, status: str) -> None:
        """Another status is unhealthy, with the beginning of the body as evidence."""
        reading = read(reply("sorry\x1b[2J" + "x" * 500, status=status))

        assert reading.health == "unhealthy"
        assert reading.evidence["status"] == int(status[:3])
        assert reading.evidence["body"].startswith("sorry\\x1b[2J")
        assert len(reading.evidence["body"]) < 250

    @pytest.mark.parametrize("status", [204, (200, 204), lambda status: status < 300])
    def test_statuses(self, status: Any) -> None:
        """A number, a tuple or a function says what counts as well."""
        assert read(reply(status="204 None"), status=status).health == "healthy"
        assert read(reply(status="404 None"), status=status).health == "unhealthy"

    def test_broken_predicate(self) -> None:
        """A function that raises has told nothing."""
        reading = read(reply(), status=lambda status: 1 / 0)

        assert reading.health == "unknown"
        assert "ZeroDivisionError" in reading.evidence["error"]

    def test_contains(self) -> None:
        """A text in the body is looked for, so a login page with 200 is unhealthy."""
        assert read(reply('{"ready": true}'), contains='"ready": true').health == "healthy"

        reading = read(reply("<html>Log in"), contains='"ready": true')

        assert reading.health == "unhealthy"
        assert "ready" in reading.evidence["expected"]

    def test_redirect(self) -> None:
        """A redirect is not followed; where it leads is evidence, without its query."""
        reading = read(reply(status="302 Found", headers=["Location: http://sso.test/?t=hush"]))

        assert reading.health == "unhealthy"
        assert reading.evidence["location"] == "http://sso.test/"

    def test_refused(self) -> None:
        """A refused connection is unhealthy."""
        reading = asyncio.run(HTTP(f"http://127.0.0.1:{closed_port()}/").read())

        assert reading.health == "unhealthy"
        assert reading.evidence["phase"] == "connect"

    @pytest.mark.parametrize(
        ("script", "phase"),
        [
            ([NEVER], "headers"),
            ([b"HTTP/1.1 200 OK\r\n", Drip(b"C: d\r\n")], "headers"),
            ([b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", Drip(b"x")], "body"),
        ],
    )
    def test_slow(self, script: Script, phase: str) -> None:
        """An answer that does not end in time is unknown."""
        reading = read(script, timeout=SOON)

        assert (reading.health, reading.evidence["phase"]) == ("unknown", phase)

    @pytest.mark.parametrize(
        "script",
        [
            [],
            [RESET],
            [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
            raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "zz"),
            raw("SSH-2.0-OpenSSH_9.6"),
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"],
        ],
    )
    def test_broken(self, script: Script) -> None:
        """Half an answer, or none, is unknown."""
        assert read(script).health == "unknown"

    def test_unknown_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that is not found is unknown."""
        resolver(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))

        reading = asyncio.run(HTTP("http://nowhere.test/").read())

        assert reading.health == "unknown"
        assert "name was not found" in reading.evidence["error"]

    def test_tls(self) -> None:
        """A failure of TLS is unknown."""

        async def run() -> Reading:
            async with serving(raw("HTTP/1.1 400 No", "")) as fake:
                return await HTTP(f"https://127.0.0.1:{fake.port}/", timeout=SOON).read()

        assert asyncio.run(run()).health == "unknown"

    def test_compressed(self) -> None:
        """A compressed body does not matter for the status; its text cannot be judged."""
        script = reply(b"\x1f\x8b", headers=["Content-Encoding: gzip"])
        wrong = reply(b"\x1f\x8b", status="500 Oops", headers=["Content-Encoding: gzip"])

        assert read(script).health == "healthy"
        assert read(wrong).health == "unhealthy"
        assert read(script, contains="ready").health == "unknown"

    def test_secret(self) -> None:
        """A secret header is sent; one that cannot be fetched makes the reading unknown."""
        sent = {"Authorization": Secret("Bearer s3cr3t-token", name="token")}
        missing = {"Authorization": Secret.from_env("PYFLOW_TEST_NO_SUCH_VARIABLE")}

        assert read(reply(), headers=sent).health == "healthy"
        assert read(reply(), headers=missing).health == "unknown"

    def test_repr(self) -> None:
        """The repr masks header values and the query."""
        probe = HTTP("http://h/x?hush", headers={"Authorization": "hush"}, contains="ok")

        assert repr(probe) == (
            "HTTP('http://h/x?***', status=(200,), contains='ok', timeout='5s', "
            "headers={'Authorization': '***'})"
        )
        assert repr(HTTP("http://h")) == "HTTP('http://h/', status=(200,), timeout='5s')"

    def test_headers_copied(self) -> None:
        """Changing the dict afterwards changes nothing."""
        headers = {"A": "b"}
        probe = HTTP("http://h/", headers=headers)

        headers["A"] = "c"

        assert probe.headers == {"A": "b"}
        assert hash(probe) == hash(HTTP("http://h/", headers={"A": "b"}))

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"url": "file:///etc/passwd"}, "neither http nor https"),
            ({"url": None}, "not text"),
            ({"status": ()}, "status"),
            ({"status": 99}, "status"),
            ({"status": "200"}, "status"),
            ({"status": (200, True)}, "status"),
            ({"contains": ""}, "contains"),
            ({"contains": b"x"}, "contains"),
            ({"timeout": 0}, "timeout"),
            ({"headers": {"A": "b\r\nC: d"}}, "'A'"),
            ({"headers": "A: b"}, "dict"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the probe is made."""
        assert words in problem(**options)

    def test_all_at_once(self) -> None:
        """All wrong arguments are reported together."""
        assert "4 problems" in problem("ftp://h/", status=0, contains="", timeout=-1)
