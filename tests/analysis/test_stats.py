"""The small statistics: normal tails, mixtures, series, tables, descriptions."""

from __future__ import annotations

import math
import random
from itertools import accumulate

import pytest
from scipy import integrate, stats

from pyflow.analysis import Counts
from pyflow.analysis.stats import conditional, describe, mixture, normal, tables
from pyflow.analysis.stats.bounded import Horizon
from pyflow.analysis.stats.series import inflation, mean, neighbours, summed_up


class TestNormal:
    @pytest.mark.parametrize("z", [-8.0, -1.0, 0.0, 2.5, 9.0])
    def test_tails(self, z: float) -> None:
        """Both tails are right to the last digits, far out too."""
        assert normal.cdf(z) == pytest.approx(stats.norm.cdf(z), rel=1e-12)
        assert normal.upper_tail(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)
        assert normal.log_cdf(z) == pytest.approx(stats.norm.logcdf(z), rel=1e-9)

    def test_far_below(self) -> None:
        """The logarithm goes on where the tail itself has no float any more."""
        assert normal.log_cdf(-45.0) == pytest.approx(stats.norm.logcdf(-45.0), rel=1e-3)


class TestMixture:
    @pytest.mark.parametrize("ratio", [0.01, 1.0, 40.0])
    @pytest.mark.parametrize("z", [-2.0, 0.0, 3.0])
    def test_is_the_integral(self, z: float, ratio: float) -> None:
        """The closed form is the likelihood ratio under the half-normal mixture that it stands for."""
        scale = math.sqrt(ratio)

        def weighed(shift: float) -> float:
            return float(2 * stats.norm.pdf(shift, scale=scale)) * math.exp(
                shift * z - shift**2 / 2
            )

        expected, _ = integrate.quad(weighed, 0, 40 * max(scale, 1.0), limit=200)

        assert math.exp(mixture.log_evidence(z, ratio)) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("ratio", [1e-6, 0.3, 5.0, 1e6])
    @pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-6])
    def test_critical(self, alpha: float, ratio: float) -> None:
        """At the critical value the evidence is just enough."""
        z = mixture.critical(alpha, ratio)

        assert mixture.log_evidence(z, ratio) == pytest.approx(-math.log(alpha), rel=1e-9)


class TestHorizon:
    @pytest.mark.parametrize("freedom", [6.0, 40.0, 1_000.0])
    @pytest.mark.parametrize("alpha", [0.001, 0.05, 0.2])
    def test_critical(self, alpha: float, freedom: float) -> None:
        """At the end it is Student's quantile, of half the probability, to a few parts in a hundred."""
        found = Horizon(1.0, freedom)

        assert found.critical(alpha) == pytest.approx(stats.t.isf(alpha / 2, freedom), rel=0.03)
        for share in (0.1, 0.5, 1.0):
            early = Horizon(share, freedom)
            assert early.log_evidence(early.critical(alpha)) == pytest.approx(-math.log(alpha))

    def test_holds(self) -> None:
        """However many looks there are, chance exceeds it as seldom as it says."""
        draw, looks, runs, exceeded = random.Random(5), 200, 4_000, 0
        ends = [math.sqrt(looks / look) for look in range(1, looks + 1)]
        shares = [Horizon(look / looks, 1e9) for look in range(1, looks + 1)]
        bounds = [share.critical(0.05) for share in shares]
        for _ in range(runs):
            walk = accumulate(draw.gauss(0, looks**-0.5) for _ in range(looks))
            exceeded += any(
                at * end > bound for at, end, bound in zip(walk, ends, bounds, strict=True)
            )

        assert 0.035 <= exceeded / runs <= 0.055

    def test_is_strict_at_first(self) -> None:
        """Less is enough the nearer the end is, and a decrease is no evidence of an increase."""
        bounds = [Horizon(share, 60.0).critical(0.05) for share in (0.1, 0.3, 0.6, 1.0)]

        assert bounds == sorted(bounds, reverse=True)
        assert Horizon(0.5, 60.0).log_evidence(-2.0) < 0


class TestConditional:
    def test_is_fair(self) -> None:
        """Whatever came before, one more event leaves the evidence as it is on average."""
        for k, others, share in ((0, 0, 0.5), (3, 1, 0.05), (12, 40, 0.3), (900, 5, 0.9)):
            now = conditional.log_evidence(k, others, share)
            ours = conditional.log_evidence(k + 1, others, share)
            theirs = conditional.log_evidence(k, others + 1, share)

            expected = share * math.exp(ours - now) + (1 - share) * math.exp(theirs - now)
            assert expected == pytest.approx(1.0, rel=1e-9)

    def test_begins_at_one(self) -> None:
        """Without an event there is no evidence."""
        assert conditional.log_evidence(0, 0, 0.3) == pytest.approx(0.0, abs=1e-12)


class TestSeries:
    def test_correlation(self) -> None:
        """In long series the correlation of neighbours is found, and none where there is none."""
        draw = random.Random(1)
        for phi in (0.0, 0.5, 0.8):
            series, last = [], 0.0
            for _ in range(8_000):
                last = phi * last + draw.gauss(0, 1)
                series.append(last)
            assert neighbours(summed_up(series)) == pytest.approx(phi, abs=0.03)

    def test_swings_give_no_credit(self) -> None:
        """A series that swings counts as independent, never as more."""
        assert neighbours(summed_up([1.0, -1.0] * 30)) == 0.0
        assert inflation(0.0) == 1.0

    def test_constants(self) -> None:
        """A constant is one in every unit, whatever the rounding of its mean."""
        for value in (0.1, 1e-9 / 3, 1e9 / 3, -7.3, 0.0):
            arm = summed_up([value] * 37)
            assert (arm.squares, arm.products) == (0.0, 0.0)
            assert neighbours(arm) == 0.0

    def test_mean(self) -> None:
        """The mean does not depend on the order."""
        values = [1e16, 1.0, -1e16, 1.0]
        assert mean(values) == mean(sorted(values)) == 0.5


class TestTables:
    @pytest.mark.parametrize(
        "table",
        [(8, 1000, 0, 1000), (0, 50, 3, 60), (40, 900, 20, 1100), (5, 5, 0, 5), (7, 9, 7, 9)],
    )
    def test_fisher(self, table: tuple[int, int, int, int]) -> None:
        """Fisher's tails are scipy's."""
        k, m, other, n = table

        found = tables.fisher(Counts(k, m), Counts(other, n))

        for name, mine in zip(("greater", "less"), found, strict=True):
            table_of = [[k, m - k], [other, n - other]]
            _, theirs = stats.fisher_exact(table_of, alternative=name)
            assert mine == pytest.approx(theirs, rel=1e-9)

    def test_newcombe(self) -> None:
        """The interval of the difference is the one of Newcombe's own example (56/70, 48/80)."""
        one, other = Counts(56, 70), Counts(48, 80)

        low, high = (tables.difference_bound(one, other, sign=sign, tail=0.025) for sign in (-1, 1))

        assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


class TestDescriptions:
    def test_percentile_refuses(self) -> None:
        """A percentile of nothing, or beyond the ends, is refused."""
        for values, percent in (([], 50), ([1.0], 101), ([1.0], -1)):
            with pytest.raises(ValueError, match="give 0 to 100"):
                describe.percentile(values, percent)

    def test_effects_without_a_size(self) -> None:
        """Where nothing varies or points are too few, Cohen's d is none."""
        assert describe.cohens_d([1.0, 1.0], [1.0, 1.0]) is None
        assert describe.cohens_d([1.0], [2.0]) is None
        assert describe.cohens_d([1.0], [2.0, 4.0]) == pytest.approx(-2 / math.sqrt(2))
