"""The HTTP client against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest

from pyflow.errors import DefinitionError, HTTPError
from pyflow.net.http import request
from pyflow.net.response import Response
from pyflow.secrets import Secret
from support.fake_http import (
    NEVER,
    RESET,
    Drip,
    FakeHTTP,
    Script,
    client_tls,
    closed_port,
    raw,
    reply,
    server_tls,
    serving,
)

SOON = 0.4


def ask(*scripts: Script, path: str = "/", method: str = "GET", **options: Any) -> Response:
    return asked(*scripts, path=path, method=method, **options)[0]


def asked(
    *scripts: Script, path: str = "/", method: str = "GET", **options: Any
) -> tuple[Response, FakeHTTP]:
    async def run() -> tuple[Response, FakeHTTP]:
        async with serving(*scripts) as fake:
            return await request(method, fake.url(path), **options), fake

    return asyncio.run(run())


def failure(*scripts: Script, **options: Any) -> HTTPError:
    with pytest.raises(HTTPError) as caught:
        ask(*scripts, **options)
    return caught.value


def refused(url: Any = "http://127.0.0.1:1/", method: Any = "GET", **options: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        asyncio.run(request(method, url, **options))
    return str(caught.value)


class TestRequest:
    def test_answers(self) -> None:
        """A whole answer comes back with its status, reason, headers and body."""
        response = ask(reply("hello", headers=["X-Version: 7"]), path="/health?deep=1")

        assert (response.status, response.reason, response.body) == (200, "OK", b"hello")
        assert response.headers["x-version"] == "7"
        assert response.url.endswith("/health?deep=1")

    def test_sends(self) -> None:
        """The request asks for an identity body on a connection of its own."""
        _, fake = asked(reply(), path="/a?b=c")

        lines = fake.requests[0].decode().split("\r\n")
        assert lines[0] == "GET /a?b=c HTTP/1.1"
        assert f"Host: 127.0.0.1:{fake.port}" in lines
        assert "Accept-Encoding: identity" in lines
        assert "Connection: close" in lines
        assert not any(line.startswith("Content-Length") for line in lines)

    def test_body(self) -> None:
        """A body goes out with its length."""
        _, fake = asked(reply(), method="POST", body=b'{"a": 1}')

        assert b"Content-Length: 8\r\n" in fake.requests[0]
        assert fake.requests[0].endswith(b'\r\n\r\n{"a": 1}')

    def test_empty_post(self) -> None:
        """A POST without a body says so, because servers wait for one otherwise."""
        _, fake = asked(reply(), method="POST")

        assert b"Content-Length: 0\r\n" in fake.requests[0]

    def test_headers(self) -> None:
        """Headers are added, a secret's plain value goes out, and Host may be replaced."""
        token = Secret("Bearer s3cr3t-token", name="token")

        _, fake = asked(reply(), headers={"Authorization": token, "host": "shop", "X-A": "b"})

        sent = fake.requests[0]
        assert b"Authorization: Bearer s3cr3t-token\r\n" in sent
        assert b"host: shop\r\n" in sent
        assert b"Host: 127" not in sent
        assert b"X-A: b\r\n" in sent

    def test_secret_url(self) -> None:
        """A URL may be a secret: it is asked, and neither answer nor error shows more than the host."""
        with_path = "http://127.0.0.1:{}/services/hush-hush"

        async def run() -> tuple[Response, bytes]:
            async with serving(reply("{")) as fake:
                secret = Secret(with_path.format(fake.port))
                return await request("POST", secret), fake.requests[0]

        response, sent = asyncio.run(run())
        with pytest.raises(HTTPError) as unreadable:
            response.json()
        with pytest.raises(HTTPError) as unreachable:
            asyncio.run(request("POST", Secret(with_path.format(closed_port()))))

        assert sent.startswith(b"POST /services/hush-hush HTTP")
        for shown in (response, response.url, unreadable.value, unreachable.value):
            assert "hush" not in repr(shown) + str(shown)
        assert "127.0.0.1" in str(unreachable.value)

    def test_secret_redirect(self) -> None:
        """A redirect from a secret URL shows neither where from nor where to."""
        script = reply(status="302 Found", headers=["Location: http://h.example/hush-there"])

        async def run() -> Response:
            async with serving(script) as fake:
                return await request("GET", Secret(fake.url("/hush-here")), follow_redirects=1)

        with pytest.raises(HTTPError) as caught:
            asyncio.run(run())

        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "429 Too Many", "302 Found"])
    def test_every_status(self, status: str) -> None:
        """An unhappy status is an answer, not an error."""
        response = ask(reply("x", status=status, headers=["Retry-After: -1"]))

        assert f"{response.status} {response.reason}" == status

    def test_no_reason(self) -> None:
        """A status line may end after the status."""
        assert ask(raw("HTTP/1.1 200", "")).reason == ""

    def test_interim(self) -> None:
        """Interim answers are passed over."""
        response = ask(
            [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103\r\nLink: x\r\n\r\n", *reply("end")]
        )

        assert response.body == b"end"
        assert "link" not in response.headers

    def test_endless_interim(self) -> None:
        """A server that never stops saying 100 is refused."""
        error = failure([b"HTTP/1.1 100 Continue\r\n\r\n" * 50])

        assert "interim" in error.reason

    def test_upgrade(self) -> None:
        """A switch of protocols that nobody asked for is refused."""
        error = failure(raw("HTTP/1.1 101 Switching", ""))

        assert error.phase == "headers"

    @pytest.mark.parametrize(
        ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 None"), ("GET", "304 Same")]
    )
    def test_bodiless(self, method: str, status: str) -> None:
        """An answer that has no body by rule is not waited for, whatever it announces."""
        response = ask([*raw(f"HTTP/1.1 {status}", "Content-Length: 9", ""), NEVER], method=method)

        assert response.body == b""

    def test_until_closed(self) -> None:
        """Without a length, the body ends with the connection."""
        assert ask(raw("HTTP/1.0 200 OK", "", "one", "two")).body == b"one\r\ntwo\r\n"

    def test_chunked(self) -> None:
        """Chunks are joined; extensions and trailers are passed over."""
        response = ask(
            raw(
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: Chunked",
                "",
                "3;a=b",
                "one",
                "A ",
                "0123456789",
                "0",
                "X: y",
                "",
            )
        )

        assert response.body == b"one0123456789"
        assert "x" not in response.headers

    def test_extra_bytes(self) -> None:
        """What follows the announced length is not part of the body."""
        assert ask([*reply("ok"), b"HTTP/1.1 500 Oops\r\n\r\n"]).body == b"ok"

    def test_bare_newlines(self) -> None:
        """Lines that end in a newline alone are read (RFC 9112, section 2.2)."""
        assert ask([b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"]).body == b"ok"

    def test_repeated_length(self) -> None:
        """The same length twice is one length."""
        assert (
            ask(raw("HTTP/1.1 200 OK", "Content-Length: 2", "content-length: 2", "", "ok")).body
            == b"ok"
        )

    def test_ipv6(self) -> None:
        """An IPv6 address in brackets works, and Host repeats the brackets."""

        async def run() -> FakeHTTP:
            async with serving(reply("six"), host="::1") as fake:
                assert (await request("GET", f"http://[::1]:{fake.port}/")).text == "six"
                return fake

        fake = asyncio.run(run())

        assert f"Host: [::1]:{fake.port}".encode() in fake.requests[0]

    def test_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Proxy variables are not looked at."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")

        assert ask(reply("direct")).text == "direct"

    def test_cancelled(self) -> None:
        """A cancellation passes through, and leaves no connection behind."""

        async def run() -> int:
            async with serving([NEVER]) as fake:
                task = asyncio.create_task(request("GET", fake.url()))
                await fake.asked.wait()
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
                return len(fake.requests)

        assert asyncio.run(run()) == 1

    def test_gzip(self) -> None:
        """A compressed answer is handed over as it is, and its text is refused."""
        response = ask(reply(b"\x1f\x8b\x08", headers=["Content-Encoding: gzip"]))

        assert response.body == b"\x1f\x8b\x08"
        with pytest.raises(HTTPError, match="gzip"):
            _ = response.text
        with pytest.raises(HTTPError, match="gzip"):
            response.json()


class TestDeadline:
    @pytest.mark.parametrize(
        ("script", "phase"),
        [
            ([NEVER], "headers"),
            ([b"HTTP/1.1 200 OK\r\n", Drip(b"C: d\r\n")], "headers"),
            ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", NEVER], "body"),
            ([b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", Drip(b"x")], "body"),
            ([b"HTTP/1.1 200 OK\r\n\r\n", Drip(b"x")], "body"),
            (
                [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Drip(b"1\r\nx\r\n")],
                "body",
            ),
        ],
    )
    def test_spans_all(self, script: Script, phase: str) -> None:
        """Silence and drips end at the deadline, whichever part they come in."""

        async def run() -> tuple[HTTPError, float]:
            loop = asyncio.get_running_loop()
            async with serving(script) as fake:
                start = loop.time()
                with pytest.raises(HTTPError) as caught:
                    await request("GET", fake.url(), timeout=SOON)
                return caught.value, loop.time() - start

        error, elapsed_s = asyncio.run(run())

        assert (error.phase, type(error.__cause__)) == (phase, TimeoutError)
        assert f"{SOON} s" in error.reason
        assert SOON <= elapsed_s < SOON + 20

    def test_lookup(self, names: dict[str, Any]) -> None:
        """A name that is never resolved ends at the deadline, while connecting."""
        names["slow.test"] = NEVER

        with pytest.raises(HTTPError, match="timed out") as caught:
            asyncio.run(request("GET", "http://slow.test/", timeout=SOON))

        assert caught.value.phase == "connect"

    def test_handshake(self) -> None:
        """A server that never shakes hands ends at the deadline, while at TLS."""

        async def run() -> None:
            async with serving([NEVER]) as fake:
                await request("GET", f"https://127.0.0.1:{fake.port}/", timeout=SOON)

        with pytest.raises(HTTPError, match="timed out") as caught:
            asyncio.run(run())

        assert caught.value.phase == "tls"

    def test_send(self) -> None:
        """A server that stops reading ends at the deadline, while sending."""

        async def run() -> None:
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
                url = f"http://127.0.0.1:{port}/"
                await request("PUT", url, body=bytes(64_000_000), timeout=SOON)

        with pytest.raises(HTTPError, match="timed out") as caught:
            asyncio.run(run())

        assert caught.value.phase == "send"


class TestFailures:
    @pytest.mark.parametrize(
        ("script", "phase", "reason"),
        [
            ([], "headers", "closed too early"),
            ([b"HTTP/1.1 200 OK\r\nContent"], "headers", "closed too early"),
            ([RESET], "headers", "reset"),
            ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], "body", "closed too early"),
            (
                raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "4", "half"),
                "body",
                "closed too early",
            ),
            (
                raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2", "four"),
                "body",
                "where its size",
            ),
            (
                raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "half", "0", ""),
                "body",
                "where its size",
            ),
            (
                raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "zz"),
                "body",
                "size of a chunk",
            ),
            (
                raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "-1"),
                "body",
                "size of a chunk",
            ),
            (raw("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked", ""), "headers", "gzip"),
            (
                raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Content-Length: 2", ""),
                "headers",
                "chunked",
            ),
            (
                raw("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3", ""),
                "headers",
                "length",
            ),
            (raw("HTTP/1.1 200 OK", "Content-Length: -2", ""), "headers", "length"),
            (raw("HTTP/1.1 200 OK", "Content-Length: two", ""), "headers", "length"),
            (raw("HTTP/1.1 200 OK", "no colon", ""), "headers", "well-formed"),
            (raw("HTTP/1.1 200 OK", "A: b", " folded", ""), "headers", "well-formed"),
            (raw("HTTP/1.1 200 OK", "A: \x00", ""), "headers", "well-formed"),
            (raw("HTTP/1.1 200 OK", "B" * 20_000, ""), "headers", "longer than 16384"),
            (
                raw("HTTP/1.1 200 OK", *["C: " + "c" * 9_000] * 9, ""),
                "headers",
                "larger than 65536",
            ),
            (raw("HTTP/1.1 200 OK", *["C: d"] * 600, ""), "headers", "more than 512 lines"),
            (raw("SSH-2.0-OpenSSH_9.6", ""), "headers", "SSH-2.0"),
            (raw("HTTP/2 200", ""), "headers", "HTTP/2"),
            (raw("HTTP/1.1 OK", ""), "headers", "beginning"),
            ([b"\xff\xfe\x00\n"], "headers", "beginning"),
        ],
    )
    def test_broken(self, script: Script, phase: str, reason: str) -> None:
        """Every way to break an answer is an error that says where and what."""
        error = failure(script, timeout=5)

        assert error.phase == phase
        assert reason in error.reason

    def test_reset_in_body(self) -> None:
        """A reset in the middle of a body is an error of the body."""
        error = failure([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", RESET])

        assert error.phase in {"headers", "body"}
        assert isinstance(error.__cause__, ConnectionResetError)

    @pytest.mark.parametrize(
        "script",
        [
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", NEVER],
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", NEVER],
            [b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000, NEVER],
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"2\r\nxx\r\n" * 900,
                NEVER,
            ],
        ],
    )
    def test_huge(self, script: Script) -> None:
        """A body over the limit is refused as soon as that is known."""
        error = failure(script, max_bytes=1_000)

        assert error.phase == "body"
        assert "max_bytes=1000" in error.reason

    def test_exact(self) -> None:
        """A body of exactly the limit is taken."""
        assert len(ask(reply("x" * 1_000), max_bytes=1_000).body) == 1_000

    def test_refused(self) -> None:
        """A refused connection names the phase, and its cause is the socket's error."""
        with pytest.raises(HTTPError) as caught:
            asyncio.run(request("GET", f"http://127.0.0.1:{closed_port()}/x?token=abc"))

        assert caught.value.phase == "connect"
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert caught.value.url.endswith("/x?***")
        assert "abc" not in str(caught.value)

    def test_unknown_name(self, names: dict[str, Any]) -> None:
        """A name that is not found is an error while connecting."""
        names["nowhere.test"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        with pytest.raises(HTTPError, match="name was not found") as caught:
            asyncio.run(request("GET", "http://nowhere.test/"))

        assert caught.value.phase == "connect"

    def test_wordless(self, names: dict[str, Any]) -> None:
        """An error that has no words of its own is named by its type."""
        names["odd.test"] = OSError()

        with pytest.raises(HTTPError, match="OSError"):
            asyncio.run(request("GET", "http://odd.test/"))


class TestTLS:
    def test_trusted(self) -> None:
        """An answer comes over TLS from a server that the context trusts."""

        async def run() -> Response:
            async with serving(reply("safe"), tls=server_tls()) as fake:
                return await request("GET", fake.url(), ssl_context=client_tls())

        assert asyncio.run(run()).text == "safe"

    def test_untrusted(self) -> None:
        """A certificate that the system's roots do not know is refused before anything is sent."""

        async def run() -> FakeHTTP:
            async with serving(reply(), tls=server_tls()) as fake:
                with pytest.raises(HTTPError, match=r"(?i)certificate") as caught:
                    await request("GET", fake.url())
                assert caught.value.phase == "tls"
                return fake

        assert asyncio.run(run()).requests == []

    def test_wrong_name(self, names: dict[str, Any]) -> None:
        """A certificate for another name is refused."""
        names["shop.test"] = ["127.0.0.1"]

        async def run() -> None:
            async with serving(reply(), tls=server_tls()) as fake:
                url = f"https://shop.test:{fake.port}/"
                await request("GET", url, ssl_context=client_tls())

        with pytest.raises(HTTPError, match=r"shop\.test") as caught:
            asyncio.run(run())

        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)

    def test_plain_server(self) -> None:
        """A server that does not speak TLS is an error of TLS."""

        async def run() -> None:
            async with serving([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as fake:
                sock = f"https://127.0.0.1:{fake.port}/"
                await request("GET", sock, ssl_context=client_tls(), timeout=SOON)

        with pytest.raises(HTTPError) as caught:
            asyncio.run(run())

        assert caught.value.phase == "tls"


class TestRedirects:
    def test_handed_over(self) -> None:
        """A redirect is an answer unless following was asked for."""
        response = ask(reply(status="302 Found", headers=["Location: http://other.test/"]))

        assert response.status == 302

    @pytest.mark.parametrize(
        "location", ["/there?x=1", "there?x=1", "http://127.0.0.1:{}/there?x=1"]
    )
    def test_same_origin(self, location: str) -> None:
        """A redirect within the origin is followed, with the headers."""

        async def run() -> tuple[Response, FakeHTTP]:
            script: list[Any] = []
            async with serving(script, reply("end")) as fake:
                line = f"Location: {location.format(fake.port)}"
                script += reply(status="307 Go", headers=[line])
                response = await request(
                    "GET", fake.url(), follow_redirects=1, headers={"X-Key": "k"}
                )
                return response, fake

        response, fake = asyncio.run(run())

        assert response.text == "end"
        assert response.url == fake.url("/there?x=1")
        assert b"X-Key: k" in fake.requests[1]

    @pytest.mark.parametrize(
        "location",
        [
            "http://evil.test/",
            "//evil.test/",
            "https://127.0.0.1/",
            "http://127.0.0.1:1/",
            "http://[::1]/",
        ],
    )
    def test_other_origin(self, location: str) -> None:
        """A redirect to another host, port or scheme is refused, and both are named."""
        script = reply(status="302 Found", headers=[f"Location: {location}"])

        error = failure(script, follow_redirects=5, headers={"Authorization": "Bearer x"})

        assert "127.0.0.1" in error.reason
        assert location.removeprefix("//").rstrip("/") in error.reason

    @pytest.mark.parametrize(
        "location", ["file:///etc/passwd", "http://a@127.0.0.1/", "http://[", "/a b"]
    )
    def test_unusable(self, location: str) -> None:
        """A redirect to what could not be asked for directly is refused."""
        script = reply(status="301 Moved", headers=[f"Location: {location}"])

        error = failure(script, follow_redirects=1)

        assert "unusable" in error.reason

    def test_loop(self) -> None:
        """A redirect loop ends at the limit."""
        error = failure(reply(status="302 Found", headers=["Location: /"]), follow_redirects=3)

        assert "more than 3 redirects" in error.reason

    def test_no_location(self) -> None:
        """A redirect without a location is an answer."""
        assert ask(reply(status="302 Found"), follow_redirects=1).status == 302

    def test_after_redirect(self) -> None:
        """An answer after the last redirect that is allowed may have any status."""
        first = reply(status="302 Found", headers=["Location: /x"])

        assert ask(first, reply(status="404 None"), follow_redirects=1).status == 404

    def test_one_deadline(self) -> None:
        """Redirects share one deadline."""
        error = failure(
            reply(status="302 Found", headers=["Location: /x"]),
            [NEVER],
            follow_redirects=1,
            timeout=SOON,
        )

        assert error.url.endswith("/x")
        assert isinstance(error.__cause__, TimeoutError)


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"method": "get"}, "capitals"),
            ({"method": "GET / HTTP/1.1\r\nX: y"}, "capitals"),
            ({"method": "CONNECT"}, "capitals"),
            ({"method": None}, "capitals"),
            ({"body": "text"}, "bytes"),
            ({"max_bytes": -1}, "max_bytes"),
            ({"max_bytes": True}, "max_bytes"),
            ({"follow_redirects": 21}, "follow_redirects"),
            ({"follow_redirects": 1, "method": "POST"}, "GET and HEAD"),
            ({"timeout": 0}, "timeout"),
            ({"timeout": "soon"}, "timeout"),
            ({"headers": [("A", "b")]}, "dict"),
            ({"headers": {"A B": "c"}}, "name of a header"),
            ({"headers": {"A\r\nB": "c"}}, "name of a header"),
            ({"headers": {7: "c"}}, "name of a header"),
            ({"headers": {"A": 7}}, "value of header 'A'"),
            ({"headers": {"Content-Length": "7"}}, "set by the client"),
            ({"headers": {"transfer-encoding": "chunked"}}, "set by the client"),
            ({"headers": {"A": "b", "a": "c"}}, "twice"),
        ],
    )
    def test_refused(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is named before anything is connected."""
        assert words in refused(**options)

    @pytest.mark.parametrize("value", ["hush\r\nX: y", "hush\n", "hush\x00", "hush\u20ac"])
    def test_hidden_values(self, value: str) -> None:
        """A header that cannot be sent is named, and its value is not repeated."""
        text = refused(headers={"Authorization": value})

        assert "'Authorization'" in text
        assert "hush" not in text

    def test_secret_value(self) -> None:
        """A secret that cannot be sent is refused when it is revealed, still hidden."""
        text = refused(headers={"Authorization": Secret("hush\r\nX: y", name="token")})

        assert "'Authorization'" in text
        assert "hush" not in text

    def test_all_at_once(self) -> None:
        """Every problem is reported, not only the first."""
        text = refused(method="get", body=7, headers={"A": None})

        assert "3 problems" in text

    def test_url(self) -> None:
        """A request refuses the URLs that `parse_url` refuses."""
        assert "scheme" in refused(url="file:///etc/passwd")
