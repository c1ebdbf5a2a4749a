"""Datadog against a server that says what its API says."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics import Datadog
from pyflow.secrets import Secret
from pyflow.testing import check_metric_source
from support.fake_http import FakeHTTP, Script, closed_port, reply, serving
from support.sources import (
    MINUTE,
    NOON_S,
    Standing,
    ask,
    ask_scripted,
    document,
    seconds_before_noon,
    values,
    why,
)

KEY = Secret("k3y-of-the-organisation")


def series(*pointlists: Any, interval: int = 20, **besides: Any) -> Any:
    """Return an answer with these points, each at the beginning of its interval."""
    found = [
        {"scope": f"host:{n}", "interval": interval, "pointlist": points}
        for n, points in enumerate(pointlists)
    ]
    return document({"status": "ok", "res_type": "time_series", "series": found, **besides})


def make(fake: FakeHTTP, **options: Any) -> Datadog:
    return Datadog(KEY, KEY, url=fake.url("/"), clock=Standing(), **options)


def ago_ms(age_s: float) -> float:
    """Return the instant *age_s* before noon, as Datadog writes it."""
    return (NOON_S - age_s) * 1000.0


class TestQuery:
    def test_answers(self) -> None:
        """A sample stands at the end of its interval; one that is not over is left out, null too."""
        points = [[ago_ms(60), 0.5], [ago_ms(40), None], [ago_ms(20), 0], [ago_ms(0), 9.0]]

        samples, _ = ask_scripted(make, series(points))

        assert values(samples) == [0.5, 0]
        assert seconds_before_noon(samples) == [40, 0]

    def test_asks(self) -> None:
        """It sends both keys, the query, and a span that holds every interval that ends in the window."""
        _, (request,) = ask_scripted(
            make, series(), query="avg:latency{version:2.0}", window=MINUTE
        )

        target = request.split()[1].decode()
        assert urlsplit(target).path == "/api/v1/query"
        assert parse_qs(urlsplit(target).query) == {
            "from": [f"{NOON_S - 120:.0f}"],
            "to": [f"{NOON_S + 1:.0f}"],
            "query": ["avg:latency{version:2.0}"],
        }
        assert b"DD-API-KEY: k3y-of" in request
        assert b"DD-APPLICATION-KEY: k3y-of" in request

    def test_no_series(self) -> None:
        """No series is no data, and what the server says besides is kept."""
        samples, _ = ask_scripted(make, series(message="no such metric"))

        assert (len(samples), samples.notes) == (0, ("no such metric",))

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            (series([], []), "2 series (host:0, host:1)"),
            (document({"status": "error", "error": "Rule 3: bad"}), "200: Rule 3: bad"),
            (series([], error="partial failure"), "200: partial failure"),
            (document({"errors": ["Forbidden"]}, status="403 Forbidden"), "403: Forbidden"),
            (
                document(
                    {"errors": ["Too many requests"]},
                    status="429 Too Many Requests",
                    headers=("X-RateLimit-Reset: 17",),
                ),
                "429: Too many requests; the limit is lifted in 17 s",
            ),
            (document({"errors": []}, status="429 Slow"), "lifted in ? s"),
            (reply("Bad Gateway", status="502 Bad Gateway"), "502: Bad Gateway"),
            (reply("<html>"), "200: <html>"),
            (document([1]), "200: [1]"),
            (document({"status": "ok"}), "makes no sense"),
            (document({"status": "ok", "series": [{"pointlist": [[1, 2]]}]}), "makes no sense"),
            (series([[ago_ms(0), "x"]]), "makes no sense"),
        ],
    )
    def test_errors(self, script: Script, words: str) -> None:
        """Whatever is no answer is an error that says why, although it may come with 200."""
        assert words in why(make, script)

    def test_unreachable(self) -> None:
        """A server that is gone is an error, which repeats no key."""
        source = Datadog(KEY, KEY, url=f"http://127.0.0.1:{closed_port()}")

        with pytest.raises(MetricError, match="while at: connect") as caught:
            ask(source)

        assert "k3y" not in str(caught.value)

    def test_contract(self) -> None:
        """It keeps the contract of a source."""

        async def run() -> None:
            points = [[ago_ms(20 * n), float(n)] for n in range(200, -1, -1)]
            async with serving(series(points)) as fake:
                await check_metric_source(lambda: make(fake), known="up")

        asyncio.run(run())


class TestMake:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"site": "data dog"}, "url"),
            ({"url": "ftp://h"}, "neither http nor https"),
            ({"api_key": ""}, "api_key= is empty"),
            ({"application_key": ""}, "application_key= is empty"),
            ({"application_key": 7}, "DD-APPLICATION-KEY"),
            ({"timeout": 0}, "timeout"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the source is made."""
        with pytest.raises(DefinitionError, match=words):
            Datadog(**dict[str, Any](api_key=KEY, application_key=KEY) | options)

    def test_repr(self) -> None:
        """The repr says where it is, and shows no key."""
        assert repr(Datadog("plain-key", KEY, site="datadoghq.eu")) == (
            "Datadog('https://api.datadoghq.eu')"
        )
