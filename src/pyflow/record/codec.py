"""Records as canonical JSON, chained by hash.

A record is an event with its place: run, number, instant, and the hash of
the record before it. Its stored form is one line of JSON with sorted keys,
no spaces and ASCII escapes, so equal records are equal bytes. The hash is
SHA-256 over a domain tag and that line without its ``hash`` key.

There is no key in it, so whoever may write the journal can also forge it as
a whole. What a chain shows is that no part of it was changed alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError, TamperedJournal, shown
from pyflow.frozen import fields_of, frozen
from pyflow.record.events import EVENTS, ErrorInfo, Event, RunFinished
from pyflow.record.values import copied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "GENESIS",
    "Record",
    "canonical",
    "decode_event",
    "decode_line",
    "encode_line",
    "event_data",
    "is_intact",
    "seal",
    "seal_lines",
    "unsealed",
    "verify_chain",
]

GENESIS = "0" * 64
"""What the opening record of a run names as its predecessor."""

DOMAIN = "pyflow-record-v1\0"
MARK = '"hash":"'
DIGEST = 64
UNWRITABLE = (TypeError, ValueError, KeyError, RecursionError)
UNREADABLE = (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError)

canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
"""Turn JSON data into its one canonical text."""


def _shape(cls: type[Event]) -> tuple[tuple[str, ...], Callable[[Event], tuple[Any, ...]]]:
    """Return the keys of *cls* in the record, in order, and what gets their values."""
    names = sorted(fields_of(cls))
    # The kind is got besides, because a getter of one name alone gives no tuple.
    return tuple(f'"{name}":' for name in names), attrgetter(*names, "kind")


SHAPES = {cls: _shape(cls) for cls in EVENTS.values()}


@frozen
class Record:
    """One event of a run, in its place in the chain."""

    seq: int
    """Number within the run, from 1."""

    run_id: str
    """The run that it belongs to."""

    at: datetime
    """When it was recorded, in UTC."""

    event: Event
    """What happened."""

    prev: str
    """Hash of the record before it."""

    hash: str
    """Its own hash, in hexadecimal."""

    @property
    def kind(self) -> str:
        """The kind of event, such as ``task_started``."""
        return self.event.kind

    @property
    def task(self) -> str | None:
        """The task that the event is about, if it is about one."""
        return getattr(self.event, "task", None)

    @property
    def data(self) -> dict[str, Any]:
        """The event's own fields, as JSON data."""
        return event_data(self.event)

    def __repr__(self) -> str:
        about = f" {self.task!r}" if self.task else ""
        return f"<Record {self.seq} {self.kind}{about}>"


def event_data(event: Event) -> dict[str, Any]:
    """Return the fields of *event* that are not None, as JSON data of the caller's own."""
    data: dict[str, Any] = {}
    for name in sorted(fields_of(type(event))):
        value = getattr(event, name)
        if value is not None:
            data[name] = _error_data(value) if type(value) is ErrorInfo else copied(value)
    return data


def _error_data(error: ErrorInfo) -> dict[str, str]:
    return {"message": error.message, "traceback": error.traceback, "type": error.type}


def _event_text(event: Event) -> str:
    """Return the canonical JSON text of `event_data`, written field by field for speed."""
    parts: list[str] = []
    keys, values_of = SHAPES[type(event)]
    for key, value in zip(keys, values_of(event), strict=False):
        if value is not None:
            kind: type = type(value)  # pyright: ignore[reportUnknownVariableType]
            parts.append(key + WRITERS.get(kind, canonical)(value))
    return ",".join(parts)


WRITERS: dict[type, Callable[[Any], str]] = {
    str: encode_basestring_ascii,
    int: repr,
    float: lambda value: repr(value) if math.isfinite(value) else canonical(value),
    ErrorInfo: lambda error: canonical(_error_data(error)),
}
"""How values of the commonest types are written; the others as any JSON data is."""


def _in_utc(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.utcoffset() is None:
        raise JournalError(f"the instant {at!r} has no time zone; a clock gives datetime.now(UTC)")
    return at.astimezone(UTC)


def _instant(at: datetime) -> str:
    """Return *at*, in UTC, as text of one fixed width, so that text order is time order."""
    return at.isoformat("T", "microseconds")[: -len("+00:00")] + "Z"


def _texts(at: str, event: Event, prev: str, run: str, seq: int) -> tuple[str, str]:
    """Return the stored form in two halves; the ``hash`` key has its place between them."""
    return (
        f'{{"at":"{at}","data":{{{_event_text(event)}}},',
        f'"kind":"{event.kind}","prev":"{prev}","run":{run},"seq":{seq}}}',
    )


def _texts_of(record: Record) -> tuple[str, str]:
    run = encode_basestring_ascii(record.run_id)
    return _texts(_instant(_in_utc(record.at)), record.event, record.prev, run, record.seq)


def _digest(head: str, tail: str) -> str:
    return hashlib.sha256(f"{DOMAIN}{head}{tail}".encode()).hexdigest()


def seal(
    run_id: str, events: Iterable[Event], *, at: datetime, seq: int, prev: str
) -> list[Record]:
    """Chain *events* to the record numbered *seq* whose hash is *prev*.

    Raises:
        JournalError: One of them cannot be written, or *at* has no time zone.
            None of them is sealed.
    """
    return [record for record, _, _ in _sealed(run_id, events, at, seq, prev)]


def seal_lines(
    run_id: str, events: Iterable[Event], *, at: datetime, seq: int, prev: str
) -> list[tuple[Record, str]]:
    """Do what `seal` does, and return the stored form of each record beside it.

    Raises:
        JournalError: As for `seal`.
    """
    return [
        (record, _line(record, head, tail))
        for record, head, tail in _sealed(run_id, events, at, seq, prev)
    ]


def _sealed(
    run_id: str, events: Iterable[Event], at: datetime, seq: int, prev: str
) -> Iterator[tuple[Record, str, str]]:
    """Yield the records of *events*, each with the two halves of its stored form."""
    at = _in_utc(at)
    text, run = _instant(at), encode_basestring_ascii(run_id)
    for event in events:
        seq += 1
        try:
            head, tail = _texts(text, event, prev, run, seq)
            digest = _digest(head, tail)
        except UNWRITABLE as error:
            raise JournalError(
                f"record {seq} of run {run_id!r} cannot be written: {type(event).__name__} holds "
                f"what is not JSON data ({error}); put it through pyflow.record.values.encode"
            ) from error
        yield Record(seq, run_id, at, event, prev, digest), head, tail
        prev = digest


def encode_line(record: Record) -> str:
    """Return the stored form of *record*, without a line end."""
    return _line(record, *_texts_of(record))


def _line(record: Record, head: str, tail: str) -> str:
    return f'{head}"hash":"{record.hash}",{tail}'


def decode_line(line: str) -> Record:
    """Return the record that *line* holds.

    Its form is checked, its hash is not: that is `verify_chain`'s work.

    Raises:
        JournalError: *line* is not a record, or is not in canonical form.
    """
    try:
        record = _decoded(line)
        same = type(record.seq) is int and encode_line(record) == line
    except UNREADABLE as error:
        raise JournalError(f"not a record: {shown(line)} ({error})") from error
    if not same:
        raise JournalError(f"not in canonical form, so not written by pyflow: {shown(line)}")
    return record


def unsealed(line: object) -> Record | None:
    """Return the record that *line* holds, if it is a text whose bytes have the hash that it names.

    Then they are those that were written, in canonical form, and need not be
    written anew to compare. None says that they are not: `decode_line` and
    `verify_chain` tell what is wrong.
    """
    if not isinstance(line, str):
        return None
    at = line.rfind(MARK)
    after = at + len(MARK) + DIGEST
    digest = line[at + len(MARK) : after]
    try:
        if at < 1 or _digest(line[:at], line[after + 2 :]) != digest:
            return None
        record = _decoded(line)
    except (JournalError, *UNREADABLE):
        return None
    return record if record.hash == digest and type(record.seq) is int else None


def _decoded(line: str) -> Record:
    raw = json.loads(line)
    return Record(
        raw["seq"],
        raw["run"],
        datetime.fromisoformat(raw["at"]).astimezone(UTC),
        decode_event(raw["kind"], raw["data"]),
        raw["prev"],
        raw["hash"],
    )


def decode_event(kind: str, data: Mapping[str, Any]) -> Event:
    """Return the event of *kind* with the fields in *data*.

    The names of the fields are checked, what they hold is not.

    Raises:
        JournalError: *kind* is not known here, or *data* does not fit it; a
            newer pyflow may have written it.
    """
    cls = EVENTS.get(kind)
    if cls is None:
        raise JournalError(
            f"unknown kind of record {shown(kind)}; a newer pyflow may have written it"
        )
    values = dict(data)
    try:
        if isinstance(values.get("error"), dict):
            values["error"] = ErrorInfo(**values["error"])
        return cls(**values)
    except TypeError as error:
        raise JournalError(
            f"a {kind} record has the fields {sorted(fields_of(cls))}, not {shown(sorted(data))}; "
            "a newer pyflow may have written it"
        ) from error


def verify_chain(
    records: Sequence[Record],
    *,
    after: Record | None = None,
    complete: bool = False,
    intact: bool = False,
) -> None:
    """Check that *records* are one run's, unbroken from its start, or *after* one, and unchanged.

    Without *complete*, records missing at the end are not noticed, because a
    run that is still going looks just like that. With it, the last one must
    be `run_finished` and name the number of records. *intact* says that each
    is known to have its hash, as one is that was `unsealed`.

    Raises:
        TamperedJournal: Names the number of the record that does not fit.
    """
    start, prev = (after.seq + 1, after.hash) if after else (1, GENESIS)
    for seq, record in enumerate(records, start=start):
        if record.run_id != (after or records[0]).run_id:
            problem = f"belongs to run {record.run_id!r}"
        elif record.seq != seq:
            problem = f"has number {record.seq}: records are missing, repeated or out of order"
        elif record.prev != prev:
            problem = "does not follow from the one before it"
        elif not intact and not is_intact(record):
            problem = "was changed after it was written"
        else:
            prev = record.hash
            continue
        raise TamperedJournal(
            f"record {seq} of run {records[0].run_id!r} {problem}; what follows cannot be trusted",
            run_id=records[0].run_id,
            seq=seq,
        )
    if complete:
        _verify_end(records)


def is_intact(record: Record) -> bool:
    """Return whether *record* has the hash that it ought to have."""
    try:
        return record.hash == _digest(*_texts_of(record))
    except (JournalError, *UNWRITABLE):
        return False


def _verify_end(records: Sequence[Record]) -> None:
    last = records[-1] if records else None
    end = last.event if last is not None else None
    if not isinstance(end, RunFinished) or end.records != len(records):
        raise TamperedJournal(
            "the end is missing: the last record is not a run_finished with this many records",
            run_id=last.run_id if last else "",
            seq=len(records) + 1,
        )
