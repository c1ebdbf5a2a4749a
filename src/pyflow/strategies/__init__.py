"""Strategies: functions that return a `Workflow` which brings a version into production."""

from pyflow.strategies.blue_green import blue_green
from pyflow.strategies.canary import Step, canary
from pyflow.strategies.rollout import Check

__all__ = ["Check", "Step", "blue_green", "canary"]
