"""What is peculiar to each service: oddities that are documented, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

import pyflow
from pyflow.testing.servers import Reply, Reset
from pyflow.triggers import Pipeline
from support.pipelines import execute, kit, one_task, quick, versioned


def text(result: pyflow.Result) -> str:
    return str(result.tasks["deploy"].error)


class TestGitHub:
    def test_silent(self) -> None:
        """A 204 without a body is a start, and the run is found by its title among others."""
        with kit("github", dispatch="silent") as at:
            at.begin("pyflow-of-another-1")
            result = execute(at.trigger())

            assert result.status == "succeeded"
            assert result.tasks["deploy"].output.id == str(at.server.runs[1]["id"])
            assert at.starts == 1

    def test_silent_and_hidden(self) -> None:
        """One that was taken and cannot be told holds the run, however long ago that was."""
        with kit("github", dispatch="silent") as at:
            result = execute(at.trigger(correlation=None))

        assert result.status == "held"
        assert "it was started" in text(result)
        assert "https://github.com/acme/shop/actions/runs/" in text(result)

    def test_unaware(self) -> None:
        """A server that refuses to be asked for details is asked without; it had started nothing."""
        with kit("github", dispatch="unaware") as at:
            assert execute(at.trigger()).status == "succeeded"
            assert (at.starts, len(at.started())) == (2, 1)

    def test_undeclared(self) -> None:
        """A workflow that lacks the input for the correlation id is told what to do."""
        with kit("github", declares=()) as at:
            result = execute(at.trigger())

        assert "declare the input 'pyflow_id'" in text(result)

    def test_wrong_ref(self) -> None:
        """A branch that is not there fails the task in GitHub's words."""
        with kit("github") as at:
            assert "No ref found for: gone" in text(execute(at.trigger(ref="gone")))

    def test_forbidden_for_now(self) -> None:
        """A 403 that is a rate limit is waited for; one that is none is a refusal."""
        limit = {"message": "You have exceeded a secondary rate limit."}
        with kit("github") as at:
            at.server.will(Reply(403, limit, {"Retry-After": "0"}))
            assert execute(at.trigger(watch=quick(patience="20s"))).status == "succeeded"

            at.server.will(Reply(403, {"message": "Resource not accessible by integration"}))
            assert "not accessible" in text(execute(at.trigger()))

    def test_conditional(self) -> None:
        """A look at a run that has not changed costs nothing: the answer is 304."""
        with kit("github", course=("queued",) * 4) as at:
            assert execute(at.trigger()).status == "succeeded"
            tags = [r.headers.get("if-none-match") for r in at.server.received]

        assert any(tag is not None and "queued" in tag for tag in tags)

    def test_ref_made(self) -> None:
        """The ref may be made of parameters, as inputs are, and both together."""
        with kit("github", refs=("v2.0",)) as at:
            result = execute(at.trigger(ref=lambda version: f"v{version}", inputs=versioned))

            assert result.status == "succeeded"
            assert at.server.runs[0]["head_branch"] == "v2.0"

    def test_output_of_another(self) -> None:
        """Inputs may be made of another task's output, which orders the two."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("build", lambda: "shop:2.0")

        def inputs(build: str) -> dict[str, str]:
            return {"version": build}

        def after(deploy: Pipeline) -> str:
            return deploy.url

        with kit("github") as at:
            workflow.add_task("deploy", at.trigger(inputs=inputs))
            workflow.add_task("tell", after)
            result = pyflow.Engine().execute(workflow)

            assert at.server.runs[0]["inputs"]["version"] == "shop:2.0"
        assert result.tasks["tell"].output.startswith("https://github.com/acme/shop/actions/runs/")

    @pytest.mark.parametrize(
        "options",
        [{"inputs": lambda version: {"version": "9"}}, {"inputs": {"version": "2"}}, {"ref": "v2"},
         {"accept": ("success", "neutral")}],
    )  # fmt: skip
    def test_plan(self, options: dict[str, Any]) -> None:
        """A workflow whose trigger starts something else is another plan, and the same is the same."""
        with kit("github") as at:
            given: list[dict[str, Any]] = [{"inputs": {"version": "1"}}] * 2
            given.append({"inputs": {"version": "1"}, **options})
            plans = [one_task(at.trigger(**one)).check().fingerprint for one in given]

        assert plans[0] == plans[1] != plans[2]


class TestGitLab:
    def test_trigger_token(self) -> None:
        """A trigger token starts, and the access token follows; neither is sent in the other's place."""
        trigger = pyflow.Secret("glptt-for-tests-only", name="trigger")
        with kit("gitlab") as at:
            result = execute(at.trigger(trigger_token=trigger, inputs=versioned))
            [start] = [r for r in at.server.received if r.path.endswith("/trigger/pipeline")]

            assert result.status == "succeeded"
            assert at.server.pipelines[0]["variables"]["version"] == "2.0"
        assert "private-token" not in start.headers

    def test_wrong_trigger_token(self) -> None:
        """One that is wrong gives a 404, and is not shown."""
        trigger = pyflow.Secret("glptt-of-somebody-else", name="trigger")
        with kit("gitlab") as at:
            found = text(execute(at.trigger(trigger_token=trigger)))

        assert "404" in found
        assert "somebody" not in found

    def test_message_object(self) -> None:
        """The text of an error is found in every shape that it has."""
        with kit("gitlab") as at:
            assert "Reference not found" in text(execute(at.trigger(ref="gone")))

            at.server.will(Reply(400, {"message": ["one", "two"]}))
            assert "two" in text(execute(at.trigger()))

            at.server.will(Reply(409, {"error": "conflict, somehow"}))
            assert "conflict, somehow" in text(execute(at.trigger()))

    def test_found_by_variables(self) -> None:
        """A pipeline without a name of its own is found by its variables."""
        with kit("gitlab", named=False) as at:
            lose(at)
            result = execute(at.trigger())

        assert result.status == "succeeded"
        assert at.starts == 1

    def test_variables_hidden(self) -> None:
        """Where the token may not read those, a person is told which pipelines it could be."""
        with kit("gitlab", named=False, reads_variables=False) as at:
            lose(at)
            result = execute(at.trigger())

        assert result.status == "held"
        assert "these could be it: https://gitlab.com/acme/shop/-/pipelines/1001" in text(result)

    def test_manual(self) -> None:
        """A pipeline that waits for a person is waited for, and so is a status that is new to us."""
        with kit("gitlab", course=("manual", "waiting_for_callback", "brand_new")) as at:
            assert execute(at.trigger()).status == "succeeded"

    def test_skipped(self) -> None:
        """A pipeline that was skipped has not done what it was for."""
        with kit("gitlab", conclusion="skipped") as at:
            assert execute(at.trigger()).status == "failed"


class TestJenkins:
    def test_forgotten_item(self) -> None:
        """An item that Jenkins has forgotten is found among the builds, by its parameter."""
        with kit("jenkins", forgets=True) as at:
            result = execute(at.trigger())

            assert result.status == "succeeded"
            assert len(at.server.builds) == 1

    def test_queued_twice(self) -> None:
        """A 303 leads to an item that was there: ours, because its id is."""
        with kit("jenkins", waits=3) as at:
            answer = at.server.answer

            def twice(request: Any) -> Any:
                if request.path.endswith("buildWithParameters"):
                    answer(request)
                return answer(request)

            at.server.answer = twice
            assert execute(at.trigger()).status == "succeeded"
            assert len(at.server.queue) == 1

    def test_password(self) -> None:
        """With a password a crumb is fetched, and its cookie goes with it."""
        password = pyflow.Secret("a-password-for-tests", name="password")
        with kit("jenkins") as at:
            assert execute(at.trigger(token=password)).status == "succeeded"
            assert len(at.server.queue) == 1

    def test_not_parameterized(self) -> None:
        """A job without parameters is told apart, in words that help."""
        with kit("jenkins", declares=()) as at:
            assert "declare the parameters" in text(execute(at.trigger()))

            assert execute(at.trigger(correlation=None)).status == "succeeded"
            assert at.server.received[-1].method == "GET"

    def test_disabled(self) -> None:
        """A job that is disabled has started nothing."""
        with kit("jenkins", disabled=True) as at:
            result = execute(at.trigger())

        assert result.status == "failed"
        assert "is not buildable" in text(result)

    def test_cancelled_in_the_queue(self) -> None:
        """An item that somebody takes out of the queue is a pipeline that ended badly."""
        with kit("jenkins", waits=10**9) as at:
            answer = at.server.answer

            def drop(request: Any) -> Any:
                for item in at.server.queue:
                    item["cancelled"] = True
                return answer(request)

            at.server.answer = drop
            assert "it ended as CANCELLED" in text(execute(at.trigger()))

    def test_unstable(self) -> None:
        """UNSTABLE is no success, unless it is said to be."""
        with kit("jenkins", conclusion="UNSTABLE") as at:
            assert execute(at.trigger()).status == "failed"
            assert execute(at.trigger(accept=("SUCCESS", "UNSTABLE"))).status == "succeeded"


def lose(at: Any) -> None:
    """Have the answer to the start lost."""
    answer = at.server.answer

    def lost(request: Any) -> Any:
        step = answer(request)
        return Reset() if request.method == "POST" else step

    at.server.answer = lost
