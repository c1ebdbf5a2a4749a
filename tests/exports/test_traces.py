"""Traces: what OpenTelemetry's own SDK makes of them, in memory, over OTLP, and as OTLP's JSON."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import (
    cicd_attributes,
    deployment_attributes,
    vcs_attributes,
)
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode

import pyflow
from pyflow import JournalError
from pyflow.errors import ExportError
from pyflow.exports import otlp, send, spans_of
from pyflow.exports.semconv import SCHEMA_URL
from pyflow.exports.spans import EVENTS_MAX, Span
from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.testing.servers import HTTPServer, Reply
from pyflow.tracing import trace_of
from support.exported import ODD, rolled_back
from support.trails import trail_of

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7"
OTHER = GIVEN.replace("0af7", "1111")
KNOWN = {
    value
    for module in (cicd_attributes, deployment_attributes, vcs_attributes)
    for name, value in vars(module).items()
    if name.isupper()
}
FAILED = ev.ErrorInfo("OSError", "no route", "line 1\nline 2")


@pytest.fixture(scope="module")
def trail() -> AuditTrail:
    return rolled_back()


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable says where traces go."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def exported(trails: Any) -> list[Any]:
    """Return the spans that the SDK's exporter got."""
    memory = InMemorySpanExporter()
    send(trails, memory)
    return list(memory.get_finished_spans())


def a_run(*events: ev.Event, status: str = "succeeded", **origin: Any) -> AuditTrail:
    """Return the trail of a run in which *events* happened."""
    start = ev.RunStarted("shop", "f", {}, {"id": "ada"}, origin, {"a": "1", "b": "2"})
    return trail_of([start, *events, ev.RunFinished(status, len(events) + 2)])


def named(trail: AuditTrail) -> dict[str, Span]:
    """Return the spans of a run by their names."""
    return {span.name: span for span in spans_of(trail)}


class TestTheTree:
    def test_is_that_of_the_run(self, trail: AuditTrail) -> None:
        """The run holds tasks and the rollback, tasks hold attempts and repairs, maps their items."""
        spans = exported(trail)
        names = {span.context.span_id: span.name for span in spans}
        tree = [(span.name, names[span.parent.span_id] if span.parent else None) for span in spans]

        assert tree == [
            ("RUN shop", None),
            ("build", "RUN shop"),
            ("attempt 1", "build"),
            ("attempt 2", "build"),
            ("go", "RUN shop"),
            ("attempt 1", "go"),
            ("deploy", "RUN shop"),
            ("deploy[eu]", "deploy"),
            ("attempt 1", "deploy[eu]"),
            ("deploy[us]", "deploy"),
            ("attempt 1", "deploy[us]"),
            ("verify", "RUN shop"),
            ("attempt 1", "verify"),
            ("repair do", "verify"),
            ("attempt 2", "verify"),
            ("rollback", "RUN shop"),
            ("undo deploy[eu]", "rollback"),
            ("undo deploy[us]", "rollback"),
            ("undo build", "rollback"),
            ("finalizer clean", "RUN shop"),
        ]
        assert {span.context.trace_id for span in spans} == {spans[0].context.trace_id}
        assert len(names) == len(spans)

    def test_fits_into_the_run(self, trail: AuditTrail) -> None:
        """Each span lies in its parent's time, and takes as long as the record says."""
        spans = exported(trail)
        by_id = {span.context.span_id: span for span in spans}

        for span in spans:
            outer = by_id[span.parent.span_id] if span.parent else span
            assert outer.start_time <= span.start_time <= span.end_time <= outer.end_time
            assert all(span.start_time <= e.timestamp for e in span.events)
        took = {span.name: (span.end_time - span.start_time) / 1e9 for span in spans}
        assert (took["undo build"], took["repair do"], took["RUN shop"]) == (60, 30, 390)
        assert spans[0].start_time == int(trail[0].at.timestamp()) * 10**9

    def test_says_what_failed(self, trail: AuditTrail) -> None:
        """What failed has an error with its exception; what was well says nothing."""
        spans = exported(trail)
        bad = {
            span.name: (span.status.description, span.attributes["error.type"])
            for span in spans
            if span.status.status_code is StatusCode.ERROR
        }

        assert bad == {
            "RUN shop": ("verify: RuntimeError: 503 <html>", "RuntimeError"),
            "attempt 1": ("RuntimeError: 503 <html>", "RuntimeError"),
            "verify": ("RuntimeError: 503 <html>", "RuntimeError"),
            "attempt 2": ("RuntimeError: 503 <html>", "RuntimeError"),
            "finalizer clean": ("OSError: full", "OSError"),
        }
        assert {s.status.status_code for s in spans} == {StatusCode.ERROR, StatusCode.UNSET}
        first = next(s for s in spans if s.name == "attempt 1")
        (event,) = [e for e in first.events if e.name == "exception"]
        assert event.attributes["exception.type"] == "ConnectionError"
        assert "exported.py" in event.attributes["exception.stacktrace"]

    def test_has_events(self, trail: AuditTrail) -> None:
        """Holds are on the run, questions on what asks them, changes and logs on their task."""
        found = {
            span.name: [event.name for event in span.events]
            for span in exported(trail)
            if span.name in ("RUN shop", "build") or span.name == "attempt 1"
        }
        questions = next(s for s in exported(trail) if "approval_requested" in map_names(s))

        assert found["RUN shop"] == [
            *("intent_raised", "task_blocked", "intent_raised", "outcome_decided")
        ]
        assert found["build"].count("change_recorded") == 2
        asked, answered = questions.events
        assert asked.attributes["pyflow.question"] == "Go?"
        assert answered.attributes["pyflow.by"] == "ada"
        assert answered.attributes["pyflow.answer"] == "approve"


def map_names(span: Any) -> list[str]:
    return [event.name for event in span.events]


class TestConventions:
    def test_are_those_of_ci_cd(self) -> None:
        """Attributes are those of the conventions, or pyflow's own; the run is a server's span."""
        ci = {
            "run_url": "https://ci/1",
            "commit": "c0ffee",
            "ref": "main",
            "repository": "https://git.example/shop",
        }
        trail = a_run(
            ev.TaskStarted("a", 1, "ready"),
            ev.TaskFailed("a", "it timed out", ev.ErrorInfo("TaskTimeout", "took too long")),
            status="failed",
            ci=ci,
            host="h",
            pyflow="0.1",
            python="3.11",
            pid=7,
        )

        run, task, attempt = exported(trail)

        assert (run.kind, task.kind, attempt.kind) == (
            *(SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.INTERNAL),
        )
        for span in (run, task, attempt):
            odd = [k for k in span.attributes if k not in KNOWN and not k.startswith("pyflow.")]
            assert set(odd) <= {"error.type"}
        assert run.attributes["cicd.pipeline.name"] == "shop"
        assert run.attributes["cicd.pipeline.run.id"] == "r1"
        assert run.attributes["cicd.pipeline.result"] == "failure"
        assert run.attributes["vcs.ref.head.revision"] == "c0ffee"
        assert run.attributes["vcs.repository.url.full"] == "https://git.example/shop"
        assert task.attributes["cicd.pipeline.task.name"] == "a"
        assert task.attributes["cicd.pipeline.task.run.id"] == "r1/a"
        assert task.attributes["cicd.pipeline.task.run.result"] == "timeout"
        assert task.attributes["cicd.pipeline.task.run.url.full"] == "https://ci/1"
        assert dict(run.resource.attributes)["service.name"] == "pyflow"
        assert dict(run.resource.attributes)["process.pid"] == 7
        scope = run.instrumentation_scope
        assert (scope.name, scope.version) == ("pyflow", pyflow.__version__)
        assert scope.schema_url == SCHEMA_URL in [schema.value for schema in Schemas]

    @pytest.mark.parametrize(
        ("status", "result"),
        [
            ("succeeded", "success"),
            ("failed", "failure"),
            ("rolled_back", "failure"),
            ("rollback_failed", "error"),
            ("cancelled", "cancellation"),
        ],
    )
    def test_of_endings(self, status: str, result: str) -> None:
        """Each way to end has its word; only what failed has an error."""
        (span,) = spans_of(a_run(status=status))

        assert span.attributes["cicd.pipeline.result"] == result
        assert result in vars(cicd_attributes.CicdPipelineResultValues).values() or any(
            value.value == result for value in cicd_attributes.CicdPipelineResultValues
        )
        assert (span.error, span.attributes.get("error.type")) == (
            (None, None) if result in ("success", "cancellation") else (status, "_OTHER")
        )

    def test_of_a_repository(self) -> None:
        """A repository that is a name is one."""
        (span,) = spans_of(a_run(ci={"repository": "acme/shop"}))

        assert span.attributes["vcs.repository.name"] == "acme/shop"
        assert "vcs.repository.url.full" not in span.attributes

    def test_the_environment_outranks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What OpenTelemetry's variables say of the service stands."""
        monkeypatch.setenv("OTEL_SERVICE_NAME", "deploys")

        assert exported(a_run())[0].resource.attributes["service.name"] == "deploys"


class TestIds:
    def test_stay(self, trail: AuditTrail) -> None:
        """Exported twice it is the same trace, and another run is another."""
        assert spans_of(trail) == spans_of(AuditTrail.from_jsonl(trail.to_jsonl()))
        other = spans_of(a_run())
        assert {s.trace_id for s in other} & {s.trace_id for s in spans_of(trail)} == set()

    def test_are_those_that_tasks_were_told(self) -> None:
        """What an attempt, an undo and a finalizer handed on is the id of their span."""
        told: dict[str, str] = {}
        workflow = pyflow.Workflow("w")

        @workflow.task
        def a(ctx: pyflow.Context) -> None:
            told[f"attempt {ctx.attempt}"] = ctx.traceparent
            raise OSError("no")

        workflow.add_recovery(a, lambda ctx: told.setdefault("undo a", ctx.traceparent))
        workflow.add_finalizer("f", lambda ctx: told.setdefault("finalizer f", ctx.traceparent))
        result = pyflow.Engine(environ={"TRACEPARENT": GIVEN}).execute(workflow)

        spans = named(result.audit_trail)

        assert set(told) == {"attempt 1", "undo a", "finalizer f"}
        for name, text in told.items():
            assert text == f"00-{spans[name].trace_id}-{spans[name].span_id}-01"

    def test_of_what_happened_again(self) -> None:
        """A finalizer that ran twice, as after a crash, has two spans."""
        trail = a_run(
            ev.FinalizerStarted("f"),
            ev.RunResumed({"id": "ada"}, {}),
            ev.FinalizerStarted("f"),
            ev.FinalizerSucceeded("f", 1.0),
        )
        spans = spans_of(trail)

        assert [s.name for s in spans] == ["RUN shop", "finalizer f", "finalizer f"]
        assert len({s.span_id for s in spans}) == 3
        assert spans[1].end_ns == spans[0].end_ns

    def test_of_a_parent(self) -> None:
        """A run that was started in a span is its child, in its trace, with its state."""
        trail = a_run(traceparent=GIVEN[:-1] + "0", tracestate=STATE)

        (span,) = exported(trail)

        assert f"{span.context.trace_id:032x}" == GIVEN[3:35]
        assert f"{span.parent.span_id:016x}" == GIVEN[36:52]
        assert span.parent.is_remote
        assert span.context.trace_flags == 0
        assert span.context.trace_state.to_header() == STATE

    def test_of_who_resumed(self) -> None:
        """A resume in another span is linked to it, once; the run stays where it began."""
        trail = a_run(
            *(
                ev.RunResumed({"id": "ada"}, origin)
                for origin in ({}, {"traceparent": GIVEN}, {"traceparent": OTHER})
            ),
            ev.RunResumed({"id": "ada"}, {"traceparent": OTHER}),
            traceparent=GIVEN,
        )

        (span,) = exported(trail)

        assert [f"{link.context.trace_id:032x}" for link in span.links] == [OTHER[3:35]]


class TestWhatCanHappen:
    def test_a_crash(self) -> None:
        """An attempt in doubt ends in error, and its task as it was found out."""
        spans = named(
            a_run(
                ev.TaskStarted("a", 1, "ready"),
                ev.TaskInterrupted("a", 1, "the engine ended"),
                ev.InterruptResolved("a", "applied", "looked"),
                ev.TaskStarted("b", 1, "ready"),
                ev.TaskInterrupted("b", 1, "the engine ended"),
                ev.InterruptResolved("b", "not_applied", "looked"),
                ev.TaskStarted("b", 2, "again"),
                ev.TaskSucceeded("b", 2, 1.0, None, True),
            )
        )

        assert spans["attempt 1"].error == "Interrupted: the engine ended"
        for name in "ab":
            assert spans[name].error is None
            assert spans[name].attributes["cicd.pipeline.task.run.result"] == "success"
            assert "error.type" not in spans[name].attributes
        assert [e.name for e in spans["a"].events] == ["interrupt_resolved"]
        assert spans["b"].attributes["pyflow.repaired"] is True

    def test_tasks_that_never_began(self) -> None:
        """They have no span; the run says what became of them."""
        (span,) = spans_of(
            a_run(
                ev.TaskSkipped("a", "not needed"),
                ev.TaskCancelled("b", "stopped"),
                ev.TaskFailed("c", "its when= raised", FAILED, True),
            )
        )

        assert [(e.name, e.attributes["pyflow.task"]) for e in span.events] == [
            ("task_skipped", "a"),
            ("task_cancelled", "b"),
        ]

    @pytest.mark.parametrize(
        ("event", "result"),
        [
            (ev.TaskSkipped("a", "passed over", "ada"), "skip"),
            (ev.TaskCancelled("a", "stopped"), "cancellation"),
            (ev.TaskFailed("a", "no"), "failure"),
            (ev.RunPaused("by ada"), "error"),
        ],
    )
    def test_tasks_that_were_cut_short(self, event: ev.Event, result: str) -> None:
        """Each ends as the record says; one of which it says nothing ends with the run."""
        spans = named(a_run(ev.TaskStarted("a", 1, "ready"), event, status="failed"))

        assert spans["a"].attributes["cicd.pipeline.task.run.result"] == result
        assert spans["attempt 1"].end_ns <= spans["RUN shop"].end_ns

    def test_a_rollback_that_fails(self) -> None:
        """What is still applied is on the run, and the rollback says that it did not finish."""
        spans = named(
            a_run(
                ev.TaskStarted("a", 1, "ready"),
                ev.AttemptFailed("a", 1, FAILED, 1.0),
                ev.TaskFailed("a", "no try is left"),
                ev.IntentRaised("rollback", "a failed", "a"),
                ev.UndoStarted("a", 1),
                ev.UndoAttemptFailed("a", 1, FAILED, 1.0),
                ev.UndoFailed("a", "no try is left"),
                ev.UndoBlocked("b", ["a"], "a is applied"),
                ev.OutcomeDecided("rollback_failed", "a", residue=["a", "b"]),
                ev.RunFinished("rollback_failed", 11),
                ev.RunResumed({"id": "ada"}, {}),
                ev.IntentRaised("rollback", "asked"),
                ev.UndoStarted("a", 2),
                ev.UndoSucceeded("a", 2, 1.0),
                ev.OutcomeDecided("rollback_failed", "b", residue=["b"]),
                status="rollback_failed",
            )
        )

        assert spans["RUN shop"].error == "a: OSError: no route"
        assert spans["RUN shop"].attributes["pyflow.residue"] == ("b",)
        assert spans["rollback"].error == "not everything could be taken back"
        assert [e.name for e in spans["rollback"].events] == ["undo_failed", "undo_blocked"]
        assert spans["rollback"].end_ns > spans["undo a"].end_ns - 1
        assert spans["RUN shop"].end_ns - spans["RUN shop"].start_ns == 16 * 10**9

    def test_an_undo_without_a_decision(self) -> None:
        """A record from elsewhere may lack the decision: its undo is the run's."""
        spans = named(a_run(ev.UndoStarted("a", 1), ev.UndoBlocked("b", ["a"], "why")))

        assert spans["undo a"].parent_id == spans["RUN shop"].span_id

    def test_a_repair_without_an_attempt(self) -> None:
        """And one may lack the attempt."""
        spans = named(a_run(ev.RepairStarted("a", 0, "mend"), ev.RepairFailed("a", 0, FAILED, 1.0)))

        assert spans["repair mend"].error == "OSError: no route"

    def test_many_events(self) -> None:
        """A span keeps as many events as the SDKs do, and counts the others."""
        logs = [ev.Logged("a", str(n)) for n in range(EVENTS_MAX + 7)]
        trail = a_run(ev.TaskStarted("a", 1, "ready"), *logs, ev.TaskSucceeded("a", 1, 1.0))

        span = named(trail)["attempt 1"]

        assert (len(span.events), span.dropped_events) == (EVENTS_MAX, 7)
        assert '"droppedEventsCount":7' in "".join(otlp(trail))

    def test_odd_values(self) -> None:
        """Whatever a record holds is a value that the protocol has."""
        data = {"n": 1 << 70, "f": 0.5, "b": True, "o": {ODD: ODD}, "s": "x" * 9_000, "t": ODD}
        logged = [ev.CheckpointSaved("a", name, value) for name, value in data.items()]

        span = named(a_run(ev.TaskStarted("a", 1, ODD), *logged))["attempt 1"]

        found = [event.attributes["pyflow.value"] for event in span.events]
        assert found[:3] == [str(1 << 70), 0.5, True]
        assert [type(value) for value in found[3:]] == [str, str, str]
        assert len(str(found[4])) == 4_000
        assert "\x1b" not in "".join(map(str, found))

    def test_a_part(self, trail: AuditTrail) -> None:
        """A part of a trail does not say of which run it is."""
        with pytest.raises(JournalError, match="a part of one"):
            spans_of(trail[1:])
        assert trace_of("r", {}).run_id == "r"


class TestOtlpJson:
    def test_is_what_the_sdk_encodes(self, trail: AuditTrail) -> None:
        """Read by the protocol's own definition, each line is what the SDK sends for that run."""
        started = a_run(traceparent=GIVEN, tracestate=STATE)
        linked = a_run(ev.RunResumed({"id": "ada"}, {"traceparent": OTHER, "n": [1]}))
        odd = a_run(
            ev.TaskStarted("a", 1, ODD),
            *(ev.CheckpointSaved("a", ODD, value) for value in (True, 0.5, -1, ODD)),
            ev.OutcomeDecided("failed", ODD, residue=[ODD, "a"]),
        )
        trails = [trail, started, linked, odd, trail_of()]

        lines = list(otlp(trails))

        assert len(lines) == len(trails)
        for one, line in zip(trails, lines, strict=True):
            mine, theirs = parsed(line), encode_spans(exported(one))
            for request in (mine, theirs):
                for span in spans_in(request):
                    span.flags &= ~0xFF  # the SDK leaves the flags of the trace out, as of yet
                    for link in span.links:
                        link.flags = 0
            assert mine == theirs

    def test_leaves_out_what_goes_on(self, trail: AuditTrail) -> None:
        """A run that has not ended has no trace yet, in either form."""
        part = trail[:-1]

        assert list(otlp([part])) == []
        assert send([part, trail], InMemorySpanExporter()) == 1


def parsed(line: str) -> ExportTraceServiceRequest:
    """Return what *line* says; the mapping of the language has base64 where OTLP has hexadecimal."""
    data = json.loads(line)
    for span in data["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for one in (span, *span.get("links", [])):
            for key in ("traceId", "spanId", "parentSpanId"):
                if key in one:
                    one[key] = base64.b64encode(bytes.fromhex(one[key])).decode()
    return json_format.ParseDict(data, ExportTraceServiceRequest())


def spans_in(request: Any) -> Iterator[Any]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


class Refusing(SpanExporter):
    """An exporter that has nowhere to send to."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.FAILURE


class TestSending:
    def test_goes_over_otlp(self, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
        """By default it goes where OpenTelemetry's variables say, and a collector can read it."""
        with HTTPServer() as server:
            server.will(Reply(200))
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.base_url)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")

            assert send([trail]) == 1

            (request,) = server.received
        sent = ExportTraceServiceRequest.FromString(request.body)
        assert request.path == "/v1/traces"
        assert sent == encode_spans(exported(trail))

    def test_in_batches(self) -> None:
        """A long run goes in several calls."""
        calls: list[int] = []

        class Counting(InMemorySpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                calls.append(len(spans))
                return super().export(spans)

        starts = [ev.TaskStarted(f"t{n}", 1, "ready") for n in range(300)]

        send(a_run(*starts), Counting())

        assert calls == [512, 89]

    def test_that_fails(self, trail: AuditTrail) -> None:
        """An exporter that gives up is told of, with the run."""
        with pytest.raises(ExportError, match=f"run {trail[0].run_id} could not be sent by Refus"):
            send(trail, Refusing())

    @pytest.mark.parametrize(
        "missing", ["opentelemetry.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
    )
    def test_needs_the_extra(
        self, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        """Where OpenTelemetry is missing, the error says what to install."""
        monkeypatch.setitem(sys.modules, missing, None)

        with pytest.raises(ExportError, match=r"pip install 'pyflow-deploy\[otel\]'"):
            send(trail)
