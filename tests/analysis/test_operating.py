"""The stated error rates, by simulation: false aborts, misses, and how soon a regression is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyflow.analysis import Requests
from support.operating import SCENARIOS, Scenario, simulated

PAGE = Path(__file__).parents[2] / "docs/explanation/analysis.md"
ROW = re.compile(
    r"^\| (?P<name>[^|]+?) \| (?P<failed>[\d.]+) % ± (?P<error>[\d.]+) \|", re.MULTILINE
)


def quoted() -> dict[str, tuple[float, float]]:
    """Return the rates that the documentation states, with their errors."""
    return {
        row["name"]: (float(row["failed"]) / 100, float(row["error"]) / 100)
        for row in ROW.finditer(PAGE.read_text())
    }


class TestOperatingCharacteristics:
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
    def test_hold(self, scenario: Scenario) -> None:
        """Each rate is within its bar, and is the one that the documentation states."""
        found = simulated(scenario)
        seen = f"{found.failed:.2%} ± {found.error(found.failed):.2%} failed, {found.passed:.2%} passed"

        assert found.failed <= scenario.failed_most, seen
        assert found.failed >= scenario.failed_least, seen
        assert found.passed <= scenario.passed_most, seen
        if scenario.requests_most is not None:
            assert isinstance(scenario.traffic, Requests)
            assert found.median_look is not None
            assert found.median_look * scenario.traffic.canary <= scenario.requests_most
        stated, error = quoted()[scenario.name]
        assert stated == pytest.approx(found.failed, abs=found.error(found.failed))
        assert error == pytest.approx(found.error(found.failed), abs=0.001)

    def test_are_all_stated(self) -> None:
        """The documentation states these rates and no others."""
        assert list(quoted()) == [scenario.name for scenario in SCENARIOS]
