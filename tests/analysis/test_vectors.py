"""Published numbers come out: Kayenta's, R's and scipy's; and what Kayenta gets wrong comes out right."""

from __future__ import annotations

from typing import Any

import pytest

from pyflow.analysis import FixedSample, Graded, Scored, Sequential, Verdict
from pyflow.analysis.stats import describe, normal, ranks
from pyflow.analysis.stats.shifts import Differences, reach
from support.vectors import VECTORS, arms, named

DERIVED = [
    (case, found)
    for case in VECTORS["derived_reference_values"]["values"]
    if (found := named(case["name"]))
]
INTERVALS = [case for case in VECTORS["mann_whitney"] if case["kind"] == "ci_and_estimate"]
CLASSIFIED = [case for case in VECTORS["classifier"] if "classification" in case["expected"]]
FAILURES = VECTORS["judge_failures"]["cases"]
SCALES = [1e-9, 1e-5, 1.0, 1e9]
CLES_LIMIT = 0.1
"""Kayenta's limits on the common-language effect size have no counterpart here; the mean has to
move by a tenth instead."""


def by_name(case: Any) -> str:
    return (case[0] if isinstance(case, tuple) else case)["name"]


class TestRanks:
    @pytest.mark.parametrize("case", DERIVED, ids=by_name)
    def test_of_scipy(self, case: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """U, its p-values and the effect size are those that scipy computes."""
        expected, data = case
        x, y = arms(data)

        found = ranks.mann_whitney(x, y, exact=False)

        assert found.u == expected["U1"]
        assert found.p_greater == pytest.approx(expected["p_greater_asymptotic_cc"], rel=1e-9)
        assert found.p_less == pytest.approx(expected["p_less_asymptotic_cc"], rel=1e-9)
        assert found.p_two_sided == pytest.approx(expected["p_two_sided_asymptotic_cc"], rel=1e-9)
        assert ranks.cles(x, y) == pytest.approx(expected["cles_P(x>y)+0.5P(x=y)"], rel=1e-12)

    @pytest.mark.parametrize(
        "case", [c for c in DERIVED if "p_two_sided_exact" in c[0]], ids=by_name
    )
    def test_exact(self, case: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """The exact p-value is the one that scipy counts out."""
        expected, data = case

        found = ranks.mann_whitney(*arms(data), exact=True)

        assert found.is_exact
        assert found.p_two_sided == pytest.approx(expected["p_two_sided_exact"], rel=1e-9)

    @pytest.mark.parametrize("case", DERIVED, ids=by_name)
    def test_shift(self, case: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """The shift is the exact median of all differences."""
        expected, data = case
        x, y = arms(data)

        found = Differences(sorted(x), sorted(y)).median

        assert found == pytest.approx(
            expected["hodges_lehmann_exact_median_of_pairwise_differences"], rel=1e-9, abs=1e-15
        )

    @pytest.mark.parametrize("case", INTERVALS, ids=by_name)
    def test_interval(self, case: dict[str, Any]) -> None:
        """The interval is the one that Kayenta's solver, and R, come near; in its own unit, exactly."""
        x, y = (sorted(arm) for arm in arms(case))
        tail = (1 - case["confidence_level"]) / 2

        far = reach(len(x), len(y), tail)
        low, high = (Differences(x, y).bound(sign=sign, reach=far) for sign in (-1, 1))

        # Kayenta's solver stops within 1e-4, which is its whole interval where values are small.
        near = 1e-4 if len(x) > 10 else 3.0
        assert low == pytest.approx(case["expected"]["ci_low"], abs=near)
        assert high == pytest.approx(case["expected"]["ci_high"], abs=near)

    def test_normal(self) -> None:
        """The statistic and the quantile of Kayenta's Mann-Whitney test come out."""
        quantile = named("mann_whitney/Test zQuant")
        difference = named("mann_whitney/Wilcoxon Diff Function")
        assert quantile is not None
        assert difference is not None

        found = ranks.mann_whitney(*arms(difference), exact=False)
        z = normal.quantile(found.p_less)

        assert z == pytest.approx(difference["expected"][0]["value"], abs=1e-6)
        assert normal.quantile(quantile["p"]) == pytest.approx(quantile["expected"], abs=1e-6)


class TestNumbers:
    @pytest.mark.parametrize("case", VECTORS["percentile"], ids=lambda c: f"{c['name']} {c['p']}")
    def test_percentiles(self, case: dict[str, Any]) -> None:
        """Percentiles are linear between order statistics, as R's type 7."""
        found = describe.percentile(case["data"], case["p"])

        assert found == pytest.approx(case["expected"], abs=max(case["tolerance_abs"], 1e-12))

    @pytest.mark.parametrize("case", VECTORS["summary"], ids=by_name)
    def test_summaries(self, case: dict[str, Any]) -> None:
        """Least, most, mean, deviation and number come out, for an empty sample too."""
        found = describe.summary(case["data"])

        assert [found.least, found.most, found.mean, found.sd, found.count] == pytest.approx(
            [case["expected"][key] for key in ("min", "max", "mean", "std", "count")], abs=1e-4
        )

    @pytest.mark.parametrize("case", VECTORS["effect_size"], ids=by_name)
    def test_effect_sizes(self, case: dict[str, Any]) -> None:
        """Mean ratios, Cohen's d and the common-language effect size come out."""
        measures = {
            "meanRatio": describe.mean_ratio,
            "cohenD": describe.cohens_d,
            "cles": ranks.cles,
        }

        found = measures[case["measure"]](*arms(case))

        expected = None if case["expected"] == "NaN" else case["expected"]
        assert found == pytest.approx(expected, abs=max(case["tolerance_abs"], 1e-12))


class TestScores:
    @pytest.mark.parametrize("case", VECTORS["scorer"], ids=by_name)
    def test_of_groups(self, case: dict[str, Any]) -> None:
        """Kayenta's scores of groups come out."""
        verdicts: dict[str, Verdict] = {"Pass": "pass", "Nodata": "no_data", "Error": "error"}
        checks = [
            Graded(
                metric["name"],
                verdicts.get(metric["classification"], "fail"),
                groups=tuple(metric["groups"]),
                is_critical=metric["critical"],
            )
            for metric in case["metrics"]
        ]

        found = Scored(weights=case["group_weights"]).score(checks)

        assert found.least == found.most == case["expected_summary_score"]
        if "expected_group_scores_sorted" in case:
            assert sorted(found.groups.values()) == case["expected_group_scores_sorted"]


def limits(case: dict[str, Any]) -> dict[str, float]:
    """Return the limits of a classifier case in this library's terms: a ratio of 1.2 is a fifth more."""
    params = case.get("params", {})
    low, high = params.get("effect_size_thresholds_low_high", (1.0, 1.0))
    if params.get("effect_size_measure") == "cles":
        low, high = 1 - CLES_LIMIT, 1 + CLES_LIMIT
    up, down = max(high - 1.0, 0.0), max(1.0 - low, 0.0)
    found = {"max_increase": up, "max_decrease": down}
    wanted = {"Either": found, "Increase": {"max_increase": up}, "Decrease": {"max_decrease": down}}
    return wanted[case["direction"]]


class TestClassifier:
    @pytest.mark.parametrize("case", CLASSIFIED, ids=by_name)
    def test_finds_what_kayenta_finds(self, case: dict[str, Any]) -> None:
        """What Kayenta calls High or Low fails; what it passes does not, though few points do not pass."""
        alpha = 1 - case.get("params", {}).get("conf_level", 0.98)

        found = FixedSample(alpha=alpha).judge_values(*arms(case), **limits(case))

        wanted = {
            "High": ("fail",),
            "Low": ("fail",),
            "Pass": ("pass", "inconclusive"),
            "Nodata": ("no_data",),
        }
        assert found.verdict in wanted[case["expected"]["classification"]]
        if case["expected"]["classification"] in ("High", "Low") and found.shift is not None:
            assert (found.shift > 0) == (case["expected"]["classification"] == "High")


class TestMustBeat:
    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize("case", FAILURES, ids=by_name)
    def test_fixed(self, case: dict[str, Any], scale: float) -> None:
        """What Kayenta passes by mistake fails in every unit; a changed spread is no pass."""
        x, y = ([value * scale for value in arm] for arm in arms(case))

        found = FixedSample().judge_values(x, y, max_increase=0.1)

        wanted = "inconclusive" if case["name"] == "variability collapse" else "fail"
        assert found.verdict == wanted

    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize("case", FAILURES, ids=by_name)
    def test_sequential(self, case: dict[str, Any], scale: float) -> None:
        """At every look, none of them passes; what is one burst or ten points stays unsure."""
        x, y = ([value * scale for value in arm] for arm in arms(case))

        found = Sequential().judge_values(x, y, max_increase=0.1)

        assert found.verdict == ("fail" if case["name"].startswith("same data") else "inconclusive")

    def test_burst_as_counts(self) -> None:
        """Bad minutes that are counted as such are found, against a baseline that has none."""
        from pyflow.analysis import Counts

        for judge in (Sequential(), FixedSample()):
            found = judge.judge_counts(Counts(31, 60), Counts(0, 60), max_increase=0.01)
            assert found.verdict == "fail"

    def test_insignificant(self) -> None:
        """A shift of 0.3 % that is beyond doubt does not matter, and passes."""
        points = [1.0 + 0.0199 * (((i * 377) % 500) / 500 - 0.5) * 1.74 for i in range(500)]

        for judge in (Sequential(), FixedSample()):
            found = judge.judge_values([p * 1.003 for p in points], points, max_increase=0.05)
            assert found.verdict == "pass"
