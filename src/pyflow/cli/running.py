"""`run`, `resume` and `rollback`: what ends with the result of a run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from pyflow.cli.codes import CANCELLED, code_of_status
from pyflow.cli.describing import advice, outline_data, result_data
from pyflow.cli.journals import existing, known_run
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_inputs, add_journal, add_ref, add_target, command
from pyflow.cli.target import loaded
from pyflow.record.outline import outline_of
from pyflow.record.rendering import table_of
from pyflow.run.engine import Engine
from pyflow.spans import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands, Parser
    from pyflow.cli.target import Target
    from pyflow.record.codec import Record
    from pyflow.run.handle import Run
    from pyflow.run.result import Result

__all__ = ["add"]

TOLD = frozenset(
    {
        *("run_paused", "run_unpaused", "intent_raised", "command_received", "outcome_decided"),
        *("task_started", "task_succeeded", "attempt_failed", "task_failed", "task_skipped"),
        *("task_interrupted", "undo_started", "undo_succeeded", "undo_failed", "undo_blocked"),
        *("approval_requested", "approval_answered", "finalizer_failed", "change_recorded"),
    }
)
"""The records that people are told of while a run goes on."""


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Add the commands."""
    parser = command(
        commands,
        "run",
        run,
        does="run a workflow to its end",
        example="""
        pyflow-deploy run deploy.py:release --param version=2.3.1 --env production
        """,
        more="""
        Every step is in the journal before it is taken, so whatever becomes of
        this process, `resume` carries on and `rollback` takes back. The first
        SIGINT or SIGTERM lets what is under way end, and leaves the run paused.
        In a shell script, start it with `exec`, or no signal reaches it.

        With --ref the definition, and what it imports beside it, are those of a
        commit, which is recorded. Tasks run in this directory all the same.
        """,
    )
    _add_common(parser, environ)
    parser = command(
        commands,
        "resume",
        resume,
        does="carry on with a run that was cut off, paused or held",
        example="pyflow-deploy resume deploy.py:release 20261127-101500-8f3a2b1c",
        more="""
        What has finished is not run again. Without RUN, every run of the
        workflow that has not ended is taken up, oldest first.
        """,
    )
    _add_common(parser, environ)
    parser.add_argument(
        "run", metavar="RUN", nargs="?", help="the run; all that are unfinished, if left out"
    )
    _add_acceptance(parser)
    parser = command(
        commands,
        "rollback",
        rollback,
        does="take back everything that a run has started",
        example="""
        pyflow-deploy rollback deploy.py:release 20261127-101500-8f3a2b1c --reason "too slow"
        """,
        more="""
        For a run that was cut off, is held or paused, has failed, was cancelled,
        or could not be rolled back before. One that has succeeded is not rolled
        back: release another version.
        """,
    )
    _add_common(parser, environ)
    parser.add_argument("run", metavar="RUN", help="the run")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; it is recorded")
    _add_acceptance(parser)


def _add_common(parser: Parser, environ: Mapping[str, str]) -> None:
    add_target(parser)
    add_ref(parser)
    add_inputs(parser)
    add_journal(parser, environ)
    parser.add_argument("--by", metavar="NAME", help="who asks; else who CI or the system says")
    parser.add_argument(
        "--on-cancel",
        choices=("pause", "rollback"),
        default="pause",
        metavar="WHAT",
        help="what a signal leads to: pause (the default), or rollback",
    )
    parser.add_argument(
        "--grace",
        metavar="SPAN",
        default="5s",
        help="how long what is under way may take to end after a signal; 5s",
    )


def _add_acceptance(parser: Parser) -> None:
    parser.add_argument(
        "--accept-changes", action="store_true", help="carry on although tasks have changed"
    )


# Calls ------------------------------------------------------------------------------------


def run(args: argparse.Namespace, out: Output) -> Answer:
    """Run a workflow."""
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        options: dict[str, Any] = {
            "params": target.params(args.param),
            "environment": target.environment(args.env),
            "initiator": args.by,
        }
        with _engine(args, out, target) as engine:
            return _waited(engine, args, lambda: engine.execute(target.plan, **options))


def resume(args: argparse.Namespace, out: Output) -> Answer:
    """Take up one run, or all that are unfinished."""
    existing(args.journal)
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        options = _options(args, target)
        with _engine(args, out, target) as engine:
            if args.run is None:
                return _all(engine, args, target, options)
            known_run(engine.journal, args.run)
            return _waited(engine, args, lambda: engine.resume(args.run, target.plan, **options))


def rollback(args: argparse.Namespace, out: Output) -> Answer:
    """Take a run back."""
    existing(args.journal)
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        options = _options(args, target) | {"reason": args.reason}
        with _engine(args, out, target) as engine:
            known_run(engine.journal, args.run)
            return _waited(engine, args, lambda: engine.rollback(args.run, target.plan, **options))


def _options(args: argparse.Namespace, target: Target) -> dict[str, Any]:
    return {
        "params": target.params(args.param),
        "environment": target.environment(args.env),
        "initiator": args.by,
        "accept_changes": args.accept_changes,
    }


def _engine(args: argparse.Namespace, out: Output, target: Target) -> TellingEngine:
    seconds(args.grace, what="--grace", zero=True)  # before anything is opened
    engine = TellingEngine(
        out.tell if not out.quiet else None,
        journal=args.journal,
        on_cancel=args.on_cancel,
        grace=args.grace,
        source=target.source,
    )
    for note in getattr(engine.journal, "notes", ()):
        out.tell(f"note: {note}")
    return engine


def _waited(engine: TellingEngine, args: argparse.Namespace, call: Callable[[], Result]) -> Answer:
    """Return what *call* came to; a signal has its code, and says how the run was left."""
    try:
        result = call()
    except (KeyboardInterrupt, SystemExit) as error:
        if engine.begun is None:
            raise
        return _left(
            engine, args, CANCELLED if isinstance(error, KeyboardInterrupt) else error.code
        )
    return _told(result, args)


def _told(result: Result, args: argparse.Namespace) -> Answer:
    outline = outline_of(result.run_id, result.audit_trail)
    steps = _steps(result.run_id, result.status, outline.waits, args)
    lines = [
        f"{result.workflow}: {result.status} (run {result.run_id}, {result.metrics.wall_s:.3f} s)"
    ]
    lines += [f"  {name}: {state.status}" for name, state in result.tasks.items()]
    if result.error is not None:
        lines.append(f"  because {result.error}")
    if result.residue:
        lines.append(f"  still applied: {', '.join(result.residue)}")
    lines += [f"  {wait.task}: {wait.text}" for wait in outline.waits]
    lines += [f"  next: {step}" for step in steps]
    data = {"run": result_data(result), "next": steps}
    return Answer(data, "\n".join(lines), code_of_status(result.status), told=True)


def _left(engine: TellingEngine, args: argparse.Namespace, code: object) -> Answer:
    """Return how a run was left that a signal has ended."""
    assert engine.begun is not None
    records = engine.journal.read(engine.begun)
    outline = outline_of(engine.begun, records)
    steps = _steps(engine.begun, outline.status, outline.waits, args)
    lines = [f"run {engine.begun} was left {outline.status}, because a signal came"]
    lines += [f"  next: {step}" for step in steps]
    data = {"run": outline_data(outline), "next": steps}
    number = code if isinstance(code, int) else CANCELLED
    return Answer(data, "\n".join(lines), number, told=True)


def _all(
    engine: TellingEngine, args: argparse.Namespace, target: Target, options: dict[str, Any]
) -> Answer:
    try:
        results = engine.resume_all([target.plan], **options)
    except KeyboardInterrupt:
        if engine.begun is None:
            raise
        return _left(engine, args, CANCELLED)
    answers = [_told(result, args) for result in results.values()]
    text = "\n".join(answer.text for answer in answers)
    data = {"runs": [answer.data["run"] for answer in answers]}
    none = (
        f"no run of {target.plan.workflow_name} is unfinished; there was nothing to carry on with"
    )
    return Answer(data, text or none, max((a.code for a in answers), default=0), told=True)


def _steps(run_id: str, status: str, waits: Any, args: argparse.Namespace) -> list[str]:
    """Return the command lines that are likely to come next."""
    where = f"--journal {shlex.quote(args.journal)}"
    ref = f" --ref {shlex.quote(args.ref)}" if args.ref is not None else ""
    again = f"{args.workflow} {run_id} {where}{ref}"
    steps = [*advice(run_id, waits, shlex.quote(args.journal))] if status == "held" else []
    if status in ("held", "paused", "running", "rolling_back"):
        steps.append(f"pyflow-deploy resume {again}")
    if status in ("held", "paused", "failed", "cancelled", "rollback_failed"):
        steps.append(f"pyflow-deploy rollback {again} --reason ...")
    if status != "succeeded":
        steps.append(f"pyflow-deploy show {run_id} {where}")
    return steps


class TellingEngine(Engine):
    """An engine that tells what its runs do, a line for each thing, and remembers the last one.

    Args:
        tell: Hears each line; None tells nothing.
        options: As for `Engine`.
    """

    def __init__(self, tell: Callable[[str], None] | None, **options: Any) -> None:
        super().__init__(**options)
        self._tell = tell
        self.begun: str | None = None
        """The run that was started or taken up last."""

    def start(self, *args: Any, **options: Any) -> Run:
        """Start a run; see `Engine.start`."""
        return self._followed(super().start(*args, **options), after=0)

    def reopen(self, run_id: str, *args: Any, **options: Any) -> Run:
        """Take a run up; see `Engine.reopen`."""
        known = len(self.journal.read(run_id))
        return self._followed(super().reopen(run_id, *args, **options), after=known)

    def _followed(self, run: Run, *, after: int) -> Run:
        self.begun = run.id
        if self._tell is not None:
            self._tell(f"run {run.id}")
            run.follow(self._told, after=after)
        return run

    def _told(self, record: Record) -> None:
        if self._tell is not None and record.kind in TOLD:
            self._tell(line_of(record))


def line_of(record: Record) -> str:
    """Return *record* in one line, with the time of day."""
    row = table_of([record])[-1].split("  ", 2)[-1]
    return f"{record.at:%H:%M:%S}  {row}"
