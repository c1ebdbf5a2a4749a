"""`Template`: the words of a message, with variables that are checked when it is made.

Only `string.Template` is spoken. `str.format` lets a template reach into the
objects that it is given, and allocate as much memory as it likes.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pyflow.errors import DefinitionError, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PARAMETER", "TEXT", "TITLE", "VARIABLES", "Template"]

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "actor": "who started the CI job",
        "anchor": "where the run's record ended, for verify --anchor; at the end of a run alone",
        "ci_url": "where to read about the CI job",
        "commit": "the commit that the CI job is for",
        "detail": "what the record itself says, as the audit trail puts it",
        "elapsed": "how long the run has gone on, such as 3m 20s",
        "environment": "where the run goes to",
        "event": "what happened, such as rolled_back",
        "failure": "the task that failed, and its error",
        "headline": "what happened, in words, such as 'has failed'",
        "host": "the machine that the run was started on",
        "in_doubt": "tasks of which nobody knows whether they took effect",
        "initiator": "who started the run",
        "not_undone": "started tasks that have no undo",
        "params": "all parameters, as name=value",
        "progress": "how many tasks are done, such as '3 of 5 tasks'",
        "question": "what people are asked",
        "reason": "why it happened",
        "ref": "the branch or tag that the CI job is for",
        "repository": "the repository that the CI job is for",
        "residue": "tasks whose effects are still applied, though they were to be taken back",
        "run_id": "the run's id",
        "severity": "info, warning, error or critical",
        "status": "what the run is doing now",
        "task": "the task that it is about",
        "tier": "what kind of place the environment is",
        "to_do": "what a person has to do now",
        "undone": "tasks whose effects have been taken back",
        "where": "workflow and environment, such as 'shop to production'",
        "workflow": "the workflow's name",
    }
)
"""What a template may say, and what stands there. ``param_<name>`` is a parameter besides."""

PARAMETER = "param_"
CHARS_MAX = 10_000

TITLE = "$where: $headline"
TEXT = """\
$question
Why: $reason
Failed: $failure
Rolled back: $undone
Still applied: $residue
In doubt: $in_doubt
Never taken back, for want of an undo: $not_undone
What to do: $to_do"""


@dataclass(frozen=True, slots=True)
class Template:
    """The words of a message: ``$name`` or ``${name}`` for a variable, ``$$`` for a dollar sign.

    A line whose variables are all empty is left out. The values are put in as
    they are: what stands in them is never read as a template.

    Raises:
        DefinitionError: A variable is not in `VARIABLES`, a dollar sign stands
            alone, or a text is longer than 10,000 characters.
    """

    title: str = TITLE
    """One line."""

    text: str = TEXT
    """Any number of lines."""

    def __post_init__(self) -> None:
        problems = [p for part in ("title", "text") for p in _problems(part, getattr(self, part))]
        if problems:
            raise DefinitionError("Template", problems)

    def render(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Return title and text with *values* in place."""
        title = " ".join(_filled(self.title, values).split())
        lines = (_filled(line, values) for line in self.text.splitlines() if _says(line, values))
        return title, "\n".join(lines).strip()


def _problems(part: str, text: object) -> list[str]:
    if not isinstance(text, str) or len(text) > CHARS_MAX or (part == "title" and not text.strip()):
        return [f"{part}= must be text of at most {CHARS_MAX:,} characters, not {shown(text)}"]
    if part == "title" and len(text.splitlines()) > 1:
        return ["title= has several lines; put all but the first into text="]
    template = string.Template(text)
    if not template.is_valid():
        return [f"{part}= has a $ that begins no variable; write $$ for a dollar sign"]
    return [_unknown(part, name) for name in template.get_identifiers() if not _is_known(name)]


def _unknown(part: str, name: str) -> str:
    near = nearest(name, VARIABLES)
    hint = f"did you mean ${near}? " if near is not None else ""
    return (
        f"{part}= has the variable {shown(name)}, which does not exist; {hint}"
        f"there are {', '.join(VARIABLES)}, and {PARAMETER}<name> for each parameter"
    )


def _is_known(name: str) -> bool:
    return name in VARIABLES or (name.startswith(PARAMETER) and len(name) > len(PARAMETER))


def _filled(text: str, values: Mapping[str, str]) -> str:
    known = {name: values.get(name, "") for name in string.Template(text).get_identifiers()}
    return string.Template(text).substitute(known)


def _says(line: str, values: Mapping[str, str]) -> bool:
    names = string.Template(line).get_identifiers()
    return not names or any(values.get(name) for name in names)
