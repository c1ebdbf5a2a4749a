"""Error rates of two versions from the counters of a real HAProxy, with no metrics server at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.analysis import Compare, replay
from pyflow.errors import MetricError
from pyflow.metrics import HAProxyStats, MetricProbe
from pyflow.testing import check_metric_source
from support.measured import failure, verdicts, workflow_of
from support.servers import LOOKS, haproxy, load, service

pytestmark = pytest.mark.integration


@contextlib.contextmanager
def proxied(root: Path, **canary: float) -> Generator[HAProxyStats]:
    """Run two versions behind an HAProxy, under load, from when both have answered."""
    with (
        service("1.0", fails=0.01) as old,
        service("2.0", **{"fails": 0.01} | canary) as new,
        haproxy(root, **{"shop-1.0": old, "shop-2.0": new}) as door,
        load(door, door),
    ):
        source = HAProxyStats(str(root / "stats.sock"), backend="shop")
        both = MetricProbe(source, "requests shop-2.0", above=0)
        asyncio.run(pyflow.poll(both, backoff=LOOKS, timeout="20s"))
        yield source


def analysed(source: HAProxyStats, **options: Any) -> pyflow.Result:
    """Compare the error rates of the two servers, in real time."""
    given: dict[str, Any] = {
        "max_increase": 0.05,
        "interval": "500ms",
        "count": 10,
        "name": "errors",
    }
    check = Compare(source, "errors shop-$version", "requests shop-$version", **given | options)
    return pyflow.Engine().execute(workflow_of([check]))


class TestVerdicts:
    def test_regression(self, tmp_path: Path) -> None:
        """A version that fails 20 % of its requests is found on HAProxy's own counters."""
        with proxied(tmp_path, fails=0.2) as source:
            result = analysed(source)

        assert failure(result).startswith("AnalysisFailed: errors: fail: the canary is")
        assert all(one.is_same for one in replay(result.audit_trail))

    def test_no_regression(self, tmp_path: Path) -> None:
        """A version that fails no more than the other passes."""
        with proxied(tmp_path) as source:
            result = analysed(source)

        assert result.status == "succeeded", failure(result)

    def test_no_server(self, tmp_path: Path) -> None:
        """A server that is not there is no data."""
        with proxied(tmp_path) as source:
            check = Compare(
                source, "errors shop-$version", "requests shop-$version", max_increase=0.1,
                interval="1s", count=2,
            )  # fmt: skip
            result = pyflow.Engine().execute(workflow_of([check], canary="3.0"))

        assert (result.status, verdicts(result)) == ("held", ["no_data"])


class TestSource:
    def test_socket_and_page(self, tmp_path: Path) -> None:
        """The socket and the stats page tell the same, and keep the contract of a source."""
        window = timedelta(minutes=1)
        with service("1.0") as old, haproxy(tmp_path, one=old) as door:
            with load(door):
                alive = HAProxyStats(str(tmp_path / "stats.sock"), backend="shop")
                busy = MetricProbe(alive, "requests one", above=9)
                asyncio.run(pyflow.poll(busy, backoff=LOOKS, timeout="20s"))
            by_socket = HAProxyStats(str(tmp_path / "stats.sock"), backend="shop")
            by_page = HAProxyStats(f"http://127.0.0.1:{door}/stats", backend="shop")
            answers = [
                asyncio.run(source.query(figure, window=window))[-1].value
                for source in (by_socket, by_page)
                for figure in ("requests one", "errors one", "scur one")
            ]
            asyncio.run(
                check_metric_source(
                    lambda: by_socket, known="requests one", unknown="requests two", window="10m"
                )
            )
            with pytest.raises(MetricError, match="no backend 'web'; it has: door, shop"):
                asyncio.run(
                    HAProxyStats(by_socket.address, backend="web").query("errors a", window=window)
                )

        assert answers[:3] == answers[3:]
        assert answers[0] > 9

    def test_dead_server(self, tmp_path: Path) -> None:
        """What HAProxy answers in the place of a server that is gone counts as its errors."""
        with service("1.0") as old:
            with service("2.0") as new:
                pass
            with haproxy(tmp_path, one=old, two=new) as door, load(door):
                source = HAProxyStats(str(tmp_path / "stats.sock"), backend="shop")
                failing = MetricProbe(source, "errors two", above=0)
                asyncio.run(pyflow.poll(failing, backoff=LOOKS, timeout="20s"))
