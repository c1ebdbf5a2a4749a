"""What simulated traffic leaves behind: requests, errors, latencies, by version and time.

Nothing is counted while time passes. The figures of ten seconds are a function
of the seed, the version and what was true then, worked out when somebody asks;
so a day of traffic costs nothing, and asking twice gives one answer.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

from pyflow.testing.world.given import figure
from pyflow.testing.world.service import TICK_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyflow.testing.world.service import Load, Service

__all__ = ["BUCKET_S", "DAY_S", "Bucket", "buckets", "profile"]

BUCKET_S = 10.0
"""How long one set of figures speaks for, in seconds."""
DAY_S = 86_400.0
EXACT_BELOW = 30.0
SPREAD_MIN = 0.1
DRAWN_MAX = 10_000
"""How many sets of figures a service remembers."""


class Bucket(NamedTuple):
    """The figures of one version over the `BUCKET_S` seconds up to `at_s`."""

    at_s: float
    requests: int
    errors: int
    latency_s: float
    """The mean; 0 without requests, infinite where no answer ever comes."""


def profile(rps: float | Callable[[float], float], wave: float) -> Callable[[float], float]:
    """Return the requests per second as a function of time, with a daily *wave* about them."""

    def at(at_s: float) -> float:
        mean = figure(rps(at_s), f"rps at {at_s:g} s") if callable(rps) else rps
        return mean * (1 + wave * math.sin(2 * math.pi * at_s / DAY_S))

    return at


def buckets(
    service: Service, version: str, *, after_s: float, until_s: float, seed: int
) -> Iterator[Bucket]:
    """Yield the figures of *version* for every whole bucket that ends in ``(after_s, until_s]``."""
    index = math.floor((after_s + TICK_S) / BUCKET_S) + 1
    while index * BUCKET_S <= until_s + TICK_S:
        yield _bucket(service, version, index, seed)
        index += 1


def _bucket(service: Service, version: str, index: int, seed: int) -> Bucket:
    end_s = index * BUCKET_S
    load = service.load(version, end_s - BUCKET_S / 2)
    if load.rps <= 0:  # nothing is drawn for it, and a generator is dear
        return Bucket(end_s, 0, 0, 0.0)
    release = service.release(version, load.at_s)
    if callable(release.error_rate) or callable(release.latency_s):
        return _drawn(service, version, index, seed, load)
    # The world of an exploration is the same again and again, and so are its figures.
    known, figures = service.drawn, (release.error_rate, release.latency_s)
    about = (version, index, seed, load.rps, load.capacity_rps, *figures)
    if about not in known:
        if len(known) >= DRAWN_MAX:
            known.clear()
        known[about] = _drawn(service, version, index, seed, load)
    return known[about]


def _drawn(service: Service, version: str, index: int, seed: int, load: Load) -> Bucket:
    end_s = index * BUCKET_S
    rng = random.Random(f"{seed}/{service.name}/{version}/{index}")  # noqa: S311 - a simulation
    requests = poisson(rng, load.rps * BUCKET_S)
    if not requests:
        return Bucket(end_s, 0, 0, 0.0)
    release = service.release(version, load.at_s)
    errors = binomial(rng, requests, release.error_rate_at(load))
    spread = max(SPREAD_MIN, 1 + rng.gauss(0, 0.3) / math.sqrt(requests))
    return Bucket(end_s, requests, errors, release.latency_at(load) * spread)


def poisson(rng: random.Random, mean: float) -> int:
    """Return a count of events that come independently, *mean* of them on average.

    Small means by Knuth's product of uniforms (The Art of Computer
    Programming, volume 2, section 3.4.1), large ones by the normal law.
    """
    if mean <= 0:
        return 0
    if mean >= EXACT_BELOW:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def binomial(rng: random.Random, count: int, share: float) -> int:
    """Return how many of *count* events are such that each is with the chance *share*.

    Few by the gaps between them (Devroye, Non-Uniform Random Variate
    Generation, section X.4.3), many by the normal law.
    """
    if share > 0.5:
        return count - binomial(rng, count, 1 - share)
    mean = count * share
    if mean >= EXACT_BELOW:
        return min(count, max(0, round(rng.gauss(mean, math.sqrt(mean * (1 - share))))))
    hits = place = 0
    scale = math.log1p(-share)
    while share and (place := place + _gap(rng, scale, count)) <= count:
        hits += 1
    return hits


def _gap(rng: random.Random, scale: float, most: int) -> int:
    return 1 + math.floor(min(most, math.log(1 - rng.random()) / scale))
