"""Numbers that others published or computed, as the tests read them.

`data/kayenta.json` holds numeric facts from the tests of spinnaker/kayenta and
values computed with scipy; `source` and `notes` in it say what is whose.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["VECTORS", "arms", "named"]

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "analysis/data/kayenta.json").read_text()
)


def arms(case: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Return canary and baseline of a case, with NaN where a value is missing."""
    keys = ("experiment", "control") if "experiment" in case else ("x", "y")
    return (
        [float("nan") if value is None else value for value in case[keys[0]]],
        [float("nan") if value is None else value for value in case[keys[1]]],
    )


def named(path: str) -> dict[str, Any] | None:
    """Return the case that a derived value is about, if its numbers are here."""
    section, _, name = path.partition("/")
    return next((case for case in VECTORS[section] if case["name"] == name), None)
