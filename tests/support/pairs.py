"""Explore a rollout in part: all single faults, and as many pairs of them as a test has time for.

All pairs are for `make bench`. Each part is drawn by a seed, so a test tries
the same pairs every time.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyflow import Workflow
from pyflow.testing import Explored, World
from pyflow.testing.exploration.laboratory import Laboratory
from pyflow.testing.exploration.search import Search
from pyflow.testing.exploration.template import Template
from pyflow.testing.exploration.trial import Options
from pyflow.testing.faults import KINDS

__all__ = ["Part", "explore_part", "nobody_could_know"]


@dataclass
class Part:
    """What came of it."""

    seed: int
    """What the pairs were drawn by."""

    by_faults: dict[int, int] = field(default_factory=dict[int, int])
    """How many runs had how many faults."""

    broken: list[str] = field(default_factory=list[str])
    """What was broken, and under which faults; `replay` tells more."""


def explore_part(
    factory: Callable[[], Workflow],
    world: World,
    *,
    pairs: int,
    seed: int = 0,
    invariants: Sequence[Callable[[Any], object]] = (),
) -> Part:
    """Run what *factory* makes under every fault, and under *pairs* pairs of them."""
    at_any_time = tuple(one for one in invariants if getattr(one, "always", False))
    at_the_end = tuple(one for one in invariants if one not in at_any_time)
    options = Options(always=at_any_time, at_the_end=at_the_end)
    laboratory = Laboratory(Template(factory), world, options)
    search = Search(laboratory.run, faults=2, kinds=frozenset(KINDS), prune=True)
    part, drawn = Part(seed), False
    try:
        for made in search.trials():
            script = "; ".join(map(str, made.script)) or "no fault"
            part.broken += [f"{one} under {script}" for one in made.violations]
            if not drawn and search.queue and len(search.queue[0]) == 2:
                drawn = True
                search.queue = deque(random.Random(seed).sample(list(search.queue), pairs))
    finally:
        laboratory.close()
    part.by_faults = dict(search.by_faults)
    return part


def nobody_could_know(run: Explored) -> bool:
    """Return whether a write lied, and the look at it too; invariants of the library excuse that as well."""
    kinds = {fault.kind for fault in run.faults}
    return "lies" in kinds and bool(kinds & {"stale", "flipped"})
