"""Trace context: what is read, what is worked out, and what tasks and programs are told."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.probes import Command
from pyflow.programs import call
from pyflow.tracing import (
    Trace,
    enter,
    given_in,
    headers,
    parent_of,
    part_of_call,
    trace_of,
    traced,
)
from support import isolated_tasks as tasks
from support.pipelines import execute, kit

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
SHOW = [sys.executable, "-c", "import os; print(os.environ.get('TRACEPARENT'))"]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process itself is part of no trace."""
    for name in ("TRACEPARENT", "TRACESTATE"):
        monkeypatch.delenv(name, raising=False)


class TestWhatIsGiven:
    @pytest.mark.parametrize(
        ("text", "flags"),
        [
            (GIVEN, 1),
            (GIVEN[:-2] + "00", 0),
            ("cc" + GIVEN[2:] + "-what-the-future-brings", 1),
            ("cc" + GIVEN[2:], 1),
        ],
    )
    def test_is_read(self, text: str, flags: int) -> None:
        """A parent has its trace, its span and its flags; versions to come may say more."""
        parent = parent_of(text)

        assert parent is not None
        assert (parent.trace_id, parent.span_id) == (GIVEN[3:35], GIVEN[36:52])
        assert parent.flags == flags

    @pytest.mark.parametrize(
        "text",
        [
            None,
            7,
            "",
            "00",
            GIVEN.upper(),
            GIVEN + "-more",
            "ff" + GIVEN[2:],
            GIVEN.replace(GIVEN[3:35], "0" * 32),
            GIVEN.replace(GIVEN[36:52], "0" * 16),
            GIVEN[:-1],
        ],
    )
    def test_has_to_be_valid(self, text: Any) -> None:
        """What is no traceparent by the specification is taken for none."""
        assert parent_of(text) is None
        assert given_in({"TRACEPARENT": str(text), "TRACESTATE": STATE}) == {}

    @pytest.mark.parametrize(
        ("state", "kept"),
        [(STATE, True), ("", False), ("x" * 513, False), ("a=\x1b[2J", False), ("é=1", False)],
    )
    def test_state(self, state: str, kept: bool) -> None:
        """A tracestate comes along as it is, if it can be one."""
        found = given_in({"TRACEPARENT": f" {GIVEN} ", "TRACESTATE": state})

        assert found == {"traceparent": GIVEN} | ({"tracestate": state} if kept else {})


class TestTrace:
    def test_follows_from_the_run(self) -> None:
        """A run without a parent has a trace of its own, the same in every process."""
        one, same, other = Trace("r1"), Trace("r1"), Trace("r2")

        assert one.trace_id == same.trace_id != other.trace_id
        assert one.span_id(("run",)) == same.span_id(("run",)) != other.span_id(("run",))
        parent = parent_of(one.traceparent(("attempt", "a", 1)))
        assert parent is not None
        assert parent.trace_id == one.trace_id
        assert (parent.span_id, parent.flags) == (one.span_id(("attempt", "a", 1)), 1)

    def test_tells_parts_apart(self) -> None:
        """Each part of a run has a span of its own, whatever its name holds."""
        parts = [
            ("run",),
            ("task", "a"),
            *(part_of_call(r, "a", n) for r in ("task", "repair", "undo") for n in (1, 2)),
            part_of_call("finalizer", "a", 1),
            part_of_call("task", "\ud800\u20ac", 1),
        ]

        assert len({Trace("r").span_id(part) for part in parts}) == len(parts)
        assert part_of_call("interrupt", "a", 2) == part_of_call("task", "a", 2)

    @pytest.mark.parametrize(
        "origin",
        [
            {},
            {"traceparent": GIVEN},
            {"traceparent": GIVEN[:-2] + "00", "tracestate": STATE},
        ],
    )
    def test_is_kept(self, origin: dict[str, str]) -> None:
        """What a run began with is what its trace is made of, there and back."""
        trace = trace_of("r", origin)

        assert trace.origin == origin
        assert trace_of("r", trace.origin) == trace
        assert trace.headers(("run",)).get("tracestate") == origin.get("tracestate")

    @pytest.mark.parametrize("state", [3, "\x00", None])
    def test_distrusts_the_record(self, state: Any) -> None:
        """A record from elsewhere may hold anything."""
        assert trace_of("r", {"traceparent": GIVEN, "tracestate": state}).state is None
        assert trace_of("r", {"traceparent": 3, "tracestate": STATE}) == Trace("r")


class TestWhatIsCalled:
    def test_outside_of_tasks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no task calls, the process's own parent is handed on, and nothing is made up."""
        assert (headers(), traced(None), traced({"A": "1"})) == ({}, None, {"A": "1"})
        monkeypatch.setenv("TRACEPARENT", GIVEN)

        assert headers() == {"traceparent": GIVEN}
        assert traced(None) is None
        assert traced({"A": "1"}) == {"TRACEPARENT": GIVEN, "A": "1"}

    def test_in_a_task(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a task it is the task's span, unless the caller's environment says otherwise."""
        monkeypatch.setenv("TRACEPARENT", GIVEN)
        trace, part = trace_of("r", {"traceparent": GIVEN, "tracestate": STATE}), ("run",)
        own = trace.traceparent(part)

        async def inside() -> tuple[Any, ...]:
            enter(trace, part)
            return headers(), traced(None), traced({}), traced({"TRACEPARENT": "mine"})

        told, ours, bare, mine = asyncio.run(inside())

        assert told == {"traceparent": own, "tracestate": STATE}
        assert ours == {**os.environ, "TRACEPARENT": own, "TRACESTATE": STATE}
        assert bare == {"TRACEPARENT": own, "TRACESTATE": STATE}
        assert mine["TRACEPARENT"] == "mine"
        assert headers() == {"traceparent": GIVEN}


def workflow() -> pyflow.Workflow:
    """Return one whose tasks tell which span they, and the programs that they call, are in."""
    made = pyflow.Workflow("w")

    @made.task
    async def calls(ctx: pyflow.AsyncContext) -> list[str]:
        ours = (await call(SHOW)).stdout.strip()
        bare = (await call(SHOW, env={"PATH": os.environ["PATH"]})).stdout.strip()
        return [ctx.traceparent, ours, bare]

    @made.task(effect=False)
    def looks(ctx: pyflow.Context) -> list[str]:
        reading = ctx.read(Command(SHOW))
        return [ctx.traceparent, str(reading.evidence["output"]).strip()]

    @made.task(retry=pyflow.Retry(2, backoff=0))
    def tries(ctx: pyflow.Context) -> str:
        ctx.log(ctx.traceparent)
        if ctx.attempt == 1:
            raise OSError("once more")
        return ctx.traceparent

    return made


class TestRuns:
    @pytest.mark.parametrize("environ", [{}, {"TRACEPARENT": GIVEN, "TRACESTATE": STATE}])
    def test_tell_what_they_call(self, environ: dict[str, str]) -> None:
        """Tasks, and programs that adapters call for them, are told the span of their attempt."""
        result = pyflow.Engine(environ=environ).execute(workflow())

        origin = result.audit_trail[0].data["origin"]
        assert {k: v for k, v in origin.items() if k.startswith("trace")} == given_in(environ)
        trace = trace_of(result.run_id, origin)
        assert trace.trace_id == GIVEN[3:35] if environ else Trace(result.run_id).trace_id
        for name, attempt in (("calls", 1), ("looks", 1), ("tries", 2)):
            own = trace.traceparent(("attempt", name, attempt))
            output = result.tasks[name].output
            assert set([output] if isinstance(output, str) else output) == {own}
        logged = [r.data["message"] for r in result.audit_trail.query(kind="logged")]
        assert logged == [trace.traceparent(("attempt", "tries", n)) for n in (1, 2)]

    def test_tell_isolated_tasks(self) -> None:
        """A task in a process of its own finds its span in its environment and in its context."""
        made = pyflow.Workflow("w")
        made.add_task("see", tasks.see_trace)

        result = pyflow.Engine(
            isolation="process", environ={"TRACEPARENT": GIVEN, "TRACESTATE": STATE}
        ).execute(made)

        own = trace_of(result.run_id, {"traceparent": GIVEN}).traceparent(("attempt", "see", 1))
        assert result.tasks["see"].output == [own, own, STATE, own]

    def test_tell_undos_and_finalizers(self) -> None:
        """What mends, what takes back and what ends a run has spans of its own, and calls in them."""
        made, seen = pyflow.Workflow("w"), dict[str, set[str]]()

        def see(name: str, ctx: Any) -> None:
            seen[name] = {ctx.traceparent, headers()["traceparent"]}

        def fail() -> None:
            raise OSError("no")

        made.add_task("a", fail)
        made.add_recovery("a", lambda ctx: see("undo", ctx))
        made.add_recovery("a", lambda ctx: see("repair", ctx), then="retry")
        made.add_finalizer("f", lambda ctx: see("finalizer", ctx))

        result = pyflow.Engine(environ={}).execute(made)

        trace = Trace(result.run_id)
        assert seen == {
            "repair": {trace.traceparent(("repair", "a", 1))},
            "undo": {trace.traceparent(("undo", "a", 1))},
            "finalizer": {trace.traceparent(("finalizer", "f"))},
        }

    def test_tell_conditions(self) -> None:
        """What a ``when=`` calls is part of the run's span, whichever task ended before it."""
        made, seen = pyflow.Workflow("w"), list[str]()

        def see() -> bool:
            seen.append(headers()["traceparent"])
            return True

        made.add_task("a", lambda: None, when=see)
        made.add_task("b", lambda: None, depends_on="a", when=see)

        result = pyflow.Engine(environ={}).execute(made)

        assert seen == [Trace(result.run_id).traceparent(("run",))] * 2

    def test_tell_tasks_without_a_context(self) -> None:
        """A task that asks for nothing calls in its own span as well."""
        made = pyflow.Workflow("w")

        async def see() -> str:
            return headers()["traceparent"]

        made.add_task("a", see)
        made.add_task("b", lambda: headers()["traceparent"])

        result = pyflow.Engine(environ={}).execute(made)

        own = Trace(result.run_id)
        for name in "ab":
            assert result.tasks[name].output == own.traceparent(("attempt", name, 1))

    def test_keep_their_parent(self, tmp_path: Path) -> None:
        """A resume is part of the trace that the run began in, whatever that process is part of."""
        made = pyflow.Workflow("w")
        made.add_approval("go", "Go?")
        made.add_task("see", lambda ctx: ctx.traceparent, depends_on=["go"])
        path = tmp_path / "deploys.db"
        with pyflow.Engine(journal=path, environ={"TRACEPARENT": GIVEN}) as engine:
            run_id = engine.execute(made).run_id
            engine.approve(run_id, "go", by="ada")
        other = GIVEN.replace("0af7", "1111")

        with pyflow.Engine(journal=path, environ={"TRACEPARENT": other}) as engine:
            result = engine.resume(run_id, made)

        trace = trace_of(run_id, {"traceparent": GIVEN})
        assert result.tasks["see"].output == trace.traceparent(("attempt", "see", 1))
        (resumed,) = result.audit_trail.query(kind="run_resumed")
        assert resumed.data["origin"]["traceparent"] == other

    def test_tell_pipelines(self) -> None:
        """The services in which pipelines are started are told as well."""
        with kit("github") as at:
            result = execute(at.trigger())
            requests = at.server.received

        own = trace_of(result.run_id, result.audit_trail[0].data["origin"])
        assert {r.headers.get("traceparent") for r in requests} == {
            own.traceparent(("attempt", "deploy", 1))
        }
