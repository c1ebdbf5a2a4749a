"""Power cuts: what is left is what was synced, and any part of what was only written.

A commit is synced before it is acknowledged, a checkpoint before its frames
are written over, and the head now and then. So after a cut the ``-wal`` may
hold any part of one commit more, in whole sectors, and the head may be an
older one, or torn. All of that opens, with every commit that was acknowledged.
Files of different times that no disk leaves so, but somebody who copies does,
are refused or told of, and never read as something that was not written.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import JournalError
from pyflow.record.sqlite.head import PITCH, SLOT_BYTES
from pyflow.record.sqlite.journal import Batch, SQLiteJournal
from support.effects import in_memory_root
from support.journals import RUNS, SIDES, image_of, logged, started
from support.killed import FACTOR, Tell
from support.trails import AT

COMMITS = 24
CHECKPOINTS = {7: "PASSIVE", 12: "TRUNCATE", 18: "RESTART"}
"""After which commits the ``-wal`` is folded into the file, and how."""

SECTOR = 512
MIXES = 500 * FACTOR


@dataclass(frozen=True)
class Moment:
    """What was in the files right after a commit, and what had been acknowledged by then."""

    files: dict[str, bytes]
    hashes: tuple[str, ...]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where syncs cost nothing, if there is one."""
    with tempfile.TemporaryDirectory(dir=in_memory_root()) as name:
        yield Path(name)


@pytest.fixture
def moments(place: Path) -> list[Moment]:
    """Write a journal, one commit after the other, and see what the disk holds in between."""
    found: list[Moment] = []
    with SQLiteJournal(place / "live.db") as journal:
        journal.append_all([Batch(run_id, [started(run_id)], AT) for run_id in RUNS])
        for number in range(COMMITS):
            found.append(moment(journal, place / "copy"))
            kind = CHECKPOINTS.get(number)
            if kind is not None:
                journal.database.reading(f"PRAGMA wal_checkpoint({kind})")
                found.append(moment(journal, place / "copy"))
            events = [logged(number * 10 + n) for n in range(1 + number % 3)]
            journal.append(RUNS[number % 3], events, at=AT)
        found.append(moment(journal, place / "copy"))
    return found


def moment(journal: SQLiteJournal, target: Path) -> Moment:
    """Return what is there this moment."""
    path = image_of(journal.database.path, target)
    files = {side: Path(f"{path}{side}").read_bytes() for side in SIDES}
    for entry in target.iterdir():
        entry.unlink()
    target.rmdir()
    return Moment(files, hashes_of(journal))


def hashes_of(journal: SQLiteJournal) -> tuple[str, ...]:
    """Return the hashes of all records."""
    return tuple(
        record.hash for run_id in sorted(journal.runs()) for record in journal.read(run_id)
    )


def opened(place: Path, files: dict[str, bytes]) -> Any:
    """Return what a journal of *files* holds, whether it tells of anything; or why it is refused."""
    for side, data in files.items():
        (place / f"j.db{side}").write_bytes(data)
    (place / "j.db-shm").unlink(missing_ok=True)
    try:
        with SQLiteJournal(place / "j.db") as journal:
            return hashes_of(journal), bool(journal.verify())
    except JournalError as error:
        return error


def torn(old: bytes, new: bytes, rng: random.Random) -> Iterator[bytes]:
    """Yield what may be left of *old* where *new* was being written, sector by sector."""
    first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
    places = range(first // SECTOR * SECTOR, len(new) + SECTOR, SECTOR)
    for place in places:  # the first sectors
        yield new[:place] + old[place:]
    sectors = [place for place in places if rng.random() < 0.5]
    some = bytearray(old.ljust(len(new), b"\0"))
    for place in sectors:  # some of them, in any order
        some[place : place + SECTOR] = new[place : place + SECTOR]
    yield bytes(some)


class TestPowerCuts:
    def test_in_a_commit(self, place: Path, moments: list[Moment], tell: Tell) -> None:
        """Whatever part of a commit was written, it is there as a whole, or not at all."""
        rng, tried = random.Random(1), Counter[str]()
        for before, after in itertools.pairwise(moments):
            for wal in torn(before.files["-wal"], after.files["-wal"], rng):
                left = before.files | {"-wal": wal}
                if after.hashes == before.hashes:  # a checkpoint, which is done by now
                    left[""] = after.files[""]
                found, told = opened(place, left)
                assert found in (before.hashes, after.hashes)
                assert not told
                tried["after" if found == after.hashes else "before"] += 1

        tell("journal by power cuts", tried.total(), tried)
        assert tried["before"] > 200
        assert tried["after"] > COMMITS // 2

    def test_in_a_checkpoint(self, place: Path, moments: list[Moment]) -> None:
        """Whatever part of a checkpoint was written, the ``-wal`` still has it all."""
        rng, tried = random.Random(2), 0
        for before, after in itertools.pairwise(moments):
            if after.hashes != before.hashes:
                continue
            for data in torn(before.files[""], after.files[""], rng):
                found, told = opened(place, before.files | {"": data})
                assert (found, told) == (before.hashes, False)
                tried += 1

        assert tried > 50

    def test_of_the_head(self, place: Path, moments: list[Moment]) -> None:
        """An older head, or one whose last slot is torn, opens, and is brought up to date."""
        for number, now in enumerate(moments):
            for earlier in moments[: number + 1]:
                found, told = opened(place, now.files | {".head": earlier.files[".head"]})
                assert (found, told) == (now.hashes, False)
            for slot in (0, 1):
                found, _ = opened(place, now.files | {".head": tear(now.files[".head"], slot)})
                assert found == now.hashes

    def test_mixed(self, place: Path, moments: list[Moment], tell: Tell) -> None:
        """Files of different times are refused or told of, or hold what was there at one of them.

        And where the head is of a later time than what they hold, they are refused.
        """
        rng, outcomes = random.Random(3), Counter[str]()
        known = {one.hashes for one in moments}
        for _ in range(MIXES):
            chosen = [rng.choice(moments) for _ in SIDES]
            files = {side: one.files[side] for side, one in zip(SIDES, chosen, strict=True)}
            if rng.random() < 0.2:
                files["-wal"] = b""
            found = opened(place, files)
            if isinstance(found, JournalError):
                outcomes[type(found).__name__] += 1
                continue
            hashes, told = found
            assert told or hashes in known
            assert told or set(chosen[-1].hashes) <= set(hashes)
            outcomes["told" if told else "opened"] += 1

        tell("journal by mixed copies", outcomes.total(), outcomes)
        assert outcomes["JournalIntegrityError"] > 50
        assert outcomes["opened"] > 50


def tear(head: bytes, slot: int) -> bytes:
    """Return *head* with half of a slot lost."""
    place = slot * PITCH
    return head[:place] + b"\0" * (SLOT_BYTES // 2) + head[place + SLOT_BYTES // 2 :]
