"""Tell a Microsoft Teams channel, through a webhook of its Workflows app."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from pyflow.messages import FIRST, Attempt, Delivery, rejected, unknown
from pyflow.net.proxy import as_proxy
from pyflow.notifiers._checks import refuse
from pyflow.notifiers._http import encoded, kept, post, said_by, url_problems, way_problems
from pyflow.notifiers._text import cut, line_of, plain

if TYPE_CHECKING:
    import ssl

    from pyflow.messages import Message
    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.secrets import Secret

__all__ = ["Teams", "teams_payload"]

CARD_BYTES_MAX = 25_000
"""Teams refuses what is larger than about 28 KB."""
TEXT_CHARS = (6_000, 3_000, 1_500, 700, 300)
FIELDS_MAX = 12
FIELD_CHARS_MAX = 200
TITLE_CHARS_MAX = 250
LINKS_MAX = 3
LINES_MAX = 40
URL_CHARS_MAX = 1_000
COLORS = {"info": "Default", "warning": "Warning", "error": "Attention", "critical": "Attention"}


@dataclass(frozen=True, slots=True, repr=False)
class Teams:
    """Posts an Adaptive Card to the webhook of a workflow in Teams.

    The answer 202 says that the card is queued, not that anybody will see it:
    a workflow that fails later fails in silence. So the best that comes of a
    message is `unknown`, without another try. The card is built of what Teams
    is known to show, within its limits.

    Raises:
        DefinitionError: An argument cannot be used. No error shows the URL's path.
    """

    url: Secret | str
    """The URL of "When a Teams webhook request is received", to the letter; it is a credential."""

    _: KW_ONLY

    allow_private: bool = False
    """Whether the host may have an address that is not public, as a test server has."""

    ssl_context: ssl.SSLContext | None = field(default=None, hash=False)
    """How to speak TLS; by default with the system's roots."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    def __post_init__(self) -> None:
        problems = [*url_problems(self.url), *way_problems(self)]
        refuse("Teams", problems)
        object.__setattr__(self, "url", kept(self.url))
        object.__setattr__(self, "proxy", as_proxy(self.proxy))

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Post *message* once."""
        return await post(
            self.url,
            encoded(teams_payload(message)),
            way=self,
            headers={"Content-Type": "application/json; charset=utf-8"},
            judge=_judged,
            attempt=attempt,
        )

    def __repr__(self) -> str:
        return "Teams(url=***)"


def teams_payload(message: Message) -> dict[str, Any]:
    """Return *message* as the body of a request, within `CARD_BYTES_MAX`."""
    payloads = (_payload(message, chars) for chars in TEXT_CHARS)
    payload = next(payloads)
    while len(encoded(payload)) > CARD_BYTES_MAX:
        payload = next(payloads)
    return payload


def _judged(response: Response) -> Delivery:
    if "html" in response.headers.get("content-type", "").lower():
        return rejected(f"a web page answered, not a workflow: {said_by(response)}")
    return unknown("queued; Teams does not say whether it was shown", again=False)


def _payload(message: Message, chars: int) -> dict[str, Any]:
    title = _text_block(message.title, chars=TITLE_CHARS_MAX)
    color = "Good" if message.event == "succeeded" else COLORS[message.severity]
    title["inlines"][0] |= {"weight": "Bolder", "size": "Large", "color": color}
    body = [title]
    lines = cut(plain(message.text), chars).split("\n", LINES_MAX)
    body += [_text_block(line, chars=chars) for line in lines]
    body += [_fact(name, value) for name, value in message.fields[:FIELDS_MAX]]
    links = [(words, url) for words, url in message.links if len(url) <= URL_CHARS_MAX]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [block for block in body if block["inlines"][0]["text"]],
        "msteams": {"width": "full"},
    }
    if links:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": line_of(words, chars=60), "url": url}
            for words, url in links[:LINKS_MAX]
        ]
    content_type = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": content_type, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _text_block(text: str, *, chars: int) -> dict[str, Any]:
    # A TextBlock reads Markdown, in which an error's text could pass for a link; this does not.
    run: dict[str, Any] = {"type": "TextRun", "text": line_of(text, chars=chars)}
    return {"type": "RichTextBlock", "inlines": [run]}


def _fact(name: str, value: str) -> dict[str, Any]:
    block = _text_block(f"{name}: ", chars=FIELD_CHARS_MAX)
    block["inlines"][0] |= {"text": f"{line_of(name, chars=40)}: ", "weight": "Bolder"}
    block["inlines"].append({"type": "TextRun", "text": line_of(value, chars=FIELD_CHARS_MAX)})
    return block | {"spacing": "Small"}
