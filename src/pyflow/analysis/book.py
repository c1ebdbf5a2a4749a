"""Where a whole analysis is: every check's progress, what is due next, and what it comes to.

It is a fold over measurements: `Book.judge` says what one means, `Book.take`
takes it in. There is no clock, no source and no other state, so a resumed run
that reads its measurements back goes on exactly where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.analysis.checks.base import broken
from pyflow.analysis.evidence import held_back
from pyflow.analysis.progress import Rules, Step, Tally, advance, conclude
from pyflow.analysis.scoring import scored
from pyflow.analysis.verdicts import Judgement, Verdict
from pyflow.frozen import frozen
from pyflow.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyflow.analysis.checks.base import Check
    from pyflow.analysis.progress import Then
    from pyflow.analysis.scoring import Scoring
    from pyflow.record.events import MeasurementTaken

__all__ = ["Book", "Outcome"]

WORST = ("pass", "inconclusive", "no_data", "error", "fail")
"""Verdicts in rising order of what they mean for an analysis."""
BEGINS = Judgement("inconclusive", "counting begins here", "none")


@frozen
class Outcome:
    """What an analysis has come to."""

    verdict: Verdict
    """The worst verdict of what counts."""

    then: Then
    """`pass`, `abort` or `hold`."""

    reason: str
    """One sentence for people."""


class Line:
    """One check, and how far it is."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.name = str(check.name)
        self.rules: Rules = check.rules
        self.tally = Tally()
        self.step = Step("go_on", 0.0)
        self.due_s = seconds(check.initial_delay, zero=True)
        self.looks: list[Mapping[str, Any]] = []
        self.latest: Judgement | None = None

    @property
    def is_open(self) -> bool:
        """Whether it goes on measuring."""
        return self.step.wait_s is not None

    @property
    def is_endless(self) -> bool:
        """Whether it goes on until somebody ends it."""
        return self.rules.count is None and self.rules.limits.successes is None


class Book:
    """The progress of all checks of an analysis."""

    def __init__(self, checks: Sequence[Check], scoring: Scoring) -> None:
        self.lines = [Line(check) for check in checks]
        self.scoring = scoring

    def line(self, name: str) -> Line | None:
        """Return the check called *name*, or None."""
        return next((line for line in self.lines if line.name == name), None)

    @property
    def next(self) -> Line | None:
        """The check whose measurement is due next; of several, the one that was declared before."""
        waiting = [line for line in self.lines if line.is_open]
        return min(waiting, key=lambda line: line.due_s, default=None)

    def judge(self, line: Line, values: Mapping[str, Any]) -> Judgement:
        """Judge a measurement of *line*, in the light of all others."""
        found = line.check.judge_here([*line.looks, values])
        if found is None:
            return BEGINS
        return self._held_back(line, found)

    def take(
        self, line: Line, values: Mapping[str, Any], judgement: Judgement, *, at_s: float
    ) -> Step:
        """Take in a measurement that was made at *at_s*, and return what follows for its check."""
        begins = judgement == BEGINS and broken(values) is None
        line.looks.append(values)
        line.latest = judgement
        if begins:
            line.step = Step("go_on", line.rules.interval_s or 0.0)
        else:
            line.tally, line.step = advance(line.rules, line.tally, judgement.verdict)
        if line.step.wait_s is not None:
            # In its turn, so that the schedule does not drift, unless a turn was missed.
            on_time = line.due_s + line.step.wait_s
            line.due_s = on_time if on_time > at_s else at_s + line.step.wait_s
        return line.step

    def replay(self, measurements: Iterable[MeasurementTaken]) -> float:
        """Take in recorded *measurements*, and return when the latest was due.

        Measurements of checks that are not here any more are left out.
        """
        at_s = 0.0
        for measured in measurements:
            line = self.line(measured.check)
            if line is not None and line.is_open:
                at_s = line.due_s
                judgement = Judgement.from_data(measured.judgement or {})
                self.take(line, measured.values or {}, judgement, at_s=at_s)
        return at_s

    @property
    def comparisons(self) -> list[Line]:
        """The critical comparisons, among which evidence has to hold."""
        return [one for one in self.lines if one.check.is_critical and one.check.cumulative]

    @property
    def outcome(self) -> Outcome | None:
        """What the analysis has come to, or None while it goes on."""
        binding = [line for line in self.lines if line.rules.binding]
        ended = [line for line in binding if line.step.then in ("abort", "hold")]
        if ended:
            worst = next((line for line in ended if line.step.then == "abort"), ended[0])
            return _of_line(worst)
        lines = [line for line in self.lines if not line.check.dry_run] or self.lines
        finite = [line for line in lines if not line.is_endless]
        if any(line.is_open for line in finite) or not finite:
            return None
        return self.conclude()

    def conclude(self) -> Outcome:
        """Return what the analysis comes to if nothing further is measured."""
        for line in self.lines:
            if line.is_open:
                line.step = conclude(line.rules, line.tally)
        bad = [line for line in self.lines if line.check.is_critical and line.step.then != "pass"]
        if bad:
            aborts = [line for line in bad if line.step.then == "abort"]
            return _of_line(max(aborts or bad, key=lambda line: WORST.index(_verdict(line))))
        weighted: dict[str, tuple[float, Verdict]] = {
            line.name: (line.check.weight, _verdict(line))
            for line in self.lines
            if line.check.weight is not None and not line.check.dry_run
        }
        if weighted:
            verdict, then, reason = scored(self.scoring, weighted)
            return Outcome(verdict, then, reason)
        count = sum(line.check.is_critical for line in self.lines)
        return Outcome("pass", "pass", f"{count} of {count} checks passed")

    @property
    def data(self) -> dict[str, Any]:
        """What became of each check, as JSON data."""
        return {
            line.name: {
                "verdict": line.step.verdict or line.tally.latest or "no_data",
                "measurements": len(line.looks),
                "reason": line.latest.reason if line.latest else "nothing was measured",
                **({"dry_run": True} if line.check.dry_run else {}),
            }
            for line in self.lines
        }

    def _held_back(self, line: Line, found: Judgement) -> Judgement:
        """Let a failure count only if its evidence holds among all comparisons that could fail.

        With one critical comparison nothing changes; with several, Holm's
        procedure keeps the probability that any of them fails by chance.
        """
        alpha = getattr(getattr(line.check, "judge_with", None), "alpha", None)
        others = [_p_value(other) for other in self.comparisons if other is not line]
        if alpha is None or line not in self.comparisons:
            return found
        return held_back(found, others, alpha=alpha)


def _p_value(line: Line) -> float:
    p_value = line.latest.p_value if line.latest else None
    return 1.0 if p_value is None else p_value


def _verdict(line: Line) -> Verdict:
    return line.step.verdict or "no_data"


def _of_line(line: Line) -> Outcome:
    verdict = _verdict(line)
    reason = line.latest.reason if line.latest else "nothing was measured"
    return Outcome(verdict, line.step.then, f"{line.name}: {verdict}: {reason}")
