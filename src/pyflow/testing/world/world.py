"""`World`: a simulated infrastructure that deployments are proved against."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyflow.errors import nearest, shown
from pyflow.record.locks import MemoryLocks
from pyflow.spans import Span, seconds
from pyflow.testing.clock import EPOCH, VirtualTime, running_loop
from pyflow.testing.errors import SimulationError
from pyflow.testing.faults import NO_FAULTS, FaultKind, Faults, act_of
from pyflow.testing.stage import CURRENT
from pyflow.testing.world.given import check_count, check_name, check_seed, figure
from pyflow.testing.world.ports import (
    Port,
    SimulatedMetrics,
    SimulatedNotifier,
    SimulatedPlatform,
    SimulatedProbe,
    SimulatedRouter,
)
from pyflow.testing.world.service import Curve, Past, Release, Service
from pyflow.testing.world.traffic import profile

if TYPE_CHECKING:
    from pyflow.messages import Message
    from pyflow.testing.behaviour import Behaviour
    from pyflow.testing.stage import StagedCall

__all__ = ["Change", "World"]

SETTING: tuple[FaultKind, ...] = ("fails", "applied_then_fails", "lies")


@dataclass(frozen=True, slots=True)
class Change:
    """One fact of the world that changed."""

    at_s: float
    """When, in seconds of virtual time."""

    by: str | None
    """The call that changed it, such as ``deploy#1``; None for the test itself."""

    what: str
    """The fact, such as ``shop instances 2.0`` or ``shop weight 2.0``."""

    before: Any
    """What it was; None for nothing."""

    after: Any
    """What it is now; None for nothing."""

    def __str__(self) -> str:
        by = self.by or "the test"
        return f"{self.at_s:10.3f} s  {self.what}: {self.before!r} -> {self.after!r}  by {by}"


class World:
    """A simulated infrastructure: services, traffic, configuration, a database schema.

    Set it up, hand its ports to a workflow, simulate, and look at what became
    of it. Whoever changes it during a run is noted, and a second run finds it
    as the first one left it::

        from pyflow.testing import World

        world = World()
        world.service("shop", version="1.0", instances=4)
        world.release("shop", "2.0", error_rate=0.2)
        world.traffic("shop", rps=200)
    """

    def __init__(self, *, seed: int = 0) -> None:
        """Make an empty world.

        Args:
            seed: Decides everything that is drawn, such as how many requests come.
        """
        check_seed(seed)
        self.seed = seed
        self.platform = SimulatedPlatform(self)
        self.router = SimulatedRouter(self)
        self.metrics = SimulatedMetrics(self)
        self.notifier = SimulatedNotifier(self)
        self.locks = MemoryLocks()
        self.config: MutableMapping[str, Any] = Config(self)
        self.history: list[Change] = []
        self.faults: Faults = NO_FAULTS
        self.watchers: list[Callable[[], None]] = []
        self._services: dict[str, Service] = {}
        self._settings: dict[str, Any] = {}
        self._schema_version = 0
        self._probes: dict[tuple[str, str | None, int | None], SimulatedProbe] = {}
        self._planned: list[tuple[float, Callable[[], object]]] = []
        self._mishaps: list[Exception] = []
        self.is_planned = False
        """Whether what changes now was planned by the test, with `at`."""
        self._loop: VirtualTime | None = None
        self._since_s = self._from_s = self._now_s = 0.0

    def __repr__(self) -> str:
        return f"<World at {round(self.now_s, 6)} s: {', '.join(self._services) or 'no services'}>"

    def __str__(self) -> str:
        lines = [f"world at {round(self.now_s, 6)} s, seed {self.seed}"]
        lines += [f"  {what}: {value}" for what, value in self.facts().items()]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return what a notebook shows: its facts."""
        from pyflow.reports.notebook import facts_bundle  # noqa: PLC0415 - only notebooks ask for it

        return facts_bundle(str(self), self.facts())

    # Setting it up ------------------------------------------------------------------------

    def service(self, name: str, *, version: str, instances: int = 1, routed: bool = True) -> None:
        """Add a service that runs *version*, ready and with all of the traffic.

        One that is not *routed* is like workers of a queue: nobody weighs its
        versions, and whatever is ready takes an equal part of its work.

        Raises:
            SimulationError: There is one of that name already, or that is no
                name, no version or no number of instances.
        """
        check_name(name, "service")
        check_name(version, "version")
        check_count(instances, f"the number of instances of {name}")
        if name in self._services:
            raise SimulationError(f"the world has a service {name!r} already")
        self._services[name] = Service(
            name, at_s=self.now_s, version=version, instances=instances, routed=routed
        )

    def release(
        self,
        service: str,
        version: str,
        *,
        error_rate: Curve = 0.0,
        latency_s: Curve = 0.05,
        capacity_rps: float = 100.0,
        startup: Span = "20s",
        starts: bool = True,
    ) -> None:
        """Say how *version* of *service* behaves from now on, wherever it runs.

        Args:
            service: The service.
            version: The version; it need not run yet.
            error_rate: The share of requests that fail, from 0 to 1: a figure,
                or a function of `Load`. What exceeds its capacity fails besides.
            latency_s: The mean time of an answer, in seconds, likewise.
            capacity_rps: What one ready instance can serve, per second.
            startup: How long an instance takes to become ready.
            starts: Whether its instances ever become ready.

        Raises:
            SimulationError: There is no such service, or a figure is none.
        """
        found = self.find(service)
        check_name(version, "version")
        if not callable(error_rate):
            figure(error_rate, "error_rate", most=1)
        if not callable(latency_s):
            figure(latency_s, "latency_s")
        release = Release(
            version,
            error_rate=error_rate,
            latency_s=latency_s,
            capacity_rps=figure(capacity_rps, "capacity_rps"),
            startup_s=seconds(startup, what="startup", zero=True),
            starts=starts,
        )
        found.agree(at_s=self.now_s, release=release)

    def traffic(
        self, service: str, rps: float | Callable[[float], float], *, wave: float = 0.0
    ) -> None:
        """Send requests to *service* from now on: *rps* per second, with a daily *wave* from 0 to 1.

        *rps* may be a function of virtual time in seconds. Requests come
        independently of one another, drawn by the world's seed.

        Raises:
            SimulationError: There is no such service, or a figure is none.
        """
        found = self.find(service)
        if not callable(rps):
            figure(rps, "rps")
        found.agree(at_s=self.now_s, rps=profile(rps, figure(wave, "wave", most=1)))

    def at(self, span: Span, do: Callable[[], object]) -> None:
        """Have *do* called *span* after each simulation begins, by nobody's hand.

        It is a plain function. What it raises, the simulation raises at its end.

        Raises:
            SimulationError: *do* cannot be called.
        """
        if not callable(do):
            raise SimulationError(f"at() cannot do {shown(do)}; give a function, such as a lambda")
        self._planned.append((seconds(span, what="at", zero=True), do))

    # Ports --------------------------------------------------------------------------------

    def probe(
        self, service: str, version: str | None = None, *, ready: int | None = None
    ) -> SimulatedProbe:
        """Return the probe that is healthy while *ready* instances are ready; all of them unless given.

        Asking again with the same arguments gives the same probe.

        Raises:
            SimulationError: There is no such service, or that is no version or
                no number of instances.
        """
        self.find(service)
        if version is not None:
            check_name(version, "version")
        if ready is not None:
            check_count(ready, "ready", least=1)
        key = (service, version, ready)
        if key not in self._probes:
            self._probes[key] = SimulatedProbe(self, service, version, ready)
        return self._probes[key]

    # What is true -------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """The present instant in seconds of virtual time; it goes on from run to run."""
        loop = running_loop()
        if isinstance(loop, VirtualTime) and loop is not self._loop:
            self._from_s, self._since_s = self._read_clock(), loop.start_s
            self._loop = loop
        return self._read_clock()

    def _read_clock(self) -> float:
        """Read the clock of the last loop; where that was rewound, go on from where we are."""
        if self._loop is not None:
            time_s = self._loop.time()
            if self._from_s + (time_s - self._since_s) < self._now_s:
                self._from_s, self._since_s = self._now_s, time_s
            self._now_s = self._from_s + (time_s - self._since_s)
        return self._now_s

    def instant(self, at_s: float) -> datetime:
        """Return the instant *at_s* as a date of the present run."""
        return EPOCH + timedelta(seconds=at_s - self._begun_s)

    def seconds_of(self, at: datetime) -> float:
        """Return *at*, a date of the present run, in seconds of virtual time.

        Raises:
            SimulationError: The date has no time zone.
        """
        if at.utcoffset() is None:
            raise SimulationError(f"{shown(at)} has no time zone; give one, as in tzinfo=UTC")
        return (at - EPOCH).total_seconds() + self._begun_s

    @property
    def _begun_s(self) -> float:
        """Where the world stood when the clock of the present run stood at 0."""
        _ = self.now_s  # which follows the running loop
        return self._from_s - self._since_s

    def find(self, service: str) -> Service:
        """Return the service of that name.

        Raises:
            SimulationError: There is none; the error names the nearest.
        """
        found = self._services.get(str(service))
        if found is None:
            near = nearest(str(service), self._services)
            hint = f"; did you mean {near!r}?" if near is not None else "."
            known = ", ".join(self._services) or "none"
            raise SimulationError(
                f"the world has no service {shown(service)}{hint} It has: {known}. Add it with "
                "world.service(name, version=...)"
            )
        return found

    @property
    def services(self) -> Mapping[str, Service]:
        """The services by name."""
        return self._services

    @property
    def schema_version(self) -> int:
        """The version of the database schema; setting it migrates."""
        return self._schema_version

    @schema_version.setter
    def schema_version(self, version: int) -> None:
        check_count(version, "the schema version")
        self.set_now("schema.migrate", lambda: self._put_schema(version))

    def facts(self) -> dict[str, Any]:
        """Return everything that a deployment can change, flat, in a stable order.

        What is not there is not among it: no instances, no weight, a setting of None.
        """
        facts: dict[str, Any] = {}
        for name, service in self._services.items():
            for version, count in sorted(service.counts().items()):
                facts[f"{name} instances {version}"] = count
            for version, weight in sorted(service.now.weights.items()):
                facts[f"{name} weight {version}"] = weight
        for key, value in sorted(self._settings.items()):
            if value is not None:
                facts[f"config {key}"] = value
        facts["schema version"] = self._schema_version
        return facts

    def fingerprint(self) -> object:
        """Return a value that is equal where the world is, but for the time; for `explore`."""
        now_s = self.now_s
        services = tuple(service.fingerprint(now_s) for service in self._services.values())
        settings = tuple((key, repr(value)) for key, value in self._settings.items())
        counts = tuple(tuple(port.counts.items()) for port in self._ports() if port.counts)
        return services, settings, self._schema_version, counts

    # Changing it --------------------------------------------------------------------------

    def apply_scale(self, service: str, version: str, instances: int) -> None:
        """Have *instances* instances of *version*."""
        found = self.find(service)
        self._change(lambda: found.scale(version, instances, at_s=self.now_s))

    def apply_weights(self, service: str, weights: Mapping[str, float]) -> None:
        """Put *weights* in force."""
        found = self.find(service)
        self._change(lambda: found.set_weights(weights, at_s=self.now_s))

    def kill(self, service: str, version: str, instances: int = 1) -> None:
        """Have the oldest *instances* instances of *version* die, or as many as there are."""
        found = self.find(service)
        self._change(lambda: found.kill(version, instances, at_s=self.now_s))

    def set_now(self, op: str, do: Callable[[], object]) -> None:
        """Change a setting at once, as *op*; a fault may come between."""
        kind = self.fault_at(op, SETTING)
        act = act_of(kind) if kind is not None else None
        if act is None or act.does is not False:
            self._change(do)
        if act is not None and act.error is not None:
            call: StagedCall | None = CURRENT.get()
            if call is not None:
                call.hear(type(act.error))
            raise act.error

    def _put_schema(self, version: int) -> None:
        self._schema_version = version

    def _change(self, do: Callable[[], object]) -> None:
        before = self.facts()
        do()
        after = self.facts()
        call: StagedCall | None = CURRENT.get()
        by = call.label if call is not None else None
        changed = [
            what for what in {**before, **after} if differ(before.get(what), after.get(what))
        ]
        now_s = self.now_s
        self.history += [
            Change(now_s, by, what, before.get(what), after.get(what)) for what in changed
        ]
        if changed:
            for watcher in tuple(self.watchers):
                watcher()

    def fault_at(self, op: str, kinds: tuple[FaultKind, ...]) -> FaultKind | None:
        """Return what goes wrong at the present point, if a call of a run has got here."""
        call = CURRENT.get()
        if call is None or self.faults is NO_FAULTS:
            return None
        return self.faults.choose(call.point(op), kinds)

    # Runs ---------------------------------------------------------------------------------

    def begin(self) -> list[asyncio.TimerHandle]:
        """Follow the running loop, and set the timers of what was planned; for who simulates."""
        self._mishaps.clear()
        _ = self.now_s
        loop = asyncio.get_running_loop()
        return [loop.call_later(delay_s, self._happen, do) for delay_s, do in self._planned]

    def end(self, timers: list[asyncio.TimerHandle]) -> None:
        """Cancel what of the plan is still to come, and raise what went wrong in what came."""
        for timer in timers:
            timer.cancel()
        for mishap in self._mishaps:
            raise mishap

    def _happen(self, do: Callable[[], object]) -> None:
        self.is_planned = True
        try:
            value = do()
            if inspect.iscoroutine(value):
                value.close()
                raise SimulationError(
                    f"at() was given {shown(do)}, which returned something to await, and nobody "
                    "would; give a plain function, which may use world.apply_weights(...), "
                    "world.apply_scale(...) or world.kill(...)"
                )
        except Exception as error:  # noqa: BLE001 - a timer has nobody to raise to
            self._mishaps.append(error)
        finally:
            self.is_planned = False

    def save(self) -> Saved:
        """Return what the world is like, to come back to."""
        return Saved(
            [(service, service.save()) for service in self._services.values()],
            dict(self._settings),
            self._schema_version,
            tuple(self.history),
            self.now_s,
            {port: port.save() for port in self._ports()},
            tuple(self.notifier.sent),
            tuple(self._planned),
            self.locks.copy(),
        )

    def restore(self, saved: Saved) -> None:
        """Make the world what it was when it was saved, its locks and its clock too.

        Ports forget what was scripted since. The locks are new ones, in the
        state of then.
        """
        self._services.clear()
        for service, past in saved.services:
            service.restore(past)
            self._services[service.name] = service
        self._settings = dict(saved.settings)
        self._schema_version = saved.schema_version
        self.history[:] = saved.history
        self.notifier.sent[:] = saved.sent
        self._planned[:] = saved.planned
        for port in self._ports():
            port.restore(saved.ports.get(port, ({}, {})))
        self.locks = saved.locks.copy()
        self._turn_back(saved.now_s)

    def _turn_back(self, now_s: float) -> None:
        _ = self.now_s  # which follows the running loop
        self._from_s = self._now_s = now_s
        self._since_s = self._loop.time() if self._loop is not None else 0.0

    def _ports(self) -> Iterator[Port]:
        yield from (self.platform, self.router, self.metrics, self.notifier)
        yield from self._probes.values()


@dataclass(frozen=True, slots=True)
class Saved:
    """What a world was like."""

    services: list[tuple[Service, Past]]
    settings: Mapping[str, Any]
    schema_version: int
    history: tuple[Change, ...]
    now_s: float
    ports: Mapping[Port, tuple[Mapping[str, Behaviour], Mapping[str, int]]]
    sent: tuple[Message, ...]
    planned: tuple[tuple[float, Callable[[], object]], ...]
    locks: MemoryLocks


class Config(MutableMapping[str, Any]):
    """The configuration of a world. Every change is in its history, and may meet a fault.

    It gives and takes copies, as a store elsewhere would: only assigning changes it.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def _values(self) -> dict[str, Any]:
        return self._world._settings  # noqa: SLF001 - a view of the world's own

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self._values[key])

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SimulationError(f"{shown(key)} is no name for a setting; give a text")
        kept = copy.deepcopy(value)
        self._world.set_now("config.set", lambda: self._values.__setitem__(key, kept))

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        self._world.set_now("config.set", lambda: self._values.pop(key, None))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


def differ(before: object, after: object) -> bool:
    """Return whether a fact has changed; a NaN that stays is the same."""
    return before is not after and before != after
