"""Ask a probe again and again until it says what is waited for, or time is up.

Waits grow exponentially, with jitter, up to a ceiling, so that a service that
is coming up is not hammered by everything that waits for it. Spans and sleeps
are the event loop's, so a poll of an hour takes no time under a virtual clock.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, cast, get_args

from pyflow.errors import DefinitionError, PollTimeout, ProbeError, shown
from pyflow.protocols import Health, Probe, Reading
from pyflow.spans import Backoff, Span, seconds

__all__ = ["LOOK", "Look", "OnUnknown", "Polled", "look", "poll", "probe_problem"]

OnUnknown: TypeAlias = Literal["wait", "fail", "proceed"]
"""What a reading of `unknown` does to a poll."""

BACKOFF = Backoff("1s", ceiling="30s")
TIMEOUT = "5m"
WAIT_S_MIN = 0.001
HEALTHS = get_args(Health)
ON_UNKNOWN = get_args(OnUnknown)
FLAT = frozenset({str, int, bool, type(None)})
as_json = json.JSONEncoder(allow_nan=False).encode


class Look:
    """One look of a poll. The next one begins anew: a poll goes by its last reading, and no other."""

    __slots__ = ("first",)

    def __init__(self, first: Look | None) -> None:
        """Make a look of the same poll as *first*, or the first of another."""
        self.first = first or self


LOOK: ContextVar[Look | None] = ContextVar("look", default=None)
"""The look that the present code is part of; for simulations, which tell states apart."""


@dataclass(frozen=True, slots=True)
class Polled:
    """How a poll ended well."""

    reading: Reading
    """The reading that ended it."""

    calls: int
    """How often the probe was read."""

    elapsed_s: float
    """How long it took, in seconds of the loop's clock, to the microsecond."""


async def poll(
    probe: Probe,
    *,
    until: Literal["healthy", "unhealthy"] = "healthy",
    backoff: Backoff | Span = BACKOFF,
    timeout: Span = TIMEOUT,
    on_unknown: OnUnknown = "wait",
    rng: random.Random | None = None,
) -> Polled:
    """Read *probe* until its health is *until*.

    The first look is taken at once. The last one starts early enough to end
    by the deadline even if it takes twice as long as the one before: a probe
    that answers at once has its last look at the deadline itself. A look that
    is still under way at the deadline is cut, and counts as `unknown`.

    Args:
        probe: What to read, one look at a time.
        until: The health to wait for.
        backoff: The waits between looks; a span alone sets the first one.
        timeout: Span for all of it.
        on_unknown: What `unknown` does: go on waiting, end the poll as a
            failure, or end it as it is (the caller then reads `reading`).
        rng: Where the jitter comes from. A seeded one makes equal polls wait
            equally; without one, each poll waits in its own rhythm.

    Returns:
        The reading that ended the poll, the number of looks, and the span.

    Raises:
        DefinitionError: An argument cannot be used; the probe was not read.
        PollTimeout: Time was up; it holds the last reading and the number of
            looks.
        ProbeError: A reading was `unknown` under ``on_unknown="fail"``.
    """
    problems = _problems(probe, until=until, on_unknown=on_unknown, rng=rng)
    waits, timeout_s = _spans(backoff, timeout, problems)
    if problems:
        raise DefinitionError("poll", problems)
    chance = (rng or random.Random()).random  # noqa: S311 - jitter is no secret
    now = asyncio.get_running_loop().time
    start = now()
    deadline = start + timeout_s
    calls, last = 0, False
    reading: Reading | None = None
    first: Look | None = None
    while True:
        asked = now()
        this = Look(first)
        reading, first = await _look_until(probe, deadline, this, before=reading), this.first
        calls, took_s, left_s = calls + 1, now() - asked, deadline - now()
        unknown = reading.health == "unknown"
        if reading.health == until or (unknown and on_unknown == "proceed"):
            return Polled(reading, calls, round(now() - start, 6))
        if last or left_s <= 0:
            raise PollTimeout(
                _story(probe, until, reading, calls, now() - start), reading=reading, calls=calls
            )
        if unknown and on_unknown == "fail":
            raise ProbeError(
                _story(probe, until, reading, calls, now() - start), reading=reading, calls=calls
            )
        # A backoff of nothing must neither keep the loop busy nor make time stand still.
        wait_s = max(WAIT_S_MIN, waits.delay_s(calls, chance()))
        room_s = max(0.0, left_s - 2 * took_s)
        last = wait_s >= room_s
        await asyncio.sleep(min(wait_s, room_s))


async def look(probe: Probe) -> Reading:
    """Read *probe* once, and make a reading of whatever it does.

    A probe that raises, answers something other than a `Reading`, or gives
    evidence that the record cannot hold, has told nothing: that is `unknown`,
    with the reason as evidence. A cancellation from outside passes through.
    """
    try:
        return _checked_reading(await probe.read())
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return Reading("unknown", {"error": shown(error)})
    except Exception as error:  # noqa: BLE001 - a probe must not break who asks
        return Reading("unknown", {"error": shown(error)})


def probe_problem(probe: object) -> str | None:
    """Return why *probe* cannot be read, or None."""
    if isinstance(probe, type):
        return f"{probe.__name__} is a class; make a probe of it, as in {probe.__name__}(...)"
    if inspect.iscoroutine(probe):
        probe.close()
        return "a coroutine is no probe; pass the probe itself, without .read()"
    if getattr(probe, "read", None) is None:
        return f"{shown(probe)} is no probe: it lacks `async def read(self) -> Reading`"
    return None


def _checked_reading(reading: Any) -> Reading:
    if not isinstance(reading, Reading):
        return Reading("unknown", {"error": f"the probe answered {shown(reading)}, no Reading"})
    if reading.health not in HEALTHS:
        return Reading("unknown", {"error": f"the probe's health was {shown(reading.health)}"})
    if _is_flat(reading.evidence):  # as most of it is
        return reading
    try:
        as_json(reading.evidence)
    except (TypeError, ValueError, RecursionError) as error:
        return Reading("unknown", {"error": f"the evidence is no JSON data: {shown(error)}"})
    return reading


def _is_flat(evidence: object) -> bool:
    """Return whether *evidence* is JSON data at a glance: words and whole numbers by name."""
    if type(evidence) is not dict:
        return False
    items = cast("dict[object, object]", evidence).items()
    return all(type(key) is str and type(value) in FLAT for key, value in items)


async def _look_until(
    probe: Probe, deadline: float, this: Look, *, before: Reading | None
) -> Reading:
    """Look once; a look that is cut tells nothing, so its evidence holds what was seen *before*."""
    around = LOOK.get()
    LOOK.set(this)
    try:
        async with asyncio.timeout_at(deadline):
            return await look(probe)
    except TimeoutError:
        evidence: dict[str, Any] = {"error": "no answer by the deadline of the poll"}
        if before is not None:
            evidence["before"] = {"health": before.health, **before.evidence}
        return Reading("unknown", evidence)
    finally:
        LOOK.set(around)


def _problems(probe: object, *, until: object, on_unknown: object, rng: object) -> list[str]:
    problems = [problem] if (problem := probe_problem(probe)) else []
    if until not in ("healthy", "unhealthy"):
        problems.append(f'until={shown(until)} must be "healthy" or "unhealthy"')
    if on_unknown not in ON_UNKNOWN:
        problems.append(f'on_unknown={shown(on_unknown)} must be "wait", "fail" or "proceed"')
    if not isinstance(rng, (random.Random, type(None))):
        problems.append(f"rng={shown(rng)} must be a random.Random, such as random.Random(7)")
    return problems


def _spans(backoff: Backoff | Span, timeout: Span, problems: list[str]) -> tuple[Backoff, float]:
    waits, timeout_s = BACKOFF, 0.0
    try:
        timeout_s = seconds(timeout, what="timeout=")
        if isinstance(backoff, Backoff):
            waits = backoff
        else:
            waits = _named(backoff) if type(backoff) is str else _rising_from(backoff)
    except DefinitionError as error:
        problems.append(str(error))
    return waits, timeout_s


def _rising_from(first: Span) -> Backoff:
    return Backoff(first, ceiling="30s")


_named = lru_cache(maxsize=256)(_rising_from)  # what is written in words is written again and again


def _story(probe: Probe, until: str, reading: Reading, calls: int, elapsed_s: float) -> str:
    looks = "1 look" if calls == 1 else f"{calls} looks"
    return (
        f"{shown(probe)} was {reading.health}, not {until}, after {looks} in {elapsed_s:.6g} s; "
        f"it last said {shown(reading.evidence)}"
    )
