"""One simulated service: its versions, its instances, its weights, and what it remembers.

A service never changes a value; it adds a `Segment` to its past, or `Terms`.
What was true at any instant can therefore be asked at any later one, which is
what stale answers and metrics are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from pyflow.errors import shown
from pyflow.protocols import Instance, ServiceState
from pyflow.testing.errors import SimulationError
from pyflow.testing.world.given import check_count, check_name, number

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TICK_S", "Load", "Past", "Release", "Segment", "Service", "Terms", "Unit"]

TICK_S = 1e-6
"""What a date can tell apart; instants that differ by less are one."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a version has to bear at one instant."""

    version: str
    """The version."""

    rps: float
    """Requests that reach it, per second."""

    capacity_rps: float
    """Requests that its ready instances can serve, per second."""

    at_s: float
    """The instant, in seconds of virtual time."""

    age_s: float
    """How long ago the version got its oldest instance, in seconds."""

    @property
    def utilisation(self) -> float:
        """The share of its capacity that is in use; infinite without capacity under load."""
        if self.capacity_rps > 0:
            return self.rps / self.capacity_rps
        return math.inf if self.rps > 0 else 0.0


Curve: TypeAlias = float | Callable[[Load], float]
"""A figure, or a function that gives it for a load."""


@dataclass(frozen=True, slots=True)
class Release:
    """How a version behaves once it runs."""

    version: str
    """Its name."""

    error_rate: Curve = 0.0
    """The share of requests that fail, from 0 to 1, besides those beyond its capacity."""

    latency_s: Curve = 0.05
    """The mean time of an answer, in seconds."""

    capacity_rps: float = 100.0
    """Requests that one ready instance can serve, per second."""

    startup_s: float = 20.0
    """How long an instance takes to become ready, in seconds."""

    starts: bool = True
    """Whether its instances ever become ready."""

    def error_rate_at(self, load: Load) -> float:
        """Return the share of requests that fail under *load*, from 0 to 1."""
        own = min(1.0, max(0.0, _value(self.error_rate, load, "error_rate")))
        served = 1.0 if load.utilisation <= 1 else 1 / load.utilisation
        return 1 - (1 - own) * served

    def latency_at(self, load: Load) -> float:
        """Return the mean time of an answer under *load*, in seconds; infinite if none comes."""
        return max(0.0, _value(self.latency_s, load, "latency_s"))


class Unit(NamedTuple):
    """One simulated instance."""

    id: str
    version: str
    started_s: float
    ready_s: float

    def is_ready(self, at_s: float) -> bool:
        """Return whether it can take traffic at an instant, which may be a sum of floats."""
        return self.ready_s <= at_s + TICK_S


class Segment(NamedTuple):
    """What a service was like from one change until the next."""

    at_s: float
    units: tuple[Unit, ...]
    weights: Mapping[str, float]
    generation: int
    next_id: int


class Terms(NamedTuple):
    """What a test said about a service, from one saying until the next."""

    at_s: float
    releases: Mapping[str, Release]
    rps: Callable[[float], float] | None


Past: TypeAlias = tuple[tuple[Segment, ...], tuple[Terms, ...]]
Row = TypeVar("Row", Segment, Terms)


class Service:
    """A simulated service and its past.

    One that is not *routed* has no weights: its work goes to whatever is ready.
    """

    def __init__(
        self, name: str, *, at_s: float, version: str, instances: int, routed: bool = True
    ) -> None:
        self.name = name
        self.routed = routed
        self.terms = [Terms(at_s, {}, None)]
        units = tuple(Unit(f"{name}-{n}", version, at_s, at_s) for n in range(1, instances + 1))
        weights = {version: 100.0} if routed else {}
        self.drawn: dict[tuple[Any, ...], Any] = {}
        """Figures that were worked out already, by all that they depend on."""
        self.segments = [Segment(at_s, units, weights, 1, instances + 1)]

    def __repr__(self) -> str:
        return f"<Service {self.name} {self.counts()} {dict(self.now.weights)}>"

    @property
    def now(self) -> Segment:
        """What the service is like at present."""
        return self.segments[-1]

    @property
    def has_traffic(self) -> bool:
        """Whether anything was said of its traffic."""
        return self.terms[-1].rps is not None

    def rps(self, at_s: float) -> float:
        """Return the requests per second at an instant."""
        rps = _at(self.terms, at_s).rps
        return rps(at_s) if rps is not None else 0.0

    def release(self, version: str, at_s: float = math.inf) -> Release:
        """Return how *version* behaves; a version of which nothing was said behaves well."""
        return _at(self.terms, at_s).releases.get(version) or Release(version)

    def counts(self) -> dict[str, int]:
        """Return how many instances each version has."""
        counts: dict[str, int] = {}
        for unit in self.now.units:
            counts[unit.version] = counts.get(unit.version, 0) + 1
        return counts

    def ready(self, version: str, at_s: float, *, segment: Segment | None = None) -> int:
        """Return how many instances of *version* can take traffic."""
        ready, limit_s = 0, at_s + TICK_S
        for _, of, _, ready_s in (segment or self.segments[-1]).units:
            if of == version and ready_s <= limit_s:
                ready += 1
        return ready

    def unserved(self, at_s: float) -> dict[str, str]:
        """Return the versions that get requests which nobody can serve, and why not."""
        found: dict[str, str] = {}
        if (
            not self.routed
            and self.has_traffic
            and not any(u.is_ready(at_s) for u in self.now.units)
        ):
            found[""] = f"{self.name} has work and nothing ready"
        for version, weight in self.now.weights.items():
            if not self.ready(version, at_s):
                found[version] = f"{self.name} {version} has weight {weight:g} and nothing ready"
        return found

    def overloaded(self, at_s: float) -> dict[str, str]:
        """Return the versions that get more requests than they can serve, and by how much."""
        found: dict[str, str] = {}
        versions = self.now.weights if self.routed else self.counts()
        for version in versions if self.has_traffic else ():
            load = self.load(version, at_s)
            if load.rps > load.capacity_rps > 0:
                found[version] = (
                    f"{self.name} {version} gets {load.rps:.1f} requests a second, and what is "
                    f"ready can serve {load.capacity_rps:.1f}"
                )
        return found

    def view(self, at_s: float, *, segment: Segment | None = None) -> ServiceState:
        """Return what a platform observes."""
        segment = segment or self.now
        return ServiceState(
            self.name,
            tuple(Instance(u.id, u.version, u.is_ready(at_s)) for u in segment.units),
            str(segment.generation),
        )

    def at(self, at_s: float) -> Segment:
        """Return what the service was like at an earlier instant."""
        return _at(self.segments, at_s)

    def before(self) -> tuple[Segment, float]:
        """Return what the service was like before its last change, and when that was."""
        return self.segments[-2:][0], self.now.at_s

    def save(self) -> Past:
        """Return all that was, to come back to."""
        return tuple(self.segments), tuple(self.terms)

    def restore(self, past: Past) -> None:
        """Make the service what it was when it was saved."""
        self.segments[:], self.terms[:] = past

    def fingerprint(self, at_s: float) -> object:
        """Return a value that is equal where the service is, and was before its last change."""
        return tuple(
            (tuple((u.version, u.is_ready(s)) for u in one.units), tuple(one.weights.items()))
            for one, s in (self.before(), (self.now, at_s))
        )

    # Changes ------------------------------------------------------------------------------

    def agree(
        self,
        *,
        at_s: float,
        release: Release | None = None,
        rps: Callable[[float], float] | None = None,
    ) -> None:
        """Have it behave like this from now on."""
        _, releases, present = self.terms[-1]
        if release is not None:
            releases = {**releases, release.version: release}
        self.terms.append(Terms(at_s, releases, rps or present))

    def scale(self, version: str, instances: int, *, at_s: float) -> None:
        """Have *instances* instances of *version*; the newest go first.

        Raises:
            SimulationError: That is no number of instances, or no version.
        """
        check_name(version, "version")
        check_count(instances, f"the number of instances of {self.name}")
        mine = [unit for unit in self.now.units if unit.version == version]
        gone = set(mine[instances:])
        kept = tuple(unit for unit in self.now.units if unit not in gone)
        release = self.release(version)
        ready_s = at_s + release.startup_s if release.starts else math.inf
        new = tuple(
            Unit(f"{self.name}-{self.now.next_id + n}", version, at_s, ready_s)
            for n in range(instances - len(mine))
        )
        self._add(at_s, kept + new, self.now.weights)

    def kill(self, version: str, instances: int, *, at_s: float) -> None:
        """Take the oldest *instances* instances of *version* away; as many as there are.

        Raises:
            SimulationError: That is no number of instances.
        """
        check_count(instances, f"the number of instances of {self.name} to kill", least=1)
        gone = [unit for unit in self.now.units if unit.version == version][:instances]
        self._add(at_s, tuple(u for u in self.now.units if u not in gone), self.now.weights)

    def set_weights(self, weights: Mapping[str, float], *, at_s: float) -> None:
        """Put *weights* in force; a version of weight 0 is like one without a weight.

        Raises:
            SimulationError: They are not percentages that sum to 100.
        """
        if not self.routed:
            raise SimulationError(
                f"{self.name} has no router, so nobody can weigh its versions; leave routed= out "
                "where the world gets that service"
            )
        for version in weights:
            check_name(version, "version")
        values = [number(weight, f"a weight of {self.name}") for weight in weights.values()]
        if not all(0 <= value <= 100 for value in values) or abs(sum(values) - 100) > 1e-6:
            raise SimulationError(
                f"{self.name} cannot have the weights {shown(dict(weights))}; give percentages "
                "that sum to 100"
            )
        shares = {version: float(weights[version]) for version in sorted(weights)}
        self._add(at_s, self.now.units, {v: share for v, share in shares.items() if share})

    def _add(self, at_s: float, units: tuple[Unit, ...], weights: Mapping[str, float]) -> None:
        if units != self.now.units or weights != self.now.weights:
            new = len(set(units) - set(self.now.units))
            generation, next_id = self.now.generation + 1, self.now.next_id + new
            self.segments.append(Segment(at_s, units, weights, generation, next_id))

    # Load ---------------------------------------------------------------------------------

    def load(self, version: str, at_s: float) -> Load:
        """Return what *version* had to bear at an instant."""
        segment, terms = self.at(at_s), _at(self.terms, at_s)
        started = [unit.started_s for unit in segment.units if unit.version == version]
        ready = self.ready(version, at_s, segment=segment)
        release = terms.releases.get(version) or Release(version)
        rps = terms.rps(at_s) if terms.rps is not None else 0.0
        return Load(
            version,
            rps * self._share(segment, version, at_s),
            ready * release.capacity_rps,
            at_s,
            at_s - min(started, default=at_s),
        )

    def _share(self, segment: Segment, version: str, at_s: float) -> float:
        """Return which part of the requests *version* gets, from 0 to 1."""
        if self.routed:
            return segment.weights.get(version, 0.0) / 100
        total = sum(unit.is_ready(at_s) for unit in segment.units)
        return self.ready(version, at_s, segment=segment) / total if total else 0.0


def _at(rows: list[Row], at_s: float) -> Row:
    """Return the last of *rows* that began by *at_s*; before all of them, the first."""
    for row in reversed(rows):
        if row.at_s <= at_s:
            return row
    return rows[0]


def _value(curve: Curve, load: Load, what: str) -> float:
    return number(curve(load), f"{what} under {load}") if callable(curve) else curve
