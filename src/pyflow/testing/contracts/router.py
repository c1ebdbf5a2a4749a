"""What every `Router` has to keep."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pyflow.errors import DefinitionError, shown
from pyflow.record.values import encode
from pyflow.spans import Span, seconds
from pyflow.testing.contracts.rules import (
    GUARD_S,
    check_async_rules,
    check_text,
    expect_refusal,
    same,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from pyflow.protocols import Router

__all__ = ["check_router"]

TOLERANCE = 1e-6
SPLITS = (0, 5, 50, 100)
"""What the second version gets, in percent; whole numbers, which every router can do."""


@dataclass(frozen=True, slots=True)
class _World:
    """What there is to shift traffic between, and how fast that is."""

    service: str
    old: str
    new: str
    settle_s: float
    splits: tuple[float, ...]

    @property
    def some(self) -> float:
        """A share of the second version, which is not the one that the last rule leaves."""
        return self.splits[len(self.splits) > 2]

    @property
    def other(self) -> float:
        """Another one."""
        return self.splits[-(1 + (len(self.splits) > 2))]

    def split(self, new_pct: float) -> dict[str, float]:
        """Return the weights that give *new_pct* to the second version."""
        return {self.old: 100.0 - new_pct, self.new: float(new_pct)}


async def check_router(
    make: Callable[[], Router],
    *,
    service: str,
    versions: tuple[str, str],
    settle: Span = "1m",
    splits: Sequence[float] = SPLITS,
) -> None:
    """Check that a router keeps what `Router` promises.

    Traffic is shifted between the two versions, in whole percents, and ends
    wherever the last rule left it. A version without traffic may be missing
    from what `weights` returns. Nobody else may set weights meanwhile.

    Args:
        make: Returns a router at each call, with *service* known to it.
        service: The service whose traffic is shifted.
        versions: Two versions of it that can take traffic.
        settle: How long the router may take until what it accepted is read
            back.
        splits: What the second version gets, in percent, rising from 0 to 100;
            a router that gives one version everything takes ``(0, 100)``.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the router.
    """
    settle_s = seconds(settle, what="settle=")
    check_text(service, "service=")
    old, new = _two(versions)
    world = _World(service, old, new, settle_s, _rising(splits))
    guard_s = GUARD_S + (len(world.splits) + 1) * settle_s
    await check_async_rules(_RULES, make, world, guard_s=guard_s)


def _two(versions: Any) -> tuple[str, str]:
    """Return *versions*, which have to be two.

    Raises:
        DefinitionError: They are not.
    """
    pair = _in_order(versions)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise DefinitionError(
            "versions=", [f'{shown(versions)} is not two versions; give two, as in ("1.0", "2.0")']
        )
    for version in pair:
        check_text(version, "versions=")
    return pair[0], pair[1]


def _rising(splits: Any) -> tuple[float, ...]:
    """Return *splits*, which have to rise from 0 to 100.

    Raises:
        DefinitionError: They do not.
    """
    rising = _in_order(splits)
    numbers = all(isinstance(pct, (int, float)) for pct in rising)
    if (
        not numbers
        or {0, 100} - {*rising[:1], *rising[-1:]}
        or rising != tuple(sorted(set(rising)))
    ):
        raise DefinitionError(
            "splits=",
            [f"{shown(splits)} does not rise from 0 to 100; give percents, as in (0, 100)"],
        )
    return rising


def _in_order(values: Any) -> tuple[Any, ...]:
    """Return what is in *values*; nothing where that has no order, or is text."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        return ()
    return tuple(cast("Sequence[Any]", values))


async def _sums_up(router: Router, world: _World) -> None:
    """The weights are finite, none is negative, and they sum to 100, whatever is set."""
    _expect_percentages(await router.weights(world.service))
    for pct in world.splits:
        await router.set_weights(world.service, world.split(pct))
        _expect_percentages(await router.weights(world.service))


async def _can_be_recorded(router: Router, world: _World) -> None:
    """What is read before and after an effect can be recorded as a change, as JSON data."""
    for pct in (world.some, world.other):
        await _set(router, world, pct)
        encode(dict(await router.weights(world.service)), "weights")


async def _reads_back(router: Router, world: _World) -> None:
    """The weights that are set are read back."""
    for pct in world.splits:
        await _set(router, world, pct)


async def _sets_again(router: Router, world: _World) -> None:
    """Setting the present weights again changes nothing."""
    for _ in range(3):
        await _set(router, world, world.some)
    await _expect_split(router, world, world.some)


async def _refuses_other_sums(router: Router, world: _World) -> None:
    """Weights that do not sum to 100 are refused, and nothing changes."""
    for weights in ({}, {world.old: 99.0}, {world.old: 60.0, world.new: 60.0}):
        await _expect_refused(router, world, weights)


async def _refuses_negative_weights(router: Router, world: _World) -> None:
    """A negative weight is refused, and nothing changes."""
    await _expect_refused(router, world, {world.old: 120.0, world.new: -20.0})


async def _refuses_nan(router: Router, world: _World) -> None:
    """A weight that is NaN is refused, and nothing changes."""
    await _expect_refused(router, world, {world.old: 100.0, world.new: math.nan})


async def _keeps_its_own(router: Router, world: _World) -> None:
    """The mapping that was handed in may be changed afterwards."""
    weights = world.split(world.some)
    await router.set_weights(world.service, weights)
    await _settled(router, world, world.some)
    weights.update(world.split(world.other))

    await _expect_split(router, world, world.some)


async def _leaves_what_it_is_handed(router: Router, world: _World) -> None:
    """The mapping that is handed in is left as it was, whether its weights are set or refused."""
    weights = world.split(world.some)
    await router.set_weights(world.service, weights)
    await _settled(router, world, world.some)
    same(weights, world.split(world.some))

    refused = {world.old: 120.0, world.new: -20.0}
    with suppress(Exception):  # whether it is refused is for another rule
        await router.set_weights(world.service, refused)
    same(refused, {world.old: 120.0, world.new: -20.0})


async def _lends_nothing(router: Router, world: _World) -> None:
    """The mapping that is returned is the caller's own."""
    await _set(router, world, world.some)
    returned, kept = await router.weights(world.service), await router.weights(world.service)
    if isinstance(returned, MutableMapping):
        returned.update(world.split(world.other))
    await _expect_split(router, world, world.some)

    await _set(router, world, 100)
    _expect_same(kept, world.split(world.some))


async def _set(router: Router, world: _World, new_pct: float) -> None:
    await router.set_weights(world.service, world.split(new_pct))
    await _settled(router, world, new_pct)


async def _settled(router: Router, world: _World, new_pct: float) -> None:
    expected = world.split(new_pct)
    await settled(
        lambda: router.weights(world.service),
        lambda found: _difference(found, expected),
        settle_s=world.settle_s,
    )


async def _expect_refused(router: Router, world: _World, weights: dict[str, float]) -> None:
    await _set(router, world, world.some)
    await expect_refusal(router.set_weights(world.service, weights), shown(weights))

    await _expect_split(router, world, world.some)


async def _expect_split(router: Router, world: _World, new_pct: float) -> None:
    _expect_same(await router.weights(world.service), world.split(new_pct))


def _expect_same(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    wrong = _difference(found, expected)
    if wrong is not None:
        raise AssertionError(wrong)


def _difference(found: Mapping[str, float], expected: Mapping[str, float]) -> str | None:
    versions = {**expected, **found}
    if all(abs(found.get(v, 0.0) - expected.get(v, 0.0)) <= TOLERANCE for v in versions):
        return None
    return f"found {shown(dict(found))}, expected {shown(dict(expected))}"


def _expect_percentages(found: Mapping[str, float]) -> None:
    weights = list(found.values())
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise AssertionError(f"found {shown(dict(found))}")
    if abs(sum(weights) - 100) > TOLERANCE:
        raise AssertionError(f"found {shown(dict(found))}, which sum to {sum(weights)}")


_RULES: tuple[Callable[[Router, _World], Coroutine[Any, Any, None]], ...] = (
    _sums_up,
    _can_be_recorded,
    _reads_back,
    _sets_again,
    _refuses_other_sums,
    _refuses_negative_weights,
    _refuses_nan,
    _keeps_its_own,
    _leaves_what_it_is_handed,
    _lends_nothing,
)
