"""Analysis: is the new version worse, and how sure is that?

Checks ask sources of metrics, and judges compare the data of two arms; each
says on what its answer rests and how often it is wrong. `analysis` makes a
task of checks, and `replay` derives every verdict of an audit trail again.
`power` says before a rollout what its analysis can find, `simulate_judge` and
`backtest` how a judge does on drawn and on past traffic.
"""

from pyflow.analysis.backtest import Backtest, Past, Tried, backtest
from pyflow.analysis.checks import Alarm, Arms, Check, Compare, CompareValues, Custom, Threshold
from pyflow.analysis.holm import corrected, rejected
from pyflow.analysis.judges.fixed import FixedSample
from pyflow.analysis.judges.protocol import Judge
from pyflow.analysis.judges.scored import Graded, Scored
from pyflow.analysis.judges.sequential import Sequential
from pyflow.analysis.policies import extend, retry
from pyflow.analysis.power import Power, power
from pyflow.analysis.replaying import Replayed, replay
from pyflow.analysis.running import analysis
from pyflow.analysis.simulating import Characteristics, simulate_judge
from pyflow.analysis.tolerance import Limits, Rate
from pyflow.analysis.traffic import Points, Requests
from pyflow.analysis.verdicts import Counts, Judgement, Verdict

__all__ = [
    "Alarm",
    "Arms",
    "Backtest",
    "Characteristics",
    "Check",
    "Compare",
    "CompareValues",
    "Counts",
    "Custom",
    "FixedSample",
    "Graded",
    "Judge",
    "Judgement",
    "Limits",
    "Past",
    "Points",
    "Power",
    "Rate",
    "Replayed",
    "Requests",
    "Scored",
    "Sequential",
    "Threshold",
    "Tried",
    "Verdict",
    "analysis",
    "backtest",
    "corrected",
    "extend",
    "power",
    "rejected",
    "replay",
    "retry",
    "simulate_judge",
]
