"""Draw a plan, for people who read it in a summary or in a log."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.define.plan import Plan

__all__ = ["drawing"]

NODES_MAX = 200
NAME_CHARS_MAX = 60
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


def drawing(plan: Plan, *, statuses: Mapping[str, str] | None = None, mermaid: bool = True) -> str:
    """Return a drawing of *plan*: its tasks, and what waits for what.

    Args:
        plan: From ``workflow.check()``.
        statuses: What became of each task.
        mermaid: As Mermaid, which GitHub and GitLab draw; else as text, a line
            for each stage.

    Returns:
        Text of at most 200 tasks, which says so where there are more.
    """
    known = statuses or {}
    return _mermaid(plan, known) if mermaid else _text(plan, known)


def _mermaid(plan: Plan, statuses: Mapping[str, str]) -> str:
    names = list(plan.nodes)[:NODES_MAX]
    ids = {name: f"t{number}" for number, name in enumerate(names)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[name]}["{_label(name, statuses)}"]' for name in names]
    lines += [
        f"  {ids[before]} --> {ids[name]}"
        for name in names
        for before in plan.nodes[name].depends_on
        if before in ids
    ]
    for status, colour in COLOURS.items():
        such = [ids[name] for name in names if statuses.get(name) == status]
        if such:
            lines += [f"  classDef {status} {colour}", f"  class {','.join(such)} {status}"]
    if len(plan.nodes) > NODES_MAX:
        lines.append(f'  more["and {len(plan.nodes) - NODES_MAX} more"]')
    return "\n".join(lines)


def _label(name: str, statuses: Mapping[str, str]) -> str:
    """Return a task's label, with whatever Mermaid would read in it as entities."""
    status = statuses.get(name)
    text = _short(name)
    safe = "".join(c if c.isalnum() or c in " ._-/" else f"#{ord(c)};" for c in text)
    return safe if status is None else f"{safe}<br/>{status}"


def _text(plan: Plan, statuses: Mapping[str, str]) -> str:
    lines: list[str] = []
    left = NODES_MAX
    for number, stage in enumerate(plan.stages, start=1):
        shown = [_marked(name, statuses) for name in stage[: max(0, left)]]
        left -= len(stage)
        if shown:
            lines.append(f"{number}. {', '.join(shown)}")
    if left < 0:
        lines.append(f"and {-left} more")
    return "\n".join(lines)


def _marked(name: str, statuses: Mapping[str, str]) -> str:
    status = statuses.get(name)
    return _short(name) if status is None else f"{_short(name)} ({status})"


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARS_MAX else name[: NAME_CHARS_MAX - 1] + "…"
