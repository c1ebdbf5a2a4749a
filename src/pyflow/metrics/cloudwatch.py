"""Ask Amazon CloudWatch, through boto3 (the extra `aws`)."""

from __future__ import annotations

import asyncio
import importlib
import shlex
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflow.clock import SystemClock
from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics._series import check_question, collected
from pyflow.probes._checks import one_line, refuse, span_problems, unknown
from pyflow.protocols import Clock, Reading
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyflow.protocols import Samples

__all__ = ["CloudWatch"]

SECOND = timedelta(seconds=1)
PAGES_MAX = 100
HIGH_RESOLUTION_S = (1, 5, 10, 30)
EXAMPLE = "AWS/ApplicationELB RequestCount Sum LoadBalancer=app/shop/50dc6c495c0c9188"


@dataclass(frozen=True, slots=True, repr=False)
class CloudWatch:
    """Answers with the statistic of one metric, period by period.

    A query is a namespace, a metric, a statistic and dimensions, such as
    ``AWS/ApplicationELB RequestCount Sum LoadBalancer=app/shop/50dc6c495c0c9188``;
    what holds spaces is quoted. Metric math is left to the check that asks,
    which keeps the values that its verdict rests on.

    CloudWatch names each period by its beginning; here a sample speaks for
    the instant at which the period ends, and a period that is not over yet
    has no sample. The calls block, and so are made on a thread.
    """

    _: KW_ONLY

    region: str | None = None
    """The region; what boto3 finds in its environment unless given."""

    period: Span = "1m"
    """How long a period is: 1, 5, 10 or 30 seconds where the metric has that
    resolution, else whole minutes."""

    timeout: Span = "30s"
    """Span for one question, all of its pages included."""

    client: Any = field(default=None, compare=False)
    """A CloudWatch client of boto3; made when it is first used unless given."""

    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)
    """What tells the end of a window that nobody names."""

    _made: list[Any] = field(default_factory=list[Any], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = [*span_problems("period", self.period), *span_problems("timeout", self.timeout)]
        if not problems and not _is_period(seconds(self.period)):
            problems.append(
                f"period={self.period!r} must be 1, 5, 10 or 30 seconds, or whole minutes"
            )
        refuse("CloudWatch", problems)

    def __repr__(self) -> str:
        return f"CloudWatch(region={self.region!r}, period={self.period!r})"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Samples:
        """Return a sample for each period that ends in the *window* that ends at *at* (now).

        Raises:
            DefinitionError: That is no question.
            MetricError: CloudWatch does not answer, or answers with an error.
        """
        check_question(query, window, at)
        stat = {**_parsed(query), "Period": round(seconds(self.period))}
        at = at or self.clock.now()
        period = timedelta(seconds=seconds(self.period))
        options = {
            "MetricDataQueries": [{"Id": "m", "MetricStat": stat}],
            "StartTime": at - window - period,
            "EndTime": at + SECOND,  # which is not included itself
            "ScanBy": "TimestampAscending",
        }
        pages = await self._called(query, partial(self._pages, options))
        points = [
            (when + period, value)
            for page in pages
            for result in page["MetricDataResults"]
            for when, value in zip(result["Timestamps"], result["Values"], strict=True)
        ]
        return collected(points, window=window, at=at, notes=self._notes(query, pages))

    def alarm(self, name: str) -> CloudWatchAlarm:
        """Return a probe of an alarm: unhealthy in state ``ALARM``, for an `Alarm` or any poll.

        An alarm that is not there, or has insufficient data, is `unknown`.
        """
        return CloudWatchAlarm(self, name)

    def _notes(self, query: str, pages: list[dict[str, Any]]) -> list[str]:
        messages = [m for page in pages for m in page.get("Messages", ())]
        last = pages[-1]["MetricDataResults"]
        for result in last:
            messages += result.get("Messages", ())
            if result["StatusCode"] not in ("Complete", "PartialData"):
                raise MetricError(repr(self), query, f"it answered {result['StatusCode']}")
            if result["StatusCode"] == "PartialData":
                messages.append({"Code": "PartialData", "Value": "more could be had"})
        return [one_line(f"{m.get('Code', '')}: {m.get('Value', '')}") for m in messages]

    def _pages(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        client, token, pages = self._client(), None, list[dict[str, Any]]()
        while len(pages) < PAGES_MAX:
            more = {"NextToken": token} if token else {}
            pages.append(client.get_metric_data(**options, **more))
            token = pages[-1].get("NextToken")
            if not token:
                return pages
        raise ValueError(f"the answer has more than {PAGES_MAX} pages; narrow the window")

    def _client(self) -> Any:
        if self.client is not None:
            return self.client
        if not self._made:
            try:
                boto3: Any = importlib.import_module("boto3")
            except ImportError as error:
                raise ValueError("boto3 is missing; install pyflow-deploy[aws]") from error
            self._made.append(boto3.client("cloudwatch", region_name=self.region))
        return self._made[0]

    async def _called(self, query: str, call: Any) -> Any:
        """Return what *call* returns on a thread.

        Raises:
            MetricError: It raised, or took longer than the timeout; then the
                thread goes on until boto3 gives up.
        """
        try:
            async with asyncio.timeout(seconds(self.timeout)):
                return await asyncio.to_thread(call)
        except TimeoutError as error:
            reason = f"no answer within {seconds(self.timeout):g} s"
            raise MetricError(repr(self), query, reason) from error
        except Exception as error:  # boto3 makes the classes of its errors as it runs
            reason = one_line(f"{type(error).__name__}: {error}")
            raise MetricError(repr(self), query, reason) from error


@dataclass(frozen=True, slots=True, repr=False)
class CloudWatchAlarm:
    """Unhealthy while an alarm is on; see `CloudWatch.alarm`."""

    source: CloudWatch
    """Whom to ask."""

    name: str
    """What the alarm is called."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:  # pyright: ignore[reportUnnecessaryIsInstance]
            refuse("alarm", ["the name of an alarm must be text that is not empty"])

    def __repr__(self) -> str:
        return f"<alarm {self.name} of {self.source!r}>"

    async def read(self) -> Reading:
        """Look once whether it is on."""

        def describe() -> dict[str, Any]:
            return self.source._client().describe_alarms(AlarmNames=[self.name])  # noqa: SLF001 - its other half

        try:
            found = await self.source._called(self.name, describe)  # noqa: SLF001
        except MetricError as error:
            return unknown(error.reason, alarm=self.name)
        alarms: Iterable[dict[str, Any]] = (
            *found.get("MetricAlarms", ()),
            *found.get("CompositeAlarms", ()),
        )
        for alarm in alarms:
            evidence = {
                "alarm": self.name,
                "state": alarm["StateValue"],
                "why": one_line(alarm.get("StateReason", "")),
            }
            health = {"OK": "healthy", "ALARM": "unhealthy"}.get(alarm["StateValue"], "unknown")
            return Reading(health, evidence)  # pyright: ignore[reportArgumentType]
        return Reading("unknown", {"alarm": self.name, "reason": "there is no such alarm"})


def _is_period(period_s: float) -> bool:
    return period_s in HIGH_RESOLUTION_S or (period_s >= 60 and period_s % 60 == 0)


def _parsed(query: str) -> dict[str, Any]:
    """Return what *query* asks for, as ``MetricStat`` has it.

    Raises:
        DefinitionError: It is not in the form that is expected.
    """
    try:
        words = shlex.split(query)
    except ValueError:
        words = []
    dimensions = [word.partition("=") for word in words[3:]]
    if len(words) < 3 or not all(name and value for name, _, value in dimensions):
        raise DefinitionError(
            "query",
            [f"{query!r} is not `namespace metric statistic dimension=value …`, as in {EXAMPLE!r}"],
        )
    namespace, metric, statistic = words[:3]
    return {
        "Metric": {
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": value} for name, _, value in dimensions],
        },
        "Stat": statistic,
    }
