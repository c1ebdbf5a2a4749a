"""What `explore` makes of every planted fault; each is tried once in a session."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest

from mutants.engine import Mutant
from mutants.faulty import Faulty
from mutants.workflows import Invariant
from pyflow.testing import Exploration
from pyflow.testing.exploration.trial import name_of

__all__ = ["Found", "caught", "promise"]


@dataclass(frozen=True)
class Found:
    """The smallest counterexample, and what it took to find it."""

    broken: tuple[str, ...]
    """What does not hold; nothing, if nothing was found."""

    faults: int
    """How many things have to go wrong for it."""

    runs: int
    """How many runs were made until it was found."""


@functools.cache
def caught(planted: Mutant | Faulty) -> Found:
    """Return what `explore` finds of *planted*."""
    if isinstance(planted, Faulty):
        return _found(planted.explore())
    with pytest.MonkeyPatch.context() as patch:
        planted.plant(patch)
        return _found(planted.case.explore())


def promise(breaks: Invariant | str) -> str:
    """Return what is broken, in a sentence."""
    return breaks if isinstance(breaks, str) else name_of(breaks)


def _found(report: Exploration) -> Found:
    one = report.counterexample
    if one is None:
        return Found((), 0, report.runs)
    broken = dict.fromkeys(violation.invariant for violation in one.violations)
    return Found(tuple(broken), len(one.faults), report.runs)
