"""Judges: each says from the data of two arms whether the canary is worse."""

from pyflow.analysis.judges.protocol import Judge

__all__ = ["Judge"]
