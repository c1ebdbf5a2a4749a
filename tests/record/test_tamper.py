"""Every way to tamper with a stored trail is noticed."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from pyflow.errors import JournalError, TamperedJournal
from pyflow.record import codec
from pyflow.record.audit import AuditTrail
from pyflow.record.events import RunFinished
from support.trails import EVENTS, trail_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAIL = trail_of()
TEXT = TRAIL.to_jsonl()
LINES = TEXT.splitlines(keepends=True)


def accepted(text: str, *, complete: bool = True) -> bool:
    """Return whether *text* passes for a trail."""
    try:
        AuditTrail.from_jsonl(text).verify(complete=complete)
    except JournalError:
        return False
    return True


def flips(line: str) -> Iterator[str]:
    """Return *line* with each of its bits flipped in turn."""
    data = line.encode()
    for place in range(len(data)):
        for bit in range(8):
            flipped = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            yield flipped.decode("latin-1")  # a file that is no UTF-8 is noticed sooner


def passes(number: int, line: str) -> bool:
    """Return whether the trail passes with *line* in the place of its own."""
    try:
        records = AuditTrail.from_jsonl(line)
        AuditTrail([*TRAIL[:number], *records, *TRAIL[number + 1 :]]).verify(complete=False)
    except JournalError:
        return False
    return True


class TestTampering:
    def test_untouched(self) -> None:
        """What was written passes, or the tests below would prove nothing."""
        assert len(TRAIL) == 21
        assert accepted(TEXT)
        assert all(passes(number, line) for number, line in enumerate(LINES))

    def test_every_bit(self) -> None:
        """A single flipped bit, anywhere, is noticed, with or without the end."""
        missed = [
            (number, flipped)
            for number, line in enumerate(LINES)
            for flipped in flips(line)
            if passes(number, flipped)
        ]

        assert missed == []

    def test_every_deletion(self) -> None:
        """Records that were taken out are noticed, one or several in a row."""
        missed = [
            (start, stop)
            for start, stop in combinations(range(len(LINES) + 1), 2)
            if accepted("".join(LINES[:start] + LINES[stop:]))
        ]

        assert missed == []

    def test_every_swap(self) -> None:
        """Two records that changed places are noticed."""
        missed: list[tuple[int, int]] = []
        for one, other in combinations(range(len(LINES)), 2):
            lines = LINES.copy()
            lines[one], lines[other] = lines[other], lines[one]
            if accepted("".join(lines), complete=False):
                missed.append((one, other))

        assert missed == []

    def test_every_duplicate(self) -> None:
        """A record that is there twice is noticed, wherever the copy stands."""
        missed = [
            (line, place)
            for line in range(len(LINES))
            for place in range(len(LINES) + 1)
            if accepted("".join(LINES[:place] + [LINES[line]] + LINES[place:]), complete=False)
        ]

        assert missed == []

    @pytest.mark.parametrize("run_id", ["r1", "r2"])
    def test_every_splice(self, run_id: str) -> None:
        """Records of another run, or of another course of the same run, are noticed."""
        other = trail_of((EVENTS[0], *EVENTS[2:], EVENTS[1]), run_id=run_id)
        foreign = other.to_jsonl().splitlines(keepends=True)

        put_in = [LINES[:n] + [foreign[n]] + LINES[n:] for n in range(1, len(LINES))]
        instead = [LINES[:n] + [foreign[n]] + LINES[n + 1 :] for n in range(1, len(LINES))]
        crossed = [LINES[:n] + foreign[n:] for n in range(2, len(LINES))]
        missed = [t for t in put_in + instead + crossed if accepted("".join(t), complete=False)]

        assert missed == []

    def test_every_truncation(self) -> None:
        """A text that was cut short, at any character, is noticed."""
        missed = [size for size in range(len(TEXT)) if accepted(TEXT[:size])]

        assert missed == []

    def test_open_end(self) -> None:
        """Without the end, only cuts between records go unnoticed, as `verify` says."""
        passed = {size for size in range(len(TEXT)) if accepted(TEXT[:size], complete=False)}

        assert passed == {len("".join(LINES[:n])) for n in range(len(LINES))}
        assert "unnoticed" in (AuditTrail.verify.__doc__ or "")

    def test_every_field(self) -> None:
        """A value that was replaced by a valid one of the same form is noticed."""
        missed = [
            (old, new)
            for old, new in (
                ("build", "built"),
                ('"attempt":1', '"attempt":2'),
                ("03:04:05", "03:04:06"),
                ('"r1"', '"r2"'),
            )
            if accepted(TEXT.replace(old, new), complete=False)
        ]

        assert missed == []

    def test_names_the_record(self) -> None:
        """The error names the record where the damage begins."""
        lines = LINES.copy()
        lines[6] = lines[6].replace("pulled", "pushed")

        with pytest.raises(TamperedJournal, match=r"record 7 .* was changed") as caught:
            AuditTrail.from_jsonl("".join(lines)).verify()

        assert (caught.value.run_id, caught.value.seq) == ("r1", 7)

    def test_whole_forgery(self) -> None:
        """Who writes everything anew goes unnoticed: the chain has no key, as its module says."""
        forged = trail_of((*EVENTS[:-2], RunFinished("succeeded", 20)))

        assert accepted(forged.to_jsonl())
        assert "forge" in (codec.__doc__ or "")
