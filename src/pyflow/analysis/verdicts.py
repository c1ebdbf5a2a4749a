"""What a judge is given and what it answers: `Counts`, `Verdict` and `Judgement`.

All of them are values. A judgement turns into JSON data and back without
losing a bit, so a verdict in the audit trail can be held against the one that
the same data give when they are judged again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pyflow.errors import CodecError, shown
from pyflow.frozen import fields_of, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.protocols import JSON

__all__ = ["Counts", "Judgement", "Verdict"]

Verdict: TypeAlias = Literal["pass", "fail", "inconclusive", "no_data", "error"]
"""What an analysis says. `inconclusive` is unsure; none of the last three ever promotes."""

VERDICTS = get_args(Verdict)
PAIRS = ("interval", "samples", "effective_samples", "shift_interval")


@frozen
class Counts:
    """How many of a number of requests went wrong, since the comparison began."""

    events: float
    """What is counted, errors as a rule. May be a fraction, as extrapolated counters are."""

    total: float
    """All requests, those included."""

    @property
    def rate(self) -> float:
        """The share of the events; 0 where there were no requests."""
        return self.events / self.total if self.total > 0 else 0.0


@frozen
class Judgement:
    """What a judge makes of two arms, with everything that it rests on."""

    verdict: Verdict
    """`pass`: an increase beyond the limit would have shown. `fail`: there is
    one, beyond chance and beyond the limit. `inconclusive`: the data do not
    tell. `no_data`: an arm is empty. `error`: the data make no sense."""

    reason: str
    """One sentence for people."""

    method: str
    """The test that was used, such as ``mixture SPRT, log scale``."""

    effect: float | None = None
    """How much higher the canary is: for counts the difference of the rates,
    for values the change relative to the baseline (0.2 is 20 % more). None
    where there is none to tell, as with a baseline of zero."""

    interval: tuple[float | None, float | None] | None = None
    """Where the true effect is, in the same unit; an end that is None is open."""

    p_value: float | None = None
    """The probability of evidence as strong as this if nothing was worse. From
    a sequential judge it holds at every look."""

    evidence: float | None = None
    """How many times likelier the data are if something is worse; sequential judges alone."""

    samples: tuple[float, float] = (0, 0)
    """Points or requests of the canary and of the baseline."""

    effective_samples: tuple[float, float] = (0.0, 0.0)
    """How many independent ones they are worth."""

    shift: float | None = None
    """The typical difference in the metric's own unit (Hodges and Lehmann's, where it is known)."""

    shift_interval: tuple[float, float] | None = None
    """Where the true shift is."""

    cles: float | None = None
    """The probability that a point of the canary is above one of the baseline
    (the common-language effect size); 0.5 is no difference."""

    spread: float | None = None
    """How many times more the canary varies than the baseline, where that was tested."""

    score: float | None = None
    """From 0 to 100, where judgements were weighed."""

    @property
    def data(self) -> dict[str, JSON]:
        """The judgement as JSON data; fields that are None are left out."""
        found: dict[str, Any] = {}
        for name in fields_of(Judgement):
            value = getattr(self, name)
            if value is not None:
                found[name] = list(value) if name in PAIRS else value
        return found

    @classmethod
    def from_data(cls, data: Mapping[str, Any], /) -> Judgement:
        """Return the judgement that *data* came from, equal in every bit.

        Raises:
            CodecError: *data* are not those of a judgement.
        """
        unknown = [name for name in data if name not in fields_of(cls)]
        missing = [name for name in ("verdict", "reason", "method") if name not in data]
        if unknown or missing or data["verdict"] not in VERDICTS:
            raise CodecError("judgement", f"{shown(dict(data))} are not the data of a judgement")
        fields: dict[str, Any] = {k: tuple(v) if k in PAIRS else v for k, v in data.items()}
        return cls(**fields)
