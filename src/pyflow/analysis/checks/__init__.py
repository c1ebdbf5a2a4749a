"""Checks: the questions that a rollout stands or falls by.

A check asks, judges what it was told, and says what follows where it does not
pass. Wrong arguments, and a check that would pass whatever is measured, are
refused when it is made.
"""

from pyflow.analysis.checks.alarm import Alarm
from pyflow.analysis.checks.base import Arms, Check
from pyflow.analysis.checks.compare import Compare
from pyflow.analysis.checks.compare_values import CompareValues
from pyflow.analysis.checks.custom import Custom
from pyflow.analysis.checks.threshold import Threshold

__all__ = ["Alarm", "Arms", "Check", "Compare", "CompareValues", "Custom", "Threshold"]
