"""The inbox: what other processes ask of a run.

Only the engine that owns a run writes its record. Everybody else leaves a
message; whoever owns the run, or resumes it next, takes it up with an event
that names the message, in one and the same commit. So what was asked is taken
up once, and is in the record if it was.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError, shown
from pyflow.frozen import frozen
from pyflow.record.codec import canonical
from pyflow.record.sqlite.cells import MAYBE, checked, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from pyflow.protocols import JSON
    from pyflow.record.codec import Record

__all__ = ["PENDING", "Message", "message_of", "put", "take"]


@frozen
class Message:
    """Something that somebody asks of a run."""

    id: str
    """Its number in the inbox, which `CommandReceived.inbox_id` names."""

    run_id: str
    """The run that it is for."""

    command: str
    """What is asked, such as ``pause``."""

    task: str | None
    """The task that it is about, if it is about one."""

    by: str | None
    """Who asks."""

    reason: str | None
    """Why."""

    at: datetime
    """When it was put in, in UTC."""

    data: JSON = None
    """What there is besides, such as the answer to a question."""


PENDING = "SELECT id, run_id, command, task, by, reason, at, data FROM inbox WHERE taken IS NULL"
PUT = "INSERT INTO inbox (run_id, command, task, by, reason, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
TAKE = "UPDATE inbox SET taken = ? WHERE id = ? AND run_id = ? AND taken IS NULL"


def put(
    cursor: sqlite3.Cursor, about: Sequence[str | None], at: datetime, data: JSON = None
) -> str:
    """Put in a message *about* run, command, task, by and reason; return its id.

    Raises:
        JournalError: There is no such run, *at* has no time zone, or *data* is
            not JSON data.
    """
    if at.utcoffset() is None:
        raise JournalError(f"the instant {at!r} has no time zone; a clock gives datetime.now(UTC)")
    known = cursor.execute("SELECT 1 FROM runs WHERE run_id = ?", about[:1]).fetchone()
    if known is None:
        raise JournalError(f"no run {shown(about[0])} is in this journal, so nobody would answer")
    try:
        text = canonical(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"the data {shown(data)} is not JSON data ({error})") from error
    cursor.execute(PUT, (*about, at.astimezone(UTC).isoformat(), text))
    return str(cursor.lastrowid)


def message_of(row: Sequence[Any]) -> Message:
    """Return the message in a *row* of `PENDING`.

    Raises:
        JournalError: It is damaged.
    """
    what = f"message {row[0]} of the inbox"
    number, run_id, command, task, by, reason, at, data = checked(
        what, row, int, str, str, MAYBE, MAYBE, MAYBE, str, str, private=True
    )
    instant = parsed(what, datetime.fromisoformat, at)
    answer = parsed(what, json.loads, data, private=True)  # people may have put a secret there
    return Message(str(number), run_id, command, task, by, reason, instant, answer)


def take(cursor: sqlite3.Cursor, record: Record, n: int) -> None:
    """Mark the message that *record*, number *n* of the journal, takes up, if it does.

    Raises:
        JournalError: It was taken up before, or never was there.
    """
    inbox_id: str | None = getattr(record.event, "inbox_id", None)
    if inbox_id is None:
        return
    number = int(inbox_id) if inbox_id.isascii() and inbox_id.isdigit() else -1
    if cursor.execute(TAKE, (n, number, record.run_id)).rowcount != 1:
        raise JournalError(
            f"message {shown(inbox_id)} is not pending for run {record.run_id!r}: it was taken up "
            "before, or is for another run. Nothing was written; read the inbox again"
        )
