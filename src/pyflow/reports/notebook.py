"""What plans, runs and results look like in a notebook, in the form that Jupyter asks for: a text for each kind.

Jupyter takes the richest that it can show. The text is what `print` gives,
so a notebook in a terminal loses nothing. IPython is never imported here: it
is only used where it has been already.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import DefinitionError
from pyflow.reports.account import account_of
from pyflow.reports.drawing import STYLE, bare
from pyflow.reports.live import done_of
from pyflow.reports.looks import look_of, statuses_of
from pyflow.reports.markup import Markup, block, said, table, tag
from pyflow.reports.page_style import PAGE_STYLE
from pyflow.reports.plan_svg import plan_svg
from pyflow.reports.sections import badge, heading, records, tasks, troubles
from pyflow.reports.timeline import timeline_svg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pyflow.define.plan import Plan
    from pyflow.define.workflow import Workflow
    from pyflow.record.audit import AuditTrail
    from pyflow.record.codec import Record
    from pyflow.reports.account import Account
    from pyflow.run.handle import Run
    from pyflow.run.result import Result
    from pyflow.testing.exploration.report import Exploration

__all__ = [
    "Bundle",
    "exploration_bundle",
    "facts_bundle",
    "plan_bundle",
    "result_bundle",
    "run_bundle",
    "show_live",
    "trail_bundle",
    "workflow_bundle",
]

Bundle: TypeAlias = dict[str, str]
"""A text for each MIME type."""

PLAIN, HTML, SVG = "text/plain", "text/html", "image/svg+xml"
TOLD_LOOKS = ("bad", "doubt", "busy")
TASKS_MAX = 20
RECORDS_MAX = 200
UPDATE_S = 0.2


def plan_bundle(plan: Plan) -> Bundle:
    """Return a plan as a drawing."""
    return {PLAIN: str(plan), SVG: plan_svg(plan)}


def workflow_bundle(workflow: Workflow) -> Bundle:
    """Return a workflow as the drawing of its plan, or all that is wrong with it."""
    try:
        return {**plan_bundle(workflow.check()), PLAIN: repr(workflow)}
    except DefinitionError as error:
        words = str(error)
        return {PLAIN: words, HTML: _cell(tag("div", block(words), style="card bad"))}


def trail_bundle(trail: AuditTrail) -> Bundle:
    """Return a trail as its heading and the table of its records."""
    if not trail:
        return {PLAIN: str(trail), HTML: _cell(tag("p", str(trail)))}
    shown = trail[:RECORDS_MAX]
    parts: list[Markup] = [heading(account_of(trail)), records(shown)]
    if len(shown) < len(trail):
        more = f"and {len(trail) - len(shown):,} more; print() shows all of them"
        parts.append(tag("p", more, style="soft"))
    return {PLAIN: str(trail), HTML: _cell(*parts)}


def result_bundle(result: Result) -> Bundle:
    """Return what came of a run: how it ended, why, what became of each task, and when."""
    trail = result.audit_trail
    account = account_of(trail)
    parts = [heading(account), *_left(result.residue), *troubles(account), *tasks(account)]
    parts.append(tag("div", Markup(bare(timeline_svg(trail))), style="picture"))
    return {PLAIN: str(result), HTML: _cell(*parts)}


def run_bundle(run: Run, trail: AuditTrail) -> Bundle:
    """Return how far a run has got, and what is under way or went wrong in it."""
    return {PLAIN: repr(run), HTML: _cell(*_under_way(account_of(trail)))}


def facts_bundle(words: str, facts: Mapping[str, Any]) -> Bundle:
    """Return facts as a table under the first of *words*, which are the text."""
    title = words.partition("\n")[0]
    rows = ([said(what), tag("code", said(value))] for what, value in facts.items())
    return {PLAIN: words, HTML: _cell(tag("h1", said(title)), table(["fact", "value"], rows))}


def exploration_bundle(report: Exploration) -> Bundle:
    """Return what an exploration found: whether all is safe, its figures, and the counterexample."""
    words = str(report)
    head, _, example = words.partition("\n\n")
    title, *lines = head.splitlines()
    rows = (line.strip().partition(" ")[::2] for line in lines)
    mark = tag("span", "safe", style="badge good")
    if not report.ok:
        mark = tag("span", "not safe" if example else "not complete", style="badge bad")
    parts = [
        tag("h1", said(title), " ", mark),
        table(["what", "how many"], ([name, said(count.strip())] for name, count in rows)),
    ]
    if example:
        parts.append(tag("div", block(example), style="card bad"))
    return {PLAIN: words, HTML: _cell(*parts)}


def _left(residue: Iterable[str]) -> list[Markup]:
    names = ", ".join(residue)
    return (
        [tag("div", tag("p", f"Still applied: {said(names)}"), style="card bad")] if names else []
    )


def _under_way(account: Account) -> list[Markup]:
    statuses = statuses_of(account.outline)
    done, whole = done_of(account.outline)
    bar = tag("progress", max=str(max(whole, 1)), value=str(done))
    told = [name for name, status in statuses.items() if look_of(status) in TOLD_LOOKS]
    rows = (
        [
            tag("code", said(name, 120)),
            badge(statuses[name]),
            said(account.outline.tasks[name].detail),
        ]
        for name in told[:TASKS_MAX]
    )
    waits = [
        tag("div", tag("p", said(f"{w.task} waits: {w.text}")), style="card doubt")
        for w in account.outline.waits
    ]
    return [
        heading(account),
        tag("p", bar),
        *waits,
        table(["task", "status", "why"], rows),
    ]


def _cell(*inside: Markup) -> str:
    """Return what stands in a cell, with its style; nothing else of the page is styled by it."""
    style = tag("style", Markup(f"{PAGE_STYLE}\n{STYLE}"))
    return tag("div", style, *inside, style="pyflow report cell")


# A run that goes on -----------------------------------------------------------------------


def show_live(run: Run, bundle: Callable[[], Bundle]) -> None:
    """Show *run* in the cell that asks for it, and keep that up to date until it has ended."""
    module = sys.modules.get("IPython.display")
    if module is None:  # whoever asks for this is no notebook
        sys.stdout.write(f"{run!r}\n")
        return
    handle = module.display(bundle(), raw=True, display_id=True)
    run.follow(_Kept(handle, bundle).told)


class _Kept:
    """Keeps a display up to date, a few times a second at most."""

    def __init__(self, handle: Any, bundle: Callable[[], Bundle]) -> None:
        self._handle = handle
        self._bundle = bundle
        self._timer: asyncio.TimerHandle | None = None

    def told(self, record: Record) -> None:
        """Have the display updated soon, and at the end of the run at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # what is on record already is shown
            return
        if record.kind == "run_finished":  # its loop may stop before a timer is due
            self._update()
        elif self._timer is None:
            self._timer = loop.call_later(UPDATE_S, self._update)

    def _update(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with suppress(Exception):  # a notebook that is gone never stops a run
            self._handle.update(self._bundle(), raw=True)
