"""Make one probe of several readings: `all_of`, `any_of`, `consistently`.

`unknown` is contagious where it could change the answer, and nowhere else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyflow.errors import shown
from pyflow.polling import look, probe_problem
from pyflow.probes._checks import count_problems, refuse, span_problems
from pyflow.protocols import Health, Probe, Reading
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["AllOf", "AnyOf", "Consistently", "all_of", "any_of", "consistently"]

TIMES_MAX = 100


@dataclass(frozen=True, slots=True, repr=False)
class AllOf:
    """Healthy if every one of *probes* is; made by `all_of`."""

    probes: tuple[Probe, ...]
    """What is read, all at once."""

    async def read(self) -> Reading:
        """Read every probe once, all at once."""
        readings = await _read_all(self.probes)
        health = _first_of(("unhealthy", "unknown"), readings, default="healthy")
        return Reading(health, _evidence(self.probes, readings))

    def __repr__(self) -> str:
        return f"all_of({', '.join(map(repr, self.probes))})"


@dataclass(frozen=True, slots=True, repr=False)
class AnyOf:
    """Healthy if at least one of *probes* is; made by `any_of`."""

    probes: tuple[Probe, ...]
    """What is read, all at once."""

    async def read(self) -> Reading:
        """Read every probe once, all at once."""
        readings = await _read_all(self.probes)
        health = _first_of(("healthy", "unknown"), readings, default="unhealthy")
        return Reading(health, _evidence(self.probes, readings))

    def __repr__(self) -> str:
        return f"any_of({', '.join(map(repr, self.probes))})"


@dataclass(frozen=True, slots=True, repr=False)
class Consistently:
    """What *probe* says if it says the same each time; made by `consistently`."""

    probe: Probe
    """What is read again and again."""

    times: int
    """How many readings must agree."""

    interval: Span
    """The wait between two readings."""

    async def read(self) -> Reading:
        """Read the probe until *times* readings agree or one does not."""
        readings = [await look(self.probe)]
        while len(readings) < self.times and _agree(readings):
            await asyncio.sleep(seconds(self.interval, zero=True))
            readings.append(await look(self.probe))
        health: Health = readings[0].health if _agree(readings) else "unknown"
        return Reading(health, _evidence([self.probe] * len(readings), readings))

    def __repr__(self) -> str:
        return f"consistently({self.probe!r}, times={self.times}, interval={self.interval!r})"


def all_of(*probes: Probe) -> AllOf:
    """Return a probe that is healthy if every one of *probes* is.

    Any `unhealthy` makes it `unhealthy`; else any `unknown` makes it
    `unknown`. The probes are read at once; the evidence is in their order.

    Raises:
        DefinitionError: There is no probe, or something that is none.
    """
    refuse("all_of", _problems(probes))
    return AllOf(probes)


def any_of(*probes: Probe) -> AnyOf:
    """Return a probe that is healthy if at least one of *probes* is.

    Without a `healthy` one, any `unknown` makes it `unknown`, since that one
    might have been. The probes are read at once; the evidence is in their
    order.

    Raises:
        DefinitionError: There is no probe, or something that is none.
    """
    refuse("any_of", _problems(probes))
    return AnyOf(probes)


def consistently(probe: Probe, *, times: int = 3, interval: Span = "1s") -> Consistently:
    """Return a probe that says what *probe* says *times* times in a row.

    Readings that differ, or an `unknown` one, make it `unknown`; the rest is
    then not read any more.

    Args:
        probe: What to read.
        times: How many readings must agree, from 2 to 100.
        interval: The wait between two readings.

    Raises:
        DefinitionError: An argument cannot be used.
    """
    problem = probe_problem(probe)
    problems = [
        *([problem] if problem else []),
        *count_problems("times", times, least=2, most=TIMES_MAX),
        *span_problems("interval", interval, zero=True),
    ]
    refuse("consistently", problems)
    return Consistently(probe, times, interval)


async def _read_all(probes: Iterable[Probe]) -> list[Reading]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(look(probe)) for probe in probes]
    return [task.result() for task in tasks]


def _first_of(order: tuple[Health, ...], readings: Iterable[Reading], *, default: Health) -> Health:
    seen = {reading.health for reading in readings}
    for health in order:
        if health in seen:
            return health
    return default


def _agree(readings: Sequence[Reading]) -> bool:
    first = readings[0].health
    return first != "unknown" and all(reading.health == first for reading in readings)


def _evidence(probes: Sequence[Probe], readings: Sequence[Reading]) -> dict[str, Any]:
    names = {id(probe): shown(probe) for probe in {id(probe): probe for probe in probes}.values()}
    return {
        "readings": [
            {"probe": names[id(probe)], "health": reading.health, "evidence": reading.evidence}
            for probe, reading in zip(probes, readings, strict=True)
        ]
    }


def _problems(probes: Sequence[object]) -> list[str]:
    if not probes:
        return ["there is no probe; without one nothing can be said"]
    return [problem for probe in probes if (problem := probe_problem(probe))]
