"""Docstrings as Markdown: paragraphs, examples, and what arguments and errors mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import groupby
from textwrap import dedent

__all__ = ["has_more", "in_markdown", "summary"]

HEADING = re.compile(r"(Args|Returns|Raises|Yields|Attributes):")
NAMED = re.compile(r"(?P<names>[*\w][\w., |*]*): (?P<words>.*)", re.DOTALL)
TITLES = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises"}


def summary(docstring: str | None) -> str:
    """Return the opening paragraph of *docstring* on one line."""
    return _joined(inspect.cleandoc(docstring or "").partition("\n\n")[0])


def has_more(docstring: str | None) -> bool:
    """Return whether *docstring* says more than its opening paragraph."""
    return "\n\n" in inspect.cleandoc(docstring or "")


def in_markdown(docstring: str | None, *, skip_summary: bool = False) -> list[str]:
    """Return *docstring* as paragraphs of Markdown, sections as lists."""
    made: list[str] = []
    for heading, lines in _sections(inspect.cleandoc(docstring or "")):
        paragraphs = list(_paragraphs(lines))
        if heading in TITLES:
            made += [f"**{TITLES[heading]}**", _listed(lines)]
        elif heading:
            made.append(f"**{heading}** {_lowered(' '.join(paragraphs))}")
        else:
            made += paragraphs[1:] if skip_summary else paragraphs
    return made


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the sections of *text*, each with its heading and its lines; the opening has none."""
    heading, lines = "", list[str]()
    for line in text.splitlines():
        if found := HEADING.fullmatch(line):
            yield heading, lines
            heading, lines = found[1], []
        else:
            lines.append(line.removeprefix("    ") if heading else line)
    yield heading, lines


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Yield the paragraphs of *lines*; those that are indented are an example.

    One that imports what it needs is run by the tests, as every other example is.
    """
    parts = "\n".join(lines).split("\n\n")
    for is_example, group in groupby(parts, lambda part: part.lstrip("\n").startswith("    ")):
        if is_example:
            code = dedent("\n\n".join(group)).strip("\n")
            yield f"```{'python' if 'import ' in code else ''}\n{code}\n```"
        else:
            yield from (re.sub(r"::$", ":", _joined(part)) for part in group if part.strip())


def _listed(lines: list[str]) -> str:
    """Return a list of what *lines* name and explain; what is indented goes on with its line."""
    items: list[list[str]] = []
    for line in lines:
        if line.startswith(" ") and items:
            items[-1].append(line)
        elif line:
            items.append([line])
    return "\n".join(_item(_joined("\n".join(item))) for item in items)


def _item(text: str) -> str:
    found = NAMED.fullmatch(text)
    return f"- `{found['names']}`: {found['words']}" if found else f"- {text}"


def _joined(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
