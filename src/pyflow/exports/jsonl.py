"""Records as JSON Lines: one record a line, which can be told, and verified, by itself.

A line is the record as it is stored, byte for byte, with three keys ahead of
it: ``schema``, and ``workflow`` and ``environment``, so that lines can be
filtered without those of the run's start. Without these three it is the
canonical form that the record's hash is taken of, so the chain can be checked
wherever the lines end up.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyflow.errors import JournalError, shown
from pyflow.exports.runs import each, start_of
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import canonical, decode_line, encode_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyflow.exports.runs import Trails
    from pyflow.record.codec import Record

__all__ = ["SCHEMA", "jsonl", "trails_in"]

SCHEMA = "pyflow.export/1"
"""Within it keys may be added, and none is changed or taken out."""
AHEAD = ("schema", "workflow", "environment")


def jsonl(trails: Trails) -> Iterator[str]:
    """Yield every record of *trails* as a line of JSON, in ASCII.

    Its keys: ``schema workflow environment at data hash kind prev run seq``.
    ``data`` holds the event's own fields, which the reference of records lists
    by ``kind``; ``at`` is an instant in UTC.

    Raises:
        JournalError: A trail does not begin with its run's first record.
    """
    for trail in each(trails):
        start = start_of(trail)
        place = (start.environment or {}).get("name")
        ahead = json.dumps(
            {"schema": SCHEMA, "workflow": start.workflow, "environment": place},
            separators=(",", ":"),
        )
        for record in trail:
            yield f"{ahead[:-1]},{encode_line(record)[1:]}\n"


def trails_in(lines: Iterable[str]) -> Iterator[AuditTrail]:
    """Yield the trails that `jsonl` wrote, one run after the other. `verify` checks each.

    Raises:
        JournalError: A line is none of these; the error names it.
    """
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        record = _record(line, number)
        if records and record.run_id != records[0].run_id:
            yield AuditTrail(records)
            records = []
        records.append(record)
    if records:
        yield AuditTrail(records)


def _record(line: str, number: int) -> Record:
    try:
        found = json.loads(line)
        schema = found["schema"]
        if schema != SCHEMA:
            raise JournalError(f"its schema is {shown(schema)}, and this pyflow reads {SCHEMA}")
        return decode_line(canonical({k: v for k, v in found.items() if k not in AHEAD}))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise JournalError(f"line {number} is not of an export: {shown(line)}") from error
    except JournalError as error:
        raise JournalError(f"line {number} cannot be read: {error}") from error
