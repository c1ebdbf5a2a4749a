"""Closing the gaps that archiving has left in a journal: by what is archived, or by passing over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.record.sqlite.cuts import cuts_in
from pyflow.record.sqlite.reading import text_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

    from pyflow.record.sqlite.cuts import Cut, Gap
    from pyflow.record.sqlite.reading import Reader, Row

__all__ = ["Mended"]


class Mended:
    """Has a reader go on behind each gap, with the chain that was there."""

    def __init__(
        self,
        reader: Reader,
        chains: dict[int, str],
        archives: Mapping[str, Callable[[], Iterator[Row]]],
    ) -> None:
        self.cuts: list[Cut] = []
        self.passed: list[Gap] = []
        self.elsewhere: dict[str, None] = {}
        """Runs that were read in archives, of which the index of runs says nothing."""
        self._reader = reader
        self._chains = chains
        self._archives = archives
        self._rows: dict[str, Iterator[Row]] = {}
        self._gaps: dict[int, tuple[Gap, Cut]] = {}

    def look(self, connection: sqlite3.Connection) -> None:
        """Take note of what was removed."""
        self.cuts = cuts_in(connection)
        self._gaps = {gap.first: (gap, cut) for cut in self.cuts for gap in cut.gaps}

    def before(self, n: int) -> None:
        """Close the gaps up to record *n*."""
        while (found := self._gaps.get(self._reader.n + 1)) is not None:
            gap, cut = found
            if gap.end.n >= n:
                return
            if cut.digest in self._archives:
                self._fill(gap, cut)
            else:
                self.passed.append(gap)
                self._reader.jump(gap.end)
            self._mark(gap.end.n)
            if self._reader.n < gap.end.n:  # what was to fill it did not; it is told below
                self._reader.jump(gap.end)

    def _fill(self, gap: Gap, cut: Cut) -> None:
        rows = self._rows.get(cut.digest)
        if rows is None:
            rows = self._rows[cut.digest] = self._archives[cut.digest]()
        for row in rows:
            self._reader.read(row)
            self.elsewhere[text_of(row[1])] = None
            self._mark(row[0])
            if row[0] >= gap.end.n:
                return

    def _mark(self, n: int) -> None:
        if n in self._chains:
            self._chains[n] = self._reader.tip.chain
