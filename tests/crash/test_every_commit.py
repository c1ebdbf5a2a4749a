"""kill -9 around every commit: nothing is lost, done twice unasked, stuck, or called a success falsely.

Real processes, real files, more than 2,000 points; `make soak` tries ten times as many.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.testing.crash import CrashReport, Survivor, crash_everywhere
from support.effects import FileSite, in_memory_root, locks_left
from support.killed import CASES, FACTOR, Case, Tell


class Asking:
    """Asks things of one run."""

    def __init__(self, engine: pyflow.Engine, run_id: str) -> None:
        self._engine = engine
        self._run_id = run_id

    def __getattr__(self, what: str) -> Any:
        return partial(getattr(self._engine, what), self._run_id)


def kill(case: Case, **options: Any) -> CrashReport:
    """Kill the workflow of *case* everywhere, in processes of their own."""
    asks = case.operator

    def factory(directory: Path) -> pyflow.Workflow:
        return case.make(FileSite(directory))

    def check(one: Survivor) -> None:
        site = FileSite(one.directory)
        case.check(one.status, one.tasks, site, crashes=len(one.crashes))
        left = locks_left(one.directory)
        assert left == (["service:shop"] if one.residue else []), f"locks are left: {left}"

    def operator(engine: pyflow.Engine, held: Survivor) -> None:
        assert asks is not None
        asks(Asking(engine, held.run_id), held.tasks, FileSite(held.directory))

    return crash_everywhere(
        factory,
        check=check,
        operator=operator if asks is not None else None,
        root=in_memory_root(),
        **options,
    )


@pytest.mark.parametrize("case", CASES, ids=str)
class TestEveryCommit:
    @pytest.mark.parametrize("seed", range(FACTOR))
    def test_survives_sigkill(self, tell: Tell, case: Case, seed: int) -> None:
        """Killed around any commit, and again in its recovery, a run comes to what it would have."""
        report = kill(case, again=case.again, seed=seed)

        tell(f"{case} by SIGKILL", report.points, report.endings)
        assert report.ok, str(report)
        assert report.points >= case.points

    def test_survives_sigterm(self, tell: Tell, case: Case) -> None:
        """Told to end around any commit, a run lets what is under way end, and is taken up."""
        report = kill(case, signals=["SIGTERM"])

        tell(f"{case} by SIGTERM", report.points, report.endings)
        assert report.ok, str(report)


def test_points() -> None:
    """There are as many as were promised."""
    assert sum(case.points for case in CASES) >= 2_000
