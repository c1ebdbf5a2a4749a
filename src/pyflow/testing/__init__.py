"""Tools to prove deployments with: virtual time, simulated runs, and what they are made of."""

from __future__ import annotations

from pyflow.testing.behaviour import (
    Behaviour,
    applied_then_fails,
    fails,
    flaps,
    hangs,
    lies,
    missing,
    nan,
    original,
    returns,
    stale,
    takes,
)
from pyflow.testing.clock import VirtualClock
from pyflow.testing.contracts import (
    check_clock,
    check_executor,
    check_journal,
    check_lock_manager,
    check_metric_source,
    check_notifier,
    check_platform,
    check_probe,
    check_router,
)
from pyflow.testing.errors import SimulationDeadlock, SimulationError, SimulationStalled, Waiting
from pyflow.testing.exploration import (
    Counterexample,
    Exploration,
    Explored,
    Progress,
    Violation,
    always,
    explore,
    replay,
)
from pyflow.testing.faults import KINDS, Fault, FaultKind, SimulatedFault
from pyflow.testing.loop import VirtualLoop, run_virtual
from pyflow.testing.samples import Sample
from pyflow.testing.simulation import SimulatedEngine, Simulation, simulate
from pyflow.testing.strands import SimulatedExecutor
from pyflow.testing.world import (
    Change,
    Load,
    Release,
    SimulatedMetrics,
    SimulatedNotifier,
    SimulatedPlatform,
    SimulatedProbe,
    SimulatedRouter,
    World,
)

__all__ = [
    "KINDS",
    "Behaviour",
    "Change",
    "Counterexample",
    "Exploration",
    "Explored",
    "Fault",
    "FaultKind",
    "Load",
    "Progress",
    "Release",
    "Sample",
    "SimulatedEngine",
    "SimulatedExecutor",
    "SimulatedFault",
    "SimulatedMetrics",
    "SimulatedNotifier",
    "SimulatedPlatform",
    "SimulatedProbe",
    "SimulatedRouter",
    "Simulation",
    "SimulationDeadlock",
    "SimulationError",
    "SimulationStalled",
    "Violation",
    "VirtualClock",
    "VirtualLoop",
    "Waiting",
    "World",
    "always",
    "applied_then_fails",
    "check_clock",
    "check_executor",
    "check_journal",
    "check_lock_manager",
    "check_metric_source",
    "check_notifier",
    "check_platform",
    "check_probe",
    "check_router",
    "explore",
    "fails",
    "flaps",
    "hangs",
    "lies",
    "missing",
    "nan",
    "original",
    "replay",
    "returns",
    "run_virtual",
    "simulate",
    "stale",
    "takes",
]
