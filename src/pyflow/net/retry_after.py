"""Read how long a server asks its client to wait, in every form in which servers say it.

There is one standard header and a dozen habits. A date is held against the
``Date`` of the same answer, so a client whose clock is wrong still waits for
the right span, and nothing here reads a clock.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["WAIT_S_MAX", "retry_after_s"]

WAIT_S_MAX = 86_400.0
"""No answer makes anybody wait longer than a day, in seconds."""

EPOCH_S_MIN = 1_000_000_000
"""From here on a number is an instant in seconds since 1970, not a span."""

NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")
REMAINING = ("x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-remaining")


def retry_after_s(
    headers: Mapping[str, str], *, body: object = None, now: datetime | None = None
) -> float | None:
    """Return how many seconds to wait before another try, or None where nothing usable is said.

    Looked at, in this order:

    | where | form |
    |---|---|
    | ``Retry-After`` | seconds, whole or not, or an HTTP date (RFC 9110, 10.2.3) |
    | ``Retry-After-Ms``, ``X-Ms-Retry-After-Ms`` | milliseconds (Azure) |
    | ``X-RateLimit-Reset-After``, *body*'s ``retry_after`` | seconds, whole or not (Discord) |
    | ``X-RateLimit-Reset``, ``X-Rate-Limit-Reset``, ``RateLimit-Reset`` | seconds, or an instant |
    | ``X-RateLimit-Retry-After``, ``X-Retry-After`` | as ``Retry-After`` |

    A reset counts only where no request is left, because most servers send it
    with every answer. A span of less than nothing is nothing, one of more than
    a day is a day; NaN, infinities and other text say nothing.

    Args:
        headers: Of the answer, whatever the case of their names.
        body: The answer's JSON, if it was read.
        now: The present instant, for dates in an answer that has no ``Date``.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    here = _date(lower.get("date", "")) or now
    for names, read in (
        (("retry-after",), _span_or_date),
        (("retry-after-ms", "x-ms-retry-after-ms"), _milliseconds),
        (("x-ratelimit-reset-after",), _span_or_date),
    ):
        found = _wait_in(lower, names, read, here)
        if found is not None:
            return found
    said = cast("Mapping[str, Any]", body).get("retry_after") if isinstance(body, dict) else None
    if isinstance(said, (int, float)) and not isinstance(said, bool) and math.isfinite(said):
        return _bounded(float(said))
    found = _wait_in(lower, ("x-ratelimit-retry-after", "x-retry-after"), _span_or_date, here)
    if found is not None or not all(_is_spent(lower.get(name, "0")) for name in REMAINING):
        return found
    resets = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset")
    return _wait_in(lower, resets, _span_or_date, here)


def _wait_in(
    headers: Mapping[str, str],
    names: tuple[str, ...],
    read: Callable[[str, datetime | None], float | None],
    now: datetime | None,
) -> float | None:
    for name in names:
        wait_s = read(headers.get(name, ""), now)
        if wait_s is not None:
            return _bounded(wait_s)
    return None


def _span_or_date(text: str, now: datetime | None) -> float | None:
    if NUMBER.fullmatch(text):
        number = float(text)
        if number < EPOCH_S_MIN:
            return number
        return number - now.timestamp() if now is not None else None
    at = _date(text)
    return (at - now).total_seconds() if at is not None and now is not None else None


def _milliseconds(text: str, _: datetime | None) -> float | None:
    return float(text) / 1000 if NUMBER.fullmatch(text) else None


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text) if text and not NUMBER.fullmatch(text) else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # The asctime form has no zone; it means UTC, as all HTTP dates do.
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _is_spent(text: str) -> bool:
    return not NUMBER.fullmatch(text) or float(text) <= 0


def _bounded(wait_s: float) -> float:
    return min(max(0.0, wait_s), WAIT_S_MAX)
