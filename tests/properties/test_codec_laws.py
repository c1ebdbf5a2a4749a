"""Laws of the record: what goes in comes out, and equal records are equal bytes."""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyflow.errors import CodecError, JournalError
from pyflow.frozen import fields_of
from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import (
    GENESIS,
    Record,
    canonical,
    decode_event,
    decode_line,
    encode_line,
    event_data,
    seal,
    verify_chain,
)
from pyflow.record.values import decoder, encode
from support.trails import AT

# A busy machine is no reason to fail.
SOME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(SOME, max_examples=20)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | INTS | FLOATS | TEXTS
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=45))])
CENTURY = timedelta(days=36_525)


class Color(Enum):
    RED = "red"
    ONE = 1


@dataclass
class Part:
    name: str
    size: int | None
    weight: float = 1.0


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    by_name: dict[str, Part]
    color: Color
    at: datetime
    day: date
    took: timedelta
    place: Path
    extra: Any
    inner: Whole | None = None


PARTS = st.builds(Part, TEXTS, st.none() | INTS, FLOATS)
WHOLES = st.recursive(
    st.none(),
    lambda inner: st.builds(
        Whole,
        parts=st.lists(PARTS, max_size=3).map(tuple),
        by_name=st.dictionaries(TEXTS, PARTS, max_size=3),
        color=st.sampled_from(Color),
        at=st.datetimes(timezones=ZONES),
        day=st.dates(),
        took=st.timedeltas(-CENTURY, CENTURY),
        place=st.text("ab/._ é", max_size=8).map(Path),
        extra=JSON,
        inner=inner,
    ),
    max_leaves=3,
)

ERRORS = st.builds(ev.ErrorInfo, TEXTS, TEXTS, TEXTS)


def values_for(hint: Any) -> st.SearchStrategy[Any]:
    """Return values for a field that is annotated with *hint*."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is dict:
        return st.dictionaries(TEXTS, values_for(args[1]), max_size=3)
    if origin is list:
        return st.lists(values_for(args[0]), max_size=3)
    if args:  # a union
        return st.one_of(*map(values_for, args))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXTS,
        int: INTS,
        float: FLOATS,
        bool: st.booleans(),
        ev.ErrorInfo: ERRORS,
        type(None): st.none(),
        Any: JSON,
    }
    return plain[hint]


def events_of(cls: type[ev.Event]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{name: values_for(hints[name]) for name in fields_of(cls)})


EVENTS = st.one_of(*map(events_of, ev.EVENTS.values()))
INSTANTS = st.datetimes(timezones=ZONES.filter(bool)).filter(lambda at: 1 < at.year < 9999)


def shuffled(data: Any) -> Any:
    """Return equal data with the keys of every dict in the opposite order."""
    if isinstance(data, dict):
        return {key: shuffled(data[key]) for key in reversed(data)}
    return [shuffled(item) for item in data] if isinstance(data, list) else data


class TestValues:
    @SOME
    @given(JSON)
    def test_json(self, value: Any) -> None:
        """JSON data comes back equal, to the byte, from the record as well."""
        data = json.loads(canonical(encode(value)))

        assert decoder(Any)(data, "output") == value
        assert canonical(data) == canonical(value)

    @SOME
    @given(WHOLES)
    def test_dataclasses(self, value: Whole | None) -> None:
        """Dataclasses come back equal, whatever they are made of."""
        data = json.loads(canonical(encode(value)))

        assert decoder(Whole | None)(data, "output") == value

    @SOME
    @given(JSON)
    def test_key_order(self, value: Any) -> None:
        """The order of keys does not show in the canonical text."""
        assert canonical(shuffled(value)) == canonical(value)

    @SOME
    @given(JSON, st.sampled_from([Whole, Part, list[int], dict[str, str], Color, datetime, Path]))
    def test_decoder_is_total(self, data: Any, annotation: Any) -> None:
        """Any data at all is decoded, or refused with a `CodecError`."""
        try:
            value = decoder(annotation)(data, "output")
        except CodecError:
            return

        encode(value)


class TestRecords:
    @pytest.mark.parametrize("kind", ev.EVENTS)
    def test_round_trip(self, kind: str) -> None:
        """A record of every kind reads back equal, and verifies."""

        @FEW
        @given(events_of(ev.EVENTS[kind]), INSTANTS, TEXTS)
        def law(event: ev.Event, at: datetime, run_id: str) -> None:
            (record,) = seal(run_id, [event], at=at, seq=0, prev=GENESIS)

            line = encode_line(record)

            assert line.isascii()
            assert "\n" not in line
            assert decode_line(line) == record
            assert decode_event(kind, event_data(event)) == event
            verify_chain([decode_line(line)])

        law()

    @SOME
    @given(EVENTS, EVENTS)
    def test_equal(self, one: ev.Event, other: ev.Event) -> None:
        """Equal data makes equal bytes, and other data makes other bytes."""
        again = decode_event(one.kind, shuffled(event_data(one)))

        lines = [encode_line(record) for record in sealed_alone(one, again, other)]

        assert lines[0] == lines[1]
        assert (lines[0] == lines[2]) == (
            (one.kind, canonical(event_data(one))) == (other.kind, canonical(event_data(other)))
        )

    @SOME
    @given(EVENTS)
    def test_by_the_book(self, event: ev.Event) -> None:
        """The text that is written field by field is the canonical text of the data."""
        (record,) = sealed_alone(event)

        line = encode_line(record)

        assert canonical(json.loads(line)) == line
        assert canonical(event_data(event)) in line

    @SOME
    @given(EVENTS, st.text("abcdefgh_", min_size=1, max_size=9))
    def test_unknown_field(self, event: ev.Event, name: str) -> None:
        """A field that a kind does not have is refused, whatever it is called."""
        if name in fields_of(type(event)):
            name += "x"

        with pytest.raises(JournalError, match=f"a {event.kind} record has the fields"):
            decode_event(event.kind, event_data(event) | {name: 1})

    @SOME
    @given(TEXTS.filter(lambda kind: kind not in ev.EVENTS))
    def test_unknown_kind(self, kind: str) -> None:
        """A kind that is not known is refused, whatever it is called."""
        with pytest.raises(JournalError, match="unknown kind of record"):
            decode_event(kind, {})

    @SOME
    @given(
        st.text() | JSON.map(json.dumps) | EVENTS.map(lambda e: encode_line(*sealed_alone(e))[1:])
    )
    def test_reader_is_total(self, line: str) -> None:
        """Any text at all is a record, or refused with a `JournalError`."""
        with pytest.raises(JournalError):
            decode_line(line)

    @SOME
    @given(st.lists(EVENTS, min_size=1, max_size=5))
    def test_trails(self, events: list[ev.Event]) -> None:
        """Any trail is exported, read back, verified and printed, a line a record."""
        trail = AuditTrail(seal("r", events, at=AT, seq=0, prev=GENESIS))

        again = AuditTrail.from_jsonl(trail.to_jsonl())

        again.verify(complete=False)
        assert again == trail
        lines = str(again).split("\n")
        assert all(line.isprintable() for line in lines)
        assert len(lines) - lines.index("") == 3 + len(events)


def sealed_alone(*events: ev.Event) -> list[Record]:
    """Return a record for each of *events*, in the same place of the same run."""
    return [seal("r", [event], at=AT, seq=0, prev=GENESIS)[0] for event in events]
