"""The grammar of the command line: one parser, whose errors are sentences with a next step."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

from pyflow.cli.codes import Refusal
from pyflow.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyflow.cli.output import Answer, Output

__all__ = [
    "Call",
    "Commands",
    "Parser",
    "add_inputs",
    "add_journal",
    "add_target",
    "command",
]

PROGRAM = "pyflow-deploy"
JOURNAL = "deploys.db"

Call: TypeAlias = "Callable[[argparse.Namespace, Output], Answer]"


class Commands(Protocol):
    """**Protocol:** where a module puts its commands; each is a parser of its own."""

    def add_parser(self, name: str, **options: Any) -> Parser:
        """Return a parser for the command *name*."""
        ...


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one sentence."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            Refusal: Always.
        """
        raise Refusal(message, f"{self.prog} --help shows how, with an example")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            near = nearest(str(value), known)
            hint = f"; did you mean {near!r}?" if near else f"; there are {', '.join(known)}"
            what = action.metavar or action.dest
            raise argparse.ArgumentError(None, f"{value!r} is no {what}{hint}")


def command(
    commands: Commands, name: str, call: Call, *, does: str, example: str, more: str = ""
) -> Parser:
    """Return a parser for the command *name*, which *call* carries out.

    Args:
        commands: Where it is put.
        name: What it is called.
        call: Does it.
        does: What it does, in a sentence.
        example: A command line that works.
        more: What one has to know besides.
    """
    told = textwrap.dedent(more).strip()
    parser = commands.add_parser(
        name,
        help=does,
        description=does[0].upper() + does[1:] + "." + (f"\n\n{told}" if told else ""),
        epilog="example:\n" + textwrap.indent(textwrap.dedent(example).strip(), "  "),
    )
    parser.set_defaults(call=call)
    parser.add_argument(
        "--json", action="store_true", help="give one JSON document on stdout, for programs"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing on the way")
    return parser


def add_journal(parser: Parser, environ: Mapping[str, str]) -> None:
    """Have *parser* know which journal is meant."""
    parser.add_argument(
        "--journal",
        metavar="FILE",
        default=environ.get("PYFLOW_JOURNAL") or JOURNAL,
        help=f"the journal; else $PYFLOW_JOURNAL, else {JOURNAL} in this directory",
    )


def add_target(parser: Parser) -> None:
    """Have *parser* know which workflow is meant, and as it was at which commit."""
    parser.add_argument(
        "workflow",
        metavar="FILE:WORKFLOW",
        help="deploy.py:release, or package.module:release; a function that returns one will do",
    )
    parser.add_argument(
        "--ref",
        metavar="REF",
        help="load the workflow from this commit, branch or tag of its git repository",
    )


def add_inputs(parser: Parser) -> None:
    """Have *parser* know the parameters and the environment."""
    parser.add_argument(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter: text as it is, other types as JSON, a secret as env:NAME or file:PATH",
    )
    parser.add_argument(
        "--env",
        metavar="NAME",
        help="the environment: one that the file defines, else one of that name alone",
    )
