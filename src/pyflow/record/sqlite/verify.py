"""Read a whole journal, and tell whatever in it is not as it was written.

Every row is held against itself (its hash), against the row before it (the
chain of the journal), against its run (number and predecessor), and in the
end everything against the head, the index of runs and SQLite's own check.
The inbox is not covered: what counts of it is in the record.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.errors import JournalError
from pyflow.frozen import frozen
from pyflow.record.codec import GENESIS, decode_line
from pyflow.record.events import RunFinished
from pyflow.record.skim import Skimmed, skim
from pyflow.record.sqlite.commit import UNFINISHED, workflow_of
from pyflow.record.sqlite.cuts import Cut, cuts_in
from pyflow.record.sqlite.faults import FAULTS
from pyflow.record.sqlite.head import Head, read_head
from pyflow.record.sqlite.opening import head_path, uri_of
from pyflow.record.sqlite.tip import START, Tip, link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pyflow.record.sqlite.cuts import Gap

__all__ = [
    "FINDINGS_MAX",
    "ROWS",
    "Examined",
    "Finding",
    "Kind",
    "Reader",
    "Row",
    "examine",
    "findings_of",
]

Kind: TypeAlias = Literal[
    "modified", "missing", "reordered", "duplicated", "unchained", "truncated", "head", "index",
    "file", "rewritten", "forged", "key", "clock", "torn", "end", "archive",
]  # fmt: skip
"""What can be wrong: with a record, its place, the end, what surrounds it, anchors and clocks."""

Row: TypeAlias = tuple[int, bytes | None, Any, Any, bytes | None, bytes | None]
"""A row of `records`: number, run, number in the run, commit, line and link of the chain.

What is None was NULL, which only damage can make of it.
"""

# As bytes, because a damaged text may be none.
ROWS = """
SELECT n, CAST(run_id AS BLOB), seq, commit_no, CAST(line AS BLOB), CAST(chain AS BLOB)
FROM records ORDER BY n
"""
ENTRIES = "SELECT CAST(run_id AS BLOB), began, records, workflow, status FROM runs"
ENDS = ("run_started", "run_finished")
FINDINGS_MAX = 1000
SET_BACK_MAX = 100


@frozen
class Finding:
    """Something that is not as it was written."""

    kind: Kind
    """What is wrong, in a word."""

    text: str
    """What is wrong, in a sentence."""

    n: int | None = None
    """The number in the journal at which it is."""

    run_id: str | None = None
    """The run that it is about, as far as that is known."""

    seq: int | None = None
    """The number in that run."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


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
    mended = _Mended(reader, chains, archives or {})
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


class Reader:
    """Takes the rows of a journal in order, and collects what does not fit."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._end = (START.n, START.commit, START.chain)
        self.runs: dict[str, _Run] = {}
        self.set_back: list[tuple[int, str, int]] = []
        """Where the clock went back within a run; the first hundred."""
        self.heads: dict[tuple[str, int], str] = {}
        """Hashes of the records that were asked for, by run and number in it."""
        self._links: tuple[str, ...] = (START.chain,)
        """What the link before may have been, after one that did not fit."""

    @property
    def n(self) -> int:
        """The number of the last record that was read."""
        return self._end[0]

    @property
    def tip(self) -> Tip:
        """Where what was read ends."""
        return Tip(*self._end)

    @tip.setter
    def tip(self, tip: Tip) -> None:
        self._end = (tip.n, tip.commit, tip.chain)

    def jump(self, tip: Tip) -> None:
        """Go on after *tip*: what stood before it is not here."""
        self.tip, self._links = tip, (tip.chain,)

    def copy(self) -> Reader:
        """Return a reader that has read the same, and found nothing yet."""
        copied = Reader()
        copied.tip, copied._links = self.tip, self._links
        copied.runs = {run_id: run.copy() for run_id, run in self.runs.items()}
        return copied

    def read(self, row: Row) -> None:
        """Take the next row."""
        n, run_id, seq, commit, line, chain = row
        self._check_number(n)
        record, place = _intact(line), (_text(run_id), seq)
        if record is None:
            text = f"record {n} of the journal was changed after it was written"
            self._found("modified", text, n, *place)
        elif (record.run_id, record.seq) != place:
            self._found(*self._displaced(n, record), record.run_id, record.seq)
            record = None
        if record is None or line is None:
            self._pass_over(n, *place)
        else:
            self._check_run(n, record, line)
        self._check_link(n, commit, record, _text(chain))

    def finish(self) -> None:
        """Take note of what never came."""
        for run_id, run in self.runs.items():
            for seq, n in (run.holes or {}).items():
                self._found("missing", f"record {seq} of run {run_id!r} is missing", n, run_id, seq)

    # One thing at a time ------------------------------------------------------------------

    def _check_number(self, n: int) -> None:
        expected = self._end[0] + 1
        if n > expected:
            gone = f"{n - expected} records of the journal are missing before record {n}"
            self._found("missing", gone, expected)
        elif n < expected:
            self._found("duplicated", f"record {n} has a number that no record can have", n)

    def _displaced(self, n: int, record: Skimmed) -> tuple[Kind, str, int]:
        """Return what to say of an intact record in the place of another."""
        run = self.runs.get(record.run_id)
        was_read = run and record.seq <= run.seq and record.seq not in (run.replaced or ())
        text = (
            f"record {n} of the journal is record {record.seq} of run {record.run_id!r}, in the "
            "place of another one"
        )
        return "duplicated" if was_read else "reordered", text, n

    def _pass_over(self, n: int, run_id: str, seq: Any) -> None:
        """Go on after a row that can only be told by its place."""
        run = self.runs.get(run_id)
        if run is None:
            run = self.runs[run_id] = _Run(n, None)
        run.replaced = {*(run.replaced or ()), seq}
        if seq == run.seq + 1:
            run.seq, run.hash = seq, ""

    def _check_run(self, n: int, record: Skimmed, line: bytes) -> None:
        run_id, seq = record.run_id, record.seq
        run = self.runs.get(run_id)
        if run is None:
            run = self.runs[run_id] = _Run(n, _workflow(record, line))
        if run.holes and run.holes.pop(seq, None) is not None:
            self._found("reordered", f"record {seq} of run {run_id!r} is too late", n, run_id, seq)
        elif seq <= run.seq:
            text = f"record {seq} of run {run_id!r} is there twice"
            self._found("duplicated", text, n, run_id, seq)
        else:
            self._follow(run, n, record, line)

    def _follow(self, run: _Run, n: int, record: Skimmed, line: bytes) -> None:
        expected = run.seq + 1
        if record.seq > expected:
            skipped = range(expected, min(record.seq, expected + FINDINGS_MAX))
            run.holes = {**(run.holes or {}), **dict.fromkeys(skipped, n)}
        elif run.hash not in ("", record.prev):
            text = f"record {record.seq} of run {record.run_id!r} does not follow the one before it"
            self._found("unchained", text, n, record.run_id, record.seq)
        if record.at < run.at and len(self.set_back) < SET_BACK_MAX:
            self.set_back.append((n, record.run_id, record.seq))
        run.seq, run.hash, run.at = record.seq, record.hash, record.at
        run.status = _status(record, line)
        if self.heads and (record.run_id, record.seq) in self.heads:
            self.heads[record.run_id, record.seq] = record.hash

    def _check_link(self, n: int, commit: Any, record: Skimmed | None, chain: str) -> None:
        if record is not None and len(self._links) == 1:  # as it is where all is well
            expected = link(self._links[0], commit, record.hash)
            if chain == expected:
                self._links, self._end = (chain,), (n, commit, chain)
                return
        links = [link(before, commit, record.hash) for before in self._links] if record else []
        if links and chain not in links:
            self._found("unchained", f"the chain of the journal is broken at record {n}", n)
        self._links = (chain,) if chain in links else (chain, *links[:1])
        self._end = (n, commit, chain)

    def _found(
        self, kind: Kind, text: str, n: int, run_id: str | None = None, seq: int | None = None
    ) -> None:
        self.findings.append(Finding(kind, text, n, run_id, seq))


class _Run:
    """What has been read of one run; a journal may have very many."""

    __slots__ = ("at", "began", "hash", "holes", "replaced", "seq", "status", "workflow")

    def __init__(self, began: int, workflow: str | None) -> None:
        self.began = began
        self.workflow = workflow
        self.status = ""
        self.at = ""
        self.seq, self.hash = 0, GENESIS
        self.holes: dict[int, int] | None = None
        """Numbers that were passed over, and where."""
        self.replaced: set[int] | None = None
        """Numbers in whose place stands something else."""

    def copy(self) -> _Run:
        copied = _Run(self.began, self.workflow)
        copied.status, copied.at = self.status, self.at
        copied.seq, copied.hash = self.seq, self.hash
        copied.holes = dict(self.holes) if self.holes else None
        copied.replaced = set(self.replaced) if self.replaced else None
        return copied

    def entry(self) -> tuple[Any, ...]:
        """Return what the index of runs has to say."""
        return self.began, self.seq, self.workflow, self.status


# A whole journal --------------------------------------------------------------------------


class _Mended:
    """Closes the gaps that archiving has left: by what is archived, or by passing over them."""

    def __init__(
        self,
        reader: Reader,
        chains: dict[int, str],
        archives: Mapping[str, Callable[[], Iterator[Row]]],
    ) -> None:
        self.cuts: list[Cut] = []
        self.passed: list[Gap] = []
        self.elsewhere: dict[str, None] = {}
        """Runs that were read in archives, of which the index of runs says nothing."""
        self._reader = reader
        self._chains = chains
        self._archives = archives
        self._rows: dict[str, Iterator[Row]] = {}
        self._gaps: dict[int, tuple[Gap, Cut]] = {}

    def look(self, connection: sqlite3.Connection) -> None:
        """Take note of what was removed."""
        self.cuts = cuts_in(connection)
        self._gaps = {gap.first: (gap, cut) for cut in self.cuts for gap in cut.gaps}

    def before(self, n: int) -> None:
        """Close the gaps up to record *n*."""
        while (found := self._gaps.get(self._reader.n + 1)) is not None:
            gap, cut = found
            if gap.end.n >= n:
                return
            if cut.digest in self._archives:
                self._fill(gap, cut)
            else:
                self.passed.append(gap)
                self._reader.jump(gap.end)
            self._mark(gap.end.n)
            if self._reader.n < gap.end.n:  # what was to fill it did not; it is told below
                self._reader.jump(gap.end)

    def _fill(self, gap: Gap, cut: Cut) -> None:
        rows = self._rows.get(cut.digest)
        if rows is None:
            rows = self._rows[cut.digest] = self._archives[cut.digest]()
        for row in rows:
            self._reader.read(row)
            self.elsewhere[_text(row[1])] = None
            self._mark(row[0])
            if row[0] >= gap.end.n:
                return

    def _mark(self, n: int) -> None:
        if n in self._chains:
            self._chains[n] = self._reader.tip.chain


def _read(
    connection: sqlite3.Connection,
    reader: Reader,
    head: Head | None,
    chains: dict[int, str],
    mended: _Mended | None = None,
) -> None:
    found = reader.findings
    mended = mended or _Mended(reader, chains, {})
    mended.look(connection)
    for row in connection.execute(ROWS):
        if row[0] != reader.n + 1:
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
        run_id, said = _text(row[0]), tuple(row[1:])
        unsaid.pop(run_id, None)
        _check_entry(reader.runs.get(run_id), run_id, said, damaged, found)
    for run_id in unsaid:
        _check_entry(reader.runs[run_id], run_id, None, damaged, found)


def _check_entry(
    run: _Run | None, run_id: str, said: Any, damaged: set[str | None], found: list[Finding]
) -> None:
    read = run.entry() if run is not None else None
    if run_id not in damaged and read != said:
        text = f"run {run_id!r} is {read} by its records, and {said} by the index of runs"
        found.append(Finding("index", text, run.began if run else None, run_id))


def _intact(line: bytes | None) -> Skimmed | None:
    """Return the record in *line*, if it is as it was written."""
    record = skim(line) if line is not None else None  # a flipped bit can make it NULL
    if record is None or line is None or record.kind not in ENDS:
        return record
    try:
        decode_line(line.decode("ascii"))  # what these say is read below
    except (JournalError, UnicodeDecodeError):
        return None
    return record


def _workflow(record: Skimmed, line: bytes) -> str | None:
    if record.kind != "run_started":
        return None
    name = workflow_of(decode_line(line.decode()).event)
    return sys.intern(name) if name is not None else None  # few names, and very many runs


def _status(record: Skimmed, line: bytes) -> str:
    if record.kind != RunFinished.kind:
        return UNFINISHED
    event = decode_line(line.decode()).event
    return sys.intern(event.status) if isinstance(event, RunFinished) else UNFINISHED


def _text(data: Any) -> str:
    return data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else repr(data)


def _lenient(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
