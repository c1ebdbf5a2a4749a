"""Strategies: functions that return a `Workflow` which brings a version into production."""

from pyflow.strategies.blue_green import blue_green
from pyflow.strategies.canary import Step, canary
from pyflow.strategies.coupling import Service, StateChange, WayBack
from pyflow.strategies.outline import RolloutWorkflow
from pyflow.strategies.progressive import progressive
from pyflow.strategies.release_train import release_train
from pyflow.strategies.report import Decision, Report, ReportedStep
from pyflow.strategies.rolling import rolling
from pyflow.strategies.rollout import Check
from pyflow.strategies.targets import Target

__all__ = [
    "Check",
    "Decision",
    "Report",
    "ReportedStep",
    "RolloutWorkflow",
    "Service",
    "StateChange",
    "Step",
    "Target",
    "WayBack",
    "blue_green",
    "canary",
    "progressive",
    "release_train",
    "rolling",
]
