"""Tell any program that takes HTTP, signed as Standard Webhooks has it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.errors import DefinitionError, SecretError, shown
from pyflow.messages import FIRST, Attempt, Delivery, delivered, rejected, retrying
from pyflow.net.headers import header_problems
from pyflow.net.proxy import as_proxy
from pyflow.notifiers._cdevents import cloud_event
from pyflow.notifiers._checks import (
    as_secret,
    refuse,
    secret_problems,
    text_problems,
)
from pyflow.notifiers._http import encoded, kept, post, said_by, url_problems, way_problems
from pyflow.notifiers._text import cut, plain

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from pyflow.messages import Message
    from pyflow.net.headers import HeaderValue
    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.secrets import Secret

__all__ = ["Webhook", "signature"]

Format: TypeAlias = Literal["json", "cdevents"]

KEY_BYTES = (24, 64)
TEXT_CHARS_MAX = 4_000
VALUE_CHARS_MAX = 300
PARAMS_MAX = 20
SIGNED = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature", "content-type"})


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """Posts JSON to a URL; with secrets, signed by Standard Webhooks 1.0.0 (``v1``).

    `format="json"` sends ``{"type", "timestamp", "data"}`` of less than 20 KB,
    as that specification advises. `format="cdevents"` sends a CDEvent 0.5.1 in
    a structured CloudEvent 1.0. ``webhook-id`` is the message's id, the same
    however often it is sent; ``webhook-timestamp`` is that of the attempt.

    Any 2xx is `delivered`, and 410 tells that nobody wants to hear any more.

    Raises:
        DefinitionError: An argument cannot be used. No error shows the URL's path.
    """

    url: Secret | str
    """Where to; it may hold a credential, so only its host is ever shown."""

    _: KW_ONLY

    secrets: Sequence[Secret | str] = ()
    """Keys to sign with, as ``whsec_<base64>`` of 24 to 64 bytes. While one takes
    another's place, give both."""

    format: Format = "json"
    """What is sent."""

    headers: Mapping[str, HeaderValue] = field(default_factory=dict[str, "HeaderValue"], hash=False)
    """Sent along, such as ``Authorization``; a value may be a `Secret`."""

    source: str = "pyflow"
    """The source of CDEvents, a URI reference such as ``/deployments/shop``."""

    allow_private: bool = False
    """Whether the host may have an address that is not public."""

    ssl_context: ssl.SSLContext | None = field(default=None, hash=False)
    """How to speak TLS; by default with the system's roots."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    def __post_init__(self) -> None:
        refuse("Webhook", _problems(self))
        object.__setattr__(self, "url", kept(self.url))
        object.__setattr__(self, "secrets", tuple(as_secret(key) for key in self.secrets))
        object.__setattr__(self, "headers", dict(self.headers))
        object.__setattr__(self, "proxy", as_proxy(self.proxy))

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Post *message* once."""
        if self.format == "cdevents":
            kind, body = "application/cloudevents+json", cloud_event(message, source=self.source)
        else:
            kind, body = "application/json", _plain_event(message)
        data = encoded(body)
        keys = tuple(as_secret(key) for key in self.secrets)
        try:
            signed = await asyncio.to_thread(_signed, message, attempt, data, keys)
        except SecretError as error:
            return retrying(str(error))
        except DefinitionError as error:
            return rejected(str(error))
        return await post(
            self.url,
            data,
            way=self,
            headers={**self.headers, "Content-Type": f"{kind}; charset=utf-8", **signed},
            judge=_judged,
            attempt=attempt,
            secrets=keys,
        )

    def __repr__(self) -> str:
        return f"Webhook(url=***, format={self.format!r}, secrets={len(self.secrets)})"


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return ``v1,<base64>``: HMAC-SHA256 over ``id.timestamp.body``, by Standard Webhooks 1.0.0.

    Raises:
        DefinitionError: *secret* is not ``whsec_`` and the base64 of 24 to 64 bytes.
    """
    key = _key(secret)
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    least, most = KEY_BYTES
    if not least <= len(key) <= most:
        problem = f"a secret must be whsec_ and the base64 of {least} to {most} bytes"
        raise DefinitionError("Webhook(secrets=)", [problem])
    return key


def _signed(
    message: Message, attempt: Attempt, body: bytes, keys: Sequence[Secret]
) -> dict[str, str]:
    timestamp_s = int((attempt.at or message.at).timestamp())
    headers = {"webhook-id": message.id, "webhook-timestamp": str(timestamp_s)}
    if keys:
        signatures = [signature(key.reveal(), message.id, timestamp_s, body) for key in keys]
        headers["webhook-signature"] = " ".join(signatures)
    return headers


def _judged(response: Response) -> Delivery:
    return delivered(said_by(response) if response.body else "")


def _plain_event(message: Message) -> dict[str, Any]:
    run = message.run
    params = {cut(n, VALUE_CHARS_MAX): cut(v, VALUE_CHARS_MAX) for n, v in run.params.items()}
    data: dict[str, Any] = {
        "id": message.id,
        "severity": message.severity,
        "title": plain(message.title),
        "text": cut(plain(message.text), TEXT_CHARS_MAX),
        "summary": plain(message.summary),
        "links": [{"text": words, "url": url} for words, url in message.links],
        "run": {
            "id": run.id,
            "workflow": run.workflow,
            "status": run.status,
            "environment": run.environment,
            "tier": run.tier,
            "initiator": run.initiator,
            "params": dict(list(params.items())[:PARAMS_MAX]),
            "ci": {name: cut(value, VALUE_CHARS_MAX) for name, value in run.ci.items()},
        },
    }
    return {
        "type": f"deployment.{message.event}",
        "timestamp": message.at.isoformat(),
        "data": data,
    }


def _problems(webhook: Webhook) -> list[str]:
    problems = [
        *url_problems(webhook.url),
        *header_problems(webhook.headers),
        *text_problems("source", webhook.source),
        *way_problems(webhook),
    ]
    if webhook.format not in ("json", "cdevents"):
        problems.append(f'format={shown(webhook.format)} must be "json" or "cdevents"')
    if isinstance(webhook.secrets, (str, bytes)) or not hasattr(webhook.secrets, "__iter__"):
        return [*problems, "secrets= must be a list of them"]
    problems += [p for key in webhook.secrets for p in secret_problems("secrets", key)]
    problems += [p for key in webhook.secrets if isinstance(key, str) for p in _key_problems(key)]
    if not problems:
        own = [name for name in webhook.headers if name.lower() in SIGNED]
        problems += [
            f"headers: {name!r} is set by the webhook itself; leave it out" for name in own
        ]
    return problems


def _key_problems(secret: str) -> list[str]:
    try:
        _key(secret)
    except DefinitionError as error:
        return [str(error.problems[0])]
    return []
