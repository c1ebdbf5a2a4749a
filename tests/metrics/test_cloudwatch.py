"""CloudWatch in front of a client that says what boto3's says; tests/integration asks moto."""

from __future__ import annotations

import asyncio
import sys
import types
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import pytest

from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics import CloudWatch
from pyflow.testing import check_metric_source
from support.sources import MINUTE, NOON, Standing, ask, seconds_before_noon, values

QUERY = 'AWS/ApplicationELB RequestCount Sum LoadBalancer=app/shop/50 "Target Group=tg 1"'


class Client:
    """Says what it was given, page by page, and keeps what it was asked."""

    def __init__(self, *pages: dict[str, Any], alarms: Any = None) -> None:
        self.pages = pages
        self.alarms = alarms or {}
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, **options: Any) -> dict[str, Any]:
        self.asked.append(options)
        page = self.pages[min(len(self.asked), len(self.pages)) - 1]
        if isinstance(page, Exception):
            raise page
        return page

    def describe_alarms(self, **options: Any) -> dict[str, Any]:
        if isinstance(self.alarms, Exception):
            raise self.alarms
        return self.alarms


def page(*points: tuple[datetime, float], code: str = "Complete", **besides: Any) -> dict[str, Any]:
    """Return a page with these points, each at the beginning of its period."""
    result = {
        "Id": "m",
        "Timestamps": [when for when, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": code,
    }
    return {"MetricDataResults": [result], "Messages": [], **besides}


def make(*pages: Any, **options: Any) -> CloudWatch:
    return CloudWatch(client=Client(*pages), clock=Standing(), **options)


class TestQuery:
    def test_answers(self) -> None:
        """A sample stands at the end of its period, and a period that is not over has none."""
        source = make(page((NOON - 2 * MINUTE, 5.0), (NOON - MINUTE, 7.0), (NOON, 9.0)))

        samples = ask(source, QUERY)

        assert values(samples) == [5, 7]
        assert seconds_before_noon(samples) == [60, 0]

    def test_asks(self) -> None:
        """It asks for the metric, its dimensions and its statistic, oldest first."""
        source = make(page())

        ask(source, QUERY, window=5 * MINUTE)

        (asked,) = source.client.asked
        assert asked["MetricDataQueries"][0]["MetricStat"] == {
            "Metric": {
                "Namespace": "AWS/ApplicationELB",
                "MetricName": "RequestCount",
                "Dimensions": [
                    {"Name": "LoadBalancer", "Value": "app/shop/50"},
                    {"Name": "Target Group", "Value": "tg 1"},
                ],
            },
            "Stat": "Sum",
            "Period": 60,
        }
        assert asked["StartTime"] == NOON - 6 * MINUTE
        assert asked["EndTime"] == NOON + timedelta(seconds=1)
        assert asked["ScanBy"] == "TimestampAscending"

    def test_pages(self) -> None:
        """All pages are fetched; a page in the middle is partial by nature."""
        source = make(
            page((NOON - 2 * MINUTE, 1.0), code="PartialData", NextToken="more"),
            page((NOON - MINUTE, 2.0)),
        )

        samples = ask(source, QUERY)

        assert (values(samples), samples.notes) == ([1, 2], ())
        assert source.client.asked[1]["NextToken"] == "more"

    def test_endless(self) -> None:
        """An answer without end is an error."""
        with pytest.raises(MetricError, match="more than 100 pages"):
            ask(make(page(NextToken="more")), QUERY)

    def test_no_data(self) -> None:
        """No values are no data."""
        assert len(ask(make(page()), QUERY)) == 0

    def test_notes(self) -> None:
        """Messages, and that more could be had, are kept."""
        source = make(page(code="PartialData", Messages=[{"Code": "Slow", "Value": "be patient"}]))

        assert ask(source, QUERY).notes == ("Slow: be patient", "PartialData: more could be had")

    @pytest.mark.parametrize("code", ["InternalError", "Forbidden"])
    def test_status(self, code: str) -> None:
        """A status that is no success is an error."""
        with pytest.raises(MetricError, match=code):
            ask(make(page(code=code)), QUERY)

    def test_raises(self) -> None:
        """Whatever boto3 raises is an error."""
        with pytest.raises(MetricError, match="RuntimeError: no credentials"):
            ask(make(RuntimeError("no credentials")), QUERY)

    def test_slow(self) -> None:
        """An answer that does not come in time is an error."""
        done = Event()
        source = CloudWatch(client=Client(page()), timeout=0.05)
        source.client.get_metric_data = lambda **_: done.wait(30)

        async def run() -> None:
            try:
                await source.query(QUERY, window=MINUTE)
            finally:
                done.set()

        with pytest.raises(MetricError, match=r"within 0\.05 s"):
            asyncio.run(run())

    @pytest.mark.parametrize("query", ["AWS/EC2 CPU", "AWS/EC2 CPU Sum x", 'a b c "d', "a b c =x"])
    def test_no_query(self, query: str) -> None:
        """A query in another form is refused, with an example."""
        with pytest.raises(DefinitionError, match="as in 'AWS/ApplicationELB"):
            ask(make(page()), query)

    def test_contract(self) -> None:
        """It keeps the contract of a source."""
        points = [(NOON - n * MINUTE, float(n)) for n in range(90, -1, -1)]

        asyncio.run(check_metric_source(lambda: make(page(*points)), known=QUERY))


class TestClient:
    def test_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a client, boto3 makes one for the region when it is needed, once."""
        made: list[Any] = []

        def client(service: str, **options: Any) -> Client:
            made.append((service, options))
            return Client(page())

        monkeypatch.setitem(sys.modules, "boto3", types.SimpleNamespace(client=client))
        source = CloudWatch(region="eu-west-1", clock=Standing())
        assert made == []

        ask(source, QUERY)
        ask(source, QUERY)

        assert made == [("cloudwatch", {"region_name": "eu-west-1"})]

    def test_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without boto3, the error says what to install."""
        monkeypatch.setitem(sys.modules, "boto3", None)

        with pytest.raises(MetricError, match=r"pyflow-deploy\[aws\]"):
            ask(CloudWatch(), QUERY)


class TestAlarm:
    @pytest.mark.parametrize(
        ("alarms", "health", "words"),
        [
            ({"MetricAlarms": [{"StateValue": "OK", "StateReason": "fine"}]}, "healthy", "fine"),
            ({"CompositeAlarms": [{"StateValue": "ALARM"}]}, "unhealthy", "ALARM"),
            ({"MetricAlarms": [{"StateValue": "INSUFFICIENT_DATA"}]}, "unknown", "INSUFFICIENT"),
            ({}, "unknown", "no such alarm"),
            (RuntimeError("denied"), "unknown", "denied"),
        ],
    )
    def test_read(self, alarms: Any, health: str, words: str) -> None:
        """Only an alarm that is known to be off is healthy."""
        source = CloudWatch(client=Client(alarms=alarms))

        reading = asyncio.run(source.alarm("latency").read())

        assert reading.health == health
        assert words in str(reading.evidence)

    def test_name(self) -> None:
        """An alarm has a name."""
        with pytest.raises(DefinitionError, match="name of an alarm"):
            CloudWatch().alarm("")
        assert "latency" in repr(CloudWatch().alarm("latency"))


class TestMake:
    @pytest.mark.parametrize("period", [1, 5, "10s", "30s", "1m", "5m"])
    def test_periods(self, period: Any) -> None:
        """CloudWatch has these periods."""
        assert "region=None" in repr(CloudWatch(period=period))

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"period": 2}, "whole minutes"),
            ({"period": 90}, "whole minutes"),
            ({"period": "x"}, "period"),
            ({"timeout": 0}, "timeout"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the source is made."""
        with pytest.raises(DefinitionError, match=words):
            CloudWatch(**options)
