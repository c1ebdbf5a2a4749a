"""Traces as OTLP's JSON, a line for each run, which a collector reads from a file.

https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/: each line is
a ``TracesData``. It needs nothing of OpenTelemetry; ids are hexadecimal and
64-bit numbers are text, as that encoding has them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyflow.exports.runs import each, is_over
from pyflow.exports.spans import SCHEMA_URL, resource_of, spans_of
from pyflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyflow.exports.runs import Trails
    from pyflow.exports.spans import Span, SpanEvent, Value

__all__ = ["otlp"]

KINDS = {"internal": 1, "server": 2}
ERROR = 2
HAS_IS_REMOTE, IS_REMOTE = 0x100, 0x200


def otlp(trails: Trails) -> Iterator[str]:
    """Yield the trace of each run that has ended as a line of OTLP's JSON.

    Raises:
        JournalError: A trail does not begin with its run's first record.
    """
    for trail in each(trails):
        if is_over(trail):
            scope: dict[str, Any] = {
                "scope": {"name": "pyflow", "version": __version__},
                "spans": [_span(span) for span in spans_of(trail)],
                "schemaUrl": SCHEMA_URL,
            }
            resource = {"attributes": _attributes(resource_of(trail))}
            data = {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}
            yield json.dumps(data, separators=(",", ":")) + "\n"


def _span(span: Span) -> dict[str, Any]:
    flags = span.flags | HAS_IS_REMOTE | (IS_REMOTE if span.is_parent_remote else 0)
    data: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **({"traceState": span.trace_state} if span.trace_state else {}),
        **({"parentSpanId": span.parent_id} if span.parent_id else {}),
        "flags": flags,
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
        "events": [_event(event) for event in span.events],
        "status": {"code": ERROR, "message": span.error} if span.error is not None else {},
    }
    if span.dropped_events:
        data["droppedEventsCount"] = span.dropped_events
    if span.links:
        data["links"] = [{"traceId": p.trace_id, "spanId": p.span_id} for p in span.links]
    return data


def _event(event: SpanEvent) -> dict[str, Any]:
    return {
        "timeUnixNano": str(event.at_ns),
        "name": event.name,
        "attributes": _attributes(event.attributes),
    }


def _attributes(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, tuple):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": value}
