"""What a fake does when it is called: return, fail, take its time, hang, or lie.

A behaviour is a value. It says what each call comes to, by number, and keeps
no count itself, so one behaviour serves any number of fakes::

    fakes = {
        "build": returns({"image": "shop:2.3.1"}),
        "deploy": fails(ConnectionError, times=2, then=takes("4m")),
        "smoke_test": hangs(),
    }
"""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.errors import shown
from pyflow.spans import Span, seconds
from pyflow.testing.where import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Act",
    "Behaviour",
    "Twist",
    "applied_then_fails",
    "fails",
    "flaps",
    "hangs",
    "lies",
    "missing",
    "nan",
    "original",
    "remedy",
    "returns",
    "stale",
    "takes",
]

Twist: TypeAlias = Literal["flipped", "missing", "nan", "stale"]
"""How an answer differs from the truth."""


@dataclass(frozen=True, slots=True)
class Act:
    """What one call comes to."""

    delay_s: float = 0.0
    """How long it takes first, in seconds; infinity means that it never comes back."""

    does: bool | None = None
    """Whether what was asked for is really done; None leaves that to the place."""

    value: Any = None
    """What it returns where it does nothing."""

    error: BaseException | None = None
    """What it raises at its end."""

    twist: Twist | None = None
    """How its answer differs from the truth."""

    age_s: float = 0.0
    """How old a stale answer is; 0 means as old as the last change."""


@dataclass(frozen=True, slots=True, repr=False)
class Behaviour:
    """What every call of something comes to."""

    text: str
    """How it was written."""

    acts: Callable[[int], Act | None]
    """What the call of a number, from 1, comes to; None for what would have been done anyway."""

    twists: bool = False
    """Whether what it says of some call is about an answer of a `World`, and of nothing else."""

    def __repr__(self) -> str:
        return self.text

    def act(self, number: int) -> Act | None:
        """Return what call *number* comes to; None for what would have been done anyway."""
        return self.acts(number)


def original() -> Behaviour:
    """Do what would have been done without a fake."""
    return Behaviour("original()", lambda _: Act(does=True))


def returns(value: Any) -> Behaviour:
    """Return *value* at once, and do nothing."""
    return Behaviour(f"returns({shown(value)})", lambda _: Act(does=False, value=value))


def lies() -> Behaviour:
    """Say that it is done, and do nothing."""
    return Behaviour("lies()", lambda _: Act(does=False))


def hangs() -> Behaviour:
    """Never come back. Only a timeout ends it."""
    return Behaviour("hangs()", lambda _: Act(delay_s=math.inf, does=False))


def takes(span: Span, *, then: Behaviour | None = None) -> Behaviour:
    """Take *span* of virtual time, and then do as *then* does.

    Args:
        span: How long it takes.
        then: What follows: by default a fake of a task returns None, and a
            part of the world does its work.
    """
    delay_s = seconds(span, what="takes", zero=True)
    _check_then("takes", then)

    def act(number: int) -> Act:
        rest = (then.act(number) if then is not None else None) or Act()
        return Act(
            delay_s + rest.delay_s, rest.does, rest.value, rest.error, rest.twist, rest.age_s
        )

    return Behaviour(_text("takes", repr(span), then=then), act, _twists(then))


def fails(
    error: type[BaseException] | BaseException = RuntimeError,
    *,
    times: int | None = None,
    then: Behaviour | None = None,
) -> Behaviour:
    """Raise *error*, and do nothing; *times* times, then do as *then* does.

    Args:
        error: What to raise: an exception, or a class of them.
        times: How often; always unless given.
        then: What later calls do: by default a fake of a task returns None,
            and a part of the world does its work.
    """
    return _failing("fails", error, times, then, does=False)


def applied_then_fails(
    error: type[BaseException] | BaseException = TimeoutError,
    *,
    times: int | None = None,
    then: Behaviour | None = None,
) -> Behaviour:
    """Do what was asked for, and raise *error* all the same; otherwise as `fails`."""
    return _failing("applied_then_fails", error, times, then, does=True)


def stale(age: Span | None = None) -> Behaviour:
    """Answer with what was true *age* ago, or before the last change."""
    age_s = seconds(age, what="stale") if age is not None else 0.0
    text = f"stale({age!r})" if age is not None else "stale()"
    return Behaviour(text, lambda _: Act(twist="stale", age_s=age_s), twists=True)


def missing() -> Behaviour:
    """Answer with nothing: no samples, or a reading that is `unknown`."""
    return Behaviour("missing()", lambda _: Act(twist="missing"), twists=True)


def nan() -> Behaviour:
    """Answer with samples that are not numbers."""
    return Behaviour("nan()", lambda _: Act(twist="nan"), twists=True)


def flaps() -> Behaviour:
    """Answer with the opposite of the truth in every second call."""
    return Behaviour(
        "flaps()", lambda number: Act(twist="flipped") if number % 2 else Act(), twists=True
    )


def _failing(
    name: str,
    error: type[BaseException] | BaseException,
    times: int | None,
    then: Behaviour | None,
    *,
    does: bool,
) -> Behaviour:
    if not _is_error(error):
        raise TypeError(f"{name}({shown(error)}): give an exception, or a class of exceptions")
    _made(error, name)
    if times is not None and (type(times) is not int or times < 1):
        raise ValueError(
            f"{name}(times={shown(times)}): give a whole number from 1, or leave it out"
        )
    _check_then(name, then)
    if then is not None and times is None:
        raise ValueError(f"{name}(then={then!r}) would never come to it; say times= too")

    def act(number: int) -> Act | None:
        if times is None or number <= times:
            return Act(does=does, error=_made(error, name))
        return then.act(number - times) if then is not None else None

    kind = error.__name__ if isinstance(error, type) else repr(error)
    return Behaviour(_text(name, kind, times=times, then=then), act, _twists(then))


def remedy(given: object) -> str | None:
    """Return what to write for *given*, where that is clear, and it stands in a behaviour's place."""
    if any(given is one for one in (returns, takes)):
        return f"write {name_of(given)}(...)"
    bare = (original, lies, hangs, fails, applied_then_fails, stale, missing, nan, flaps)
    if any(given is one for one in bare):
        return f"write {name_of(given)}() with the parentheses"
    if _is_error(given):
        what = given.__name__ if isinstance(given, type) else shown(given)
        return f"write fails({what}), which raises it"
    return None


def _check_then(name: str, then: object) -> None:
    if then is not None and not isinstance(then, Behaviour):
        what = name_of(then) if isinstance(then, (type, FunctionType)) else shown(then)
        raise TypeError(
            f"{name}(then={what}): {remedy(then) or 'give a behaviour, such as returns(1)'}"
        )


def _twists(then: Behaviour | None) -> bool:
    return then is not None and then.twists


def _is_error(error: object) -> bool:
    return isinstance(error, BaseException) or (
        isinstance(error, type) and issubclass(error, BaseException)
    )


def _made(error: type[BaseException] | BaseException, name: str) -> BaseException:
    """Return a fresh exception, so that no traceback grows from one call to the next."""
    if not isinstance(error, type):
        return _copied(error)
    for args in (("simulated",), ()):
        with suppress(TypeError):
            return error(*args)
    raise TypeError(
        f"{name}({error.__name__}): it needs arguments; give an exception, as in "
        f"{name}({error.__name__}(...))"
    )


def _copied(error: BaseException) -> BaseException:
    """Return an equal exception, also where its class takes other arguments than it keeps."""
    with suppress(Exception):
        made = copy.copy(error)
        if made.args == error.args:
            return made
    made = type(error).__new__(type(error), *error.args)
    made.args = error.args
    vars(made).update(vars(error))
    return made


def _text(name: str, *args: str, **options: Any) -> str:
    given = [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return f"{name}({', '.join([*args, *given])})"
