"""What each CI system reads in a log as a command, and how text is kept from being one.

A line of a log is a command to some systems, so whatever somebody else wrote
may give one: end a group, hide a value, set a variable. Every function here
is pure and gives one line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["azure", "github", "harmless", "section", "teamcity"]

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
MARKS = re.compile(r"^(\s*)(::|##\[|##vso\[|##teamcity\[|--- |\+\+\+ |~~~ )", re.MULTILINE)
INSIDE = re.compile(r"##(?=vso\[|teamcity\[|\[)", re.IGNORECASE)


def harmless(text: str) -> str:
    """Return *text* so that no line of it is a command of any system, and no terminal is steered."""
    plain = CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    plain = plain.encode("utf-8", "replace").decode()
    # GitHub takes a command that begins a line, Azure and TeamCity one anywhere in it.
    return INSIDE.sub("#\u200b#", MARKS.sub("\\1\u200b\\2", plain))


def github(command: str, message: str, properties: Mapping[str, str] | None = None) -> str:
    """Return a workflow command of GitHub Actions.

    Escaped as the runner reads it: ``%``, CR and LF in a message, and ``:``
    and ``,`` besides in a property.
    """
    given = ",".join(
        f"{name}={_percent(value, '%:,')}" for name, value in (properties or {}).items() if value
    )
    return f"::{command}{' ' + given if given else ''}::{_percent(message, '%')}"


def azure(command: str, message: str, properties: Mapping[str, str] | None = None) -> str:
    """Return a logging command of Azure Pipelines."""
    given = "".join(
        f"{name}={_azure(value)};" for name, value in (properties or {}).items() if value
    )
    text = message.replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")
    return f"##vso[{command}{' ' + given if given else ''}]{text}"


def _azure(value: str) -> str:
    text = value.replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(";", "%3B").replace("]", "%5D")


def teamcity(message: str, values: Mapping[str, str]) -> str:
    """Return a service message of TeamCity."""
    given = " ".join(f"{name}='{_pipe(value)}'" for name, value in values.items())
    return f"##teamcity[{message} {given}]"


def section(kind: str, name: str, at_s: int, title: str = "") -> str:
    """Return the line that begins or ends a section of a GitLab log; *kind* is start or end."""
    return f"\x1b[0Ksection_{kind}:{at_s}:{name}\r\x1b[0K{title}"


def _percent(text: str, more: str) -> str:
    escaped = text
    for char in (*more, "\r", "\n"):
        escaped = escaped.replace(char, f"%{ord(char):02X}")
    return escaped


def _pipe(text: str) -> str:
    escaped = text.replace("|", "||").replace("'", "|'").replace("[", "|[").replace("]", "|]")
    escaped = escaped.replace("\n", "|n").replace("\r", "|r")
    return "".join(char if ord(char) < 128 else _unicode(char) for char in escaped)


def _unicode(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"|0x{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
