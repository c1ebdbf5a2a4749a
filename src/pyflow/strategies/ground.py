"""What is there, and what may be done about it: the pure rules of every rollout.

Nothing here asks, waits or changes anything. A rollout looks, asks these
functions what that means, and acts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyflow.errors import RolloutError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.protocols import ServiceState

__all__ = [
    "Survey",
    "baseline_of",
    "counts",
    "has_baseline",
    "is_same",
    "left",
    "needed",
    "ready",
    "shares",
    "split",
    "surveyed",
]

WEIGHT_SLACK_PCT = 0.5
"""What a router may round by."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a rollout begins from."""

    stable: str
    """The version that has all of the traffic."""

    stable_instances: int
    """How many instances of it there are: what it takes to serve all of the traffic."""

    instances: int
    """How many instances of the new version are full capacity."""


def surveyed(
    service: str,
    version: str,
    state: ServiceState,
    weights: Mapping[str, float],
    *,
    instances: int | None,
) -> Survey:
    """Return what a rollout of *version* begins from.

    Raises:
        RolloutError: It cannot begin there: another rollout is unfinished,
            *version* is live already, or what is live is not ready.
    """
    live = [name for name, weight in weights.items() if weight]
    if len(live) != 1:
        raise RolloutError(
            f"{service}: {shown(dict(weights))} share the traffic; finish the rollout that left it "
            "so, or take it back"
        )
    stable, found = live[0], counts(state)
    if stable == version:
        raise RolloutError(f"{service}: {version} has all of the traffic already")
    others = sorted(set(found) - {stable})
    if others:
        raise RolloutError(
            f"{service}: {', '.join(others)} runs beside {stable}, which has the traffic; an "
            "earlier rollout left it there, so take it away before another begins"
        )
    if not 0 < found.get(stable, 0) == ready(state, stable):
        raise RolloutError(
            f"{service}: {ready(state, stable)} of {found.get(stable, 0)} instances of {stable} are "
            "ready, and it is what a rollback would come back to"
        )
    return Survey(stable, found[stable], instances or found[stable])


def counts(state: ServiceState) -> dict[str, int]:
    """Return how many instances each version has."""
    found: dict[str, int] = {}
    for instance in state.instances:
        found[instance.version] = found.get(instance.version, 0) + 1
    return found


def ready(state: ServiceState, version: str) -> int:
    """Return how many instances of *version* can take traffic."""
    return sum(i.ready for i in state.instances if i.version == version)


def left(state: ServiceState, version: str, instances: int, *, back: bool) -> int:
    """Return how many can take traffic for sure once *version* has only *instances* instances.

    Those that go may be ready ones. On the way *back* they are those that
    were started last, for the newest go first, so they are those of which some
    did not become ready.
    """
    others = sum(i.ready for i in state.instances if i.version != version)
    mine = ready(state, version)
    if back:
        return others + min(mine, instances)
    return others + max(0, mine - max(0, counts(state).get(version, 0) - instances))


def shares(state: ServiceState) -> dict[str, float]:
    """Return the percentage of all instances that each version has."""
    found = counts(state)
    return {version: 100 * count / len(state.instances) for version, count in found.items()}


def baseline_of(stable: str) -> str:
    """Return what the fresh instances of *stable* beside a canary are called."""
    return f"{stable}-baseline"


def has_baseline(pct: float) -> bool:
    """Whether a fresh baseline can get as much as a canary with *pct* percent, and stable still more."""
    return 0 < pct < 50


def split(stable: str, version: str, pct: float, *, fresh: bool = False) -> dict[str, float]:
    """Return the weights that give *pct* percent to *version* and the rest to *stable*.

    With a *fresh* baseline, that gets as much as *version* does, below half.
    """
    shares = {stable: 100.0 - pct, version: float(pct)}
    if fresh and has_baseline(pct):
        shares = {stable: 100.0 - 2 * pct, baseline_of(stable): float(pct), version: float(pct)}
    return {name: share for name, share in shares.items() if share}


def needed(full: int, pct: float) -> int:
    """Return how many instances *pct* percent of the traffic take, where all of it takes *full*."""
    return math.ceil(full * pct / 100 - 1e-9)


def is_same(seen: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    """Whether two sets of weights are the same, but for what a router rounds."""
    versions = {**seen, **expected}
    return all(
        abs(seen.get(v, 0.0) - expected.get(v, 0.0)) <= WEIGHT_SLACK_PCT
        and bool(seen.get(v, 0.0)) is bool(expected.get(v, 0.0))
        for v in versions
    )
