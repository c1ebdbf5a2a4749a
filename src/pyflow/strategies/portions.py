"""Counts and percentages: how many of so many, as people say it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias

from pyflow.errors import DefinitionError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Portion", "batches", "portion", "waves_of"]

Portion: TypeAlias = int | str
"""A whole number, or a percentage such as ``"25%"``."""

PERCENTAGE = re.compile(r"(\d{1,3}(?:\.\d+)?) ?%")


def portion(given: object, total: int, *, up: bool = True) -> int | None:
    """Return how many of *total* that is, or None where it is no portion.

    A percentage is rounded *up*, or down; a number may be more than *total*.
    """
    if type(given) is int:
        return given if given >= 0 else None
    found = PERCENTAGE.fullmatch(given) if isinstance(given, str) else None
    if found is None or float(found[1]) > 100:
        return None
    exact = total * float(found[1]) / 100
    return math.ceil(exact - 1e-9) if up else math.floor(exact + 1e-9)


def waves_of(name: str, given: Sequence[object], total: int) -> list[int]:
    """Return how many of *total* are done after each wave, without waves that add none.

    Raises:
        DefinitionError: They are no rising portions of which the last is everything.
    """
    several = list(given)
    ends = [portion(one, total) for one in several]
    reached = [0, *(end for end in ends if end is not None)]
    if None in ends or reached != sorted(reached) or not total or reached[-1] != total:
        problem = (
            f"waves={shown(given)} must be rising counts or percentages that end with all "
            f'{total} targets, such as [1, "10%", "50%", "100%"]'
        )
        raise DefinitionError(name, [problem])
    return list(dict.fromkeys(reached))[1:]


def batches(names: Iterable[str], size: int) -> list[list[str]]:
    """Return *names* in order, at most *size* together."""
    left = list(names)
    return [left[start : start + size] for start in range(0, len(left), size)]
