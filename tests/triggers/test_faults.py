"""Every trigger, over every way in which a service can fail: the deadline holds, nothing is sent twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import pyflow
from pyflow.errors import PipelineError, PipelineUnknown
from pyflow.messages import Attempt, Delivery
from pyflow.testing.servers import (
    GitHubServer,
    GitLabServer,
    Reply,
    Step,
)
from pyflow.triggers import GitHubDeployments, GitLabDeployments
from support.fault_matrix import AMPLE_S, JSON, LASTING, SLACK_S, allowed_s
from support.fault_matrix import FAULTS as SERVICE_FAULTS
from support.notices import RUN, message
from support.pace import timed
from support.pipelines import KITS, Kit, kit, one_task, quick

TIMEOUT_S = 0.6
CANCEL_S = 0.05
ENDING_S = 2.0
"""Within which a pipeline starts and ends, and its details are asked for."""

FAULTS: dict[str, Step] = {
    **SERVICE_FAULTS,
    "NaN": Reply(200, '{"id": NaN, "status": "success", "workflow_run_id": NaN}', JSON),
    "wrong types": Reply(200, {"id": "x", "status": 7, "workflow_run_id": [], "building": "no"}),
}
"""Those of every service, with fields of pipelines in what is no number and of no type."""
CERTAIN = (
    *("redirect to itself", "redirect elsewhere", "permanent redirect"),
    *("400", "401", "404", *(name for name in FAULTS if name.startswith("429"))),
)
"""Faults that say that nothing was started."""
AGAIN = ("429 negative", "429 date")
"""Those that say besides that the limit is over, so the start is sent again and again, and
whether the last of them has its answer when the time is up is chance."""


def outcome(trigger: Any) -> tuple[pyflow.Result, float]:
    """Run *trigger*, and return what came of it, and how long that took."""
    return timed(lambda: pyflow.Engine().run(one_task(trigger)))


def hasty(at: Kit, timeout_s: float = TIMEOUT_S) -> Any:
    """Return a trigger whose deadline is near and whose patience is long."""
    watch = quick(timeout=timeout_s, settle="1m", patience="1m", cancel_within=CANCEL_S)
    return at.trigger(watch=watch)


@pytest.mark.parametrize("name", KITS)
class TestFaults:
    @pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in AGAIN])
    def test_start(self, name: str, fault: str) -> None:
        """However a start fails, the task ends in time, says what is known, and sends it once."""
        with kit(name) as at:
            at.server.always(FAULTS[fault])
            timeout_s = AMPLE_S if fault in CERTAIN else TIMEOUT_S
            result, took_s = outcome(hasty(at, timeout_s))

        error = result.tasks["deploy"].error
        assert error is not None
        assert took_s <= timeout_s + CANCEL_S + SLACK_S
        assert isinstance(error.__cause__, PipelineError)
        assert isinstance(error.__cause__, PipelineUnknown) == (fault not in CERTAIN)
        assert result.status == ("failed" if fault in CERTAIN else "held")
        assert at.starts == 1
        assert len(str(error)) <= 1_500
        assert all(line.isprintable() for line in str(error).splitlines())

    @pytest.mark.parametrize("fault", FAULTS)
    def test_look(self, name: str, fault: str) -> None:
        """However the looks fail, the task ends in time, and holds the run: the pipeline may run."""
        with kit(name) as at:
            answer = at.server.answer
            at.server.answer = lambda r: FAULTS[fault] if r.method == "GET" else answer(r)
            result, took_s = outcome(hasty(at))

        error = result.tasks["deploy"].error
        assert error is not None
        assert took_s <= TIMEOUT_S + CANCEL_S + SLACK_S
        assert isinstance(error.__cause__, PipelineUnknown)
        assert result.status == "held"
        assert at.starts == 1

    @pytest.mark.parametrize("fault", FAULTS)
    def test_details(self, name: str, fault: str) -> None:
        """However jobs and logs fail, a pipeline that ended well has ended well, and in time."""
        with kit(name) as at:
            answer = at.server.answer
            extra = ("/jobs?", "/logs", "/trace", "/consoleText")
            at.server.answer = lambda r: (
                FAULTS[fault] if any(one in r.path for one in extra) else answer(r)
            )
            timeout_s = ENDING_S if fault in LASTING else AMPLE_S
            watch = quick(timeout=timeout_s)
            result, took_s = outcome(at.trigger(watch=watch, keep_log=True))

        assert result.status == "succeeded"
        assert took_s <= timeout_s + SLACK_S
        assert at.starts == 1

    def test_refused(self, name: str) -> None:
        """A port on which nobody listens has started nothing, and the task fails in time."""
        with kit(name) as at:
            trigger = hasty(at)

        result, took_s = outcome(trigger)

        assert result.status == "failed"
        assert took_s <= TIMEOUT_S + CANCEL_S + SLACK_S

    def test_untrusted(self, name: str) -> None:
        """A certificate that nobody vouches for is never talked to."""
        with kit(name, tls=True) as at:
            result, _ = outcome(hasty(at))

            assert at.server.received == []
        assert result.status == "failed"


HUB = pyflow.Secret("ghp-for-tests-only", name="t")
LAB = pyflow.Secret("glpat-for-tests-only", name="t")
DEPLOYMENTS: dict[str, tuple[type[GitHubServer | GitLabServer], Any]] = {
    "github": (
        GitHubServer,
        lambda s: GitHubDeployments("acme/shop", token=HUB, base_url=s.base_url),
    ),
    "gitlab": (
        GitLabServer,
        lambda s: GitLabDeployments("acme/shop", token=LAB, base_url=s.base_url),
    ),
}
CI = {"commit": "0123456789abcdef", "ref": "main"}


def told(notifier: Any, timeout_s: float) -> tuple[Delivery, float]:
    """Tell of a start, and return what came of it, and how long that took."""
    one = message("started", run=replace(RUN, ci=CI))
    return timed(lambda: notifier.notify(one, Attempt(timeout_s=timeout_s)))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", DEPLOYMENTS)
class TestDeployments:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_told(self, name: str, fault: str, method: str) -> None:
        """Whichever request fails, the try ends in time, raises nothing, and is no false success."""
        serve, make = DEPLOYMENTS[name]
        with serve(refs=(CI["commit"], "main")) as server:
            answer: Any = server.answer
            faulty: Any = lambda r: FAULTS[fault] if r.method == method else answer(r)  # noqa: E731
            server.answer = faulty
            found, took_s = told(make(server), allowed_s(fault))

        assert took_s <= allowed_s(fault) + SLACK_S
        assert found.status != "delivered"
        assert len(found.detail) <= 600
        assert found.detail.isprintable()
