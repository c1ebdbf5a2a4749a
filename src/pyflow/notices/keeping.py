"""What is kept of a run that has ended, as files that people read and compare. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pyflow.record.codec import encode_line
from pyflow.record.marks import mark_of
from pyflow.record.outline import outline_of
from pyflow.record.rendering import fitted, heading_of, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.record.codec import Record

__all__ = ["files_of", "place_of", "subject_of", "trailers_of"]

NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")
COLUMNS_MAX = 200


def files_of(records: Sequence[Record]) -> Mapping[str, str]:
    """Return the files of the run whose *records* these are, by name: its record, and a summary."""
    trail = "".join(f"{encode_line(record)}\n" for record in records)
    return {"summary.md": _summary(records), "trail.jsonl": trail}


def place_of(records: Sequence[Record]) -> tuple[str, str]:
    """Return the directories in which they are: the month in which the run began, and its id."""
    first = records[0]
    name = NOT_IN_NAME.sub("-", first.run_id).lstrip(".") or "-"
    return f"{first.at:%Y-%m}", name


def subject_of(records: Sequence[Record]) -> str:
    """Return what came of the run, on one line."""
    outline = outline_of(records[0].run_id, records)
    start = outline.start
    workflow = start.workflow if start is not None else "a run"
    place = (start.environment or {}).get("name") if start is not None else None
    where = f" to {place}" if place else ""
    return fitted(f"{workflow}{where}: {outline.status} ({outline.run_id})", COLUMNS_MAX)


def trailers_of(records: Sequence[Record]) -> str:
    """Return the same for programs, as git reads it, with the mark of the record's end."""
    outline = outline_of(records[0].run_id, records)
    origin = outline.start.origin if outline.start is not None else {}
    source: dict[str, Any] = origin.get("source") or {}
    pairs: dict[str, str | None] = {
        "Pyflow-Run": outline.run_id,
        "Pyflow-Status": outline.status,
        "Pyflow-Anchor": mark_of(records[-1]),
        "Pyflow-Commit": source.get("commit"),
    }
    return "\n".join(f"{name}: {fitted(text, 400)}" for name, text in pairs.items() if text)


def _summary(records: Sequence[Record]) -> str:
    """Return the run in Markdown; whatever tasks wrote is in a block of code."""
    outline = outline_of(records[0].run_id, records)
    facts = {
        "because": outline.error,
        "still applied": ", ".join(outline.residue),
        "anchor": mark_of(records[-1]),
    }
    lines = [
        *heading_of(records[0]),
        *(f"  {name:<12} {fitted(text, COLUMNS_MAX)}" for name, text in facts.items() if text),
        "",
        *table_of(records),
    ]
    block = "\n".join(f"    {line}".rstrip() for line in lines)
    return f"# {outline.status.replace('_', ' ').capitalize()}\n\n{block}\n"
