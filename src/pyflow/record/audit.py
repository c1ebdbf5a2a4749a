"""The audit trail: the journal of one run, read by a person.

It is the same sequence of records that the engine acted on, so the two
cannot disagree. `print` shows a table; `query` answers questions; `verify`
checks the chain; `to_jsonl` exports it, and `from_jsonl` reads it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from pyflow.errors import JournalError, shown
from pyflow.record import events as ev
from pyflow.record.codec import Record, decode_line, encode_line, verify_chain
from pyflow.record.rendering import heading_of, table_of
from pyflow.record.values import copied

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["AuditTrail"]


class AuditTrail(Sequence[Record]):
    """The records of one run, in order."""

    __slots__ = ("_given",)

    def __init__(self, records: Iterable[Record]) -> None:
        # What can still change is copied; a sequence that cannot may make its records when asked.
        if not isinstance(records, Sequence) or isinstance(records, list):
            records = tuple(records)
        self._given = records

    @property
    def _records(self) -> tuple[Record, ...]:
        if not isinstance(self._given, tuple):
            self._given = tuple(self._given)
        return self._given

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> AuditTrail: ...
    def __getitem__(self, index: int | slice) -> Record | AuditTrail:
        if isinstance(index, slice):
            return AuditTrail(self._records[index])
        return self._records[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuditTrail) and self._records == other._records

    def __hash__(self) -> int:
        return hash(self._records[-1].hash if self._records else None)

    def __repr__(self) -> str:
        run = f" run={self._records[0].run_id!r}" if self._records else ""
        return f"<AuditTrail{run} records={len(self)}>"

    # The questions that an auditor asks ---------------------------------------------------

    @property
    def who(self) -> dict[str, str]:
        """Who asked for the run, and how that is known."""
        return dict(self._started.initiator)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the run; secrets are references."""
        return copied(self._started.params)

    @property
    def environment(self) -> dict[str, Any] | None:
        """Name, tier and limits of the environment."""
        return copied(self._started.environment)

    @property
    def outcome(self) -> str | None:
        """How the run ended, or None if the trail does not say."""
        last = self._records[-1].event if self._records else None
        return last.status if isinstance(last, ev.RunFinished) else None

    @property
    def changes(self) -> tuple[Record, ...]:
        """Every change of the world that a task recorded, before and after."""
        return self.query(kind="change_recorded")

    @property
    def _started(self) -> ev.RunStarted:
        opening = self._records[0].event if self._records else None
        if not isinstance(opening, ev.RunStarted):
            raise JournalError("this trail does not begin with run_started; it is a part of one")
        return opening

    def query(
        self,
        *,
        task: str | None = None,
        kind: str | None = None,
        since: datetime | None = None,
    ) -> tuple[Record, ...]:
        """Return the records that fit every condition given.

        Args:
            task: Only those about this task; ``name`` of a map covers its items.
            kind: Only those of this kind, such as ``task_failed``.
            since: Only those recorded at this instant or later; it has to be
                aware of its time zone.

        Raises:
            JournalError: There is no such kind, or *since* has no time zone.
        """
        if kind is not None and kind not in ev.EVENTS:
            raise JournalError(
                f"there is no kind {shown(kind)} of record; there are: {', '.join(ev.EVENTS)}"
            )
        if since is not None and since.utcoffset() is None:
            raise JournalError(
                f"since={since!r} has no time zone; use datetime.now(UTC) and the like"
            )
        return tuple(
            record
            for record in self._records
            if (task is None or record.task == task or (record.task or "").startswith(f"{task}["))
            and (kind is None or record.kind == kind)
            and (since is None or record.at >= since)
        )

    def verify(self, *, complete: bool = True) -> None:
        """Check that nothing was changed, taken out, put in or moved.

        Args:
            complete: Whether the trail must also end with the run's last
                record. A run that still goes on has none yet; without it,
                records that are missing at the end go unnoticed.

        Raises:
            TamperedJournal: Names the first record that does not fit.
        """
        verify_chain(self._records, complete=complete)

    # Forms --------------------------------------------------------------------------------

    def to_jsonl(self) -> str:
        """Return the trail as JSON, one record a line."""
        return "".join(f"{encode_line(record)}\n" for record in self._records)

    @classmethod
    def from_jsonl(cls, text: str) -> AuditTrail:
        """Return the trail that `to_jsonl` wrote. Its chain is not checked; see `verify`.

        Raises:
            JournalError: A line is no record, or has no end; the error names it.
        """
        # Not `splitlines`, which takes other characters for line ends as well.
        *lines, rest = text.split("\n")
        if rest:
            raise JournalError(f"line {len(lines) + 1} has no end, so it was cut: {shown(rest)}")
        records: list[Record] = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(decode_line(line))
            except JournalError as error:
                error.add_note(f"in line {number}: {shown(line)}")
                raise
        return cls(records)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return what a notebook shows: the table of records."""
        from pyflow.reports.notebook import trail_bundle  # noqa: PLC0415 - only notebooks ask for it

        return trail_bundle(self)

    def __str__(self) -> str:
        if not self._records:
            return "an empty audit trail"
        return "\n".join((*heading_of(self._records[0]), "", *table_of(self._records)))
