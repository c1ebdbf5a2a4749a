"""What a request brings back: the body as text and as JSON."""

from __future__ import annotations

import asyncio

import pytest

from pyflow.errors import HTTPError
from pyflow.net.headers import Headers
from pyflow.net.http import request
from pyflow.net.response import Response
from support.fake_http import Script, reply, serving


def ask(script: Script) -> Response:
    async def run() -> Response:
        async with serving(script) as fake:
            return await request("GET", fake.url())

    return asyncio.run(run())


def answer(**headers: str) -> Response:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Response(200, "OK", Headers(pairs), b"caf\xe9", "http://h/")


class TestResponse:
    def test_charset(self) -> None:
        """The charset that the answer names is used."""
        assert answer(Content_Type='text/plain; charset="ISO-8859-1"').text == "caf\u00e9"

    @pytest.mark.parametrize("charset", ["utf-8", "klingon", "hex", "idna", "undefined"])
    def test_bad_charset(self, charset: str) -> None:
        """A charset that does not fit, or is none, gives escapes instead of an error."""
        assert answer(Content_Type=f"text/html; charset={charset}").text == "caf\\xe9"

    def test_json(self) -> None:
        """A JSON body is decoded."""
        assert ask(reply('{"a": [1, 2.5, null]}')).json() == {"a": [1, 2.5, None]}

    @pytest.mark.parametrize(
        "body",
        ["", "<html>login</html>", "{", "NaN", "[Infinity]", "1e999", b"\xff", "[" * 100_000],
    )
    def test_bad_json(self, body: str | bytes) -> None:
        """What is not JSON is an error of the body; NaN and infinities are not JSON."""
        with pytest.raises(HTTPError, match="not JSON") as caught:
            ask(reply(body)).json()

        assert caught.value.phase == "body"

    def test_repr(self) -> None:
        """The repr is short, and shows neither query, headers nor body."""
        response = Response(200, "OK", Headers([("A", "hush")]), b"hush", "http://h/x?hush")

        assert repr(response) == "Response(200, 'http://h/x?***', 4 bytes)"
