"""reference/cli.md: the commands, from their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from pyflow.cli.codes import CODES
from pyflow.cli.main import make_parser
from pyflow.cli.schema import COMMON, DOCUMENTS, PARTS

HEAD = """# Command line

<!-- Written by tests/docs/commands.py from the parsers. -->

`pyflow-deploy`, or `python -m pyflow`: each command is one call of the Python API.
What was asked for goes to stdout, what is told on the way and what went wrong to stderr.
With `--json` stdout holds one JSON document and nothing else; see [below](#documents).
[Use the command line](../how-to/use-the-command-line.md) shows the commands at work.

Every command takes `--json`, `--quiet` and `--help`.
`PYFLOW_JOURNAL` names the journal where `--journal` does not, `NO_COLOR` switches colours off.
"""


def cli_page() -> str:
    """Return the reference of the command line."""
    parts = [HEAD, *_codes()]
    for name, parser in _commands().items():
        parts += _command(name, parser)
    return "\n".join([*parts, *_documents()])


def _commands() -> dict[str, argparse.ArgumentParser]:
    (group,) = make_parser({})._subparsers._group_actions  # type: ignore[union-attr]
    return group.choices  # type: ignore[return-value]


def _codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "| code | name | meaning |\n|---|---|---|"
    yield "\n".join(f"| {code} | `{name}` | {words} |" for code, name, words in CODES)
    yield ""


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## `{name}`\n"
    yield (parser.description or "").strip() + "\n"
    yield "| word | meaning |\n|---|---|"
    for action in parser._actions:
        if action.dest not in ("help", "json", "quiet"):
            yield f"| {_word(action)} | {_words(action)} |"
    example = (parser.epilog or "").partition("example:\n")[2]
    lines = [line.strip() for line in example.splitlines()]
    yield "\n".join(["", "```sh", *lines, "```", ""])


def _word(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar}`"
    value: Any = f" {action.metavar}" if action.nargs != 0 else ""
    return f"`{', '.join(action.option_strings)}{value}`"


def _words(action: argparse.Action) -> str:
    needed = " (needed)" if action.required and action.option_strings else ""
    return (action.help or "").replace("|", "\\|") + needed


def _documents() -> Iterator[str]:
    yield "## Documents\n"
    yield "Fields may be added within a version of the schema; none is changed or taken out.\n"
    yield "| command | field | what it holds |\n|---|---|---|"
    for field, words in COMMON.items():
        yield f"| every one | `{field}` | {words} |"
    for command, fields in DOCUMENTS.items():
        for field, words in fields.items():
            yield f"| `{command}` | `{field}` | {words} |"
    yield "\nWhere the table says:\n"
    for part, words in PARTS.items():
        yield f"- *{part}*: {words}."
    yield ""
