"""What every `Notifier` has to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import DefinitionError, shown
from pyflow.messages import Attempt, Delivery, Message, RunInfo
from pyflow.notices.wording import NOTICES
from pyflow.testing.contracts.rules import AT, check_async_rules, expect_a, same

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pyflow.protocols import Notifier

__all__ = ["check_notifier", "messages_of"]

Delivered: TypeAlias = "Callable[[Notifier], Sequence[str]]"
Rule: TypeAlias = "Callable[[Notifier, Delivered], Coroutine[Any, Any, None]]"

ODD = "no route\nto é漢😀 <!channel> & \x1b[31m \u202e ${x} [a](http://b)"


async def check_notifier(
    make: Callable[[], Notifier], *, delivered: Delivered | None = None
) -> None:
    """Check that a notifier keeps what `Notifier` promises.

    It takes a message about every kind of event, whatever characters are in
    it and however long it is, takes one that comes again, and says what came
    of each.

    Args:
        make: Returns a new notifier at each call.
        delivered: Returns the ids of the messages that a notifier has
            delivered so far, in order; without it, the rules about delivery
            are left out.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the notifier.
    """
    if delivered is not None and not callable(delivered):
        raise DefinitionError(
            "delivered=", [f"{shown(delivered)} cannot be called; give a function"]
        )
    rules = _RULES if delivered is None else (*_RULES, *_DELIVERY_RULES)
    await check_async_rules(rules, make, delivered or _sees_nothing)


def messages_of(run_id: str) -> list[Message]:
    """Return a message about each kind of event, with odd characters and long texts among them."""
    return [_message(run_id, number, event) for number, event in enumerate(NOTICES, start=1)]


async def _takes_every_event(notifier: Notifier, _: Delivered) -> None:
    """Messages about every kind of event are taken."""
    for message in messages_of("r"):
        try:
            await notifier.notify(message, Attempt())
        except Exception as error:
            raise AssertionError(f"{message.event} raised {shown(error)}") from error


async def _takes_repeats(notifier: Notifier, _: Delivered) -> None:
    """A message that was taken before is taken again."""
    for message in messages_of("r")[:2]:
        await notifier.notify(message, Attempt())
        await notifier.notify(message, Attempt(number=2))


async def _says_what_came_of_it(notifier: Notifier, _: Delivered) -> None:
    """`notify` returns a `Delivery`."""
    notify: Callable[..., Coroutine[Any, Any, object]] = notifier.notify
    expect_a(Delivery, await notify(messages_of("r")[0], Attempt()))


async def _needs_no_attempt(notifier: Notifier, _: Delivered) -> None:
    """The attempt may be left out."""
    await notifier.notify(messages_of("r")[0])


async def _delivers(notifier: Notifier, delivered: Delivered) -> None:
    """Every message that was handed in is delivered, in order."""
    for message in messages_of("r"):
        await notifier.notify(message, Attempt())

    same(list(delivered(notifier)), [message.id for message in messages_of("r")])


async def _tells_runs_apart(notifier: Notifier, delivered: Delivered) -> None:
    """Messages of two runs are told apart, though they have the same numbers."""
    handed_in = [messages_of("r")[0], messages_of("s")[0]]
    for message in handed_in:
        await notifier.notify(message, Attempt())

    same(list(delivered(notifier)), [message.id for message in handed_in])


def _message(run_id: str, number: int, event: str) -> Message:
    many = 400 if number % 5 == 0 else 1
    return Message(
        id=f"{run_id}-{number}",
        event=event,
        severity=NOTICES[event],
        title=f"shop to production: {event} {ODD * min(many, 20)}",
        text="\n".join([f"Why: {ODD}"] * many),
        summary=f"shop: {event}",
        fields=(("Environment", "production"), ("Parameters", ODD * many)),
        links=(("Pipeline", "https://ci.example/runs/1?a=b&c=<d>|e"),),
        at=AT,
        run=RunInfo(
            id=run_id,
            workflow="shop",
            status="running",
            environment="production",
            initiator="ada",
            started_at=AT,
            params={"name": ODD},
            ci={"system": "github", "commit": "0123abcd"},
        ),
    )


def _sees_nothing(_: Notifier) -> Sequence[str]:
    return ()


_RULES: tuple[Rule, ...] = (
    _takes_every_event,
    _takes_repeats,
    _says_what_came_of_it,
    _needs_no_attempt,
)

_DELIVERY_RULES: tuple[Rule, ...] = (
    _delivers,
    _tells_runs_apart,
)
