"""Judges: each says from the data of two arms whether the canary is worse."""

from pyflow.analysis.judges.fixed import FixedSample
from pyflow.analysis.judges.protocol import Judge
from pyflow.analysis.judges.scored import Graded, Scored
from pyflow.analysis.judges.sequential import Sequential

__all__ = ["FixedSample", "Graded", "Judge", "Scored", "Sequential"]
