"""The contract of a journal, over what keeps it and over what breaks it."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import JournalError
from pyflow.protocols import Journal
from pyflow.record.codec import GENESIS, seal
from pyflow.record.events import TaskStarted
from pyflow.record.memory import MemoryJournal
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.testing.contracts import check_journal
from support.trails import AT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyflow.record.codec import Record


class Drops(MemoryJournal):
    """Loses the last record of each commit."""

    def append(
        self, run_id: str, events: Sequence[Any], /, *, at: Any, fences: Any = ()
    ) -> list[Record]:
        return super().append(run_id, events[:-1], at=at)


class Forgets(MemoryJournal):
    """Says that it has written, and reads back one record less."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id, after=after)[:-1]


class Reorders(MemoryJournal):
    """Reads back to front."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id, after=after)[::-1]


class Unchains(MemoryJournal):
    """Begins a new chain with every commit."""

    def append(
        self, run_id: str, events: Sequence[Any], /, *, at: Any, fences: Any = ()
    ) -> list[Record]:
        chain = self._runs.setdefault(run_id, [])
        records = seal(run_id, events, at=at, seq=len(chain), prev=GENESIS)
        chain.extend(records)
        return records


class Mixes(MemoryJournal):
    """Keeps one chain for all runs."""

    def append(
        self, run_id: str, events: Sequence[Any], /, *, at: Any, fences: Any = ()
    ) -> list[Record]:
        return super().append("all", events, at=at)

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read("all", after=after)


class Halves(MemoryJournal):
    """Writes event by event, so that a commit may stop in the middle."""

    def append(
        self, run_id: str, events: Sequence[Any], /, *, at: Any, fences: Any = ()
    ) -> list[Record]:
        return [
            record
            for event in events
            for record in super(Halves, self).append(run_id, [event], at=at)
        ]


class Swallows(MemoryJournal):
    """Keeps quiet about what it could not write."""

    def append(
        self, run_id: str, events: Sequence[Any], /, *, at: Any, fences: Any = ()
    ) -> list[Record]:
        with contextlib.suppress(JournalError):
            return super().append(run_id, events, at=at)
        return []


class Sorts(MemoryJournal):
    """Lists runs by name."""

    def runs(self) -> list[str]:
        return sorted(super().runs())


class Invents(MemoryJournal):
    """Takes every run that is asked for as one that there is."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        self._runs.setdefault(run_id, [])
        return super().read(run_id, after=after)


class Ignores(MemoryJournal):
    """Reads everything, whatever is asked for."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id)


class Lends(MemoryJournal):
    """Hands out its own list."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id, after=after) if after else self._runs.get(run_id, [])


class Thaws(MemoryJournal):
    """Hands out records that can be changed."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Any]:
        return [Soft(record) for record in super().read(run_id, after=after)]


class Soft:
    """Looks like a record."""

    def __init__(self, record: Record) -> None:
        self._record = record
        for name in ("seq", "run_id", "at", "event", "prev", "hash"):
            setattr(self, name, getattr(record, name))

    def __eq__(self, other: object) -> bool:
        return other in (self._record, self)

    __hash__ = None  # type: ignore[assignment]

    @property
    def kind(self) -> str:
        return self._record.kind


class Fails(MemoryJournal):
    """Never writes anything."""

    def append(
        self, run_id: str, events: Sequence[Any], /, *, at: Any, fences: Any = ()
    ) -> list[Record]:
        raise OSError("disk full")


class Closed(MemoryJournal):
    """Hands out tuples, which is as good."""

    def read(self, run_id: str, /, *, after: int = 0) -> Any:
        return tuple(super().read(run_id, after=after))


class Reopened:
    """Opens the file anew for everything that is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(
        self, run_id: str, events: Sequence[Any], /, *, at: Any, fences: Any = ()
    ) -> list[Record]:
        with SQLiteJournal(self.path) as journal:
            return journal.append(run_id, events, at=at, fences=fences)

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        with SQLiteJournal(self.path) as journal:
            return journal.read(run_id, after=after)

    def runs(self) -> list[str]:
        with SQLiteJournal(self.path) as journal:
            return journal.runs()


BROKEN_JOURNALS: list[tuple[type[MemoryJournal], str]] = [
    (Drops, "`append` returns the records of its events"),
    (Forgets, "`read` returns what `append` returned"),
    (Reorders, "`read` returns what `append` returned"),
    (Unchains, "chained by hash"),
    (Mixes, "Runs that write in turn"),
    (Halves, "cannot be written raises"),
    (Swallows, "cannot be written raises"),
    (Sorts, "`runs` names the runs in the order"),
    (Invents, "is no run"),
    (Ignores, "leaves out the records up to"),
    (Lends, "a way into the journal"),
    (Thaws, "a way into the journal"),
    (Fails, "disk full"),
]


class TestCheckJournal:
    def test_memory(self) -> None:
        """The journal in memory keeps the contract."""
        journal: Journal = MemoryJournal()

        check_journal(MemoryJournal)
        check_journal(Closed)

        assert journal.runs() == []

    def test_on_disk(self, tmp_path: Path) -> None:
        """The journal on disk keeps the contract."""
        numbers = itertools.count()
        with contextlib.ExitStack() as opened:
            check_journal(
                lambda: opened.enter_context(SQLiteJournal(tmp_path / f"{next(numbers)}.db"))
            )

        assert next(numbers) > 5

    def test_reopened(self, tmp_path: Path) -> None:
        """So does one that is closed and opened again around everything that is done with it."""
        numbers = itertools.count()
        check_journal(lambda: Reopened(tmp_path / f"{next(numbers)}.db"))

    @pytest.mark.parametrize("kind", [MemoryJournal, SQLiteJournal])
    def test_fences(self, tmp_path: Path, kind: Any) -> None:
        """Every journal takes the locks that a run believes it holds; none is as good as any."""
        with contextlib.ExitStack() as opened:
            on_disk = kind is SQLiteJournal
            journal: Journal = (
                opened.enter_context(SQLiteJournal(tmp_path / "j.db")) if on_disk else kind()
            )
            records = journal.append("r", [TaskStarted("a", 1, "why")], at=AT, fences=())

            assert list(journal.read("r")) == list(records)

    @pytest.mark.parametrize(
        ("broken", "rule"), BROKEN_JOURNALS, ids=lambda x: getattr(x, "__name__", "")
    )
    def test_catches(self, broken: Callable[[], Journal], rule: str) -> None:
        """A journal that breaks a rule is caught, and the rule is named."""
        with pytest.raises(AssertionError, match="broken rule") as caught:
            check_journal(broken)

        assert rule in str(caught.value)
