"""The progress of a check against Argo's vectors, and by examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from pyflow.analysis import Limits, Rate, Threshold, extend, retry
from pyflow.analysis.progress import Rules, Step, Tally, advance, conclude, ended
from pyflow.analysis.verdicts import Verdict
from support.measured import says

VECTORS = json.loads((Path(__file__).parent / "data" / "argo_analysis_vectors.json").read_text())
PHASES = {"fail": "Failed", "inconclusive": "Inconclusive", "error": "Error", "pass": "Successful"}
ERRORS_IN_A_ROW = 4


def argo_threshold(metric: dict[str, Any]) -> Threshold:
    """Return a threshold with the limits of an Argo metric, as Argo has them by default."""
    failures = metric.get("failureLimit", 0)
    limits = Limits(
        failures=None if failures < 0 else failures,
        inconclusive=metric.get("inconclusiveLimit", 0),
        successes=metric.get("consecutiveSuccessLimit") or None,
    )
    interval = metric.get("interval") or ("1m" if metric.get("count", 1) > 1 else None)
    return Threshold(
        says(1),
        "up",
        above=0,
        interval=interval,
        count=metric.get("count"),
        limits=limits,
        error=retry(ERRORS_IN_A_ROW, every="10s"),
    )


def argo_tally(result: dict[str, Any]) -> Tally:
    """Return what Argo's counters say, as a tally."""
    failed, passed = result.get("failed", 0), result.get("successful", 0)
    in_a_row = result.get("consecutiveSuccess", 0)
    errors = result.get("consecutiveError", 0)
    latest: Verdict = "error" if errors else ("pass" if in_a_row else "fail")
    return Tally(
        passed=passed,
        failed=failed,
        inconclusive=result.get("inconclusive", 0),
        errors=max(0, errors - ERRORS_IN_A_ROW),
        latest=latest,
        in_a_row=in_a_row or errors or 1,
    )


def rules(**options: Any) -> Rules:
    defaults: dict[str, Any] = {
        "limits": Limits(),
        "fail": "abort",
        "inconclusive": "hold",
        "no_data": "hold",
        "error": "hold",
        "interval_s": 60.0,
        "count": 3,
    }
    return Rules(**(defaults | options))


LETTERS: dict[str, Verdict] = {
    "p": "pass",
    "f": "fail",
    "i": "inconclusive",
    "n": "no_data",
    "e": "error",
}


def walked(rules: Rules, letters: str) -> Step:
    """Return what follows after these verdicts; nothing but the last may end the check."""
    tally, step = Tally(), Step("go_on")
    for number, letter in enumerate(letters):
        assert step.then in ("go_on", "again"), f"it ended after {letters[:number]}: {step}"
        tally, step = advance(rules, tally, LETTERS[letter])
    return step


class TestArgo:
    @pytest.mark.parametrize("vector", VECTORS["metric_phase"], ids=lambda v: v["test"])
    def test_phases(self, vector: dict[str, Any]) -> None:
        """A threshold with Argo's limits comes to the phase that Argo comes to."""
        check, expected = argo_threshold(vector["metric"]), vector["expected"]
        if not vector["result"].get("count"):  # nothing has ended yet
            assert expected in ("Pending", "Running")
            assert ended(check.rules, Tally()) is None
            return

        found = ended(check.rules, argo_tally(vector["result"]))

        assert PHASES.get(found or "", "Running") == expected

    def test_all_phases(self) -> None:
        """All of Argo's vectors are held against."""
        assert len(VECTORS["metric_phase"]) == 27
        assert len(VECTORS["measurement_phase"]) == 8

    def test_errors_in_a_row(self) -> None:
        """As in Argo, the fifth error in a row is one too many, and a success begins anew."""
        check = argo_threshold({"interval": "60s"})

        assert walked(check.rules, "eeee") == Step("again", 10)
        assert walked(check.rules, "eeeepeeee") == Step("again", 10)
        assert walked(check.rules, "eeeee") == Step("hold", None, "error")

    def test_nothing_measured(self) -> None:
        """Unlike in Argo, a check that is cut short before it measured has not passed."""
        assert conclude(argo_threshold({"interval": "60s"}).rules, Tally()).verdict == "no_data"

    def test_worst(self) -> None:
        """Verdicts are ordered as Argo orders its phases; `no_data` has its place among them."""
        from pyflow.analysis.book import WORST

        order = [p for p in VECTORS["run_phase_worst_order"] if p not in ("Running", "Pending")]
        assert [PHASES[verdict] for verdict in WORST if verdict != "no_data"] == order
        assert set(WORST) == set(get_args(Verdict))


class TestLimits:
    @pytest.mark.parametrize(
        ("limits", "letters", "step"),
        [
            ({}, "ppp", Step("pass", None, "pass")),
            ({}, "pp", Step("go_on", 60)),
            ({}, "f", Step("abort", None, "fail")),
            ({"failures": 1}, "pf", Step("go_on", 60)),
            ({"failures": 1}, "pff", Step("abort", None, "fail")),
            ({"failures": None}, "fff", Step("hold", None, "inconclusive")),
            ({"failures": None}, "ffp", Step("pass", None, "pass")),
            ({"failures": None, "consecutive_failures": 1}, "fpff", None),
            ({"inconclusive": 1}, "ii", Step("hold", None, "inconclusive")),
            ({"inconclusive": None}, "iii", Step("hold", None, "inconclusive")),
            ({"inconclusive": None}, "iip", Step("pass", None, "pass")),
            ({"no_data": 1}, "nnpn", None),
            ({"no_data": 1}, "nn", Step("hold", None, "no_data")),
            ({"errors": 1}, "ee", Step("hold", None, "error")),
            ({"successes": 2}, "pp", Step("pass", None, "pass")),
            ({"successes": 2, "failures": 1}, "pfp", Step("hold", None, "inconclusive")),
            ({"successes": 2, "failures": None}, "pfp", Step("abort", None, "fail")),
        ],
    )
    def test_end(self, limits: dict[str, Any], letters: str, step: Step | None) -> None:
        """A check ends with the measurement that exceeds a limit, or with its last."""
        told = rules(limits=Limits(**limits))
        if step is None:
            with pytest.raises(AssertionError, match="it ended"):
                walked(told, letters)
            return

        assert walked(told, letters) == step

    def test_in_a_row(self) -> None:
        """Failures in a row are counted anew after each that does not fail."""
        told = rules(limits=Limits(failures=None, consecutive_failures=1), count=None)

        assert walked(told, "fpfpf") == Step("go_on", 60)
        assert walked(told, "fpff") == Step("abort", None, "fail")

    def test_rate(self) -> None:
        """Failures among the latest measurements count; those without data are no measurements."""
        limits = Limits(failures=None, failure_rate=Rate(1, among=3), no_data=9)
        told = rules(limits=limits, count=None)

        assert walked(told, "fppfppf") == Step("go_on", 60)
        assert walked(told, "fppfnnpf") == Step("abort", None, "fail")

    def test_own(self) -> None:
        """Errors and measurements without data do not count as measurements."""
        told = rules(limits=Limits(errors=5, no_data=5))

        assert walked(told, "penepnp") == Step("pass", None, "pass")


class TestPolicies:
    @pytest.mark.parametrize("letter", ["f", "i", "n", "e"])
    @pytest.mark.parametrize("ending", ["abort", "hold"])
    def test_ending(self, letter: str, ending: Any) -> None:
        """Each verdict that is no pass has its own ending."""
        told = rules(**{LETTERS[letter]: ending})

        assert walked(told, letter) == Step(ending, None, LETTERS[letter])

    @pytest.mark.parametrize("letter", ["f", "i", "n", "e"])
    def test_extend(self, letter: str) -> None:
        """A budget of measurements is spent in all, counts as nothing, and then comes its ending."""
        told = rules(**{LETTERS[letter]: extend(2, then="abort")})

        assert walked(told, f"{letter}p{letter}pp") == Step("pass", None, "pass")
        assert walked(told, f"{letter}p{letter}{letter}") == Step("abort", None, LETTERS[letter])

    def test_extend_by_span(self) -> None:
        """A span is worth as many measurements as it has intervals, one begun counts."""
        told = rules(no_data=extend("150s"))

        assert walked(told, "nnn") == Step("go_on", 60)
        assert walked(told, "nnnn") == Step("hold", None, "no_data")

    @pytest.mark.parametrize("letter", ["f", "i", "n", "e"])
    def test_retry(self, letter: str) -> None:
        """So many in a row are tolerated and measured again soon; a pass begins anew."""
        told = rules(**{LETTERS[letter]: retry(1, every="5s", then="abort")})

        assert walked(told, letter) == Step("again", 5)
        assert walked(told, f"{letter}p{letter}") == Step("again", 5)
        assert walked(told, letter * 2) == Step("abort", None, LETTERS[letter])

    def test_beyond_budget(self) -> None:
        """Past its budget a measurement counts against the limit, which may still allow it."""
        told = rules(limits=Limits(failures=1), fail=retry(1))

        assert walked(told, "ffp") == Step("go_on", 60)
        assert walked(told, "fff") == Step("hold", None, "fail")

    @pytest.mark.parametrize("verdict", ["fail", "inconclusive", "no_data", "error"])
    def test_never_promote(self, verdict: Any) -> None:
        """Whatever the policies, what never passes does not end in a pass."""
        for policy in ("abort", "hold", extend(3), retry(3)):
            told, tally, step = rules(**{verdict: policy}), Tally(), Step("go_on")
            for _ in range(20):
                if step.then not in ("go_on", "again"):
                    break
                tally, step = advance(told, tally, verdict)

            assert step.then in ("abort", "hold")
            assert conclude(told, tally).then != "pass"

    def test_not_binding(self) -> None:
        """A check that binds nobody ends without aborting."""
        assert walked(rules(binding=False), "f") == Step("end", None, "fail")
        assert walked(rules(binding=False), "ppp").then == "pass"


class TestCumulative:
    def test_unsure(self) -> None:
        """A comparison may be unsure at every look but the last."""
        told = rules(cumulative=True)

        assert walked(told, "iip") == Step("pass", None, "pass")
        assert walked(told, "ppi") == Step("hold", None, "inconclusive")

    def test_fails_at_once(self) -> None:
        """A comparison fails with the look that finds the evidence."""
        assert walked(rules(cumulative=True), "if") == Step("abort", None, "fail")

    def test_extend(self) -> None:
        """An unsure last look may be extended, and the looks that follow decide."""
        told = rules(cumulative=True, inconclusive=extend(2))

        assert walked(told, "iiii") == Step("go_on", 60)
        assert walked(told, "iiiip") == Step("pass", None, "pass")
        assert walked(told, "iiiii") == Step("hold", None, "inconclusive")

    def test_endless(self) -> None:
        """Without a last look it goes on, however unsure."""
        assert walked(rules(cumulative=True, count=None), "i" * 50) == Step("go_on", 60)


class TestConclude:
    @pytest.mark.parametrize(
        ("options", "letters", "verdict"),
        [
            ({}, "p", "pass"),
            ({"limits": Limits(failures=1)}, "pf", "pass"),
            ({"limits": Limits(failures=1)}, "f", "fail"),
            ({"limits": Limits(inconclusive=1)}, "pi", "inconclusive"),
            ({"limits": Limits(no_data=1)}, "pn", "no_data"),
            ({"error": retry(3)}, "pe", "error"),
            ({"limits": Limits(successes=3)}, "pp", "inconclusive"),
            ({"cumulative": True}, "pi", "inconclusive"),
            ({"cumulative": True, "limits": Limits(failures=1)}, "pf", "fail"),
        ],
    )
    def test_cut_short(self, options: dict[str, Any], letters: str, verdict: Verdict) -> None:
        """A check that is cut short has passed if it has measured so, and nothing speaks against it."""
        told, tally = rules(**{"count": 9} | options), Tally()
        for letter in letters:
            tally, _ = advance(told, tally, LETTERS[letter])

        assert conclude(told, tally).verdict == verdict


class TestReport:
    def test_reprs(self) -> None:
        """Policies show their budgets."""
        assert re.search("budget=3", repr(retry(3)))
