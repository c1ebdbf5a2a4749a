"""What a journal may say at once, whichever journal it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pyflow.record import events as ev
from pyflow.record.ledger import BROKEN, ledger_of
from pyflow.record.memory import MemoryJournal
from pyflow.record.shortcuts import (
    Unknown,
    last_record,
    latest_runs,
    unfinished_runs,
    unknown_text,
)
from pyflow.record.sqlite.journal import Batch, SQLiteJournal
from support.journals import logged, started
from support.trails import AT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "disk"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return a journal that is empty, of either kind."""
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SQLiteJournal(tmp_path / "j.db") as journal:
        yield journal


def begin(journal: Any, *run_ids: str) -> None:
    for run_id in run_ids:
        journal.append(run_id, [started(run_id)], at=AT)


class TestLatestRuns:
    @pytest.mark.parametrize("count", range(5))
    def test_in_order(self, journal: Any, count: int) -> None:
        """The last to begin come in order, and nothing that is no run."""
        begin(journal, "c", ledger_of("c"), "a", BROKEN, "b", ledger_of("b"))

        assert latest_runs(journal, count) == ["c", "a", "b"][max(0, 3 - count) :]


class TestLastRecord:
    def test_is_the_last(self, journal: Any) -> None:
        """It is the last one of the run, and none where there is no such run."""
        begin(journal, "a")
        journal.append("a", [logged(1)], at=AT)

        found = last_record(journal, "a")

        assert found is not None
        assert found.seq == 2
        assert last_record(journal, "b") is None


class TestUnfinishedRuns:
    def test_none_is_missing(self, journal: Any) -> None:
        """Every run that has not ended is there, in order, and nothing that is no run."""
        begin(journal, "c", ledger_of("c"), "a", "b")
        journal.append("a", [ev.RunFinished("cancelled", 2)], at=AT)

        found = list(unfinished_runs(journal))

        assert [run_id for run_id in found if run_id != "a"] == ["c", "b"]

    def test_on_again(self, journal: Any) -> None:
        """A run that was taken up after its end has not ended."""
        begin(journal, "a")
        journal.append("a", [ev.RunFinished("failed", 2)], at=AT)
        journal.append("a", [logged(1)], at=AT)

        assert list(unfinished_runs(journal)) == ["a"]


class TestUnknown:
    def test_none(self, journal: Any) -> None:
        """Where there is no run, there is none that may have been meant."""
        unknown = Unknown(journal, "x")

        assert (unknown.near, unknown.last) == (None, None)
        assert unknown_text(journal, "x") == "no run 'x' is in the journal, which has none"

    def test_near(self, journal: Any) -> None:
        """The nearest is named, and how many there are, and the last one."""
        begin(journal, "shop-1", "till-2")

        assert unknown_text(journal, "shop-1x") == (
            "no run 'shop-1x' is in the journal, which has 2 runs, the last 'till-2'; "
            "did you mean 'shop-1'?"
        )

    def test_many(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many runs there are, only the latest are looked through."""
        names = ["meant", *(f"{n:05}" for n in range(1_000))]
        with SQLiteJournal(tmp_path / "j.db") as journal:
            journal.append_all([Batch(name, [started(name)], AT) for name in names])
            monkeypatch.setattr(journal, "runs", None)

            assert Unknown(journal, "meanx").near is None
            assert unknown_text(journal, "00000x") == (
                "no run '00000x' is in the journal, which has 1,000 runs or more, "
                "the last '00999'; did you mean '00000'?"
            )
