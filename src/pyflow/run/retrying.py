"""Whether a try that failed is followed by another: one rule for attempts and for undos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.run.recovery import matches

if TYPE_CHECKING:
    from pyflow.define.policies import Retry
    from pyflow.run.inputs import Failure

__all__ = ["next_try"]


def next_try(retry: Retry | None, attempt: int, failure: Failure) -> float | str:
    """Return how long to wait before the next try, in seconds, or why there is none."""
    if failure.final:
        return "another attempt could not help"
    if retry is None:
        return "it is tried once"
    if attempt >= retry.attempts:
        return f"tried {attempt} of {retry.attempts} times"
    if not matches(retry.on, failure.kinds):
        return f"{failure.error.type} is not worth another attempt"
    return round(retry.delay_s(attempt, failure.chance), 6)
