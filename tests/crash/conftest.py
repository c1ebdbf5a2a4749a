"""Counts the crashes of a session, says how the runs ended, and lets every one of them be slow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from support.killed import Tell

TRIED = pytest.StashKey[list[tuple[str, int, Mapping[str, int]]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in here: `make crash` runs it, `make unit` does not."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("crash")


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Tell:
    """Keep what is told for the summary."""
    tried = pytestconfig.stash.setdefault(TRIED, [])
    return lambda name, points, endings: tried.append((name, points, endings))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print a line for each workflow and way to die, and the sum of each way."""
    tried = config.stash.get(TRIED, [])
    if not tried:
        return
    sums: dict[str, int] = {}
    terminalreporter.section("crashes")
    for name, points, endings in tried:
        how = name.split(maxsplit=1)[1]
        sums[how] = sums.get(how, 0) + points
        told = ", ".join(f"{status} {count:,}" for status, count in endings.items())
        terminalreporter.write_line(f"{points:>7,} {name}: {told}")
    for how, points in sums.items():
        terminalreporter.write_line(f"{points:>7,} {how}, together")
