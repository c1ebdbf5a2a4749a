"""How one check gets on: a fold over the verdicts of its measurements, and nothing else.

`advance` is told a verdict and answers what follows. The rules are those of
Argo Rollouts' analysis runs, counters and order included, with two
exceptions: a check without a condition cannot be made, and nothing passes of
which no measurement has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.analysis.policies import Extend, Repeat, ending_of
from pyflow.frozen import frozen, replace

if TYPE_CHECKING:
    from pyflow.analysis.policies import Policy
    from pyflow.analysis.tolerance import Limits
    from pyflow.analysis.verdicts import Verdict

__all__ = ["Rules", "Step", "Tally", "Then", "advance", "conclude", "ended"]

Then: TypeAlias = Literal["go_on", "again", "pass", "abort", "hold", "end"]
"""What follows: the next measurement in its turn, or soon; or the end of the
check. `end` is that of a check that has not passed and binds nobody."""


@frozen
class Rules:
    """What a check was told when it was made, as far as its progress depends on it."""

    limits: Limits
    """How much it puts up with."""

    fail: Policy
    """What follows where it fails."""

    inconclusive: Policy
    """What follows where it is unsure."""

    no_data: Policy
    """What follows where there is no data."""

    error: Policy
    """What follows where it cannot ask."""

    interval_s: float | None = None
    """From one measurement to the next, in seconds."""

    count: int | None = 1
    """How many measurements count; None is without end."""

    cumulative: bool = False
    """Whether each measurement judges all data so far, so that being unsure
    means nothing before the last one."""

    binding: bool = True
    """Whether it can end the analysis."""

    def policy(self, verdict: Verdict) -> Policy:
        """Return the policy for a *verdict* other than pass."""
        assert verdict != "pass"
        return getattr(self, verdict)


@frozen
class Tally:
    """What a check has measured so far."""

    passed: int = 0
    """How many measurements passed."""

    failed: int = 0
    """How many failed."""

    inconclusive: int = 0
    """How many were unsure, where that counts."""

    unsure: int = 0
    """How many looks of a comparison were unsure before the last one."""

    no_data: int = 0
    """How many had no data, beyond what was tolerated."""

    errors: int = 0
    """How many could not ask, beyond what was tolerated."""

    latest: Verdict | None = None
    """The verdict of the latest measurement."""

    in_a_row: int = 0
    """How many of the latest had that verdict."""

    recent: tuple[bool, ...] = ()
    """Which of the latest measurements that count failed, as far back as the rate looks."""

    extended: tuple[Verdict, ...] = ()
    """The measurements that a budget of `extend` has tolerated."""

    @property
    def counted(self) -> int:
        """How many measurements count; errors and those without data do not."""
        return self.passed + self.failed + self.inconclusive + self.unsure


@frozen
class Step:
    """What follows from a measurement."""

    then: Then
    """What the check does."""

    wait_s: float | None = None
    """How long after this measurement the next one is due; None where the check ends."""

    verdict: Verdict | None = None
    """What the check comes to, where it ends."""


def advance(rules: Rules, tally: Tally, verdict: Verdict) -> tuple[Tally, Step]:
    """Take in the *verdict* of a measurement, and return what is known now and what follows."""
    again = verdict == tally.latest
    tally = replace(tally, latest=verdict, in_a_row=tally.in_a_row + 1 if again else 1)
    if verdict == "inconclusive" and not _is_last(rules, tally):
        return replace(tally, unsure=tally.unsure + 1), Step("go_on", _interval_s(rules))
    if verdict != "pass":
        policy = rules.policy(verdict)
        if isinstance(policy, Repeat) and tally.in_a_row <= policy.budget:
            return tally, Step("again", policy.every_s)
        if isinstance(policy, Extend):
            used = tally.extended.count(verdict)
            if used < policy.measurements(rules.interval_s):
                extended = replace(tally, extended=(*tally.extended, verdict))
                return extended, Step("go_on", _interval_s(rules))
    tally = _counted(rules, tally, verdict)
    found = ended(rules, tally)
    return tally, _end(rules, found) if found else Step("go_on", _interval_s(rules))


def ended(rules: Rules, tally: Tally) -> Verdict | None:
    """Return what a check with this *tally* has come to, or None while it goes on."""
    limits, found = rules.limits, None
    if _fails(rules, tally):
        found = "fail"
    elif tally.errors > limits.errors:
        found = "error"
    elif _exceeds(tally.inconclusive, limits.inconclusive):
        found = "inconclusive"
    elif tally.no_data > limits.no_data:
        found = "no_data"
    elif limits.successes and tally.latest == "pass" and tally.in_a_row >= limits.successes:
        found = "pass"
    elif rules.count is not None and tally.counted >= rules.count:
        found = _at_the_end(rules, tally)
    return found


def conclude(rules: Rules, tally: Tally) -> Step:
    """Return what a check comes to that is cut short where it is.

    It has passed if some measurement has, no limit is exceeded, and the
    latest one is no reason for doubt.
    """
    latest = tally.latest or "no_data"
    if rules.limits.successes and latest == "pass":
        return _end(rules, "inconclusive")
    tolerated = latest == "fail" and tally.passed > 0 and not rules.cumulative
    return _end(rules, "pass" if latest == "pass" or tolerated else latest)


def _at_the_end(rules: Rules, tally: Tally) -> Verdict:
    """Return what a check comes to that has measured as often as it was to."""
    if rules.limits.successes:
        return "fail" if rules.limits.failures is None else "inconclusive"
    return "pass" if tally.passed else "inconclusive"


def _fails(rules: Rules, tally: Tally) -> bool:
    limits = rules.limits
    in_a_row = tally.in_a_row if tally.latest == "fail" else 0
    return (
        _exceeds(tally.failed, limits.failures)
        or _exceeds(in_a_row, limits.consecutive_failures)
        or (limits.failure_rate is not None and sum(tally.recent) > limits.failure_rate.most)
    )


def _is_last(rules: Rules, tally: Tally) -> bool:
    """Return whether being unsure counts: always, but for a comparison that looks again."""
    if not rules.cumulative:
        return True
    return rules.count is not None and tally.counted + 1 >= rules.count


def _counted(rules: Rules, tally: Tally, verdict: Verdict) -> Tally:
    field = {"pass": "passed", "fail": "failed", "error": "errors"}.get(verdict, verdict)
    tally = replace(tally, **{field: getattr(tally, field) + 1})
    rate = rules.limits.failure_rate
    if rate is None or verdict in ("error", "no_data"):
        return tally
    return replace(tally, recent=(*tally.recent, verdict == "fail")[-rate.among :])


def _end(rules: Rules, verdict: Verdict) -> Step:
    if verdict == "pass":
        return Step("pass", None, verdict)
    return Step(ending_of(rules.policy(verdict)) if rules.binding else "end", None, verdict)


def _exceeds(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit


def _interval_s(rules: Rules) -> float:
    """Return how long to wait for the next measurement; one alone that is extended waits a bit."""
    return rules.interval_s if rules.interval_s is not None else 10.0
