"""A plan as a picture: what waits for what, and what is done when it goes wrong."""

from __future__ import annotations

from collections import Counter
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from pyflow.reports.drawing import SMALL, TEXT, document, text, width_of
from pyflow.reports.drawn import plan_of
from pyflow.reports.layout import laid_out
from pyflow.reports.looks import look_of, words_of
from pyflow.reports.picture import pictured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyflow.reports.drawn import Drawn
    from pyflow.reports.layout import Place, Point
    from pyflow.reports.picture import Arrow, Box

__all__ = ["plan_svg"]

MARGIN = 20.0
HEAD = 44.0
PADDING = 10.0
LINE, NOTE_LINE = 18.0, 15.0
TIP = 7.0
FAN = 12
"""From so many arrows on, those out of one box, or into one, share a trunk: curves would be a wedge."""
TRUNK = 16.0


def plan_svg(plan: Drawn, *, statuses: Mapping[str, str] | None = None) -> str:
    """Return *plan* as SVG: a box for each task, from left to right.

    A box names the task, its condition, its join unless it is the usual one,
    what it asks, its locks, tries and repairs, and its undo; a thick red edge
    is a point of no return. Arrows are the dependencies that no others imply;
    a dashed one does not wait for a success. Names are escaped, nothing is
    fetched, and there is no script.

    Args:
        plan: A workflow, or ``workflow.check()``.
        statuses: What became of each task, which is then shown in words and in colour.

    Raises:
        DefinitionError: *plan* is no plan.
    """
    picture, known = pictured(plan_of(plan)), statuses or {}
    sizes = {box.name: _size(box, known.get(box.name)) for box in picture.boxes}
    ends = [(arrow.source, arrow.target) for arrow in picture.arrows]
    layout = laid_out(sizes, ends, picture.layers)
    parts = [text(MARGIN, MARGIN + TEXT, picture.title, TEXT, bold=True)]
    parts.append(f'<g transform="translate({MARGIN:g} {HEAD + MARGIN:g})">')
    outs = Counter(arrow.source for arrow in picture.arrows)
    ins = Counter(arrow.target for arrow in picture.arrows)
    for arrow in picture.arrows:
        fans = outs[arrow.source] >= FAN, ins[arrow.target] >= FAN
        parts.append(_drawn_arrow(arrow, layout.paths[arrow.source, arrow.target], fans))
    for box in picture.boxes:
        parts += _drawn_box(box, layout.places[box.name], known.get(box.name))
    parts.append("</g>")
    width = max(layout.width, width_of(picture.title, TEXT)) + 2 * MARGIN
    return document(picture.title, width, layout.height + HEAD + 2 * MARGIN, parts)


def _size(box: Box, status: str | None) -> tuple[float, float]:
    notes = _lines(box, status)
    wide = max([width_of(box.label, TEXT), *(width_of(note, SMALL) for note in notes)])
    return wide + 2 * PADDING, LINE + NOTE_LINE * len(notes) + PADDING


def _lines(box: Box, status: str | None) -> tuple[str, ...]:
    return box.notes if status is None else (words_of(status), *box.notes)


def _drawn_box(box: Box, place: Place, status: str | None) -> Iterator[str]:
    style = "box" if box.kind == "task" else f"box {box.kind}"
    style += f" {look_of(status)}" if status is not None else ""
    style += " final" if box.is_final else ""
    shape = (
        f'x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}"'
    )
    yield f'<g><title>{escape(box.name)}</title><rect class="{style}" rx="5" {shape}/>'
    y = place.y + PADDING / 2 + TEXT
    yield text(place.x + PADDING, y, box.label, TEXT, bold=True)
    for number, note in enumerate(_lines(box, status)):
        y += NOTE_LINE
        is_status = status is not None and number == 0
        yield text(place.x + PADDING, y, note, SMALL, style="note", bold=is_status)
    yield "</g>"


def _drawn_arrow(arrow: Arrow, points: Sequence[Point], fans: tuple[bool, bool]) -> str:
    """Return a line that is level through columns and bends between them, with a tip."""
    *line, (x, y) = points
    steps = [f"M{line[0][0]:.1f} {line[0][1]:.1f}"]
    for number, (start, end) in enumerate(pairwise(line)):
        if number % 2 == 0:
            steps.append(f"H{end[0]:.1f}")
        elif fans[0] and number == 1:
            steps.append(_trunk(start[0] + TRUNK, end))
        elif fans[1] and number == len(line) - 2:
            steps.append(_trunk(end[0] - TRUNK, end))
        else:
            steps.append(_bend(start, end))
    style = "arrow" if arrow.is_plain else "arrow other"
    tip = f"M{x:.1f} {y:.1f}l{-TIP:g} {-TIP / 2:g}v{TIP:g}z"
    return (
        f'<path class="{style}" d="{"".join(steps)}H{x - TIP:.1f}"/><path class="tip" d="{tip}"/>'
    )


def _trunk(x: float, end: Point) -> str:
    return f"H{x:.1f}V{end[1]:.1f}H{end[0]:.1f}"


def _bend(start: Point, end: Point) -> str:
    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    return f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
