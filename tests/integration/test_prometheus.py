"""An analysis by a real Prometheus that scrapes two versions of a real service under load."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.analysis import Alarm, Compare, CompareValues, Threshold, replay, retry
from pyflow.errors import MetricError
from pyflow.metrics import MetricProbe, Prometheus
from pyflow.testing import check_metric_source
from support.measured import failure, verdicts, workflow_of
from support.servers import LOOKS, load, prometheus, service, stop

pytestmark = pytest.mark.integration

ERRORS = 'sum(http_errors_total{version="$version"})'
REQUESTS = 'sum(http_requests_total{version="$version"})'
LATENCY = (
    'sum(rate(http_seconds_total{version="$version"}[2s]))'
    ' / sum(rate(http_requests_total{version="$version"}[2s]))'
)
RULES = """
groups:
  - name: shop
    rules:
      - {alert: Failing, expr: 'sum by (version) (http_errors_total) > 50'}
      - {alert: Quiet, expr: 'sum(http_requests_total) < 0'}
      - {alert: Broken, expr: 'vector(1) * on() (vector(1) or label_replace(vector(2), "a", "b", "", ""))'}
"""


class Bench:
    """Two versions of the service under load, and the Prometheus that watches them."""

    def __init__(self, url: str, process: Any) -> None:
        self.source = Prometheus(url, step="250ms", timeout="3s")
        self.process = process

    def run(self, *checks: Any) -> pyflow.Result:
        """Analyse for real, in real time."""
        return pyflow.Engine().execute(workflow_of(checks))

    def counts(self, **options: Any) -> Compare:
        """Return the comparison of error rates."""
        given: dict[str, Any] = {
            "max_increase": 0.05,
            "interval": "1s",
            "count": 12,
            "window": "30s",
            "name": "errors",
            "error": retry(2, every="200ms", then="abort"),
        }
        return Compare(self.source, ERRORS, REQUESTS, **given | options)


@contextlib.contextmanager
def bench(root: Path, **canary: float) -> Generator[Bench]:
    """Run everything, from when all of it has been scraped."""
    with (
        service("1.0", fails=0.01) as old,
        service("2.0", **{"fails": 0.01} | canary) as new,
        load(old, new),
        prometheus(root, old, new, rules=RULES) as (url, process),
    ):
        made = Bench(url, process)
        scraped = MetricProbe(made.source, "count(http_errors_total)", above=1, window="2s")
        slow = [
            MetricProbe(made.source, LATENCY.replace("$version", version), above=0, window="2s")
            for version in ("1.0", "2.0")
        ]
        for probe in (scraped, *slow):
            asyncio.run(pyflow.poll(probe, backoff=LOOKS, timeout="30s"))
        yield made


class TestVerdicts:
    def test_regression(self, tmp_path: Path) -> None:
        """A version that fails 20 % of its requests is found, beside one that fails 1 %."""
        with bench(tmp_path, fails=0.2) as made:
            result = made.run(made.counts())

        assert result.status == "rolled_back"
        assert failure(result).startswith("AnalysisFailed: errors: fail: the canary is")
        assert all(one.is_same for one in replay(result.audit_trail))

    def test_no_regression(self, tmp_path: Path) -> None:
        """A version that fails no more than the other passes, in errors and in latency."""
        with bench(tmp_path) as made:
            latency = CompareValues(
                made.source, LATENCY, max_increase=0.5, interval="1s", count=12, window="30s",
                name="latency",
            )  # fmt: skip
            result = made.run(made.counts(), latency)

        assert result.status == "succeeded", failure(result)
        assert {verdicts(result, "errors")[-1], verdicts(result, "latency")[-1]} == {"pass"}
        assert all(one.is_same for one in replay(result.audit_trail))

    def test_slower(self, tmp_path: Path) -> None:
        """A version that takes twice as long is found by its latencies."""
        with bench(tmp_path, latency_s=0.2) as made:
            latency = CompareValues(
                made.source, LATENCY, max_increase=0.2, interval="1s", count=30, window="30s",
                name="latency",
            )  # fmt: skip
            result = made.run(latency)

        assert failure(result).startswith("AnalysisFailed: latency: fail")

    def test_stopped_half_way(self, tmp_path: Path) -> None:
        """A Prometheus that ends half-way leaves an error, and no verdict on the service."""

        async def analyse(made: Bench) -> pyflow.Result:
            run = pyflow.Engine().start(workflow_of([made.counts(count=60)]))
            async for record in run.events():
                if record.kind == "measurement_taken" and record.data["number"] == 3:
                    await asyncio.to_thread(stop, made.process)
            return await run

        with bench(tmp_path) as made:
            result = asyncio.run(analyse(made))

        assert failure(result).startswith("AnalysisFailed: errors: error: Prometheus(")
        assert verdicts(result)[-3:] == ["error"] * 3
        assert "fail" not in verdicts(result)

    def test_series_missing(self, tmp_path: Path) -> None:
        """A series that is not there is no data, whatever the check; a person is asked."""
        with bench(tmp_path) as made:
            absent = 'sum(http_requests_total{version="3.0"})'
            threshold = Threshold(made.source, absent, above=0, window="5s", name="absent")
            compared = Compare(
                made.source, ERRORS.replace("errors", "mistakes"), REQUESTS, max_increase=0.1,
                interval="1s", count=2, name="mistyped",
            )  # fmt: skip
            results = [made.run(threshold), made.run(compared)]

        assert [one.status for one in results] == ["held", "held"]
        assert [verdicts(one) for one in results] == [["no_data"], ["no_data"]]
        assert "of the errors of the canary" in failure(results[1])


class TestSource:
    def test_contract(self, tmp_path: Path) -> None:
        """It keeps the contract of a source, in front of the real server."""
        with bench(tmp_path) as made:
            asyncio.run(
                check_metric_source(
                    lambda: made.source,
                    known="vector(1)",
                    unknown='http_requests_total{version="3.0"}',
                    window="4s",
                )
            )

    def test_answers(self, tmp_path: Path) -> None:
        """What the real server says to odd queries is what the source was made for."""
        with bench(tmp_path) as made:

            def ask(query: str) -> Any:
                return asyncio.run(made.source.query(query, window=timedelta(seconds=2)))

            assert ask("vector(0) / 0").notes == ("8 values were NaN or infinite, and left out",)
            assert len(ask("vector(1) / 0")) == 0
            assert {sample.value for sample in ask("vector(1)")} == {1.0}
            for query, words in {
                "sum(": "bad_data: .*parse error",
                "http_requests_total * on(job) http_requests_total": "execution: ",
                "http_requests_total": "2 series",
            }.items():
                with pytest.raises(MetricError, match=words):
                    ask(query)

    def test_alerts(self, tmp_path: Path) -> None:
        """An alert that fires fails, one that is quiet passes, and any other is neither."""
        with bench(tmp_path, fails=0.3) as made:
            firing = made.source.alert("Failing", labels={"version": "2.0"})
            asyncio.run(pyflow.poll(firing, until="unhealthy", backoff=LOOKS, timeout="30s"))
            found = {
                name: verdicts(made.run(Alarm(made.source.alert(name), error="abort")))
                for name in ("Failing", "Quiet", "Broken", "Misspelt")
            }

        assert found == {
            "Failing": ["fail"],
            "Quiet": ["pass"],
            "Broken": ["error"],
            "Misspelt": ["no_data"],
        }
