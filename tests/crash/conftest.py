"""Says after the tests how many points were tried, and how the runs ended."""

from __future__ import annotations

import pytest

from support.killed import Tell

TRIED = pytest.StashKey[list[tuple[str, int, str]]]()


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Tell:
    """Keep reports for the summary."""
    tried = pytestconfig.stash.setdefault(TRIED, [])
    return lambda name, report: tried.append((name, report.points, str(report).split("\n")[0]))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print a line for each workflow that was killed, and the sum."""
    tried = config.stash.get(TRIED, [])
    if not tried:
        return
    terminalreporter.section("crashes")
    for name, _, line in tried:
        terminalreporter.write_line(f"{name}: {line}")
    terminalreporter.write_line(f"all: killed at {sum(points for _, points, _ in tried):,} points")
