"""A server that plays Slack: an incoming webhook, and the part of the Web API that posts.

It refuses what Slack refuses, in Slack's words: errors of a webhook are plain
text, those of the Web API come with status 200.
"""

from __future__ import annotations

import json
from typing import Any, cast

from pyflow.testing.servers.http import HTTPServer, Received, Reply

__all__ = ["SlackServer", "block_problem", "payload_problem"]

TEXT_CHARS_MAX = 40_000
BLOCKS_CHARS_MAX = 13_000


class SlackServer(HTTPServer):
    """Plays Slack. `channel` is what its readers see.

    Args:
        token: The bot's token that the Web API takes.
        channels: The channels that the bot is in.
        tls: Whether it speaks TLS.
    """

    def __init__(
        self,
        *,
        token: str = "xoxb-for-tests-only",  # noqa: S107 - it opens nothing
        channels: tuple[str, ...] = ("C0TEST",),
        tls: bool = False,
    ) -> None:
        super().__init__(tls=tls)
        self.token = token
        self.channels = channels
        self.channel: list[dict[str, Any]] = []
        """Every message that was posted, as it reads now, with its ``ts`` and ``edits``."""
        self._count = 0

    @property
    def url(self) -> str:
        """The URL of the incoming webhook."""
        return f"{self.base_url}/services/T0TEST/B0TEST/not-a-real-webhook"

    @property
    def api_url(self) -> str:
        """The URL of the Web API."""
        return f"{self.base_url}/api"

    @property
    def texts(self) -> list[str]:
        """The texts of the messages, in order."""
        return [message["text"] for message in self.channel]

    def answer(self, request: Received) -> Reply:
        """Answer as Slack does."""
        data = _json(request)
        if request.path.startswith("/services/"):
            problem = "invalid_payload" if data is None else payload_problem(data)
            if problem is not None:
                return Reply(400, problem)
            self._post(cast("dict[str, Any]", data))
            return Reply(200, "ok")
        return Reply(200, self._call(request, data))

    def _call(self, request: Received, data: dict[str, Any] | None) -> dict[str, Any]:
        given = request.headers.get("authorization", "")
        if given != f"Bearer {self.token}":
            return _no("invalid_auth" if given else "not_authed")
        problem = self._problem(data)
        if data is None or problem is not None:
            return _no(problem or "invalid_json")
        if request.path == "/api/chat.postMessage":
            return {"ok": True, "channel": data["channel"], "ts": self._post(data)}
        return self._edit(data) if request.path == "/api/chat.update" else _no("unknown_method")

    def _problem(self, data: dict[str, Any] | None) -> str | None:
        if data is None:
            return "invalid_json"
        if data.get("channel") not in self.channels:
            return "channel_not_found"
        return payload_problem(data)

    def _post(self, data: dict[str, Any]) -> str:
        self._count += 1
        ts = f"1700000000.{self._count:06d}"
        self.channel.append({**data, "ts": ts, "edits": 0})
        return ts

    def _edit(self, data: dict[str, Any]) -> dict[str, Any]:
        for message in self.channel:
            if message["ts"] == data.get("ts"):
                message.update(data, edits=message["edits"] + 1)
                return {"ok": True, "channel": data["channel"], "ts": data["ts"]}
        return _no("message_not_found")


def payload_problem(data: dict[str, Any]) -> str | None:
    """Return Slack's word for what is wrong with a message, or None."""
    text, blocks = data.get("text"), data.get("blocks", [])
    if not text and not blocks:
        return "no_text"
    if len(text or "") > TEXT_CHARS_MAX:
        return "msg_too_long"
    if len(blocks) > 50 or any(block_problem(block) for block in blocks):
        return "invalid_blocks"
    if sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks) > BLOCKS_CHARS_MAX:
        return "msg_blocks_too_long"
    return None


def block_problem(block: dict[str, Any]) -> str | None:
    """Return which published limit *block* breaks, or None.

    As of https://docs.slack.dev/reference/block-kit/blocks.
    """
    kind = block.get("type")
    if kind == "header":
        text = block["text"]
        return _text_problem(text, 150) or (None if text["type"] == "plain_text" else "not plain")
    if kind == "section":
        fields: list[dict[str, Any]] = block.get("fields", [])
        if "text" not in block and not fields:
            return "a section without text and fields"
        problems = [_text_problem(block["text"], 3_000)] if "text" in block else []
        problems += [_text_problem(one, 2_000) for one in fields]
        problems += ["more than 10 fields"] if len(fields) > 10 else []
        return next(filter(None, problems), None)
    if kind == "context":
        elements: list[dict[str, Any]] = block["elements"]
        problems = [_text_problem(one, 3_000) for one in elements]
        problems += [] if 1 <= len(elements) <= 10 else ["not 1 to 10 elements"]
        return next(filter(None, problems), None)
    return None if kind == "divider" else f"no block is called {kind}"


def _text_problem(text: dict[str, Any], chars: int) -> str | None:
    allowed = {"plain_text": {"emoji"}, "mrkdwn": {"verbatim"}}
    extra = allowed.get(text.get("type", ""))
    if extra is None or set(text) - {"type", "text"} - extra:
        return f"a text of keys {sorted(text)}"
    return None if 1 <= len(text["text"]) <= chars else f"a text that is not 1 to {chars} long"


def _no(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _json(request: Received) -> dict[str, Any] | None:
    try:
        data = request.json
    except ValueError:
        return None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None
