"""A server that plays the Events API v2 of PagerDuty."""

from __future__ import annotations

from typing import Any, cast

from pyflow.testing.servers.http import HTTPServer, Received, Reply

__all__ = ["PagerDutyServer", "event_problems"]

BODY_BYTES_MAX = 512 * 1024
SEVERITIES = frozenset({"critical", "error", "warning", "info"})


class PagerDutyServer(HTTPServer):
    """Plays PagerDuty. `changes` and `incidents` are what a service of it shows.

    Args:
        routing_key: The integration key that it takes.
        tls: Whether it speaks TLS.
    """

    def __init__(self, *, routing_key: str = "0123456789abcdef" * 2, tls: bool = False) -> None:
        super().__init__(tls=tls)
        self.routing_key = routing_key
        self.changes: list[dict[str, Any]] = []
        """Every change event, in order."""
        self.incidents: dict[str, str] = {}
        """Whether the incident of each key is ``triggered``, ``acknowledged`` or ``resolved``."""
        self.alerts: list[dict[str, Any]] = []
        """Every event that triggered, in order."""

    def answer(self, request: Received) -> Reply:
        """Answer as the Events API does."""
        try:
            event = request.json
        except ValueError:
            return _invalid(["not JSON"])
        if len(request.body) > BODY_BYTES_MAX:
            return Reply(413, {"status": "invalid event", "message": "too large"})
        is_change = request.path == "/v2/change/enqueue"
        problems = event_problems(event, is_change=is_change)
        if event.get("routing_key") != self.routing_key:
            problems.append("'routing_key' is not a key of any service")
        if problems:
            return _invalid(problems)
        if is_change:
            self.changes.append(event)
            return Reply(202, {"status": "success", "message": "Change event processed"})
        key = str(event.get("dedup_key") or f"made-{len(self.alerts)}")
        self._take(event, key)
        return Reply(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def _take(self, event: dict[str, Any], key: str) -> None:
        if event["event_action"] == "trigger":
            self.alerts.append(event)
            self.incidents[key] = "triggered"
        elif key in self.incidents:
            done = {"resolve": "resolved", "acknowledge": "acknowledged"}
            self.incidents[key] = done[event["event_action"]]


def event_problems(event: dict[str, Any], *, is_change: bool) -> list[str]:
    """Return which published rules *event* breaks.

    By https://developer.pagerduty.com/docs/events-api-v2/trigger-events.
    """
    action = event.get("event_action")
    payload: dict[str, Any] = event.get("payload") or {}
    problems: list[str] = []
    if not is_change and action not in {"trigger", "acknowledge", "resolve"}:
        problems.append("'event_action' is missing or unknown")
    if len(event.get("dedup_key") or "") > 255:
        problems.append("'dedup_key' is longer than 255")
    if action in {"acknowledge", "resolve"}:
        return problems + ([] if event.get("dedup_key") else ["'dedup_key' is missing"])
    summary = payload.get("summary")
    if not summary or len(summary) > 1_024:
        problems.append("'payload.summary' is missing or longer than 1024")
    if not is_change and not payload.get("source"):
        problems.append("'payload.source' is missing")
    if not is_change and payload.get("severity") not in SEVERITIES:
        problems.append("'payload.severity' is missing or unknown")
    links = cast("list[dict[str, str]]", event.get("links") or [])
    problems += ["a link without 'href'" for link in links if not link.get("href")]
    return problems


def _invalid(errors: list[str]) -> Reply:
    words = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return Reply(400, words)
