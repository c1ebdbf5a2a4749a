"""Strategies: functions that return a `Workflow` which brings a version into production."""

from pyflow.strategies.blue_green import blue_green
from pyflow.strategies.canary import Step, canary
from pyflow.strategies.progressive import progressive
from pyflow.strategies.rolling import rolling
from pyflow.strategies.rollout import Check
from pyflow.strategies.targets import Target

__all__ = ["Check", "Step", "Target", "blue_green", "canary", "progressive", "rolling"]
