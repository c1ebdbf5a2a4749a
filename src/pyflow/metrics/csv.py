"""Ask a file of values, as exports and past releases come."""

from __future__ import annotations

import asyncio
import csv
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.clock import SystemClock
from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics._series import as_instant, as_number, check_question, collected
from pyflow.probes._checks import one_line, path_problems, refuse, text_problems

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from pyflow.protocols import Clock, Samples

__all__ = ["CSV"]

BYTES_MAX = 256 * 2**20


@dataclass(frozen=True, slots=True, repr=False)
class CSV:
    """Answers with a column of a CSV file that has a head.

    A query is the name of a column, and conditions on others: ``latency_s
    version=2.0 region=eu``. An empty cell is no data. The file is read anew
    for each question, so it may grow.
    """

    path: str | os.PathLike[str]
    """Where the file is."""

    _: KW_ONLY

    at: str = "at"
    """The column of the instants: seconds since 1970, or ISO 8601 with a time zone."""

    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)
    """What tells the end of a window that nobody names."""

    def __post_init__(self) -> None:
        refuse("CSV", [*path_problems("path", self.path), *text_problems("at", self.at or "")])

    def __repr__(self) -> str:
        return f"CSV({str(self.path)!r})"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Samples:
        """Return the values of a column in the *window* that ends at *at* (now).

        Raises:
            DefinitionError: That is no question.
            MetricError: The file cannot be read, lacks a column, or holds what
                is no number; the error names the line.
        """
        check_question(query, window, at)
        column, conditions = _parsed(query)
        points = await asyncio.to_thread(self._read, query, column, conditions)
        return collected(points, window=window, at=at or self.clock.now())

    def _read(
        self, query: str, column: str, conditions: dict[str, str]
    ) -> list[tuple[datetime, float]]:
        path = Path(self.path)
        points: list[tuple[datetime, float]] = []
        try:
            if path.stat().st_size > BYTES_MAX:
                raise MetricError(repr(self), query, f"the file is larger than {BYTES_MAX} bytes")
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                self._check_columns(query, [self.at, column, *conditions], rows.fieldnames or ())
                for row in rows:
                    meant = all(row[name] == value for name, value in conditions.items())
                    if meant and row[column]:
                        points.append((as_instant(row[self.at]), as_number(row[column])))
        except OSError as error:
            raise MetricError(repr(self), query, error.strerror or str(error)) from error
        except (ValueError, csv.Error) as error:
            reason = one_line(f"after {len(points)} values: {error}")
            raise MetricError(repr(self), query, reason) from error
        return points

    def _check_columns(self, query: str, wanted: list[str], found: Sequence[str]) -> None:
        missing = [name for name in wanted if name not in found]
        if missing:
            has = ", ".join(found) or "none"
            raise MetricError(
                repr(self), query, one_line(f"it has no column {missing[0]!r}; it has: {has}")
            )


def _parsed(query: str) -> tuple[str, dict[str, str]]:
    """Return the column and the conditions of *query*.

    Raises:
        DefinitionError: A condition is none.
    """
    column, *rest = query.split()
    conditions = [word.partition("=") for word in rest]
    if not all(name and mark for name, mark, _ in conditions):
        raise DefinitionError(
            "query", [f"{query!r} is not a column and conditions, as in 'latency version=2.0'"]
        )
    return column, {name: value for name, _, value in conditions}
