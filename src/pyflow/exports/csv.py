"""Records as a table, for a spreadsheet: CSV by RFC 4180, one record a row.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a
formula, and runs it. Names, parameters and messages come from anywhere, so
such a cell gets an apostrophe ahead of it, and so does one that begins with
apostrophes before one of these; `plain_cell` takes it off again.
"""

from __future__ import annotations

import csv as standard
import io
import re
from typing import TYPE_CHECKING, Any

from pyflow.exports.runs import each, start_of
from pyflow.notifiers._text import plain
from pyflow.record.rendering import detail_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyflow.exports.runs import Trails
    from pyflow.record import events as ev
    from pyflow.record.codec import Record

__all__ = ["COLUMNS", "csv", "plain_cell"]

COLUMNS = (
    *("run", "seq", "at", "workflow", "environment", "service", "version", "initiator"),
    *("kind", "task", "attempt", "outcome", "duration_s", "by", "reason"),
    *("resource", "before", "after", "error_type", "error", "detail"),
)
"""The schema. Columns may be added at its end, and none is moved, changed or taken out."""
OUTCOMES = ("status", "answer", "health", "verdict", "intent", "decision")
CELL_CHARS_MAX = 32_000
"""A cell of a spreadsheet holds 32,767."""
# What OWASP lists (CSV injection), as it is and full-width, behind any blanks and apostrophes.
FORMULA = re.compile(r"['\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]|['\s]*[\t\r\n]")


def csv(trails: Trails) -> Iterator[str]:
    """Yield a head, then every record of *trails* as a row, with CRLF after each.

    An empty cell is a field that the record does not have. Instants are ISO
    8601 in UTC, spans are in seconds, and what is no text is JSON. Control
    characters are replaced, and cells end after 32,000 characters.

    Raises:
        JournalError: A trail does not begin with its run's first record.
    """
    yield _line(COLUMNS)
    for trail in each(trails):
        start = start_of(trail)
        about = _about(start)
        for record in trail:
            row = {**about, **_fields(record)}
            yield _line([_cell(row.get(name)) for name in COLUMNS])


def plain_cell(cell: str) -> str:
    """Return what *cell*, read back, said before it was made harmless."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell[1:]) else cell


def _about(start: ev.RunStarted) -> dict[str, Any]:
    """Return what each row of a run says of it."""
    return {
        "workflow": start.workflow,
        "environment": (start.environment or {}).get("name"),
        "service": start.params.get("service"),
        "version": start.params.get("version"),
        "initiator": start.initiator.get("id"),
    }


def _fields(record: Record) -> dict[str, Any]:
    event: Any = record.event
    error = getattr(event, "error", None)
    return {
        "run": record.run_id,
        "seq": record.seq,
        "at": record.at.isoformat(),
        "kind": record.kind,
        "task": record.task or getattr(event, "name", None),
        "outcome": next((v for n in OUTCOMES if (v := getattr(event, n, None)) is not None), None),
        "error_type": getattr(error, "type", None),
        "error": getattr(error, "message", None),
        "detail": detail_of(event),
        **{
            name: getattr(event, name, None)
            for name in ("attempt", "duration_s", "reason", "resource", "before", "after")
        },
        "by": _who(getattr(event, "by", None)),
    }


def _who(by: object) -> Any:
    """Return the people in *by*, which for a blocked undo is a list of tasks."""
    return ", ".join(map(str, by)) if isinstance(by, list) else by  # pyright: ignore[reportUnknownArgumentType]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return ""
    text = plain(text_of(value))[:CELL_CHARS_MAX]
    return f"'{text}" if isinstance(value, str) and FORMULA.match(text) else text


def _line(cells: Any) -> str:
    made = io.StringIO()
    standard.writer(made).writerow(cells)
    return made.getvalue()
