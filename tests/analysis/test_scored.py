"""Scores of many judgements, and Holm's correction of them."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from pyflow.analysis import Graded, Judgement, Scored, Verdict, corrected, rejected
from pyflow.errors import DefinitionError


def checks(*verdicts: Verdict, group: str = "all") -> list[Graded]:
    return [Graded(f"{group} {n}", verdict, groups=(group,)) for n, verdict in enumerate(verdicts)]


class TestScored:
    @pytest.mark.parametrize(
        ("verdicts", "verdict", "score"),
        [
            (["pass"] * 20, "pass", 100.0),
            (["pass"] * 19 + ["fail"], "pass", 95.0),
            (["pass"] * 4 + ["fail"], "inconclusive", 80.0),
            (["pass"] * 2 + ["fail"], "fail", 66.67),
            (["pass"] * 2 + ["error"], "fail", 66.67),
            (["error"] * 3, "fail", 0.0),
            (["pass"] * 3 + ["inconclusive"], "inconclusive", 75.0),
            (["pass"] * 2 + ["inconclusive"], "inconclusive", 66.67),
            (["fail", "fail", "inconclusive"], "fail", 0.0),
            (["pass", "pass", "no_data"], "pass", 100.0),
            (["pass", "no_data"], "no_data", 0.0),
            (["no_data"], "no_data", 0.0),
        ],
    )
    def test_verdicts(self, verdicts: list[Verdict], verdict: str, score: float) -> None:
        """The score decides; errors are failures, and what is unsure leaves open what it may change."""
        found = Scored().judge(checks(*verdicts))

        assert (found.verdict, found.score) == (verdict, score)

    @pytest.mark.parametrize(
        ("critical", "verdict"),
        [
            ("pass", "pass"),
            ("fail", "fail"),
            ("error", "fail"),
            ("no_data", "no_data"),
            ("inconclusive", "inconclusive"),
        ],
    )
    def test_critical(self, critical: Verdict, verdict: str) -> None:
        """A critical check that does not pass takes the whole with it."""
        whole = [*checks(*["pass"] * 30), Graded("vital", critical, is_critical=True)]  # type: ignore[list-item]

        found = Scored().judge(whole)

        assert found.verdict == verdict
        assert found.score == (100.0 if critical == "pass" else 0.0)
        assert ("vital" in found.reason) == (critical != "pass")

    def test_absent_groups(self) -> None:
        """A group without data takes no part: its weight goes to the others, not to a pass."""
        judge = Scored(weights={"a": 50, "b": 20, "c": 30})
        here = [*checks("fail", group="b"), *checks("pass", group="c")]

        found = judge.score([*checks("no_data", group="a"), *here])

        assert found.least == 60.0
        assert found.groups == {"a": 0.0, "b": 0.0, "c": 100.0}
        assert judge.score(here).least == 60.0

    def test_weights_left(self) -> None:
        """Groups that are not named share what is left of a hundred."""
        whole = [
            *checks("pass", group="a"),
            *checks("fail", group="b"),
            *checks("pass", group="c"),
        ]

        assert Scored(weights={"a": 60}).score(whole).least == 80.0
        assert Scored(weights={"a": 100}).score(whole).least == 100.0
        assert Scored(weights={"a": 0, "b": 0, "c": 0}).score(whole).least == 66.67

    def test_in_several_groups(self) -> None:
        """A check counts in each of its groups."""
        both = Graded("both", "fail", groups=("a", "b"))
        whole = [both, *checks("pass", group="a"), *checks("pass", "pass", "pass", group="b")]

        assert Scored().score(whole).least == 62.5

    def test_nothing_decides_nothing(self) -> None:
        """A score of no checks is refused."""
        with pytest.raises(DefinitionError, match="no checks"):
            Scored().judge([])

    def test_never_passes_on_less(self) -> None:
        """No verdict that turns from pass to something else ever makes the whole pass."""
        kinds: tuple[Verdict, ...] = get_args(Verdict)
        judge = Scored(pass_score=60, marginal_score=30)
        for verdicts in itertools.product(kinds, repeat=3):
            if judge.judge(checks(*verdicts)).verdict == "pass":
                continue
            for place in range(3):
                if verdicts[place] != "pass" and verdicts[place] != "no_data":
                    worse = list(verdicts)
                    worse[place] = "fail"
                    assert judge.judge(checks(*worse)).verdict != "pass"

    def test_is_a_value(self) -> None:
        """The weights cannot be changed from outside."""
        weights = {"a": 10.0}
        judge = Scored(weights=weights)

        weights["a"] = 90.0

        assert judge.weights == {"a": 10.0}


def failed(p_value: float | None) -> Judgement:
    return Judgement("fail", "worse", "m", p_value=p_value)


class TestHolm:
    def test_rejects(self) -> None:
        """Each p-value is held against what those before it leave, and the rest falls with one."""
        assert rejected({"a": 0.01, "b": 0.03, "c": 0.04}, alpha=0.05) == {"a"}
        assert rejected({"a": 0.01, "b": 0.02, "c": 0.05}, alpha=0.05) == {"a", "b", "c"}
        assert rejected({"a": 0.03, "b": 0.03, "c": 0.03}, alpha=0.05) == frozenset()
        assert rejected({}, alpha=0.05) == frozenset()

    def test_takes_back(self) -> None:
        """A failure that many checks explain becomes unsure; thresholds are no part of it."""
        found = corrected(
            {
                "a": failed(0.001),
                "b": failed(0.04),
                "t": failed(None),
                "c": Judgement("pass", "", "m", p_value=0.9),
            },
            alpha=0.05,
        )

        verdicts = {name: judgement.verdict for name, judgement in found.items()}
        assert verdicts == {"a": "fail", "b": "inconclusive", "t": "fail", "c": "pass"}
        assert found["b"].reason == "worse; not enough beside 2 other checks"

    @pytest.mark.parametrize("alpha", [0.0, 1.0, -1])
    def test_refuses(self, alpha: float) -> None:
        """A level that is none is refused."""
        with pytest.raises(DefinitionError, match="between 0 and 1"):
            corrected({}, alpha=alpha)
