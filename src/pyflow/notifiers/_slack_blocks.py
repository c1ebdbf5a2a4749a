"""A message in Slack's Block Kit, within its limits by construction.

Limits as of https://docs.slack.dev/reference/block-kit/blocks: 50 blocks; 150
characters in a header, 3,000 in a section, 2,000 in each of 10 fields, 10
elements in a context. All blocks together stay below the 13,000 characters or
so at which Slack says ``msg_blocks_too_long``.

Text from outside is never Slack's markup: what it says cannot mention a
channel, and looks as it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pyflow.notifiers._text import cut, line_of, plain

if TYPE_CHECKING:
    from pyflow.messages import Message

__all__ = ["escaped", "slack_blocks", "slack_text"]

TEXT_CHARS_MAX = 4_000
HEADER_CHARS_MAX = 150
SECTION_CHARS_MAX = 2_900
FIELD_CHARS_MAX = 500
FIELDS_MAX = 10
NAME_CHARS_MAX = 60
LINKS_MAX = 3
URL_CHARS_MAX = 600
SIGNS = {"info": "", "warning": "⚠️ ", "error": "❌ ", "critical": "🚨 "}


def slack_text(message: Message) -> str:
    """Return what notifications show, and clients that know no blocks."""
    return cut(escaped(line_of(_sign(message) + message.title)), TEXT_CHARS_MAX)


def slack_blocks(message: Message, *, standing: bool = False) -> list[dict[str, Any]]:
    """Return *message* in blocks; *standing* tells where the run stands, in place of the title."""
    title = _sign(message) + (message.summary if standing else message.title)
    header = {"type": "plain_text", "text": line_of(title, chars=HEADER_CHARS_MAX), "emoji": True}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": header}]
    text = plain(message.text).strip()
    if text:
        body = {"type": "plain_text", "text": cut(text, SECTION_CHARS_MAX), "emoji": False}
        blocks.append({"type": "section", "text": body})
    if message.fields:
        fields = [_field(name, value) for name, value in message.fields[:FIELDS_MAX]]
        blocks.append({"type": "section", "fields": fields})
    links = [_link(words, url) for words, url in message.links if len(url) <= URL_CHARS_MAX]
    if links:
        blocks.append({"type": "context", "elements": links[:LINKS_MAX]})
    return blocks


def escaped(text: str) -> str:
    """Return *text* so that Slack reads no link, mention or entity in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _sign(message: Message) -> str:
    return "✅ " if message.event == "succeeded" else SIGNS[message.severity]


def _field(name: str, value: str) -> dict[str, Any]:
    # Cut once it is escaped, because one character may have become five.
    words = cut(escaped(line_of(value, chars=FIELD_CHARS_MAX)), FIELD_CHARS_MAX)
    return {"type": "mrkdwn", "text": f"*{_short(name)}*\n{words}", "verbatim": True}


def _link(words: str, url: str) -> dict[str, Any]:
    place = quote(url, safe=":/?#[]@!$&'()*+,;=%~-._")
    return {"type": "mrkdwn", "text": f"<{escaped(place)}|{_short(words)}>"}


def _short(words: str) -> str:
    return cut(escaped(line_of(words, chars=NAME_CHARS_MAX)), NAME_CHARS_MAX)
