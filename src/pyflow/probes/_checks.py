"""What the probes share: checked arguments, and readings that explain themselves."""

from __future__ import annotations

import os
import re
from typing import Any, cast

from pyflow.errors import DefinitionError, refuse, shown
from pyflow.protocols import Reading
from pyflow.spans import Span, seconds

__all__ = [
    "count_problems",
    "excerpt",
    "one_line",
    "path_problems",
    "refuse",
    "span_problems",
    "text_problems",
    "unknown",
]

EXCERPT_CHARS = 200
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def span_problems(name: str, value: Span, *, zero: bool = False) -> list[str]:
    """Return what is wrong with *value* as a span."""
    try:
        seconds(value, what=f"{name}=", zero=zero)
    except DefinitionError as error:
        return [str(error)]
    return []


def text_problems(name: str, value: object) -> list[str]:
    """Return what is wrong with *value* as text that is not empty, or None."""
    if value is None or (isinstance(value, str) and value):
        return []
    return [f"{name}={shown(value)} must be text that is not empty"]


def path_problems(name: str, value: object) -> list[str]:
    """Return what is wrong with *value* as the path of a file."""
    if isinstance(value, os.PathLike):
        value = cast("os.PathLike[Any]", value).__fspath__()
    if isinstance(value, str) and value and "\0" not in value:
        return []
    return [f"{name}={shown(value)} must be a path as text or pathlib.Path"]


def count_problems(name: str, value: object, *, least: int, most: int) -> list[str]:
    """Return what is wrong with *value* as a whole number from *least* to *most*."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return []
    return [f"{name}={shown(value)} must be a whole number from {least} to {most}"]


def unknown(error: object, **evidence: Any) -> Reading:
    """Return an `unknown` reading whose evidence is *error*, beside what else is known."""
    text = error if isinstance(error, str) else shown(error)
    return Reading("unknown", {**evidence, "error": text})


def excerpt(text: str, *, chars: int = EXCERPT_CHARS) -> str:
    """Return the beginning of *text*, its control characters escaped.

    Evidence ends up in logs of CI systems, where a carriage return or an
    escape sequence could hide what came before it.
    """
    plain = CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text[:chars])
    return plain if len(text) <= chars else plain + "…"


def one_line(text: str) -> str:
    """Return the beginning of *text* on one line: a second one could be a command to a CI system."""
    return excerpt(" ".join(text[: 2 * EXCERPT_CHARS].split()))
