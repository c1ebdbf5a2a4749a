"""Mann and Whitney's test and Hodges and Lehmann's shift, against scipy and against counting."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from scipy import stats

from pyflow.analysis.stats import ranks
from pyflow.analysis.stats.shifts import Differences, reach, thinned


def dealt(x: list[float], y: list[float]) -> tuple[float, float]:
    """Return the tails of U by going through every way to deal the points."""
    whole = [*x, *y]
    seen = ranks.pairs_above(sorted(x), sorted(y))
    values: list[float] = []
    for chosen in itertools.combinations(range(len(whole)), len(x)):
        one = sorted(whole[i] for i in chosen)
        other = sorted(whole[i] for i in range(len(whole)) if i not in chosen)
        values.append(ranks.pairs_above(one, other))
    return (
        sum(u >= seen for u in values) / len(values),
        sum(u <= seen for u in values) / len(values),
    )


class TestMannWhitney:
    @pytest.mark.parametrize("seed", range(40))
    def test_exact_with_ties(self, seed: int) -> None:
        """The exact tails are those of all deals, ties and all."""
        draw = random.Random(seed)
        kinds = draw.randrange(1, 6)
        x = [float(draw.randrange(kinds)) for _ in range(draw.randrange(1, 6))]
        y = [float(draw.randrange(kinds)) for _ in range(draw.randrange(1, 7))]

        found = ranks.mann_whitney(x, y)

        assert found.is_exact
        assert (found.p_greater, found.p_less) == pytest.approx(dealt(x, y), rel=1e-12)

    @pytest.mark.parametrize("size", [(12, 9), (30, 40), (3, 100)])
    def test_exact_of_scipy(self, size: tuple[int, int]) -> None:
        """Without ties, scipy counts out the same, for larger samples too."""
        draw = random.Random(5)
        x, y = ([draw.gauss(0.3, 1) for _ in range(n)] for n in size)

        found = ranks.mann_whitney(x, y, exact=True)

        for name, mine in (("greater", found.p_greater), ("less", found.p_less)):
            theirs = stats.mannwhitneyu(x, y, alternative=name, method="exact").pvalue
            assert mine == pytest.approx(theirs, rel=1e-9)

    @pytest.mark.parametrize("digits", [0, 1, 9])
    def test_normal_of_scipy(self, digits: int) -> None:
        """In larger samples the corrected normal tails are scipy's, however many ties there are."""
        draw = random.Random(digits)
        x = [round(draw.gauss(0.2, 1), digits) for _ in range(80)]
        y = [round(draw.gauss(0, 2), digits) for _ in range(70)]

        found = ranks.mann_whitney(x, y)

        assert not found.is_exact
        for name, mine in (("greater", found.p_greater), ("less", found.p_less)):
            theirs = stats.mannwhitneyu(x, y, alternative=name, method="asymptotic").pvalue
            assert mine == pytest.approx(theirs, rel=1e-9)

    def test_all_tied(self) -> None:
        """Where all points are equal nothing is unlikely, and half of the pairs are above."""
        for size in (3, 60):
            found = ranks.mann_whitney([2.0] * size, [2.0] * size)
            assert (found.p_greater, found.p_less, found.p_two_sided) == (1.0, 1.0, 1.0)
            assert found.u == size * size / 2


GENERATORS = {
    "normal": lambda draw: draw.gauss(0, 1),
    "skewed": lambda draw: draw.lognormvariate(0, 3),
    "three values": lambda draw: float(draw.randrange(3)),
    "scales apart": lambda draw: draw.choice([0.0, 1e-9, 1.0, 1e9]),
    "rounded": lambda draw: round(draw.expovariate(1), 1),
    "constant": lambda draw: 5.0,
    "crowded": lambda draw: draw.random() ** 20,
}


class TestDifferences:
    @pytest.mark.parametrize("name", GENERATORS)
    @pytest.mark.parametrize("size", [(7, 5), (90, 110), (300, 200), (1, 4_000), (2_000, 2)])
    def test_select(self, name: str, size: tuple[int, int]) -> None:
        """Each rank gets the difference that a sorted list of all of them has there."""
        draw = random.Random(name)
        x, y = (sorted(GENERATORS[name](draw) for _ in range(n)) for n in size)
        whole = sorted(a - b for a in x for b in y)
        found = Differences(x, y)
        picks = {0, 1, len(whole) // 5, len(whole) // 2, len(whole) // 2 + 9, len(whole) - 1}

        for rank in sorted(pick for pick in picks if pick < len(whole)):
            assert found.selected(rank) == whole[rank]

    def test_rounded_away(self) -> None:
        """Points far smaller than those they are taken from end the search as any others do."""

        class Counted(Differences):
            def _cut(self, pivot: float, *, is_closed: bool = False) -> Any:
                assert len(self._cuts) < 100, "the search does not end"
                return super()._cut(pivot, is_closed=is_closed)

        draw = random.Random(4)
        for _ in range(20):
            x, y = [2.0] * 130, sorted(draw.random() * 1e-9 for _ in range(250))
            whole = sorted(a - b for a in x for b in y)
            found = Counted(x, y)

            assert [found.selected(r) for r in (9_000, 16_249, 16_250)] == [
                whole[r] for r in (9_000, 16_249, 16_250)
            ]

    def test_median(self) -> None:
        """The shift is the middle difference, or between the two in the middle."""
        assert Differences([1.0, 5.0, 9.0], [1.0]).median == 4.0
        assert Differences([1.0, 5.0], [0.0, 1.0]).median == 2.5

    def test_bounds_cover(self) -> None:
        """The bounds hold the true shift as often as they say."""
        draw, held = random.Random(3), 0
        for _ in range(400):
            x = sorted(draw.gauss(1, 1) for _ in range(15))
            y = sorted(draw.gauss(0, 1) for _ in range(15))
            held += Differences(x, y).bound(sign=-1, reach=reach(15, 15, 0.1)) <= 1

        assert 0.86 <= held / 400 <= 0.95

    def test_few_points_bound_as_well(self) -> None:
        """Bounds from two thousand points of each arm are those of all, but for a hundredth."""
        draw = random.Random(6)
        x, y = (sorted(draw.lognormvariate(0, 0.5) for _ in range(6_000)) for _ in range(2))
        whole, few = Differences(x, y), Differences(thinned(x, 2_000), thinned(y, 2_000))
        far = reach(6_000, 6_000, 0.05)

        for sign in (-1, 1):
            exact = whole.bound(sign=sign, reach=far)
            width = abs(exact - whole.median)
            assert few.bound(sign=sign, reach=far) == pytest.approx(exact, abs=width / 100)
