"""`status history show locks`: look at a journal, and change nothing in it."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyflow.ci import detect_initiator
from pyflow.cli.codes import Refusal
from pyflow.cli.describing import advice, outline_data, record_data
from pyflow.cli.files import written
from pyflow.cli.journals import existing
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_journal, command
from pyflow.cli.target import load
from pyflow.clock import SystemClock
from pyflow.errors import nearest
from pyflow.record.archive.files import Archive
from pyflow.record.history import history as open_history
from pyflow.record.outline import outline_of
from pyflow.record.rendering import heading_of, table_of
from pyflow.record.sqlite.store import Store
from pyflow.reports import html
from pyflow.run.engine import Engine
from pyflow.spans import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands, Parser
    from pyflow.record.audit import AuditTrail
    from pyflow.record.history.lookup import History
    from pyflow.record.history.summary import RunSummary
    from pyflow.record.outline import Outline

__all__ = ["add", "add_conditions", "fields_of", "instant", "known", "opened_history"]

RUN = "20261127-101500-8f3a2b1c"
UNFINISHED = ("running", "paused", "held", "rolling_back", "pending")
LATEST = 10
FILTERS = (
    ("workflow", "its name"),
    ("service", "parameter `service`, or a lock service:NAME"),
    ("version", "parameter `version`"),
    ("task", "a task that was started"),
    ("initiator", "who asked for it"),
    ("approver", "who approved"),
    ("status", "how it ended or stands"),
    ("change", "a resource that was changed"),
    ("commit", "the commit that CI was at"),
)


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Add the commands."""
    _add_status(commands, environ)
    _add_history(commands, environ)
    _add_show(commands, environ)
    _add_locks(commands, environ)


def _add_status(commands: Commands, environ: Mapping[str, str]) -> None:
    parser = command(
        commands,
        "status",
        status,
        does="show how a run stands and what it waits for, or which runs are unfinished",
        example=f"pyflow-deploy status\npyflow-deploy status {RUN}",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        help="the run; all that are unfinished and the last ten, if left out",
    )
    add_journal(parser, environ)


def _add_show(commands: Commands, environ: Mapping[str, str]) -> None:
    parser = command(
        commands,
        "show",
        show,
        does="show the audit trail of a run, and check its chain",
        example=f"""
        pyflow-deploy show {RUN}
        pyflow-deploy show {RUN} --diff 20261126-091200-17c0ffee
        pyflow-deploy show {RUN} --html run.html --plan deploy.py:release
        """,
    )
    parser.add_argument("run", metavar="RUN", help="the run")
    parser.add_argument("--archive", metavar="FILE", help="look into this archive instead")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--diff", metavar="RUN", help="show what differs in another run instead")
    what.add_argument(
        "--compliance",
        action="store_true",
        help="show which fields that PCI DSS, SOC 2 and ISO 27001 ask for it has",
    )
    what.add_argument(
        "--jsonl", action="store_true", help="give the records as they are stored, a line each"
    )
    what.add_argument(
        "--html",
        metavar="FILE",
        help="write one page that says it all, to keep or to send; - is stdout",
    )
    parser.add_argument(
        "--plan",
        metavar="FILE:WORKFLOW",
        help="with --html: the workflow, to draw it with what became of each task",
    )
    add_journal(parser, environ)


def _add_locks(commands: Commands, environ: Mapping[str, str]) -> None:
    parser = command(
        commands,
        "locks",
        locks,
        does="show who has which resource, alive or dead",
        example="pyflow-deploy locks\npyflow-deploy locks service:shop --break --reason 'host is gone'",
    )
    parser.add_argument("resource", metavar="RESOURCE", nargs="?", help="this one alone")
    parser.add_argument(
        "--break",
        dest="breaks",
        action="store_true",
        help="free it, whoever has it and whatever is left there",
    )
    parser.add_argument("--by", metavar="NAME", help="with --break: who says so")
    parser.add_argument("--reason", metavar="TEXT", help="with --break: why")
    add_journal(parser, environ)


def _add_history(commands: Commands, environ: Mapping[str, str]) -> None:
    parser = command(
        commands,
        "history",
        history,
        does="find runs, the newest first",
        example="""
        pyflow-deploy history --env production --since 7d --status rolled_back
        pyflow-deploy history --service shop --env production --last-good
        pyflow-deploy history --env production --since 2026-11-01 --changes
        """,
        more="""
        A run has to fit every condition. Instants are 2026-11-27, or
        2026-11-27T10:15 in UTC, or a span before now, such as 7d.
        """,
    )
    add_conditions(parser)
    parser.add_argument("--limit", metavar="N", type=int, default=25, help="how many, at most; 25")
    parser.add_argument(
        "--before", metavar="NUMBER", type=int, help="go on after the run of this number"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--count", action="store_true", help="only count them")
    what.add_argument(
        "--last-good",
        action="store_true",
        help="the last that succeeded, of one service in one environment",
    )
    what.add_argument(
        "--changes",
        action="store_true",
        help="what was changed, in an environment, between two instants",
    )
    what.add_argument(
        "--dora", action="store_true", help="DORA's five metrics; --since says over which time"
    )
    add_journal(parser, environ)


def add_conditions(parser: Parser) -> None:
    """Have *parser* know which runs are meant."""
    for name, words in FILTERS:
        parser.add_argument(f"--{name}", metavar="TEXT", help=words)
    parser.add_argument("--env", metavar="NAME", dest="environment", help="where it ran")
    parser.add_argument("--since", metavar="INSTANT", help="began then or later")
    parser.add_argument("--until", metavar="INSTANT", help="began before then")
    parser.add_argument(
        "--text",
        metavar="WORDS",
        help="words in the run: failures, logs, questions, answers, changes; conn* for all that begin so",
    )


# status -----------------------------------------------------------------------------------


def status(args: argparse.Namespace, out: Output) -> Answer:
    """Show how one run stands, or all that are unfinished."""
    with opened_history(args, out) as found:
        if args.run is None:
            return _overview(found, args, out)
        outline = outline_of(args.run, found.trail(known(found, args.run)))
    steps = list(advice(args.run, outline.waits, shlex.quote(args.journal)))
    return Answer({"run": outline_data(outline), "next": steps}, _standing(outline, steps, out))


def _overview(found: History, args: argparse.Namespace, out: Output) -> Answer:
    unfinished = [run for one in UNFINISHED for run in found.runs(status=one)]
    unfinished.sort(key=lambda run: -run.number)
    latest = list(found.runs(limit=LATEST))
    lines = [f"{len(unfinished)} unfinished"] if unfinished else ["nothing is unfinished"]
    lines += [_row(run, out) for run in unfinished]
    if unfinished:
        lines.append(
            f"  next: pyflow-deploy status {unfinished[0].run_id} --journal {shlex.quote(args.journal)}"
        )
    lines += ["", f"the last {len(latest)}" if latest else "no run yet"]
    lines += [_row(run, out) for run in latest]
    data = {
        "unfinished": [run_data(r) for r in unfinished],
        "latest": [run_data(r) for r in latest],
    }
    return Answer(data, "\n".join(lines))


def _standing(outline: Outline, steps: Sequence[str], out: Output) -> str:
    start = outline.start
    name = start.workflow if start else "a part of a run"
    why = f": {outline.reason}" if outline.reason else ""
    lines = [
        f"{name}: {out.painted(outline.status)}{why} (run {outline.run_id}, {outline.records} records)"
    ]
    width = max(map(len, outline.tasks), default=0)
    lines += [
        f"  {task:<{width}}  {out.painted(one.status)}" + (f"  {one.detail}" if one.detail else "")
        for task, one in outline.tasks.items()
    ]
    if outline.error:
        lines.append(f"  because {outline.error}")
    if outline.residue:
        lines.append(f"  still applied: {', '.join(outline.residue)}")
    lines += [f"  {wait.task} waits: {wait.text}" for wait in outline.waits]
    lines += [f"  next: {step}" for step in steps]
    return "\n".join(lines)


# history ----------------------------------------------------------------------------------


def history(args: argparse.Namespace, out: Output) -> Answer:
    """Find runs."""
    if args.limit < 1:
        raise Refusal(f"--limit {args.limit} shows nothing", "give a whole number from 1")
    since, until = instant(args.since, "--since"), instant(args.until, "--until")
    fields = fields_of(args)
    with opened_history(args, out) as found:
        if args.last_good:
            return _last_good(found, args, out)
        if args.changes:
            return _changes(found, args, since, until)
        if args.dora:
            return _dora(found, fields, since, until)
        conditions: dict[str, Any] = {
            **fields,
            "since": since,
            "until": until,
            "text": args.text,
            "before": args.before,
        }
        if args.count:
            number = found.count(**conditions)
            return Answer({"count": number}, str(number))
        runs = list(found.runs(**conditions, limit=args.limit))
    lines = [_row(run, out) for run in runs] or ["no run fits"]
    more = runs[-1].number if len(runs) == args.limit else None
    if more is not None:
        out.tell(f"for more, add --before {more}")
    return Answer({"runs": [run_data(run) for run in runs], "before": more}, "\n".join(lines))


def _last_good(found: History, args: argparse.Namespace, out: Output) -> Answer:
    if not (args.service and args.environment):
        raise Refusal(
            "--last-good is of one service in one environment", "add --service NAME --env NAME"
        )
    run = found.last_good(args.service, args.environment)
    text = (
        _row(run, out) if run else f"no run of {args.service} has succeeded in {args.environment}"
    )
    return Answer({"run": run_data(run) if run else None}, text)


def _changes(
    found: History, args: argparse.Namespace, since: datetime | None, until: datetime | None
) -> Answer:
    changes = list(found.changes(args.environment, since, until))
    data = [
        {
            "at": one.at.isoformat(),
            "run": one.run_id,
            "environment": one.environment,
            "task": one.task,
            "resource": one.resource,
            "before": one.before,
            "after": one.after,
        }
        for one in changes
    ]
    return Answer({"changes": data}, "\n".join(map(str, changes)) or "nothing was changed")


def _dora(
    found: History, fields: dict[str, Any], since: datetime | None, until: datetime | None
) -> Answer:
    if since is None:
        raise Refusal("--dora needs to know over which time", "add --since 30d")
    figures = found.dora(since=since, until=until or _now(), **fields)
    names = list(type(figures).__slots__)
    data = {
        name: {"value": f.value, "unit": f.unit, "of": f.of, "what": f.what}
        for name in names
        for f in (getattr(figures, name),)
    }
    return Answer({"dora": data}, str(figures))


# show -------------------------------------------------------------------------------------


def show(args: argparse.Namespace, out: Output) -> Answer:
    """Show a trail, what differs from another, or which fields it has."""
    if args.jsonl and args.json:
        raise Refusal("--jsonl and --json are two forms", "choose one of them")
    if args.plan and not args.html:
        raise Refusal("--plan is drawn on a page, and none was asked for", "add --html FILE")
    if args.archive is not None:
        return _archived(args, out)
    with opened_history(args, out) as found:
        run_id = known(found, args.run)
        if args.diff is not None:
            diff = found.diff(run_id, known(found, args.diff))
            rows = [{"what": d.what, "one": d.one, "other": d.other} for d in diff.differences]
            return Answer({"one": diff.one, "other": diff.other, "differences": rows}, str(diff))
        if args.compliance:
            report = found.compliance(run_id)
            fields = [
                {"standard": e.standard, "field": e.field, "found": e.found, "seq": e.seq}
                for e in report.evidence
            ]
            return Answer({"run": {"id": run_id}, "fields": fields}, str(report))
        trail = found.trail(run_id)
    return _shown(run_id, trail, args, out)


def _archived(args: argparse.Namespace, out: Output) -> Answer:
    if args.diff is not None or args.compliance:
        raise Refusal("--archive shows a trail alone", "leave --diff and --compliance out")
    return _shown(args.run, Archive(args.archive).trail(args.run), args, out)


def _shown(run_id: str, trail: AuditTrail, args: argparse.Namespace, out: Output) -> Answer:
    if args.jsonl:
        return Answer({}, trail.to_jsonl().rstrip("\n"))
    if args.html:
        return _page(args, trail, out)
    data = {
        "run": outline_data(outline_of(run_id, trail)),
        "records": [record_data(r) for r in trail],
    }
    return Answer(data, "\n".join([*heading_of(trail[0]), "", *table_of(trail)]))


def _page(args: argparse.Namespace, trail: AuditTrail, out: Output) -> Answer:
    """Return where a page about a run was written, or the page itself for stdout."""
    with out.guarded():
        plan = load(args.plan).plan if args.plan else None
    page = html(trail, plan=plan)
    if args.html == "-":
        if args.json:
            raise Refusal("--html - and --json both want stdout", "name a file: --html run.html")
        return Answer({}, page.rstrip("\n"))
    file = written(args.html, page, option="--html")
    data = {"run": outline_data(outline_of(trail[0].run_id, trail)), "file": file}
    return Answer(data, f"wrote {file}", told=True)


# locks ------------------------------------------------------------------------------------


def locks(args: argparse.Namespace, _: Output) -> Answer:
    """Show who has what, or break one lock."""
    if args.breaks and not (args.resource and args.reason):
        raise Refusal("--break frees one resource, for a reason", "give RESOURCE and --reason TEXT")
    path = existing(args.journal)
    if args.breaks:
        return _broken(args)
    store = Store(path, now=SystemClock().now)
    try:
        rows = [
            {
                "resource": holder.lease.resource,
                "standing": standing,
                "run": holder.lease.run_id,
                "host": holder.host,
                "pid": holder.pid,
                "since": holder.since.isoformat() if holder.since else None,
                "epoch": holder.lease.epoch,
            }
            for holder, standing in store.locks.listed()
            if args.resource in (None, holder.lease.resource)
        ]
    finally:
        store.close()
    lines = [
        f"{row['resource']}  {row['standing']}  run {row['run']}  {row['host']} pid {row['pid']}  since {row['since']}  epoch {row['epoch']}"
        for row in rows
    ]
    return Answer({"locks": rows}, "\n".join(lines) or "nothing is locked")


def _broken(args: argparse.Namespace) -> Answer:
    by = detect_initiator(args.by, os.environ).id
    with Engine(journal=args.journal) as engine:
        epoch = engine.break_lock(args.resource, by=by, reason=args.reason)
    data = {"resource": args.resource, "epoch": epoch}
    return Answer(data, f"{args.resource} is free; its epoch is {epoch} now", told=True)


# Parts ------------------------------------------------------------------------------------


def opened_history(args: argparse.Namespace, out: Output) -> History:
    """Open the history of the journal that is meant, and say what is odd about it."""

    def told(reached: int, end: int) -> None:
        if end >= 200_000:
            out.tell(f"indexing: {reached:,} of {end:,} records")

    found = open_history(existing(args.journal), told=told)
    for note in found.notes:
        out.tell(f"note: {note}")
    return found


def known(found: History, run_id: str) -> str:
    """Return *run_id*, which the journal has, or which begins the id of one run alone.

    Raises:
        Refusal: It has none; the text names the nearest.
    """
    latest = [run.run_id for run in found.runs(limit=1000)]
    if run_id in latest or found.has(run_id):
        return run_id
    near = nearest(run_id, latest)
    hint = f"; did you mean {near}?" if near else ""
    last = f"the last run is {latest[0]}" if latest else "it has no run yet"
    raise Refusal(
        f"no run {run_id!r} is in the journal{hint}", f"{last}; pyflow-deploy history lists them"
    )


def fields_of(args: argparse.Namespace) -> dict[str, str | None]:
    """Return what runs have to have, as `History.runs` takes it."""
    return {name: getattr(args, name) for name, _ in FILTERS} | {"environment": args.environment}


def instant(text: str | None, option: str) -> datetime | None:
    """Return the instant that *text* names: a date, a time, or a span before now.

    Raises:
        Refusal: It names none.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return _now() - timedelta(seconds=seconds(text))
    except (ValueError, OverflowError):
        raise Refusal(
            f"{option} {text!r} is no instant",
            "write 2026-11-27, 2026-11-27T10:15, or a span such as 7d",
        ) from None


def _now() -> datetime:
    return SystemClock().now()


def run_data(run: RunSummary) -> dict[str, Any]:
    """Return *run* as data."""
    return {
        "number": run.number,
        "id": run.run_id,
        "workflow": run.workflow,
        "environment": run.environment,
        "service": run.service,
        "version": run.version,
        "initiator": run.initiator,
        "status": run.status,
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
        "records": run.records,
        "error": run.error,
        "commit": run.commit,
    }


def _row(run: RunSummary, out: Output) -> str:
    took = f"{run.duration_s:.1f} s" if run.duration_s is not None else "-"
    about = [text for text in (run.service, run.version, run.environment) if text]
    gap = " " * max(0, 15 - len(run.status))
    status = out.painted(run.status, sys.stdout) + gap
    return f"  {run.run_id}  {status}  {run.workflow:<12}  {' '.join(about)}  by {run.initiator}  {took}"
