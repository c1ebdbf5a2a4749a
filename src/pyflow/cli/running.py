"""`run`, `resume` and `rollback`: what ends with the result of a run."""

from __future__ import annotations

import contextlib
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflow.cli.codes import CANCELLED, code_of_status
from pyflow.cli.describing import advice, outline_data, result_data
from pyflow.cli.journals import existing, known_run
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_inputs, add_journal, add_target, command
from pyflow.cli.target import loaded
from pyflow.record.outline import outline_of
from pyflow.reports import progress
from pyflow.run.engine import Engine
from pyflow.spans import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator, Mapping

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands, Parser
    from pyflow.cli.target import Target
    from pyflow.reports.progress import Progress
    from pyflow.run.handle import Run
    from pyflow.run.result import Result

__all__ = ["add"]


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
        with _engine(args, out, target) as (engine, last):
            return _waited(engine, last, args, partial(engine.execute, target.plan, **options))


def resume(args: argparse.Namespace, out: Output) -> Answer:
    """Take up one run, or all that are unfinished."""
    existing(args.journal)
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        options = _options(args, target)
        with _engine(args, out, target) as (engine, last):
            if args.run is None:
                return _all(engine, last, args, target, options)
            known_run(engine.journal, args.run)
            call = partial(engine.resume, args.run, target.plan, **options)
            return _waited(engine, last, args, call)


def rollback(args: argparse.Namespace, out: Output) -> Answer:
    """Take a run back."""
    existing(args.journal)
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        options = _options(args, target) | {"reason": args.reason}
        with _engine(args, out, target) as (engine, last):
            known_run(engine.journal, args.run)
            call = partial(engine.rollback, args.run, target.plan, **options)
            return _waited(engine, last, args, call)


def _options(args: argparse.Namespace, target: Target) -> dict[str, Any]:
    return {
        "params": target.params(args.param),
        "environment": target.environment(args.env),
        "initiator": args.by,
        "accept_changes": args.accept_changes,
    }


@contextlib.contextmanager
def _engine(
    args: argparse.Namespace, out: Output, target: Target
) -> Generator[tuple[Engine, Last]]:
    """Lend an engine, and what remembers its runs and shows them to people."""
    seconds(args.grace, what="--grace", zero=True)  # before anything is opened
    last = Last(progress(environ=out.environ) if not out.quiet else None)
    options: dict[str, Any] = {"on_cancel": args.on_cancel, "grace": args.grace}
    with Engine(journal=args.journal, watch=last, source=target.source, **options) as engine:
        for note in getattr(engine.journal, "notes", ()):
            out.tell(f"note: {note}")
        try:
            yield engine, last
        finally:
            last.close()


def _waited(
    engine: Engine, last: Last, args: argparse.Namespace, call: Callable[[], Result]
) -> Answer:
    """Return what *call* came to; a signal has its code, and says how the run was left."""
    try:
        result = call()
    except (KeyboardInterrupt, SystemExit) as error:
        if last.run_id is None:
            raise
        code = CANCELLED if isinstance(error, KeyboardInterrupt) else error.code
        return _left(engine, last.run_id, args, code)
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


def _left(engine: Engine, run_id: str, args: argparse.Namespace, code: object) -> Answer:
    """Return how a run was left that a signal has ended."""
    records = engine.journal.read(run_id)
    outline = outline_of(run_id, records)
    steps = _steps(run_id, outline.status, outline.waits, args)
    lines = [f"run {run_id} was left {outline.status}, because a signal came"]
    lines += [f"  next: {step}" for step in steps]
    data = {"run": outline_data(outline), "next": steps}
    number = code if isinstance(code, int) else CANCELLED
    return Answer(data, "\n".join(lines), number, told=True)


def _all(
    engine: Engine, last: Last, args: argparse.Namespace, target: Target, options: dict[str, Any]
) -> Answer:
    try:
        results = engine.resume_all([target.plan], **options)
    except KeyboardInterrupt:
        if last.run_id is None:
            raise
        return _left(engine, last.run_id, args, CANCELLED)
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


class Last:
    """Remembers the run that was started or taken up last, and shows it to people who look on."""

    def __init__(self, shown: Progress | None) -> None:
        self._shown = shown
        self.run_id: str | None = None
        """Its id."""

    def __call__(self, run: Run) -> None:
        """Take note of *run*."""
        self.run_id = run.id
        if self._shown is not None:
            self._shown(run)

    def close(self) -> None:
        """Show nothing any more, however the run was left."""
        if self._shown is not None:
            self._shown.close()
