"""Analysis: is the new version worse, and how sure is that?

Checks ask sources of metrics and judge the answers; `analysis` makes a task
of them; `replay` derives every verdict of an audit trail again.
"""

from pyflow.analysis.checks import Alarm, Arms, Check, Compare, CompareValues, Custom, Threshold
from pyflow.analysis.judges.fixed import FixedSample
from pyflow.analysis.judges.protocol import Judge
from pyflow.analysis.judges.sequential import Sequential
from pyflow.analysis.policies import extend, retry
from pyflow.analysis.replaying import Replayed, replay
from pyflow.analysis.running import analysis
from pyflow.analysis.tolerance import Limits, Rate
from pyflow.analysis.verdicts import Counts, Judgement, Verdict

__all__ = [
    "Alarm",
    "Arms",
    "Check",
    "Compare",
    "CompareValues",
    "Counts",
    "Custom",
    "FixedSample",
    "Judge",
    "Judgement",
    "Limits",
    "Rate",
    "Replayed",
    "Sequential",
    "Threshold",
    "Verdict",
    "analysis",
    "extend",
    "replay",
    "retry",
]
