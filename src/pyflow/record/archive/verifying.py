"""Is an archive what was written: told from the archive alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.errors import JournalError, shown
from pyflow.record.archive.files import UNREADABLE, Line, lines_of
from pyflow.record.evidence.verification import Verification, held_against, verified
from pyflow.record.ledger import is_ledger
from pyflow.record.sqlite.commit import UNFINISHED
from pyflow.record.sqlite.reading import FINDINGS_MAX, Finding, Reader

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pyflow.record.evidence.anchors import Anchor
    from pyflow.record.evidence.keys import Key

__all__ = ["verify_archive"]


def verify_archive(
    path: str | os.PathLike[str],
    *,
    digest: str | None = None,
    anchors: Sequence[Anchor] = (),
    key: Key | None = None,
) -> Verification:
    """Read a whole archive, and say whether it is what was written.

    Each record is held against its hash, its run and the chain that the
    journal had; the file against its own checksum; every run has to be there
    from its first record to its last. Memory grows with the number of runs.

    Args:
        path: The archive.
        digest: The digest that it has by the journal's record; without it, an
            archive that was made anew as a whole goes unnoticed.
        anchors: Where the journal, or runs in it, ended before.
        key: The key that anchors are signed with, at its first turn.

    Raises:
        JournalError: There is no file.
    """
    place = Path(path)
    if not place.is_file():
        raise JournalError(f"there is no archive {shown(str(path))}; name one that is there")
    check = _Check(digest, anchors)
    try:
        for line in lines_of(place):
            check.take(line)
            if len(check.found) >= FINDINGS_MAX:
                break
        check.finish()
    except UNREADABLE as error:
        text = f"it cannot be read beyond record {check.reader.tip.n}: {error}"
        check.found.append(Finding("torn", text, check.reader.tip.n + 1))
    mine, notes = check.hold(anchors, key)
    return verified(
        place.name,
        check.found,
        check.set_back,
        records=check.records,
        anchors=mine,
        key=key,
        limits=(*check.notes, *notes),
    )


class _Check:
    """Takes the lines of an archive in order, and collects what does not fit."""

    def __init__(self, digest: str | None, anchors: Sequence[Anchor]) -> None:
        self.reader = Reader()
        self.reader.heads.update({(one.subject, one.records): "" for one in anchors})
        self.found = self.reader.findings
        self.records = 0
        self.notes: tuple[str, ...] = (
            () if digest is not None else ("an archive made anew as a whole: give its digest",)
        )
        self._digest = digest
        self._marks = {one.records: "" for one in anchors}
        self._about: dict[str, object] = {}
        self._has_end = False

    @property
    def set_back(self) -> list[Finding]:
        """Where the clock went back."""
        return [
            Finding("clock", f"record {seq} of run {run!r} is earlier than the one before", n)
            for n, run, seq in self.reader.set_back
        ]

    def take(self, line: Line) -> None:
        """Take the next line."""
        if self._has_end:
            self._note("duplicated", f"line {line.number} stands after the end")
        elif line.row is not None and self._about:
            self.records += 1
            self.reader.read(line.row)
            if line.row[0] in self._marks:
                self._marks[line.row[0]] = self.reader.tip.chain
        elif line.after is not None and self._about:
            self._begin(line.after.n)
            self.reader.jump(line.after)
        elif line.about is not None and line.number == 1:
            self._about = line.about
        elif line.end is not None:
            self._end(line)
        else:
            self._note("modified", f"line {line.number} was changed after it was written")

    def finish(self) -> None:
        """Take note of what never came."""
        self.reader.finish()
        if not self._has_end:
            self._note("torn", "its last line is missing, so it was cut")
        for run_id, run in self.reader.runs.items():
            if run.status == UNFINISHED and not is_ledger(run_id) and not self.found:
                self._note("end", f"the end of run {run_id!r} is missing")

    def hold(self, anchors: Sequence[Anchor], key: Key | None) -> tuple[list[Anchor], list[str]]:
        """Hold it against *anchors*; return those that it is told of, and what of the others."""
        mine: list[Anchor] = []
        journal = self._about.get("journal")
        for one in anchors:
            head = self.reader.heads.get((one.subject, one.records), "")
            head = self._marks[one.records] if one.subject == journal else head
            run = self.reader.runs.get(one.subject)
            if head or run is not None:
                mine.append(one)
                most = run.seq if run is not None else self.reader.tip.n
                self.found += held_against(one, most, head, key)
        others = len(anchors) - len(mine)
        return mine, [f"{others} anchors are of records that are not in it"] if others else []

    def _begin(self, after: int) -> None:
        if after < self.reader.tip.n:
            self._note("reordered", f"what follows record {after} stands after {self.reader.tip.n}")

    def _end(self, line: Line) -> None:
        self._has_end = True
        assert line.end is not None
        said = self._about.get("records")
        if not (line.end.get("records") == said == self.records):
            text = f"it has {self.records} records, and had {said} by its first line"
            self._note(
                "missing" if isinstance(said, int) and said > self.records else "modified", text
            )
        if line.end.get("sha256") != line.digest:
            self._note("modified", "its content does not have the checksum of its last line")
        elif self._digest not in (None, line.digest):
            text = f"its digest is {line.digest}, and the journal has archived {self._digest}"
            self._note("archive", text)

    def _note(self, kind: str, text: str) -> None:
        self.found.append(Finding(kind, text, self.reader.tip.n + 1))  # type: ignore[arg-type]
