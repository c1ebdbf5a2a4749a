"""`Judge`: what decides whether one version is worse than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.analysis.verdicts import Counts, Judgement

__all__ = ["Judge"]


@runtime_checkable
class Judge(Protocol):
    """**Protocol:** says from the data of two arms whether the canary is worse.

    A judge keeps nothing between calls and reads no clock: it is given all
    data since the comparison began, and equal data get equal judgements. It
    raises nothing for what the data are; that is a verdict. A limit says how
    much is too much, and at least one is given: ``max_increase`` where more is
    worse, ``max_decrease`` where less is. For counts a limit is a difference
    of rates (0.01 is one in a hundred more), for values it is relative to the
    baseline (0.2 is a fifth more).
    """

    def judge_counts(
        self,
        canary: Counts,
        baseline: Counts,
        /,
        *,
        max_increase: float | None = None,
        max_decrease: float | None = None,
    ) -> Judgement:
        """Compare how often something happened.

        Raises:
            DefinitionError: No limit was given, or one that is none.
        """
        ...

    def judge_values(
        self,
        canary: Sequence[float],
        baseline: Sequence[float],
        /,
        *,
        max_increase: float | None = None,
        max_decrease: float | None = None,
    ) -> Judgement:
        """Compare measurements, in the order in which they were made.

        Raises:
            DefinitionError: No limit was given, or one that is none.
        """
        ...
