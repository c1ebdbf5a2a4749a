"""Reading a journal row by row: what does not fit, and where.

Rows of a sound journal follow one from the other, so what each has to end
with is known before it is read: the run, its number, the hash before it. Such
rows are held against that and hashed, and nothing is made of them; that is
what verifying many costs. Every other one is looked at closely.
"""

from __future__ import annotations

import hashlib
import sys
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.errors import JournalError
from pyflow.frozen import frozen
from pyflow.record.codec import GENESIS, decode_line
from pyflow.record.skim import ENDS, Skimmed, follower, skim
from pyflow.record.sqlite.commit import UNFINISHED, status_after, workflow_of
from pyflow.record.sqlite.tip import DOMAIN, START, Tip, link

if TYPE_CHECKING:
    from pyflow.record.events import Event

__all__ = ["FINDINGS_MAX", "Finding", "Kind", "Reader", "Row", "Standing", "text_of"]

Kind: TypeAlias = Literal[
    "modified", "missing", "reordered", "duplicated", "unchained", "truncated", "head", "index",
    "file", "rewritten", "forged", "key", "clock", "torn", "end", "archive",
]  # fmt: skip
"""What can be wrong: with a record, its place, the end, what surrounds it, anchors and clocks."""

Row: TypeAlias = tuple[Any, bytes | None, Any, Any, bytes | None, bytes | None]
"""A row of `records`: number, run, number in the run, commit, line and link of the chain.

What is None was NULL, which only damage can make of it.
"""

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


class Reader:
    """Takes the rows of a journal in order, and collects what does not fit."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.runs: dict[str, Standing] = {}
        self.set_back: list[tuple[int, str, int]] = []
        """Where the clock went back within a run; the first hundred."""
        self.heads: dict[tuple[str, int], str] = {}
        """Hashes of the records that were asked for, by run and number in it."""
        self._end = (START.n, START.commit, START.chain.encode())
        self._links: tuple[bytes, ...] = (START.chain.encode(),)
        """What the link before may have been; more than one after one that did not fit."""
        self._turned_to: bytes | None = None
        """The run of the row before, as it stands there, and what follows in it."""
        self._run: Standing | None = None
        self._run_id = ""
        self._name = b""
        self._commit: int | None = None
        """The commit of the row before, and what its links are hashed with."""
        self._tag = b""

    @property
    def n(self) -> int:
        """The number of the last record that was read."""
        return self._end[0]

    @property
    def tip(self) -> Tip:
        """Where what was read ends."""
        n, commit, chain = self._end
        return Tip(n, commit, chain.decode())

    def jump(self, tip: Tip) -> None:
        """Go on after *tip*: what stood before it is not here."""
        chain = tip.chain.encode()
        self._end, self._links = (tip.n, tip.commit, chain), (chain,)

    def copy(self) -> Reader:
        """Return a reader that has read the same, and found nothing yet."""
        copied = Reader()
        copied._end, copied._links = self._end, self._links
        copied.runs = {run_id: run.copy() for run_id, run in self.runs.items()}
        return copied

    def read(self, row: Row) -> None:
        """Take the next row."""
        if not self._takes(row):
            self._turned_to = self._run = None
            self._examine(row)

    def _takes(self, row: Row) -> bool:
        """Take the next row if all of it could be foretold; most rows of a journal can be."""
        n, run_id, seq, commit, line, chain = row
        if run_id != self._turned_to:
            self._turn_to(run_id)
        run = self._run
        if (
            run is None
            or line is None
            or seq != run.seq + 1
            or n != self._end[0] + 1
            or type(commit) is not int
            or len(self._links) != 1
        ):
            return False
        found = follower(line, self._name, run.hash, seq)
        expected = self._linked(commit, found[0]) if found is not None else b""
        if found is None or chain != expected:
            return False
        if found[1] < run.at:
            self._note_set_back(n, self._run_id, seq)
        run.seq, (run.hash, run.at), run.status = seq, found, UNFINISHED
        if self.heads:
            self._note_head(self._run_id, seq, run.hash)
        self._end, self._links = (n, commit, expected), (expected,)
        return True

    def _turn_to(self, run_id: bytes | None) -> None:
        """Get ready for rows of *run_id*: they come in a row, as long as it is alone."""
        self._turned_to, self._run_id = run_id, text_of(run_id)
        self._run = self.runs.get(self._run_id)
        self._name = encode_basestring_ascii(self._run_id).encode()

    def _linked(self, commit: int, digest: bytes) -> bytes:
        """Return what `link` does, for bytes; the number of a commit is the same for many rows."""
        if commit != self._commit:
            self._commit, self._tag = commit, f"{DOMAIN}{commit}:".encode()
        data = b"%b%b:%b" % (self._tag, self._links[0], digest)
        return hashlib.sha256(data).hexdigest().encode()

    def _examine(self, row: Row) -> None:
        """Take the next row, and tell what is wrong with it."""
        n, run_id, seq, commit, line, chain = row
        if n is None:  # the definition of the table is damaged, and with it what every row holds
            self._found("file", "a record has no number, so the table is damaged", self.n + 1)
            return
        self._check_number(n)
        (record, event), place = _intact(line), (text_of(run_id), seq)
        if record is None:
            text = f"record {n} of the journal was changed after it was written"
            self._found("modified", text, n, *place)
        elif (record.run_id, record.seq) != place:
            self._found(*self._displaced(n, record), record.run_id, record.seq)
            record = None
        if record is None:
            self._pass_over(n, *place)
        else:
            self._check_run(n, record, event)
        self._check_link(n, commit, record, text_of(chain).encode())

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
            run = self.runs[run_id] = Standing(n, None)
        run.replaced = {*(run.replaced or ()), seq}
        if seq == run.seq + 1:
            run.seq, run.hash = seq, b""

    def _check_run(self, n: int, record: Skimmed, event: Event | None) -> None:
        run_id, seq = record.run_id, record.seq
        run = self.runs.get(run_id)
        if run is None:
            run = self.runs[run_id] = Standing(n, _workflow(event))
        if run.holes and run.holes.pop(seq, None) is not None:
            self._found("reordered", f"record {seq} of run {run_id!r} is too late", n, run_id, seq)
        elif seq <= run.seq:
            text = f"record {seq} of run {run_id!r} is there twice"
            self._found("duplicated", text, n, run_id, seq)
        else:
            self._follow(run, n, record, event)

    def _follow(self, run: Standing, n: int, record: Skimmed, event: Event | None) -> None:
        expected = run.seq + 1
        if record.seq > expected:
            skipped = range(expected, min(record.seq, expected + FINDINGS_MAX))
            run.holes = {**(run.holes or {}), **dict.fromkeys(skipped, n)}
        elif run.hash not in (b"", record.prev.encode()):
            text = f"record {record.seq} of run {record.run_id!r} does not follow the one before it"
            self._found("unchained", text, n, record.run_id, record.seq)
        at = record.at.encode()
        if at < run.at:
            self._note_set_back(n, record.run_id, record.seq)
        run.seq, run.hash, run.at = record.seq, record.hash.encode(), at
        run.status = sys.intern(status_after(event)) if event is not None else UNFINISHED
        self._note_head(record.run_id, record.seq, run.hash)

    def _note_head(self, run_id: str, seq: int, digest: bytes) -> None:
        if (run_id, seq) in self.heads:
            self.heads[run_id, seq] = digest.decode()

    def _note_set_back(self, n: int, run_id: str, seq: int) -> None:
        if len(self.set_back) < SET_BACK_MAX:
            self.set_back.append((n, run_id, seq))

    def _check_link(self, n: int, commit: Any, record: Skimmed | None, chain: bytes) -> None:
        before = self._links if record is not None else ()
        digest = record.hash if record is not None else ""
        links = [link(one.decode(), commit, digest).encode() for one in before]
        if links and chain not in links:
            self._found("unchained", f"the chain of the journal is broken at record {n}", n)
        self._links = (chain,) if chain in links else (chain, *links[:1])
        self._end = (n, commit, chain)

    def _found(
        self, kind: Kind, text: str, n: int, run_id: str | None = None, seq: int | None = None
    ) -> None:
        self.findings.append(Finding(kind, text, n, run_id, seq))


class Standing:
    """What has been read of one run; a journal may have very many."""

    __slots__ = ("at", "began", "hash", "holes", "replaced", "seq", "status", "workflow")

    def __init__(self, began: int, workflow: str | None) -> None:
        self.began = began
        self.workflow = workflow
        self.status = ""
        self.at = b""
        self.seq, self.hash = 0, GENESIS.encode()
        self.holes: dict[int, int] | None = None
        """Numbers that were passed over, and where."""
        self.replaced: set[int] | None = None
        """Numbers in whose place stands something else."""

    def copy(self) -> Standing:
        """Return one that says the same."""
        copied = Standing(self.began, self.workflow)
        copied.status, copied.at = self.status, self.at
        copied.seq, copied.hash = self.seq, self.hash
        copied.holes = dict(self.holes) if self.holes else None
        copied.replaced = set(self.replaced) if self.replaced else None
        return copied

    def entry(self) -> tuple[Any, ...]:
        """Return what the index of runs has to say."""
        return self.began, self.seq, self.workflow, self.status


def _intact(line: bytes | None) -> tuple[Skimmed | None, Event | None]:
    """Return the record in *line*, if it is as it was written, and what those at the ends say."""
    record = skim(line) if line is not None else None  # a flipped bit can make it NULL
    if record is None or line is None or record.kind not in ENDS:
        return record, None
    try:
        return record, decode_line(line.decode("ascii")).event
    except (JournalError, UnicodeDecodeError):
        return None, None


def _workflow(event: Event | None) -> str | None:
    name = workflow_of(event) if event is not None else None
    return sys.intern(name) if name is not None else None  # few names, and very many runs


def text_of(data: Any) -> str:
    """Return *data*, which should be a text, in a form that can be shown whatever it is."""
    return data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else repr(data)
