"""Tools to test deployments with: virtual time, and what it is made of."""

from __future__ import annotations

from pyflow.testing.clock import VirtualClock
from pyflow.testing.errors import SimulationDeadlock, SimulationError, SimulationStalled, Waiting
from pyflow.testing.loop import VirtualLoop, run_virtual

__all__ = [
    "SimulationDeadlock",
    "SimulationError",
    "SimulationStalled",
    "VirtualClock",
    "VirtualLoop",
    "Waiting",
    "run_virtual",
]
