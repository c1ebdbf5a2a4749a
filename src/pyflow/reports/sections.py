"""The parts of a page about a run, each by itself; what has nothing to say is left out."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError
from pyflow.record.rendering import definition_of, detail_of, text_of
from pyflow.reports.drawing import bare
from pyflow.reports.looks import look_of, statuses_of, words_of
from pyflow.reports.markup import Markup, block, said, table, tag
from pyflow.reports.plan_svg import plan_svg
from pyflow.reports.timeline import timeline_svg
from pyflow.spans import worded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from pyflow.define.plan import Plan
    from pyflow.record.audit import AuditTrail
    from pyflow.record.codec import Record
    from pyflow.reports.account import Account, Trouble

__all__ = ["badge", "heading", "records", "sections", "tasks", "troubles"]

RECORDS_MAX = 5_000


def sections(trail: AuditTrail, account: Account, plan: Plan | None) -> Iterator[Markup]:
    """Yield every part of the page below its heading."""
    yield from _left(account)
    yield from _waits(account)
    yield from troubles(account)
    yield from _undone(account)
    yield from _decisions(account)
    yield from _changes(account)
    if plan is not None:
        yield from _plan(trail, account, plan)
    if trail:
        drawn = tag("div", Markup(bare(timeline_svg(trail))), style="picture")
        yield _section("Timeline", drawn)
        yield from tasks(account)
        yield _section("Records", _seal(trail), records(trail))


def heading(account: Account) -> Markup:
    """Return what the run is, how it stands, and who wanted what where."""
    outline, start = account.outline, account.outline.start
    if not outline.records:
        return tag("header", tag("h1", "an empty audit trail"))
    name = said(start.workflow if start else "a part of a run", 200)
    parts = [tag("h1", name, " ", badge(outline.status))]
    if outline.reason and outline.status != "succeeded":
        parts.append(tag("p", said(outline.reason)))
    pairs = (tag("div", tag("dt", key), tag("dd", value)) for key, value in _facts(account))
    return tag("header", *parts, tag("dl", *pairs, style="facts"))


def badge(status: str) -> Markup:
    """Return *status* in words, in its colour."""
    return tag("span", words_of(status), style=f"badge {look_of(status)}")


def _facts(account: Account) -> Iterator[tuple[str, str]]:
    outline, start = account.outline, account.outline.start
    yield "run", tag("code", outline.run_id)
    if outline.started is not None:
        yield "began", _instant(outline.started)
    if outline.started is not None and outline.ended is not None:
        took_s = (outline.ended - outline.started).total_seconds()
        yield "ended", tag("span", _instant(outline.ended), f", after {worded(took_s)}")
    if start is None:
        return
    where = start.environment or {}
    if where:
        tier = f" ({where['tier']})" if where.get("tier") else ""
        yield "environment", said(f"{where.get('name', '')}{tier}")
    yield "asked for by", said(f"{start.initiator.get('id')} ({start.initiator.get('source')})")
    for name, value in start.params.items():
        yield f"parameter {said(name, 60)}", tag("code", said(text_of(value)))
    yield from _origin(start.origin)
    yield "plan", tag("code", start.fingerprint[:12])
    counts = Counter(statuses_of(outline).values())
    yield "tasks", ", ".join(f"{counts[each]} {words_of(each)}" for each in counts)


def _origin(origin: dict[str, Any]) -> Iterator[tuple[str, str]]:
    ci: dict[str, Any] = origin.get("ci") or {}
    if origin.get("host"):
        yield "on", said(f"{origin['host']}, pyflow {origin.get('pyflow', '?')}")
    for key in ("commit", "ref"):
        if ci.get(key):
            yield key, tag("code", said(ci[key], 120))
    definition = definition_of(origin.get("source") or {})
    if definition:
        yield "definition", said(definition)
    if ci.get("run_url"):
        yield "pipeline", _link(str(ci["run_url"]))


def _link(address: str) -> str:
    """Return a link that a reader may follow; nothing of it is fetched, and it leads to the web alone."""
    if not address.startswith(("https://", "http://")):
        return said(address)
    return tag("a", said(address), href=said(address, 2_000), rel="noreferrer noopener")


# What went wrong --------------------------------------------------------------------------


def troubles(account: Account) -> Iterator[Markup]:
    """Yield what went wrong: what decided the run before all else, and then in order."""
    found = sorted(account.troubles, key=lambda one: one is not account.root)
    if found:
        cards = (_trouble(one, account) for one in found)
        yield _section("What failed, and why", *cards)


def _trouble(one: Trouble, account: Account) -> Markup:
    role, look = "", "bad"
    if one is account.root:
        role = "This decided the run: "
    elif one in account.mended:
        role, look = "A later try went well: ", "doubt"
    parts = [
        tag("h3", said(one.name)),
        tag("p", said(one.error, 2_000)),
        tag("p", f"{role}{one.what}, ", _instant(one.at), style="soft"),
    ]
    if one.traceback:
        parts.append(block(one.traceback))
    return tag("div", *parts, style=f"card {look}")


def _left(account: Account) -> Iterator[Markup]:
    if account.left:
        rows = ([_task(one.task), said(one.why)] for one in account.left)
        inside = [tag("p", "A rollback could not take these back. Clean up, or roll back again.")]
        inside.append(table(["task", "why it was not taken back"], rows))
        yield _section("Still applied", tag("div", *inside, style="card bad"))


def _waits(account: Account) -> Iterator[Markup]:
    if account.outline.waits:
        rows = ([_task(w.task), w.kind, said(w.text, 1_000)] for w in account.outline.waits)
        inside = table(["task", "what it is", "what is to be decided"], rows)
        yield _section("Waits for a person", tag("div", inside, style="card doubt"))


def _undone(account: Account) -> Iterator[Markup]:
    parts: list[Markup] = []
    if account.undone:
        rows = (
            [_instant(one.at), _task(one.task), str(one.tries), _span(one.duration_s)]
            for one in account.undone
        )
        parts.append(table(["when", "task", "tries", "took"], rows))
    if account.not_undone:
        names = said(", ".join(account.not_undone), 4_000)
        parts.append(
            tag("p", f"Started, and never taken back for want of an undo: {names}.", style="soft")
        )
    if parts:
        yield _section("Taken back", *parts)


# What was done ----------------------------------------------------------------------------


def _decisions(account: Account) -> Iterator[Markup]:
    if account.decisions:
        rows = (
            [_instant(one.at), said(one.who), words_of(one.what), said(one.task), said(one.why)]
            for one in account.decisions
        )
        yield _section("What people decided", table(["when", "who", "what", "about", "why"], rows))


def _changes(account: Account) -> Iterator[Markup]:
    if account.changes:
        rows = (_change(record) for record in account.changes)
        head = ["when", "task", "what was changed", "before", "after"]
        yield _section("Changes", table(head, rows))


def _change(record: Record) -> list[str]:
    event: Any = record.event
    before, after = (
        "none" if value is None else tag("code", said(text_of(value)))
        for value in (event.before, event.after)
    )
    return [_instant(record.at), _task(event.task), said(event.resource), before, after]


def _plan(trail: AuditTrail, account: Account, plan: Plan) -> Iterator[Markup]:
    parts: list[Markup] = []
    start = account.outline.start
    if start is not None and start.fingerprint != plan.fingerprint:
        words = "This plan is not the one that ran: it, or one of its functions, has changed since."
        parts.append(tag("p", words, style="soft"))
    statuses = statuses_of(account.outline)
    drawn = plan_svg(plan, statuses=statuses if trail else None)
    yield _section("Plan", *parts, tag("div", Markup(bare(drawn)), style="picture"))


def tasks(account: Account) -> Iterator[Markup]:
    """Yield what became of each task, as they were worked on, with the items of a map below it."""
    statuses = statuses_of(account.outline)
    place: dict[str, int] = {}
    for name in (*account.seconds, *statuses):
        place.setdefault(_whole(name), len(place))
    names = sorted(statuses, key=lambda name: place[_whole(name)])
    rows = (_row(name, statuses[name], account) for name in names)
    yield _section("Tasks", table(["task", "status", "attempts", "worked", "why"], rows))


def _whole(name: str) -> str:
    """Return the map that the item *name* is of, or the task itself."""
    return name.partition("[")[0]


def _row(name: str, status: str, account: Account) -> list[str]:
    one = account.outline.tasks[name]
    spent = _span(account.seconds[name]) if name in account.seconds else ""
    return [_task(name), badge(status), str(one.attempts or ""), spent, said(one.detail)]


# The record -------------------------------------------------------------------------------


def records(trail: AuditTrail) -> Markup:
    """Return the records as a table: the opening and the closing ones where they are many."""
    began = trail[0].at
    half = RECORDS_MAX // 2
    cut = len(trail) > RECORDS_MAX
    shown: Iterable[list[str]] = (_record(record, began) for record in trail)
    if cut:
        head, tail = trail[:half], trail[-half:]
        gap = ["…", "", f"{len(trail) - 2 * half:,} records are left out here", "", "", ""]
        shown = chain(
            (_record(record, began) for record in head),
            [gap],
            (_record(record, began) for record in tail),
        )
    head = ["#", "time", "what", "task", "detail", "hash"]
    return table(head, shown, style="records")


def _record(record: Record, began: datetime) -> list[str]:
    since_s = (record.at - began).total_seconds()
    name = record.task or getattr(record.event, "name", "")
    return [
        str(record.seq),
        tag("time", f"+{since_s:,.3f} s", datetime=record.at.isoformat()),
        words_of(record.kind),
        said(name, 60),
        said(detail_of(record.event)),
        tag("code", record.hash[:8], style="hash"),
    ]


def _seal(trail: AuditTrail) -> Markup:
    """Return whether the chain of the records holds."""
    try:
        trail.verify(complete=trail.outcome is not None)
    except JournalError as error:
        return tag("div", tag("p", f"The chain is broken: {said(error, 1_000)}"), style="card bad")
    words = (
        f"{len(trail):,} records, each sealed with the hash of the one before; the chain holds. "
    )
    return tag("p", words, "Its head is ", tag("code", trail[-1].hash), ".", style="soft")


# Parts ------------------------------------------------------------------------------------


def _section(title: str, *inside: str) -> Markup:
    return tag("section", tag("h2", title), *inside)


def _task(name: str) -> Markup:
    return tag("code", said(name, 120))


def _instant(at: datetime) -> Markup:
    return tag("time", f"{at:%Y-%m-%d %H:%M:%S} UTC", datetime=at.isoformat())


def _span(duration_s: float) -> str:
    return worded(round(duration_s, 3)) if duration_s >= 0.001 else "0"
