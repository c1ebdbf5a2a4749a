"""Runs for other programs: records, tables, events, traces and figures.

Each format is a function that takes trails, and yields text as it goes, so
that a year of runs takes no more memory than the longest of them. What comes
out was on the record already: it is redacted, and nothing else is looked up.
`save` puts it in a file, all or nothing; `send` hands traces to OpenTelemetry.
"""

from pyflow.exports.cdevents import cdevents
from pyflow.exports.csv import csv
from pyflow.exports.files import save
from pyflow.exports.jsonl import jsonl, trails_in
from pyflow.exports.otel import send
from pyflow.exports.otlp import otlp
from pyflow.exports.prometheus import prometheus
from pyflow.exports.spans import Span, SpanEvent, spans_of
from pyflow.exports.suites import junit_suites

__all__ = [
    "Span",
    "SpanEvent",
    "cdevents",
    "csv",
    "jsonl",
    "junit_suites",
    "otlp",
    "prometheus",
    "save",
    "send",
    "spans_of",
    "trails_in",
]
