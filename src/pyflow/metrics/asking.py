"""Ask any source, and take its answer for what a source may answer, whoever wrote it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyflow.protocols import Samples

if TYPE_CHECKING:
    from datetime import timedelta

    from pyflow.protocols import MetricSource

__all__ = ["ask"]


async def ask(source: MetricSource, query: str, *, window: timedelta) -> Samples:
    """Return the samples of *query* in the *window* that ends now, without NaN and infinities.

    A source of ours gives none, and one that does must neither pass a bound
    nor spoil the record. That some were left out is a note.
    """
    found = await source.query(query, window=window)
    finite = [sample for sample in found if math.isfinite(sample.value)]
    notes = tuple(getattr(found, "notes", ()))
    if len(finite) < len(found):
        notes += (f"{len(found) - len(finite)} of {len(found)} values were NaN or infinite",)
    return Samples(finite, notes)
