"""`approve reject resolve pause unpause cancel`: what people ask of a run, wherever it is."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

from pyflow.ci import detect_initiator
from pyflow.cli.codes import Refusal
from pyflow.cli.journals import existing, known_run
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_journal, command
from pyflow.record.outline import Outline, outline_of
from pyflow.run.engine import Engine

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands, Parser

__all__ = ["add"]

RUN = "20261127-101500-8f3a2b1c"
WAITING = """
A run that is under way takes it up within a second. Where no process has the
run, it waits in the journal for `resume`.
"""


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Add the commands."""
    for name, does, about in (
        ("approve", "answer the question of a run with yes", "QUESTION"),
        ("reject", "answer the question of a run with no", "QUESTION"),
    ):
        parser = command(
            commands,
            name,
            answer,
            does=does,
            example=f"pyflow-deploy {name} {RUN} go --by ann --reason 'looked at the graphs'",
            more=WAITING,
        )
        _add_run(parser, environ)
        parser.add_argument(
            "task", metavar=about, help="its name; `status RUN` lists what is asked"
        )
        parser.add_argument(
            "--digest",
            metavar="HASH",
            help="bind the answer to the plan and parameters that were seen",
        )
    parser = command(
        commands,
        "resolve",
        resolve,
        does="decide about a task that is in doubt, or has failed in a run that is held",
        example=f"pyflow-deploy resolve {RUN} deploy --applied --reason 'seen in the console'",
        more=WAITING,
    )
    _add_run(parser, environ)
    parser.add_argument("task", metavar="TASK", help="the task")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--applied", action="store_true", help="the interrupted attempt took effect")
    what.add_argument("--not-applied", action="store_true", help="it did not; the task runs again")
    what.add_argument("--retry", action="store_true", help="try the failed task once more")
    what.add_argument("--skip", action="store_true", help="go on as if it had been skipped")
    parser.add_argument(
        "--output", metavar="JSON", help="with --applied: what it would have returned"
    )
    for name, does in (
        ("pause", "have a run start nothing further"),
        ("unpause", "have a paused run go on"),
        ("cancel", "have a run end as cancelled; what was done stays done"),
    ):
        parser = command(
            commands,
            name,
            ask,
            does=does,
            example=f"pyflow-deploy {name} {RUN} --reason 'the database is slow'",
            more=WAITING,
        )
        _add_run(parser, environ)


def _add_run(parser: Parser, environ: Mapping[str, str]) -> None:
    parser.add_argument("run", metavar="RUN", help="the run")
    add_journal(parser, environ)
    parser.add_argument("--by", metavar="NAME", help="who says so; else who CI or the system says")
    parser.add_argument("--reason", metavar="TEXT", help="why; it is recorded")


def answer(args: argparse.Namespace, _: Output) -> Answer:
    """Answer a question."""
    with _opened(args) as engine:
        outline = _outline(engine, args.run)
        _check_asked(outline, args.task, ("approval",))
        call = engine.approve if args.command == "approve" else engine.reject
        call(args.run, args.task, by=_by(args), comment=args.reason, digest=args.digest)
        return _said(engine, args)


def resolve(args: argparse.Namespace, _: Output) -> Answer:
    """Decide about a task."""
    if args.output is not None and not args.applied:
        raise Refusal("--output goes with --applied alone", "leave it out")
    output: Any = _json(args.output) if args.output is not None else None
    with _opened(args) as engine:
        outline = _outline(engine, args.run)
        if args.retry or args.skip:
            _check_asked(outline, args.task, ("failed", "interrupted"))
            call = engine.retry if args.retry else engine.skip
            call(args.run, args.task, by=_by(args), reason=args.reason)
        else:
            _check_asked(outline, args.task, ("interrupted", "failed"))
            said = "applied" if args.applied else "not_applied"
            engine.resolve(
                args.run, args.task, said, by=_by(args), output=output, reason=args.reason
            )
        return _said(engine, args)


def ask(args: argparse.Namespace, _: Output) -> Answer:
    """Ask for a pause, for its end, or for a cancellation."""
    with _opened(args) as engine:
        _outline(engine, args.run)
        call = {"pause": engine.pause, "unpause": engine.unpause, "cancel": engine.cancel}
        call[args.command](args.run, by=_by(args), reason=args.reason)
        return _said(engine, args)


def _opened(args: argparse.Namespace) -> Engine:
    return Engine(journal=existing(args.journal))


def _outline(engine: Engine, run_id: str) -> Outline:
    known_run(engine.journal, run_id)
    return outline_of(run_id, engine.journal.read(run_id))


def _check_asked(outline: Outline, task: str, kinds: tuple[str, ...]) -> None:
    """Make sure that *task* is one about which something like that is asked.

    Raises:
        Refusal: It is not; the text says what is asked.
    """
    asked = {wait.task for wait in outline.waits if wait.kind in kinds}
    if task in asked or (outline.ended is None and task in outline.tasks and not asked):
        return
    there = f"it asks about {', '.join(sorted(asked))}" if asked else "it asks nothing of the kind"
    if outline.ended is not None:
        there = f"it has ended as {outline.status}"
    raise Refusal(
        f"run {outline.run_id} asks nothing about {task!r}: {there}",
        f"see how it stands: pyflow-deploy status {outline.run_id}",
    )


def _by(args: argparse.Namespace) -> str:
    return detect_initiator(args.by, os.environ).id


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refusal(
            f"--output {text!r} is no JSON: {error}", "write it as JSON: '\"text\"'"
        ) from None


def _said(engine: Engine, args: argparse.Namespace) -> Answer:
    holder = engine.holder(f"run:{args.run}")
    is_alive = holder is not None and holder.is_alive
    where = f"--journal {shlex.quote(args.journal)}"
    wait = (
        f"the process that has the run ({holder.host}, pid {holder.pid}) takes it up"
        if is_alive and holder is not None
        else f"no process has the run; it takes effect with: pyflow-deploy resume FILE:WORKFLOW {args.run} {where}"
    )
    data = {"run": {"id": args.run, "is_alive": is_alive}, "asked": args.command}
    return Answer(data, f"{args.command} is in the journal; {wait}", told=True)
