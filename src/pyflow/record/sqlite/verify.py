"""Read a whole journal, and tell whatever in it is not as it was written.

Every row is held against itself (its hash), against the row before it (the
chain of the journal), against its run (number and predecessor), and in the
end everything against the head, the index of runs and SQLite's own check.
The inbox is not covered: what counts of it is in the record.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError
from pyflow.frozen import frozen
from pyflow.record.sqlite.faults import FAULTS
from pyflow.record.sqlite.head import Head, read_head
from pyflow.record.sqlite.mending import Mended
from pyflow.record.sqlite.opening import head_path, uri_of
from pyflow.record.sqlite.reading import FINDINGS_MAX, Finding, Reader, text_of
from pyflow.record.sqlite.tip import START, Tip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pyflow.record.sqlite.cuts import Cut, Gap
    from pyflow.record.sqlite.reading import Row, Standing

__all__ = ["ROWS", "Examined", "examine", "findings_of"]

# As bytes, because a damaged text may be none.
ROWS = """
SELECT n, CAST(run_id AS BLOB), seq, commit_no, CAST(line AS BLOB), CAST(chain AS BLOB)
FROM records ORDER BY n
"""
ENTRIES = "SELECT CAST(run_id AS BLOB), began, records, workflow, status FROM runs"


@frozen
class Examined:
    """What came of reading a whole journal."""

    findings: tuple[Finding, ...]
    """Whatever is not as it was written, the first things first."""

    database_id: str | None
    """The journal's own name, as far as it can be read."""

    tip: Tip
    """Where it ends."""

    chains: dict[int, str]
    """The links of the chain at the records that were asked for."""

    set_back: tuple[tuple[int, str, int], ...]
    """Records that are earlier than the one before them in their run: number, run, number in it."""

    heads: dict[tuple[str, int], str]
    """Hashes of the records of runs that were asked for, by run and number in it."""

    runs: dict[str, int]
    """For each of those runs that was read, how many records it has."""

    cuts: tuple[Cut, ...] = ()
    """What was removed from the journal and is archived, in order."""

    passed: tuple[Gap, ...] = ()
    """Gaps that were passed over, because their archive was not given."""

    @property
    def absent(self) -> int:
        """How many records are archived, and were not read."""
        return sum(gap.end.n - gap.first + 1 for gap in self.passed)


def findings_of(path: Path) -> list[Finding]:
    """Return whatever is not as it was written in the journal at *path*, the first things first."""
    return list(examine(path).findings)


def examine(
    path: Path,
    marks: Iterable[int] = (),
    *,
    heads: Iterable[tuple[str, int]] = (),
    archives: Mapping[str, Callable[[], Iterator[Row]]] | None = None,
) -> Examined:
    """Read the journal at *path* from its first record to its last, and tell what is in it.

    It is read through a connection of its own that cannot write, so nobody
    who writes meanwhile is held up, and a journal that cannot be opened can
    be looked at all the same. What is kept of it grows with the number of
    its runs, not with that of its records.

    Args:
        path: Where it is.
        marks: Numbers of records whose links of the chain are wanted.
        heads: Runs and numbers in them of records whose hashes are wanted.
        archives: The records of archives, by their digests: they are read
            where they were. Other gaps are passed over.
    """
    found: list[Finding] = []
    head = _head(path, found)  # before the journal: it never says more than that
    reader, chains = Reader(), dict.fromkeys((*marks, *((head.tip.n,) if head else ())), "")
    reader.findings = found
    reader.heads = dict.fromkeys(heads, "")
    mended = Mended(reader, chains, archives or {})
    database_id: str | None = None
    try:
        with closing(
            sqlite3.connect(uri_of(path, mode="ro"), uri=True, isolation_level=None)
        ) as connection:
            connection.text_factory = _lenient
            connection.execute("BEGIN")
            database_id = _id_of(connection)
            _read(connection, reader, head, chains, mended)
    except (*FAULTS, OSError) as error:
        found.append(Finding("file", f"{path} cannot be read: {error}"))
    wanted = dict.fromkeys(run_id for run_id, _ in reader.heads)
    return Examined(
        tuple(found),
        database_id,
        reader.tip,
        chains,
        tuple(reader.set_back),
        reader.heads,
        {run_id: reader.runs[run_id].seq for run_id in wanted if run_id in reader.runs},
        tuple(mended.cuts),
        tuple(mended.passed),
    )


# A whole journal --------------------------------------------------------------------------


def _read(
    connection: sqlite3.Connection,
    reader: Reader,
    head: Head | None,
    chains: dict[int, str],
    mended: Mended,
) -> None:
    found = reader.findings
    mended.look(connection)
    for row in connection.execute(ROWS):
        if row[0] != reader.n + 1 and row[0] is not None:
            mended.before(row[0])
        reader.read(row)
        if row[0] in chains:
            chains[row[0]] = reader.tip.chain
        if len(found) >= FINDINGS_MAX:
            return
    reader.finish()
    _check_id(connection, head, found)
    _check_head(reader.tip, head, chains.get(head.tip.n) or START.chain if head else "", found)
    _check_entries(reader, connection, found, mended.elsewhere)
    for (text,) in connection.execute("PRAGMA integrity_check(10)"):
        if text != "ok":
            found.append(Finding("file", f"SQLite finds: {text}"))


def _head(path: Path, found: list[Finding]) -> Head | None:
    try:
        head = read_head(head_path(path))
    except (JournalError, OSError) as error:
        found.append(Finding("head", str(error)))
        return None
    if head is None:
        found.append(Finding("head", "the head file is missing, so the end may be missing too"))
    elif head.torn:
        found.append(Finding("head", "one of the two slots of the head cannot be read"))
    return head


def _id_of(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    return row[0] if row is not None else None


def _check_id(connection: sqlite3.Connection, head: Head | None, found: list[Finding]) -> None:
    if head is not None and _id_of(connection) != head.database_id:
        found.append(Finding("head", "the head is that of another journal"))


def _check_head(tip: Tip, head: Head | None, chain: str, found: list[Finding]) -> None:
    if head is None:
        return
    if tip.n < head.tip.n:
        text = f"the journal ends at record {tip.n}, and had {head.tip.n} by its head"
        found.append(Finding("truncated", text, tip.n + 1))
    elif chain != head.tip.chain:
        text = f"record {head.tip.n} is not the one that the head was written for"
        found.append(Finding("head", text, head.tip.n))


def _check_entries(
    reader: Reader,
    connection: sqlite3.Connection,
    found: list[Finding],
    elsewhere: Mapping[str, None],
) -> None:
    """Hold the index of runs against what was read, but for runs that are damaged anyway."""
    damaged = {finding.run_id for finding in found}
    unsaid = dict.fromkeys(run_id for run_id in reader.runs if run_id not in elsewhere)
    for row in connection.execute(ENTRIES):
        run_id, said = text_of(row[0]), tuple(row[1:])
        unsaid.pop(run_id, None)
        _check_entry(reader.runs.get(run_id), run_id, said, damaged, found)
    for run_id in unsaid:
        _check_entry(reader.runs[run_id], run_id, None, damaged, found)


def _check_entry(
    run: Standing | None, run_id: str, said: Any, damaged: set[str | None], found: list[Finding]
) -> None:
    read = run.entry() if run is not None else None
    if run_id not in damaged and read != said:
        text = f"run {run_id!r} is {read} by its records, and {said} by the index of runs"
        found.append(Finding("index", text, run.began if run else None, run_id))


def _lenient(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
