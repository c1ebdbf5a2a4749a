"""A server that plays the webhook of a workflow in Microsoft Teams.

It answers 202 to everything that it can queue, as the real one does, and
keeps apart what the channel would show and what would fail in silence.
"""

from __future__ import annotations

from typing import Any, cast

from pyflow.testing.servers.http import HTTPServer, Received, Reply

__all__ = ["TeamsServer", "card_problem"]

BODY_BYTES_MAX = 28_000
ELEMENTS = frozenset({"TextBlock", "RichTextBlock", "FactSet", "Container", "ColumnSet"})
ACTIONS = frozenset({"Action.OpenUrl", "Action.ShowCard", "Action.ToggleVisibility"})


class TeamsServer(HTTPServer):
    """Plays a workflow. `cards` is what its readers see, `failed` what they never will."""

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__(tls=tls)
        self.cards: list[dict[str, Any]] = []
        """The cards that the channel shows, in order."""
        self.failed: list[str] = []
        """Why cards were queued and not shown."""

    @property
    def url(self) -> str:
        """The URL of the webhook; its query is the credential."""
        flow = "powerautomate/automations/direct/workflows/0test/triggers/manual/paths/invoke"
        return f"{self.base_url}/{flow}?api-version=1&sp=%2Ftriggers&sv=1.0&sig=not-a-real-one"

    @property
    def texts(self) -> list[str]:
        """The opening line of each card, in order."""
        return [card["body"][0]["inlines"][0]["text"] for card in self.cards]

    def answer(self, request: Received) -> Reply:
        """Queue the card, and show it unless something is wrong with it."""
        if "sig=not-a-real-one" not in request.path:
            return Reply(401, {"error": {"code": "DirectApiAuthorizationRequired"}})
        if len(request.body) > BODY_BYTES_MAX:
            return Reply(413, "Request entity too large")
        try:
            problem = card_problem(request.json)
        except (ValueError, KeyError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            self.cards.append(request.json["attachments"][0]["content"])
        else:
            self.failed.append(problem)
        return Reply(202)


def card_problem(payload: dict[str, Any]) -> str | None:
    """Return why a workflow would not show *payload*, or None.

    By the schema of Adaptive Cards 1.4 and by what Teams supports of it.
    """
    attachments: list[dict[str, Any]] = payload["attachments"]
    if payload.get("type") != "message" or len(attachments) != 1:
        return "not a message with one attachment"
    if attachments[0]["contentType"] != "application/vnd.microsoft.card.adaptive":
        return "not an Adaptive Card"
    card = attachments[0]["content"]
    if card.get("type") != "AdaptiveCard" or card.get("version") not in {
        "1.2",
        "1.3",
        "1.4",
        "1.5",
    }:
        return "not a card of a version that Teams knows"
    if not card["body"]:
        return "a card without a body"
    problems = [_element_problem(element) for element in card["body"]]
    problems += [_action_problem(action) for action in card.get("actions", [])]
    problems += ["more than 6 actions"] if len(card.get("actions", [])) > 6 else []
    return next(filter(None, problems), None)


def _element_problem(element: dict[str, Any]) -> str | None:
    if element["type"] not in ELEMENTS:
        return f"no element is called {element['type']}"
    if element["type"] != "RichTextBlock":
        return None
    runs = cast("list[dict[str, Any]]", element["inlines"])
    good = all(
        run["type"] == "TextRun" and isinstance(run["text"], str) and run["text"] for run in runs
    )
    return None if runs and good else "a RichTextBlock without text"


def _action_problem(action: dict[str, Any]) -> str | None:
    if action["type"] not in ACTIONS:
        return f"Teams shows no {action['type']}"
    url = str(action.get("url", ""))
    if action["type"] == "Action.OpenUrl" and not url.startswith(("https://", "http://")):
        return "Action.OpenUrl without a URL"
    return None
