"""Traces handed to OpenTelemetry (the extra ``otel``): to its exporter over OTLP, or to any other."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pyflow.errors import ExportError
from pyflow.exports.runs import each, is_over
from pyflow.exports.spans import SCHEMA_URL, resource_of, spans_of
from pyflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.exports.runs import Trails
    from pyflow.exports.spans import Span

__all__ = ["send"]

BATCH = 512
"""Spans in one call of an exporter, at most; that of the SDK's own batches."""
OTLP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def send(trails: Trails, exporter: Any = None) -> int:
    """Hand the trace of each run that has ended to *exporter*, and return how many runs that were.

    Ids follow from the runs, so a trace that is sent again is the same trace,
    and a run that somebody resumed or rolled back since comes with what is new.

    Args:
        trails: The runs.
        exporter: A ``SpanExporter`` of OpenTelemetry's SDK, which stays open;
            unless given, the one that speaks OTLP over HTTP, which finds the
            collector, headers and certificates in ``OTEL_EXPORTER_OTLP_…``.

    Raises:
        ExportError: OpenTelemetry is not installed, or the exporter gave up.
        JournalError: A trail does not begin with its run's first record.
    """
    sdk = _Sdk()
    if exporter is not None:
        return sum(sdk.send(trail, exporter) for trail in each(trails) if is_over(trail))
    exporter = _module(OTLP).OTLPSpanExporter()
    try:
        return send(trails, exporter)
    finally:
        exporter.shutdown()


def _module(name: str) -> Any:
    """Return a module of OpenTelemetry.

    Raises:
        ExportError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(
            "OpenTelemetry is not installed; pip install 'pyflow-deploy[otel]', or write the "
            "trace to a file with the format otlp, which needs nothing"
        ) from error


class _Sdk:
    """What is used of the SDK."""

    def __init__(self) -> None:
        self._api = _module("opentelemetry.trace")
        self._trace = _module("opentelemetry.sdk.trace")
        self._resources = _module("opentelemetry.sdk.resources")
        self._done = _module("opentelemetry.sdk.trace.export").SpanExportResult.SUCCESS
        scope = _module("opentelemetry.sdk.util.instrumentation").InstrumentationScope
        self._scope = scope("pyflow", __version__, SCHEMA_URL)

    def send(self, trail: Any, exporter: Any) -> int:
        # What the environment says of the service outranks what the run says.
        said = self._resources.OTELResourceDetector().detect()
        resource = self._resources.Resource(resource_of(trail)).merge(said)
        spans = [self._span(span, resource) for span in spans_of(trail)]
        for at in range(0, len(spans), BATCH):
            if exporter.export(spans[at : at + BATCH]) is not self._done:
                raise ExportError(
                    f"the trace of run {trail[0].run_id} could not be sent by "
                    f"{type(exporter).__name__}, whose log says why; look at OTEL_EXPORTER_OTLP_ENDPOINT"
                )
        return 1

    def _span(self, span: Span, resource: Any) -> Any:
        api = self._api
        state = api.TraceState.from_header([span.trace_state]) if span.trace_state else None

        def context(trace_id: str, span_id: str, *, remote: bool, state: Any = None) -> Any:
            flags = api.TraceFlags(span.flags)
            return api.SpanContext(int(trace_id, 16), int(span_id, 16), remote, flags, state)

        parent = span.parent_id
        return self._trace.ReadableSpan(
            name=span.name,
            context=context(span.trace_id, span.span_id, remote=False, state=state),
            parent=parent
            and context(span.trace_id, parent, remote=span.is_parent_remote, state=state),
            resource=resource,
            attributes=dict(span.attributes),
            events=[self._event(e.name, e.attributes, e.at_ns) for e in span.events],
            links=[api.Link(context(p.trace_id, p.span_id, remote=True)) for p in span.links],
            kind=getattr(api.SpanKind, span.kind.upper()),
            status=self._status(span),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )

    def _event(self, name: str, attributes: Mapping[str, Any], at_ns: int) -> Any:
        return self._trace.Event(name, attributes, at_ns)

    def _status(self, span: Span) -> Any:
        codes = self._api.StatusCode
        if span.error is None:
            return self._api.Status(codes.UNSET)
        return self._api.Status(codes.ERROR, span.error)
