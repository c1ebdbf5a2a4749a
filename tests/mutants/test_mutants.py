"""`explore` finds what is planted, and nothing where nothing is planted."""

from __future__ import annotations

import random

import pytest

from mutants.catching import caught, promise
from mutants.engine import MUTANTS, Mutant
from mutants.faulty import FAULTY, Faulty
from mutants.workflows import CASES, Case
from pyflow.testing.exploration import invariants, trial
from pyflow.testing.exploration.promises import PROMISES
from support.laws import settle
from support.strategies import random_workflow, random_world

BUILT_IN = (
    *PROMISES,
    *invariants.AT_THE_END,
    *invariants.AT_ANY_TIME,
    *invariants.AT_EVERY_CHANGE,
    trial.RECORDED_FIRST,
    trial.LOCKED,
    trial.ALONE,
)
UNBREAKABLE = (invariants.weights_sum_to_100,)
"""A world refuses such weights itself."""
SEEDS = 1_000


def id_of(row: object) -> str:
    """Return what a row of a table is called."""
    if isinstance(row, Case):
        return f"{row.make_workflow.__name__}-{CASES.index(row)}"
    assert isinstance(row, Mutant | Faulty)
    return row.name


class TestEngine:
    @pytest.mark.parametrize("case", CASES, ids=id_of)
    def test_is_safe(self, case: Case) -> None:
        """The engine as it is keeps every promise, on every workflow that mutants are tried on."""
        report = case.explore()

        assert report.ok, report

    @pytest.mark.parametrize("mutant", MUTANTS, ids=id_of)
    def test_mutants_are_caught(self, mutant: Mutant) -> None:
        """With this fault in the engine, the promise is seen broken, within the budget."""
        found = caught(mutant)

        assert promise(mutant.breaks) in found.broken
        assert found.faults <= mutant.case.faults


class TestWorkflows:
    @pytest.mark.parametrize("faulty", FAULTY, ids=id_of)
    def test_mistakes_are_caught(self, faulty: Faulty) -> None:
        """The mistake breaks what it is said to break, once that many things go wrong."""
        found = caught(faulty)

        assert promise(faulty.breaks) in found.broken
        assert found.faults == faulty.faults

    @pytest.mark.parametrize("faulty", FAULTY, ids=id_of)
    def test_mended_are_safe(self, faulty: Faulty) -> None:
        """Without the mistake, as many faults do no harm."""
        report = faulty.explore(mended=True)

        assert report.ok, report


class TestPromises:
    def test_can_be_broken(self) -> None:
        """Each built-in invariant is one that some row of the tables breaks."""
        broken = {row.breaks for row in (*MUTANTS, *FAULTY)}

        assert [one for one in BUILT_IN if one not in broken] == list(UNBREAKABLE)

    def test_hold_for_the_machine_alone(self) -> None:
        """In random worlds, without an engine, the machine keeps every promise."""
        for seed in range(SEEDS):
            rng = random.Random(seed)
            world = settle(random_world(random_workflow(rng), rng))
            broken = [one.__name__ for one in PROMISES if one(world) is not None]

            assert broken == [], f"seed {seed}"
