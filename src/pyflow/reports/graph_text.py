"""A plan as text: Mermaid and Graphviz's DOT, which other programs draw, and plain stages."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pyflow.record.rendering import fitted
from pyflow.reports.drawn import plan_of
from pyflow.reports.picture import NAME_COLUMNS_MAX, pictured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.reports.drawn import Drawn
    from pyflow.reports.picture import Box

__all__ = ["plan_dot", "plan_mermaid", "plan_text"]

BOXES_MAX = 200
"""Tasks beyond this make a flowchart that Mermaid refuses, and a text that nobody reads."""
SHAPES = {"task": ("[", "]"), "approval": ("{{", "}}"), "map": ("[[", "]]")}
DOT_SHAPES = {"task": "box", "approval": "hexagon", "map": "box3d"}
PLAIN = " ._-/:,?"
FINAL = "stroke:#b3261e,stroke-width:3px"
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "succeeded": "fill:#dafbe1,stroke:#1a7f37,color:#0b2e13",
        "failed": "fill:#ffebe9,stroke:#cf222e,color:#3d0c0f",
        "undo_failed": "fill:#ffebe9,stroke:#cf222e,color:#3d0c0f",
        "interrupted": "fill:#fff8c5,stroke:#9a6700,color:#3b2300",
        "undone": "fill:#fff8c5,stroke:#9a6700,color:#3b2300",
        "running": "fill:#ddf4ff,stroke:#0969da,color:#0a3069",
        "skipped": "fill:#f6f8fa,stroke:#8c959f,color:#57606a",
        "blocked": "fill:#f6f8fa,stroke:#8c959f,color:#57606a",
        "cancelled": "fill:#f6f8fa,stroke:#8c959f,color:#57606a",
    }
)
"""How a task is drawn by what became of it, in colours that read on light and on dark."""


def plan_mermaid(plan: Drawn, *, statuses: Mapping[str, str] | None = None) -> str:
    """Return *plan* as a flowchart of Mermaid, which GitHub, GitLab and Jupyter draw.

    Boxes are numbered, since not every name is an id there; what they say is
    escaped as Mermaid's entities.

    Args:
        plan: A workflow, or ``workflow.check()``.
        statuses: What became of each task, which is then shown in words and in colour.

    Returns:
        A drawing of 200 tasks at most, which says so where there are more.

    Raises:
        DefinitionError: *plan* is no plan.
    """
    picture, known = pictured(plan_of(plan)), statuses or {}
    boxes = picture.boxes[:BOXES_MAX]
    ids = {box.name: f"t{number}" for number, box in enumerate(boxes)}
    lines = ["flowchart LR"]
    for box in boxes:
        left, right = SHAPES[box.kind]
        said = [box.label, *box.notes, *([known[box.name]] if box.name in known else [])]
        words = "<br/>".join(map(_entities, said))
        lines.append(f'  {ids[box.name]}{left}"{words}"{right}')
    for arrow in picture.arrows:
        if arrow.source in ids and arrow.target in ids:
            line = "-->" if arrow.is_plain else "-.->"
            lines.append(f"  {ids[arrow.source]} {line} {ids[arrow.target]}")
    lines += _classed("final", FINAL, [ids[box.name] for box in boxes if box.is_final])
    for status, colour in COLOURS.items():
        lines += _classed(status, colour, [ids[n] for n in ids if known.get(n) == status])
    if len(picture.boxes) > BOXES_MAX:
        lines.append(f'  more["and {len(picture.boxes) - BOXES_MAX} more"]')
    return "\n".join([*lines, ""])


def _classed(name: str, looks: str, ids: list[str]) -> list[str]:
    return [f"  classDef {name} {looks}", f"  class {','.join(ids)} {name}"] if ids else []


def _entities(words: str) -> str:
    """Return *words* with whatever Mermaid would read in them as entities."""
    return "".join(c if c.isalnum() or c in PLAIN else f"#{ord(c)};" for c in words)


def plan_text(plan: Drawn, *, statuses: Mapping[str, str] | None = None) -> str:
    """Return *plan* as text, a line for each stage, with what became of each task where it is given.

    Returns:
        Text of 200 tasks at most, which says so where there are more.

    Raises:
        DefinitionError: *plan* is no plan.
    """
    known, left, lines = statuses or {}, BOXES_MAX, list[str]()
    for number, stage in enumerate(plan_of(plan).stages, start=1):
        shown = [_marked(name, known) for name in stage[: max(0, left)]]
        left -= len(stage)
        if shown:
            lines.append(f"{number}. {', '.join(shown)}")
    if left < 0:
        lines.append(f"and {-left} more")
    return "\n".join(lines)


def _marked(name: str, statuses: Mapping[str, str]) -> str:
    label = fitted(name, NAME_COLUMNS_MAX)
    return f"{label} ({statuses[name]})" if name in statuses else label


def plan_dot(plan: Drawn) -> str:
    """Return *plan* as a directed graph in Graphviz's DOT.

    Raises:
        DefinitionError: *plan* is no plan.
    """
    picture = pictured(plan_of(plan))
    lines = ["digraph {", f"  label={_quoted(picture.title)}", "  rankdir=LR"]
    lines += [f"  {_quoted(box.name)} [{_looks(box)}]" for box in picture.boxes]
    for arrow in picture.arrows:
        style = "" if arrow.is_plain else " [style=dashed]"
        lines.append(f"  {_quoted(arrow.source)} -> {_quoted(arrow.target)}{style}")
    return "\n".join([*lines, "}", ""])


def _looks(box: Box) -> str:
    label = "\\n".join(_escaped(line) for line in (box.label, *box.notes))
    final = ' color="#b3261e" penwidth=3' if box.is_final else ""
    return f'label="{label}" shape={DOT_SHAPES[box.kind]}{final}'


def _quoted(words: str) -> str:
    return f'"{_escaped(words)}"'


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace('"', '\\"')
