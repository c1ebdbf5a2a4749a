"""What the notifiers share that keep a service's deployments in step with runs.

Messages may come twice, so each looks at what is there before it adds to it.
Everything of one message happens within its attempt's time, and what went
wrong is a `Delivery` that says whether it may have arrived.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyflow.errors import shown
from pyflow.messages import FIRST, Delivery, delivered, rejected, retrying, unknown
from pyflow.net.url import parse_url
from pyflow.notifiers._text import line_of
from pyflow.triggers._api import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from pyflow.messages import Attempt, Message
    from pyflow.triggers._api import Api, Said

__all__ = [
    "Deployments",
    "Unsettled",
    "link_of",
    "name_problems",
    "settled_by",
    "unsettled",
]

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


class Deployments:
    """A `Notifier` whose messages come to a deployment, and to how it stands.

    Args:
        system: What the service is called.
        resource: What is deployed, as the repr names it.
        states: What each event comes to; of other events the service is told nothing.
        environment: What the service calls the environment; the run's own by default.
        reach: What makes the way to the service, given what tells the present.
    """

    def __init__(
        self,
        system: str,
        resource: object,
        *,
        states: Mapping[str, Any],
        environment: str | None,
        reach: Callable[[Instant], Api],
    ) -> None:
        self._system = system
        self._resource = resource
        self._states = states
        self._environment = environment
        self._clock = Instant()
        self._api = reach(self._clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._resource!r})"

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Have the deployment of the run, with the status that *message* comes to."""
        state = self._states.get(message.event)
        if state is None:
            return delivered(f"{message.event} is nothing that {self._system} is told")
        self._clock.at = attempt.at or message.at
        known: object = attempt.receipt.get("deployment")

        async def tell(deadline: float) -> Delivery:
            number = known if isinstance(known, int) else None
            number = await self._told(number, message, state, deadline)
            return delivered(f"deployment {number}", receipt={"deployment": number})

        return await in_time(tell, attempt)

    async def _told(self, number: int | None, message: Message, state: Any, deadline: float) -> int:
        """Have a deployment that stands at *state*, and return its number.

        Raises:
            Unsettled: It does not, or nobody knows.
            Trouble: No answer came.
        """
        raise NotImplementedError

    def _environment_of(self, message: Message) -> str:
        environment = self._environment or message.run.environment
        if environment is None:
            raise Unsettled(rejected("the run has no environment; give environment="))
        return environment

    async def _rows(self, path: str, deadline: float) -> list[dict[str, Any]]:
        said = settled_by(await self._api.ask("GET", path, deadline=deadline), 200)
        rows = said.rows()
        if rows is None:
            raise unsettled(said)
        return rows

    async def _made(self, path: str, body: dict[str, Any], deadline: float) -> int:
        said = settled_by(await self._api.ask("POST", path, body=body, deadline=deadline), 201)
        number = said.get("id")
        if not isinstance(number, int):
            raise unsettled(said)
        return number


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
