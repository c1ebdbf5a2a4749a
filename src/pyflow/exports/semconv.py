"""What a run, a task and an event are called in OpenTelemetry's semantic conventions.

Those of CI/CD, deployments and version control, at 1.44.0
(https://opentelemetry.io/docs/specs/semconv/cicd/). What has no name there is
under ``pyflow.``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.notifiers._text import cut, plain
from pyflow.record.codec import event_data
from pyflow.record.rendering import text_of

if TYPE_CHECKING:
    from pyflow.record import events as ev

__all__ = ["SCHEMA_URL", "Value", "clean", "exception_of", "facts_of", "resource_of", "run_of"]

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
TEXT_CHARS_MAX = 4_000
RESULTS = {
    "succeeded": "success",
    "failed": "failure",
    "rolled_back": "failure",
    "rollback_failed": "error",
    "cancelled": "cancellation",
}

Value: TypeAlias = "str | bool | int | float | tuple[str, ...]"
"""What an attribute may be."""


def clean(text: object) -> str:
    """Return *text* without control characters, cut to 4,000 characters."""
    return cut(plain(str(text)), TEXT_CHARS_MAX)


def resource_of(start: ev.RunStarted) -> dict[str, Value]:
    """Return what sent the trace: this program, where it ran."""
    origin = start.origin
    found: dict[str, Any] = {
        "service.name": "pyflow",
        "service.version": origin.get("pyflow"),
        "host.name": origin.get("host"),
        "process.pid": origin.get("pid"),
        "process.runtime.name": "cpython",
        "process.runtime.version": origin.get("python"),
    }
    return _known(found)


def run_of(run_id: str, start: ev.RunStarted, status: str) -> dict[str, Value]:
    """Return what is said of a run on its span."""
    ci: dict[str, Any] = start.origin.get("ci") or {}
    repository = str(ci.get("repository") or "")
    is_url = "://" in repository
    found: dict[str, Any] = {
        "cicd.pipeline.name": start.workflow,
        "cicd.pipeline.run.id": run_id,
        "cicd.pipeline.action.name": "RUN",
        "cicd.pipeline.result": RESULTS.get(status, "error"),
        "cicd.pipeline.run.url.full": ci.get("run_url"),
        "deployment.environment.name": (start.environment or {}).get("name"),
        "vcs.ref.head.revision": ci.get("commit"),
        "vcs.ref.head.name": ci.get("ref"),
        "vcs.repository.url.full": repository if is_url else None,
        "vcs.repository.name": repository if repository and not is_url else None,
        "pyflow.status": status,
        "pyflow.initiator": start.initiator.get("id"),
        "pyflow.fingerprint": start.fingerprint,
        "pyflow.service": start.params.get("service"),
        "pyflow.version": start.params.get("version"),
    }
    return _known(found)


def facts_of(event: ev.Event) -> dict[str, Value]:
    """Return the fields of an event, each under ``pyflow.``; data as JSON text."""
    data = event_data(event)
    data.pop("task", None)
    return {f"pyflow.{name}": _value(value) for name, value in data.items()}


def exception_of(error: ev.ErrorInfo) -> dict[str, Value]:
    """Return an error as the attributes of an ``exception`` event."""
    found = {
        "exception.type": error.type,
        "exception.message": error.message,
        "exception.stacktrace": error.traceback or None,
    }
    return _known(found)


def _known(found: dict[str, Any]) -> dict[str, Value]:
    return {name: _value(value) for name, value in found.items() if value is not None}


def _value(value: Any) -> Value:
    if isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    return clean(text_of(value))
