"""Records as canonical JSON, chained by hash."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pyflow.errors import JournalError, TamperedJournal
from pyflow.record import events as ev
from pyflow.record.codec import (
    GENESIS,
    Record,
    canonical,
    decode_event,
    decode_line,
    encode_line,
    event_data,
    seal,
    unsealed,
    verify_chain,
)
from support.trails import AT, EVENTS, STARTED, TIMEOUT, trail_of

SKIPPED = ev.TaskSkipped("a", "why")
LINE = (
    '{"at":"2026-01-02T03:04:05.678901Z","data":{"reason":"why","task":"a"},'
    '"hash":"83c7b7d0c2a1","kind":"task_skipped","prev":"' + GENESIS + '","run":"r","seq":1}'
)


def sealed(*events: ev.Event, at: datetime = AT) -> list[Record]:
    return seal("r", events, at=at, seq=0, prev=GENESIS)


def with_(record: Record, **changes: Any) -> Record:
    """Return *record* with other fields and its old hash."""
    names = ("seq", "run_id", "at", "event", "prev", "hash")
    return Record(**{name: getattr(record, name) for name in names} | changes)


class TestCanonical:
    def test_one_text(self) -> None:
        """Keys are sorted, there are no spaces, and everything is ASCII."""
        assert canonical({"b": [1, 2.5, None, True], "a": "é\n"}) == (
            '{"a":"\\u00e9\\n","b":[1,2.5,null,true]}'
        )

    def test_no_nan(self) -> None:
        """What JSON cannot hold is refused."""
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical(float("nan"))


class TestSeal:
    def test_hash(self) -> None:
        """The hash covers a domain tag and the stored form without the hash, by the book."""
        (record,) = sealed(STARTED)

        raw = json.loads(encode_line(record))
        del raw["hash"]
        text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
        expected = hashlib.sha256(b"pyflow-record-v1\0" + text.encode()).hexdigest()

        assert record.hash == expected

    def test_frozen_format(self) -> None:
        """The format of a release can be read by the next: this hash never changes."""
        (record,) = sealed(SKIPPED)

        assert record.hash == "24bf20b606d82bd02340c36a199448c5c7565a993ab1b698d0bab67482a62920"

    def test_chain(self) -> None:
        """Each record names the hash of the one before it."""
        records = seal("r", EVENTS, at=AT, seq=7, prev="p")

        assert [record.prev for record in records] == ["p", *(r.hash for r in records[:-1])]
        assert [record.seq for record in records] == list(range(8, 8 + len(EVENTS)))

    def test_equal_records(self) -> None:
        """Equal events at equal instants are equal records, however their dicts are ordered."""
        one = ev.Logged("a", "m", {"x": 1, "y": 2})
        other = ev.Logged("a", "m", {"y": 2, "x": 1})

        assert sealed(one) == sealed(other)
        assert sealed(one) != sealed(ev.Logged("a", "m", {"x": 1, "y": 3}))

    def test_utc(self) -> None:
        """An instant of another zone is recorded in UTC, so that it reads back."""
        zone = timezone(timedelta(hours=2))

        assert sealed(SKIPPED, at=AT.astimezone(zone)) == sealed(SKIPPED)
        assert sealed(SKIPPED, at=AT.astimezone(zone))[0].at.tzinfo is UTC

    def test_no_zone(self) -> None:
        """An instant without a time zone is refused, since nobody could say when it was."""
        with pytest.raises(JournalError, match=r"no time zone; a clock gives"):
            sealed(SKIPPED, at=AT.replace(tzinfo=None))

    @pytest.mark.parametrize(
        "thing",
        [
            {1},
            b"x",
            pytest.param(object(), id="object"),
            float("nan"),
            float("inf"),
            {"deep": [float("-inf")]},
            {(1,): 1},
        ],
        ids=repr,
    )
    def test_unwritable(self, thing: Any) -> None:
        """What is not JSON data is refused, and the error says which event holds it."""
        with pytest.raises(JournalError, match=r"record 2 .*CheckpointSaved holds what is not"):
            sealed(SKIPPED, ev.CheckpointSaved("a", "k", thing))

    def test_ring(self) -> None:
        """A ring is refused."""
        ring: list[Any] = []
        ring.append(ring)

        with pytest.raises(JournalError, match="cannot be written"):
            sealed(ev.CheckpointSaved("a", "k", ring))

    def test_foreign_event(self) -> None:
        """What is no event of ours is refused."""
        with pytest.raises(JournalError, match="cannot be written"):
            sealed(object())  # pyright: ignore[reportArgumentType]

    @pytest.mark.parametrize("number", [0, -1, 2**80, 0.0, -0.0, 1e-7, 1e22, 0.1, True])
    def test_numbers(self, number: Any) -> None:
        """Numbers are written as JSON writes them."""
        line = encode_line(sealed(ev.CheckpointSaved("a", "k", number))[0])

        assert f'"value":{json.dumps(number)}}}' in line


class TestRecord:
    def test_reads(self) -> None:
        """A record says its kind and its task, and gives its fields as data."""
        (record,) = sealed(SKIPPED)

        assert (record.kind, record.task) == ("task_skipped", "a")
        assert record.data == {"reason": "why", "task": "a"}
        assert repr(record) == "<Record 1 task_skipped 'a'>"

    def test_no_task(self) -> None:
        """An event of the whole run has no task."""
        (record,) = sealed(ev.RunPaused("why"))

        assert record.task is None
        assert repr(record) == "<Record 1 run_paused>"

    def test_hostile_repr(self) -> None:
        """A hostile name does not reach the terminal through a repr."""
        assert repr(sealed(ev.TaskSkipped("a\x1b[2J\n", ""))[0]).isprintable()

    def test_data_is_a_copy(self) -> None:
        """Whoever changes the data does not change the record."""
        (record,) = sealed(ev.Logged("a", "m", {"deep": [1]}))

        record.data["data"]["deep"].append(2)

        verify_chain([record])

    def test_frozen(self) -> None:
        """A record never changes."""
        with pytest.raises(AttributeError, match="never changes"):
            sealed(SKIPPED)[0].seq = 2  # pyright: ignore[reportAttributeAccessIssue]


class TestLines:
    def test_form(self) -> None:
        """A line is the record with its hash, in canonical form."""
        record = with_(sealed(SKIPPED)[0], hash="83c7b7d0c2a1")

        assert encode_line(record) == LINE
        assert decode_line(LINE) == record

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "null",
            "7",
            "[]",
            '"x"',
            "{}",
            "{",
            LINE + " ",
            LINE + LINE,
            LINE.replace(":", ": ", 1),
            LINE.replace('"a"', '"\\u0061"'),
            LINE.replace('"seq":1', '"seq":1.0'),
            LINE.replace('"seq":1', '"seq":true'),
            LINE.replace('"seq":1', '"seq":"1"'),
            LINE.replace('"seq":1', '"seq":1,"seq":1'),
            LINE.replace('"seq":1', '"extra":0,"seq":1'),
            LINE.replace('"run":"r"', '"run":7'),
            LINE.replace('"run":"r",', ""),
            LINE.replace("678901Z", "678901+00:00"),
            LINE.replace("678901Z", "678901"),
            LINE.replace("2026-01-02T03:04:05.678901Z", "0001-01-01T00:00:00.000000+05:00"),
            LINE.replace("2026-01-02T03:04:05.678901Z", "soon"),
            LINE.replace('"2026-01-02T03:04:05.678901Z"', "7"),
            LINE.replace('{"reason":"why","task":"a"}', "[]"),
            LINE.replace('{"reason":"why","task":"a"}', "7"),
            LINE.replace('"why"', "NaN"),
            LINE.replace('"why"', "null"),
            LINE.replace('"task_skipped"', "[]"),
            LINE.replace('"why"', "[" * 100_000 + "]" * 100_000),
            LINE.replace('"why"', "1" * 5_000),
        ],
        ids=lambda line: line[:20] + line[90:130],
    )
    def test_refuses(self, line: str) -> None:
        """A line that is no record, or not the one text of its record, is refused."""
        with pytest.raises(JournalError, match=r"not a record|not in canonical form|fields"):
            decode_line(line)

    def test_newer_kind(self) -> None:
        """A kind that is not known here is named."""
        with pytest.raises(JournalError, match="unknown kind of record 'task_danced'; a newer"):
            decode_line(LINE.replace("task_skipped", "task_danced"))


def hashed(bare: str) -> str:
    """Return a line like `LINE`, which lacks its hash, with the hash of whatever is in it."""
    digest = hashlib.sha256(f"pyflow-record-v1\0{bare}".encode()).hexdigest()
    return bare.replace('"kind"', f'"hash":"{digest}","kind"')


class TestUnsealed:
    def test_reads(self) -> None:
        """A line that was written gives its record, whatever it holds."""
        records = sealed(*EVENTS)

        assert [unsealed(encode_line(record)) for record in records] == records

    def test_changed(self) -> None:
        """A line of which a single character was changed gives none."""
        line = encode_line(sealed(SKIPPED)[0])
        others = [f"{line[:n]}{chr(ord(c) ^ 1)}{line[n + 1 :]}" for n, c in enumerate(line)]

        assert [unsealed(other) for other in ["", line + " ", *others]] == [None] * (len(line) + 2)

    @pytest.mark.parametrize(
        "change",
        [
            ('"seq":1', '"seq":true'),
            ('"task_skipped"', '"task_danced"'),
            ("678901Z", "soon"),
            ('"data"', '"data":'),
        ],
    )
    def test_hash_of_no_record(self, change: tuple[str, str]) -> None:
        """A line that has its hash and is no record gives none either."""
        bare = LINE.replace('"hash":"83c7b7d0c2a1",', "")

        assert unsealed(hashed(bare)) is not None
        assert unsealed(hashed(bare.replace(*change))) is None


class TestDecodeEvent:
    def test_round_trip(self) -> None:
        """An event is what its kind and data say, errors included."""
        for event in EVENTS:
            assert decode_event(event.kind, event_data(event)) == event

    @pytest.mark.parametrize(
        "data",
        [
            {"task": "a"},
            {"task": "a", "reason": "why", "mood": "bad"},
            {"task": "a", "reason": "why", "error": {"type": "OSError", "code": 7}},
        ],
    )
    def test_other_fields(self, data: dict[str, Any]) -> None:
        """Fields that are missing or not known are refused, with those that there are."""
        with pytest.raises(JournalError, match=r"task_failed record has the fields \['allowed'"):
            decode_event("task_failed", {k: v for k, v in data.items() if k != "reason" or v})

        assert decode_event("task_failed", {"task": "a", "reason": "why"})

    def test_unknown_kind(self) -> None:
        """A kind that is not known is refused."""
        with pytest.raises(JournalError, match="unknown kind"):
            decode_event("", {})


class TestVerifyChain:
    def test_whole(self) -> None:
        """A chain that is as it was written passes, and so does its beginning."""
        records = list(trail_of())

        verify_chain(records, complete=True)
        verify_chain(records[:5])
        verify_chain([])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"run_id": "other"}, "belongs to run 'other'"),
            ({"seq": 9}, "has number 9"),
            ({"prev": GENESIS}, "does not follow"),
            ({"hash": GENESIS}, "was changed"),
            ({"event": SKIPPED}, "was changed"),
            ({"at": AT}, "was changed"),
            ({"at": AT.replace(tzinfo=None)}, "was changed"),
            ({"event": ev.Logged("a", "m", {"x": {1}})}, "was changed"),
        ],
    )
    def test_names_the_damage(self, changes: dict[str, Any], message: str) -> None:
        """The error says which record does not fit, and how."""
        records = list(trail_of())
        records[3] = with_(records[3], **changes)

        with pytest.raises(TamperedJournal, match=f"record 4 of run 'r1' {message}") as caught:
            verify_chain(records)

        assert (caught.value.run_id, caught.value.seq) == ("r1", 4)

    @pytest.mark.parametrize("length", [0, 1, 20])
    def test_no_end(self, length: int) -> None:
        """A chain without its end is not complete."""
        with pytest.raises(TamperedJournal, match="the end is missing") as caught:
            verify_chain(list(trail_of())[:length], complete=True)

        assert caught.value.seq == length + 1

    def test_wrong_count(self) -> None:
        """A run_finished that counts other records is no end."""
        with pytest.raises(TamperedJournal, match="the end is missing"):
            verify_chain(sealed(ev.RunFinished("succeeded", 2)), complete=True)


class TestEventData:
    def test_error(self) -> None:
        """An error becomes data like everything else."""
        data = event_data(ev.UndoAttemptFailed("a", 1, TIMEOUT, 0.5))

        assert data["error"]["message"] == "no route\nto host"
        assert json.loads(canonical(data)) == data
