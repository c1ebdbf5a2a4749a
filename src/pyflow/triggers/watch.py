"""How long a trigger waits for what, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyflow.errors import DefinitionError, shown
from pyflow.spans import Backoff, Span, seconds, span_problem

__all__ = ["Watch"]

SPANS = ("timeout", "settle", "patience", "cancel_within", "request_timeout")


@dataclass(frozen=True, slots=True)
class Watch:
    """How long a trigger waits for its pipeline, and for answers about it.

    Raises:
        DefinitionError: A span cannot be used.
    """

    timeout: Span = "1h"
    """Span for all of it: starting, finding and waiting. Then the pipeline is cancelled."""

    poll: Backoff = field(default_factory=lambda: Backoff("5s", factor=1.5, ceiling="30s"))
    """The waits between two looks, and between tries that are known to have started nothing."""

    settle: Span = "2m"
    """How long a pipeline that may have been started is looked up before a person is asked."""

    restart_after: Span | None = "15m"
    """When a start that is not to be found counts as one that never was: a look-up that comes
    to nothing so long after it was sent lets another attempt start anew. None never does."""

    patience: Span = "10m"
    """How long the service may give no usable answer before a person is asked."""

    cancel_within: Span = "30s"
    """How long a pipeline that is cancelled may take to end. It comes on top of `timeout`."""

    request_timeout: Span = "15s"
    """Span for one request."""

    def __post_init__(self) -> None:
        given = [(name, getattr(self, name)) for name in SPANS]
        if self.restart_after is not None:
            given.append(("restart_after", self.restart_after))
        found = [(name, span_problem(span, zero=False)) for name, span in given]
        problems = [f"{name}: {problem}" for name, problem in found if problem is not None]
        if not isinstance(self.poll, Backoff):  # pyright: ignore[reportUnnecessaryIsInstance]
            problems.append(f"poll={shown(self.poll)} must be a Backoff")
        if problems:
            raise DefinitionError("Watch", problems)

    def span_s(self, name: str) -> float:
        """Return the span called *name*, in seconds."""
        return seconds(getattr(self, name), what=f"Watch({name}=)")
