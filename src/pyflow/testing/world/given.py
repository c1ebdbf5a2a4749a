"""Check what a test says about its world: names, counts, figures.

A world that takes nonsense proves nonsense. Each check raises a
`SimulationError` that shows what was given and says what to give.
"""

from __future__ import annotations

import math
from datetime import timedelta

from pyflow.errors import shown
from pyflow.testing.errors import SimulationError

__all__ = ["check_count", "check_name", "check_seed", "check_window", "figure", "number"]

COUNT_MAX = 10_000


def check_name(value: object, what: str) -> None:
    """Check that *value* is one word, so that queries and facts can be made of it."""
    if not isinstance(value, str) or value.split() != [value]:
        raise SimulationError(f"{shown(value)} is no name for a {what}; give one word")


def check_count(value: object, what: str, *, least: int = 0) -> None:
    """Check that *value* is a whole number from *least* to `COUNT_MAX`."""
    if type(value) is not int or not least <= value <= COUNT_MAX:
        raise SimulationError(
            f"{what} cannot be {shown(value)}; give a whole number from {least} to {COUNT_MAX:,}"
        )


def check_seed(seed: object, what: str = "seed") -> None:
    """Check that *seed* is a whole number: of nothing else could the same run be made again."""
    if type(seed) is not int:
        raise SimulationError(f"{what}={shown(seed)}: give a whole number, such as 0")


def check_window(value: object) -> None:
    """Check that *value* is a span of time that can be asked about."""
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise SimulationError(f"window cannot be {shown(value)}; give a timedelta above zero")


def figure(value: object, what: str, *, most: float = math.inf) -> float:
    """Return *value*, which has to be a finite number from 0 to *most*."""
    found = number(value, what)
    if not 0 <= found <= most or found == math.inf:
        upto = f" to {most:g}" if most < math.inf else ""
        raise SimulationError(f"{what} cannot be {shown(value)}; give a finite number from 0{upto}")
    return found


def number(value: object, what: str) -> float:
    """Return *value*, which has to be a number, and may be infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise SimulationError(f"{what} cannot be {shown(value)}; give a number")
    return value
