"""`Report`: what a rollout does and risks, as data and as text, before anything runs.

It holds plain values alone: ``dataclasses.asdict(report)`` is JSON data, and
``print(report)`` shows it as tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyflow.spans import worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Decision", "Report", "ReportedStep"]

CELL_COLUMNS_MAX = 60


@dataclass(frozen=True, slots=True)
class ReportedStep:
    """One task of a rollout."""

    name: str
    """The task."""

    kind: str
    """What it is: `look`, `deploy`, `shift`, `bake`, `check`, `approve`, `keep`,
    `retire`, `change`, or `task` for one that nobody said anything about."""

    service: str
    """The service that it is about; empty where that is all of them, or not known."""

    what: str
    """What it does, in words."""

    starts_s: float
    """When it is expected to start, in seconds from the beginning."""

    takes_s: float
    """How long it is expected to take, in seconds."""

    at_most_s: float | None
    """How long it can take, all its tries included, in seconds; None is without a limit."""

    weight_pct: float
    """The share of its service's traffic that the new version gets while it runs, at most."""

    requests: float | None
    """How many requests are expected to meet the new version meanwhile; None where that
    is not known."""

    requests_at_most: float | None
    """How many can, within the limits; None where that is not known or has no limit."""

    guards: tuple[str, ...]
    """What has to have been decided before it starts: the nearest decisions before it."""

    way_back: str
    """What its undo does; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A task at which a rollout may come to its end: what has happened by then, at most."""

    name: str
    """The task."""

    service: str
    """The service that it is about; empty where that is all of them."""

    asks: tuple[str, ...]
    """The probes, checks or the question behind it."""

    at_s: float
    """When it is expected to be made, in seconds from the beginning."""

    requests: float | None
    """How many requests are expected to have met the new version by then; None where
    that is not known."""

    requests_at_most: float | None
    """How many can have, within the limits; None where that is not known or has no limit."""

    guards: tuple[str, ...]
    """The steps that do not start before it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a rollout does and risks; make one with the `report` of what a strategy returns."""

    workflow: str
    """The rollout."""

    traffic_rps: Mapping[str, float]
    """Requests a second by service, as they were given."""

    takes_s: float
    """How long all of it is expected to take, in seconds."""

    at_most_s: float | None
    """How long it can take, in seconds; None is without a limit."""

    steps: tuple[ReportedStep, ...]
    """Every task, in an order in which they can run."""

    decisions: tuple[Decision, ...]
    """The tasks that can stop it, in that order."""

    undo_order: tuple[str, ...]
    """The tasks that a rollback from the very end undoes, in its order."""

    not_undone: tuple[str, ...]
    """The tasks that change something and have no undo."""

    no_return: tuple[str, ...]
    """Once one of these has started nothing is rolled back, and the run holds instead."""

    def __str__(self) -> str:
        return "\n".join(_lines(self))


# As text ----------------------------------------------------------------------------------


def _lines(report: Report) -> Iterator[str]:
    rates = ", ".join(f"{rps:g} to {name}" for name, rps in report.traffic_rps.items())
    at = f", with requests a second: {rates}" if rates else ""
    yield (
        f"{report.workflow}: {len(report.steps)} steps, {told(report.takes_s)} expected, "
        f"{told(report.at_most_s)} at most{at}"
    )
    yield ""
    yield from _table(
        ("step", "does", "takes", "at most", "new", "way back"),
        [
            (
                step.name,
                step.what,
                told(step.takes_s),
                told(step.at_most_s),
                f"{step.weight_pct:g} %",
                step.way_back or "-",
            )
            for step in report.steps
        ],
        right=(2, 3, 4),
    )
    yield ""
    yield from _table(
        ("decision", "asks", "at", "requests", "at most", "guards"),
        [
            (
                one.name,
                ", ".join(one.asks) or "-",
                told(one.at_s),
                _count(one.requests, "?"),
                _count(one.requests_at_most, "no limit" if report.traffic_rps else "?"),
                ", ".join(one.guards) or "-",
            )
            for one in report.decisions
        ],
        right=(2, 3, 4),
    )
    yield ""
    yield f"a rollback undoes: {', '.join(report.undo_order) or 'nothing'}"
    if report.not_undone:
        yield f"cannot be undone: {', '.join(report.not_undone)}"
    if report.no_return:
        yield f"no way back after: {', '.join(report.no_return)}"


def told(span_s: float | None) -> str:
    """Return a span as text: ``1h30m``, ``-`` for nothing, ``no limit`` for None."""
    if span_s is None:
        return "no limit"
    return worded(span_s) if span_s else "-"


def _count(number: float | None, unknown: str) -> str:
    return unknown if number is None else f"{number:,.0f}"


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int]
) -> Iterator[str]:
    """Yield *rows* under *head*, in columns of which those in *right* end together."""
    cut = [head, *([_cut(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    for row in cut:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _cut(cell: str) -> str:
    """Return *cell* as one line that fits."""
    text = " ".join(cell.split())
    return text if len(text) <= CELL_COLUMNS_MAX else text[: CELL_COLUMNS_MAX - 1] + "…"
