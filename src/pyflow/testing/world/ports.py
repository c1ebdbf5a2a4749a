"""The ports of a simulated world: each a fake of one protocol, which can be told to misbehave."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pyflow.errors import nearest, shown
from pyflow.messages import FIRST, Attempt, Delivery, Message, delivered
from pyflow.protocols import Reading, Sample, ServiceState
from pyflow.testing.behaviour import Act, Behaviour
from pyflow.testing.clock import EPOCH
from pyflow.testing.errors import SimulationError
from pyflow.testing.faults import FaultKind, act_of
from pyflow.testing.stage import CURRENT, take_time
from pyflow.testing.world.given import check_window
from pyflow.testing.world.traffic import BUCKET_S, Bucket, buckets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from pyflow.testing.world.service import Segment, Service
    from pyflow.testing.world.world import World

__all__ = [
    "SimulatedMetrics",
    "SimulatedNotifier",
    "SimulatedPlatform",
    "SimulatedProbe",
    "SimulatedRouter",
]

T = TypeVar("T")
EFFECT: tuple[FaultKind, ...] = ("fails", "applied_then_fails", "lies", "hangs")
LOOK: tuple[FaultKind, ...] = ("fails", "stale", "hangs")


class Port:
    """What every port can do: misbehave, by script or by a fault at a point."""

    name: ClassVar[str]
    ops: ClassVar[Mapping[str, tuple[FaultKind, ...]]]
    """The calls, and what can go wrong in each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scripts: dict[str, Behaviour] = {}
        self.counts: dict[str, int] = {}

    def on(self, op: str, behaviour: Behaviour) -> None:
        """Have every call of *op* come to what *behaviour* says, from now on.

        Args:
            op: The name of a method of this port, such as ``"scale"``.
            behaviour: Such as `fails`, `applied_then_fails`, `lies`, `takes`,
                `hangs`, `stale`, `missing`, `nan` or `flaps`.

        Raises:
            SimulationError: The port has no such call, or that is no behaviour.
        """
        if op not in self.ops:
            near = nearest(str(op), self.ops)
            hint = f"; did you mean {near!r}?" if near is not None else "."
            raise SimulationError(
                f"the {self.name} has no call {shown(op)}{hint} It has: {', '.join(self.ops)}"
            )
        if type(behaviour) is not Behaviour:
            raise SimulationError(
                f"{self.name}.{op} cannot do {shown(behaviour)}; give a behaviour, such as "
                "fails() or takes('10s')"
            )
        self._scripts[op] = behaviour
        self.counts.pop(op, None)

    def save(self) -> tuple[dict[str, Behaviour], dict[str, int]]:
        """Return what is scripted, and how far it has come."""
        return dict(self._scripts), dict(self.counts)

    def restore(self, saved: tuple[Mapping[str, Behaviour], Mapping[str, int]]) -> None:
        """Have scripted what was scripted then, and let it go on from there."""
        self._scripts, self.counts = dict(saved[0]), dict(saved[1])

    def _act(self, op: str) -> Act:
        """Return what the present call of *op* comes to."""
        act: Act | None = None
        script = self._scripts.get(op)
        if script is not None:
            self.counts[op] = self.counts.get(op, 0) + 1
            act = script.act(self.counts[op])
        kind = self._world.fault_at(f"{self.name}.{op}", self.ops[op])
        if kind is not None:
            act = act_of(kind)
        if act is not None and act.twist is not None and act.twist not in self.ops[op]:
            can = ", ".join(self.ops[op])
            raise SimulationError(f"{self.name}.{op} cannot be {act.twist!r}; it can be: {can}")
        return act or PLAIN

    async def _perform(
        self, op: str, do: Callable[[], T], *, twisted: Callable[[Act], T] | None = None
    ) -> T:
        call = CURRENT.get()
        try:
            value = await self._answer(op, do, twisted)
        except BaseException as error:
            if call is not None:
                call.hear(type(error))
            raise
        if call is not None and twisted is not None:
            call.hear(value)
        return value

    async def _answer(self, op: str, do: Callable[[], T], twisted: Callable[[Act], T] | None) -> T:
        """Return what the present call of *op* is answered, when that comes."""
        act = self._act(op)
        if act.delay_s:
            await take_time(act.delay_s)
        value: Any = act.value
        if act.twist is not None and twisted is not None:
            value = twisted(act)
        elif act.does is not False:
            value = do()
        elif twisted is not None and act.error is None and value is None:
            raise SimulationError(
                f"{self.name}.{op} has to answer something, and {self._scripts[op]!r} is no "
                f"answer; give returns(...), or one of: {', '.join(self.ops[op])}"
            )
        if act.error is not None:
            raise act.error
        return value

    def _past(self, service: Service, act: Act) -> tuple[Segment, float]:
        """Return what a stale answer about *service* tells, and of which instant."""
        then_s = self._world.now_s - act.age_s
        return (service.at(then_s), then_s) if act.age_s else service.before()


PLAIN = Act()


class SimulatedPlatform(Port):
    """The `Platform` of a simulated world. It accepts at once; readiness takes its time."""

    name = "platform"
    ops: ClassVar[Mapping[str, tuple[FaultKind, ...]]] = {"observe": LOOK, "scale": EFFECT}

    async def observe(self, service: str, /) -> ServiceState:
        """Return what runs now."""
        found = self._world.find(service)

        def past(act: Act) -> ServiceState:
            segment, at_s = self._past(found, act)
            return found.view(at_s, segment=segment)

        return await self._perform("observe", lambda: found.view(self._world.now_s), twisted=past)

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Ask for *instances* copies of *version*; zero removes it."""
        self._world.find(service)
        await self._perform("scale", lambda: self._world.apply_scale(service, version, instances))


class SimulatedRouter(Port):
    """The `Router` of a simulated world. Weights are in force at once."""

    name = "router"
    ops: ClassVar[Mapping[str, tuple[FaultKind, ...]]] = {"weights": LOOK, "set_weights": EFFECT}

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return the weights that are in force now, by version."""
        found = self._world.find(service)
        return await self._perform(
            "weights",
            lambda: dict(found.now.weights),
            twisted=lambda act: dict(self._past(found, act)[0].weights),
        )

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Put *weights* in force, all together."""
        self._world.find(service)
        wanted = dict(weights)
        await self._perform("set_weights", lambda: self._world.apply_weights(service, wanted))


class SimulatedProbe(Port):
    """A `Probe` of a simulated world: healthy while enough instances are ready."""

    name = "probe"
    ops: ClassVar[Mapping[str, tuple[FaultKind, ...]]] = {"read": ("missing", "flipped")}

    def __init__(self, world: World, service: str, version: str | None, ready: int | None) -> None:
        super().__init__(world)
        self._service = service
        self._version = version
        self._ready = ready

    def __repr__(self) -> str:
        return f"<SimulatedProbe {' '.join(filter(None, (self._service, self._version)))}>"

    async def read(self) -> Reading:
        """Look once."""
        return await self._perform("read", self._look, twisted=self._twisted)

    def _look(self) -> Reading:
        units = self._world.find(self._service).now.units
        mine = [unit for unit in units if self._version in (None, unit.version)]
        now_s = self._world.now_s
        ready = sum(unit.is_ready(now_s) for unit in mine)
        wanted = self._ready if self._ready is not None else max(1, len(mine))
        evidence = {"ready": ready, "instances": len(mine), "wanted": wanted}
        return Reading("healthy" if ready >= wanted else "unhealthy", evidence)

    def _twisted(self, act: Act) -> Reading:
        if act.twist == "missing":
            return Reading("unknown", {"reason": "no answer"})
        truth = self._look()
        return Reading("unhealthy" if truth.is_healthy else "healthy", truth.evidence)


class SimulatedMetrics(Port):
    """The `MetricSource` of a simulated world.

    A query is a figure, a service, and a version or none: ``"error_rate shop
    2.0"``, ``"requests shop"``. The figures are `requests` and `errors` (counts
    per 10 s), `rps`, `error_rate` (0 to 1) and `latency_s` (mean). `define`
    teaches it the queries that your checks really use.
    """

    name = "metrics"
    ops: ClassVar[Mapping[str, tuple[FaultKind, ...]]] = {
        "query": ("fails", "missing", "nan", "hangs")
    }
    figures: ClassVar[Mapping[str, Callable[[Bucket], float | None]]] = {
        "requests": lambda bucket: bucket.requests,
        "errors": lambda bucket: bucket.errors,
        "rps": lambda bucket: bucket.requests / BUCKET_S,
        "error_rate": lambda b: b.errors / b.requests if b.requests else None,
        "latency_s": lambda b: b.latency_s if b.requests and b.latency_s < math.inf else None,
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._defined: dict[str, str] = {}

    def define(self, query: str, means: str) -> None:
        """Have the text *query*, in whatever language, answered as *means*.

        Raises:
            SimulationError: *means* is no query that can be answered.
        """
        self._parsed(means)
        self._defined[query] = means

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Sequence[Sample]:
        """Return a sample for every 10 s of the *window* that ends at *at* (now).

        Raises:
            SimulationError: The query is none that it knows, or there is no such window.
        """
        check_window(window)
        figure, service, version = self._parsed(self._defined.get(query, query))
        until_s = self._world.seconds_of(at) if at is not None else self._world.now_s
        began_s = service.segments[0].at_s
        span = max(began_s, until_s - window.total_seconds()), min(until_s, self._world.now_s)

        def answer() -> list[Sample]:
            return self._samples(figure, service, version, *span)

        return await self._perform("query", answer, twisted=lambda act: _spoilt(answer(), act))

    def _parsed(self, query: str) -> tuple[str, Service, str | None]:
        words = str(query).split()
        if len(words) not in (2, 3) or words[0] not in self.figures:
            raise SimulationError(
                f"the simulated metrics cannot answer {shown(query)}; ask for "
                f'"<figure> <service>" or "<figure> <service> <version>", where the figure is one of '
                f"{', '.join(self.figures)}, or teach it with world.metrics.define(query, means)"
            )
        return words[0], self._world.find(words[1]), words[2] if len(words) == 3 else None

    def _samples(
        self, figure: str, service: Service, version: str | None, after_s: float, until_s: float
    ) -> list[Sample]:
        versions = self._versions(service)
        if version is not None:
            if version not in versions:
                return []
            versions = [version]
        rows = [
            buckets(service, v, after_s=after_s, until_s=until_s, seed=self._world.seed)
            for v in versions
        ]
        samples: list[Sample] = []
        figure_of, began_s = self.figures[figure], self._world._begun_s  # noqa: SLF001 - read once for all
        for row in zip(*rows, strict=True):
            value = figure_of(_together(row))
            if value is not None:
                at = EPOCH + timedelta(seconds=row[0].at_s - began_s)
                samples.append(Sample(at, float(value)))
        return samples

    def _versions(self, service: Service) -> list[str]:
        """Return every version that has ever had an instance or a weight."""
        found: dict[str, None] = {}
        for segment in service.segments:
            found.update(dict.fromkeys(unit.version for unit in segment.units))
            found.update(dict.fromkeys(segment.weights))
        return list(found)


class SimulatedNotifier(Port):
    """The `Notifier` of a simulated world: it keeps what it is told."""

    name = "notifier"
    ops: ClassVar[Mapping[str, tuple[FaultKind, ...]]] = {
        "notify": ("fails", "applied_then_fails", "lies", "hangs")
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sent: list[Message] = []

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:  # noqa: ARG002
        """Keep *message*."""
        await self._perform("notify", lambda: self.sent.append(message))
        return delivered()


def _spoilt(samples: list[Sample], act: Act) -> list[Sample]:
    return [] if act.twist == "missing" else [Sample(s.at, math.nan) for s in samples]


def _together(row: Sequence[Bucket]) -> Bucket:
    """Return the figures of several versions as those of one."""
    if len(row) == 1:
        at_s, requests, errors, latency_s = row[0]
        return Bucket(at_s, requests, errors, latency_s * requests / requests if requests else 0.0)
    requests = sum(bucket.requests for bucket in row)
    spent_s = sum(bucket.latency_s * bucket.requests for bucket in row)
    latency_s = spent_s / requests if requests else 0.0
    return Bucket(row[0].at_s, requests, sum(bucket.errors for bucket in row), latency_s)
