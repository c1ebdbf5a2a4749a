"""A simulated infrastructure: services, versions, traffic, and the ports that act on them."""

from __future__ import annotations

from pyflow.testing.world.ports import (
    SimulatedMetrics,
    SimulatedNotifier,
    SimulatedPlatform,
    SimulatedProbe,
    SimulatedRouter,
)
from pyflow.testing.world.service import Load, Release
from pyflow.testing.world.world import Change, World

__all__ = [
    "Change",
    "Load",
    "Release",
    "SimulatedMetrics",
    "SimulatedNotifier",
    "SimulatedPlatform",
    "SimulatedProbe",
    "SimulatedRouter",
    "World",
]
