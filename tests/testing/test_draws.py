"""The laws that simulated counts are drawn by."""

from __future__ import annotations

import math
import random
from statistics import fmean, variance

import pytest

from pyflow.testing.world.traffic import binomial, poisson

DRAWS = 20_000


class TestDraws:
    @pytest.mark.parametrize("mean", [0.01, 0.7, 5, 29.9, 30, 1000])
    def test_poisson(self, mean: float) -> None:
        """Counts that come independently have equal mean and variance."""
        rng = random.Random(11)
        draws = [poisson(rng, mean) for _ in range(DRAWS)]

        error = math.sqrt(mean / DRAWS)
        assert abs(fmean(draws) - mean) <= 4 * error
        assert variance(draws) == pytest.approx(mean, rel=0.05 + 4 * error / mean)
        assert min(draws) >= 0

    @pytest.mark.parametrize("mean", [0, -1])
    def test_poisson_of_nothing(self, mean: float) -> None:
        """Where nothing is expected, nothing comes."""
        assert poisson(random.Random(11), mean) == 0

    @pytest.mark.parametrize(
        ("count", "share"),
        [(1, 0.5), (10, 0.05), (10, 0.95), (100, 0.5), (5000, 0.004), (999, 0.3)],
    )
    def test_binomial(self, count: int, share: float) -> None:
        """Of so many events so many are such, and their variance is the smaller the surer they are."""
        rng = random.Random(11)
        draws = [binomial(rng, count, share) for _ in range(DRAWS)]

        spread = count * share * (1 - share)
        assert abs(fmean(draws) - count * share) <= 4 * math.sqrt(spread / DRAWS)
        assert variance(draws) == pytest.approx(spread, rel=0.06)
        assert min(draws) >= 0
        assert max(draws) <= count

    def test_binomial_of_all_or_none(self) -> None:
        """What is sure happens every time, and what cannot be never does."""
        rng = random.Random(11)

        for count in (0, 1, 7, 10_000):
            assert [binomial(rng, count, share) for share in (0.0, 5e-324, 1.0)] == [0, 0, count]
