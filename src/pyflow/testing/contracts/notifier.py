"""What every `Notifier` has to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import shown
from pyflow.record import events as ev
from pyflow.record.codec import GENESIS, seal
from pyflow.testing.contracts.rules import AT, check_async_rules, same

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pyflow.protocols import Notifier
    from pyflow.record.codec import Record

__all__ = ["check_notifier"]

Delivered: TypeAlias = "Callable[[Notifier], Sequence[Record]]"
Rule: TypeAlias = "Callable[[Notifier, Delivered], Coroutine[Any, Any, None]]"

WHO = {"id": "ada", "source": "argument"}
ERROR = ev.ErrorInfo("OSError", "no route\nto é漢😀", "line 1\nline 2")

EVENTS: tuple[ev.Event, ...] = (
    ev.RunStarted("shop", "f1", {"name": "é漢😀"}, WHO, {"ci": {"n": 1.5}}, {"a": "1"}),
    ev.LockAcquired("service:shop/production", 1, 0.25),
    ev.RunPaused("lunch", "ada"),
    ev.CommandReceived("unpause", accepted=True, by="ada"),
    ev.RunUnpaused("it is over", "ada"),
    ev.RunResumed(WHO, {"host": "eu-1"}, {"a": "its function"}),
    ev.IntentRaised("hold", "a failed", "a"),
    ev.HoldReleased("retry", "a", "ada", "the route is back"),
    ev.NotificationFailed("chat", 3, ERROR),
    ev.LockBroken("service:shop/production", 1, "ada", "the host is gone"),
    ev.OutcomeDecided("failed", "a failed", ["a"], []),
    ev.FinalizerStarted("clean_up"),
    ev.FinalizerSucceeded("clean_up", 0.5),
    ev.FinalizerFailed("tell", ERROR, 1e-06),
    ev.HolderAsked("service:shop/production", 1, "r1"),
    ev.LockReleased("service:shop/production", 1),
    ev.RunFinished("failed", 16),
)
"""A run that has every kind of event that is not about one task."""


async def check_notifier(
    make: Callable[[], Notifier], *, delivered: Delivered | None = None
) -> None:
    """Check that a notifier keeps what `Notifier` promises.

    It takes every kind of record that is about a run as a whole, and takes
    one that comes again.

    Args:
        make: Returns a new notifier at each call.
        delivered: Returns the records that a notifier has delivered so far,
            in order; without it, the rules about delivery are left out.

    Raises:
        AssertionError: Names every rule that is broken, and how.
    """
    rules = _RULES if delivered is None else (*_RULES, *_DELIVERY_RULES)
    await check_async_rules(rules, make, delivered or _sees_nothing)


async def _takes_every_kind(notifier: Notifier, _: Delivered) -> None:
    """Records of every kind that is about a run as a whole are taken."""
    for record in _records("r"):
        try:
            await notifier.notify(record)
        except Exception as error:
            raise AssertionError(f"{record!r} raised {shown(error)}") from error


async def _takes_repeats(notifier: Notifier, _: Delivered) -> None:
    """A record that was taken before is taken again."""
    for record in _records("r")[:2] * 2:
        await notifier.notify(record)


async def _returns_none(notifier: Notifier, _: Delivered) -> None:
    """`notify` returns None."""
    notify: Callable[[Record], Coroutine[Any, Any, object]] = notifier.notify
    same(await notify(_records("r")[0]), None)


async def _delivers(notifier: Notifier, delivered: Delivered) -> None:
    """Every record that was handed in is delivered, in order."""
    for record in _records("r"):
        await notifier.notify(record)

    same(list(delivered(notifier)), _records("r"))


async def _tells_runs_apart(notifier: Notifier, delivered: Delivered) -> None:
    """Records of two runs are told apart, though they have the same numbers."""
    handed_in = [_records("r")[0], _records("s")[0]]
    for record in handed_in:
        await notifier.notify(record)

    same(list(delivered(notifier)), handed_in)


def _sees_nothing(_: Notifier) -> Sequence[Record]:
    return ()


def _records(run_id: str) -> list[Record]:
    return seal(run_id, EVENTS, at=AT, seq=0, prev=GENESIS)


_RULES: tuple[Rule, ...] = (
    _takes_every_kind,
    _takes_repeats,
    _returns_none,
)

_DELIVERY_RULES: tuple[Rule, ...] = (
    _delivers,
    _tells_runs_apart,
)
