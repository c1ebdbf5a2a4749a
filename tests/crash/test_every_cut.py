"""Engines that die around every commit, in virtual time: the same workflows, a thousand deaths in seconds.

The record is cut where a commit began or ended; a cut inside of one is a state
that no journal ever has. More than 5,000 of them; `make soak` tries ten times
as many.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import pyflow
from pyflow.record.codec import Record
from pyflow.record.memory import MemoryJournal
from pyflow.testing.simulation import SimulatedEngine, in_virtual_time
from support.effects import Site
from support.killed import CASES, FACTOR, Case, Tell

SECOND, THIRD = 11, 2
"""At how many commits of a recovery it is cut off as well, and the recovery from that."""

POINTS = 5_000
"""How many cuts there are at least, over all cases."""


@dataclass(frozen=True)
class Cut:
    """What is left of a run right before or after one of its commits."""

    records: int
    """How many of its records."""

    effects: tuple[str, ...]
    """What was done."""

    def __str__(self) -> str:
        return f"after record {self.records}, {len(self.effects)} effects"


class Watched(MemoryJournal):
    """Remembers what would have been left by a crash before and after each commit."""

    def __init__(self, records: Sequence[Record], site: Site) -> None:
        super().__init__()
        if records:
            self._runs[records[0].run_id] = list(records)
        self.cuts: list[Cut] = []
        self._site = site

    def append(self, run_id: str, events: Any, /, **options: Any) -> list[Record]:
        self._cut(run_id)
        records = super().append(run_id, events, **options)
        self._cut(run_id)
        return records

    def _cut(self, run_id: str) -> None:
        self.cuts.append(Cut(len(self.read(run_id)), tuple(self._site.effects)))


@dataclass(frozen=True)
class Life:
    """What an engine came to, and where it could have been cut off."""

    result: pyflow.Result
    records: list[Record]
    effects: list[str]
    cuts: list[Cut]

    @property
    def statuses(self) -> dict[str, str]:
        """How each task ended."""
        return {name: task.status for name, task in self.result.tasks.items()}


class Lives:
    """Engines that run the workflow of one case, one after the other, at one place.

    The plan is made once: its functions have their effects there, whichever
    engine calls them.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.site = Site()
        self.plan = case.make(self.site).check()
        self.whole = self.live()
        self.endings: Counter[str] = Counter()

    def cut_everywhere(self, rng: random.Random) -> None:
        """Cut the run at each of its cuts, recoveries at some, and recoveries from those."""
        for cut in self.whole.cuts:
            if cut.records:
                self._cut((cut,), self.whole, rng)

    def _cut(self, cuts: tuple[Cut, ...], before: Life, rng: random.Random) -> None:
        life = self.live(before, cuts[-1])
        self.check(life, cuts)
        self.endings[life.result.status] += 1
        for cut in self._deeper(life, rng, len(cuts)):
            self._cut((*cuts, cut), life, rng)

    def _deeper(self, life: Life, rng: random.Random, depth: int) -> Iterator[Cut]:
        wanted = (SECOND, THIRD, 0)[depth - 1]
        yield from rng.sample(life.cuts, min(wanted, len(life.cuts)))

    def live(self, before: Life | None = None, cut: Cut | None = None) -> Life:
        """Run the workflow, or take it up where *cut* left *before*, until it has ended."""
        records = before.records[: cut.records] if before and cut else []
        self.site.go_back(cut.effects if cut else ())
        journal = Watched(records, self.site)
        engine = SimulatedEngine(journal=journal)
        result = in_virtual_time(lambda: self._attend(engine, records))
        return Life(result, journal.read(result.run_id), self.site.effects, journal.cuts)

    async def _attend(self, engine: SimulatedEngine, records: list[Record]) -> pyflow.Result:
        again = records[0].run_id if records else None
        run = engine.reopen(again, self.plan) if again else engine.start(self.plan)
        result = await run
        while result.status == "held" and self.case.operator is not None:
            statuses = {name: task.status for name, task in result.tasks.items()}
            self.case.operator(run, statuses, self.site)
            result = await run
        return result

    def check(self, life: Life, cuts: Sequence[Cut]) -> None:
        """Check that *life*, after *cuts*, came to what the whole run did."""
        result, wanted = life.result, self.whole
        try:
            self.case.check(
                result.status,
                life.statuses,
                self.site,
                crashes=len(cuts),
                asked_again=len(cuts),  # what an engine was told, and had not yet written
            )
            assert life.statuses == wanted.statuses, f"{life.statuses}, not {wanted.statuses}"
            assert result.residue == wanted.result.residue, f"residue {result.residue}"
            result.audit_trail.verify()
        except AssertionError as error:
            where = f"{self.case} cut {' and '.join(map(str, cuts))}"
            raise AssertionError(f"{where}: {error}\n{result.audit_trail}") from None


@pytest.mark.parametrize("seed", range(FACTOR))
def test_every_cut(tell: Tell, seed: int) -> None:
    """A run is cut off around any commit, its recovery as well, and the recovery from that."""
    rng, tried = random.Random(seed), 0
    for case in CASES:
        lives = Lives(case)
        lives.cut_everywhere(rng)
        number = lives.endings.total()
        tell(f"{case} in virtual time", number, lives.endings)
        tried += number

    assert tried >= POINTS
