"""`main`: from the words on the command line to an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from pyflow.cli import (
    archiving,
    asking,
    checking,
    drawing,
    exporting,
    looking,
    rehearsing,
    running,
    verifying,
)
from pyflow.cli.codes import CANCELLED, CODES, Refusal, code_of_error, next_step
from pyflow.cli.output import Answer, Output
from pyflow.cli.parsing import PROGRAM, Parser
from pyflow.errors import PyflowError
from pyflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main", "make_parser"]

GROUPS = (
    *(checking, drawing, running, rehearsing, asking, looking),
    *(exporting, verifying, archiving),
)
DESCRIPTION = """\
Run deployments that can be planned, proved, resumed and rolled back.

  pyflow-deploy check deploy.py:release
  pyflow-deploy run deploy.py:release --param version=2.3.1 --env production
  pyflow-deploy status
"""


def make_parser(environ: Mapping[str, str]) -> Parser:
    """Return the parser of the whole command line."""
    codes = "\n".join(f"  {code:>3}  {name:<18} {words}" for code, name, words in CODES)
    parser = Parser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=f"exit codes:\n{codes}\n\nEach command has its own --help, with an example.",
    )
    parser.add_argument("--version", action="version", version=f"pyflow {__version__}")
    commands: Any = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for group in GROUPS:
        group.add(commands, environ)
    return parser


def main(words: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Do what *words* ask for, and return the exit code.

    Args:
        words: The command line, without the program; that of this process
            unless given.
        environ: The environment to read defaults from; that of this process
            unless given.
    """
    words = list(sys.argv[1:] if words is None else words)
    environ = os.environ if environ is None else environ
    command = next((word for word in words if not word.startswith("-")), "")
    flags = words[: words.index("--")] if "--" in words else words
    out = Output(
        command,
        wants_json="--json" in flags,
        quiet="--quiet" in flags or "-q" in flags,
        environ=environ,
    )
    journal: str | None = None
    try:
        args = make_parser(environ).parse_args(words)
        journal = getattr(args, "journal", None)
        answer: Answer = args.call(args, out)
    except (Refusal, PyflowError) as error:
        answer = _refused(error, journal)
    except BrokenPipeError:  # whoever read what was streamed has seen enough
        _hang_up()
        return 0
    except KeyboardInterrupt:
        answer = Answer({}, "interrupted", CANCELLED, told=True)
    except SystemExit as error:  # --help, --version, or SIGTERM before a run had begun
        return error.code if isinstance(error.code, int) else 0
    return _given(out, answer)


def _refused(error: Exception, journal: str | None) -> Answer:
    code, step = code_of_error(error), next_step(error, journal=journal)
    name = "usage" if isinstance(error, Refusal) else type(error).__name__
    told = "\n".join([str(error), *getattr(error, "__notes__", ())])
    problem = {"type": name, "message": told, "next": step}
    return Answer({}, f"error: {told}\n  next: {step}", code, told=True, problem=problem)


def _given(out: Output, answer: Answer) -> int:
    try:
        out.give(answer)
    except BrokenPipeError:  # whoever read it has seen enough
        _hang_up()
    return answer.code


def _hang_up() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
