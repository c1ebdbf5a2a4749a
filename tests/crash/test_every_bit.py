"""A flipped bit anywhere in the file of a journal of sixty records: it is noticed, or changes nothing.

One bit of every byte that is not zero, another one from byte to byte, and of
some that are; `make soak` flips all. Many bits of a file stand for nothing:
pages have room to spare. So what is asked is what a reader asks: is everything
as it was, is there an error, or does `verify` find something? That every bit
of every record is found, reading by reading, is in
`tests/record/test_sqlite_verify.py`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import JournalError
from pyflow.record.sqlite.faults import FAULTS
from pyflow.record.sqlite.head import Head, read_head
from pyflow.record.sqlite.journal import _records_of
from pyflow.record.sqlite.mending import Mended
from pyflow.record.sqlite.reading import Finding, Reader, Row
from pyflow.record.sqlite.verify import ENTRIES, ROWS, _lenient, _read
from support.journals import RUNS, fill
from support.killed import FACTOR, Tell

RECORDS = 60
BITS, ZEROS = (8, 1) if FACTOR > 1 else (1, 16)
"""How many bits of a byte are flipped, and of every how many-th byte that is zero."""

MODE = slice(18, 20)
"""Where the file says that it has a ``-wal``; what is looked at in memory cannot have one."""

BY_INDEX = "SELECT CAST(line AS BLOB) FROM records WHERE run_id = ? AND seq >= 0 ORDER BY seq"


class Image:
    """The bytes of a journal, looked at in memory."""

    def __init__(self, data: bytes, head: Head | None) -> None:
        self.data = bytearray(data)
        self.data[MODE] = b"\1\1"
        self.head = head
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.text_factory = _lenient
        self._whole = self._seen()
        self._prefixes: list[Reader] = []
        reader = Reader()
        for row in self._whole[0]:
            self._prefixes.append(reader.copy())
            reader.read(row)
        self._prefixes.append(reader)

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def flipped(self, place: int, bit: int) -> str:
        """Return what comes of one flipped bit: `same`, `error`, `found`, or `missed`."""
        self.data[place] ^= 1 << bit
        try:
            return self._judge()
        except FAULTS:
            return "error"
        finally:
            self.data[place] ^= 1 << bit

    def _judge(self) -> str:
        seen = self._seen()
        if seen == self._whole:
            return "same"
        if self._broken_at(seen[0]) or self._findings():
            return "found"
        return "missed"

    def _seen(self) -> tuple[list[Row], Any, Any, Any]:
        """Return everything that anybody reads: records in order, by run, and what is beside them."""
        connection = self._connection
        connection.deserialize(bytes(self.data))
        return (
            connection.execute(ROWS).fetchall(),
            [connection.execute(BY_INDEX, (run_id,)).fetchall() for run_id in RUNS],
            connection.execute(ENTRIES).fetchall(),
            connection.execute("SELECT value FROM meta WHERE key = 'id'").fetchall(),
        )

    def _broken_at(self, rows: list[Row]) -> bool:
        """Return whether the rows themselves tell, from the first that is another one on."""
        pairs = enumerate(zip(rows, self._whole[0], strict=False))
        first = next((number for number, (one, other) in pairs if one != other), None)
        if first is None:
            return False
        reader = self._prefixes[first].copy()
        for row in rows[first:]:
            reader.read(row)
            if reader.findings:
                return True
        return False

    def _findings(self) -> list[Finding]:
        reader = Reader()
        marks = {self.head.tip.n: ""} if self.head is not None else {}
        _read(self._connection, reader, self.head, marks, Mended(reader, marks, {}))
        return reader.findings

    def reads_the_same(self, place: int, bit: int) -> bool:
        """Return whether reading each run gives what it gave, or an error."""
        self.data[place] ^= 1 << bit
        try:
            self._connection.deserialize(bytes(self.data))
            cursor = self._connection.cursor()
            lines = [[r.hash for r in _records_of(cursor, run_id, 0)] for run_id in RUNS]
        except (*FAULTS, JournalError):
            return True
        finally:
            self.data[place] ^= 1 << bit
        return sum(map(len, lines)) == RECORDS


@pytest.mark.parametrize("number", range(BITS))
def test_every_bit(tmp_path: Path, tell: Tell, number: int) -> None:
    """Whatever bit flips, nothing is read that was not written, and nothing tells."""
    path = tmp_path / "j.db"
    fill(path, RECORDS)
    outcomes: Counter[str] = Counter()
    missed: list[tuple[int, int]] = []
    with closing(Image(path.read_bytes(), read_head(Path(f"{path}.head")))) as image:
        for place, byte in enumerate(bytes(image.data)):
            if place in range(MODE.start, MODE.stop) or (byte == 0 and place % ZEROS):
                continue
            bit = (place + number) % 8
            outcome = image.flipped(place, bit)
            outcomes[outcome] += 1
            if outcome == "missed":
                missed.append((place, bit))
            if outcome == "found" and place % 50 == 0:
                assert image.reads_the_same(place, bit), (place, bit)

    tell("journal by a flipped bit", outcomes.total(), outcomes)
    assert missed == []
    assert outcomes["found"] > RECORDS * 300
