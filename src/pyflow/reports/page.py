"""A run as one page of HTML, to keep, to send and to print: nothing is fetched, and nothing runs in it."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from pyflow.record.told import trail_of
from pyflow.reports.account import account_of
from pyflow.reports.drawing import STYLE
from pyflow.reports.drawn import plan_of
from pyflow.reports.markup import Markup, said, tag
from pyflow.reports.page_style import PAGE_STYLE
from pyflow.reports.sections import heading, sections
from pyflow.version import __version__

if TYPE_CHECKING:
    from pyflow.record.audit import AuditTrail
    from pyflow.record.told import Told
    from pyflow.reports.drawn import Drawn

__all__ = ["WHOLE_STYLE", "html"]

WHOLE_STYLE = f":root {{ color-scheme: light dark; }}\n{PAGE_STYLE}\n{STYLE}"


def html(run: Told, *, plan: Drawn | None = None) -> str:
    """Return a run as one self-contained page of HTML.

    What is in it: how the run ended or stands, where, by whom; what failed
    and why; what was taken back, and what is still applied; what waits for a
    person, and what people decided; changes of the world, before and after;
    the plan with what became of each task; the timeline; and every record,
    with a word on whether their chain holds.

    The page has no script, and its Content-Security-Policy allows none, nor
    anything from elsewhere: a style with this page's own hash is all that a
    browser accepts. Names and messages are escaped. It follows the reader's
    choice of light or dark, and can be printed.

    Args:
        run: A result or a simulation, or a trail, such as ``engine.trail(run_id)``;
            a run that goes on is told as far as it has got.
        plan: What ran, a workflow or ``workflow.check()``, to be drawn. Without
            it there is no drawing, because records hold no dependencies.

    Returns:
        A document in UTF-8. Of more than 5,000 records it shows the opening
        and the closing ones, and says so.

    Raises:
        DefinitionError: *run* is no run, or *plan* no plan.
    """
    trail = trail_of(run)
    account = account_of(trail)
    parts = [
        heading(account),
        *sections(trail, account, None if plan is None else plan_of(plan)),
        _foot(trail),
    ]
    body = tag("body", tag("div", *parts, style="sheet"), style="pyflow report")
    return f'<!DOCTYPE html>\n<html lang="en">\n{_head(_title(trail))}\n{body}\n</html>\n'


def _title(trail: AuditTrail) -> str:
    if not trail:
        return "an empty audit trail"
    workflow = getattr(trail[0].event, "workflow", "a part of a run")
    return said(f"{workflow}: {trail.outcome or 'not ended'} ({trail[0].run_id})", 200)


def _head(title: str) -> Markup:
    seal = b64encode(sha256(WHOLE_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{seal}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(WHOLE_STYLE)),
    )


def _foot(trail: AuditTrail) -> Markup:
    until = f", as of {trail[-1].at:%Y-%m-%d %H:%M:%S} UTC" if trail else ""
    return tag("footer", f"Made by pyflow {__version__} from the records of the run{until}.")
