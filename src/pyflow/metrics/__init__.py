"""Sources of metrics: what the service does under load, asked in one way.

Each source is a value; its `query` answers with the samples of a window.
No data is an empty answer and never zero; NaN and infinities are no samples;
whatever else goes wrong is a `MetricError`. `MetricProbe` makes a probe of a
source and a threshold. Wrong arguments are refused when a source is made.
"""

from pyflow.metrics.callable import Callable
from pyflow.metrics.cloudwatch import CloudWatch
from pyflow.metrics.csv import CSV
from pyflow.metrics.datadog import Datadog
from pyflow.metrics.haproxy import HAProxyStats
from pyflow.metrics.probe import MetricProbe
from pyflow.metrics.prometheus import Prometheus
from pyflow.metrics.web import Web

__all__ = [
    "CSV",
    "Callable",
    "CloudWatch",
    "Datadog",
    "HAProxyStats",
    "MetricProbe",
    "Prometheus",
    "Web",
]
