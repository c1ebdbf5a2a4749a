"""What the notifiers share that keep a service's deployments in step with runs.

Messages may come twice, so each looks at what is there before it adds to it.
Everything of one message happens within its attempt's time, and what went
wrong is a `Delivery` that says whether it may have arrived.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyflow.errors import shown
from pyflow.messages import Delivery, rejected, retrying, unknown
from pyflow.net.url import parse_url
from pyflow.notifiers._text import line_of
from pyflow.triggers._api import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyflow.messages import Attempt, Message
    from pyflow.triggers._api import Said

__all__ = ["Instant", "Unsettled", "in_time", "link_of", "name_problems", "settled_by", "unsettled"]

NAME_CHARS_MAX = 255
IN_DOUBT = (408, 500, 502, 504)


class Unsettled(Exception):
    """A message is not there, and `delivery` says why."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        super().__init__(delivery.detail)


class Instant:
    """A clock that says what the last attempt said of the present."""

    def __init__(self) -> None:
        self.at = datetime(2020, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the present instant, as far as it is known."""
        return self.at


async def in_time(
    telling: Callable[[float], Coroutine[None, None, Delivery]], attempt: Attempt
) -> Delivery:
    """Return what *telling* comes to, given the instant by which it has to end."""
    deadline = asyncio.get_running_loop().time() + attempt.timeout_s
    try:
        return await telling(deadline)
    except Unsettled as error:
        return error.delivery
    except Trouble as trouble:
        words = line_of(trouble.reason)
        if trouble.final:
            return rejected(words)
        return unknown(f"{words}; it may have arrived") if trouble.sent else retrying(words)


def unsettled(said: Said) -> Unsettled:
    """Return what an answer other than the one that was hoped for means."""
    if said.is_limit:
        return Unsettled(retrying(said.words, wait_s=said.wait_s))
    if said.status in IN_DOUBT:
        return Unsettled(unknown(said.words))
    if said.status >= 500:
        return Unsettled(retrying(said.words))
    if said.status < 300:
        return Unsettled(unknown(f"the answer is not the service's: {said.words}"))
    return Unsettled(rejected(said.words))


def settled_by(said: Said, *statuses: int) -> Said:
    """Return *said* if it has one of *statuses*.

    Raises:
        Unsettled: It has not.
    """
    if said.status in statuses:
        return said
    raise unsettled(said)


def link_of(message: Message) -> str:
    """Return where a person reads about the run: the address that the CI system gave."""
    for url in (message.run.ci.get("run_url", ""), *(url for _, url in message.links)):
        try:
            return url if parse_url(url) else ""
        except ValueError:
            continue
    return ""


def name_problems(name: str, value: object) -> list[str]:
    """Return what is wrong with *value* as the name of an environment, or None for the run's own."""
    good = isinstance(value, str) and value.isprintable() and 1 <= len(value) <= NAME_CHARS_MAX
    if value is None or (good and str(value).strip()):
        return []
    return [f"{name}={shown(value)} must be 1 to {NAME_CHARS_MAX} printable characters, or None"]
