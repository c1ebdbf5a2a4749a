"""Anchors: where a journal, or the trail of a run, ended at some time, kept somewhere else.

A chain of hashes shows that no part of it was changed alone. It cannot show
that its end is there, nor that it was not made anew as a whole: for that,
somebody else has to remember the end. That is an anchor: a line of text for
a file, a commit, a message or a summary. One with a MAC may lie beside the
journal; one without has to be where whoever may write the journal may not.
"""

from __future__ import annotations

import hmac
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError, shown
from pyflow.frozen import frozen, replace
from pyflow.record.codec import canonical
from pyflow.record.marks import marks_in

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from pyflow.record.audit import AuditTrail
    from pyflow.record.evidence.keys import Key

__all__ = [
    "Anchor",
    "anchor_journal",
    "anchor_trail",
    "anchors_in_text",
    "append_anchor",
    "read_anchors",
]

DOMAIN = "pyflow-anchor-v1\0"


@frozen
class Anchor:
    """Where something ended."""

    subject: str
    """The journal's own name, or the id of a run."""

    records: int
    """How many records it had."""

    head: str
    """The link of the journal's chain at its last record, or that record's hash in a run."""

    at: str
    """When that was, in UTC; empty where it does not say."""

    key_id: str | None = None
    """The key that its MAC is of, if it has one."""

    turn: int | None = None
    """The turn of that key."""

    mac: str | None = None
    """HMAC-SHA256 of all of the above."""

    def signed(self, key: Key) -> Anchor:
        """Return this anchor with the MAC of *key*."""
        bare = replace(self, key_id=key.id, turn=key.turn, mac=None)
        return replace(bare, mac=key.mac(bare.claim()))

    def is_signed_by(self, key: Key) -> bool | None:
        """Return whether *key* made its MAC; None where that key cannot tell."""
        if self.mac is None or self.key_id != key.id or self.turn is None:
            return None
        then = key.at(self.turn)
        if then is None:
            return None
        return hmac.compare_digest(then.mac(replace(self, mac=None).claim()), self.mac)

    def claim(self) -> str:
        """Return the text that a MAC is made of."""
        return DOMAIN + canonical(self._data())

    def to_line(self) -> str:
        """Return the anchor as one line of JSON."""
        return canonical(self._data())

    @classmethod
    def from_line(cls, line: str) -> Anchor:
        """Return the anchor that `to_line` wrote.

        Raises:
            JournalError: The line is none.
        """
        with suppress(ValueError, TypeError, AttributeError):
            anchor = cls(**json.loads(line))
            if anchor.to_line() == line.strip() and type(anchor.records) is int:
                return anchor
        raise JournalError(f"not an anchor: {shown(line)}; take the line as it was written")

    def _data(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in values.items() if value is not None}


FIELDS = ("subject", "records", "head", "at", "key_id", "turn", "mac")


def anchor_trail(trail: AuditTrail, *, key: Key | None = None) -> Anchor:
    """Return the anchor of a run's *trail*, as it ends now.

    Raises:
        JournalError: It is empty.
    """
    if not trail:
        raise JournalError("an empty trail has no end to anchor")
    last = trail[-1]
    anchor = Anchor(last.run_id, last.seq, last.hash, _instant(last.at))
    return anchor.signed(key) if key is not None else anchor


def anchor_journal(path: str | os.PathLike[str], *, at: datetime, key: Key | None = None) -> Anchor:
    """Return the anchor of the journal at *path*, as it ends now.

    Args:
        path: The journal; it is only read.
        at: What time it is.
        key: Signs the anchor; without, keep it where whoever may write the
            journal may not.

    Raises:
        JournalError: It cannot be read.
        JournalIntegrityError: It is not what its head says, so this is no end to anchor.
    """
    from pyflow.record.sqlite.faults import FAULTS, journal_error  # noqa: PLC0415
    from pyflow.record.sqlite.opening import check_head, look  # noqa: PLC0415

    place = Path(path).resolve()
    if not place.is_file():
        raise JournalError(f"there is no journal {shown(str(path))}; name one that is there")
    try:
        glance, head = look(place, timeout_s=5.0)
    except FAULTS as error:
        raise journal_error(error, place, "opening") from error
    check_head(place, glance, head)
    anchor = Anchor(glance.database_id, glance.tip.n, glance.tip.chain, _instant(at))
    return anchor.signed(key) if key is not None else anchor


def append_anchor(path: str | os.PathLike[str], anchor: Anchor) -> None:
    """Add *anchor* to the file *path*, which is made if it is not there.

    Raises:
        JournalError: It cannot be written.
    """
    try:
        with Path(path).open("a", encoding="ascii") as file:
            file.write(anchor.to_line() + "\n")
    except OSError as error:
        raise JournalError(f"the anchor cannot be kept in {shown(str(path))}: {error}") from error


def read_anchors(lines: Iterable[str]) -> Sequence[Anchor]:
    """Return the anchors in *lines*; blank ones are passed over.

    Raises:
        JournalError: A line is no anchor.
    """
    return [Anchor.from_line(line) for line in lines if line.strip()]


def anchors_in_text(text: str) -> Sequence[Anchor]:
    """Return the anchors in *text*, as people copy them from a message, a summary or a shell.

    That is lines of JSON, and marks such as notices have: ``RUN@RECORDS:HASH``. What stands around
    them does not matter.

    Raises:
        JournalError: There is none.
    """
    found: list[Anchor] = []
    for part in re.findall(r"\{[^{}]*\}", text):
        with suppress(JournalError):
            found.append(Anchor.from_line(part))
    if not found:
        found = [Anchor(run_id, records, head, "") for run_id, records, head in marks_in(text)]
    if not found:
        raise JournalError(
            f"no anchor is in {shown(text)}; copy what a notice or a summary calls the anchor, "
            "such as RUN@RECORDS:HASH, or the line that pyflow-deploy anchor gives"
        )
    return found


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat("T", "microseconds")[: -len("+00:00")] + "Z"
