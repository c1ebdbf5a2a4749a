"""Analysis: is the new version worse, and how sure is that?

Judges compare the data of two arms; each says on what its answer rests and how
often it is wrong. `power` says before a rollout what its analysis can find,
`simulate_judge` and `backtest` how a judge does on drawn and on past traffic.
"""

from pyflow.analysis.backtest import Backtest, Past, Tried, backtest
from pyflow.analysis.holm import corrected, rejected
from pyflow.analysis.judges.fixed import FixedSample
from pyflow.analysis.judges.protocol import Judge
from pyflow.analysis.judges.scored import Graded, Scored
from pyflow.analysis.judges.sequential import Sequential
from pyflow.analysis.power import Power, power
from pyflow.analysis.simulating import Characteristics, simulate_judge
from pyflow.analysis.traffic import Points, Requests
from pyflow.analysis.verdicts import Counts, Judgement, Verdict

__all__ = [
    "Backtest",
    "Characteristics",
    "Counts",
    "FixedSample",
    "Graded",
    "Judge",
    "Judgement",
    "Past",
    "Points",
    "Power",
    "Requests",
    "Scored",
    "Sequential",
    "Tried",
    "Verdict",
    "backtest",
    "corrected",
    "power",
    "rejected",
    "simulate_judge",
]
