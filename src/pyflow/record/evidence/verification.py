"""`verify_journal` and `verify_trail`: one verdict, the first record that is bad, and what it cannot say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from pyflow.errors import JournalError, shown
from pyflow.frozen import frozen
from pyflow.record.codec import GENESIS
from pyflow.record.skim import Skimmed, skim
from pyflow.record.sqlite.reading import FINDINGS_MAX, Finding, Kind
from pyflow.record.sqlite.verify import examine

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from pyflow.record.evidence.anchors import Anchor
    from pyflow.record.evidence.keys import Key
    from pyflow.record.sqlite.cuts import Cut
    from pyflow.record.sqlite.reading import Row
    from pyflow.record.sqlite.verify import Examined

__all__ = [
    "LIMITS",
    "Place",
    "Verdict",
    "Verification",
    "held_against",
    "verified",
    "verify_journal",
    "verify_trail",
]

Verdict: TypeAlias = Literal[
    "ok", "clock_went_back", "torn_tail", "modified", "missing", "reordered", "duplicated",
    "unchained", "shorter_than_anchor", "differs_from_anchor", "forged_anchor", "unknown_key",
    "head", "index", "unreadable", "missing_end", "wrong_archive",
]  # fmt: skip
"""What a verification comes to.

`ok`: what there is is what was written. `clock_went_back`: the same, and an
instant in it lies before the one recorded before it. `torn_tail`: the last line
is cut, as by a crash. `modified`, `missing`, `reordered`, `duplicated`: a record
is. `unchained`: one does not follow from the one before it, as after a splice.
`shorter_than_anchor`: the end is gone. `differs_from_anchor`: the past was
rewritten. `forged_anchor`: the MAC of an anchor is not the key's.
`unknown_key`: an anchor is signed by a key that was not given. `head`, `index`:
what stands beside the records is not theirs. `missing_end`: a trail is whole
as far as it goes, and does not end with the run's last record.
`wrong_archive`: an archive is damaged, or is not the one that was cut.
"""

LAST = 1 << 62
BESIDE = ("head", "index", "file", "archive")
JOURNAL = re.compile(r"[0-9a-f]{32}")
"""How a journal calls itself; no run is called so."""
SOUND = ("ok", "clock_went_back")
LIMITS = {
    "anchor": (
        "without an anchor kept elsewhere: whole records that were cut from the end together with "
        "the head, and a record made anew as a whole by somebody who may write the journal"
    ),
    "key": ("without a key: an anchor that was forged by somebody who may write where it is kept"),
    "window": "what was cut or rewritten after the last anchor, record {records}",
    "end": "records that were cut from the end of a trail that goes on",
    "absent": "what became of {records:,} records that are archived: give their archives as well",
    "archived": (
        "what an anchor at record {records} says, which is archived: give its archive as well"
    ),
    "archived_run": (
        "what an anchor of run {run} says, which is archived in {archive}: give that as well"
    ),
}
"""What a verification cannot say, and when."""


@frozen
class Place:
    """Where something is wrong."""

    n: int | None
    """The number in the journal, or the line of a trail."""

    run_id: str | None
    """The run."""

    seq: int | None
    """The number in that run."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of a verification."""

    subject: str
    """What was verified."""

    verdict: Verdict
    """What it comes to, in a word: for the first thing that is wrong."""

    text: str
    """The same in a sentence."""

    records: int
    """How many records were read."""

    first_bad: Place | None = None
    """The first record that is not what was written."""

    findings: tuple[Finding, ...] = ()
    """Everything that is wrong."""

    anchored: int = 0
    """Up to which record the anchors vouch for it."""

    unseen: tuple[str, ...] = field(default=())
    """What would go unnoticed, with the anchors and the key that were given."""

    archived: tuple[Cut, ...] = ()
    """What was removed from the journal, and in which archive it is, under which digest."""

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written, as far as can be told."""
        return self.verdict in SOUND

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.verdict}: {self.text}"]
        lines += [f"  {finding}" for finding in self.findings[:20]]
        if len(self.findings) > 20:
            lines.append(f"  and {len(self.findings) - 20} more")
        lines += [f"  {cut}" for cut in self.archived]
        lines += [f"  not noticed {text}" for text in self.unseen]
        return "\n".join(lines)


# A journal --------------------------------------------------------------------------------


def verify_journal(
    path: str | os.PathLike[str],
    *,
    anchors: Sequence[Anchor] = (),
    key: Key | None = None,
    archives: Sequence[str | os.PathLike[str]] = (),
) -> Verification:
    """Read the whole journal at *path*, and say whether it is what was written.

    It is read in one stream, by a connection that cannot write. What was
    archived is told; with its archive it is read in its place, so that the
    whole chain is verified as if nothing had been removed.

    Args:
        path: The journal.
        anchors: Where it, or a run in it, ended before, as somebody else has
            remembered; those of other journals are passed over.
        key: The key that anchors are signed with, at its first turn.
            With it, every anchor has to be signed by it.
        archives: Files that hold what was archived; as many as there are.

    Raises:
        JournalError: There is no file.
    """
    place = Path(path).resolve()
    if not place.is_file():
        raise JournalError(f"there is no journal {shown(str(path))}; name one that is there")
    given = _Given(archives)
    of_runs = [anchor for anchor in anchors if not JOURNAL.fullmatch(anchor.subject)]
    examined = examine(
        place,
        [anchor.records for anchor in anchors],
        heads=[(anchor.subject, anchor.records) for anchor in of_runs],
        archives=given.rows,
    )
    found = [*given.findings(examined.cuts), *examined.findings]
    mine, notes = _held(anchors, of_runs, examined, found, key)
    if anchors and not mine and len(notes) == (1 if examined.absent else 0):
        found.append(Finding("head", "none of the anchors is of this journal"))
    set_back = [
        Finding(
            "clock",
            f"record {seq} of run {run_id!r} is earlier than the one before it",
            n,
            run_id,
            seq,
        )
        for n, run_id, seq in examined.set_back
    ]
    return verified(
        place.name,
        found,
        set_back,
        records=examined.tip.n - examined.absent,
        anchors=mine,
        key=key,
        last=examined.tip.n,
        notes=notes,
        archived=examined.cuts,
    )


def _held(
    anchors: Sequence[Anchor],
    of_runs: Sequence[Anchor],
    examined: Examined,
    found: list[Finding],
    key: Key | None,
) -> tuple[list[Anchor], list[str]]:
    """Hold a journal against *anchors*; return those that tell of it, and why others cannot."""
    mine: list[Anchor] = []
    notes: list[str] = []
    gone = {run_id: cut.archive for cut in examined.cuts for run_id in cut.runs}
    for anchor in anchors:
        if anchor in of_runs:
            if anchor.subject in examined.runs:
                head = examined.heads[anchor.subject, anchor.records]
                found += held_against(anchor, examined.runs[anchor.subject], head, key)
                mine.append(anchor)
            elif anchor.subject in gone:
                where = gone[anchor.subject]
                notes.append(LIMITS["archived_run"].format(run=anchor.subject, archive=where))
            else:
                found.append(_gone(anchor, examined))
        elif anchor.subject == examined.database_id:
            mine.append(anchor)
            if any(g.first <= anchor.records < g.end.n for g in examined.passed):
                notes.append(LIMITS["archived"].format(records=anchor.records))
            else:
                chain = examined.chains[anchor.records]
                found += held_against(anchor, examined.tip.n, chain, key)
    if examined.absent:
        notes.append(LIMITS["absent"].format(records=examined.absent))
    return mine, notes


def _gone(anchor: Anchor, examined: Examined) -> Finding:
    text = (
        f"run {anchor.subject!r}, of which there is an anchor at its record {anchor.records}, is "
        "not in the journal: it was cut off with the end, or the anchor is of another journal"
    )
    return Finding("truncated", text, examined.tip.n + 1, anchor.subject)


class _Given:
    """The archives that a journal is verified with."""

    def __init__(self, archives: Sequence[str | os.PathLike[str]]) -> None:
        from pyflow.record.archive.files import Archive, digest_of  # noqa: PLC0415 - a ring

        self._digests: dict[str, str] = {}
        self._bad: list[Finding] = []
        self.rows: dict[str, Callable[[], Iterator[Row]]] = {}
        for file in archives:
            try:
                digest = digest_of(file)
            except JournalError as error:
                self._bad.append(Finding("archive", str(error)))
                continue
            self._digests[digest] = Path(file).name
            self.rows[digest] = Archive(file).rows

    def findings(self, cuts: Sequence[Cut]) -> list[Finding]:
        """Return what is wrong with them, as *cuts* say."""
        known = {cut.digest for cut in cuts}
        others = [name for digest, name in self._digests.items() if digest not in known]
        text = "{} is not what was archived of this journal: no cut has its digest"
        return [*self._bad, *(Finding("archive", text.format(name)) for name in others)]


def held_against(anchor: Anchor, records: int, head: str, key: Key | None) -> list[Finding]:
    """Return what is wrong between an anchor and what was read, at its place *head*."""
    if key is not None:
        signed = anchor.is_signed_by(key)
        if signed is None:
            who = f"key {anchor.key_id}" if anchor.mac else "no key"
            return [
                Finding(
                    "key",
                    f"the anchor at record {anchor.records} is signed by {who}, not by {key.id}",
                    anchor.records,
                )
            ]
        if not signed:
            return [
                Finding(
                    "forged",
                    f"the anchor at record {anchor.records} was not made by key {key.id}",
                    anchor.records,
                )
            ]
    if anchor.records > records:
        text = f"there are {records} records, and an anchor{_of(anchor)} says that there were {anchor.records}"
        return [Finding("truncated", text, records + 1)]
    if anchor.records and anchor.head != head:
        text = f"record {anchor.records} is not the one that an anchor{_of(anchor)} was made for"
        return [Finding("rewritten", text, anchor.records)]
    return []


def _of(anchor: Anchor) -> str:
    return f" of {anchor.at}" if anchor.at else ""


def verified(
    subject: str,
    found: list[Finding],
    set_back: list[Finding],
    *,
    records: int,
    anchors: Sequence[Anchor],
    key: Key | None,
    goes_on: bool = False,
    last: int | None = None,
    limits: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    archived: tuple[Cut, ...] = (),
) -> Verification:
    """Return what *found* comes to: the first of it has the say."""
    all_found = (*found, *set_back)
    first = min(found, key=_order, default=None) or next(iter(set_back), None)
    if limits is None:
        limits = _unseen(anchors, records if last is None else last, key, goes_on=goes_on)
    return Verification(
        subject=subject,
        verdict=CALLED.get(first.kind, cast("Verdict", first.kind)) if first else "ok",
        text=first.text if first else _sound(records, archived),
        records=records,
        first_bad=Place(first.n, first.run_id, first.seq) if first and first.n else None,
        findings=all_found,
        anchored=max((anchor.records for anchor in anchors), default=0),
        unseen=(*notes, *limits),
        archived=archived,
    )


def _sound(records: int, archived: Sequence[Cut]) -> str:
    there = f"{records:,} records are as they were written"
    if not archived:
        return there
    away = sum(cut.records for cut in archived)
    upto = max(cut.upto for cut in archived)
    return f"{there}, and {away:,} up to record {upto} are in {len(archived)} archives"


def _order(finding: Finding) -> int:
    """Return where a finding stands: records in their order, then what stands beside them."""
    return LAST if finding.n is None or finding.kind in BESIDE else finding.n


CALLED: dict[str, Verdict] = {
    "truncated": "shorter_than_anchor",
    "rewritten": "differs_from_anchor",
    "forged": "forged_anchor",
    "key": "unknown_key",
    "clock": "clock_went_back",
    "torn": "torn_tail",
    "end": "missing_end",
    "file": "unreadable",
    "archive": "wrong_archive",
}
"""How a verdict is called, where a finding has another name."""


def _unseen(
    anchors: Sequence[Anchor], records: int, key: Key | None, *, goes_on: bool
) -> tuple[str, ...]:
    unseen: list[str] = []
    anchored = max((anchor.records for anchor in anchors), default=0)
    if not anchors:
        unseen.append(LIMITS["anchor"])
    elif key is None:
        unseen.append(LIMITS["key"])
    if anchors and anchored < records:
        unseen.append(LIMITS["window"].format(records=anchored))
    if goes_on:
        unseen.append(LIMITS["end"])
    return tuple(unseen)


# A trail ----------------------------------------------------------------------------------


def verify_trail(
    text: str | bytes,
    *,
    anchors: Sequence[Anchor] = (),
    key: Key | None = None,
    complete: bool = True,
) -> Verification:
    """Say whether *text*, the records of one run a line each, is what was written.

    Args:
        text: What `AuditTrail.to_jsonl` gave, as it was kept. Bytes are
            verified as they are.
        anchors: Where the trail ended before; those of other runs are passed over.
        key: The key that anchors are signed with, at its first turn.
        complete: Whether it also has to end with the run's last record.
    """
    data = text.encode() if isinstance(text, str) else text
    *lines, rest = data.split(b"\n")
    reader = _TrailReader()
    for number, line in enumerate(lines, start=1):
        reader.read(number, line)
    records = reader.seq
    reader.finish()
    if rest:
        cut = f"line {len(lines) + 1} has no end, so it was cut, as by a crash"
        reader.found.append(Finding("torn", cut, len(lines) + 1, reader.run_id))
    mine = [one for one in anchors if reader.run_id in (None, one.subject)]
    for anchor in mine:
        reader.found += held_against(anchor, records, reader.heads.get(anchor.records, ""), key)
    if anchors and not mine:
        reader.found.append(Finding("head", "none of the anchors is of this run"))
    if complete and not reader.is_over and not reader.found:
        end = "the last record is not the run's last, so the end is missing, or the run goes on"
        reader.found.append(Finding("end", end, records + 1, reader.run_id, records + 1))
    return verified(
        f"run {reader.run_id}" if reader.run_id is not None else "an empty trail",
        reader.found,
        reader.set_back,
        records=records,
        anchors=mine,
        key=key,
        goes_on=not complete and not reader.is_over,
    )


class _TrailReader:
    """Takes the lines of a trail in order, and collects what does not fit."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.set_back: list[Finding] = []
        self.run_id: str | None = None
        self.seq = 0
        self.is_over = False
        self.heads: dict[int, str] = {}
        self._holes: dict[int, int] = {}  # numbers that were passed over, and where
        self._prev = GENESIS
        self._at = ""

    def read(self, number: int, line: bytes) -> None:
        """Take the next line."""
        record = skim(line)
        expected = self.seq + 1
        if record is None:
            text = f"record {expected} was changed after it was written, or is none"
            self._note("modified", text, number, expected)
            self.seq, self._prev = expected, ""
            return
        self.run_id = self.run_id if self.run_id is not None else record.run_id
        if record.run_id != self.run_id:
            self._note(
                "unchained",
                f"line {number} is a record of run {record.run_id!r}",
                number,
                record.seq,
            )
            return
        if record.seq < expected:
            self._repeated(number, record)
        else:
            self._advance(number, record, expected)

    def finish(self) -> None:
        """Take note of what never came."""
        for seq, number in self._holes.items():
            self._note("missing", f"record {seq} is missing", number, seq)

    def _repeated(self, number: int, record: Skimmed) -> None:
        place = self._holes.pop(record.seq, None)
        if place is not None:
            self._note("reordered", f"record {record.seq} is too late", place, record.seq)
            self.heads[record.seq] = record.hash
        else:
            self._note("duplicated", f"record {record.seq} is there twice", number, record.seq)

    def _advance(self, number: int, record: Skimmed, expected: int) -> None:
        if record.seq > expected:
            skipped = range(expected, min(record.seq, expected + FINDINGS_MAX))
            self._holes.update(dict.fromkeys(skipped, number))
        elif self._prev not in ("", record.prev):
            text = f"record {record.seq} does not follow from the one before it"
            self._note("unchained", text, number, record.seq)
        if record.at < self._at:
            text = f"record {record.seq} is earlier than the one before it"
            self.set_back.append(Finding("clock", text, number, record.run_id, record.seq))
        self.seq, self._prev, self._at = record.seq, record.hash, record.at
        self.heads[record.seq] = record.hash
        self.is_over = record.kind == "run_finished"

    def _note(self, kind: Kind, text: str, number: int, seq: int) -> None:
        self.found.append(Finding(kind, text, number, self.run_id, seq))
