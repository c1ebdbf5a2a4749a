"""What came of a run: as Markdown for the summary of a CI job, and told to a CI system."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pyflow.ci.escaping import harmless
from pyflow.record.marks import mark_of
from pyflow.reports.graph_text import plan_mermaid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyflow.ci.reporting import CIReport
    from pyflow.reports.drawn import Drawn
    from pyflow.run.result import Result

__all__ = ["summary", "tell"]

ROWS_MAX = 200
TEXT_CHARS_MAX = 2_000
CELL_CHARS_MAX = 300
SPECIAL = "\\`*_{}[]<>()#+-.!|~@$&"
SIGNS: Mapping[str, str] = MappingProxyType(
    {
        "succeeded": "✅",
        "failed": "❌",
        "rolled_back": "↩️",
        "rollback_failed": "🔥",
        "cancelled": "⏹️",
    }
)
EXPLAINED = ("skipped", "blocked", "cancelled", "interrupted")
"""What a task became for a reason that is worth a place in the table."""


def summary(result: Result, *, plan: Drawn | None = None) -> str:
    """Return what came of a run as Markdown.

    What is in it: how it ended, where, why; the anchor of its record, for
    ``pyflow-deploy verify --anchor``; what is still applied; what a person has
    to do; each task; and the plan, drawn, where it is given.
    Whatever tasks and people wrote is escaped, so that it is text and neither
    a link nor HTML nor a mention of anybody.

    Args:
        result: From ``engine.execute`` and the like.
        plan: The workflow, or ``workflow.check()``.
    """
    where = f" to {_md(result.environment.name)}" if result.environment is not None else ""
    words = result.status.replace("_", " ")
    lines = [f"## {SIGNS.get(result.status, '⏸️')} {_md(result.workflow)}{where}: {words}", ""]
    lines += [f"Run `{result.run_id}`, {result.metrics.wall_s:.1f} s.", ""]
    if result.audit_trail:
        lines += [f"Anchor of its record: `{mark_of(result.audit_trail[-1])}`", ""]
    if result.error is not None:
        lines += ["**Why:**", "", *_block(str(result.error)), ""]
    lines += _list("Still applied", result.residue)
    lines += _list("Never taken back, for want of an undo", result.not_undone)
    lines += _list("What a person has to decide", result.to_decide)
    lines += _table(result)
    if plan is not None:
        statuses: dict[str, str] = {n: str(t.status) for n, t in result.tasks.items()}
        lines += ["", "```mermaid", plan_mermaid(plan, statuses=statuses).rstrip(), "```"]
    return "\n".join(lines).rstrip() + "\n"


def tell(report: CIReport, result: Result, *, plan: Drawn | None = None) -> None:
    """Tell a CI system what came of a run: a summary, an error for what failed, and outputs.

    The outputs are ``run_id`` and ``status``.

    Args:
        report: From ``pyflow.ci.report()``.
        result: From ``engine.execute`` and the like.
        plan: The workflow, or ``workflow.check()``.
    """
    report.summary(summary(result, plan=plan))
    if result.error is not None:
        report.error(str(result.error), title=f"{result.workflow}: {result.status}")
    elif result.status == "held":
        report.warning("\n".join(result.to_decide), title=f"{result.workflow}: held")
    for name, error in result.recovery_errors.items():
        report.error(str(error), title=f"{result.workflow}: {name} could not be taken back")
    for name in ("run_id", "status"):
        report.output(name, str(getattr(result, name)))


def _list(title: str, rows: Iterable[str]) -> list[str]:
    found = [f"- {_md(row)}" for row in rows]
    return [f"**{title}:**", "", *found, ""] if found else []


def _table(result: Result) -> list[str]:
    lines = ["| task | status | attempts | seconds | why |", "|---|---|---:|---:|---|"]
    names = list(result.tasks)
    for name in names[:ROWS_MAX]:
        task = result.tasks[name]
        why = str(task.error or (task.reason if task.status in EXPLAINED else None) or "")
        tries = str(task.attempts or "")
        lines.append(
            f"| {_md(name)} | {task.status} | {tries} | {task.duration_s:.1f} | {_md(why)} |"
        )
    if len(names) > ROWS_MAX:
        lines.append(f"| and {len(names) - ROWS_MAX} more | | | | |")
    return lines


def _md(text: str) -> str:
    """Return *text* on one line, with nothing in it that Markdown would read."""
    line = " ".join(harmless(text[: CELL_CHARS_MAX * 4]).split())
    line = line if len(line) <= CELL_CHARS_MAX else line[: CELL_CHARS_MAX - 1] + "…"
    escaped = "".join(f"\\{char}" if char in SPECIAL else char for char in line)
    # An address would be made a link of, and a mention would call somebody.
    return escaped.replace("://", ":\u200b//").replace("\\@", "\\@\u200b")


def _block(text: str) -> list[str]:
    """Return *text* as a block of code that it cannot end itself."""
    shown = harmless(text)[:TEXT_CHARS_MAX].split("\n")
    return [f"    {line}" for line in shown]
