"""A server that takes webhooks, and checks their signatures as Standard Webhooks has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from pyflow.testing.servers.http import HTTPServer, Received, Reply

__all__ = ["WebhookServer"]


class WebhookServer(HTTPServer):
    """Takes webhooks. One whose signature does not fit is refused with 401.

    Args:
        secrets: The keys that it knows, as ``whsec_<base64>``; none takes everything.
        tls: Whether it speaks TLS.
    """

    def __init__(self, *, secrets: tuple[str, ...] = (), tls: bool = False) -> None:
        super().__init__(tls=tls)
        self.secrets = secrets
        self.events: list[dict[str, Any]] = []
        """The bodies that were taken, read as JSON, each ``webhook-id`` once."""
        self.ids: list[str] = []
        """The ``webhook-id`` of everything that was taken, repeats included."""

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"{self.base_url}/hooks/not-a-real-token"

    def answer(self, request: Received) -> Reply:
        """Take the webhook, if it is signed with a known key."""
        if self.secrets and not any(_fits(request, secret) for secret in self.secrets):
            return Reply(401, "no signature fits")
        name = request.headers.get("webhook-id", "")
        if name not in self.ids:
            self.events.append(request.json)
        self.ids.append(name)
        return Reply(204)


def _fits(request: Received, secret: str) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    name = request.headers.get("webhook-id", "")
    at = request.headers.get("webhook-timestamp", "")
    digest = hmac.digest(key, f"{name}.{at}.".encode() + request.body, hashlib.sha256)
    wanted = f"v1,{base64.b64encode(digest).decode()}"
    given = request.headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(one, wanted) for one in given)
