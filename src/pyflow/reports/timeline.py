"""A run as a timeline: when each task was worked on, and what came of that."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from pyflow.record.rendering import columns_of, fitted
from pyflow.record.told import trail_of
from pyflow.reports.drawing import SMALL, TEXT, document, text, width_of
from pyflow.reports.happenings import rows_of
from pyflow.spans import worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyflow.record.audit import AuditTrail
    from pyflow.record.told import Told
    from pyflow.reports.happenings import Row

__all__ = ["timeline", "timeline_svg"]

MARGIN, HEAD = 20.0, 76.0
ROW, BAR = 24.0, 14.0
BAR_LEAST = 2.0
AXIS = 12.0
ROWS_AT_A_GLANCE = 25
"""From this many rows on, the axis is named at the bottom as well."""
CHART = 760.0
NAME_COLUMNS_MAX = 40
TICKS_MAX = 8
STEPS_S = (
    *(0.001 * 10**power * part for power in range(4) for part in (1, 2, 5)),
    *(10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400),
)
DAY_S = 86_400.0
LEGEND = (
    ("ok", "worked"),
    ("bad", "failed"),
    ("cut", "was cut short"),
    ("undo", "took back"),
    ("wait", "waited for people"),
    ("open", "has no end"),
)
BLOCKS = {"ok": "█", "bad": "x", "cut": "/", "undo": "◄", "wait": "░", "open": "▒"}


def timeline_svg(run: Told) -> str:
    """Return a run as SVG: a row for each task, a bar for each attempt, undo or question.

    It is drawn from the records alone, so it shows a run of long ago, or one
    that goes on, as well as one that has just ended. Names are escaped,
    nothing is fetched, and there is no script.

    Args:
        run: A result or a simulation, or a trail, such as ``engine.trail(run_id)``.

    Raises:
        DefinitionError: *run* is no run.
    """
    trail = trail_of(run)
    rows, whole_s = rows_of(trail), _length_s(trail)
    title = _title(trail, whole_s)
    labels = [fitted(row.name, NAME_COLUMNS_MAX) for row in rows]
    left = MARGIN + max([width_of(label, TEXT) for label in labels], default=0.0) + 16
    bottom = HEAD + ROW * len(rows)
    parts = [text(MARGIN, MARGIN + TEXT, title, TEXT, bold=True), *_legend()]
    parts += _stripes(len(rows), left + CHART)
    parts += _grid(whole_s, left, bottom, both_ends=len(rows) >= ROWS_AT_A_GLANCE)
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = HEAD + ROW * number
        parts.append(f"<g><title>{escape(fitted(row.name, 1_000))}</title>")
        parts.append(text(MARGIN, y + ROW / 2 + 4, label, TEXT) + "</g>")
        parts += _bars(row, left, y + (ROW - BAR) / 2, whole_s)
    width = max(left + CHART, MARGIN + width_of(title, TEXT)) + MARGIN + 40
    return document(title, width, bottom + MARGIN + AXIS, parts)


def timeline(run: Told, *, columns: int = 100) -> str:
    """Return a run as text: a row for each task, in *columns* columns or a little more.

    A bar of ``█`` worked, of ``x`` failed, of ``/`` was cut short, of ``◄`` took
    back, of ``░`` waited for people, and one of ``▒`` has no end in the records.

    Args:
        run: A result or a simulation, or a trail, such as ``engine.trail(run_id)``.
        columns: How wide it is.

    Raises:
        DefinitionError: *run* is no run.
    """
    trail = trail_of(run)
    rows, whole_s = rows_of(trail), _length_s(trail)
    labels = [fitted(row.name, NAME_COLUMNS_MAX) for row in rows]
    wide = max(map(columns_of, labels), default=0)
    chart = max(columns - wide - 2, 20)
    lines = [_title(trail, whole_s)]
    for row, label in zip(rows, labels, strict=True):
        cells = [" "] * chart
        for bar in row.bars:
            first = min(int(_share(bar.start_s, whole_s) * chart), chart - 1)
            last = max(first + 1, round(_share(bar.end_s, whole_s) * chart))
            cells[first:last] = BLOCKS[bar.look] * (last - first)
        lines.append(f"{label}{' ' * (wide - columns_of(label))}  {''.join(cells)}".rstrip())
    return "\n".join(lines)


def _title(trail: AuditTrail, whole_s: float) -> str:
    if not trail:
        return "an empty audit trail"
    workflow = getattr(trail[0].event, "workflow", "")
    ended = trail.outcome or "not ended"
    return fitted(f"{workflow}: {ended} after {worded(whole_s)} (run {trail[0].run_id})", 120)


def _length_s(trail: AuditTrail) -> float:
    return (trail[-1].at - trail[0].at).total_seconds() if trail else 0.0


def _share(at_s: float, whole_s: float) -> float:
    return min(max(at_s / whole_s, 0.0), 1.0) if whole_s > 0 else 0.0


def _legend() -> Iterator[str]:
    x, y = MARGIN, MARGIN + TEXT + 20
    for look, words in LEGEND:
        yield f'<rect class="{look}" x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10"/>'
        yield text(x + 15, y, words, SMALL, style="note")
        x += 15 + width_of(words, SMALL) + 18


def _ticks(whole_s: float) -> Sequence[float]:
    """Return the instants that the axis names: round ones, a handful."""
    step = next((s for s in STEPS_S if whole_s / s <= TICKS_MAX), None)
    if step is None:
        step = DAY_S * -(-whole_s // (DAY_S * TICKS_MAX))
    return [step * number for number in range(int(whole_s / step) + 1)]


def _stripes(rows: int, right: float) -> Iterator[str]:
    """Yield what leads the eye from a name to its bars: every other row is shaded."""
    for number in range(1, rows, 2):
        y = HEAD + ROW * number
        yield (
            f'<rect class="stripe" x="{MARGIN - 6:.1f}" y="{y:.1f}" '
            f'width="{right - MARGIN + 12:.1f}" height="{ROW:g}"/>'
        )


def _grid(whole_s: float, left: float, bottom: float, *, both_ends: bool) -> Iterator[str]:
    for tick in _ticks(whole_s):
        x = left + CHART * _share(tick, whole_s)
        yield f'<line class="grid" x1="{x:.1f}" y1="{HEAD - 6:.0f}" x2="{x:.1f}" y2="{bottom:.0f}"/>'
        for y in (HEAD - 8, bottom + AXIS - 4) if both_ends else (HEAD - 8,):
            yield text(x + 3, y, worded(tick) if tick else "0", SMALL, style="tick")


def _bars(row: Row, left: float, y: float, whole_s: float) -> Iterator[str]:
    """Yield the bars of a row, side by side: one too short to be seen moves what follows a little."""
    end, edge = 0.0, left + CHART
    for bar in row.bars:
        x = left + CHART * _share(bar.start_s, whole_s)
        width = max(CHART * _share(bar.end_s, whole_s) - (x - left), BAR_LEAST)
        x = min(max(x, end), edge)
        width = max(min(width, edge - x), BAR_LEAST)
        end = x + width
        says = fitted(f"{row.name}: {bar.words}, {worded(bar.end_s - bar.start_s)}", 1_000)
        shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR:g}" rx="2"'
        yield f'<rect class="{bar.look}" {shape}><title>{escape(says)}</title></rect>'
