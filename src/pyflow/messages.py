"""What people are told, and what came of telling them: the values that notifiers work with.

A `Message` is finished: worded, redacted, with a stable id. A notifier gives it
the shape of its service and sends it, and knows nothing of runs or records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "ENDINGS",
    "FIRST",
    "SEVERITIES",
    "Attempt",
    "Delivery",
    "DeliveryStatus",
    "Message",
    "RunInfo",
    "Severity",
    "delivered",
    "rejected",
    "retrying",
    "unknown",
]

Severity: TypeAlias = Literal["info", "warning", "error", "critical"]
"""How much a message matters; `critical` needs a person now."""

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
"""All of them, the least ahead."""

DeliveryStatus: TypeAlias = Literal["delivered", "rejected", "retrying", "unknown"]
"""`delivered`: the service says that it has it. `rejected`: it never will, so
nobody tries again. `retrying`: it has not, and another try may help.
`unknown`: it may have it, and does not say."""

ENDINGS = ("succeeded", "failed", "rolled_back", "rollback_failed", "cancelled")
"""The events with which a run ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """The run that a message is about, as it stood then."""

    id: str
    """Its id."""

    workflow: str
    """The workflow's name."""

    status: str
    """What it was doing."""

    environment: str | None = None
    """Where it runs."""

    tier: str | None = None
    """What kind of place that is."""

    initiator: str = ""
    """Who started it."""

    started_at: datetime | None = None
    """When it began."""

    params: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """Its parameters, as text; secrets are masked."""

    ci: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """What the CI system said: actor, commit, ref, repository, run_url and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing to tell, in words."""

    id: str
    """Stays the same however often it is sent, so that a receiver can tell repeats apart.
    Letters, digits and hyphens."""

    event: str
    """What happened, such as ``rolled_back``."""

    severity: Severity
    """How much it matters."""

    title: str
    """One line that can stand alone."""

    text: str = ""
    """The rest, in lines of plain text; often empty."""

    summary: str = ""
    """One line on where the run stands now."""

    fields: tuple[tuple[str, str], ...] = ()
    """Facts, as names and values."""

    links: tuple[tuple[str, str], ...] = ()
    """Where to read on, as words and http or https URLs."""

    at: datetime
    """When it happened, in UTC."""

    run: RunInfo
    """The run that it is about."""

    @property
    def is_ending(self) -> bool:
        """Whether the run has ended with it."""
        return self.event in ENDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at delivering a message."""

    number: int = 1
    """From 1. From 2 on, an earlier try may have arrived."""

    at: datetime | None = None
    """The present instant, in UTC; the message's own where that is not known."""

    timeout_s: float = 10.0
    """How long it may take, in seconds."""

    receipt: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    """What deliveries to this notifier about this run have left to remember, such as a thread."""


FIRST = Attempt()
"""A try of which nothing is known besides."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of a try."""

    status: DeliveryStatus
    """Whether the message is there; see `DeliveryStatus`."""

    detail: str = ""
    """What the service said, or what went wrong, on one line."""

    again: bool = False
    """Whether another try may help. It may make a message of an `unknown` one arrive twice."""

    wait_s: float | None = None
    """How long the service asks to wait before that, in seconds."""

    receipt: Mapping[str, Any] | None = field(default=None, hash=False)
    """JSON data for later messages about the same run, such as the thread to answer in."""


def delivered(detail: str = "", *, receipt: Mapping[str, Any] | None = None) -> Delivery:
    """Return that the service has the message."""
    return Delivery("delivered", detail, receipt=receipt)


def rejected(detail: str) -> Delivery:
    """Return that the service will never take it."""
    return Delivery("rejected", detail)


def retrying(detail: str, *, wait_s: float | None = None) -> Delivery:
    """Return that it has not arrived, and that another try may help."""
    return Delivery("retrying", detail, again=True, wait_s=wait_s)


def unknown(
    detail: str, *, again: bool = True, receipt: Mapping[str, Any] | None = None
) -> Delivery:
    """Return that nobody knows whether it has arrived."""
    return Delivery("unknown", detail, again=again, receipt=receipt)
