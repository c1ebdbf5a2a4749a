"""Run a workflow under every fault and every pair of faults, and check what must hold."""

from __future__ import annotations

from pyflow.testing.exploration.explore import always, explore, replay
from pyflow.testing.exploration.explored import Explored
from pyflow.testing.exploration.report import Counterexample, Exploration, Progress
from pyflow.testing.exploration.trial import Violation

__all__ = [
    "Counterexample",
    "Exploration",
    "Explored",
    "Progress",
    "Violation",
    "always",
    "explore",
    "replay",
]
