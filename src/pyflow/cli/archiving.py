"""`archive`: move finished runs of long ago out of the journal, and leave it provable."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from pyflow.ci import detect_initiator
from pyflow.cli.codes import Refusal
from pyflow.cli.journals import existing
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_journal, command
from pyflow.clock import SystemClock
from pyflow.record.archive.moving import archive_runs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands
    from pyflow.record.archive.moving import Moved

__all__ = ["add"]


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Add the command."""
    parser = command(
        commands,
        "archive",
        archive,
        does="move finished runs of long ago to archives, and record that in the journal",
        example="pyflow-deploy archive --to /mnt/audit --older-than 400d --keep-last 50",
        more="""
        A run has to fit both conditions, where both are given. Runs that have not
        ended, have residue or a lock, and the last good one of each service and
        workflow in each environment stay whatever their age. `verify` still
        succeeds afterwards, and names each archive and its digest.
        """,
    )
    parser.add_argument("--to", metavar="DIRECTORY", required=True, help="where the archives go")
    parser.add_argument("--older-than", metavar="SPAN", help="runs that ended longer ago: 400d")
    parser.add_argument(
        "--keep-last",
        metavar="N",
        type=int,
        help="all but the newest N of each workflow in each environment",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="give the room back to the file system; whoever deploys has to wait for it",
    )
    parser.add_argument("--by", metavar="NAME", help="who does it; else who CI or the system says")
    add_journal(parser, environ)


def archive(args: argparse.Namespace, _: Output) -> Answer:
    """Move runs to archives."""
    if args.older_than is None and args.keep_last is None:
        raise Refusal(
            "nothing says what to archive", "add --older-than 400d, --keep-last 50, or both"
        )
    moved = archive_runs(
        existing(args.journal),
        args.to,
        at=SystemClock().now(),
        by=detect_initiator(args.by, os.environ).id,
        older_than=args.older_than,
        keep_last=args.keep_last,
        compact=args.compact,
    )
    data = {
        "archives": [
            {
                "path": str(path),
                "archive": cut.archive,
                "digest": cut.digest,
                "records": cut.records,
                "upto": cut.upto,
                "runs": len(cut.runs),
            }
            for cut, path in zip(moved.cuts, moved.paths, strict=True)
        ],
        "kept": [{"run": kept.run_id, "why": kept.why} for kept in moved.kept],
    }
    return Answer(data, _told(moved), told=True)


def _told(moved: Moved) -> str:
    lines = [str(cut) for cut in moved.cuts] or ["nothing was archived"]
    counts = Counter(kept.why.replace("_", " ") for kept in moved.kept)
    if counts:
        lines.append(f"  stay: {', '.join(f'{count} {why}' for why, count in counts.items())}")
    if moved.paths:
        lines.append(f"  next: pyflow-deploy verify --with {moved.paths[0].parent}")
    return "\n".join(lines)
