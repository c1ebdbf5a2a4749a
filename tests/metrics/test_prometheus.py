"""Prometheus against a server that says what the real one was seen to say, and worse."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics import Prometheus
from pyflow.protocols import Reading
from pyflow.secrets import Secret
from pyflow.testing import check_metric_source
from support.fake_http import NEVER, RESET, FakeHTTP, Script, closed_port, reply, serving
from support.sources import (
    MINUTE,
    NOON,
    NOON_S,
    Standing,
    ask,
    ask_scripted,
    document,
    seconds_before_noon,
    values,
    why,
)


def matrix(*series: Any, **besides: Any) -> Any:
    """Return an answer to a range query."""
    result = [{"metric": {"job": "x", "n": str(n)}, "values": v} for n, v in enumerate(series)]
    data = {"resultType": "matrix", "result": result}
    return document({"status": "success", "data": data, **besides})


def make(fake: FakeHTTP, **options: Any) -> Prometheus:
    return Prometheus(fake.url("/prom/"), clock=Standing(), **options)


def asked(request: bytes) -> dict[str, str]:
    """Return the form of a request."""
    return {k: v[0] for k, v in parse_qs(request.split(b"\r\n\r\n")[1].decode()).items()}


class TestQuery:
    def test_answers(self) -> None:
        """Samples come with their instants, and values are read from text."""
        script = matrix([[NOON_S - 60, "0.05"], [NOON_S - 0.25, "1e3"], [NOON_S, "2"]])

        samples, _ = ask_scripted(make, script)

        assert values(samples) == [0.05, 1000, 2]
        assert seconds_before_noon(samples) == [60, 0.25, 0]
        assert samples.notes == ()

    def test_asks(self) -> None:
        """It asks by POST for the multiples of the step, with the end of the window and without its beginning."""
        at = NOON + timedelta(seconds=7)

        _, (request,) = ask_scripted(
            lambda fake: make(fake, headers={"Authorization": Secret("Bearer s3cr3t-token")}),
            matrix(),
            query='sum(up{a="b"})',
            window=MINUTE + timedelta(seconds=7),
            at=at,
        )

        assert request.startswith(b"POST /prom/api/v1/query_range HTTP/1.1\r\n")
        assert b"Authorization: Bearer s3cr3t-token" in request
        assert asked(request) == {
            "query": 'sum(up{a="b"})',
            "start": f"{NOON_S - 45:.3f}",
            "end": f"{NOON_S:.3f}",
            "step": "15.000",
            "timeout": "10s",
        }

    def test_no_series(self) -> None:
        """No series is no data, and no error."""
        samples, _ = ask_scripted(make, matrix())

        assert (len(samples), samples.notes) == (0, ())

    @pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
    def test_strange_values(self, value: str) -> None:
        """NaN and infinities are no samples, and the answer says that they were left out."""
        samples, _ = ask_scripted(make, matrix([[NOON_S - 15, value], [NOON_S, "1"]]))

        assert values(samples) == [1]
        assert samples.notes == ("1 value was NaN or infinite, and left out",)

    def test_warnings(self) -> None:
        """Warnings and hints of the server are kept."""
        script = matrix([[NOON_S, "1"]], warnings=["store is down"], infos=["no counter\x1b"])

        samples, _ = ask_scripted(make, script)

        assert samples.notes == ("store is down", "no counter\\x1b")

    def test_several_series(self) -> None:
        """Several series have no one answer; the error names them and says what to do."""
        reason = why(make, matrix([[NOON_S, "1"]], [[NOON_S, "2"]]))

        assert reason == (
            'it answered with 2 series ({job="x", n="0"}, {job="x", n="1"}); '
            "have it come to one, as sum(…) does"
        )

    def test_histograms(self) -> None:
        """Native histograms are refused by name."""
        data = {"resultType": "matrix", "result": [{"metric": {}, "histograms": []}]}

        assert "histogram_quantile" in why(make, document({"status": "success", "data": data}))

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            (
                document(
                    {"status": "error", "errorType": "bad_data", "error": "1:5: parse error"},
                    status="400 Bad Request",
                ),
                "bad_data: 1:5: parse error",
            ),
            (
                document(
                    {"status": "error", "errorType": "execution", "error": "many-to-many"},
                    status="422 Unprocessable Entity",
                ),
                "execution: many-to-many",
            ),
            (
                document(
                    {"status": "error", "errorType": "timeout", "error": "query timed out"},
                    status="503 Service Unavailable",
                ),
                "timeout: query timed out",
            ),
            (reply("404 page not found", status="404 Not Found"), "404 404 page not found"),
            (reply("<html>Log in"), "200 <html>Log in"),
            (document({"status": "success"}), "makes no sense"),
            (document({"status": "success", "data": {"resultType": "matrix"}}), "makes no sense"),
            (
                document({"status": "success", "data": {"resultType": "vector", "result": []}}),
                "expected a matrix",
            ),
            (matrix([[NOON_S, None]]), "no number"),
            (matrix([[NOON_S, "one"]]), "makes no sense"),
            (matrix([["noon", "1"]]), "makes no sense"),
            (matrix([[1e300, "1"]]), "no instant"),
            (document([]), "200 []"),
            ([RESET], "reset"),
            ([], "closed"),
        ],
    )
    def test_errors(self, script: Script, words: str) -> None:
        """Whatever is no answer is an error that says why."""
        assert words in why(make, script)

    def test_slow(self) -> None:
        """An answer that does not come in time is an error."""
        assert "timed out" in why(lambda fake: make(fake, timeout=0.1), [NEVER])

    def test_stopped(self) -> None:
        """A server that is gone is an error, never an empty answer."""
        with pytest.raises(MetricError, match="while at: connect"):
            ask(Prometheus(f"http://127.0.0.1:{closed_port()}"))

    @pytest.mark.parametrize(
        ("options", "window", "words"),
        [
            ({}, timedelta(seconds=5), "narrower than step='15s'"),
            ({"step": "1s"}, timedelta(seconds=11_001), "11000 are the most"),
        ],
    )
    def test_steps(self, options: dict[str, Any], window: timedelta, words: str) -> None:
        """A window with no step, or with too many, is refused before anything is asked."""
        source = Prometheus("http://h", clock=Standing(NOON + timedelta(seconds=7)), **options)

        with pytest.raises(MetricError, match=words):
            ask(source, window=window)

    def test_most_steps(self) -> None:
        """As many steps as the server gives are asked for."""
        window = timedelta(seconds=11_000)

        _, (request,) = ask_scripted(lambda f: make(f, step="1s"), matrix(), window=window)

        form = asked(request)
        assert float(form["end"]) - float(form["start"]) == 10_999

    @pytest.mark.parametrize(
        ("question", "words"),
        [
            ({"query": " "}, "text"),
            ({"query": None}, "text"),
            ({"window": timedelta(0)}, "above zero"),
            ({"window": "5m"}, "timedelta"),
            ({"at": NOON.replace(tzinfo=None)}, "aware"),
        ],
    )
    def test_no_question(self, question: dict[str, Any], words: str) -> None:
        """What is no question is refused before anything is asked."""
        with pytest.raises(DefinitionError, match=words):
            ask(Prometheus("http://h"), **question)

    def test_contract(self) -> None:
        """It keeps the contract of a source."""

        async def run() -> None:
            rows = [[NOON_S - 15 * n, str(n)] for n in range(240, -1, -1)]
            async with serving(matrix(rows)) as fake:
                await check_metric_source(lambda: make(fake), known="up")
            async with serving(matrix()) as fake:
                with pytest.raises(AssertionError, match="had no samples"):
                    await check_metric_source(lambda: make(fake), known="up")

        asyncio.run(run())


class TestMake:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"url": "ftp://h"}, "neither http nor https"),
            ({"url": "http://ann:pw@h"}, "password"),
            ({"step": 0}, "step"),
            ({"step": 1e-6}, "millisecond"),
            ({"timeout": -1}, "timeout"),
            ({"headers": {"A": "b\r\n"}}, "'A'"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the source is made."""
        with pytest.raises(DefinitionError, match=words):
            Prometheus(**dict[str, Any](url="http://h") | options)

    def test_repr(self) -> None:
        """The repr says where it is, and shows no header."""
        source = Prometheus("http://h/p?x=hush", headers={"A": "hush"})

        assert repr(source) == "Prometheus('http://h/p?***', step='15s')"


RULES = {
    "groups": [
        {
            "rules": [
                {
                    "type": "alerting",
                    "name": "Slow",
                    "state": "firing",
                    "health": "ok",
                    "alerts": [
                        {"labels": {"version": "2.0"}, "state": "firing"},
                        {"labels": {"version": "1.0"}, "state": "pending"},
                    ],
                },
                {"type": "alerting", "name": "Full", "state": "pending", "alerts": []},
                {
                    "type": "alerting",
                    "name": "Broken",
                    "state": "inactive",
                    "health": "err",
                    "lastError": "many-to-many",
                },
                {"type": "recording", "name": "Slow"},
            ]
        }
    ]
}


class TestAlert:
    def read(self, name: str, script: Script | None = None, **options: Any) -> Reading:
        async def run() -> Reading:
            async with serving(script or document({"status": "success", "data": RULES})) as fake:
                return await make(fake).alert(name, **options).read()

        return asyncio.run(run())

    def test_fires(self) -> None:
        """An alert that fires is unhealthy, and says with which labels."""
        reading = self.read("Slow")

        assert reading.health == "unhealthy"
        assert reading.evidence["firing"] == [{"version": "2.0"}]

    def test_labels(self) -> None:
        """Only what fires with the labels asked for counts, and pending is not firing."""
        assert self.read("Slow", labels={"version": "2.0"}).health == "unhealthy"
        assert self.read("Slow", labels={"version": "1.0"}).health == "healthy"

    def test_pending(self) -> None:
        """An alert that is pending does not fire."""
        assert self.read("Full").health == "healthy"

    @pytest.mark.parametrize(
        ("name", "script", "words"),
        [
            ("Misspelt", None, "no such alert"),
            ("Broken", None, "many-to-many"),
            ("Slow", reply("gone", status="502 Bad Gateway"), "502 gone"),
            ("Slow", document({"status": "success", "data": {}}), "makes no sense"),
        ],
    )
    def test_unknown(self, name: str, script: Script | None, words: str) -> None:
        """What is not known to be quiet is unknown."""
        reading = self.read(name, script)

        assert reading.health == "unknown"
        assert words in str(reading.evidence)

    @pytest.mark.parametrize("name", ["", None])
    def test_no_name(self, name: Any) -> None:
        """An alert has a name."""
        with pytest.raises(DefinitionError, match="text"):
            Prometheus("http://h").alert(name)

    def test_repr(self) -> None:
        """Its repr says what is asked of whom."""
        alert = Prometheus("http://h").alert("Slow", labels={"version": "2.0"})

        assert repr(alert) == "<alert Slow version=2.0 of Prometheus('http://h/', step='15s')>"
