"""What the sources share: windows, instants, and answers without NaN."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from pyflow.errors import DefinitionError, MetricError, shown
from pyflow.net.headers import header_problems
from pyflow.net.url import parse_url
from pyflow.probes._checks import one_line
from pyflow.protocols import Sample, Samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyflow.protocols import Clock

__all__ = [
    "History",
    "as_instant",
    "as_number",
    "check_question",
    "collected",
    "found_at",
    "instant_of",
    "refuse_many",
    "url_problems",
    "web_problems",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEPT_MAX = 10_000


def check_question(query: object, window: object, at: object) -> None:
    """Refuse what is no question.

    Raises:
        DefinitionError: The query is no text, the window no span of time, or
            the instant has no time zone.
    """
    problems: list[str] = []
    if not isinstance(query, str) or not query.strip():
        problems.append(f"the query {shown(query)} must be text that is not empty")
    if not isinstance(window, timedelta) or window <= timedelta(0):
        problems.append(f"window={shown(window)} must be a timedelta above zero")
    if at is not None and (not isinstance(at, datetime) or at.utcoffset() is None):
        problems.append(f"at={shown(at)} must be an aware datetime, as datetime.now(UTC) gives")
    if problems:
        raise DefinitionError("query", problems)


def collected(
    points: Iterable[tuple[datetime, float]],
    *,
    window: timedelta,
    at: datetime,
    notes: Sequence[str] = (),
) -> Samples:
    """Return those of *points* that lie in the *window* that ends at *at*, in order of time.

    A NaN or an infinity is no sample, and is left out with a note; of several
    points at one instant the last counts.
    """
    inside = {when: value for when, value in points if at - window < when <= at}
    finite = [Sample(when, value) for when, value in inside.items() if math.isfinite(value)]
    strange = len(inside) - len(finite)
    if strange:
        values = "1 value was" if strange == 1 else f"{strange} values were"
        notes = (*notes, f"{values} NaN or infinite, and left out")
    return Samples(sorted(finite, key=lambda sample: sample.at), notes)


def instant_of(seconds: float) -> datetime:
    """Return the instant that is *seconds* after 1970 began, to the microsecond.

    Raises:
        ValueError: There is no such instant.
    """
    try:
        return EPOCH + timedelta(microseconds=round(seconds * 1e6))
    except OverflowError as error:
        raise ValueError(f"{seconds!r} is no instant") from error


def as_instant(value: object) -> datetime:
    """Read an instant: seconds since 1970, or ISO 8601 text with a time zone.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return instant_of(value)
    if isinstance(value, str):
        try:
            return instant_of(float(value))
        except ValueError:
            at = datetime.fromisoformat(value)
        if at.utcoffset() is not None:
            return at
    raise ValueError(f"{shown(value)} is no instant: give seconds since 1970 or ISO 8601 with zone")


def as_number(value: object) -> float:
    """Read a number, or the text of one; NaN and infinities included.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{shown(value)} is no number")  # noqa: TRY004 - as float() has it
    return float(value)


def url_problems(url: object) -> list[str]:
    """Return what is wrong with *url*."""
    try:
        parse_url(url)  # pyright: ignore[reportArgumentType]
    except DefinitionError as error:
        return [str(error)]
    return []


def web_problems(url: object, headers: object) -> list[str]:
    """Return what is wrong with where a source asks, and with what it sends along."""
    return [*url_problems(url), *header_problems(headers)]


class History:
    """What a source without a past of its own has said, so that windows have something in them.

    Counters and live figures tell of the present alone. Each question about
    the present adds to the history; a question about the past is answered
    from it. At most 10,000 samples of a query are kept.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, dict[datetime, float]] = {}

    def is_past(self, at: datetime | None) -> bool:
        """Return whether *at* is over, so that asking now would tell nothing of it."""
        return at is not None and at < self._clock.now()

    def add(self, query: str, value: float) -> datetime:
        """Remember that *query* is *value* now, and return that instant."""
        known = self._known.setdefault(query, {})
        now = self._clock.now()
        known.pop(now, None)
        known[now] = value
        while len(known) > KEPT_MAX:
            del known[next(iter(known))]
        return now

    def answer(
        self, query: str, window: timedelta, at: datetime | None, notes: Sequence[str] = ()
    ) -> Samples:
        """Return what was remembered of *query* in the *window* that ends at *at* (now)."""
        points = self._known.get(query, {}).items()
        return collected(points, window=window, at=at or self._clock.now(), notes=notes)


def found_at(data: Any, path: str) -> Any:
    """Return what *path*, such as ``data.0.value``, leads to in JSON *data*; empty is all of it.

    Raises:
        LookupError: It leads nowhere.
    """
    found: Any = data
    for step in path.split(".") if path else ():
        key: Any = int(step) if isinstance(found, list) and step.isdecimal() else step
        try:
            found = cast("Any", found)[key]
        except (LookupError, TypeError):
            raise LookupError(
                f"there is no {step!r} in {one_line(repr(cast('object', found)))}"
            ) from None
    return found


def refuse_many(source: object, query: str, names: Sequence[str], advice: str) -> None:
    """Refuse an answer of several series.

    Raises:
        MetricError: There is more than one.
    """
    if len(names) > 1:
        listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise MetricError(
            repr(source), query, f"it answered with {len(names)} series ({listed}); {advice}"
        )
