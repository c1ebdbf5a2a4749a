"""Turn on an alarm that somebody else evaluates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pyflow.analysis.checks.base import Arms, Check, Look, broken, empty
from pyflow.analysis.verdicts import Judgement
from pyflow.errors import shown
from pyflow.polling import look as look_through
from pyflow.polling import probe_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.protocols import Probe

__all__ = ["Alarm"]


@dataclass(frozen=True, slots=True, repr=False)
class Alarm(Check):
    """Fails while an alarm is on: while its probe reads `unhealthy`.

    `Prometheus.alert` and `CloudWatch.alarm` make such probes, and any other
    probe serves as well. A reading of `unknown` is `error` where its evidence
    has an error, and `no_data` elsewhere; it never passes.
    """

    kind: ClassVar[str] = "alarm"

    probe: Probe = field(kw_only=False)
    """What reads the alarm."""

    def __post_init__(self) -> None:
        problem = probe_problem(self.probe)
        self._check([problem] if problem else [], name=shown(self.probe))

    @property
    def settings(self) -> dict[str, Any]:
        """What its verdict depends on, as JSON data."""
        return {"kind": self.kind, "probe": shown(self.probe)}

    async def look(self, arms: Arms, past: Sequence[Mapping[str, Any]]) -> Look:
        """Look once."""
        del arms, past
        reading = await look_through(self.probe)
        return Look({"health": reading.health, "evidence": dict(reading.evidence)})

    @classmethod
    def judge(
        cls, settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]
    ) -> Judgement | None:
        """Judge the latest look alone."""
        del settings
        look = looks[-1]
        if (problem := broken(look)) is not None:
            return problem
        if look["health"] == "healthy":
            return Judgement("pass", "the alarm is off", "alarm")
        if look["health"] == "unhealthy":
            return Judgement("fail", "the alarm is on", "alarm")
        evidence = look["evidence"]
        if "error" in evidence:
            return Judgement("error", f"the alarm is unknown: {evidence['error']}", "alarm")
        return empty(f"the alarm is unknown: {evidence.get('reason', evidence)}")
