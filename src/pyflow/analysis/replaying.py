"""Derive every verdict of an audit trail again, from the values that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.analysis.book import BEGINS
from pyflow.analysis.checks import Alarm, Compare, CompareValues, Custom, Threshold
from pyflow.analysis.evidence import held_back
from pyflow.analysis.verdicts import Judgement, Verdict
from pyflow.errors import CodecError, DefinitionError, JournalError, shown
from pyflow.frozen import frozen
from pyflow.record.events import AttemptFailed, MeasurementTaken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyflow.analysis.checks.base import Check
    from pyflow.record.codec import Record

__all__ = ["Replayed", "replay"]


@frozen
class Replayed:
    """One verdict of a trail, and what the values in the trail come to now."""

    task: str
    """The task that the analysis was."""

    check: str
    """Name of the check."""

    number: int
    """Which of its measurements."""

    recorded: Judgement
    """What the trail says."""

    derived: Judgement | None
    """What its values come to; None where a judge of somebody else's gave the verdict."""

    @property
    def is_same(self) -> bool:
        """Whether both are equal, bit for bit."""
        return self.recorded == self.derived

    @property
    def verdict(self) -> Verdict:
        """The verdict that the trail has."""
        return self.recorded.verdict


class _Past:
    """What an analysis had measured up to some record of its trail."""

    def __init__(self) -> None:
        self.settings: dict[str, Mapping[str, Any]] = {}
        self.looks: dict[str, list[Mapping[str, Any]]] = {}
        self.p_values: dict[str, float] = {}

    def derived(self, event: MeasurementTaken) -> Judgement | None:
        """Return what the values of *event* come to after those before it."""
        settings = self.settings.setdefault(event.check, event.settings or {})
        looks = self.looks.setdefault(event.check, [])
        looks.append(event.values or {})
        try:
            found = _kind(settings.get("kind")).judge(settings, looks)
        except DefinitionError:
            return None
        if found is None:
            return BEGINS
        if settings["critical"] and "judge" in settings:
            others = [p for check, p in self.p_values.items() if check != event.check]
            others += [1.0] * (settings["comparisons"] - 1 - len(others))
            self.p_values[event.check] = 1.0 if found.p_value is None else found.p_value
            found = held_back(found, others, alpha=settings["judge"]["options"].get("alpha"))
        return found


def replay(trail: Iterable[Record]) -> list[Replayed]:
    """Derive every verdict of *trail* again from the values in it, in order.

    Raises:
        JournalError: A measurement holds what no analysis records.
    """
    pasts: dict[str, _Past] = {}
    found: list[Replayed] = []
    for record in trail:
        event = record.event
        if isinstance(event, AttemptFailed):
            pasts.pop(event.task, None)  # another attempt measures anew
        if not isinstance(event, MeasurementTaken):
            continue
        past = pasts.setdefault(event.task, _Past())
        try:
            derived = past.derived(event)
            recorded = Judgement.from_data(event.judgement or {})
        except (LookupError, TypeError, ValueError, CodecError) as error:
            raise JournalError(f"record {record.seq} is no measurement: {shown(error)}") from error
        found.append(Replayed(event.task, event.check, event.number, recorded, derived))
    return found


def _kind(name: object) -> type[Check]:
    checks: tuple[type[Check], ...] = (Alarm, Compare, CompareValues, Custom, Threshold)
    for check in checks:
        if check.kind == name:
            return check
    raise LookupError(f"there is no kind {name!r} of check")
