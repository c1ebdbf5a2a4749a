"""Several runs as JUnit's XML: a suite for each, in one document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.exports.runs import each
from pyflow.reports.junit import CLOSING, OPENING, suite_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyflow.exports.runs import Trails

__all__ = ["junit_suites"]


def junit_suites(trails: Trails) -> Iterator[str]:
    """Yield *trails* as JUnit's XML, a suite at a time; `pyflow.reports.junit` says what is in one.

    Raises:
        JournalError: A trail does not begin with its run's first record.
    """
    yield OPENING
    for trail in each(trails):
        yield suite_of(trail)
    yield CLOSING
