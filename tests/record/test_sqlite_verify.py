"""Every way to tamper with a journal on disk is noticed, and called by its name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import JournalError
from pyflow.record.codec import seal_lines
from pyflow.record.sqlite.commit import INSERT
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.reading import FINDINGS_MAX, Reader, Row, _intact
from pyflow.record.sqlite.tip import link
from pyflow.record.sqlite.verify import ROWS, findings_of
from support.journals import content_of, fill, image_of, logged, records_of, tamper
from support.trails import AT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECORDS = 60
LINE, CHAIN = 4, 5


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a journal of sixty records that nobody changes."""
    path = tmp_path_factory.mktemp("source") / "j.db"
    fill(path, RECORDS)
    return path


@pytest.fixture(scope="module")
def rows(source: Path) -> list[Row]:
    """Return its rows."""
    with closing(sqlite3.connect(source)) as connection:
        return connection.execute(ROWS).fetchall()


@pytest.fixture
def path(source: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return image_of(source, tmp_path / "copy")


def read(rows: Sequence[Row], reader: Reader | None = None) -> list[str]:
    """Return what kinds of thing are found in *rows*, up to the first one."""
    reader = reader or Reader()
    for row in rows:
        reader.read(row)
        if reader.findings:
            break
    reader.finish()
    return [finding.kind for finding in reader.findings]


def prefixes(rows: Sequence[Row]) -> list[Reader]:
    """Return readers that have read the rows up to each one."""
    reader, readers = Reader(), []
    for row in rows:
        readers.append(reader.copy())
        reader.read(row)
    return readers


def changed(row: Row, cell: int, value: Any) -> Row:
    """Return *row* with another value in *cell*."""
    return (*row[:cell], value, *row[cell + 1 :])  # type: ignore[return-value]


def flips(data: bytes) -> Iterator[bytes]:
    """Yield *data* with each of its bits flipped in turn."""
    for place in range(len(data)):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


class TestReader:
    """The reading itself, over every way to change one thing; through SQLite further down."""

    def test_untouched(self, rows: list[Row]) -> None:
        """What was written passes, or the tests below would prove nothing."""
        assert len(rows) == RECORDS
        assert read(rows) == []
        assert all(
            read([row], reader) == [] for row, reader in zip(rows, prefixes(rows), strict=True)
        )

    def test_every_bit_of_every_line(self, rows: list[Row]) -> None:
        """A flipped bit in a record is noticed, and it is the record that is named."""
        reader, missed = Reader(), []
        for row in rows:
            missed.extend(
                line
                for line in flips(row[LINE] or b"")
                if _intact(line)[0] or reader._takes(changed(row, LINE, line))
            )
            assert read([changed(row, LINE, b"x")], reader.copy())[0] == "modified"
            reader.read(row)

        assert missed == []

    def test_most_rows_are_foretold(self, rows: list[Row]) -> None:
        """Only where a run begins or ends is a row of a sound journal looked at closely."""
        reader, closely = Reader(), []
        for row in rows:
            if not reader._takes(row):
                closely.append(row[LINE] or b"")
                reader.read(row)

        ends = (b'"kind":"run_started"', b'"kind":"run_finished"')
        assert closely == [
            row[LINE] for row in rows if any(end in (row[LINE] or b"") for end in ends)
        ]

    def test_every_bit_of_every_chain(self, rows: list[Row]) -> None:
        """A flipped bit in the chain is noticed."""
        for row, reader in zip(rows, prefixes(rows), strict=True):
            record, _ = _intact(row[LINE])
            for chain in flips(row[CHAIN] or b""):
                reader.findings = []
                before = (reader._end, reader._links, dict(reader.runs))
                assert not reader._takes(changed(row, CHAIN, chain))
                reader._check_link(row[0], row[3], record, chain)
                assert [finding.kind for finding in reader.findings] == ["unchained"]
                reader._end, reader._links, reader.runs = before

    def test_every_deletion(self, rows: list[Row]) -> None:
        """Records that were taken out are noticed, one or several in a row, but for the end."""
        missed = [
            (start, stop)
            for start, stop in combinations(range(RECORDS), 2)
            if read(rows[:start] + rows[stop:])[:1] != ["missing"]
        ]

        assert missed == []

    def test_every_deletion_that_is_covered_up(self, rows: list[Row]) -> None:
        """So are they where those behind them have moved up."""
        for gone in range(RECORDS - 1):
            moved = [changed(row, 0, row[0] - 1) for row in rows[gone + 1 :]]

            assert read([*rows[:gone], *moved]) != []

    def test_every_swap(self, rows: list[Row]) -> None:
        """Two records that changed places are noticed."""
        readers = prefixes(rows)
        for one, other in combinations(range(RECORDS), 2):
            swapped = rows.copy()
            swapped[one] = (rows[one][0], *rows[other][1:])
            swapped[other] = (rows[other][0], *rows[one][1:])

            assert read(swapped[one:], readers[one].copy()) != []

    def test_every_swap_of_lines(self, rows: list[Row]) -> None:
        """So are two that changed places without what stands beside them."""
        readers = prefixes(rows)
        for one, other in combinations(range(RECORDS), 2):
            swapped = [changed(rows[one], LINE, rows[other][LINE])]

            assert read(swapped, readers[one].copy())[0] == "reordered"

    def test_every_duplicate(self, rows: list[Row]) -> None:
        """A record that is there twice is noticed, wherever the copy stands."""
        readers = prefixes(rows)
        for copied, place in combinations(range(RECORDS), 2):
            again = changed(rows[place], LINE, rows[copied][LINE])
            behind = (RECORDS + 1, *rows[copied][1:])

            assert read([again], readers[place].copy())[0] == "duplicated"
            assert read([*rows[-1:], behind], readers[-1].copy())[0] == "duplicated"

    def test_every_number(self, rows: list[Row]) -> None:
        """A number that is another one is noticed: in the journal, in the run, of the commit."""
        for row, reader in zip(rows, prefixes(rows), strict=True):
            for cell in (0, 2, 3):
                number: Any = row[cell]
                for other in (-1, 0, number - 1, number + 1, number + 2**40):
                    assert read([changed(row, cell, other)], reader.copy()) != []
            assert read([changed(row, 1, b"other")], reader.copy()) != []

    @pytest.mark.parametrize("cell", [0, 1, LINE, CHAIN])
    def test_nothing_there(self, rows: list[Row], cell: int) -> None:
        """A value that damage has made NULL is noticed, and stops nobody from reading on."""
        assert read([*rows[:7], changed(rows[7], cell, None), *rows[8:]]) != []


def kinds(path: Path) -> list[str]:
    """Return what kinds of thing are found in the journal at *path*."""
    return [finding.kind for finding in findings_of(path)]


SWAP_N = (
    "UPDATE records SET n = CASE n WHEN 20 THEN -1 WHEN 30 THEN -2 ELSE n END",
    "UPDATE records SET n = CASE n WHEN -1 THEN 30 WHEN -2 THEN 20 ELSE n END",
)
COPY = "INSERT INTO records SELECT 61, run_id, 99, commit_no, line, chain FROM records WHERE n = 9"
TAMPERED: dict[str, tuple[Sequence[str], list[str]]] = {
    "nothing": ([], []),
    "a word": (["UPDATE records SET line = replace(line, 'line 7', 'line 8')"], ["modified"]),
    "no text": (["UPDATE records SET line = x'fffe' WHERE n = 5"], ["modified"]),
    "no text in the chain": (["UPDATE records SET chain = x'fffe' WHERE n = 5"], ["unchained"]),
    "no text in the run": (
        ["UPDATE records SET run_id = CAST(x'fffe' AS TEXT) WHERE n = 5"],
        ["reordered"],
    ),
    "a link": (["UPDATE records SET chain = 'x' WHERE n = 5"], ["unchained"]),
    "one gone": (["DELETE FROM records WHERE n = 20"], ["missing", "unchained", "missing"]),
    "ten gone": (
        ["DELETE FROM records WHERE n BETWEEN 20 AND 29"],
        ["missing", "unchained", "missing"],
    ),
    "swapped": (SWAP_N, ["unchained", "reordered"]),
    "swapped lines": (
        [
            "CREATE TABLE t AS SELECT 50 - n AS n, line FROM records WHERE n IN (20, 30)",
            "UPDATE records SET line = t.line FROM t WHERE t.n = records.n",
            "DROP TABLE t",
        ],
        ["reordered", "reordered"],
    ),
    "twice": ([COPY], ["duplicated"]),
    "the last gone": (["DELETE FROM records WHERE n = 60"], ["truncated", "index"]),
    "the end gone": (["DELETE FROM records WHERE n > 40"], ["truncated", "index"]),
    "all gone": (["DELETE FROM records"], ["truncated", "index"]),
    "no entry": (["DELETE FROM runs WHERE run_id = 'eu'"], ["index"]),
    "an entry too many": (["INSERT INTO runs VALUES ('x', 1, 1, NULL, 'y')"], ["index"]),
    "a wrong entry": (["UPDATE runs SET status = 'succeeded' WHERE run_id = 'eu'"], ["index"]),
    "another journal": (["UPDATE meta SET value = 'x' WHERE key = 'id'"], ["head"]),
    "no head of its own": (["DELETE FROM meta"], ["head"]),
    "a number below all": (
        ["INSERT INTO records VALUES (-5, 'x', 1, 1, 'x', 'x')"],
        ["duplicated"],
    ),
    "no table": (["DROP TABLE records"], ["file"]),
    "no index": (["DROP TABLE runs"], ["file"]),
}


class TestVerify:
    @pytest.mark.parametrize("how", TAMPERED)
    def test_names_it(self, path: Path, how: str) -> None:
        """What was done is called by its name, the first things first."""
        statements, expected = TAMPERED[how]
        for sql in statements:
            tamper(path, sql)

        found = list(dict.fromkeys(kinds(path)))

        assert found[: len(expected)] == list(dict.fromkeys(expected)), findings_of(path)
        assert bool(found) == bool(expected)

    def test_says_where(self, path: Path) -> None:
        """A finding names the record in the journal and in its run."""
        tamper(path, "UPDATE records SET line = replace(line, 'line 7', 'line 8') WHERE n = 8")
        (finding,) = findings_of(path)

        assert (finding.kind, finding.n, finding.run_id, finding.seq) == ("modified", 8, "us", 4)
        assert str(finding) == "modified: record 8 of the journal was changed after it was written"

    def test_index(self, path: Path) -> None:
        """Where only SQLite's own index is damaged, SQLite finds it, and so does a reading."""
        with closing(sqlite3.connect(path)) as connection:
            (page,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'records_by_run'"
            ).fetchone()
        data = bytearray(path.read_bytes())
        place = data.index(b"eu", (page - 1) * 4096)
        assert place < page * 4096
        data[place] ^= 2  # behind all others of its run, where nobody looks for it
        path.write_bytes(data)

        assert set(kinds(path)) == {"file"}
        with SQLiteJournal(path) as journal, pytest.raises(JournalError):
            journal.read("eu")

    def test_once(self, path: Path) -> None:
        """A link that was changed is one finding: what follows is held against what it was."""
        tamper(path, "UPDATE records SET chain = ? WHERE n = 8", ["0" * 64])

        assert [(finding.kind, finding.n) for finding in findings_of(path)] == [("unchained", 8)]

    def test_every_cell(self, path: Path) -> None:
        """One flipped bit in any cell of any row is noticed through SQLite too, and undone is not."""
        with (
            SQLiteJournal(path) as journal,
            closing(sqlite3.connect(path, isolation_level=None)) as c,
        ):
            for n in range(1, RECORDS + 1):
                for cell in ("line", "chain", "run_id"):
                    (text,) = c.execute(f"SELECT {cell} FROM records WHERE n = ?", (n,)).fetchone()
                    place = n * 7 % len(text)
                    other = text[:place] + chr(ord(text[place]) ^ 1 << n % 7) + text[place + 1 :]
                    c.execute(f"UPDATE records SET {cell} = ? WHERE n = ?", (other, n))
                    assert journal.verify() != [], (n, cell)
                    c.execute(f"UPDATE records SET {cell} = ? WHERE n = ?", (text, n))
            assert journal.verify() == []

    def test_forged(self, path: Path) -> None:
        """A record that is sound in itself, and belongs elsewhere in its run, is found."""
        with SQLiteJournal(path) as journal:
            last = journal.last("eu")
            assert last is not None
            (tip,) = journal.database.reading("SELECT max(n), commit_no, chain FROM records")
        ((record, line),) = seal_lines("eu", [logged(0)], at=AT, seq=last.seq, prev="0" * 64)
        n, commit = tip[0] + 1, tip[1] + 1
        chain = link(tip[2], commit, record.hash)
        tamper(path, INSERT, (n, "eu", record.seq, commit, line, chain))

        assert [(f.kind, f.n) for f in findings_of(path)] == [("unchained", RECORDS + 1)]

    def test_without_a_head(self, path: Path) -> None:
        """Where the head is missing, that is found, and so is all but a missing end."""
        Path(f"{path}.head").unlink()
        assert kinds(path) == ["head"]
        tamper(path, "DELETE FROM records WHERE n = 20")
        assert kinds(path)[:2] == ["head", "missing"]

    def test_half_a_head(self, path: Path) -> None:
        """A slot of the head that cannot be read is found; with both, so is what they hid."""
        head = Path(f"{path}.head")
        head.write_bytes(b"x" + head.read_bytes()[1:])
        assert kinds(path) == ["head"]
        head.write_bytes(b"x")
        assert kinds(path) == ["head"]

    def test_another_past(self, path: Path, tmp_path: Path) -> None:
        """A head that was written for another record is found."""
        (tmp_path / "other").mkdir()
        with SQLiteJournal(path) as journal:
            name = journal.database.id
        fill(tmp_path / "other" / "j.db", RECORDS - 1)
        with SQLiteJournal(tmp_path / "other" / "j.db") as other:
            other.append("eu", [logged(0)], at=AT)
        tamper(tmp_path / "other" / "j.db", "UPDATE meta SET value = ? WHERE key = 'id'", [name])

        (tmp_path / "other" / "j.db").replace(path)

        assert kinds(path) == ["head"]

    def test_has_an_end(self, path: Path) -> None:
        """However much is wrong, the list of it has a length that can be read."""
        tamper(
            path,
            "WITH RECURSIVE c(x) AS (SELECT 100 UNION ALL SELECT x + 2 FROM c WHERE x < 9000) "
            "INSERT INTO records SELECT x, 'x', x, 1, 'x', 'x' FROM c",
        )

        assert FINDINGS_MAX <= len(findings_of(path)) <= FINDINGS_MAX + 5

    def test_changes_nothing(self, path: Path) -> None:
        """Who verifies only looks, and holds up nobody who writes."""
        with SQLiteJournal(path) as journal:
            journal.append("eu", [logged(1)], at=AT)
            before = content_of(path.parent)
            assert journal.verify() == []
            assert content_of(path.parent) == before
            journal.append("eu", [logged(2)], at=AT)
            assert journal.verify() == []

    def test_not_there(self, tmp_path: Path) -> None:
        """Where there is no journal, that is found, and none is made."""
        assert kinds(tmp_path / "none.db") == ["head", "file"]
        assert list(tmp_path.iterdir()) == []


class TestDamagedFiles:
    """Damage below SQL: what comes of it is an error, a finding, or what was written."""

    def outcome(self, path: Path, expected: Any) -> str:
        """Return what comes of the journal at *path*; it is never something else unnoticed."""
        try:
            with SQLiteJournal(path) as journal:
                found = {run_id: journal.read(run_id) for run_id in journal.runs()}
                told = journal.notes or journal.verify()
        except JournalError as error:
            return type(error).__name__
        if found != expected:
            assert told, "records are lost, and nothing tells"
        return "told" if told else "whole"

    @pytest.mark.parametrize("state", ["closed", "crashed"])
    def test_truncated(self, source: Path, tmp_path: Path, state: str) -> None:
        """A file that was cut, at any page and at many bytes, is refused or told of."""
        expected = records_of(source)
        crashed = tmp_path / "crashed"
        with SQLiteJournal(image_of(source, tmp_path / "live")) as journal:
            for n in range(12):
                journal.append("eu", [logged(n)], at=AT)
            image_of(journal.database.path, crashed)
            grown = {run_id: journal.read(run_id) for run_id in journal.runs()}
        whole, expected = (source.parent, expected) if state == "closed" else (crashed, grown)
        outcomes: dict[str, set[str]] = {}
        for file in sorted(whole.iterdir()):
            if file.suffix.endswith("-shm"):
                continue
            data = file.read_bytes()
            sizes = {*range(0, len(data), 4096), *range(0, len(data), 997), *range(0, 700, 50)}
            sizes |= {max(len(data) - back, 0) for back in (1, 2, 24, 100)}
            for size in sorted(sizes - {len(data)}):
                target = image_of(whole / "j.db", tmp_path / f"{file.suffix}{size}")
                (target.parent / file.name).write_bytes(data[:size])
                outcomes.setdefault(file.name, set()).add(self.outcome(target, expected))

        assert "JournalIntegrityError" in outcomes["j.db.head"]
        if state == "closed":
            assert "whole" not in outcomes["j.db"]
        else:  # where the -wal may hold again what the file has lost
            assert outcomes["j.db-wal"] == {"JournalIntegrityError"}

    @pytest.mark.parametrize("state", ["closed", "crashed"])
    def test_flipped(self, source: Path, tmp_path: Path, state: str) -> None:
        """A flipped bit, wherever in the files it is, changes no record unnoticed."""
        path = image_of(source, tmp_path / "live")
        with SQLiteJournal(path) as journal:
            for n in range(12):
                journal.append("eu", [logged(n)], at=AT)
            image_of(path, tmp_path / "crashed")
            expected = {run_id: journal.read(run_id) for run_id in journal.runs()}
        whole = path.parent if state == "closed" else tmp_path / "crashed"
        noticed = 0
        for file in sorted(whole.iterdir()):
            if file.suffix.endswith("-shm"):
                continue
            data = file.read_bytes()
            step = max(len(data) // 60, 1) | 1
            for number, place in enumerate(range(0, len(data), step)):
                target = image_of(whole / "j.db", tmp_path / f"{file.suffix}{place}")
                flipped = bytearray(data)
                flipped[place] ^= 1 << number % 8
                (target.parent / file.name).write_bytes(flipped)
                noticed += self.outcome(target, expected) != "whole"

        assert noticed > 20
