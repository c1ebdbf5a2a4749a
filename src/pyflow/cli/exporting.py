"""`export`: give runs to other programs, in their own forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.cli.codes import Refusal
from pyflow.cli.looking import add_conditions, fields_of, instant, known, opened_history
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_journal, command
from pyflow.clock import SystemClock
from pyflow.spans import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands
    from pyflow.record.audit import AuditTrail
    from pyflow.record.history.lookup import History

__all__ = ["FORMATS", "add"]

FORMATS = {
    "jsonl": "every record, a line of JSON each, which can be verified",
    "csv": "every record, a row each, for a spreadsheet",
    "cdevents": "CDEvents 0.5.1 in CloudEvents, a line of JSON each",
    "junit": "a suite for each run, and a case for each task",
    "otlp": "traces as OTLP's JSON, a line for each run that has ended",
    "otel": "the same traces, sent to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names",
    "prometheus": "runs, durations, last instants and DORA's figures, with --all",
}
ENDED_ALONE = ("otlp", "otel")
WINDOW = "30d"


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Add the command."""
    parser = command(
        commands,
        "export",
        export,
        does="give runs to other programs, as records, a table, events, traces or figures",
        example="""
        pyflow-deploy export 20261127-101500-8f3a2b1c --format csv --out run.csv
        pyflow-deploy export --all --since 30d --format jsonl --out runs.jsonl
        pyflow-deploy export --all --format prometheus --out /var/lib/node_exporter/pyflow.prom
        """,
        more="\n".join(
            [
                "The formats:",
                "",
                *(f"- {name}: {words}" for name, words in FORMATS.items()),
                "",
                "Without --out it goes to stdout. A file is exchanged once all of it is",
                "written. With --all, runs have to fit every condition.",
            ]
        ),
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help="the run")
    parser.add_argument("--all", action="store_true", help="all runs, or all that fit")
    parser.add_argument(
        "--format", metavar="FORMAT", choices=tuple(FORMATS), required=True, help="one of the above"
    )
    parser.add_argument("--out", metavar="FILE", help="write it to this file")
    parser.add_argument(
        "--source", metavar="URI", default="pyflow", help="of cdevents: their source; pyflow"
    )
    parser.add_argument(
        "--window",
        metavar="SPAN",
        default=WINDOW,
        help=f"of prometheus: over how long DORA's figures are taken; {WINDOW}",
    )
    add_conditions(parser)
    add_journal(parser, environ)


def export(args: argparse.Namespace, out: Output) -> Answer:
    """Write runs in a form, or send them."""
    conditions = _conditions(args)
    _check(args, conditions)
    with opened_history(args, out) as found:
        chosen = _Chosen(args, found, conditions)
        size = None
        if args.format == "otel":
            from pyflow.exports import send  # noqa: PLC0415 - few commands need it

            send(chosen.trails())
        else:
            size = _written(args, chosen, out)
    data = {
        "format": args.format,
        "runs": chosen.runs,
        "skipped": chosen.skipped,
        "bytes": size,
        "out": args.out,
    }
    return Answer({"export": data}, _told(args, chosen, size), told=True)


def _written(args: argparse.Namespace, chosen: _Chosen, out: Output) -> int | None:
    """Write the pieces, and return how many bytes went to a file."""
    from pyflow.exports import save  # noqa: PLC0415 - few commands need it

    pieces = _pieces(args, chosen)
    if args.out is not None:
        return save(args.out, pieces)
    out.pour(pieces)
    return None


def _pieces(args: argparse.Namespace, chosen: _Chosen) -> Iterator[str]:
    from pyflow import exports  # noqa: PLC0415 - few commands need it

    match args.format:
        case "prometheus":
            return exports.prometheus(
                chosen.summaries(), now=SystemClock().now(), window=args.window
            )
        case "cdevents":
            return exports.cdevents(chosen.trails(), source=args.source)
        case "junit":
            return exports.junit_suites(chosen.trails())
        case name:
            return getattr(exports, name)(chosen.trails())


class _Chosen:
    """The runs that were asked for, counted as they come."""

    def __init__(
        self, args: argparse.Namespace, found: History, conditions: dict[str, Any]
    ) -> None:
        self.runs = self.skipped = 0
        self._found = found
        self._conditions = conditions
        self._only_ended = args.format in ENDED_ALONE
        self._run = None if args.all else known(found, args.run)
        if self._run is not None and self._only_ended and found.run(self._run).ended is None:
            raise Refusal(
                f"run {self._run} has not ended, so its trace has no end yet",
                f"see what it waits for: pyflow-deploy status {self._run}",
            )

    def trails(self) -> Iterator[AuditTrail]:
        if self._run is not None:
            self.runs += 1
            yield self._found.trail(self._run)
            return
        for trail in self._found.trails(**self._conditions):
            if self._only_ended and trail.outcome is None:
                self.skipped += 1
                continue
            self.runs += 1
            yield trail

    def summaries(self) -> Iterator[Any]:
        for run in self._found.runs(oldest_first=True, **self._conditions):
            self.runs += 1
            yield run


def _conditions(args: argparse.Namespace) -> dict[str, Any]:
    return {
        **fields_of(args),
        "text": args.text,
        "since": instant(args.since, "--since"),
        "until": instant(args.until, "--until"),
    }


def _check(args: argparse.Namespace, conditions: dict[str, Any]) -> None:
    """Refuse words that do not go together, before anything is opened."""
    given = [name for name, value in conditions.items() if value is not None]
    if args.all == (args.run is not None):
        raise Refusal("export is of one run or of all", "name RUN, or say --all")
    if args.run is not None and given:
        option = {"environment": "env"}.get(given[0], given[0])
        raise Refusal(f"--{option} chooses among all runs", "say --all, and leave RUN out")
    if args.format == "prometheus" and not args.all:
        raise Refusal("prometheus counts runs, so one is not enough", "say --all")
    if args.format == "otel" and args.out is not None:
        raise Refusal("otel sends traces, and writes no file", "say --format otlp for a file")
    if args.json and args.out is None and args.format != "otel":
        raise Refusal("--json and an export would both go to stdout", "add --out FILE")
    try:
        seconds(args.window)
    except ValueError as error:
        raise Refusal(f"--window {args.window!r} is no span: {error}", "write 30d or 12h") from None


def _told(args: argparse.Namespace, chosen: _Chosen, size: int | None) -> str:
    what = "1 run" if chosen.runs == 1 else f"{chosen.runs:,} runs"
    where = f" to {args.out}, {size:,} bytes" if size is not None else ""
    done = "sent" if args.format == "otel" else "exported"
    left = f"; {chosen.skipped:,} had not ended, and were left out" if chosen.skipped else ""
    return f"{what} {done}{where}{left}"
