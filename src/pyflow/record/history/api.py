"""What `pyflow.history` hands out, by name."""

from __future__ import annotations

from pyflow.record.history.comparing import Difference, RunDiff
from pyflow.record.history.compliance import Compliance, Evidence
from pyflow.record.history.dora import Dora, Figure
from pyflow.record.history.lookup import History
from pyflow.record.history.summary import RunSummary

__all__ = [
    "Compliance",
    "Difference",
    "Dora",
    "Evidence",
    "Figure",
    "History",
    "RunDiff",
    "RunSummary",
]
