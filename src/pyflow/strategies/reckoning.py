"""Reckon what a rollout takes and risks: from its plan, its notes and its traffic. Pure.

Every task starts when the last of those that it waits for has ended. That is
reckoned twice: with what tasks are expected to take, and with their limits.
The weight of a service goes up as soon as its shift starts; what meets the
new version by an instant is the area under that line, times the rate of
requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyflow.errors import DefinitionError, nearest, shown
from pyflow.spans import seconds
from pyflow.strategies.report import Decision, Report, ReportedStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.define.plan import Node, Plan
    from pyflow.define.task import MapOver
    from pyflow.spans import Span
    from pyflow.strategies.outline import Note

__all__ = ["reckoned"]

DECISIONS = ("look", "check", "approve")
GUARDED = ("deploy", "shift", "retire", "change", "task")
"""What has guards: what changes something, or may."""
BARRIERS = ("shift", "retire", "change")
"""What is looked for no further than: what stands before one of these guards that one."""
UNLIMITED_S = 2.0**43
"""Stands for a wait without a limit, in seconds: far beyond all spans, and a
float of that size still tells milliseconds apart."""


def reckoned(
    plan: Plan,
    notes: Mapping[str, Note],
    *,
    traffic: float | Mapping[str, float] | None,
    startup: Span,
) -> Report:
    """Return the report of *plan*; see `RolloutWorkflow.report`.

    Raises:
        DefinitionError: *traffic* or *startup* makes no sense.
    """
    startup_s = seconds(startup, what="report(startup=)", zero=True)
    services = tuple(dict.fromkeys(note.service for note in notes.values() if note.service))
    rates = _rates(traffic, services)
    book = _Book(plan, notes, rates, startup_s)
    names = book.order
    return Report(
        workflow=plan.workflow_name,
        traffic_rps=rates,
        takes_s=book.expected.last_s(),
        at_most_s=_finite(book.limits.last_s()),
        steps=tuple(map(book.step, names)),
        decisions=tuple(book.decision(name) for name in names if book.kind(name) in DECISIONS),
        undo_order=tuple(name for name in reversed(names) if plan.nodes[name].undo is not None),
        not_undone=tuple(name for name in names if _stays(plan.nodes[name])),
        no_return=tuple(name for name in names if plan.nodes[name].task.point_of_no_return),
    )


def _rates(
    traffic: float | Mapping[str, float] | None, services: tuple[str, ...]
) -> dict[str, float]:
    """Return the requests a second of each service, of those for which they are given."""
    if traffic is None:
        return {}
    rates = dict(traffic) if isinstance(traffic, Mapping) else dict.fromkeys(services, traffic)
    problems = [
        f"traffic={shown(rps)} must be requests a second, 0 or more, or a dict of them by service"
        for rps in dict.fromkeys(rates.values())
        if not _is_rate(rps)
    ]
    for name in rates:
        if name not in services:
            near = nearest(str(name), services)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(services)}."
            problems.append(f"traffic= names the service {shown(name)}, which is not here; {hint}")
    if problems:
        raise DefinitionError("report", problems)
    return {name: float(rps) for name, rps in rates.items()}


def _is_rate(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value < math.inf


def _stays(node: Node) -> bool:
    """Whether a task changes something that nothing takes back."""
    return node.task.effect and node.undo is None and node.task.approval is None


def _finite(number_s: float) -> float | None:
    return number_s if number_s < UNLIMITED_S / 2 else None


@dataclass(frozen=True, slots=True)
class _Line:
    """When everything happens, if every task takes what *takes* says."""

    starts: Mapping[str, float]
    takes: Mapping[str, float]
    weights: Mapping[str, list[tuple[float, float]]]
    """By service, from when on the new version has which share, in percent."""

    def ends_s(self, name: str) -> float:
        """Return when a task has ended."""
        return self.starts[name] + self.takes[name]

    def last_s(self) -> float:
        """Return when all of them have."""
        return max(map(self.ends_s, self.starts), default=0.0)

    def exposed_s(self, service: str, to_s: float) -> float:
        """Return how many seconds of whole traffic the new version has had by an instant."""
        points = [point for point in self.weights.get(service, []) if point[0] <= to_s]
        ends = [*(start for start, _ in points), to_s][1:]
        return sum(_area(end - start, pct) for (start, pct), end in zip(points, ends, strict=True))


def _area(span_s: float, pct: float) -> float:
    """Return *pct* percent of *span_s*, which is infinite where that is without a limit."""
    if not pct:
        return 0.0
    return span_s * pct / 100 if span_s < UNLIMITED_S / 2 else math.inf


class _Book:
    """What is known of one rollout."""

    def __init__(
        self,
        plan: Plan,
        notes: Mapping[str, Note],
        rates: Mapping[str, float],
        startup_s: float,
    ) -> None:
        self._nodes = plan.nodes
        self._notes = notes
        self._rates = rates
        self._startup_s = startup_s
        self.order = [name for stage in plan.stages for name in stage]
        self.services = tuple(dict.fromkeys(n.service for n in notes.values() if n.service))
        self.expected = self._line(self._takes_s)
        self.limits = self._line(lambda name: _limit_s(plan.nodes[name]))

    def kind(self, name: str) -> str:
        """Return what a task is."""
        if name in self._notes:
            return self._notes[name].kind
        return "approve" if self._nodes[name].task.approval is not None else "task"

    def step(self, name: str) -> ReportedStep:
        """Return what is to be said of a task."""
        note, node = self._notes.get(name), self._nodes[name]
        weights = {service: self._weight(service, name) for service in self._concerned(name)}
        takes_s, limit_s = self.expected.takes[name], self.limits.takes[name]
        return ReportedStep(
            name=name,
            kind=self.kind(name),
            service=note.service if note is not None else "",
            what=note.what if note is not None else "",
            starts_s=self.expected.starts[name],
            takes_s=takes_s,
            at_most_s=_finite(limit_s),
            weight_pct=max(weights.values(), default=0.0),
            requests=self._requests({s: _area(takes_s, pct) for s, pct in weights.items()}),
            requests_at_most=self._requests({s: _area(limit_s, pct) for s, pct in weights.items()}),
            guards=self.guards(name),
            way_back=_way_back(note, node),
        )

    def decision(self, name: str) -> Decision:
        """Return what is to be said of a task that can stop the rollout."""
        note, approval = self._notes.get(name), self._nodes[name].task.approval
        asks = note.checks if note is not None else ()
        return Decision(
            name=name,
            service=note.service if note is not None else "",
            asks=asks if approval is None else (approval.question,),
            at_s=self.expected.ends_s(name),
            requests=self._met(self.expected, name),
            requests_at_most=self._met(self.limits, name),
            guards=tuple(other for other in self.order if name in self.guards(other)),
        )

    def guards(self, name: str) -> tuple[str, ...]:
        """Return the nearest decisions before a task that changes something."""
        if self.kind(name) not in GUARDED:
            return ()
        ends = (*DECISIONS, *BARRIERS)
        found = self._before(name, through=lambda one: self.kind(one) not in ends)
        found = [one for one in found if self.kind(one) in ends]
        behind = {far for one in found for far in self._before(one, through=lambda _: True)}
        return tuple(o for o in found if o not in behind and self.kind(o) in DECISIONS)

    # Reckoning ----------------------------------------------------------------------------

    def _before(self, name: str, *, through: Callable[[str], bool]) -> list[str]:
        """Return what *name* waits for, in order, and what that does, *through* what says so."""
        found: set[str] = set()
        stack = list(self._nodes[name].depends_on)
        while stack:
            one = stack.pop()
            if one not in found:
                found.add(one)
                stack += self._nodes[one].depends_on if through(one) else ()
        return [one for one in self.order if one in found]

    def _line(self, takes_s: Callable[[str], float]) -> _Line:
        starts: dict[str, float] = {}
        takes: dict[str, float] = {}
        weights: dict[str, list[tuple[float, float]]] = {}
        for name in self.order:
            before = self._nodes[name].depends_on
            starts[name] = max((starts[b] + takes[b] for b in before), default=0.0)
            takes[name] = takes_s(name)
            note = self._notes.get(name)
            if note is not None and note.weight_pct is not None:
                weights.setdefault(note.service, []).append((starts[name], note.weight_pct))
        return _Line(starts, takes, weights)

    def _takes_s(self, name: str) -> float:
        note = self._notes.get(name)
        if note is None:
            return 0.0
        return self._startup_s if note.kind == "deploy" else note.span_s

    def _weight(self, service: str, name: str) -> float:
        """Return the share that the new version of *service* has while a task runs."""
        upstream = (*self._before(name, through=lambda _: True), name)
        shares = [
            note.weight_pct
            for note in (self._notes.get(one) for one in upstream)
            if note is not None and note.service == service and note.weight_pct is not None
        ]
        return shares[-1] if shares else 0.0

    def _met(self, line: _Line, name: str) -> float | None:
        """Return how many requests have met the new version once a task has ended."""
        to_s = line.ends_s(name)
        return self._requests({s: line.exposed_s(s, to_s) for s in self._concerned(name)})

    def _requests(self, exposed_s: Mapping[str, float]) -> float | None:
        """Return how many requests come in so many seconds of whole traffic, by service."""
        if not exposed_s or not all(service in self._rates for service in exposed_s):
            return None
        total = sum(self._rates[s] * span_s for s, span_s in exposed_s.items() if span_s)
        return total if math.isfinite(total) else None

    def _concerned(self, name: str) -> tuple[str, ...]:
        """Return the services that a task is about."""
        note = self._notes.get(name)
        return (note.service,) if note is not None and note.service else self.services


def _limit_s(node: Node) -> float:
    """Return how long a task can take, with all its tries and the waits between them."""
    task = node.task
    span_s = task.timeout_s if task.approval is None else task.approval.expires_s
    if span_s is None:
        return UNLIMITED_S
    if task.retry is not None:
        tries = range(1, task.retry.attempts)
        waits_s = sum(task.retry.delay_s(failures, 1.0) for failures in tries)
        span_s = span_s * task.retry.attempts + waits_s
    return span_s if task.map is None else _rounds(task.map) * span_s


def _rounds(over: MapOver) -> float:
    """Return how often a map starts items anew, where each takes as long as it can."""
    if not isinstance(over.over, tuple):
        return UNLIMITED_S  # how many there will be is not known
    return math.ceil(len(over.over) / (over.max_parallel or len(over.over) or 1))


def _way_back(note: Note | None, node: Node) -> str:
    return (note.way_back if note is not None else "") or ("its undo" if node.undo else "")
