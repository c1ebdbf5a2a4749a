"""Tell PagerDuty: a change event for each deployment, an alert for a rollback that failed."""

from __future__ import annotations

import asyncio
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from pyflow.errors import SecretError
from pyflow.messages import (
    ENDINGS,
    FIRST,
    Attempt,
    Delivery,
    delivered,
    rejected,
    retrying,
    unknown,
)
from pyflow.net.proxy import as_proxy
from pyflow.notifiers._checks import (
    as_secret,
    refuse,
    secret_problems,
    text_problems,
)
from pyflow.notifiers._http import encoded, json_of, post, said_by, url_problems, way_problems
from pyflow.notifiers._text import cut, line_of, plain

if TYPE_CHECKING:
    import ssl

    from pyflow.messages import Message
    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.secrets import Secret

__all__ = ["PagerDuty"]

SUMMARY_CHARS_MAX = 1_024
KEY_CHARS_MAX = 255
TEXT_CHARS_MAX = 8_000
VALUE_CHARS_MAX = 1_000
SOURCE_CHARS_MAX = 255
LINKS_MAX = 10


@dataclass(frozen=True, slots=True, repr=False)
class PagerDuty:
    """Sends events to a PagerDuty service, through the Events API v2.

    The start and the end of a run are change events, which page nobody. A
    message that is `critical` (a rollback or an undo failed) is an alert, one
    for each run; it is resolved once that run has been rolled back after all.
    Nothing else is sent.

    Raises:
        DefinitionError: An argument cannot be used.
    """

    routing_key: Secret | str
    """The integration key of the service."""

    _: KW_ONLY

    source: str = "pyflow"
    """What PagerDuty names as the source."""

    base_url: str = "https://events.pagerduty.com"
    """Where the Events API is."""

    allow_private: bool = False
    """Whether the host may have an address that is not public, as a test server has."""

    ssl_context: ssl.SSLContext | None = field(default=None, hash=False)
    """How to speak TLS; by default with the system's roots."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    def __post_init__(self) -> None:
        problems = [
            *secret_problems("routing_key", self.routing_key),
            *text_problems("source", self.source),
            *url_problems(self.base_url, name="base_url"),
            *way_problems(self),
        ]
        refuse("PagerDuty", problems)
        object.__setattr__(self, "routing_key", as_secret(self.routing_key))
        object.__setattr__(self, "proxy", as_proxy(self.proxy))

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Send the event that *message* comes to, if there is one."""
        key = cut(f"pyflow/{message.run.id}", KEY_CHARS_MAX)
        if message.severity == "critical":
            found = await self._send("/v2/enqueue", _alert(message, key, self.source), attempt)
            return _remembering(found, key)
        if message.event in ENDINGS and attempt.receipt.get("alert"):
            resolve = {"event_action": "resolve", "dedup_key": attempt.receipt["alert"]}
            found = await self._send("/v2/enqueue", resolve, attempt)
            if found.status != "delivered":
                return found
            return _remembering(await self._change(message, attempt), None)
        if message.event == "started" or message.event in ENDINGS:
            return await self._change(message, attempt)
        return delivered(f"{message.event} is nothing that PagerDuty is told")

    async def _change(self, message: Message, attempt: Attempt) -> Delivery:
        return await self._send("/v2/change/enqueue", _change_event(message, self.source), attempt)

    async def _send(self, path: str, event: dict[str, Any], attempt: Attempt) -> Delivery:
        key = as_secret(self.routing_key)
        try:
            plain_key = await asyncio.to_thread(key.reveal)
        except SecretError as error:
            return retrying(str(error))
        return await post(
            self.base_url.rstrip("/") + path,
            encoded({"routing_key": plain_key, **event}),
            way=self,
            headers={"Content-Type": "application/json"},
            judge=_judged,
            attempt=attempt,
            secrets=(key,),
        )

    def __repr__(self) -> str:
        return f"PagerDuty(routing_key=***, source={self.source!r})"


def _judged(response: Response) -> Delivery:
    data = json_of(response)
    if isinstance(data, dict) and data.get("status") == "success":  # pyright: ignore[reportUnknownMemberType]
        return delivered()
    if response.status == 202:
        return unknown(f"202, without PagerDuty's words: {said_by(response)}", again=False)
    return rejected(f"the answer is not PagerDuty's: {said_by(response)}")


def _remembering(found: Delivery, key: str | None) -> Delivery:
    if found.status != "delivered":
        return found
    return delivered(found.detail, receipt={"alert": key})


def _alert(message: Message, key: str, source: str) -> dict[str, Any]:
    payload = {
        "summary": line_of(message.title, chars=SUMMARY_CHARS_MAX),
        "source": line_of(message.run.environment or source, chars=SOURCE_CHARS_MAX),
        "severity": "critical",
        "timestamp": message.at.isoformat(),
        "component": line_of(message.run.workflow, chars=SOURCE_CHARS_MAX),
        "group": line_of(message.run.tier or "", chars=SOURCE_CHARS_MAX),
        "class": message.event,
        "custom_details": _details(message),
    }
    return {
        "event_action": "trigger",
        "dedup_key": key,
        "client": "pyflow",
        "payload": {name: value for name, value in payload.items() if value},
        "links": _links(message),
    }


def _change_event(message: Message, source: str) -> dict[str, Any]:
    payload = {
        "summary": line_of(message.title, chars=SUMMARY_CHARS_MAX),
        "source": line_of(message.run.environment or source, chars=SOURCE_CHARS_MAX),
        "timestamp": message.at.isoformat(),
        "custom_details": _details(message),
    }
    return {"payload": payload, "links": _links(message)}


def _details(message: Message) -> dict[str, str]:
    fields = {line_of(n, chars=60): line_of(v, chars=VALUE_CHARS_MAX) for n, v in message.fields}
    return {"id": message.id, "text": cut(plain(message.text), TEXT_CHARS_MAX), **fields}


def _links(message: Message) -> list[dict[str, str]]:
    return [{"href": url, "text": line_of(words)} for words, url in message.links[:LINKS_MAX]]
