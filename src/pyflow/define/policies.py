"""Small values that say how a task behaves: joins, isolation, `Retry`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from pyflow.errors import DefinitionError, shown
from pyflow.spans import CEILING, Backoff, Span, seconds, span_problem

__all__ = [
    "ISOLATIONS",
    "JOINS",
    "ON_FAILURE",
    "ON_LOCKED",
    "Isolation",
    "Join",
    "OnFailure",
    "OnLocked",
    "Retry",
    "is_exception_types",
    "is_whole",
]

Join: TypeAlias = Literal["success", "done", "failure", "any"]
OnFailure: TypeAlias = Literal["rollback", "stop", "continue", "hold"]
OnLocked: TypeAlias = Literal["wait", "fail", "cancel_holder", "roll_back_holder"]
Isolation: TypeAlias = Literal["inline", "thread", "process"]

JOINS: tuple[str, ...] = get_args(Join)
ON_FAILURE: tuple[str, ...] = get_args(OnFailure)
ON_LOCKED: tuple[str, ...] = get_args(OnLocked)
ISOLATIONS: tuple[str, ...] = get_args(Isolation)

ATTEMPTS_MAX = 1_000
DEFAULT_BACKOFF = Backoff()


def is_whole(value: object, least: int, most: int) -> bool:
    """Return whether *value* is a whole number from *least* to *most*; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task is tried, what is worth another try, and how long to wait."""

    attempts: int = 3
    """Tries in all, the opening one included."""

    backoff: Backoff | Span = DEFAULT_BACKOFF
    """The waits between tries; a span alone sets the opening wait, and raises the
    ceiling to it where it is longer."""

    on: type[BaseException] | tuple[type[BaseException], ...] = Exception
    """The exceptions that are worth another try. Others fail the task at once."""

    after_crash: bool = False
    """Whether an attempt that a crash interrupted may simply be made again."""

    def __post_init__(self) -> None:
        problems: list[str] = []
        if not is_whole(self.attempts, 1, ATTEMPTS_MAX):
            problems.append(
                f"attempts={shown(self.attempts)} must be a whole number from 1 to {ATTEMPTS_MAX}"
            )
        if not is_exception_types(self.on):
            problems.append(
                f"on={shown(self.on)} must be an exception class or a tuple of them, such as "
                "on=(ConnectionError, TimeoutError)"
            )
        if not isinstance(self.after_crash, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            problems.append(f"after_crash={shown(self.after_crash)} must be True or False")
        if not isinstance(self.backoff, Backoff):
            reason = span_problem(self.backoff, zero=True)
            if reason is None:
                object.__setattr__(self, "backoff", _rising_from(self.backoff))
            else:
                problems.append(f"backoff: {reason}")
        if problems:
            raise DefinitionError("Retry", problems)

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait after *failures* tries, in seconds; *chance* is in [0, 1)."""
        assert isinstance(self.backoff, Backoff)
        return self.backoff.delay_s(failures, chance)


def _rising_from(first: Span) -> Backoff:
    above = seconds(first, zero=True) > seconds(CEILING)
    return Backoff(first, ceiling=first if above else CEILING)


def is_exception_types(value: object) -> bool:
    """Return whether *value* is an exception class or a non-empty tuple of them."""
    classes: tuple[object, ...] = value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]
    return bool(classes) and all(
        isinstance(cls, type) and issubclass(cls, BaseException) for cls in classes
    )
