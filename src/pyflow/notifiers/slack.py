"""Tell a Slack channel: through an incoming webhook, or with one thread per run."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from pyflow.messages import FIRST, Attempt, Delivery, delivered, rejected, retrying, unknown
from pyflow.net.proxy import as_proxy
from pyflow.net.retry_after import retry_after_s
from pyflow.notices.route import event_problems
from pyflow.notifiers._checks import (
    as_secret,
    refuse,
    secret_problems,
    text_problems,
)
from pyflow.notifiers._http import encoded, json_of, kept, post, said_by, url_problems, way_problems
from pyflow.notifiers._slack_blocks import slack_blocks, slack_text

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from pyflow.messages import Message
    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.secrets import Secret

__all__ = ["Slack"]

JSON_TYPE = "application/json; charset=utf-8"
BROADCAST = ("failed", "rolled_back", "rollback_failed")
PASSING = frozenset({"ratelimited", "service_unavailable", "request_timeout"})
IN_DOUBT = frozenset({"fatal_error", "internal_error"})


@dataclass(frozen=True, slots=True, repr=False)
class Slack:
    """Posts to Slack, either to an incoming webhook or as a bot.

    `Slack(url)` posts each message on its own: a webhook never says what it
    posted, so nothing can be answered or changed. `Slack(token=…, channel=…)`
    keeps one thread per run, changes its root message as the run goes on, and
    shows only a run's failure to the whole channel.

    Raises:
        DefinitionError: An argument cannot be used. No error shows the URL's path.
    """

    url: Secret | str | None = None
    """The incoming webhook's URL, which is a credential."""

    _: KW_ONLY

    token: Secret | str | None = None
    """A bot's token (``xoxb-…``) with the scope ``chat:write``."""

    channel: str | None = None
    """The channel's id, such as ``C0123456789``; the bot has to be in it."""

    broadcast: tuple[str, ...] = BROADCAST
    """Events whose message is shown in the channel besides its thread."""

    base_url: str = "https://slack.com/api"
    """Where the Web API is."""

    allow_private: bool = False
    """Whether the host may have an address that is not public, as a test server has."""

    ssl_context: ssl.SSLContext | None = field(default=None, hash=False)
    """How to speak TLS; by default with the system's roots."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    def __post_init__(self) -> None:
        refuse("Slack", _problems(self))
        if self.url is not None:
            object.__setattr__(self, "url", kept(self.url))
        if self.token is not None:
            object.__setattr__(self, "token", as_secret(self.token))
        object.__setattr__(self, "proxy", as_proxy(self.proxy))

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Post *message* once."""
        payload = {
            "text": slack_text(message),
            "blocks": slack_blocks(message),
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if self.url is not None:
            return await self._post(self.url, payload, {}, attempt, _judged_webhook)
        return await self._converse(message, payload, attempt)

    async def _converse(
        self, message: Message, payload: dict[str, Any], attempt: Attempt
    ) -> Delivery:
        """Post *message* as the root of a thread or into it, and keep the root up to date."""
        root = attempt.receipt.get("ts")
        payload |= {
            "channel": attempt.receipt.get("channel") or self.channel,
            "metadata": {
                "event_type": "pyflow_message",
                "event_payload": {"id": message.id, "run": message.run.id},
            },
        }
        if root is not None:
            payload |= {"thread_ts": root, "reply_broadcast": message.event in self.broadcast}
        found = await self._call("chat.postMessage", payload, attempt)
        if root is None or found.status != "delivered":
            return found
        # The reply is there; whatever becomes of the root, it is not posted again.
        edit = {"channel": payload["channel"], "ts": root, "text": slack_text(message)}
        edit["blocks"] = slack_blocks(message, standing=True)
        edited = await self._call("chat.update", edit, attempt)
        if edited.status == "delivered":
            return delivered()
        return delivered(f"the thread's root could not be changed: {edited.detail}")

    async def _call(self, method: str, payload: dict[str, Any], attempt: Attempt) -> Delivery:
        headers = {"Authorization": _Bearer(self.token)}
        url = f"{self.base_url.rstrip('/')}/{method}"
        return await self._post(url, payload, headers, attempt, _judged_api)

    async def _post(
        self,
        url: Secret | str,
        payload: dict[str, Any],
        headers: Mapping[str, Any],
        attempt: Attempt,
        judge: Callable[[Response], Delivery],
    ) -> Delivery:
        return await post(
            url,
            encoded(payload),
            way=self,
            headers={"Content-Type": JSON_TYPE, **headers},
            judge=judge,
            attempt=attempt,
            secrets=(as_secret(self.token),) if self.token is not None else (),
        )

    def __repr__(self) -> str:
        where = "url=***" if self.url is not None else f"channel={self.channel!r}, token=***"
        return f"Slack({where})"


class _Bearer:
    """An ``Authorization`` value that is made as it is sent."""

    __slots__ = ("_token",)

    def __init__(self, token: Secret | str | None) -> None:
        self._token = token

    def reveal(self) -> str:
        return f"Bearer {as_secret(self._token or '').reveal()}"


def _judged_webhook(response: Response) -> Delivery:
    """A webhook that took a message says ``ok``, and nothing else."""
    said = said_by(response)
    return delivered() if response.body.strip() == b"ok" else rejected(f"expected ok, got: {said}")


def _judged_api(response: Response) -> Delivery:
    """The Web API answers 200 to everything; ``ok`` tells."""
    data = json_of(response)
    if not isinstance(data, dict):
        return unknown(f"the answer is not Slack's JSON: {said_by(response)}")
    answer: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    if answer.get("ok") is True:
        ts, channel = answer.get("ts"), answer.get("channel")
        return delivered(receipt={"ts": ts, "channel": channel} if ts and channel else None)
    error = str(answer.get("error") or "no error named")
    if error in PASSING:
        return retrying(error, wait_s=retry_after_s(response.headers, body=answer))
    return unknown(error) if error in IN_DOUBT else rejected(error)


def _problems(slack: Slack) -> list[str]:
    problems = way_problems(slack)
    if slack.broadcast not in ((), []):  # nothing is broadcast then
        problems += event_problems(slack.broadcast, name="broadcast")
    if (slack.url is None) == (slack.token is None):
        problems.append("give either url=, of an incoming webhook, or token= and channel=")
    elif slack.url is not None:
        problems += url_problems(slack.url)
    else:
        problems += [
            *secret_problems("token", slack.token),
            *text_problems("channel", slack.channel),
            *url_problems(slack.base_url, name="base_url"),
        ]
    if slack.url is not None and slack.channel is not None:
        problems.append("channel= goes with token=; a webhook has its channel already")
    return problems
