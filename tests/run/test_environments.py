"""One workflow in two environments, who asked for it, and secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

import pyflow
from pyflow.probes import Callable as CallableProbe
from pyflow.probes import File
from support.runs import Journal, run, statuses, virtual_engine

SECRET = "hunter2-but-longer"


def release() -> pyflow.Workflow:
    """A workflow that turns on a probe, with parameters of every kind."""
    workflow = pyflow.Workflow(
        "release", params={"version": str, "replicas": 1, "health": pyflow.Probe}
    )

    @workflow.task
    async def look(ctx: pyflow.AsyncContext, health: pyflow.Probe) -> pyflow.Reading:
        return await ctx.read(health)

    @workflow.task(when=lambda look: look.is_healthy)
    async def deploy(
        ctx: pyflow.AsyncContext, look: pyflow.Reading, version: str, replicas: int
    ) -> str:
        place = ctx.environment.name if ctx.environment else "nowhere"
        ctx.record_change(
            f"service:{place}", before=None, after={"version": version, "replicas": replicas}
        )
        return f"{version} x{replicas}"

    return workflow


class TestEnvironments:
    def test_differ_in_exactly_what_they_say(self) -> None:
        """Two trails of one workflow differ in the environment and its parameters, ids and times."""
        workflow = release()
        staging = pyflow.Environment(
            "staging",
            params={"health": CallableProbe(lambda: True, name="staging up"), "unused": 1},
        )
        production = pyflow.Environment(
            "production",
            tier="production",
            params={"health": CallableProbe(lambda: True, name="production up"), "replicas": 5},
        )

        one = run(workflow, params={"version": "2"}, environment=staging, initiator="ann")
        two = run(workflow, params={"version": "2"}, environment=production, initiator="ann")

        assert differences(one.audit_trail, two.audit_trail) == {
            "run_started.environment.name",
            "run_started.environment.tier",
            "run_started.params.health.$object",
            "run_started.params.replicas",
            "reading_taken.probe",
            "reading_taken.evidence.probe",
            "task_succeeded.output.evidence.probe",
            "change_recorded.resource",
            "change_recorded.after.replicas",
            "task_succeeded.output",
        }
        assert (one.environment, two.environment) == (staging, production)
        assert two.audit_trail.environment == {"name": "production", "tier": "production"}
        assert two.tasks["deploy"].output == "2 x5"

    def test_given_parameters_outrank_them(self) -> None:
        """Workflow default < environment < execute."""
        place = pyflow.Environment(
            "p", params={"health": CallableProbe(lambda: False), "replicas": 5}
        )

        result = run(release(), params={"version": "2", "replicas": 7}, environment=place)

        assert result.audit_trail.params["replicas"] == 7
        assert statuses(result)["deploy"] == "skipped"

    def test_a_branch_turns_on_a_reading(self, tmp_path: Any) -> None:
        """A reading is an ordinary output: branches turn on it, and unknown is never healthy."""
        workflow = pyflow.Workflow("w", params={"flag": pyflow.Probe})
        workflow.add_task("maintenance", File(tmp_path / "flag").read)
        workflow.add_task(
            "deploy", Journal().does("x"), when=lambda maintenance: not maintenance.is_healthy
        )
        workflow.add_task(
            "wait", Journal().does("x"), when=lambda maintenance: maintenance.is_healthy
        )

        result = run_for_real(workflow, flag=File(tmp_path / "flag"))
        (tmp_path / "flag").write_text("x")
        again = run_for_real(workflow, flag=File(tmp_path / "flag"))

        assert (result.tasks["deploy"].status, result.tasks["wait"].status) == (
            "succeeded",
            "skipped",
        )
        assert (again.tasks["deploy"].status, again.tasks["wait"].status) == (
            "skipped",
            "succeeded",
        )


def run_for_real(workflow: pyflow.Workflow, **params: Any) -> pyflow.Result:
    """Run on a real loop, which files need."""
    return pyflow.Engine(environ={}).execute(workflow, params=params)


class TestPolling:
    def test_in_a_task(self) -> None:
        """``ctx.poll`` waits for a probe, and the reading it ended on is in the trail."""
        looks = iter([False, None, True])
        workflow = pyflow.Workflow("w")
        probe = CallableProbe(lambda: next(looks), name="up")

        @workflow.task
        async def wait(ctx: pyflow.AsyncContext) -> int:
            return (await ctx.poll(probe, backoff=pyflow.Backoff("10s", factor=1, jitter=0))).calls

        result = run(workflow)

        assert result.tasks["wait"].output == 3
        assert result.metrics.wall_s == pytest.approx(20)
        reading = result.audit_trail.query(kind="reading_taken")[0].data
        assert (reading["health"], reading["calls"]) == ("healthy", 3)


class TestInitiator:
    def test_is_the_one_given(self) -> None:
        """Who asks is who was named."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a"))

        assert run(workflow, initiator="ann").audit_trail.who == {"id": "ann", "source": "given"}

    def test_else_the_pipelines_actor(self) -> None:
        """Else it is the actor of the CI system, and the pipeline is in the trail."""
        environ = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "bob",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_RUN_ID": "7",
        }
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a"))
        engine = pyflow.Engine(environ=environ)

        trail = engine.execute(workflow).audit_trail

        assert trail.who == {"id": "bob", "source": "ci"}
        assert "https://github.example/o/r/actions/runs/7" in str(trail)

    def test_else_the_systems_user(self) -> None:
        """Else it is whoever runs the process."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", Journal().does("a"))

        assert run(workflow).audit_trail.who["source"] == "os"


class TestSecrets:
    def everything(self, result: pyflow.Result) -> str:
        """Everything that a run prints or stores."""
        parts = [
            result.audit_trail.to_jsonl(),
            str(result.audit_trail),
            str(result),
            repr(result),
            repr(result.tasks),
        ]
        parts += [
            str(t.error) + str(t.error.traceback if t.error else "") for t in result.tasks.values()
        ]
        parts += [repr(record) + repr(record.event) for record in result.audit_trail]
        return "\n".join(parts)

    def test_never_appear(self) -> None:
        """A secret parameter reaches the task, and nothing else: not in errors, logs, changes, readings."""
        workflow = pyflow.Workflow("w", params={"token": pyflow.Secret}, on_failure="continue")
        seen: list[str] = []

        @workflow.task
        async def a(ctx: pyflow.AsyncContext, token: pyflow.Secret) -> None:
            value = token.reveal()
            seen.append(value)
            ctx.log(f"using {value}", header=f"Bearer {value}")
            ctx.record_change("config", before=value, after={"key": [value]})
            ctx.checkpoint("at", value)
            await ctx.read(
                CallableProbe(lambda: pyflow.Reading("healthy", {"said": value}), name="p")
            )
            raise ValueError(f"https://user:{value}@example")

        @workflow.task
        async def b(token: pyflow.Secret) -> str:
            return f"it is {token.reveal()}"

        result = run(workflow, params={"token": pyflow.Secret(SECRET)})

        assert seen == [SECRET]
        assert SECRET not in self.everything(result)
        assert result.audit_trail.params["token"] == {"$secret": "given"}
        assert result.tasks["b"].error is not None
        assert "holds a secret in plain text" in result.tasks["b"].error.message
        result.audit_trail.verify()

    def test_known_to_the_engine(self) -> None:
        """Secrets that no parameter holds are named to the engine."""
        workflow = pyflow.Workflow("w")

        @workflow.task
        async def a(ctx: pyflow.AsyncContext) -> None:
            ctx.log(f"oops {SECRET}")

        result = run(workflow, engine=virtual_engine(secrets=[pyflow.Secret(SECRET)]))

        assert result.audit_trail.query(kind="logged")[0].data["message"] == "oops ***"

    @pytest.mark.parametrize("word", ["reason", "attempt", "workflow", "task_started", "100000"])
    def test_that_are_words_of_the_record(self, word: str) -> None:
        """A secret that happens to be a word of pyflow's own breaks no record."""
        workflow = pyflow.Workflow("workflow")
        workflow.add_task("attempt", Journal().fails("a", ValueError(f"it is {word}")))

        result = run(workflow, engine=virtual_engine(secrets=[pyflow.Secret(word)]))

        assert result.status == "rolled_back"
        assert result.tasks["attempt"].error is not None
        assert result.tasks["attempt"].error.message == "it is ***"
        result.audit_trail.verify()

    def test_as_outputs_are_references(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret that a task returns is stored as where to fetch it again."""
        monkeypatch.setenv("SHOP_TOKEN", SECRET)
        workflow = pyflow.Workflow("w")
        seen: list[str] = []

        @workflow.task
        async def login() -> pyflow.Secret:
            return pyflow.Secret.from_env("SHOP_TOKEN")

        @workflow.task
        async def use(login: pyflow.Secret) -> None:
            seen.append(login.reveal())

        result = run(workflow)

        assert seen == [SECRET]
        assert result.audit_trail.query(task="login", kind="task_succeeded")[0].data["output"] == {
            "$secret": "env:SHOP_TOKEN"
        }


def differences(one: pyflow.AuditTrail, two: pyflow.AuditTrail) -> set[str]:
    """Return the paths at which two trails differ, ids, times and hashes aside."""
    assert [r.kind for r in one] == [r.kind for r in two]
    found: set[str] = set()
    for left, right in zip(one, two, strict=True):
        if left.kind == "run_started":
            left_data, right_data = dict(left.data), dict(right.data)
        else:
            left_data, right_data = left.data, right.data
        found |= {
            f"{left.kind}{path}" for path in walk(left_data, right_data) if "duration" not in path
        }
    return found


def walk(left: Any, right: Any, path: str = "") -> set[str]:
    """Return the paths at which two JSON values differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = {**left, **right}
        return {p for key in keys for p in walk(left.get(key), right.get(key), f"{path}.{key}")}
    return set() if json.dumps(left) == json.dumps(right) else {path}
