"""The tamper matrix: every way to change a trail of sixty records, the verdict, and the first bad record.

Every bit, deletion, swap, duplicate, insertion, splice and cut; with an anchor
all are found, and without one all but cuts of whole records at the end.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import encode_line, seal
from pyflow.record.evidence.anchors import Anchor, anchor_trail
from pyflow.record.evidence.keys import make_key
from pyflow.record.evidence.verification import Verification, verify_trail
from pyflow.record.skim import skim
from support.trails import AT, STARTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECORDS = 60
KEY = make_key()


def lines_of(run_id: str = "r1", *, other: bool = False) -> list[bytes]:
    """Return a trail of sixty records, a line each."""
    words = "other line" if other else "line"
    events: list[ev.Event] = [STARTED]
    events += [ev.Logged("build", f"{words} {n}", {"n": n}) for n in range(RECORDS - 2)]
    events.append(ev.RunFinished("succeeded", RECORDS))
    return [
        encode_line(r).encode() + b"\n" for r in seal(run_id, events, at=AT, seq=0, prev="0" * 64)
    ]


LINES = lines_of()
ANCHOR = anchor_trail(AuditTrail.from_jsonl(b"".join(LINES).decode()), key=KEY)
WITH = ((ANCHOR,), KEY)
WITHOUT = ((), None)


def verified(
    lines: Sequence[bytes],
    given: tuple[tuple[Anchor, ...], object] = WITHOUT,
    *,
    complete: bool = False,
) -> Verification:
    """Return what is said of *lines*, by default of a run that may go on."""
    anchors, key = given
    return verify_trail(b"".join(lines), anchors=anchors, key=key, complete=complete)  # type: ignore[arg-type]


def said(
    lines: Sequence[bytes], given: tuple[tuple[Anchor, ...], object] = WITHOUT
) -> tuple[str, int]:
    """Return the verdict on *lines*, and the line that is first bad."""
    found = verified(lines, given)
    assert found.ok is (found.first_bad is None)
    return found.verdict, found.first_bad.n or 0 if found.first_bad else 0


def flips(line: bytes) -> Iterator[bytes]:
    """Yield *line* with each of its bits flipped in turn."""
    for place in range(len(line)):
        for bit in range(8):
            yield line[:place] + bytes([line[place] ^ 1 << bit]) + line[place + 1 :]


@pytest.mark.parametrize("given", [WITHOUT, WITH], ids=["alone", "anchored"])
class TestMatrix:
    def test_untouched(self, given: tuple[tuple[Anchor, ...], object]) -> None:
        """What was written passes, or the tests below would prove nothing."""
        assert len(LINES) == RECORDS
        assert said(LINES, given) == ("ok", 0)
        assert verified(LINES, given, complete=True).verdict == "ok"

    def test_every_deletion(self, given: tuple[tuple[Anchor, ...], object]) -> None:
        """Records taken out of the middle are missing, from the first of them on."""
        for start, stop in combinations(range(RECORDS), 2):
            found = verified(LINES[:start] + LINES[stop:], given)
            assert found.verdict == "missing"
            assert found.first_bad is not None
            assert found.first_bad.seq == start + 1

    def test_every_swap(self, given: tuple[tuple[Anchor, ...], object]) -> None:
        """Two records that changed places are reordered, at the earlier place."""
        for one, other in combinations(range(RECORDS), 2):
            lines = LINES.copy()
            lines[one], lines[other] = lines[other], lines[one]
            assert said(lines, given) == ("reordered", one + 1)

    def test_every_duplicate(self, given: tuple[tuple[Anchor, ...], object]) -> None:
        """A record that is there twice is a duplicate, or early at the place of its copy."""
        for line in range(RECORDS):
            for place in range(RECORDS + 1):
                lines = LINES[:place] + [LINES[line]] + LINES[place:]
                verdict, bad = said(lines, given)
                if place > line:
                    assert (verdict, bad) == ("duplicated", place + 1)
                elif place == line:
                    assert (verdict, bad) == ("duplicated", place + 2)
                else:
                    assert (verdict, bad) == ("reordered", place + 1)

    def test_every_splice_from_another_run(self, given: tuple[tuple[Anchor, ...], object]) -> None:
        """A record of another run, put in or put in the place of one, is unchained there."""
        foreign = lines_of("r2")
        for n in range(1, RECORDS):
            assert said(LINES[:n] + [foreign[n]] + LINES[n:], given) == ("unchained", n + 1)
            if n + 1 < RECORDS:
                instead = LINES[:n] + [foreign[n]] + LINES[n + 1 :]
                assert said(instead, given) == ("unchained", n + 1)

    def test_every_splice_from_another_course(
        self, given: tuple[tuple[Anchor, ...], object]
    ) -> None:
        """Records of another course of the same run do not follow from the one before them."""
        foreign = lines_of(other=True)
        for n in range(2, RECORDS):
            assert said(LINES[:n] + foreign[n:], given) == ("unchained", n + 1)
            assert said(LINES[:n] + [foreign[n]] + LINES[n + 1 :], given) == ("unchained", n + 1)

    def test_every_byte_that_is_cut(self, given: tuple[tuple[Anchor, ...], object]) -> None:
        """A trail that was cut inside a line is torn there."""
        text = b"".join(LINES)
        ends = {sum(map(len, LINES[:n])) for n in range(RECORDS + 1)}
        for size in set(range(len(text))) - ends:
            line = text.count(b"\n", 0, size) + 1
            assert said([text[:size]], given) == ("torn_tail", line)


class TestBits:
    @pytest.mark.parametrize("part", range(6))
    def test_every_bit(self, part: int) -> None:
        """A flipped bit, anywhere, makes a record another; the line it is in is named."""
        missed: list[tuple[int, bytes]] = []
        for number in range(part * 10, part * 10 + 10):
            line = LINES[number]
            missed += [
                (number, f) for f in flips(line[:-1]) if b"\n" not in f and skim(f) is not None
            ]
            sample = LINES[:number] + [line[:40] + b"\x00" + line[41:]] + LINES[number + 1 :]
            assert said(sample) == said(sample, WITH) == ("modified", number + 1)

        assert missed == []

    def test_every_bit_of_every_line_end(self) -> None:
        """A line end that is none any more, or one where there was none, is noticed."""
        for number in range(RECORDS):
            for flipped in flips(LINES[number][-1:]):
                lines = LINES[:number] + [LINES[number][:-1] + flipped] + LINES[number + 1 :]
                assert not verified(lines, complete=True).ok
        for number, line in enumerate(LINES):
            broken = LINES[:number] + [line[:30] + b"\n" + line[31:]] + LINES[number + 1 :]
            assert said(broken) == ("modified", number + 1)


class TestCuts:
    @pytest.mark.parametrize("kept", range(RECORDS))
    def test_of_whole_records(self, kept: int) -> None:
        """Alone, a cut of whole records passes for a run that goes on, and that is said; no more."""
        alone = verified(LINES[:kept])
        anchored = verified(LINES[:kept], WITH)
        complete = verified(LINES[:kept], complete=True)

        assert alone.verdict == "ok"
        assert any("cut from the end" in text for text in alone.unseen)
        assert anchored.verdict == "shorter_than_anchor"
        assert anchored.first_bad is not None
        assert anchored.first_bad.n == kept + 1
        assert complete.verdict == "missing_end"

    def test_rewritten_as_a_whole(self) -> None:
        """A trail made anew passes alone, and differs from its anchor."""
        forged = lines_of(other=True)

        assert said(forged) == ("ok", 0)
        assert verified(forged, WITH).verdict == "differs_from_anchor"


class TestClock:
    def test_went_back(self) -> None:
        """An instant before the one recorded before it is told, and is no damage."""
        from datetime import timedelta

        first = seal("r1", [STARTED], at=AT, seq=0, prev="0" * 64)
        later = seal(
            "r1",
            [ev.RunFinished("succeeded", 2)],
            at=AT - timedelta(hours=1),
            seq=1,
            prev=first[0].hash,
        )

        found = verified([encode_line(r).encode() + b"\n" for r in (*first, *later)], complete=True)

        assert (found.verdict, found.ok) == ("clock_went_back", True)
        assert found.first_bad is not None
        assert found.first_bad.seq == 2


class TestAnchors:
    def test_of_another_run(self) -> None:
        """An anchor of another run vouches for nothing, and that is said."""
        found = verified(lines_of("r2"), WITH)

        assert (found.verdict, found.text) == ("head", "none of the anchors is of this run")

    def test_of_an_earlier_record(self) -> None:
        """What came after the last anchor is named as a window."""
        early = anchor_trail(AuditTrail.from_jsonl(b"".join(LINES[:40]).decode()), key=KEY)

        found = verified(LINES, ((early,), KEY))

        assert (found.verdict, found.anchored) == ("ok", 40)
        assert found.unseen == ("what was cut or rewritten after the last anchor, record 40",)
        assert verified(LINES[:39], ((early,), KEY)).verdict == "shorter_than_anchor"

    def test_forged(self) -> None:
        """An anchor that was changed has a MAC that is not the key's."""
        from pyflow.frozen import replace

        forged = replace(ANCHOR, records=10, head=skim(LINES[9][:-1]).hash)  # type: ignore[union-attr]

        assert verified(LINES[:10], ((forged,), KEY)).verdict == "forged_anchor"
        assert verified(LINES[:10], ((forged,), None)).verdict == "ok"

    def test_of_an_unknown_key(self) -> None:
        """An anchor that another key signed, or none, does not count where a key is given."""
        other = make_key()
        bare = anchor_trail(AuditTrail.from_jsonl(b"".join(LINES).decode()))

        assert verified(LINES, ((ANCHOR,), other)).verdict == "unknown_key"
        assert verified(LINES, ((bare,), KEY)).verdict == "unknown_key"

    def test_without_a_key(self) -> None:
        """An anchor without a key may be forged with the journal, and that is said."""
        found = verified(LINES, ((ANCHOR,), None))

        assert found.ok
        assert "without a key" in found.unseen[0]
