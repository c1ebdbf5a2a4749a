"""Counts and percentages, and waves of them."""

from __future__ import annotations

from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.strategies.portions import batches, portion, waves_of


class TestPortion:
    @pytest.mark.parametrize(
        ("given", "up", "expected"),
        [
            (3, True, 3),
            (30, True, 30),
            ("25%", True, 3),
            ("25%", False, 2),
            ("12.5 %", True, 2),
            ("10%", True, 1),
            ("0%", True, 0),
            ("100%", False, 10),
        ],
    )
    def test_is_a_number_of_so_many(self, given: Any, up: bool, expected: int) -> None:
        """A count is itself, and a percentage of ten is rounded up or down."""
        assert portion(given, 10, up=up) == expected

    @pytest.mark.parametrize("given", [-1, True, 1.5, "1", "101%", "-5%", "half", None, [1]])
    def test_is_nothing_else(self, given: Any) -> None:
        """What is neither a count nor a percentage is no portion."""
        assert portion(given, 10) is None

    @pytest.mark.parametrize("total", range(1, 200))
    def test_of_tenths_is_exact(self, total: int) -> None:
        """Rounding is never fooled by floats: ten percent of ten times n are n."""
        assert portion("10%", 10 * total) == portion("10%", 10 * total, up=False) == total


class TestWaves:
    @pytest.mark.parametrize(
        ("given", "total", "ends"),
        [
            ([1, "10%", "50%", "100%"], 200, [1, 20, 100, 200]),
            ([1, "10%", "50%", "100%"], 3, [1, 2, 3]),
            ([1, "10%", "50%", "100%"], 1, [1]),
            (["100%"], 7, [7]),
            ((2, 4), 4, [2, 4]),
        ],
    )
    def test_end_with_everything(self, given: Any, total: int, ends: list[int]) -> None:
        """Each wave ends further on than the one before, the last with all of them."""
        assert waves_of("w", given, total) == ends

    @pytest.mark.parametrize("given", [[], [1], [3, 2, 4], [5], ["5%"], "100%", [None, 4]])
    def test_are_refused(self, given: Any) -> None:
        """Waves that fall back, or do not end with all, are refused."""
        with pytest.raises(DefinitionError, match="w: waves="):
            waves_of("w", given, 4)


class TestBatches:
    def test_keep_the_order(self) -> None:
        """Names stay in order, at most so many together."""
        assert batches("abcde", 2) == [["a", "b"], ["c", "d"], ["e"]]
        assert batches([], 2) == []
