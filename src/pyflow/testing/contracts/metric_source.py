"""What every `MetricSource` has to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyflow.errors import PyflowError, shown
from pyflow.protocols import Sample
from pyflow.spans import Span, seconds
from pyflow.testing.contracts.rules import check_async_rules, check_text, expect_a, same

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pyflow.protocols import MetricSource

__all__ = ["check_metric_source"]


@dataclass(frozen=True, slots=True)
class _World:
    """What there is to ask about."""

    known: str
    unknown: str
    window: timedelta


async def check_metric_source(
    make: Callable[[], MetricSource],
    *,
    known: str,
    unknown: str | None = None,
    window: Span = "1h",
) -> None:
    """Check that a source of metrics keeps what `MetricSource` promises.

    Its samples are finite, aware, in order and inside the window that was
    asked for, whose end belongs to it and whose beginning does not; they stay
    the same when they are asked for again; and where there is no data there
    are no samples. Windows end at samples that the source has shown, so no
    clock is read.

    Args:
        make: Returns a source at each call.
        known: A query that has samples in the last *window*, two or more.
        unknown: A query that has none, or that the source refuses; without
            one, the rule about it is left out.
        window: The span to ask about.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the source.
    """
    check_text(known, "known=")
    if unknown is not None:
        check_text(unknown, "unknown=")
    world = _World(known, unknown or "", timedelta(seconds=seconds(window, what="window=")))
    rules = _RULES if unknown is None else (*_RULES, _invents_nothing)
    await check_async_rules(rules, make, world)


async def _answers(source: MetricSource, world: _World) -> None:
    """A query that has data is answered with `Sample`s."""
    for sample in await _recent(source, world):
        expect_a(Sample, sample)


async def _gives_finite_values(source: MetricSource, world: _World) -> None:
    """Every value is a finite number."""
    for sample in await _recent(source, world):
        if type(sample.value) not in (float, int) or not math.isfinite(sample.value):
            raise AssertionError(f"found the value {shown(sample.value)}")


async def _gives_aware_instants(source: MetricSource, world: _World) -> None:
    """Every instant is aware."""
    for sample in await _recent(source, world):
        if sample.at.utcoffset() is None:
            raise AssertionError(f"found the instant {shown(sample.at)}, which has no time zone")


async def _keeps_order(source: MetricSource, world: _World) -> None:
    """Samples come in ascending order of time."""
    instants = [sample.at for sample in await _recent(source, world)]

    same(instants, sorted(instants))


async def _keeps_to_the_window(source: MetricSource, world: _World) -> None:
    """Every sample lies inside the window, and none at the instant where it begins."""
    instants = await _instants(source, world)
    for at in (instants[-1], instants[len(instants) // 2]):
        for window in (world.window, world.window / 2, at - instants[0]):
            if not window:
                continue
            for sample in await source.query(world.known, window=window, at=at):
                if not at - window < sample.at <= at:
                    raise AssertionError(
                        f"found a sample at {sample.at}, expected it after {at - window} "
                        f"and not after {at}"
                    )


async def _closes_the_window(source: MetricSource, world: _World) -> None:
    """The instant asked about belongs to the window that it ends."""
    at = (await _instants(source, world))[-1]
    found = [s.at for s in await source.query(world.known, window=world.window, at=at)]
    if at not in found:
        raise AssertionError(f"there is a sample at {at}, and it was left out")


async def _repeats(source: MetricSource, world: _World) -> None:
    """Asking again about the same instant gives the same samples."""
    at = (await _instants(source, world))[-1]
    answers = [await source.query(world.known, window=world.window, at=at) for _ in range(2)]

    same(_pairs(answers[1]), _pairs(answers[0]))


async def _widens(source: MetricSource, world: _World) -> None:
    """A wider window holds the samples of a narrower one."""
    at = (await _instants(source, world))[-1]
    wide = await source.query(world.known, window=world.window, at=at)
    narrow = await source.query(world.known, window=world.window / 2, at=at)
    lost = [pair for pair in _pairs(narrow) if pair not in _pairs(wide)]
    if lost:
        raise AssertionError(f"the wider window lacks {shown(lost)}")


async def _invents_nothing(source: MetricSource, world: _World) -> None:
    """A query without data has no samples, or is refused with a `PyflowError`."""
    try:
        found = await source.query(world.unknown, window=world.window)
    except PyflowError:
        return
    same(list(found), [])


async def _recent(source: MetricSource, world: _World) -> Sequence[Sample]:
    samples = await source.query(world.known, window=world.window)
    if not samples:
        raise AssertionError(
            f"{shown(world.known)} had no samples in the last {world.window}; "
            "give known= a query that has some"
        )
    return samples


async def _instants(source: MetricSource, world: _World) -> list[datetime]:
    return sorted(sample.at for sample in await _recent(source, world))


def _pairs(samples: Sequence[Sample]) -> list[tuple[datetime, float]]:
    # Samples that hold NaN are not equal to themselves in every Python; tuples of one object are.
    return [(sample.at, sample.value) for sample in samples]


_RULES: tuple[Callable[[MetricSource, _World], Coroutine[Any, Any, None]], ...] = (
    _answers,
    _gives_finite_values,
    _gives_aware_instants,
    _keeps_order,
    _keeps_to_the_window,
    _closes_the_window,
    _repeats,
    _widens,
)
