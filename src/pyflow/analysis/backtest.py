"""`backtest`: runs a judge over past releases, whose truth has become known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.analysis.verdicts import Counts, Judgement
from pyflow.errors import DefinitionError
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyflow.analysis.judges.protocol import Judge

__all__ = ["Backtest", "Past", "Tried", "backtest"]

Truth: TypeAlias = Literal["good", "bad"]
Arm: TypeAlias = "Counts | Sequence[float]"


@frozen
class Past:
    """A comparison that was made, and what is known of it by now."""

    name: str
    """Which release it was, such as ``shop 2.3.1``."""

    truth: Truth
    """Whether the canary was worse, as people know by now."""

    looks: tuple[tuple[Arm, Arm], ...]
    """Canary and baseline as they stood at each look, from the beginning on."""


@frozen
class Tried:
    """What a judge would have made of one release."""

    past: Past
    """The release."""

    judgement: Judgement
    """The judgement at the look that fails it, or at the last one."""

    look: int
    """The number of that look, from 1."""


@frozen
class Backtest:
    """How a judge would have done."""

    tried: tuple[Tried, ...]
    """Every release, in the order given."""

    @property
    def false_alarms(self) -> tuple[Tried, ...]:
        """Good releases that it would have failed."""
        return tuple(self._of("good", "fail"))

    @property
    def misses(self) -> tuple[Tried, ...]:
        """Bad releases that it would not have failed, whether it passed them or was unsure."""
        bad = (tried for tried in self.tried if tried.past.truth == "bad")
        return tuple(tried for tried in bad if tried.judgement.verdict != "fail")

    @property
    def wrong_passes(self) -> tuple[Tried, ...]:
        """Those misses that it would have passed."""
        return tuple(self._of("bad", "pass"))

    @property
    def false_alarm_rate(self) -> float | None:
        """The share of good releases that it would have failed; None where there are none."""
        return self._rate("good", len(self.false_alarms))

    @property
    def miss_rate(self) -> float | None:
        """The share of bad releases that it would not have failed; None where there are none."""
        return self._rate("bad", len(self.misses))

    def _of(self, truth: Truth, verdict: str) -> Iterator[Tried]:
        for tried in self.tried:
            if tried.past.truth == truth and tried.judgement.verdict == verdict:
                yield tried

    def _rate(self, truth: Truth, number: int) -> float | None:
        whole = sum(tried.past.truth == truth for tried in self.tried)
        return number / whole if whole else None


def backtest(
    judge: Judge,
    history: Iterable[Past],
    *,
    max_increase: float | None = None,
    max_decrease: float | None = None,
) -> Backtest:
    """Run *judge* over *history*, look by look, as it would have been run then.

    Raises:
        DefinitionError: A release has no looks, or the judge no limit.
    """
    return Backtest(
        tuple(
            _tried(judge, past, max_increase=max_increase, max_decrease=max_decrease)
            for past in history
        )
    )


def _tried(
    judge: Judge, past: Past, *, max_increase: float | None, max_decrease: float | None
) -> Tried:
    tried: Tried | None = None
    for look, (canary, baseline) in enumerate(past.looks, start=1):
        if isinstance(canary, Counts) and isinstance(baseline, Counts):
            found = judge.judge_counts(
                canary, baseline, max_increase=max_increase, max_decrease=max_decrease
            )
        elif isinstance(canary, Counts) or isinstance(baseline, Counts):
            raise DefinitionError(past.name, [f"look {look} compares counts with values"])
        else:
            found = judge.judge_values(
                canary, baseline, max_increase=max_increase, max_decrease=max_decrease
            )
        tried = Tried(past, found, look)
        if found.verdict == "fail":
            break
    if tried is None:
        raise DefinitionError(past.name, ["a release without a look shows nothing; give one"])
    return tried
