"""`History`: what happened in all runs of a journal."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pyflow.errors import JournalError, nearest, shown
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import decode_line, verify_chain
from pyflow.record.history.comparing import RunDiff, diff_of
from pyflow.record.history.compliance import Compliance, compliance_of
from pyflow.record.history.dora import Dora, dora_of
from pyflow.record.history.index import FIND, RUN, Index
from pyflow.record.history.query import Question, count, found, instant, summary_of
from pyflow.record.history.summary import Change, RunSummary
from pyflow.record.sqlite.faults import FAULTS, journal_error
from pyflow.record.sqlite.opening import check_head, look, uri_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from pyflow.record.codec import Record

__all__ = ["History"]

CHANGES = """
SELECT c.at, r.run_id, c.seq, c.environment, c.task, c.resource, c.before, c.after
FROM changes c CROSS JOIN runs r ON r.number = c.number
"""
BUSY_S = 5.0
DAY_S = 86_400.0


class History:
    """All runs of a journal, to look things up in; nothing of the journal is changed.

    Runs are found by an index beside the journal, in ``deploys.db.index``.
    It is brought up to date when the history is opened, or by `refresh`, and
    is made when it is not there. It is not covered by the hashes of the
    records: what counts is the trail, which `trail` reads and checks.

    Args:
        path: The journal.
        told: Hears, while the index is brought up to date, up to which record
            it has come, and how many there are.

    Raises:
        JournalError: There is no journal there, or it cannot be read.
        JournalIntegrityError: It is not what its head says.
    """

    def __init__(
        self, path: str | os.PathLike[str], /, *, told: Callable[[int, int], None] | None = None
    ) -> None:
        self.path = Path(path).resolve()
        if not self.path.is_file():
            raise JournalError(f"there is no journal {shown(str(path))}; name one that is there")
        try:
            glance, head = look(self.path, timeout_s=BUSY_S)
        except FAULTS as error:
            raise journal_error(error, self.path, "opening") from error
        self.notes = check_head(self.path, glance, head)
        """What was odd when it was opened, in sentences."""
        self._index = Index(self.path, glance.database_id)
        try:
            self.refresh(told)
        except BaseException:
            self._index.close()
            raise

    def __repr__(self) -> str:
        return f"<History of {str(self.path)!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def refresh(self, told: Callable[[int, int], None] | None = None) -> None:
        """Take in what has happened since."""
        self._index.catch_up(told)

    # Finding runs -------------------------------------------------------------------------

    def runs(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        text: str | None = None,
        before: int | None = None,
        limit: int | None = None,
        oldest_first: bool = False,
        **fields: str | None,
    ) -> Iterator[RunSummary]:
        """Yield the runs that fit every condition given, the newest first, as they are asked for.

        Args:
            since: Only runs that began at this instant or later.
            until: Only runs that began before it.
            text: Words that all stand somewhere in the run: what failed, was
                logged, asked, answered, changed. ``conn*`` stands for all
                words that begin so.
            before: Only runs that began before the one with this number: the
                next page after a run is ``before=run.number``.
            limit: How many, at most.
            oldest_first: Whether they come in the order in which they began.
            fields: What the run has to have: ``workflow``, ``environment``,
                ``service``, ``version``, ``task`` (that was started),
                ``initiator``, ``approver``, ``status``, ``change`` (a resource
                that was changed) or ``commit``.

        Raises:
            JournalError: There is no such field, an instant has no time zone, or
                the SQLite of this Python has no FTS5 and *text* is given.
        """
        question = self._question(fields, since=since, until=until, text=text, before=before)
        return found(self._index.connection, question, limit=limit, oldest_first=oldest_first)

    def count(self, **conditions: Any) -> int:
        """Return how many runs fit; the conditions are those of `runs`."""
        keys = ("since", "until", "text", "before")
        given = {key: conditions.pop(key, None) for key in keys}
        return count(self._index.connection, self._question(conditions, **given))

    def run(self, run_id: str) -> RunSummary:
        """Return the run *run_id* in one row.

        Raises:
            JournalError: There is no such run; the error names the nearest.
        """
        row = self._index.connection.execute(FIND, (run_id,)).fetchone()
        if row is None:
            last = [run.run_id for run in self.runs(limit=1000)]
            near = nearest(run_id, last)
            hint = f"; did you mean {near!r}?" if near else ""
            raise JournalError(f"no run {shown(run_id)} is in the journal{hint}")
        return summary_of(row)

    def has(self, run_id: str) -> bool:
        """Return whether the run *run_id* is in the journal."""
        return self._index.connection.execute(FIND, (run_id,)).fetchone() is not None

    def trail(self, run_id: str) -> AuditTrail:
        """Return the audit trail of a run, whose chain was checked.

        Raises:
            JournalError: There is no such run.
            TamperedJournal: A record is not what was written.
        """
        return AuditTrail(self._records(run_id))

    def trails(self, **conditions: Any) -> Iterator[AuditTrail]:
        """Yield the trail of each run that fits, the oldest first; the conditions are those of `runs`.

        One is read at a time, and its chain checked.

        Raises:
            TamperedJournal: A record is not what was written.
        """
        for run in self.runs(oldest_first=True, **conditions):
            yield self.trail(run.run_id)

    # Asking -------------------------------------------------------------------------------

    def last_good(self, service: str, environment: str) -> RunSummary | None:
        """Return the last run that has succeeded with *service* in *environment*, or None."""
        fits = self.runs(service=service, environment=environment, status="succeeded", limit=1)
        return next(fits, None)

    def diff(self, one: str, other: str) -> RunDiff:
        """Return what differs between two runs: definition, parameters, place, tasks, end."""
        return diff_of(self._records(one), self._records(other))

    def changes(
        self,
        environment: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Change]:
        """Yield what runs have changed in *environment* between two instants, oldest first.

        What counts is when it was recorded. Only what tasks recorded is known:
        with ``ctx.record_change``, or by a platform, router or strategy of ours.
        """
        first, last = instant(since, "since"), instant(until, "until")
        where = ["1"] if environment is None else ["c.environment = ?"]
        params: list[str] = [] if environment is None else [environment]
        for sign, at in ((">=", first), ("<", last)):
            if at is not None:
                where.append(f"c.at {sign} ?")
                params.append(at)
        return self._changes(f"{CHANGES} WHERE {' AND '.join(where)} ORDER BY c.at", params)

    def compliance(self, run_id: str) -> Compliance:
        """Return which fields that PCI DSS, SOC 2 and ISO 27001 ask for the run has."""
        return compliance_of(self._records(run_id))

    def dora(
        self,
        *,
        since: datetime,
        until: datetime,
        committed_at: Callable[[str], datetime | None] | None = None,
        **fields: Any,
    ) -> Dora:
        """Return DORA's five metrics of the runs that began between two instants.

        Args:
            since: The first instant.
            until: The last.
            committed_at: Tells when a commit was made, for the lead time.
            fields: Which runs, as for `runs`.
        """
        days = (until - since) / timedelta(seconds=DAY_S)
        runs = self.runs(since=since, until=until, oldest_first=True, **fields)
        return dora_of(runs, days=days, committed_at=committed_at)

    # Inside -------------------------------------------------------------------------------

    def _question(self, fields: dict[str, str | None], **options: Any) -> Question:
        if options["text"] is not None and not self._index.has_words:
            raise JournalError(
                "this Python's SQLite was built without FTS5, so there is no looking for text; "
                "look for task, change or status instead"
            )
        return Question(fields, **options)

    def _changes(self, sql: str, params: list[str]) -> Iterator[Change]:
        for (
            at,
            run_id,
            seq,
            environment,
            task,
            resource,
            before,
            after,
        ) in self._index.connection.execute(sql, params):
            yield Change(
                datetime.fromisoformat(at).astimezone(UTC),
                run_id,
                seq,
                environment,
                task,
                resource,
                json.loads(before),
                json.loads(after),
            )

    def _records(self, run_id: str) -> list[Record]:
        """Return the records of a run, checked."""
        try:
            with closing(
                sqlite3.connect(uri_of(self.path, mode="ro"), uri=True, timeout=BUSY_S)
            ) as reader:
                records = [decode_line(line) for (line,) in reader.execute(RUN, (run_id,))]
        except FAULTS as error:
            raise journal_error(error, self.path, "reading") from error
        if not records:
            self.run(run_id)  # raises, and names the nearest
        verify_chain(records)
        return records
