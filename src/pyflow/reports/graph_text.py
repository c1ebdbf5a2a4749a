"""A plan as text that other programs draw: Mermaid, and Graphviz's DOT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.reports.picture import pictured

if TYPE_CHECKING:
    from pyflow.define.plan import Plan
    from pyflow.reports.picture import Box

__all__ = ["plan_dot", "plan_mermaid"]

SHAPES = {"task": ("[", "]"), "approval": ("{{", "}}"), "map": ("[[", "]]")}
DOT_SHAPES = {"task": "box", "approval": "hexagon", "map": "box3d"}
ENTITIES = str.maketrans({c: f"#{ord(c)};" for c in "\"#&<>`\\[](){}|;@%'"})


def plan_mermaid(plan: Plan) -> str:
    """Return *plan* as a flowchart of Mermaid, which GitHub, GitLab and Jupyter draw.

    Boxes are numbered, since not every name is an id there; what they say is
    escaped as Mermaid's entities.
    """
    picture = pictured(plan)
    ids = {box.name: f"t{number}" for number, box in enumerate(picture.boxes)}
    lines = ["flowchart LR"]
    for box in picture.boxes:
        left, right = SHAPES[box.kind]
        words = "<br/>".join(line.translate(ENTITIES) for line in (box.label, *box.notes))
        lines.append(f'  {ids[box.name]}{left}"{words}"{right}')
    for arrow in picture.arrows:
        line = "-->" if arrow.is_plain else "-.->"
        lines.append(f"  {ids[arrow.source]} {line} {ids[arrow.target]}")
    final = [ids[box.name] for box in picture.boxes if box.is_final]
    if final:
        lines.append("  classDef final stroke:#b3261e,stroke-width:3px")
        lines.append(f"  class {','.join(final)} final")
    return "\n".join([*lines, ""])


def plan_dot(plan: Plan) -> str:
    """Return *plan* as a directed graph in Graphviz's DOT."""
    picture = pictured(plan)
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
