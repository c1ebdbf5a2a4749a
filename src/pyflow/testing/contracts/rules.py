"""How a suite works: every rule on a fresh object, then one report of all that was broken.

A rule is a function of the object and of what the suite knows about the world
behind it. The rule passes unless it raises, and its docstring is the sentence
that the report shows.
"""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from pyflow.define.wiring import is_async, unusable
from pyflow.errors import DefinitionError, shown
from pyflow.testing.arguments import call_problem
from pyflow.testing.errors import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

__all__ = [
    "AT",
    "GUARD_S",
    "check_async_rules",
    "check_make",
    "check_rules",
    "check_text",
    "expect_a",
    "expect_refusal",
    "give_up",
    "pause_s",
    "run_within",
    "same",
    "settled",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
"""An instant for records, with digits that storage likes to lose."""
GUARD_S = 30.0
"""How long something that has to happen may take."""
PAUSE_S_MAX = 1.0
AWAITED = "returns a coroutine, which nobody awaits; make it a plain function"
LOOKS = 100


def check_rules(
    rules: Sequence[Callable[[T, *Ts], None]], make: Callable[[], T], *world: *Ts
) -> None:
    """Check each of *rules* on an object of its own.

    Args:
        rules: What has to hold.
        make: Returns a fresh object at each call.
        world: What each rule is told besides.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: *make* is no plain function that is called without arguments.
    """
    check_make(make)
    broken: list[str] = []
    for rule in rules:
        try:
            rule(_made(make), *world)
        except _NotMade as error:
            raise error.mistake from None
        except Exception as error:  # noqa: BLE001 - whatever is raised breaks the rule
            broken.append(_complaint(rule, error))
    _report(broken)


async def check_async_rules(
    rules: Sequence[Callable[[T, *Ts], Coroutine[Any, Any, None]]],
    make: Callable[[], T],
    *world: *Ts,
    guard_s: float = GUARD_S,
) -> None:
    """Check each of *rules* on an object of its own, one after the other.

    Args:
        rules: What has to hold.
        make: Returns a fresh object at each call.
        world: What each rule is told besides.
        guard_s: How long one rule may take, in seconds of the loop's clock.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: *make* is no plain function that is called without arguments.
    """
    check_make(make)
    broken: list[str] = []
    for rule in rules:
        try:
            await run_within(guard_s, rule(_made(make), *world))
        except _NotMade as error:
            raise error.mistake from None
        except Exception as error:  # noqa: BLE001 - whatever is raised breaks the rule
            broken.append(_complaint(rule, error))
    _report(broken)


def check_make(make: Any) -> None:
    """Check that *make* can be called without arguments, and is not async.

    Raises:
        DefinitionError: It cannot, which is no fault of what it would make.
    """
    reason = unusable(make)
    if reason is None and is_async(make):
        reason = AWAITED
    reason = reason or call_problem(make, 0)
    if reason is not None:
        raise DefinitionError("make", [reason])


def check_text(value: object, what: str) -> None:
    """Check that *value* is text with something in it.

    Raises:
        DefinitionError: It is not.
    """
    if not isinstance(value, str) or not value:
        raise DefinitionError(what, [f"{shown(value)} is no name; give text"])


class _NotMade(Exception):
    """Whoever runs the suite made a mistake, and no rule is broken by it."""

    def __init__(self, mistake: DefinitionError) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


def _made(make: Callable[[], T]) -> T:
    thing = make()
    if inspect.iscoroutine(thing):
        thing.close()
        raise _NotMade(DefinitionError("make", [AWAITED]))
    return thing


def same(found: object, expected: object) -> None:
    """Fail unless *found* equals *expected*."""
    if found != expected:
        raise AssertionError(f"found {shown(found)}, expected {shown(expected)}")


def expect_a(kind: type[T], found: object) -> T:
    """Return *found*, and fail unless it is a *kind*."""
    if isinstance(found, kind):
        return found
    raise AssertionError(f"found {shown(found)}, which is no {kind.__name__}")


async def expect_refusal(call: Coroutine[Any, Any, object], what: str) -> None:
    """Fail unless *call* raises; *what* says what it would have taken."""
    try:
        await call
    except Exception:  # noqa: BLE001 - any error is a refusal
        return
    raise AssertionError(f"it took {what}")


async def settled(
    look: Callable[[], Coroutine[Any, Any, T]],
    problem: Callable[[T], str | None],
    *,
    settle_s: float,
) -> T:
    """Look again and again until there is no *problem* with what is seen, and return that.

    Raises:
        AssertionError: There still was one after *settle_s* seconds.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + settle_s
    while (wrong := problem(seen := await look())) is not None:
        if now() >= deadline:
            raise AssertionError(f"after {settle_s:g} s {wrong}")
        await asyncio.sleep(pause_s(settle_s))
    return seen


def pause_s(settle_s: float) -> float:
    """Return how long to wait between two looks at what may take *settle_s* to come about."""
    return min(PAUSE_S_MAX, settle_s / LOOKS)


async def run_within(span_s: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what *work* returns.

    Raises:
        AssertionError: It took longer than *span_s* seconds, or was cancelled
            by nobody who had a reason to.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        done, _ = await asyncio.wait([task], timeout=span_s)
    finally:
        await give_up(task)
    if not done:
        raise AssertionError(f"somebody still waited after {span_s:g} s")
    if task.cancelled():
        raise AssertionError("it raised CancelledError, though nobody had cancelled it")
    return task.result()


async def give_up(waiting: asyncio.Task[Any]) -> None:
    """Cancel *waiting*, unless it is done, and see it end."""
    waiting.cancel()
    await asyncio.wait([waiting], timeout=GUARD_S)


def _complaint(rule: Callable[..., object], error: Exception) -> str:
    what = str(error) if isinstance(error, AssertionError) else shown(error)
    return f"{(rule.__doc__ or '').strip()}\n     {what}"


def _report(broken: list[str]) -> None:
    if broken:
        lines = "".join(f"\n  {number}. {text}" for number, text in enumerate(broken, start=1))
        raise AssertionError(f"{counted(broken, 'broken rule', 'broken rules')}:{lines}")
