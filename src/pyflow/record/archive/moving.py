"""`archive_runs`: write runs to archives, and only then remove them from the journal.

In this order, for each archive: it is written under another name, made
durable, read back and verified; then one commit records the cut and removes
the records. A crash before that commit leaves an archive that nobody knows
of, and a journal that has everything; after it, both are as they should be.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.errors import JournalError, JournalIntegrityError, shown
from pyflow.frozen import frozen
from pyflow.record.archive.files import Writer
from pyflow.record.archive.selecting import Kept, Past, Policy, chosen, pasts_of
from pyflow.record.archive.verifying import verify_archive
from pyflow.record.events import RecordsArchived
from pyflow.record.ledger import ledger_of
from pyflow.record.sqlite.commit import Tail
from pyflow.record.sqlite.cuts import HELD, Cut, Gap, cuts_in
from pyflow.record.sqlite.faults import FAULTS, journal_error
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.opening import uri_of
from pyflow.record.sqlite.tip import START, Tip
from pyflow.spans import seconds

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from pyflow.spans import Span

__all__ = ["RECORDS_MAX", "Moved", "archive_runs"]

RECORDS_MAX = 50_000
"""How many records go into one archive, unless one run has more: they are removed in one commit,
for which everybody who writes the journal has to wait."""

ALL = "SELECT n, run_id, line FROM records ORDER BY n"
NUMBERS = "SELECT n, seq FROM records WHERE run_id = ? ORDER BY seq"
ROWS = "SELECT n, commit_no, line, chain FROM records WHERE n BETWEEN ? AND ? ORDER BY n"
BEFORE = "SELECT n, commit_no, chain FROM records WHERE n = ?"


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of archiving."""

    cuts: tuple[Cut, ...]
    """What was removed, an archive each, as the journal records it."""

    kept: tuple[Kept, ...]
    """Runs that were meant and that stay, and why."""

    paths: tuple[Path, ...]
    """Where the archives are."""

    def __bool__(self) -> bool:
        return bool(self.cuts)


@frozen
class _Load:
    """What goes into one archive."""

    runs: tuple[str, ...]
    ends: dict[str, Tail]
    beside: tuple[str, ...]
    numbers: tuple[int, ...]


def archive_runs(
    path: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    at: datetime,
    by: str,
    older_than: Span | None = None,
    keep_last: int | None = None,
    records_max: int = RECORDS_MAX,
    compact: bool = False,
) -> Moved:
    """Move finished runs from the journal at *path* to archives in *directory*.

    A run has to fit every condition that is given. These stay whatever the
    conditions: runs that have not ended, have residue, are named by a lock or
    were the last to have one; the last that succeeded of each service, and of
    each workflow, in each environment; and the run with which the journal ends.

    Others may deploy meanwhile. What was told about a run goes with it.

    Args:
        path: The journal.
        directory: Where the archives go; it is made if it is not there.
        at: What time it is.
        by: Who does it; it is recorded.
        older_than: Runs that ended longer ago than this.
        keep_last: All but so many of the newest of each workflow in each
            environment.
        records_max: How many records go into one archive, at most, unless one
            run has more.
        compact: Whether to give the room back to the file system at the end,
            for which everybody who writes the journal has to wait.

    Raises:
        JournalError: Neither condition is given, or something cannot be read
            or written. Every run is in the journal, or in an archive that the
            journal names.
        JournalIntegrityError: The records are not what was written, so they
            were left where they are.
    """
    policy, words = _policy(at, older_than, keep_last)
    place, target = Path(path).resolve(), Path(directory)
    if not place.is_file():
        raise JournalError(f"there is no journal {shown(str(path))}; name one that is there")
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(
            f"{shown(str(directory))} cannot be a directory for archives: {error.strerror}; "
            "name another one"
        ) from error
    with SQLiteJournal(place) as journal:
        end = journal.database.head.level()
        taken, kept = _chosen(place, policy, end)
        cuts: list[Cut] = []
        paths: list[Path] = []
        for load in _loads(place, taken, records_max):
            cut, file = _moved(journal, load, target, at=at, by=by, reason=words)
            cuts.append(cut)
            paths.append(file)
        if compact and cuts:
            journal.compact()
    return Moved(tuple(cuts), tuple(kept), tuple(paths))


def _policy(at: datetime, older_than: Span | None, keep_last: int | None) -> tuple[Policy, str]:
    if older_than is None and keep_last is None:
        raise JournalError("nothing says what to archive; give older_than=, keep_last=, or both")
    if keep_last is not None and (type(keep_last) is not int or keep_last < 0):
        raise JournalError(f"keep_last={shown(keep_last)} must be a whole number from 0")
    if at.utcoffset() is None:
        raise JournalError(f"at={at!r} has no time zone; use datetime.now(UTC) and the like")
    before: str | None = None
    words: list[str] = []
    if older_than is not None:
        span_s = seconds(older_than, what="older_than", zero=True)
        then = (at - timedelta(seconds=span_s)).astimezone(UTC)
        before = then.isoformat("T", "microseconds")[: -len("+00:00")] + "Z"
        words.append(f"ended before {before}")
    if keep_last is not None:
        words.append(f"not among the last {keep_last} of a workflow in its environment")
    return Policy(before, keep_last), "; ".join(words)


def _reader(path: Path) -> closing[sqlite3.Connection]:
    uri = uri_of(path, mode="ro")
    return closing(sqlite3.connect(uri, uri=True, timeout=30.0, isolation_level=None))


def _chosen(path: Path, policy: Policy, end: int) -> tuple[list[Past], list[Kept]]:
    try:
        with _reader(path) as reader:
            reader.execute("BEGIN")
            held = {run_id for _, run_id in reader.execute(HELD)}
            pasts, lockers = pasts_of(reader.execute(ALL))
    except FAULTS as error:
        raise journal_error(error, path, "reading") from error
    return chosen(pasts, policy, lockers=lockers, held=held, end=end)


def _loads(path: Path, taken: Sequence[Past], records_max: int) -> Iterator[_Load]:
    """Yield what goes into each archive, in order."""
    batch: list[Past] = []
    ends: dict[str, Tail] = {}
    beside: list[str] = []
    numbers: list[int] = []
    for past in taken:
        chains = _chains(path, past.run_id)
        mine = [n for found, _ in chains.values() for n in found]
        if batch and len(numbers) + len(mine) > records_max:
            yield _load(batch, ends, beside, numbers)
            batch, ends, beside, numbers = [], {}, [], []
        batch.append(past)
        numbers += mine
        for run_id, (found, tail) in chains.items():
            if found:
                ends[run_id] = tail
            else:
                beside.append(run_id)
    if batch:
        yield _load(batch, ends, beside, numbers)


def _load(
    batch: Sequence[Past], ends: dict[str, Tail], beside: list[str], numbers: list[int]
) -> _Load:
    runs = tuple(past.run_id for past in batch)
    return _Load(runs, ends, tuple(beside), tuple(sorted(numbers)))


def _chains(path: Path, run_id: str) -> dict[str, tuple[list[int], Tail]]:
    """Return where the records of a run stand, and what was told about it, and where each ends."""
    found: dict[str, tuple[list[int], Tail]] = {}
    with _reader(path) as reader:
        for name in (run_id, ledger_of(run_id)):
            rows = reader.execute(NUMBERS, (name,)).fetchall()
            found[name] = [n for n, _ in rows], Tail(rows[-1][1] if rows else 0, "")
    return found


def _moved(
    journal: SQLiteJournal, load: _Load, target: Path, *, at: datetime, by: str, reason: str
) -> tuple[Cut, Path]:
    path = journal.database.path
    file, digest, gaps = _written(path, journal.database.id, load, target)
    found = verify_archive(file, digest=digest)
    if not found.ok:
        file.unlink()
        raise JournalIntegrityError(
            f"the records of {len(load.runs)} runs are not what was written, so they stay where "
            f"they are ({found.text}); see what verify() finds",
            path=str(path),
            problem="rewritten",
        )
    event = RecordsArchived(
        archive=file.name,
        digest=digest,
        records=len(load.numbers),
        upto=load.numbers[-1],
        runs=list(load.runs),
        parts=[[gap.first, gap.end.n, gap.end.commit, gap.end.chain] for gap in gaps],
        reason=reason,
        by=by,
    )
    journal.cut(event, at=at, gaps=gaps, ends=load.ends, beside=load.beside)
    with _reader(path) as reader:
        return cuts_in(reader)[-1], file


def _written(
    path: Path, database_id: str, load: _Load, target: Path
) -> tuple[Path, str, list[Gap]]:
    """Write an archive, and return where it is, its digest, and the gaps that it will leave."""
    about = {
        "first": load.numbers[0],
        "journal": database_id,
        "last": load.numbers[-1],
        "records": len(load.numbers),
        "runs": len(load.runs),
    }
    writer = Writer(target, path.stem, about)
    gaps: list[Gap] = []
    try:
        with _reader(path) as reader:
            reader.execute("BEGIN")
            for first, last in _stretches(load.numbers):
                writer.begin(_before(reader, first))
                end = START
                for n, commit, line, chain in reader.execute(ROWS, (first, last)):
                    end = Tip(n, commit, chain)
                    writer.add(end, line)
                gaps.append(Gap(first, end))
        file, digest = writer.finish()
    except FAULTS as error:
        raise journal_error(error, path, "reading") from error
    finally:
        writer.close()
    return file, digest, gaps


def _stretches(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the ends of each stretch of *numbers*, which are sorted, without a gap in it."""
    stretches: list[tuple[int, int]] = []
    for n in numbers:
        if stretches and stretches[-1][1] == n - 1:
            stretches[-1] = stretches[-1][0], n
        else:
            stretches.append((n, n))
    return stretches


def _before(reader: sqlite3.Connection, first: int) -> Tip:
    """Return where the journal ended before record *first*, which may be in a gap itself."""
    if first == 1:
        return START
    row = reader.execute(BEFORE, (first - 1,)).fetchone()
    if row is not None:
        return Tip(*row)
    ends = {gap.end.n: gap.end for cut in cuts_in(reader) for gap in cut.gaps}
    if first - 1 in ends:
        return ends[first - 1]
    raise JournalError(
        f"record {first - 1} of the journal is missing; see what verify() finds, and archive then"
    )
