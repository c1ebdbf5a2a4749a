"""CloudWatch through the real boto3, in front of moto's server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from pyflow.metrics import CloudWatch
from pyflow.probes import TCP
from pyflow.testing import check_metric_source
from support.servers import free_port, running

pytestmark = pytest.mark.integration

MINUTE = timedelta(minutes=1)
QUERY = "Shop Requests Sum Version=2.0"


@contextlib.contextmanager
def cloudwatch() -> Generator[Any]:
    """Run moto's server, and yield a client of its CloudWatch."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, TCP("127.0.0.1", port)):
        client: Any = boto3.client(
            "cloudwatch",
            region_name="eu-west-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        try:
            yield client
        finally:
            client.close()


def count(client: Any, name: str, value: float, at: datetime) -> None:
    """Record so many of *name* at this instant."""
    client.put_metric_data(
        Namespace="Shop",
        MetricData=[
            {
                "MetricName": name,
                "Dimensions": [{"Name": "Version", "Value": "2.0"}],
                "Timestamp": at,
                "Value": value,
            }
        ],
    )


class TestCloudWatch:
    def test_answers(self) -> None:
        """Sums of whole periods come with the instants at which they end, and keep the contract."""
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        with cloudwatch() as client:
            for minutes in range(10):
                for _ in range(2):
                    count(
                        client, "Requests", minutes, now - minutes * MINUTE + timedelta(seconds=5)
                    )
            source = CloudWatch(client=client)

            samples = asyncio.run(source.query(QUERY, window=5 * MINUTE, at=now))
            asyncio.run(
                check_metric_source(
                    lambda: source, known=QUERY, unknown="Shop Errors Sum", window="10m"
                )
            )

        assert [(now - s.at, s.value) for s in samples] == [
            ((minutes - 1) * MINUTE, 2.0 * minutes) for minutes in range(5, 0, -1)
        ]

    def test_alarms(self) -> None:
        """An alarm reads as what its state says."""
        with cloudwatch() as client:
            client.put_metric_alarm(
                AlarmName="latency",
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                MetricName="Requests",
                Namespace="Shop",
                Period=60,
                Statistic="Sum",
                Threshold=1.0,
            )
            source = CloudWatch(client=client)
            found: dict[str, str] = {}
            for state in ("OK", "ALARM", "INSUFFICIENT_DATA"):
                client.set_alarm_state(AlarmName="latency", StateValue=state, StateReason="test")
                found[state] = asyncio.run(source.alarm("latency").read()).health
            missing = asyncio.run(source.alarm("latencies").read())

        assert found == {"OK": "healthy", "ALARM": "unhealthy", "INSUFFICIENT_DATA": "unknown"}
        assert (missing.health, missing.evidence["reason"]) == ("unknown", "there is no such alarm")
