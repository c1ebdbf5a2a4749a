"""Finding runs in the index: the rarest condition leads, the others are looked up for each run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError, nearest, shown
from pyflow.record.history.index import COLUMNS
from pyflow.record.history.summary import FIELDS, RunSummary

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Question", "count", "found", "instant", "summary_of"]

COUNTED = 2_000
"""How far a condition is counted to find the rarest; beyond, all are common."""
SELECTED = ", ".join(f"r.{name}" for name in COLUMNS)
HAS = "EXISTS (SELECT 1 FROM facts WHERE field = ? AND value = ? AND number = {})"
NUMBER_MAX = (1 << 62) - 1
WORD = re.compile(r"[^\W_]+\*?")


class Question:
    """What runs are looked for, checked.

    Args:
        facts: Values by field; None does not matter.
        since: Only runs that began at this instant or later.
        until: Only runs that began before it.
        text: Words that all have to be in the run; ``conn*`` stands for all that begin so.
        before: Only runs whose number is lower, to go on with the next page.

    Raises:
        JournalError: A field is unknown, an instant has no time zone, or the
            text has no word in it.
    """

    def __init__(
        self,
        facts: Mapping[str, str | None],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        text: str | None = None,
        before: int | None = None,
    ) -> None:
        self.facts = [(field, value) for field, value in facts.items() if value is not None]
        for field, _ in self.facts:
            if field not in FIELDS:
                near = nearest(field, FIELDS)
                hint = f"; did you mean {near!r}?" if near else ""
                raise JournalError(
                    f"runs cannot be found by {shown(field)}{hint}; there are {', '.join(FIELDS)}"
                )
        self.since, self.until = instant(since, "since"), instant(until, "until")
        self.before = before
        self.words = None if text is None else _words(text)


def instant(at: datetime | None, what: str) -> str | None:
    """Return *at* as the record writes it.

    Raises:
        JournalError: It has no time zone.
    """
    if at is None:
        return None
    if at.utcoffset() is None:
        raise JournalError(f"{what}={at!r} has no time zone; use datetime.now(UTC) and the like")
    return at.astimezone(UTC).isoformat("T", "microseconds")[: -len("+00:00")] + "Z"


def found(
    connection: sqlite3.Connection,
    question: Question,
    *,
    limit: int | None = None,
    oldest_first: bool = False,
) -> Iterator[RunSummary]:
    """Yield the runs that fit *question*, the newest first unless asked, as they are asked for."""
    sql, params = _query(connection, question, SELECTED)
    if oldest_first:
        sql = sql.removesuffix("DESC")
    if limit is not None:
        sql += " LIMIT ?"
        params.append(limit)
    for row in connection.execute(sql, params):
        yield summary_of(row)


def count(connection: sqlite3.Connection, question: Question) -> int:
    """Return how many runs fit *question*."""
    sql, params = _query(connection, question, "r.number")
    return connection.execute(f"SELECT count(*) FROM ({sql})", params).fetchone()[0]  # noqa: S608


def _query(
    connection: sqlite3.Connection, question: Question, selected: str
) -> tuple[str, list[Any]]:
    """Return what finds the runs, with the numbers of the rarest condition, `d`, in front."""
    low, high = _span(connection, question)
    facts = _rarest_first(connection, question.facts)
    if question.words is not None:
        source, number = "words", "d.rowid"  # whose hits come in the order of the runs
    elif facts:
        source, number = "facts", "d.number"
    else:
        source, number = "runs", "d.number"
    where, params = [f"{number} BETWEEN ? AND ?"], list[Any]((low, high))
    if question.words is not None:
        where.append("words MATCH ?")
        params.append(question.words)
    elif facts:
        where.append("d.field = ? AND d.value = ?")
        params += facts.pop(0)
    for fact in facts:
        where.append(HAS.format(number))  # of the condition in front, so that no run is read for it
        params += fact
    for sign, at in ((">=", question.since), ("<", question.until)):
        if at is not None:
            where.append(f"r.started {sign} ?")
            params.append(at)
    parts = f"{source} d CROSS JOIN runs r ON r.number = {number} WHERE {' AND '.join(where)}"
    return f"SELECT {selected} FROM {parts} ORDER BY {number} DESC", params  # noqa: S608


def _rarest_first(
    connection: sqlite3.Connection, facts: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    if len(facts) < 2:
        return list(facts)

    def size(fact: tuple[str, str]) -> int:
        sql = "SELECT count(*) FROM (SELECT 1 FROM facts WHERE field = ? AND value = ? LIMIT ?)"
        return connection.execute(sql, (*fact, COUNTED)).fetchone()[0]

    return sorted(facts, key=size)


def _span(connection: sqlite3.Connection, question: Question) -> tuple[int, int]:
    """Return the lowest and the highest number of the runs that can fit."""
    high = NUMBER_MAX if question.before is None else question.before - 1
    if question.since is None and question.until is None:
        return 0, high
    sql = "SELECT min(number), max(number) FROM runs WHERE started >= ? AND started < ?"
    found = connection.execute(sql, (question.since or "", question.until or "~")).fetchone()
    return (found[0], min(found[1], high)) if found[0] is not None else (0, -1)


def _words(text: str) -> str:
    """Return *text* as FTS5 wants it: every word, and those that end in a star may go on.

    Raises:
        JournalError: There is no word in it.
    """
    words = WORD.findall(text)
    if not words:
        raise JournalError(f"text={shown(text)} has no word in it; give some letters or digits")
    return " AND ".join(f'"{word.rstrip("*")}"' + "*" * word.endswith("*") for word in words)


def summary_of(row: Sequence[Any]) -> RunSummary:
    """Return the run in a *row* of the index."""
    one = dict(zip(COLUMNS, row, strict=True))
    return RunSummary(
        number=one["number"],
        run_id=one["run_id"],
        workflow=one["workflow"],
        environment=one["environment"],
        version=one["version"],
        service=one["service"],
        initiator=one["initiator"],
        status=one["status"],
        started=datetime.fromisoformat(one["started"]),
        ended=datetime.fromisoformat(one["ended"]) if one["ended"] else None,
        records=one["records"],
        error=one["error"],
        commit=one["commit_id"],
    )
