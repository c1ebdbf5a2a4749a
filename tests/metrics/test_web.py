"""The source that reads any JSON."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics import Web
from pyflow.secrets import Secret
from pyflow.testing import check_metric_source
from support.fake_http import FakeHTTP, Script, reply, serving
from support.sources import (
    HOUR,
    MINUTE,
    NOON,
    NOON_S,
    Standing,
    ask_scripted,
    document,
    seconds_before_noon,
    values,
    why,
)

PAST: dict[str, Any] = {"points": "data.points", "at": "t", "value": "v.0"}


def make(fake: FakeHTTP, **options: Any) -> Web:
    return Web(fake.url("/m?q=$query"), **dict[str, Any](value="p99", clock=Standing()) | options)


def past(fake: FakeHTTP) -> Web:
    return make(fake, **PAST)


def points(*pairs: Any) -> Any:
    return document({"data": {"points": [{"t": when, "v": [value]} for when, value in pairs]}})


class TestPast:
    def test_answers(self) -> None:
        """Points have instants in seconds or in ISO 8601; null is no data."""
        iso = "2026-01-02T13:00:00+01:00"

        samples, _ = ask_scripted(past, points((NOON_S - 60, 1), (NOON_S - 30, None), (iso, "2.5")))

        assert values(samples) == [1, 2.5]
        assert seconds_before_noon(samples) == [60, 0]

    def test_asks(self) -> None:
        """The query and the window have their places in the URL, and headers are sent."""

        def with_window(fake: FakeHTTP) -> Web:
            url = fake.url("/m?q=$query&from=$start&to=$end")
            headers = {"X-Token": Secret("s3cr3t-token")}
            return Web(url, headers=headers, clock=Standing(), **PAST)

        _, (request,) = ask_scripted(with_window, points(), query="a b&c", window=MINUTE)

        path = f"/m?q=a%20b%26c&from={NOON_S - 60:.0f}&to={NOON_S:.0f}"
        assert request.startswith(f"GET {path} HTTP/1.1\r\n".encode())
        assert b"X-Token: s3cr3t-token" in request

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            (document({}), "no 'data' in {}"),
            (document({"data": {"points": 7}}), "makes no sense"),
            (document({"data": {"points": [{"v": [1]}]}}), "no 't'"),
            (points(("noon", 1)), "makes no sense"),
            (points(("2026-01-02T13:00:00", 1)), "with zone"),
            (points((True, 1)), "no instant"),
            (points((NOON_S, True)), "no number"),
            (reply("gone", status="404 Not Found"), "404 gone"),
            (reply('{"a": NaN}'), "not JSON"),
            (reply("<html>"), "not JSON"),
        ],
    )
    def test_errors(self, script: Script, words: str) -> None:
        """What is no answer is an error that says why."""
        assert words in why(past, script)

    def test_contract(self) -> None:
        """It keeps the contract of a source."""

        async def run() -> None:
            rows = [(NOON_S - 60 * n, n) for n in range(90, -1, -1)]
            async with serving(points(*rows)) as fake:
                await check_metric_source(lambda: past(fake), known="up")

        asyncio.run(run())


class TestPresent:
    def test_answers(self) -> None:
        """A figure of the present is a sample of this instant."""
        samples, _ = ask_scripted(make, document({"p99": 0.25}))

        assert (values(samples), seconds_before_noon(samples)) == ([0.25], [0])

    @pytest.mark.parametrize("body", [{}, {"p99": None}, []])
    def test_no_value(self, body: Any) -> None:
        """A value that is missing or null is no data, and a note says so."""
        samples, _ = ask_scripted(make, document(body))

        assert (values(samples), samples.notes) == ([], ("the answer has no value",))

    def test_no_number(self) -> None:
        """A value that is no number is an error."""
        assert "no number" in why(make, document({"p99": [1]}))

    def test_remembers(self) -> None:
        """A window holds the readings that were made in it, and a past one asks nobody."""
        clock = Standing()

        async def run() -> Any:
            async with serving(document({"p99": 1}), document({"p99": 2})) as fake:
                source = make(fake, clock=clock)
                await source.query("up", window=HOUR)
                clock.at += MINUTE
                both = await source.query("up", window=HOUR)
                past = await source.query("up", window=HOUR, at=NOON)
                return both, past, fake.requests

        both, past, requests = asyncio.run(run())

        assert (values(both), values(past), len(requests)) == ([1, 2], [1], 2)

    def test_contract(self) -> None:
        """It keeps the contract of a source."""
        clock = Standing()

        async def run() -> None:
            async with serving(document({"p99": 1})) as fake:
                source = make(fake, clock=clock)
                for _ in range(5):
                    await source.query("up", window=HOUR)
                    clock.at += MINUTE
                await check_metric_source(lambda: source, known="up", window="10m")

        asyncio.run(run())

    def test_unreachable(self) -> None:
        """A server that gives no answer is an error."""
        with pytest.raises(MetricError, match="while at"):
            ask_scripted(make, [])


class TestMake:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"url": None}, "not text"),
            ({"url": "http://h/?q=$querry"}, "no other"),
            ({"url": "http://h/?q=$"}, "no other"),
            ({"url": "ftp://h/"}, "neither http nor https"),
            ({"value": ""}, "value"),
            ({"points": "data"}, "go together"),
            ({"at": "t"}, "go together"),
            ({"timeout": 0}, "timeout"),
            ({"headers": {"A": "\n"}}, "'A'"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the source is made."""
        with pytest.raises(DefinitionError, match=words):
            Web(**dict[str, Any](url="http://h/", value="v") | options)

    def test_repr(self) -> None:
        """The repr says where it is, without its query."""
        assert (
            repr(Web("http://h/m?k=hush&q=$query", value="v")) == "Web('http://h/m?***', value='v')"
        )
