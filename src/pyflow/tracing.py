"""Which span of a trace a call belongs to, in the words of W3C Trace Context.

Every id is worked out from the run's id and what the call is, so nothing has
to be kept: a task can tell what it calls which span it is part of before that
span exists, a resume comes to the same ids, and a trace that is exported
twice is the same trace. Nothing here needs OpenTelemetry.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "RUN",
    "Parent",
    "Part",
    "Trace",
    "enter",
    "given_in",
    "headers",
    "parent_of",
    "part_of_call",
    "trace_of",
    "traced",
]

Part: TypeAlias = "tuple[str | int, ...]"
"""What a span is of: ``("attempt", "deploy", 2)``, ``("undo", "deploy", 1)``, ``("run",)``."""

RUN: Part = ("run",)
"""The span of a run as a whole, of which all others of it are part."""

# https://www.w3.org/TR/trace-context/#traceparent-header: a version that is not known may go on.
PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
STATE = re.compile(r"[\x20-\x7e]{1,512}")
SAMPLED = 1


@frozen
class Parent:
    """A span that somebody else has begun."""

    trace_id: str
    """Its trace: 32 hexadecimal digits."""

    span_id: str
    """Itself: 16 hexadecimal digits."""

    flags: int
    """Whether it is sampled: the last bit."""

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parent_of(text: object) -> Parent | None:
    """Return the span that *text*, a ``traceparent``, names; None where it names none."""
    found = PARENT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return Parent(trace_id, span_id, int(flags, 16))


def given_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``traceparent`` and ``tracestate`` as *environ* has them; nothing that is not valid.

    The variables are those of OpenTelemetry's specification: ``TRACEPARENT``, ``TRACESTATE``.
    """
    parent, state = environ.get("TRACEPARENT", "").strip(), environ.get("TRACESTATE", "").strip()
    if parent_of(parent) is None:
        return {}
    given = {"traceparent": parent}
    return given | ({"tracestate": state} if STATE.fullmatch(state) else {})


@frozen
class Trace:
    """The trace of one run."""

    run_id: str
    """The run."""

    parent: Parent | None = None
    """The span that the run was started in; None where it begins a trace of its own."""

    state: str | None = None
    """The ``tracestate`` that came with it, handed on as it is."""

    @property
    def origin(self) -> dict[str, str]:
        """What `trace_of` makes it of."""
        if self.parent is None:
            return {}
        state = {"tracestate": self.state} if self.state is not None else {}
        return {"traceparent": str(self.parent), **state}

    @property
    def trace_id(self) -> str:
        """The parent's; else one that follows from the run's id."""
        return self.parent.trace_id if self.parent is not None else self._digits(32, ("trace",))

    @property
    def flags(self) -> int:
        """The parent's; a run that has none is sampled."""
        return self.parent.flags if self.parent is not None else SAMPLED

    def span_id(self, part: Part) -> str:
        """Return the id of the span of *part*: 16 hexadecimal digits."""
        return self._digits(16, part)

    def traceparent(self, part: Part) -> str:
        """Return what names the span of *part* to whatever it calls."""
        return str(Parent(self.trace_id, self.span_id(part), self.flags))

    def headers(self, part: Part) -> dict[str, str]:
        """Return the HTTP headers that say so."""
        state = {"tracestate": self.state} if self.state is not None else {}
        return {"traceparent": self.traceparent(part), **state}

    def _digits(self, count: int, part: Part) -> str:
        text = "\0".join(map(str, ("pyflow", self.run_id, *part)))
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:count]


def trace_of(run_id: str, origin: Mapping[str, Any]) -> Trace:
    """Return the trace of the run *run_id* that began as *origin* has it."""
    parent, state = parent_of(origin.get("traceparent")), origin.get("tracestate")
    is_state = parent is not None and isinstance(state, str) and STATE.fullmatch(state)
    return Trace(run_id, parent, state if is_state else None)


def part_of_call(role: str, task: str, attempt: int) -> Part:
    """Return what span a call of a user's function is part of; a ``when=`` has none of its own."""
    if role == "when":
        return RUN
    if role == "finalizer":
        return ("finalizer", task)
    return ("attempt" if role in ("task", "interrupt") else role, task, attempt)


# Where this call is -----------------------------------------------------------------------

_HERE: ContextVar[tuple[Trace, Part] | None] = ContextVar("pyflow_span", default=None)


def enter(trace: Trace, part: Part) -> None:
    """Have what is called from here on, in this context, belong to the span of *part*."""
    _HERE.set((trace, part))


def headers() -> dict[str, str]:
    """Return the HTTP headers that name the span of the task that calls, or the process's own."""
    here = _HERE.get()
    return given_in(os.environ) if here is None else here[0].headers(here[1])


def traced(env: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return the environment of a program that is called from here: *env*, and which span calls.

    What *env* says of that itself stands. None is this process's own
    environment, and stays None where no task calls.
    """
    if env is None and _HERE.get() is None:
        return None
    own = {name.upper(): value for name, value in headers().items()}
    return {**os.environ, **own} if env is None else {**own, **env}
