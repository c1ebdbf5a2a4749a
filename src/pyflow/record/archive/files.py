"""The file of an archive: JSON Lines, compressed, with a checksum of its own.

Line by line, before compression::

    {"archive":"pyflow-archive/1","first":N,"journal":"…","last":N,"records":N,"runs":N}
    {"after":{"chain":"…","commit":N,"n":N}}
    {"chain":"…","commit":N,"n":N,"record":{…as it was stored…}}
    {"end":{"records":N,"sha256":"…"}}

An ``after`` line stands before each stretch of records that stood one after
the other: it is where the journal ended before them, so each record is chained
to the one before it in the archive alone. The digest of an archive is SHA-256
of all lines before the last: ``zcat FILE | head -n -1 | sha256sum`` gives it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pyflow.errors import JournalError, nearest, shown
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import canonical, decode_line, verify_chain
from pyflow.record.ledger import is_ledger
from pyflow.record.skim import skim
from pyflow.record.sqlite.schema import sync_directory
from pyflow.record.sqlite.tip import Tip

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pyflow.record.codec import Record
    from pyflow.record.sqlite.reading import Row

__all__ = ["FORMAT", "Archive", "Line", "Writer", "digest_of", "lines_of"]

FORMAT = "pyflow-archive/1"
ROW = re.compile(rb'\{"chain":"([0-9a-f]{64})","commit":(\d{1,15}),"n":(\d{1,15}),"record":(.*)\}')
UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file raises that is cut or damaged; `gzip.BadGzipFile` is an `OSError`."""
LINE_BYTES_MAX = 1 << 26


# Writing ----------------------------------------------------------------------------------


class Writer:
    """Writes one archive: under another name, until it is durable as a whole.

    Args:
        directory: Where it goes; it has to be there.
        stem: How its name begins.
        about: What its first line says: ``first journal last records runs``.

    Raises:
        JournalError: It cannot be written.
    """

    def __init__(self, directory: Path, stem: str, about: dict[str, Any]) -> None:
        self._directory = directory
        self._stem = stem
        self._about = about
        self._hash = hashlib.sha256()
        self._records = 0
        self._draft = directory / f".{stem}.{os.urandom(4).hex()}.new"
        try:
            fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(directory, error) from error
        self._file: BinaryIO = os.fdopen(fd, "wb")
        # Without a name and an instant, equal records are equal bytes.
        self._packed = gzip.GzipFile("", "wb", fileobj=self._file, mtime=0)
        self._put(canonical({"archive": FORMAT, **about}))

    def begin(self, after: Tip) -> None:
        """Begin a stretch of records, after *after*."""
        place = {"chain": after.chain, "commit": after.commit, "n": after.n}
        self._put(canonical({"after": place}))

    def add(self, tip: Tip, line: str) -> None:
        """Add the record stored as *line*, with which the journal ended at *tip*."""
        self._records += 1
        head = f'{{"chain":"{tip.chain}","commit":{tip.commit},"n":{tip.n},"record":'
        self._put(f"{head}{line}}}")

    def finish(self) -> tuple[Path, str]:
        """Make the file durable under its own name, and return where it is, and its digest.

        The name holds the beginning of the digest, so no archive is ever
        overwritten by one that holds something else.
        """
        digest = self._hash.hexdigest()
        self._put(canonical({"end": {"records": self._records, "sha256": digest}}))
        first, last = self._about["first"], self._about["last"]
        path = self._directory / f"{self._stem}-{first}-{last}-{digest[:12]}.jsonl.gz"
        try:
            self._packed.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.replace(path)
            sync_directory(self._directory)
        except OSError as error:
            raise _unwritable(self._directory, error) from error
        return path, digest

    def close(self) -> None:
        """Let go of the file, and remove what was not finished."""
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def _put(self, text: str) -> None:
        data = f"{text}\n".encode()
        self._hash.update(data)
        try:
            self._packed.write(data)
        except OSError as error:
            raise _unwritable(self._directory, error) from error


def _unwritable(directory: Path, error: OSError) -> JournalError:
    return JournalError(
        f"no archive can be written to {directory}: {error.strerror or error}; nothing was "
        "removed from the journal. Name a directory with room that this user may write to"
    )


# Reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an archive, read no further than its kind."""

    number: int
    """Its number, from 1."""

    row: Row | None = None
    """The record, as a row of a journal; its run and number are those that it says itself."""

    after: Tip | None = None
    """Where the journal ended before the records that follow."""

    about: dict[str, Any] | None = None
    """What the first line says."""

    end: dict[str, Any] | None = None
    """What the last line says."""

    digest: str = ""
    """With the last line: SHA-256 of those before it."""


def lines_of(path: Path) -> Iterator[Line]:
    """Yield the lines of the archive at *path*.

    A line that is none comes as one of which nothing is known.

    Raises:
        OSError: The file cannot be read.
        EOFError: It is cut.
        zlib.error: It is damaged.
    """
    sha = hashlib.sha256()
    with gzip.open(path, "rb") as file:
        number = 0
        while data := file.readline(LINE_BYTES_MAX):
            number += 1
            yield _line(number, data, sha.hexdigest() if data.startswith(b'{"end":') else "")
            sha.update(data)


def _line(number: int, data: bytes, digest: str) -> Line:
    if not data.endswith(b"\n"):
        return Line(number)
    found = ROW.fullmatch(data, 0, len(data) - 1)
    if found is None:
        return _about(number, data[:-1], digest)
    chain, commit, n, line = found.groups()
    record = skim(line)
    run_id = record.run_id.encode("utf-8", "surrogatepass") if record is not None else None
    row: Row = (int(n), run_id, record and record.seq, int(commit), line, chain)
    return Line(number, row=row)


def _about(number: int, data: bytes, digest: str) -> Line:
    """Return a line that is no record: the first, the last, or the beginning of a stretch."""
    try:
        raw = json.loads(data)
        match raw:
            case _ if canonical(raw).encode() != data:
                pass
            case {"archive": form, "records": int()} if form == FORMAT:
                return Line(number, about=raw)
            case {"after": {"chain": str(chain), "commit": int(commit), "n": int(n)}}:
                return Line(number, after=Tip(n, commit, chain))
            case {"end": {"records": int(), "sha256": str()}}:
                return Line(number, end=raw["end"], digest=digest)
            case _:
                pass
    except (ValueError, TypeError, RecursionError):
        pass
    return Line(number)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive, to look things up in. What it holds is trusted no further than `verify_archive` says."""

    path: str | os.PathLike[str]
    """The file."""

    def runs(self) -> list[str]:
        """Return the ids of its runs, in the order in which they began.

        Raises:
            JournalError: It cannot be read.
        """
        return list(dict.fromkeys(run_id for run_id, _ in self._lines() if not is_ledger(run_id)))

    def trail(self, run_id: str) -> AuditTrail:
        """Return the audit trail of a run, whose chain was checked.

        Raises:
            JournalError: There is no such run; the error names the nearest.
            TamperedJournal: A record is not what was written.
        """
        records: list[Record] = []
        known: dict[str, None] = {}
        for name, line in self._lines():
            known[name] = None
            if name == run_id:
                records.append(decode_line(line))
        if not records:
            near = nearest(run_id, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise JournalError(f"no run {shown(run_id)} is in {self.path}{hint}")
        verify_chain(records)
        return AuditTrail(records)

    def rows(self) -> Iterator[Row]:
        """Yield its records as the rows that a journal had.

        Raises:
            JournalError: It cannot be read.
        """
        with told(self.path):
            for line in lines_of(Path(self.path)):
                if line.row is not None:
                    yield line.row

    def _lines(self) -> Iterable[tuple[str, str]]:
        for _, run_id, _, _, line, _ in self.rows():
            if run_id is not None and line is not None:
                yield run_id.decode("utf-8", "surrogatepass"), line.decode("ascii")


def digest_of(path: str | os.PathLike[str]) -> str:
    """Return the digest of the archive at *path*, by what it holds, whatever it says itself.

    Raises:
        JournalError: It cannot be read, or has no end.
    """
    last = None
    with told(path):
        for line in lines_of(Path(path)):
            last = line
    if last is None or last.end is None or last.digest != last.end.get("sha256"):
        raise JournalError(
            f"the archive {shown(os.fspath(path))} is not as it was written: it does not end with "
            "its own checksum; put it back from a copy"
        )
    return last.digest


@contextmanager
def told(path: str | os.PathLike[str]) -> Generator[None]:
    """Have what reading a file raises say what to do."""
    try:
        yield
    except UNREADABLE as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise JournalError(
            f"the archive {shown(os.fspath(path))} cannot be read: {said}; put it back from a copy"
        ) from error
