"""What a value has to be: above, below, or between; shared by probes and thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pyflow.errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.protocols import Sample

__all__ = ["Bounds", "Reduce", "bound_problems", "reduced"]

Reduce: TypeAlias = Literal["last", "mean", "least", "greatest"]
"""What of a window is the value."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A value has to lie strictly between these, each of which may be absent."""

    above: float | None = None
    """The value has to be above this."""

    below: float | None = None
    """The value has to be below this."""

    def hold(self, value: float) -> bool:
        """Return whether *value* lies within; NaN never does."""
        return (self.above is None or value > self.above) and (
            self.below is None or value < self.below
        )

    def __str__(self) -> str:
        parts = [("above", self.above), ("below", self.below)]
        return " and ".join(f"{word} {bound:g}" for word, bound in parts if bound is not None)


def reduced(samples: Sequence[Sample], take: Reduce) -> float:
    """Return the one value of *samples*, of which there is at least one."""
    values = [sample.value for sample in samples]
    if take == "last":
        return values[-1]
    if take == "mean":
        return math.fsum(values) / len(values)
    return min(values) if take == "least" else max(values)


def bound_problems(
    *,
    above: Any,
    below: Any,
    take: object,
    names: tuple[str, str] = ("above", "below"),
    nested: bool = True,
) -> list[str]:
    """Return what is wrong with bounds; where they are *nested*, a value has to lie between them."""
    problems = [
        f"{name}={shown(bound)} must be a finite number"
        for name, bound in zip(names, (above, below), strict=True)
        if bound is not None and not _is_finite(bound)
    ]
    if nested and not problems and above is not None and below is not None and above >= below:
        problems.append(f"nothing is above {above!r} and below {below!r}; swap them")
    if take not in get_args(Reduce):
        problems.append(f"take={shown(take)} must be one of {', '.join(get_args(Reduce))}")
    return problems


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
