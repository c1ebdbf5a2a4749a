"""Analysis: is the new version worse, and how sure is that?"""

from pyflow.analysis.judges.fixed import FixedSample
from pyflow.analysis.judges.protocol import Judge
from pyflow.analysis.judges.sequential import Sequential
from pyflow.analysis.verdicts import Counts, Judgement, Verdict

__all__ = ["Counts", "FixedSample", "Judge", "Judgement", "Sequential", "Verdict"]
